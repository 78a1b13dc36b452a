from __future__ import annotations

from contextlib import contextmanager

import keras
import numpy as np
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.errors import InputError

NAMES = ("a", "b", "c")


def noise(side=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def tiny_classifier(seed=0):
    head = tl.Head(hidden=(8,), dropout=0.5, batch_norm=True)
    model = tl.build_classifier(TINY, n_classes=3, image_size=(32, 32), head=head, seed=seed)
    rng = np.random.default_rng(seed)
    for layer in model.layers:  # BatchNorm statistics that matter
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return tl.TunedClassifier(model=model, class_names=NAMES, image_size=(32, 32))


def small_classifier(*layers, side=8):
    """Pixels -> `layers` -> average -> 3 probabilities."""
    x = pixels = keras.Input((side, side, 3), name="pixels")
    for layer in layers:
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D(name="head_avg")(x)
    model = keras.Model(pixels, keras.layers.Dense(3, activation="softmax", name="head_probs")(x))
    return tl.TunedClassifier(model=model, class_names=NAMES, image_size=(side, side))


@contextmanager
def precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    yield
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="module")
def tiny():
    return tiny_classifier()


def by_keras(classifier, name, image):
    """What the layer of that name puts out, in inference mode."""
    model = classifier.model
    return np.asarray(keras.Model(model.input, model.get_layer(name).output)(image[None] * 1.0, training=False))[0]


def test_values_of_a_convolution_by_hand():
    # A 1x1 kernel: channel 0 is red + 2 blue + 1, channel 1 green - 300, which is below 0.
    classifier = small_classifier(keras.layers.Conv2D(2, 1, name="conv"))
    kernel = np.array([[1, 0], [0, 1], [2, 0]], np.float32)[None, None]
    classifier.model.get_layer("conv").set_weights([kernel, np.array([1, -300], np.float32)])
    image = noise(8)
    found = tl.activations(classifier, image)
    red, green, blue = np.moveaxis(image.astype(np.float32), -1, 0)
    np.testing.assert_array_equal(found.maps, np.stack([red + 2 * blue + 1, green - 300], axis=-1))
    assert (found.layer, found.maps.dtype) == ("conv", np.float32)
    np.testing.assert_array_equal(found.image, image)


@pytest.mark.parametrize(
    ("layer", "shape"), [("conv1", (16, 16, 4)), ("bn2", (16, 16, 4)), ("add2", (16, 16, 4)), ("relu3", (8, 8, 8))]
)
def test_any_layer_with_positions_gives_what_it_gives_in_inference_mode(tiny, layer, shape):
    found = tl.activations(tiny, noise(), layer=layer)
    assert (found.layer, found.maps.shape) == (layer, shape)
    np.testing.assert_allclose(found.maps, by_keras(tiny, layer, noise()), atol=1e-5)


def test_batch_norm_and_dropout_are_in_inference_mode():
    dropout, norm = keras.layers.SpatialDropout2D(0.5, name="drop"), keras.layers.BatchNormalization(name="norm")
    classifier = small_classifier(dropout, norm)
    mean, variance = np.array([10, 20, 30], np.float32), np.array([4, 4, 4], np.float32)
    norm.set_weights([np.ones(3, np.float32), np.zeros(3, np.float32), mean, variance])
    image = noise(8)
    np.testing.assert_array_equal(tl.activations(classifier, image, layer="drop").maps, image)
    found = tl.activations(classifier, image, layer="norm").maps
    np.testing.assert_allclose(found, (image - mean) / np.sqrt(4 + norm.epsilon), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(norm.moving_mean, mean)


def test_without_a_name_it_is_the_first_convolution(tiny):
    assert tl.activations(tiny, noise()).layer == "conv1"
    pad = keras.layers.ZeroPadding2D(name="pad")
    depthwise = keras.layers.DepthwiseConv2D(2, name="deep")
    assert tl.activations(small_classifier(pad, depthwise), noise(8)).layer == "deep"


def test_grey_levels_may_be_floats(tiny):
    whole = tl.activations(tiny, noise()).maps
    given = tl.activations(tiny, np.maximum(noise() - np.float32(0.25), 0))  # rounded
    np.testing.assert_array_equal(given.maps, whole)
    assert given.image.dtype == np.uint8


def test_the_model_stays_as_it_was(tiny, tmp_path):
    model = tiny_classifier().model
    model.get_layer("conv2").trainable = False
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    classifier = tl.TunedClassifier(model=model, class_names=NAMES, image_size=(32, 32))
    optimizer, probs = model.optimizer, classifier.predict_pixels(noise()[None])
    state = lambda: ([layer.trainable for layer in model.layers], len(model.trainable_variables), model.compiled)  # noqa: E731
    before, weights = state(), model.get_weights()
    for layer in (None, "bn1", "relu3"):
        tl.activations(classifier, noise(), layer=layer)
    assert state() == before
    assert model.optimizer is optimizer
    for weight, was in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, was)
    # It can still be saved, and what is loaded gives the same.
    loaded = tl.load(classifier.save(tmp_path))
    np.testing.assert_array_equal(loaded.predict_pixels(noise()[None]), probs)
    maps = tl.activations(classifier, noise(), layer="conv2").maps
    np.testing.assert_array_equal(tl.activations(loaded, noise(), layer="conv2").maps, maps)


@pytest.mark.slow
def test_a_trained_classifier_gives_what_it_gives_after_load(toy_pixels, tmp_path):
    # With frozen layers cut off in training; their outputs belong to several graphs then.
    fitted = tiny_tuner(phases=(tl.Phase(1, 1e-2), tl.Phase(1, 1e-3, unfreeze=("block3",)))).fit(toy_pixels, seed=0)
    loaded = tl.load(fitted.save(tmp_path))
    for layer in (None, "bn2", "conv3"):
        maps = tl.activations(fitted, noise(), layer=layer).maps
        np.testing.assert_array_equal(tl.activations(loaded, noise(), layer=layer).maps, maps)
        np.testing.assert_allclose(maps, by_keras(fitted, layer or "conv1", noise()), atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_gives_nearly_the_same_in_float32(tiny, policy):
    with precision(policy):
        half = tiny_classifier()
    for layer in ("conv1", "relu3"):
        found, exact = (tl.activations(classifier, noise(), layer=layer).maps for classifier in (half, tiny))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact, atol=0.02 * np.abs(exact).max())


def test_a_layer_that_is_not_there_or_has_no_positions_is_named_with_those_to_take(tiny):
    with pytest.raises(InputError, match=r"'conv22', which the model does not have\. Near: conv2, .*relu3 \(8x8\)"):
        tl.activations(tiny, noise(), layer="conv22")
    with pytest.raises(InputError, match=r"head_dense_1 \(Dense\) has no output \(B, h, w, channels\).*relu3 \(8x8\)"):
        tl.activations(tiny, noise(), layer="head_dense_1")


def test_an_image_of_another_size_is_refused_with_the_way_to_read_one(tiny):
    with pytest.raises(InputError, match=r"received shape \(16, 16, 3\); accepted is \(32, 32, 3\)\. tl\.read_pixels"):
        tl.activations(tiny, noise(16))
    with pytest.raises(InputError, match=r"received dtype uint8, shape \(32, 32\)"):
        tl.activations(tiny, noise()[..., 0])


def test_a_classifier_without_a_keras_model_is_refused(toy_pixels):
    baseline = tl.PixelBaseline("decision_tree", image_size=(32, 32)).fit(toy_pixels, seed=0)
    for classifier in (baseline, object()):
        said = rf"received {type(classifier).__name__}, whose `.model` is not .*TunedClassifier"
        with pytest.raises(InputError, match=said):
            tl.activations(classifier, noise())


def test_a_network_without_a_convolution_asks_for_a_name():
    classifier = small_classifier(
        keras.layers.Rescaling(1 / 255, name="preprocess_unit"), keras.layers.ReLU(name="relu")
    )
    with pytest.raises(InputError, match="no convolution of its own; name a layer"):
        tl.activations(classifier, noise(8))
    np.testing.assert_allclose(tl.activations(classifier, noise(8), layer="relu").maps, noise(8) / 255, atol=1e-6)
