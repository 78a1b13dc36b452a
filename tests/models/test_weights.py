import hashlib
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from make_resnet18_reference import write_safetensors
from tiny import TINY, build_tiny

from tlkeras.errors import InputError, MissingInputError
from tlkeras.files import sha256_of
from tlkeras.models.backbones import Backbone, PublishedWeights, backbone_layers
from tlkeras.models.classifier import build_classifier, build_encoder
from tlkeras.models.weights import find_weights, load_weights, read_whole
from tlkeras.models.weights_file import WeightsFile
from tlkeras.models.zoo import BACKBONES, IMAGENET_VALUES

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
OFFICIAL = PublishedWeights("tiny_no_top.h5", url="http://127.0.0.1:9/tiny_no_top.h5", md5=MD5)  # nobody answers there
FOLDED = PublishedWeights("tiny_no_top.bn_folded.h5", batch_norm_folded=True)
ROW = replace(TINY, weights=(OFFICIAL, FOLDED))
OF_TORCH = PublishedWeights("tiny.pth", url="http://127.0.0.1:9/tiny.pth", sha256_prefix=SHA256[:8])
TORCH_ROW = replace(TINY, weights=(OF_TORCH,), torch_names=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of Keras, and no weights folder."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("TLKERAS_WEIGHTS", raising=False)
    (tmp_path / "keras" / "models").mkdir(parents=True)
    return tmp_path / "keras" / "models"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def backbone_weights(model):
    return [weight for layer in backbone_layers(model) for weight in layer.get_weights()]


def assert_backbone_equals(model, expected):
    for one, other in zip(backbone_weights(model), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def plain_backbone(seed=0):
    """As others would have it: no preprocessing, no head, every weight drawn, BatchNorm's too."""
    model = build_tiny(keras.Input((32, 32, 3)))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.5, 1, weight.shape).astype(np.float32) for weight in model.get_weights()])
    return model


def write_legacy_h5(path, model):
    """The layout of the files that keras.applications publishes."""
    with h5py.File(path, "w") as file:
        layers = [layer for layer in model.layers if layer.weights]
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [weight.name.encode() for weight in layer.weights]
            for weight in layer.weights:
                group.create_dataset(weight.name, data=np.asarray(weight))


def test_none_means_random_and_a_found_file_is_taken_as_it_is():
    assert find_weights(TINY, None) is None
    found = WeightsFile(path=Path("a.h5"), sha256="0", source="path")
    assert find_weights(TINY, found) is found


def test_the_folder_comes_before_the_cache_and_the_argument_before_the_variable(folder, cache, tmp_path, monkeypatch):
    (cache / OFFICIAL.file).write_bytes(CONTENT)
    found = find_weights(ROW, "imagenet", folder=folder)
    assert (found.path, found.source) == (cache / OFFICIAL.file, "cache")
    (folder / OFFICIAL.file).write_bytes(CONTENT)
    monkeypatch.setenv("TLKERAS_WEIGHTS", str(folder))
    found = find_weights(ROW, "imagenet")
    assert found == WeightsFile(
        path=folder / OFFICIAL.file,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        source="folder",
        published_hash=MD5,
    )
    other = tmp_path / "other"
    other.mkdir()
    (other / OFFICIAL.file).write_bytes(CONTENT)
    assert find_weights(ROW, "imagenet", folder=other).path == other / OFFICIAL.file


def test_the_folded_file_stands_in_where_the_official_one_is_missing_and_says_so(folder):
    (folder / FOLDED.file).write_bytes(b"folded")
    for found in (find_weights(ROW, "imagenet", folder=folder), find_weights(ROW, folder / FOLDED.file)):
        assert found.batch_norm_folded
        assert "only while BatchNorm is frozen" in found.note
    (folder / OFFICIAL.file).write_bytes(CONTENT)
    assert not find_weights(ROW, "imagenet", folder=folder).batch_norm_folded


def test_a_file_with_another_hash_is_refused(folder):
    (folder / OFFICIAL.file).write_bytes(CONTENT + b"!")
    with pytest.raises(InputError, match=f"damaged or another file.*the published one {MD5}"):
        find_weights(ROW, "imagenet", folder=folder)


def test_the_sha256_of_pytorchs_files_begins_as_their_name_says(folder):
    (folder / OF_TORCH.file).write_bytes(CONTENT)
    found = find_weights(TORCH_ROW, "imagenet", folder=folder)
    assert (found.sha256, found.published_hash, found.note) == (SHA256, SHA256[:8], "")
    (folder / OF_TORCH.file).write_bytes(CONTENT + b"!")
    with pytest.raises(InputError, match=f"damaged or another file.*the published one begins with {SHA256[:8]}"):
        find_weights(TORCH_ROW, "imagenet", folder=folder)


def test_where_no_hash_is_published_the_note_says_so_with_the_sha256(folder):
    (folder / OFFICIAL.file).write_bytes(CONTENT)
    found = find_weights(replace(ROW, weights=(replace(OFFICIAL, md5=None),)), "imagenet", folder=folder)
    assert found.published_hash is None
    assert found.note == f"no hash is published for this file; its sha256 is {hashlib.sha256(CONTENT).hexdigest()}"


def test_a_download_lands_in_the_cache_whole(tmp_path, cache):
    (tmp_path / "server.h5").write_bytes(CONTENT)
    row = replace(ROW, weights=(replace(OFFICIAL, url=(tmp_path / "server.h5").as_uri()),))
    found = find_weights(row, "imagenet")
    assert (found.path, found.source, found.published_hash) == (cache / OFFICIAL.file, "download", MD5)
    assert found.path.read_bytes() == CONTENT
    assert find_weights(row, "imagenet").source == "cache"
    row = replace(TORCH_ROW, weights=(replace(OF_TORCH, url=(tmp_path / "server.h5").as_uri()),))
    assert find_weights(row, "imagenet").path == cache / OF_TORCH.file


def test_a_download_with_another_hash_leaves_nothing_behind(tmp_path, cache):
    (tmp_path / "server.h5").write_bytes(b"cut")
    for published, hashed in ((OFFICIAL, MD5), (OF_TORCH, SHA256[:8])):
        row = replace(ROW, weights=(replace(published, url=(tmp_path / "server.h5").as_uri()),))
        with pytest.raises(InputError, match=f"could not be downloaded.*damaged or another file.*{hashed}"):
            find_weights(row, "imagenet")
    assert list(cache.iterdir()) == []


def test_without_network_the_error_names_the_file_the_address_the_place_and_the_hash(cache):
    with pytest.raises(InputError) as caught:
        find_weights(ROW, "imagenet")
    for word in (OFFICIAL.file, OFFICIAL.url, str(cache), MD5, "--weights", "TLKERAS_WEIGHTS"):
        assert word in str(caught.value)
    with pytest.raises(InputError, match="Keras publishes no hash for it"):
        find_weights(replace(ROW, weights=(replace(OFFICIAL, md5=None),)), "imagenet")
    with pytest.raises(InputError, match=rf"tiny\.pth where there is a network \(its sha256 begins with {SHA256[:8]}"):
        find_weights(TORCH_ROW, "imagenet")


def test_what_is_not_there_is_named(tmp_path, folder):
    with pytest.raises(MissingInputError, match=r'there is no file .*ImageNet; accepted: "imagenet", None'):
        find_weights(ROW, tmp_path / "ImageNet")
    with pytest.raises(MissingInputError, match=r"weights/model\.keras"):
        find_weights(ROW, folder)
    with pytest.raises(MissingInputError, match="there is no folder"):
        find_weights(ROW, "imagenet", folder=tmp_path / "nowhere")
    with pytest.raises(MissingInputError, match=r"there is no tiny_no_top\.bn_folded\.h5 in"):
        find_weights(replace(TINY, weights=(FOLDED,)), "imagenet", folder=folder)
    with pytest.raises(InputError, match="no ImageNet file is known for tiny"):
        find_weights(TINY, "imagenet")
    (folder / "weights.pth").write_bytes(CONTENT)
    with pytest.raises(InputError, match=r"accepted for tiny are files that end in \.h5, \.weights\.h5 or \.keras\.$"):
        find_weights(ROW, folder / "weights.pth")
    assert find_weights(TORCH_ROW, folder / "weights.pth").sha256 == SHA256
    (folder / "weights.txt").write_bytes(CONTENT)
    with pytest.raises(InputError, match=r"PyTorch's, in \.pth, \.pt, \.safetensors"):
        find_weights(TORCH_ROW, folder / "weights.txt")


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_a_plain_network_loads_behind_preprocessing(tmp_path, suffix):
    plain = plain_backbone()
    path = tmp_path / f"tiny{suffix}"
    if suffix == ".h5":
        write_legacy_h5(path, plain)
    elif suffix == ".keras":
        plain.save(path)
    else:
        plain.save_weights(path)
    model = build_classifier(TINY, n_classes=2, image_size=(32, 48), weights=path)
    assert_backbone_equals(model, plain.get_weights())
    assert find_weights(TINY, path).sha256 == sha256_of(path)


def torch_state(model):
    """The weights of a network as PyTorch names and lays them out."""
    named = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, bias = layer.get_weights()
            named |= {f"{layer.name}.weight": kernel.transpose(3, 2, 0, 1), f"{layer.name}.bias": bias}
        elif isinstance(layer, keras.layers.BatchNormalization):
            names = ("weight", "bias", "running_mean", "running_var")
            named |= {f"{layer.name}.{name}": w for name, w in zip(names, layer.get_weights(), strict=True)}
            named[f"{layer.name}.num_batches_tracked"] = np.array(3)
    return named | {"fc.weight": np.zeros((5, 8), np.float32), "fc.bias": np.zeros(5, np.float32)}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_pytorchs_names_and_axes_become_keras(tmp_path, prefix):
    plain = plain_backbone()
    path = tmp_path / "tiny.safetensors"
    write_safetensors(path, {prefix + name: array for name, array in torch_state(plain).items()})
    model = build_classifier(TORCH_ROW, n_classes=2, image_size=(32, 48), weights=path)
    assert_backbone_equals(model, plain.get_weights())


def test_another_network_of_pytorchs_is_refused_with_the_names_that_differ(tmp_path):
    whole, path = torch_state(plain_backbone()), tmp_path / "tiny.safetensors"

    def said(state):
        write_safetensors(path, state)
        with pytest.raises(InputError, match="holds another network than tiny") as caught:
            build_encoder(TORCH_ROW, image_size=(32, 32), weights=path)
        return str(caught.value)

    assert "it lacks bn2.running_var. Give" in said({n: a for n, a in whole.items() if n != "bn2.running_var"})
    assert "it holds besides conv4.weight. Give" in said(whole | {"conv4.weight": whole["conv3.weight"]})
    assert "another shape conv2.bias, (8,) for (4,). Give" in said(whole | {"conv2.bias": whole["conv3.bias"]})
    assert "conv1.weight, conv1.bias, bn1.weight and 15 more" in said({"fc.weight": whole["fc.weight"]})
    half = {"module." * (number % 2) + name: array for number, (name, array) in enumerate(whole.items())}
    assert "module_" in said(half)


def test_an_earlier_run_gives_its_backbone_and_not_its_head(tmp_path):
    earlier = build_classifier(TINY, n_classes=5, image_size=(32, 32), preprocessing="unit", seed=1)
    earlier.save(tmp_path / "model.keras")
    assert find_weights(TINY, tmp_path).source == "run"
    model = build_classifier(TINY, n_classes=2, image_size=(48, 48), weights=tmp_path, seed=2)
    assert_backbone_equals(model, backbone_weights(earlier))
    fresh = build_classifier(TINY, n_classes=2, image_size=(48, 48), seed=2)
    np.testing.assert_array_equal(model.get_layer("head_probs").kernel, fresh.get_layer("head_probs").kernel)


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_a_file_that_changed_since_it_was_found_is_not_loaded(tmp_path, suffix):
    path, save = tmp_path / f"tiny{suffix}", "save" if suffix == ".keras" else "save_weights"
    getattr(plain_backbone(seed=0), save)(path)
    found = find_weights(TINY, path)
    model = build_encoder(TINY, image_size=(32, 32), weights=found)
    before = sha256_of(path)
    getattr(plain_backbone(seed=1), save)(path)  # as good a file of the same network
    with pytest.raises(InputError, match=f"{path} is not the file that was found .*{sha256_of(path)}.*{before}"):
        load_weights(model, found)
    assert_backbone_equals(model, plain_backbone(seed=0).get_weights())
    if suffix == ".keras":
        with pytest.raises(InputError, match="is not the file that was found"):
            read_whole(found)
    load_weights(model, find_weights(TINY, path))
    assert_backbone_equals(model, plain_backbone(seed=1).get_weights())


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras' first words on the way to its error
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_another_networks_file_and_a_cut_one_are_refused(tmp_path, suffix):
    other = build_tiny(keras.Input((32, 32, 3)), filters=6)
    path = tmp_path / f"tiny{suffix}"
    if suffix == ".h5":
        write_legacy_h5(path, other)
    elif suffix == ".keras":
        other.save(path)
    else:
        other.save_weights(path)
    with pytest.raises(InputError, match="tiny"):
        build_encoder(TINY, image_size=(32, 32), weights=path)
    whole, said = path.read_bytes(), "cannot be read" if suffix == ".keras" else "does not load into tiny"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=said):
        build_encoder(TINY, image_size=(32, 32), weights=path)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match=said):
        build_encoder(TINY, image_size=(32, 32), weights=path)


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv2_050", "mobilenet_025"])
def test_the_file_trained_at_224_pixels_is_the_one_wanted_at_every_size(name):
    assert "_224_" in BACKBONES[name].weights[0].file


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        pytest.param(
            "mobilenetv2_035",
            "df1c3db1d0d9193719c4c70f707c56f7021f999f825bdc57454c275cf6def19f",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "mobilenetv2_050",
            "279052de2cfa801003aa6cc25cc4d007d35dd0b76f06935268c79788b7642d05",
            marks=pytest.mark.slow,
        ),
        ("mobilenet_025", "dbdb03ee2a22fd895301636cd328b234bb3a9952358f436d82f46b81e0d5b0bf"),
        pytest.param("mobilenetv2", None, marks=pytest.mark.slow),  # rebuilt, so nobody else's file has its hash
    ],
)
def test_real_weights_load_as_keras_itself_loads_them(real_weights, name, sha256):
    found = find_weights(name, "imagenet", folder=real_weights)
    assert found.batch_norm_folded == (sha256 is None)
    assert sha256 is None or found.sha256 == sha256
    model = build_encoder(name, image_size=(96, 96), weights=found)
    row = BACKBONES[name]
    constructor = getattr(keras.applications, row.constructor)
    keras_own = constructor(include_top=False, weights=str(found.path), input_shape=(96, 96, 3), **row.arguments)
    assert_backbone_equals(model, [weight for layer in keras_own.layers for weight in layer.get_weights()])


def test_a_linear_layer_of_torch_is_turned_round():
    from tlkeras.models.torch_names import _as_keras

    linear, convolution = np.arange(6).reshape(2, 3), np.arange(120).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(_as_keras(linear), linear.T)
    assert _as_keras(convolution)[1, 4, 2, 0] == convolution[0, 2, 1, 4]
    np.testing.assert_array_equal(_as_keras(linear[0]), linear[0])


@pytest.fixture
def known_values(tmp_path, monkeypatch):
    """A folder with a network's weights under another name, whose values are known as ImageNet's; and the network."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    network = build_encoder("mobilenet_025", image_size=(32, 32), weights=None, seed=5)
    values = b"".join(np.asarray(array, "<f4").tobytes() for array in network.get_weights())
    monkeypatch.setitem(IMAGENET_VALUES, "mobilenet_025", hashlib.sha256(values).hexdigest())
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights", network


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_025_mine.weights.h5",
        *(pytest.param(f"mobilenet_025{suffix}", marks=pytest.mark.slow) for suffix in (".h5", ".keras")),
    ],
)
def test_a_file_with_imagenets_values_is_known_whatever_its_container_and_name(known_values, name):
    folder, network = known_values
    if name.endswith("weights.h5"):
        network.save_weights(folder / name)
    else:
        network.save(folder / name)
    other = build_encoder("mobilenet_025", image_size=(32, 32), weights=None, seed=6)
    other.save_weights(folder / "mobilenet_025_a_first.weights.h5")
    found = find_weights("mobilenet_025", "imagenet", folder=folder)
    assert (found.path.name, found.source) == (name, "folder")
    assert "equal in values to the published ones" in found.note


def test_a_file_with_other_values_is_taken_by_its_path_alone(known_values, monkeypatch):
    folder, _ = known_values
    other = build_encoder("mobilenet_025", image_size=(32, 32), weights=None, seed=6)
    other.save_weights(folder / "mobilenet_025_mine.weights.h5")
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(InputError, match=r"mobilenet_025_mine\.weights\.h5: other values than ImageNet's"):
        find_weights("mobilenet_025", "imagenet", folder=folder)
    assert find_weights("mobilenet_025", folder / "mobilenet_025_mine.weights.h5").source == "path"


def test_a_backbone_of_ones_own_with_a_model_in_it_loads_its_whole_file(tmp_path):
    def stem_and_model(input_tensor, weights=None):
        inner = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(2, 1, name="inside")], name="inner")
        return inner(keras.layers.Conv2D(4, 1, name="stem")(input_tensor))

    backbone = Backbone("own", stem_and_model, preprocessing="none", native_size=8, min_size=8, stages={"block1": 0})
    pixels = keras.Input((8, 8, 3))
    trained = keras.Model(pixels, backbone.build(pixels))
    trained.save_weights(tmp_path / "own.weights.h5")
    encoder = build_encoder(backbone, image_size=(8, 8), weights=tmp_path / "own.weights.h5")
    for given, loaded in zip(trained.get_weights(), encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, given)
