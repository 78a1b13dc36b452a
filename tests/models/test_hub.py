"""Networks of keras-hub as backbones: tiny ones of the same classes, since published weights cannot be had here."""

import subprocess
import sys
import warnings

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
    features = keras.ops.convert_to_numpy(parts.trunk(pixels, training=True))
    np.testing.assert_allclose(features.reshape(4, -1, tokens.shape[-1])[..., :], pooled(tokens, features), atol=2e-5)
    assert not parts.trunk.trainable_weights
    np.testing.assert_allclose(parts.tail(features), model(pixels), atol=1e-6)


def pooled(tokens, features):
    """The tokens as the cut hands them on: each of them, or their mean where the head has pooled already."""
    return tokens if features.size == tokens.size else tokens.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", NETWORKS)
def test_random_weights_are_a_function_of_the_seed(presets, kind):
    backbone = row(presets, kind)

    def drawn(seed):
        keras.utils.set_random_seed(np.random.randint(1000))  # no global generator may matter
        return build_encoder(backbone, image_size=(SIDE, SIDE), seed=seed).get_weights()

    first, second, other = drawn(1), drawn(1), drawn(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    differ = [not np.array_equal(a, b) for a, b in zip(first, other, strict=True)]
    assert sum(differ) >= sum(weights.std() > 0 for weights in first) - 1  # Swin's numbers of windows are no draw


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


def test_patches_keep_their_places_and_the_class_token_can_be_had_alone(presets):
    backbone = row(presets, "ViTBackbone", tokens="class")
    features = build_encoder(backbone, image_size=(SIDE, SIDE), weights="imagenet")
    network = keras_hub.models.Backbone.from_preset(presets["ViTBackbone"])
    seen = images() * np.float32([1 / 127.5, 1 / 64, 1 / 32]) + np.float32([-1.0, 0.5, 0.0])
    np.testing.assert_allclose(features(images()), network(seen, training=False)[:, 0], atol=2e-5)
    patches = build_classifier(row(presets, "ViTBackbone"), n_classes=2, image_size=(SIDE, SIDE))
    assert find_layer(patches, None).output.shape == (None, 4, 4, 16)
    assert [layer.name for layer in backbone_layers(patches)][-1] == "hub_patches"


def test_dropout_inside_is_off_while_it_is_frozen_and_on_while_it_learns(presets):
    backbone = row(presets, "SwinTransformerBackbone")
    model = build_classifier(backbone, n_classes=2, image_size=(SIDE, SIDE), head=tl.Head(hidden=(), dropout=0.0))
    set_trainable(model, backbone)
    assert np.array_equal(model(images(), training=True), model(images(), training=False))
    set_trainable(model, backbone, unfreeze="all")
    assert not np.array_equal(model(images(), training=True), model(images(), training=False))
    assert cut(model) is None


def test_it_computes_in_half_precision(presets):
    features = [
        build_encoder(row(presets, "DeiTBackbone"), image_size=(SIDE, SIDE), weights="imagenet", precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    full, half = (keras.ops.convert_to_numpy(each(images())) for each in features)
    assert half.dtype == np.float32
    assert 0 < np.abs(full - half).max() < 0.1 * np.abs(full).max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "no/such/preset"}, "preset: 'no/such/preset' cannot be had"),
        ({"tokens": "mean"}, "tokens: received 'mean'"),
        ({"preprocessing": "zscore"}, "preprocessing: received 'zscore'"),
        ({}, "does not say how its pixels are scaled"),
    ],
)
def test_what_cannot_be_had_is_refused_at_the_door(presets, arguments, message):
    arguments = {"preset": presets["DeiTBackbone"]} | arguments
    with pytest.raises(InputError, match=message):
        tl.Backbone.from_hub(arguments.pop("preset"), **arguments)


def test_networks_with_batch_norm_or_without_images_are_refused(tmp_path):
    resnet = keras_hub.models.ResNetBackbone([64], [3], [64], [1], [1], "basic_block", image_shape=(SIDE, SIDE, 3))
    resnet.save_to_preset(str(tmp_path / "resnet"))
    bert = keras_hub.models.BertBackbone(vocabulary_size=9, num_layers=1, num_heads=1, hidden_dim=4, intermediate_dim=4)
    bert.save_to_preset(str(tmp_path / "bert"))
    with pytest.raises(InputError, match=r"ResNetBackbone with \d BatchNorm layers"):
        tl.Backbone.from_hub(str(tmp_path / "resnet"), preprocessing="unit")
    with pytest.raises(InputError, match="BertBackbone, which takes 3 inputs"):
        tl.Backbone.from_hub(str(tmp_path / "bert"), preprocessing="unit")


def test_an_image_that_patches_do_not_fill_is_refused(presets):
    with pytest.raises(InputError, match=r"image_size: ViTBackbone cannot be built for 36x32 pixels"):
        build_encoder(row(presets, "ViTBackbone"), image_size=(36, 32))


def test_what_else_keras_hub_registers_is_not_read(tmp_path):
    inner = keras_hub.layers.ImageConverter(scale=1 / 255)
    pixels = keras.Input((SIDE, SIDE, 3))
    keras.Model(pixels, inner(pixels)).save(tmp_path / "model.keras")
    with pytest.raises(InputError, match="holds keras_hub>ImageConverter; of keras-hub its networks are read"):
        read_model(tmp_path / "model.keras")
