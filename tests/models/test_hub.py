"""Networks of keras-hub as backbones: tiny ones of the same classes, since published weights cannot be had here."""

import shutil
import subprocess
import sys
import warnings
import zipfile

import keras
import numpy as np
import pytest

import tlkeras as tl
from tlkeras.errors import InputError
from tlkeras.models.backbones import backbone_layers
from tlkeras.models.classifier import build_classifier, build_encoder
from tlkeras.models.cut import cut
from tlkeras.models.freezing import set_trainable
from tlkeras.models.layers import find_layer
from tlkeras.models.model_file import read_model

keras_hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed; pip install 'tlkeras[hub]'")

# keras-hub hands its windows' mask on under a name that Keras takes for another mask, and says so.
MASKED = "Layer 'attn' .*was passed an input with a mask"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(f"ignore:{MASKED}:UserWarning")]

SIDE = 32
NETWORKS = {
    "ViTBackbone": {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    | {"dropout_rate": 0.2, "attention_dropout": 0.2},
    "DeiTBackbone": {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
    | {"dropout_rate": 0.2},
    # Trained at 48 pixels, for which it has position embeddings.
    "DINOV2Backbone": {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
    | {"num_register_tokens": 2, "position_embedding_shape": (48, 48, 3), "dropout_rate": 0.2},
    "DINOV3Backbone": {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32},
    "SwinTransformerBackbone": {"patch_size": 4, "embed_dim": 8, "depths": (2, 2), "num_heads": (2, 2)}
    | {"window_size": 4, "drop_path": 0.3, "dropout_rate": 0.2},
}


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """{class: the folder of a preset of its}, with a converter of its own for ViT."""
    folder = tmp_path_factory.mktemp("presets")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", MASKED, UserWarning)
        _save(folder)
    return {kind: str(folder / kind.lower()) for kind in NETWORKS}


def _save(folder):
    keras.utils.set_random_seed(0)
    for kind, config in NETWORKS.items():
        network = getattr(keras_hub.models, kind)(image_shape=(SIDE, SIDE, 3), **config)
        network.save_to_preset(str(folder / kind.lower()))
    converter = keras_hub.layers.ViTImageConverter(
        image_size=(SIDE, SIDE), scale=[1 / 127.5, 1 / 64, 1 / 32], offset=[-1.0, 0.5, 0.0]
    )
    converter.save_to_preset(str(folder / "vitbackbone"))


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """Keras' cache, where the weights of presets are kept."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def images(n=4, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (n, SIDE, SIDE, 3)).astype("float32")


def row(presets, kind, **arguments):
    return tl.Backbone.from_hub(presets[kind], preprocessing=None if kind == "ViTBackbone" else "imagenet", **arguments)


@pytest.mark.parametrize("kind", NETWORKS)
def test_features_are_the_networks_tokens_and_frozen_it_is_cut_behind_them(presets, kind):
    backbone = row(presets, kind)
    model = build_classifier(backbone, n_classes=2, image_size=(SIDE, SIDE), weights="imagenet")
    set_trainable(model, backbone)
    parts = cut(model)
    network = keras_hub.models.Backbone.from_preset(presets[kind])
    pixels = images()
    if kind == "ViTBackbone":
        seen = pixels * np.float32([1 / 127.5, 1 / 64, 1 / 32]) + np.float32([-1.0, 0.5, 0.0])
    else:
        seen = (pixels / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    given = dict.fromkeys(network.input, seen) if isinstance(network.input, dict) else seen
    tokens = keras.ops.convert_to_numpy(network(given, training=False))[:, -16:]
    grid = find_layer(model, None).output
    assert grid.shape == (None, 4, 4, tokens.shape[-1])
    patches = keras.ops.convert_to_numpy(keras.Model(model.input, grid)(pixels, training=True))
    np.testing.assert_allclose(patches.reshape(tokens.shape), tokens, atol=2e-5)  # row by row
    assert not parts.trunk.trainable_weights
    features = parts.trunk(pixels, training=True)
    np.testing.assert_allclose(parts.tail(features), model(pixels), atol=1e-6)


@pytest.mark.parametrize("kind", NETWORKS)
def test_random_weights_are_a_function_of_the_seed(presets, kind):
    backbone = row(presets, kind)

    def drawn(seed):
        keras.utils.set_random_seed(np.random.randint(1000))  # no global generator may matter
        return build_encoder(backbone, image_size=(SIDE, SIDE), seed=seed).get_weights()

    first, second, other = drawn(1), drawn(1), drawn(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert any(weights.std() > 0 for weights in first)
    for of_one, of_other in zip(first, other, strict=True):
        whole = np.issubdtype(of_one.dtype, np.integer)  # Swin's numbers of windows are no draw
        assert whole or of_one.std() == 0 or not np.array_equal(of_one, of_other)


def test_it_is_trained_cut_saved_and_read_back(presets, tmp_path, toy_pixels):
    images, labels = toy_pixels
    backbone = row(presets, "DINOV2Backbone")
    phases = (tl.Phase(2, 1e-2), tl.Phase(1, 1e-3, unfreeze="all"))
    tuner = tl.Tuner(backbone, image_size=(SIDE, SIDE), head=tl.Head(hidden=()), phases=phases, batch_size=16)
    first, second = (tuner.fit((images, labels), (images, labels), seed=seed) for seed in (3, 3))
    assert all(np.array_equal(a, b) for a, b in zip(first.model.get_weights(), second.model.get_weights(), strict=True))
    assert first.weights.source == "cache"
    assert first.layers["trainable_phase_1"].tolist().count("yes") == 1  # the head's
    read = tl.load(first.save(tmp_path / "saved"))
    np.testing.assert_allclose(read.predict_pixels(images), first.predict_pixels(images), atol=1e-6)
    assert type(tuner).from_description(tuner.describe()).describe() == tuner.describe()


def test_a_run_of_another_process_reads_it_without_keras_hub_imported(presets, tmp_path):
    backbone = row(presets, "ViTBackbone")
    model = build_classifier(backbone, n_classes=2, image_size=(SIDE, SIDE), weights="imagenet")
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "expected.npy", model.predict(images(), verbose=0))
    program = f"""
import sys
from pathlib import Path
import numpy as np
from tlkeras.models.model_file import read_model
assert "keras_hub" not in sys.modules
model = read_model(Path({str(tmp_path)!r}) / "model.keras")
pixels = np.random.default_rng(0).uniform(0, 255, (4, {SIDE}, {SIDE}, 3)).astype("float32")
np.testing.assert_allclose(model.predict(pixels, verbose=0), np.load({str(tmp_path / "expected.npy")!r}), atol=1e-6)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_class_token_can_be_had_alone(presets):
    backbone = row(presets, "ViTBackbone", tokens="class")
    features = build_encoder(backbone, image_size=(SIDE, SIDE), weights="imagenet")
    network = keras_hub.models.Backbone.from_preset(presets["ViTBackbone"])
    seen = images() * np.float32([1 / 127.5, 1 / 64, 1 / 32]) + np.float32([-1.0, 0.5, 0.0])
    np.testing.assert_allclose(features(images()), network(seen, training=False)[:, 0], atol=2e-5)
    model = build_classifier(backbone, n_classes=2, image_size=(SIDE, SIDE))
    assert [layer.name for layer in backbone_layers(model)][-1] == "hub_class"
    with pytest.raises(InputError, match="its layer hub is a model of its own"):
        find_layer(model, None)  # a single position shows nothing, and the pixels before the network show no features


def test_dropout_inside_is_off_while_it_is_frozen_and_on_while_it_learns(presets):
    backbone = row(presets, "SwinTransformerBackbone")
    model = build_classifier(backbone, n_classes=2, image_size=(SIDE, SIDE), head=tl.Head(hidden=(), dropout=0.0))
    set_trainable(model, backbone)
    assert np.array_equal(model(images(), training=True), model(images(), training=False))
    set_trainable(model, backbone, unfreeze="all")
    assert not np.array_equal(model(images(), training=True), model(images(), training=False))
    assert cut(model) is None


@pytest.mark.parametrize("kind", ["DeiTBackbone", "DINOV3Backbone", "SwinTransformerBackbone"])
def test_it_computes_in_half_precision(presets, kind):
    features = [
        build_encoder(row(presets, kind), image_size=(SIDE, SIDE), weights="imagenet", precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    full, half = (keras.ops.convert_to_numpy(each(images())) for each in features)
    assert half.dtype == np.float32
    assert 0 < np.abs(full - half).max() < 0.1 * np.abs(full).max()


def test_what_was_set_in_keras_moves_nothing(presets):
    expected = row(presets, "ViTBackbone").weights
    keras.config.set_dtype_policy("bfloat16")
    keras.config.set_image_data_format("channels_first")
    try:
        assert row(presets, "ViTBackbone").weights == expected  # the name holds a hash of the values
    finally:
        keras.config.set_dtype_policy("float32")
        keras.config.set_image_data_format("channels_last")


def test_stochastic_depth_of_dinov2_which_fails_in_training_is_switched_off(tmp_path, toy_pixels):
    config = NETWORKS["DINOV2Backbone"] | {"drop_path_rate": 0.5, "use_mask_token": True}
    network = keras_hub.models.DINOV2Backbone(image_shape=(SIDE, SIDE, 3), **config)
    network.save_to_preset(str(tmp_path))
    backbone = tl.Backbone.from_hub(tmp_path, preprocessing="unit")
    images, labels = toy_pixels
    phase = tl.Phase(1, 1e-3, unfreeze="all")
    tl.Tuner(backbone, image_size=(SIDE, SIDE), phases=phase, batch_size=16).fit((images, labels), seed=0)
    encoder = build_encoder(backbone, image_size=(SIDE, SIDE), weights="imagenet")
    given = keras.ops.convert_to_numpy(network({"images": images[:2] / np.float32(255)}))[:, 3:].mean(axis=1)
    np.testing.assert_allclose(encoder(images[:2].astype("float32")), given, atol=2e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "no/such/preset"}, "preset: 'no/such/preset' cannot be read"),
        ({"tokens": "mean"}, "tokens: received 'mean'"),
        ({"preprocessing": "zscore"}, "preprocessing: received 'zscore'"),
        ({}, "does not say how its pixels are scaled"),
    ],
)
def test_what_cannot_be_had_is_refused_at_the_door(presets, arguments, message):
    arguments = {"preset": presets["DeiTBackbone"]} | arguments
    with pytest.raises(InputError, match=message):
        tl.Backbone.from_hub(arguments.pop("preset"), **arguments)


def test_other_networks_are_refused(tmp_path):
    resnet = keras_hub.models.ResNetBackbone([64], [3], [64], [1], [1], "basic_block", image_shape=(SIDE, SIDE, 3))
    resnet.save_to_preset(str(tmp_path / "resnet"))
    bert = keras_hub.models.BertBackbone(vocabulary_size=9, num_layers=1, num_heads=1, hidden_dim=4, intermediate_dim=4)
    bert.save_to_preset(str(tmp_path / "bert"))
    with pytest.raises(InputError, match="is a ResNetBackbone; accepted: ViTBackbone"):
        tl.Backbone.from_hub(str(tmp_path / "resnet"), preprocessing="unit")
    with pytest.raises(InputError, match="is a BertBackbone; accepted"):
        tl.Backbone.from_hub(str(tmp_path / "bert"), preprocessing="unit")


@pytest.mark.parametrize(
    ("kind", "size", "accepted"),
    [
        ("ViTBackbone", (16, 64), "32x32, for which it has position embeddings"),  # as many patches, elsewhere
        ("DeiTBackbone", (64, 64), "32x32, for which it has position embeddings"),
        ("DINOV2Backbone", (32, 40), "squares"),
        ("DINOV3Backbone", (40, 32), "squares"),
        ("DINOV3Backbone", (36, 36), "sides of at least 8 that 8 divides"),
        ("SwinTransformerBackbone", (36, 36), "sides of at least 32 that 8 divides"),
    ],
)
def test_images_of_a_size_that_it_cannot_take_are_refused(presets, kind, size, accepted):
    backbone = row(presets, kind)
    pixels = keras.Input((*size, 3))
    with pytest.raises(InputError, match=f"image_size: received {size[0]}x{size[1]}; .*{accepted}"):
        backbone.build(pixels)


def test_swin_takes_other_sizes_and_no_squares(presets):
    encoder = build_encoder(row(presets, "SwinTransformerBackbone"), image_size=(40, 64), weights="imagenet")
    assert np.isfinite(encoder(np.zeros((1, 40, 64, 3)))).all()


def test_swin_has_no_class_token(presets):
    with pytest.raises(InputError, match="tokens: received 'class'"):
        row(presets, "SwinTransformerBackbone", tokens="class")


def test_a_folder_of_any_name_becomes_a_name_of_layers_and_files(presets, tmp_path):
    folder = tmp_path / "vit (1) é" / "2"
    shutil.copytree(presets["ViTBackbone"], folder)
    backbone = tl.Backbone.from_hub(f"{folder}/")
    assert backbone.name == "vit_1"
    assert backbone.weights[0].file.startswith("vit_1.")
    model = build_classifier(backbone, n_classes=2, image_size=(SIDE, SIDE))
    assert model.predict(images(), verbose=0).shape == (4, 2)


@pytest.mark.parametrize("prefix", ["keras_hub", "keras_nlp"])  # keras-hub registers what it has under both
def test_what_else_keras_hub_registers_is_not_read(tmp_path, prefix):
    inner = keras_hub.layers.ImageConverter(scale=1 / 255)
    pixels = keras.Input((SIDE, SIDE, 3))
    keras.Model(pixels, inner(pixels)).save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(tmp_path / "model.keras", "w") as model:
        for name in whole.namelist():
            content = whole.read(name)
            model.writestr(name, content.replace(b"keras_hub>", prefix.encode() + b">"))
    with pytest.raises(InputError, match=f"holds {prefix}>ImageConverter; of keras-hub its networks of tokens"):
        read_model(tmp_path / "model.keras")
