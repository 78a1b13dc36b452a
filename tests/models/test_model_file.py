import copy
import json
import random
import stat
import struct
import zipfile

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_weights import plain_backbone, write_legacy_h5
from tiny import TINY, build_tiny

from tlkeras.errors import InputError, MissingInputError
from tlkeras.models.classifier import build_encoder
from tlkeras.models.model_file import read_model, require_local
from tlkeras.models.weights import find_weights, load_weights


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "tiny.keras"
    build_tiny(keras.Input((32, 32, 3))).save(path)
    return path


@pytest.fixture(scope="module")
def members(tiny_file):
    """{name: bytes} of a small network's archive."""
    with zipfile.ZipFile(tiny_file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def unseen(monkeypatch):
    """Fails where Keras is shown anything of the file."""
    seen = []
    for name in ("load_model", "deserialize_keras_object"):
        monkeypatch.setattr(keras.saving, name, lambda *given, **options: seen.append(given))
    yield
    assert not seen


def write(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def edited(members, edit):
    config = json.loads(members["config.json"])
    edit(config, {layer["config"]["name"]: layer for layer in config["config"]["layers"]})
    return members | {"config.json": json.dumps(config).encode()}


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_model(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_model_comes_back_uncompiled(tmp_path):
    model = build_tiny(keras.Input((32, 32, 3)))
    model.compile("adam", "mse", metrics=["accuracy", keras.metrics.AUC()])
    model.save(tmp_path / "tiny.keras")
    back = read_model(tmp_path / "tiny.keras")
    assert not back.compiled
    for ours, theirs in zip(back.get_weights(), model.get_weights(), strict=True):
        assert (ours == theirs).all()


@keras.saving.register_keras_serializable("test_model_file")
class KeepsMemory(keras.layers.Layer):
    """Makes a weight of numbers at once, which no scope without memory allows."""

    def build(self, shape):
        self.scale = keras.Variable(np.ones(shape[-1], np.float32))

    def call(self, x):
        return x * self.scale


@keras.saving.register_keras_serializable("test_model_file")
def doubled(x):
    return 2 * x


def test_what_keras_has_for_images_is_taken(tmp_path):
    layers, pixels = keras.layers, keras.Input((8, 8, 3))
    x = layers.RandomFlip()(layers.Rescaling(1 / 255)(pixels))[..., ::-1]
    x = layers.Conv2D(4, 3, kernel_regularizer="l2", kernel_constraint="max_norm", activation=keras.activations.gelu)(x)
    x = layers.Activation(keras.ops.relu)(layers.Normalization(mean=[0.0] * 4, variance=[1.0] * 4)(x))
    x = keras.ops.clip(keras.ops.mean(x, axis=(1, 2)), 0, 1) * keras.ops.convert_to_tensor([1.0, 2.0, 3.0, 4.0])
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(layers.Reshape((2, 2))(x))
    x = layers.MultiHeadAttention(2, 2, dtype="mixed_bfloat16")(x, layers.TimeDistributed(layers.Dense(6))(x))
    x = layers.Activation(doubled)(KeepsMemory()(layers.Flatten()(x)))
    model = keras.Model(pixels, keras.Sequential([layers.Dense(2, activation="softmax")])(x))
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    model.compile(keras.optimizers.Adam(schedule), keras.losses.CategoricalCrossentropy())
    model.save(tmp_path / "all.keras")
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    back = read_model(tmp_path / "all.keras")
    np.testing.assert_array_equal(back.predict_on_batch(images), model.predict_on_batch(images))


def test_reading_leaves_no_trace_on_what_is_drawn_afterwards(tmp_path, tiny_file):
    keras.utils.set_random_seed(1)
    keras.saving.load_model(tiny_file, compile=False)
    state = random.getstate()
    keras.utils.set_random_seed(1)
    read_model(tiny_file)
    assert random.getstate() == state
    with keras.StatelessScope():  # on its way out it gives memory to all weights that wait for some
        pass


@pytest.mark.parametrize("read", [read_model, lambda path: build_encoder(TINY, image_size=(32, 32), weights=path)])
def test_code_in_a_file_is_not_run_whatever_the_file_is_wanted_for(tmp_path, read):
    trace = str(tmp_path / "trace")
    leave = lambda x, path=trace: __import__("pathlib").Path(path).touch() or x  # noqa: E731
    pixels = keras.Input((32, 32, 3))
    keras.Model(pixels, build_tiny(keras.layers.Lambda(leave)(pixels)).output).save(tmp_path / "code.keras")
    (tmp_path / "trace").unlink()  # building the model ran it
    with pytest.raises(InputError, match="holds a Lambda, whose code would come out of the file"):
        read(tmp_path / "code.keras")
    assert not (tmp_path / "trace").exists()


def named(class_name, module="keras.layers", config=None, **more):
    config = {"name": "evil"} if config is None else config
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None} | more


def function(name, module):
    return named("function", module, name, registered_name="function")


CODE = {"class_name": "__lambda__", "config": {"value": ["4wAAAAA=", None, None]}}
COMMAND = {"name": "evil", "fname": "a", "origin": "http://127.0.0.1:9/a", "arguments": ["touch trace"]}
EVIL = {
    "lambda": (named("Lambda", config={"name": "evil", "function": CODE}), "holds a Lambda, whose code"),
    "lambda by function": (named("Lambda", config={"function": function("system", "os")}), "whose code|system"),
    "lambda as old files have it": ({"class_name": "Lambda", "config": {"function": ["4wA=", None, None]}}, "Lambda"),
    "lambda by alias": (named("Lambda", "keras.src.layers.core.lambda_layer"), "holds a Lambda, whose code"),
    "code alone": (CODE, "holds a lambda, whose code"),
    "os.system": (named("system", "os", COMMAND), "holds system of the module os"),
    "posix.system": (function("system", "posix"), "holds system of the module posix"),
    "subprocess": (named("run", "subprocess", COMMAND), "holds run of the module subprocess"),
    **{f"builtins.{name}": (function(name, "builtins"), f"holds {name} of") for name in ("eval", "exec", "getattr")},
    "class of builtins": (named("eval", "builtins"), "holds eval of the module builtins"),
    "get_file": (function("get_file", "keras.utils"), "holds get_file of the module keras.utils"),
    "get_file as a class": (named("get_file", "keras.utils", COMMAND), "holds get_file of"),
    "get_file by alias": (named("get_file", "keras.src.utils.file_utils", COMMAND), "holds get_file of"),
    "get_file as builtin": (function("get_file", "builtins"), "holds get_file of the module builtins"),
    "safe mode off": (function("enable_unsafe_deserialization", "keras.config"), "holds enable_unsafe_des"),
    "safe mode off by alias": (
        named("enable_unsafe_deserialization", "keras.src.saving.serialization_lib", {}),
        "holds enable_unsafe_deserialization of",
    ),
    "load_model": (named("load_model", "keras.models", {"filepath": "other.keras"}), "holds load_model of"),
    "load_weights": (function("load_weights", "keras.saving"), "holds load_weights of"),
    "a reader of activations": (function("deserialize", "keras.activations"), "holds deserialize of"),
    "_tf_keras": (named("Dense", "keras._tf_keras.keras.layers"), "holds Dense of the module keras._tf_keras"),
    "SavedModel": (named("TFSMLayer", config={"filepath": "/srv/model"}), "holds a TFSMLayer, whose code"),
    "SavedModel by alias": (named("TFSMLayer", "keras.src.export.tfsm_layer"), "holds a TFSMLayer, whose code"),
    "torch": (named("TorchModuleWrapper", config={"module": "gASVAAA="}), "holds a TorchModuleWrapper, whose code"),
    "jax": (named("JaxLayer", config={"call_fn": CODE}), "holds a (JaxLayer|lambda), whose code"),
    "flax": (named("FlaxLayer"), "holds a FlaxLayer, whose code"),
    "StringLookup": (named("StringLookup", config={"vocabulary": "/etc/passwd"}), "holds a StringLookup, which reads"),
    "IntegerLookup": (named("IntegerLookup", config={"vocabulary": "gs://a"}), "holds a IntegerLookup, which reads"),
    "TextVectorization": (named("TextVectorization", config={"vocabulary": "/etc/passwd"}), "which reads a vocab"),
    "IndexLookup": (named("IndexLookup", "keras.src.layers.preprocessing.index_lookup"), "holds IndexLookup of"),
    "a tensor's type": (
        {"class_name": "__typespec__", "spec_name": "system", "module": "os", "registered_name": None, "config": []},
        "holds __typespec__ of|holds None of",
    ),
    "legacy module": (named("RandomHeight", "keras.src.legacy.layers"), "holds RandomHeight of"),
    "no module": ({"class_name": "Dense", "config": {"units": 3}}, "holds Dense of the module None"),
    "a hub": (named("Backbone", "keras_hub.models"), "holds Backbone of the module keras_hub.models"),
    "somebody's package": (named("Dense", "antigravity"), "holds Dense of the module antigravity"),
    "above": (named("Dense", "keras.layers.."), "holds Dense of the module keras.layers.."),
    "registered as nobody": (named("Dense", "antigravity", registered_name="test_model_file>Nobody"), "Nobody of the"),
    "a name of another type": (named(["Dense"]), "which no layer is called"),
    "a module of another type": (named("Dense", {"a": 1}), "which no layer is called"),
    "text of any length": (
        {"class_name": "__numpy__", "config": {"value": ["a"], "dtype": "U500000000"}},
        "holds __numpy__ of",
    ),
}


def as_layer(config, layers, node):
    where = {key: layers["relu1"][key] for key in ("name", "inbound_nodes")}
    layers["relu1"].clear()
    layers["relu1"].update(copy.deepcopy(node) | where)


def as_activation(config, layers, node):
    layers["conv1"]["config"]["activation"] = node


def in_time_distributed(config, layers, node):
    layers["relu1"].update(named("TimeDistributed", config={"name": "relu1", "layer": node}))


def in_bidirectional(config, layers, node):
    inner = named("Bidirectional", config={"name": "inner", "layer": named("LSTM"), "backward_layer": node})
    layers["relu1"].update(named("TimeDistributed", config={"name": "relu1", "layer": inner}))


def in_sequential(config, layers, node):
    layers["relu1"].update(named("Sequential", "keras", {"name": "relu1", "layers": [node]}))


def in_build_config(config, layers, node):
    layers["conv1"]["build_config"] = {"input_shape": node}


def in_compile_config(config, layers, node):
    config["compile_config"] = {"optimizer": "adam", "loss": node}


def in_a_layers_compile_config(config, layers, node):
    layers["conv1"]["compile_config"] = {"loss": [{"out": node}]}


def in_a_call(config, layers, node):
    layers["relu1"]["inbound_nodes"][0]["kwargs"] = {"mask": node}


def beside_everything(config, layers, node):
    config["notes"] = {"a": [[node]]}


@pytest.mark.parametrize(("node", "said"), EVIL.values(), ids=EVIL)
@pytest.mark.parametrize("place", [as_layer, as_activation], ids=lambda place: place.__name__)
def test_what_is_no_plain_layer_of_keras_never_reaches_keras(tmp_path, members, unseen, place, node, said):
    path = write(tmp_path / "evil.keras", edited(members, lambda config, layers: place(config, layers, node)))
    with pytest.raises(InputError, match=said):
        read_model(path)
    assert str(path) in refusal(path)


NESTED = [
    *(in_time_distributed, in_bidirectional, in_sequential, in_build_config),
    *(in_a_layers_compile_config, in_a_call, beside_everything),
]


@pytest.mark.parametrize("place", NESTED, ids=lambda place: place.__name__)
@pytest.mark.parametrize("name", ["lambda", "os.system", "get_file by alias", "SavedModel", "StringLookup"])
def test_nor_does_it_from_deep_inside(tmp_path, members, unseen, place, name):
    node, said = EVIL[name]
    path = write(tmp_path / "evil.keras", edited(members, lambda config, layers: place(config, layers, node)))
    with pytest.raises(InputError, match=said):
        read_model(path)


@pytest.mark.parametrize("name", ["lambda", "os.system", "get_file by alias", "SavedModel", "StringLookup"])
def test_what_a_model_was_compiled_with_is_left_out_unseen(tmp_path, members, name, monkeypatch):
    """A loss of one's own is common, and predicting needs none."""
    node, _ = EVIL[name]
    monkeypatch.setattr(keras.Model, "compile_from_config", lambda *_: pytest.fail("it was looked at"))
    path = write(
        tmp_path / "own.keras", edited(members, lambda config, layers: in_compile_config(config, layers, node))
    )
    assert isinstance(read_model(path), keras.Model)


def test_a_registered_name_does_not_lend_its_trust_to_others(tmp_path, members, unseen):
    def trick(config, layers):
        layers["relu1"].update(named("Lambda", registered_name="test_model_file>KeepsMemory"))

    assert "holds a Lambda" in refusal(write(tmp_path / "evil.keras", edited(members, trick)))


def set_in(name, **values):
    def edit(config, layers):
        layers[name]["config"].update(values)
        for layer in layers.values():  # Keras builds for the shape in there, where there is one
            layer.pop("build_config", None)

    return edit


def upsampled(config, layers):
    layers["relu1"].update(named("UpSampling2D", config={"name": "relu1", "size": [100_000, 100_000]}))


def of_keras(layer, **beside):
    """Takes the place of relu1, whose input is 32 x 32 x 4."""
    from keras.saving import serialize_keras_object

    def edit(config, layers):
        node = serialize_keras_object(layer)
        node["config"]["name"] = "relu1"
        for name in ("module", "class_name", "config", "registered_name"):
            layers["relu1"][name] = node[name]
        layers["relu1"].pop("build_config", None)

    return edit


SIDE = 100_000
LARGE_INSIDE = {
    "pipeline": keras.layers.Pipeline([keras.layers.UpSampling2D(SIDE), keras.layers.CenterCrop(32, 32)]),
    "sequential": keras.Sequential([keras.layers.UpSampling2D(SIDE, name="inner"), keras.layers.CenterCrop(32, 32)]),
    "pipeline in sequential": keras.Sequential(
        [keras.layers.Pipeline([keras.layers.UpSampling2D(SIDE), keras.layers.CenterCrop(32, 32)])]
    ),
}


@pytest.mark.parametrize("name", LARGE_INSIDE)
def test_what_is_large_inside_a_layer_is_seen(tmp_path, members, monkeypatch, name):
    monkeypatch.setattr(keras.saving, "load_model", lambda *given, **options: pytest.fail("Keras was asked to load it"))
    path = write(tmp_path / "large.keras", edited(members, of_keras(LARGE_INSIDE[name])))
    assert "makes 10,240,000,000,000 numbers of one image" in refusal(path)


def test_a_layer_that_hides_others_is_refused(tmp_path, members):
    hidden = keras.layers.TimeDistributed(keras.Sequential([keras.layers.UpSampling1D(SIDE)], name="inner"))
    path = write(tmp_path / "large.keras", edited(members, of_keras(hidden)))
    assert "its layer relu1 (TimeDistributed) holds inner" in refusal(path)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (set_in("conv3", filters=4_000_000_000), "describes a network of 164,000,000,292 weights"),
        (set_in("conv3", filters=2**16), "describes a network of 2,687,268 weights and holds 620 numbers"),
        (set_in("conv3", kernel_size=[60_000, 60_000]), "describes a network of 115,200,000,332 weights"),
        (set_in("conv3", filters=10**30), "describes a network of 41,000,000,000,000,000,000,000,000,000,292 weights"),
        (set_in("conv3", filters=-8), "cannot be read"),
        (set_in("relu1", negative_slope="a"), "cannot be read"),
        (upsampled, "its layer relu1 makes 10,240,000,000,000 numbers of one image"),
    ],
)
def test_a_network_larger_than_its_file_is_refused_without_its_memory(tmp_path, members, monkeypatch, edit, said):
    monkeypatch.setattr(keras.saving, "load_model", lambda *given, **options: pytest.fail("Keras was asked to load it"))
    assert said in refusal(write(tmp_path / "large.keras", edited(members, edit)))


def test_archives_that_keras_did_not_write_are_refused(tmp_path, members, unseen):
    path = tmp_path / "odd.keras"
    for name in ("../evil.py", "/etc/cron.d/evil", "assets/vocabulary.txt", "model.weights.npz", "..\\evil.py"):
        assert "accepted is a .keras archive of exactly" in refusal(write(path, members | {name: b""}))
    without = {name: content for name, content in members.items() if name != "config.json"}
    assert "exactly" in refusal(write(path, without | {"./config.json": members["config.json"]}))
    write(path, members)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("config.json", members["config.json"])
    assert "config.json, model.weights.h5, config.json" in refusal(path)
    for linked in members:
        with zipfile.ZipFile(path, "w") as archive:
            for name in members:
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16 if name == linked else 0
                archive.writestr(info, "/etc/passwd" if name == linked else members[name])
        assert f"its {linked} is a link" in refusal(path)


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_zip_bombs_are_refused_unopened(tmp_path, members, unseen, name):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for other in members:
            archive.writestr(other, members[other] if other != name else bytes(2**26 + 1))
    assert path.stat().st_size < 2**20
    assert f"its {name} unpacks to more than 67,108,864 bytes" in refusal(path)


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(tmp_path, members):
    path = tmp_path / "liar.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in members:
            archive.writestr(name, members[name])
    size = struct.pack("<I", len(members["config.json"]))
    content = path.read_bytes()
    assert content.count(size) >= 2
    path.write_bytes(content.replace(size, struct.pack("<I", 100)))
    assert "cannot be read" in refusal(path)


def test_links_in_the_weights_are_refused(tmp_path, members, unseen):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["vars/0"] = np.zeros((3, 3, 3, 4), np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["layers/conv2d"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/")
    path = write(tmp_path / "evil.keras", members | {"model.weights.h5": (tmp_path / "a.h5").read_bytes()})
    assert "holds a link to another file at /layers/conv2d" in refusal(path)


def test_paths_that_lead_nowhere_are_told_in_words(tmp_path):
    for address in ("hf://someone/model", "gs://bucket/model.keras", "https://example.org/model.keras"):
        with pytest.raises(InputError, match=f"{address} is an address; accepted are files and folders of this"):
            find_weights(TINY, address)
    (tmp_path / "away.keras").symlink_to(tmp_path / "elsewhere.keras")
    (tmp_path / "round.keras").symlink_to(tmp_path / "round.keras")
    for path in (tmp_path / "away.keras", tmp_path / "round.keras"):
        for read in (read_model, require_local, lambda path: find_weights(TINY, path)):
            with pytest.raises(MissingInputError, match=rf"{path} is a link to .*, where nothing can be found"):
                read(path)
    (tmp_path / "folder.keras").mkdir()
    assert "IsADirectoryError" in refusal(tmp_path / "folder.keras")
    with pytest.raises(MissingInputError, match=r"there is no file .*folder\.keras/model\.keras"):
        find_weights(TINY, tmp_path / "folder.keras")
    require_local(tmp_path / "nowhere.keras")  # which the caller says


@pytest.fixture(scope="module")
def saved_files(tmp_path_factory):
    """{suffix: a file of a network's weights}, those weights, and the network to load them into."""
    folder = tmp_path_factory.mktemp("saved")
    plain = plain_backbone()
    write_legacy_h5(folder / "tiny.h5", plain)
    plain.save_weights(folder / "tiny.weights.h5")
    plain.save(folder / "tiny.keras")
    files = {suffix: folder / f"tiny{suffix}" for suffix in (".h5", ".weights.h5", ".keras")}
    return files, plain.get_weights(), build_tiny(keras.Input((32, 32, 3)))


def check_damage(saved_files, suffix, place, damage, cut):
    files, weights, model = saved_files
    path, content = files[suffix].with_name(f"broken{suffix}"), files[suffix].read_bytes()
    at = int(place * len(content))
    path.write_bytes(content[:at] + damage + (b"" if cut else content[at + len(damage) :]))
    try:
        load_weights(model, find_weights(TINY, path))
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 (most damage is found, some is none)
        return
    # Of HDF5 alone, which keeps no hash of numbers, a number may be another one; an archive has a checksum.
    same = all(np.array_equal(ours, theirs) for ours, theirs in zip(model.get_weights(), weights, strict=True))
    assert same or suffix != ".keras"


damage = given(place=st.floats(0, 1, exclude_max=True), damage=st.binary(max_size=16), cut=st.booleans())


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@damage
def test_damage_gives_the_weights_that_were_saved_or_an_input_error(saved_files, place, damage, cut):
    check_damage(saved_files, ".keras", place, damage, cut)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_no_damage_raises_anything_but_an_input_error(saved_files, suffix):
    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @damage
    def check(place, damage, cut):
        check_damage(saved_files, suffix, place, damage, cut)

    check()
