import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tiny import TINY

import tlkeras as tl
from tlkeras.command import export
from tlkeras.command.export import PHOTOGRAPHS, export_classifier
from tlkeras.files import sha256_of
from tlkeras.models.formats import FORMATS
from tlkeras.training import tuned_classifier
from tlkeras.training.tuned_classifier import TunedClassifier, load

NAMES = ("cat", "dog", "fox")


def saved(folder, precision="float32"):
    head = tl.Head(hidden=(), dropout=0.0, pooling="avg")
    model = tl.build_classifier(TINY, n_classes=3, image_size=(32, 32), head=head, precision=precision, seed=1)
    return TunedClassifier(model=model, class_names=NAMES, image_size=(32, 32)).save(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny network that has learnt nothing, saved."""
    return saved(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def classifier(folder):
    """What is saved in `folder`."""
    return load(folder)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """20 images of noise."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(20):
        pixels = rng.integers(0, 255 - 12 * number, (40, 36, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture
def writes(monkeypatch, folder, classifier):
    """Puts a format in the place of "tflite" that writes a byte and runs the function that is given."""

    def pretend(run):
        row = replace(FORMATS["tflite"], packages={}, runtime="keras", open=lambda path: (run, "call"))
        monkeypatch.setitem(FORMATS, "tflite", row)
        monkeypatch.setattr(tuned_classifier, "load", lambda given: classifier if given == folder else load(given))
        monkeypatch.setattr(export, "write_network", lambda model, size, path, format: path.write_bytes(b"x"))

    return pretend


def test_a_savedmodel_comes_whole_with_a_card_and_agrees_on_photographs(folder, classifier, tmp_path, capfd):
    made = export_classifier(folder, tmp_path / "net", "savedmodel")
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net", "net.json"]
    card = json.loads((tmp_path / "net.json").read_text())
    assert card["class_names"] == list(NAMES)
    assert card["input"]["shape"] == ["n", 32, 32, 3]
    assert card["sha256"]["net/saved_model.pb"] == sha256_of(tmp_path / "net/saved_model.pb")
    assert card["source"]["sha256"] == sha256_of(folder / "model.keras")
    assert card["source"]["fingerprint"] == classifier.probe()
    assert card["parity"]["images"] == made.parity.images == made.parity.same_class == len(PHOTOGRAPHS)
    assert made.parity.largest_difference <= 1e-6
    assert made.parity.spread > 0.01
    assert made.parity.half_precision is None
    assert made.path == tmp_path / "net"
    assert "on 7 images" in made.describe()
    assert made.describe().endswith("Not for diagnosis.")


def test_the_given_images_are_compared_as_training_reads_them(folder, classifier, images, tmp_path, writes):
    seen = []

    def run(pixels):
        assert pixels.dtype == np.float32
        seen.append(pixels)
        return classifier.predict_pixels(pixels) + np.float32([2e-5, 0, 0])

    writes(run)
    made = export_classifier(folder, tmp_path / "net.tflite", "tflite", [images])
    files = sorted(images.iterdir())
    expected = np.stack([tl.read_pixels(file, (32, 32)) for file in files])
    np.testing.assert_array_equal(np.concatenate(seen[1:]), expected)
    assert len(seen[0]) == 1  # one image alone, then all in batches
    assert made.parity.images == 20
    assert made.parity.largest_difference == pytest.approx(2e-5, rel=0.01)
    assert made.parity.spread == pytest.approx(np.ptp(classifier.predict_pixels(expected), axis=0).max(), abs=1e-6)
    assert made.card == tmp_path / "net.tflite.json"
    assert json.loads(made.card.read_text())["sha256"] == {"net.tflite": sha256_of(made.path)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda probs: probs + np.float32([0, 2e-4, 0]),
            r"probability of dog is .*accepted is a difference of 0\.0001",
        ),
        (lambda probs: probs[:, ::-1], "the predicted class is the same on"),
        (lambda probs: probs * np.nan, "is nan"),
        (lambda probs: probs[:, :2], r"answers with \(21, 2\) numbers, not \(21, 3\)"),
        (lambda probs: probs[:1], r"answers with"),  # of every batch the first image alone
        (lambda probs: probs.missing, "does not run .AttributeError"),
    ],
    ids=["little", "turned round", "nan", "a class less", "one image", "raises"],
)
def test_what_differs_is_not_kept(folder, classifier, images, tmp_path, writes, change, message):
    writes(lambda pixels: change(classifier.predict_pixels(pixels)))
    with pytest.raises(tl.InputError, match=message):
        export_classifier(folder, tmp_path / "net.tflite", "tflite", [images])
    assert list(tmp_path.iterdir()) == []


def test_the_image_that_differs_most_is_named(folder, classifier, images, tmp_path, writes):
    batches = []

    def run(pixels):
        batches.append(len(pixels))
        probs = classifier.predict_pixels(pixels)
        if sum(batches) == 21:  # in the last batch the last image
            probs[-1, 2] += 0.01
        return probs

    writes(run)
    with pytest.raises(tl.InputError, match=r"19\.png the probability of fox"):
        export_classifier(folder, tmp_path / "net.tflite", "tflite", [images])
    batches.clear()
    assert export_classifier(folder, tmp_path / "net.tflite", "tflite", [images], tolerance=0.02).parity.same_class > 18


@pytest.mark.slow
def test_half_precision_is_exported_in_float32(tmp_path, images, writes):
    folder, exact = saved(tmp_path / "half", "bfloat16"), load(saved(tmp_path / "exact"))
    writes(exact.predict_pixels)
    made = export_classifier(folder, None, "tflite", [images])
    assert made.path == folder / "export" / "model.tflite"
    pixels = np.stack([tl.read_pixels(file, (32, 32)) for file in sorted(images.iterdir())])
    difference = np.abs(load(folder).predict_pixels(pixels) - exact.predict_pixels(pixels)).max()
    assert made.parity.half_precision == pytest.approx(difference, abs=1e-6)
    assert difference > 1e-4 > 1e-6 > made.parity.largest_difference
    assert "exported in float32" in made.describe()


def test_images_that_say_nothing_are_called_so(folder, classifier, images, tmp_path, writes):
    writes(classifier.predict_pixels)
    made = export_classifier(folder, tmp_path / "net.tflite", "tflite", [images / "00.png"])
    assert "answers all these images alike" in made.describe()


def test_a_killed_export_leaves_nothing(folder, classifier, tmp_path, monkeypatch):
    def killed(path):
        assert path.is_dir()
        raise KeyboardInterrupt

    monkeypatch.setattr(tuned_classifier, "load", lambda given: classifier)
    monkeypatch.setattr(export, "write_network", lambda model, size, path, format: path.mkdir())
    monkeypatch.setitem(FORMATS, "savedmodel", replace(FORMATS["savedmodel"], open=killed))
    with pytest.raises(KeyboardInterrupt):
        export_classifier(folder, tmp_path / "net", "savedmodel")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("target", "format", "images", "options", "message"),
    [
        ("there", "savedmodel", None, {}, "is there already"),
        ("net.tflite", "onnx", None, {}, r"end in \.onnx"),
        ("net", "torch", None, {}, "accepted are savedmodel, onnx, tflite"),
        ("net", "savedmodel", [], {}, "images: received none"),
        ("net", "savedmodel", ["gone.png"], {}, r"gone\.png"),
        ("net", "savedmodel", None, {"tolerance": -1}, "tolerance: received -1"),
    ],
)
def test_unusable_arguments_are_refused_before_anything_is_loaded(
    tmp_path, monkeypatch, target, format, images, options, message
):
    (tmp_path / "there").mkdir()
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], packages={}))
    with pytest.raises(tl.InputError, match=message):
        export_classifier(tmp_path / "no classifier", tmp_path / target, format, images, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_format_agrees_with_the_classifier(tmp_path, format, precision):
    for module, package in FORMATS[format].packages.items():
        pytest.importorskip(module, reason=f"{package} is not installed (tlkeras[{format}])")
    folder = saved(tmp_path / "classifier", precision)
    made = export_classifier(folder, None, format)
    assert made.parity.largest_difference < 1e-5
    assert (made.parity.half_precision is None) == (precision == "float32")
    assert sorted(path.name for path in (folder / "export").iterdir()) == [made.path.name, made.card.name]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("format", FORMATS)
def test_views_of_an_ensemble_are_exported_as_one_network(tmp_path, format, precision):
    for module, package in FORMATS[format].packages.items():
        pytest.importorskip(module, reason=f"{package} is not installed (tlkeras[{format}])")
    fields = {"n_classes": 3, "image_size": (32, 32), "precision": precision}
    models = (tl.build_classifier(TINY, seed=seed, **fields) for seed in (0, 1))
    members = [TunedClassifier(model=model, class_names=("a", "b", "c"), image_size=(32, 32)) for model in models]
    folder = tl.with_views(tl.Ensemble(members), 3).save(tmp_path / "classifier")
    made = export_classifier(folder, None, format)
    assert made.parity.largest_difference < 1e-5
    assert (made.parity.half_precision is None) == (precision == "float32")


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("format", FORMATS)
def test_an_imagenet_network_agrees_on_x_rays(tmp_path, format, real_weights, real_data):
    for module, package in FORMATS[format].packages.items():
        pytest.importorskip(module, reason=f"{package} is not installed (tlkeras[{format}])")
    samples = tl.load_dataset("chest_xray", real_data)
    model = tl.build_classifier(
        "mobilenetv2_035", n_classes=2, image_size=(128, 128), weights="imagenet", weights_folder=real_weights
    )
    classifier = TunedClassifier(model=model, class_names=samples.class_names, image_size=(128, 128))
    images = samples.images[:: len(samples) // 24]
    made = export_classifier(classifier.save(tmp_path), None, format, images)
    assert made.parity.images == made.parity.same_class == len(images)
    assert made.parity.largest_difference < 2e-5
    assert made.parity.spread > 0.01
