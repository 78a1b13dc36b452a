import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.errors import MissingInputError
from tlkeras.files import sha256_of
from tlkeras.models.saved import read_card, write_saved
from tlkeras.models.weights import find_weights
from tlkeras.models.weights_file import WeightsFile
from tlkeras.schema import EpochLog, Precision


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    model = tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), seed=5)
    return tl.TunedClassifier(model=model, class_names=["dark", "bright"], image_size=[32, 32]).save(folder)


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of its own, for each test to break."""
    return shutil.copytree(saved, tmp_path / "copy")


def write_card(folder, **values):
    """Replaces values of classifier.json; its hash is that of the model.keras that lies there."""
    card = json.loads((folder / "classifier.json").read_text())
    values.setdefault("sha256", sha256_of(folder / "model.keras"))
    (folder / "classifier.json").write_text(json.dumps(card | values))


def refusal(folder, kind=tl.InputError):
    with pytest.raises(kind) as caught:
        tl.load(folder)
    return caught


def test_save_and_load_give_the_same_bits(toy_pixels, tmp_path):
    fitted = tiny_tuner(phases=(tl.Phase(1, 1e-2),)).fit(toy_pixels, seed=0)
    fitted.save(tmp_path)
    loaded = tl.load(tmp_path)
    assert loaded.class_names == ("0", "1")
    assert loaded.image_size == (32, 32)
    assert loaded.epochs == fitted.epochs
    np.testing.assert_array_equal(loaded.predict_pixels(toy_pixels[0]), fitted.predict_pixels(toy_pixels[0]))


@pytest.mark.parametrize("preprocessing", ["none", "unit", "imagenet", "caffe"])
def test_preprocessing_comes_back_in_the_model(preprocessing, toy_pixels, tmp_path):
    model = tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), preprocessing=preprocessing)
    classifier = tl.TunedClassifier(model=model, class_names=("a", "b"), image_size=(32, 32))
    loaded = tl.load(classifier.save(tmp_path))
    np.testing.assert_array_equal(loaded.predict_pixels(toy_pixels[0]), classifier.predict_pixels(toy_pixels[0]))


def test_sides_that_the_model_leaves_open_are_taken_from_the_card(tmp_path):
    pixels = keras.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, keras.layers.Dense(2, activation="softmax")(pooled))
    tl.TunedClassifier(model=model, class_names=[0, 1], image_size=(8, 12)).save(tmp_path)
    assert tl.load(tmp_path).image_size == (8, 12)
    assert tl.load(tmp_path).class_names == ("0", "1")


def with_other_weights(folder):
    """Swaps the answers of the saved model: the weights of its last layer, column for column."""
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    model.get_layer("head_probs").set_weights([w[..., ::-1] for w in model.get_layer("head_probs").get_weights()])
    model.save(folder / "model.keras")


def test_a_model_that_answers_otherwise_is_said_with_both_versions(folder):
    with_other_weights(folder)
    assert "sha256 differs" in str(refusal(folder).value)
    write_card(folder, versions={"tlkeras": "0", "keras": "3.99.0"})
    dark, bright = json.loads((folder / "classifier.json").read_text())["fingerprint"]
    said = (
        rf"copy: on one fixed image.*differ by {abs(dark - bright):.2g} .*keras 3\.99\.0 then, {keras.__version__} now"
    )
    with pytest.warns(UserWarning, match=said) as caught:
        tl.load(folder)
    assert caught[0].filename == __file__


def test_another_version_that_answers_alike_is_not_worth_a_word(folder, saved, toy_pixels):
    write_card(folder, versions={"tlkeras": "0", "keras": "3.99.0"})
    loaded = tl.load(folder)  # where warnings are errors
    assert loaded.class_names == ("dark", "bright")
    np.testing.assert_array_equal(loaded.predict_pixels(toy_pixels[0]), tl.load(saved).predict_pixels(toy_pixels[0]))


def test_a_probe_that_is_no_number_is_said(folder):
    write_card(folder, fingerprint=[float("nan"), 0.5])
    with pytest.warns(UserWarning, match="differ by nan"):
        tl.load(folder)


def test_a_networks_weights_taken_from_a_saved_classifier_are_checked_like_it(folder):
    encode = lambda: tl.build_encoder(TINY, image_size=(32, 32), weights=folder)  # noqa: E731
    encode()
    with_other_weights(folder)
    with pytest.raises(tl.InputError, match=r"model\.keras is not the file that classifier\.json was written for"):
        encode()
    write_card(folder, versions={"tlkeras": "0", "keras": "3.99.0"})
    with pytest.warns(UserWarning, match=rf"differ by .*keras 3\.99\.0 then, {keras.__version__} now"):
        encode()
    write_card(folder, fingerprint=None)
    with pytest.raises(tl.InputError, match="fingerprint is None; accepted is a list"):
        encode()
    (folder / "classifier.json").write_text("[" * 100_000)
    with pytest.raises(tl.InputError, match=r"copy/classifier\.json"):
        encode()


def test_a_file_that_changed_since_it_was_found_is_not_loaded(folder):
    found = find_weights(TINY, folder / "model.keras")
    tl.build_encoder(TINY, image_size=(32, 32), weights=found)
    with_other_weights(folder)
    with pytest.raises(tl.InputError, match=rf"is not the file that was found .*{found.sha256}"):
        tl.build_encoder(TINY, image_size=(32, 32), weights=found)


def test_a_card_from_before_an_optional_field_still_loads(folder):
    log = {"phase": 1, "epoch": 1, "seconds": 2, "loss": 0.5, "accuracy": 0.5, "val_loss": None, "val_accuracy": None}
    write_card(folder, epochs=[log], written_by="a later version")
    assert [(epoch.seconds, epoch.kept) for epoch in tl.load(folder).epochs] == [(2, False)]


def test_a_card_of_an_earlier_version_is_read(folder):
    card = json.loads((folder / "classifier.json").read_text())
    (folder / "classifier.json").write_text(
        json.dumps({k: v for k, v in card.items() if k not in ("precision", "images")})
    )
    loaded = tl.load(folder)
    assert (loaded.precision.name, loaded.images) == ("float32", None)


def test_a_card_comes_back_as_it_was_written(tmp_path):
    model = tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), seed=5)
    card = write_saved(
        tmp_path,
        model,
        class_names=("dark", "bright"),
        image_size=(32, 32),
        resize="pad",
        epochs=(EpochLog(1, 1, 2.5, 0.5, 0.5, None, None, kept=True),),
        weights=WeightsFile(Path("w.h5"), 64 * "a", "path"),
        precision=Precision("bfloat16", {"float32": 1.5, "bfloat16": 1.0}),
        images={"train": {"dark": 2, "bright": 3}},
    )
    assert read_card(tmp_path) == card
    assert json.loads((tmp_path / "classifier.json").read_text()) == card.describe()
    assert card.describe()["fingerprint"] == list(card.probe)  # what 0.1 called it, and looks for
    assert card.sha256 == sha256_of(tmp_path / "model.keras")


def test_what_is_not_there_is_named(folder, tmp_path):
    assert "there is no folder" in str(refusal(tmp_path / "elsewhere", MissingInputError).value)
    assert "is a file; give the folder" in str(refusal(folder / "model.keras").value)
    assert "received None" in str(refusal(None).value)
    assert "hf://someone/model is an address; accepted are files and folders" in str(
        refusal("hf://someone/model").value
    )
    (tmp_path / "away").symlink_to(tmp_path / "elsewhere")
    assert "away is a link to" in str(refusal(tmp_path / "away", MissingInputError).value)
    (folder / "classifier.json").unlink()
    assert "holds no classifier.json" in str(refusal(folder, MissingInputError).value)
    (folder / "model.keras").unlink()
    assert "holds no model.keras and no classifier.json" in str(refusal(folder, MissingInputError).value)


def test_a_model_that_is_not_the_saved_one_is_refused(folder):
    content = (folder / "model.keras").read_bytes()
    (folder / "model.keras").write_bytes(content[:-1])
    assert "sha256 differs" in str(refusal(folder).value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{", b"[" * 100_000, b'{"sha256": ' + b"9" * 5_000 + b"}"])
def test_a_card_that_is_no_json_is_refused(folder, content):
    (folder / "classifier.json").write_bytes(content)
    caught = refusal(folder)
    assert str(folder / "classifier.json") in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(("content", "said"), [("[]", "holds a list"), ("null", "holds null"), ("true", "holds true")])
def test_a_card_that_is_no_object_is_refused(folder, content, said):
    (folder / "classifier.json").write_text(content)
    assert said in str(refusal(folder).value)


def test_what_a_card_lacks_is_told_at_once(folder):
    (folder / "classifier.json").write_text('{"class_names": ["a", "b"], "fingerprint": [0.5, 0.5], "epochs": []}')
    assert "lacks image_size, sha256, weights, versions" in str(refusal(folder).value)


LOG = {"phase": 1, "epoch": 1, "seconds": 2.0, "loss": 0.5, "accuracy": 0.5, "val_loss": None, "val_accuracy": None}
WEIGHTS = {"path": "w.h5", "sha256": "0", "source": "path"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_names", "ab"),
        ("class_names", ["dark"]),
        ("class_names", ["dark", "dark"]),
        ("class_names", ["dark", 1]),
        ("class_names", ["dark", ["bright"]]),
        ("class_names", {"dark": 0, "bright": 1}),
        ("image_size", 32),
        ("image_size", [32]),
        ("image_size", [32, 32.5]),
        ("image_size", [32, -32]),
        ("image_size", [True, True]),
        ("image_size", [10**6, 10**6]),
        ("image_size", [10**400, 1]),
        ("sha256", None),
        ("fingerprint", 0.5),
        ("fingerprint", ["0.5", "0.5"]),
        ("weights", "imagenet"),
        ("weights", {"path": "w.h5"}),
        ("weights", WEIGHTS | {"path": 1}),
        ("weights", WEIGHTS | {"path": "../../etc/passwd"}),
        ("weights", WEIGHTS | {"path": "/etc/passwd"}),
        ("weights", WEIGHTS | {"path": ".."}),
        ("weights", WEIGHTS | {"batch_norm_folded": "no"}),
        ("versions", []),
        ("versions", {"keras": 3}),
        ("epochs", None),
        ("epochs", [1]),
        ("images", [3]),
        ("images", {"train": 3}),
        ("images", {"train": {"dark": 1.5}}),
        ("images", {"train": {"dark": -1}}),
        ("epochs", [{"phase": 1}]),
        ("epochs", [LOG | {"epoch": "1"}]),
        ("epochs", [LOG | {"epoch": True}]),
        ("epochs", [LOG | {"mood": "good"}]),
    ],
)
def test_a_value_of_a_wrong_type_is_named(folder, key, value):
    write_card(folder, **{key: value})
    message = str(refusal(folder).value)
    assert f"{folder / 'classifier.json'}: {key} is" in message
    assert "accepted is" in message


def test_card_and_model_must_tell_the_same_classes_and_size(folder):
    write_card(folder, class_names=["dark", "grey", "bright"])
    assert "names 3 classes and has a fingerprint of 2" in str(refusal(folder).value)
    write_card(folder, class_names=["dark", "grey", "bright"], fingerprint=[0.5, 0.3, 0.2])
    assert "gives output of shape (None, 2); accepted is (None, 3)" in str(refusal(folder).value)
    write_card(folder, class_names=["dark", "bright"], fingerprint=[0.5, 0.5], image_size=[32, 48])
    assert "takes input of shape (None, 32, 32, 3); accepted is (None, 32, 48, 3)" in str(refusal(folder).value)


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_truncated_model_is_refused(folder, kept):
    content = (folder / "model.keras").read_bytes()
    (folder / "model.keras").write_bytes(content[: kept if kept in (0, 10) else int(kept * len(content))])
    write_card(folder)
    caught = refusal(folder)
    assert f"{folder / 'model.keras'} cannot be read" in str(caught.value)
    assert isinstance(caught.value.__cause__, zipfile.BadZipFile)


def rewrite(folder, edit):
    """Writes model.keras anew from {name: bytes} as `edit` returns it."""
    with zipfile.ZipFile(folder / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        for name, content in edit(members).items():
            archive.writestr(name, content)
    write_card(folder)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda members: {}, "holds nothing; accepted is"),
        (lambda members: {"notes.txt": b""}, "holds notes.txt; accepted is"),
        (lambda members: {k: v for k, v in members.items() if k != "config.json"}, "accepted is a .keras archive"),
        (lambda members: members | {"assets/x": b""}, "accepted is a .keras archive"),
        (lambda members: members | {"config.json": b"{"}, "JSONDecodeError"),
        (lambda members: members | {"config.json": b"[" * 100_000}, "RecursionError"),
        (lambda members: members | {"config.json": b"[]"}, "cannot be read"),
        (lambda members: members | {"config.json": b'{"class_name": "Dense"}'}, "holds Dense of the module None"),
        (lambda members: members | {"config.json": b'{"class_name": 3, "config": {}}'}, "cannot be read"),
        (lambda members: members | {"config.json": b" " * (2**26 + 1)}, "unpacks to more than 67,108,864 bytes"),
        (lambda members: members | {"model.weights.h5": b"no HDF5"}, "cannot be read"),
        (lambda members: members | {"model.weights.h5": members["model.weights.h5"][:5000]}, "cannot be read"),
    ],
)
def test_a_foreign_or_damaged_archive_is_refused(folder, edit, said):
    rewrite(folder, edit)
    message = str(refusal(folder).value)
    assert str(folder / "model.keras") in message
    assert said in message


def test_weights_of_another_network_are_refused(folder, tmp_path):
    tiny_wide = tl.build_classifier(TINY, n_classes=3, image_size=(32, 32), seed=5)
    tiny_wide.save(tmp_path / "wide.keras")
    with zipfile.ZipFile(tmp_path / "wide.keras") as archive:
        weights = archive.read("model.weights.h5")
    rewrite(folder, lambda members: members | {"model.weights.h5": weights})
    assert "cannot be read" in str(refusal(folder).value)


def replace_model(folder, build):
    """Puts the model that `build` makes of an input of 32 x 32 pixels in the place of the saved one."""
    pixels = keras.Input((32, 32, 3))
    keras.Model(pixels, build(pixels)).save(folder / "model.keras")
    write_card(folder)


def classify(x):
    return keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))


def test_a_lambda_layer_is_refused_and_does_not_run(folder, tmp_path):
    trace = str(tmp_path / "trace")
    leave = lambda x, path=trace: __import__("pathlib").Path(path).touch() or x  # noqa: E731 (a def would be a name only)
    replace_model(folder, lambda pixels: classify(keras.layers.Lambda(leave)(pixels)))
    (tmp_path / "trace").unlink()  # building the model ran it
    message = str(refusal(folder).value)
    assert "holds a Lambda, whose code would come out of the file" in message
    assert "safe_mode" not in message
    assert not (tmp_path / "trace").exists()


class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x


@keras.saving.register_keras_serializable("test_saved")
class Thrice(keras.layers.Layer):
    def call(self, x):
        return 3 * x


def test_a_layer_that_is_not_known_here_is_named(folder):
    replace_model(folder, lambda pixels: classify(Twice()(pixels)))
    message = str(refusal(folder).value)
    assert "holds Twice of the module" in message
    assert "register_keras_serializable" in message


def test_a_registered_layer_is_taken(tmp_path):
    pixels = keras.Input((32, 32, 3))
    model = keras.Model(pixels, classify(Thrice()(pixels)))
    classifier = tl.TunedClassifier(model=model, class_names=("a", "b"), image_size=(32, 32))
    assert tl.load(classifier.save(tmp_path)).probe() == classifier.probe()


def test_a_name_from_another_module_is_never_looked_up(folder):
    def ask_for_system(members):
        config = members["config.json"].replace(b'"module": "keras.layers", "class_name": "ReLU"', b"%s")
        return members | {"config.json": config.replace(b"%s", b'"module": "os", "class_name": "system"')}

    rewrite(folder, ask_for_system)
    assert "holds system of the module os" in str(refusal(folder).value)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda x, y: keras.Model(x, keras.layers.Flatten()(x)), "gives output of shape (None, 3072)"),
        (lambda x, y: keras.Model(x, keras.layers.Conv2D(2, 1)(x)), "gives output of shape (None, 32, 32, 2)"),
        (lambda x, y: keras.Model(x, [classify(x), classify(x)]), "gives output of shape [(None, 2), (None, 2)]"),
        (lambda x, y: keras.Model([x, y], classify(keras.layers.Add()([x, y]))), "takes input of shape [("),
        (lambda x, y: keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), "takes input of shape (None, 4)"),
        (lambda x, y: keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Flatten()]), "(None, 32, 32, 1)"),
        (lambda x, y: keras.Sequential([keras.Input(batch_shape=(1, 32, 32, 3)), keras.layers.Flatten()]), "(1, 32"),
    ],
)
def test_a_model_of_another_shape_is_refused(folder, model, said):
    model(keras.Input((32, 32, 3)), keras.Input((32, 32, 3))).save(folder / "model.keras")
    write_card(folder)
    assert said in str(refusal(folder).value)
