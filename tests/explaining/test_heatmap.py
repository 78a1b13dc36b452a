from __future__ import annotations

from contextlib import contextmanager

import keras
import numpy as np
import pytest
from tiny import TINY

import tlkeras as tl
from tlkeras.errors import InputError
from tlkeras.explaining.heatmap import grad_cam
from tlkeras.training.tuned_classifier import TunedClassifier

NAMES = ("a", "b", "c")


def noise(side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def small_classifier(*ends, channels=2, side=8):
    """Pixels -> ReLU convolution of stride 2, random -> average -> 3 scores, random -> `ends`."""
    x = pixels = keras.Input((side, side, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 255, name="preprocess_unit")(x)
    x = keras.layers.Conv2D(channels, 2, strides=2, activation="relu", name="conv")(x)
    x = keras.layers.GlobalAveragePooling2D(name="head_avg")(x)
    for end in ends:
        x = end(x)
    model = keras.Model(pixels, x)
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=weight.shape).astype(np.float32) for weight in model.get_weights()])
    return TunedClassifier(model=model, class_names=NAMES[: model.output_shape[-1]], image_size=(side, side))


def dense(activation="softmax", **options):
    return keras.layers.Dense(3, activation=activation, name="head_probs", **options)


def tiny_classifier(seed=0, **head):
    head = tl.Head(**({"hidden": (8,), "dropout": 0.5, "batch_norm": True} | head))
    model = tl.build_classifier(TINY, n_classes=3, image_size=(32, 32), head=head, seed=seed)
    rng = np.random.default_rng(seed)
    for layer in model.layers:  # BatchNorm statistics that matter
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return TunedClassifier(model=model, class_names=NAMES, image_size=(32, 32))


@contextmanager
def precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    yield
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="module")
def tiny():
    return tiny_classifier()


def resized(coarse, side):
    """Bilinear by hand: pixel centres, the edge carried on outside."""
    n = len(coarse)
    at = np.clip((np.arange(side) + 0.5) * n / side - 0.5, 0, n - 1)
    rows = np.stack([np.interp(at, np.arange(n), column) for column in coarse.T], axis=1)
    return np.stack([np.interp(at, np.arange(n), row) for row in rows])


def by_hand(classifier, image, kernel, label):
    """With average pooling the weight of channel c is kernel[c, label] / positions: the paper's link to CAM."""
    maps = keras.Model(classifier.model.input, classifier.model.get_layer("conv").output)(image[None] * 1.0)[0]
    coarse = np.maximum(np.asarray(maps) @ (kernel[:, label] / maps.shape[0] ** 2), 0)
    heat = resized(coarse, len(image))
    return heat / heat.max() if heat.any() else heat


@pytest.mark.parametrize("label", [0, 1, 2])
def test_with_average_pooling_it_is_the_class_activation_map(label):
    classifier, image = small_classifier(dense(), channels=5), noise(8)
    heatmap = grad_cam(classifier, image, label=label)
    kernel = classifier.model.get_layer("head_probs").get_weights()[0]
    np.testing.assert_allclose(heatmap.heat, by_hand(classifier, image, kernel, label), atol=1e-5)
    assert heatmap.heat.dtype == np.float32
    assert heatmap.heat.max() == 1
    assert (heatmap.label, heatmap.class_name, heatmap.layer) == (label, NAMES[label], "conv")
    assert heatmap.image.dtype == np.uint8
    assert heatmap.probability == pytest.approx(classifier.predict_pixels(image[None])[0, label])


@pytest.mark.parametrize(
    "ends",
    [
        lambda: [dense("sigmoid")],
        lambda: [dense("linear", use_bias=False)],
        lambda: [dense("linear"), keras.layers.Softmax()],
        lambda: [dense("linear"), keras.layers.Activation("softmax")],
    ],
    ids=["sigmoid", "linear", "softmax layer", "activation layer"],
)
def test_the_score_is_what_goes_into_the_last_activation(ends):
    classifier, image = small_classifier(*ends(), channels=5), noise(8)
    kernel = classifier.model.get_layer("head_probs").get_weights()[0]
    heat = grad_cam(classifier, image, label=1).heat
    np.testing.assert_allclose(heat, by_hand(classifier, image, kernel, 1), atol=1e-5)
    assert heat.max() == 1


def test_a_probability_of_one_still_has_a_gradient():
    classifier = small_classifier(dense())
    last = classifier.model.get_layer("head_probs")
    kernel, bias = last.get_weights()
    last.set_weights([np.abs(kernel), np.add(bias, [0, 500, 0])])
    heatmap = grad_cam(classifier, noise(8))
    assert (heatmap.label, heatmap.probability) == (1, 1.0)
    assert heatmap.heat.max() == 1


def test_where_nothing_speaks_for_the_label_the_map_is_empty():
    classifier = small_classifier(dense())
    last = classifier.model.get_layer("head_probs")
    kernel, bias = last.get_weights()
    last.set_weights([-np.abs(kernel), bias])
    assert not grad_cam(classifier, noise(8)).heat.any()


@pytest.mark.parametrize("layer", ["conv1", "conv2", "bn2", "relu3"])
def test_the_weight_of_a_channel_is_the_scores_slope_over_all_positions(layer):
    # Moves one channel of one layer's output everywhere at once; conv2 and bn2 lie in a branch beside a skip.
    # A classifier of its own: Keras cannot save a model any more once another begins in its middle, as `rest` does.
    classifier, image, label = tiny_classifier(), noise(32), 2
    heatmap = grad_cam(classifier, image, label=label, layer=layer)
    model = classifier.model
    maps = model.get_layer(layer).output
    hidden, last = model.layers[-2], model.layers[-1]
    value = keras.Model(model.input, maps)(image[None] * 1.0).numpy()
    rest = keras.Model([model.input, maps], hidden.output)

    def score(channel, step):
        moved = value.copy()
        moved[..., channel] += step
        reached = np.asarray(rest([image[None] * 1.0, moved], training=False), dtype=np.float64)
        return (reached @ last.get_weights()[0] + last.get_weights()[1])[0, label]

    step = 1e-2
    slopes = [(score(c, step) - score(c, -step)) / (2 * step) for c in range(value.shape[-1])]
    heat = resized(np.maximum(value[0] @ np.array(slopes), 0), 32)
    assert heat.max() > 0
    np.testing.assert_allclose(heatmap.heat, heat / heat.max(), atol=0.02)


def test_it_takes_the_predicted_label_and_the_last_layer_before_the_head(tiny):
    heatmap = grad_cam(tiny, noise(32).astype(np.float32))
    assert heatmap.label == tiny.predict_pixels(noise(32)[None])[0].argmax()
    assert heatmap.layer == "relu3"
    np.testing.assert_array_equal(heatmap.heat, grad_cam(tiny, noise(32), label=heatmap.label, layer="relu3").heat)


def test_labels_have_maps_of_their_own_and_earlier_calls_leave_no_trace(tiny):
    before = [weight.copy() for weight in tiny.model.get_weights()]
    first = grad_cam(tiny, noise(32), label=0).heat
    other = grad_cam(tiny, noise(32), label=1).heat
    grad_cam(tiny, noise(32, seed=9), layer="conv1")
    np.testing.assert_array_equal(grad_cam(tiny, noise(32), label=0).heat, first)
    assert np.abs(first - other).max() > 0.1
    for weight, was in zip(tiny.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, was)


def test_frozen_layers_make_no_difference(tiny):
    expected = grad_cam(tiny, noise(32), label=0, layer="conv2").heat
    frozen = tiny_classifier()
    frozen.model.trainable = False
    np.testing.assert_array_equal(grad_cam(frozen, noise(32), label=0, layer="conv2").heat, expected)
    assert not frozen.model.trainable_variables


def test_every_layer_with_positions_can_be_read(tiny):
    for layer in tiny.model.layers:
        if len(layer.output.shape) == 4:
            heatmap = grad_cam(tiny, noise(32), layer=layer.name)
            assert heatmap.layer == layer.name
            assert heatmap.heat.shape == (32, 32)
            assert heatmap.heat.min() >= 0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_gives_nearly_the_same_map(tiny, policy):
    with precision(policy):
        half = tiny_classifier()
    heat = grad_cam(half, noise(32), label=0).heat
    assert heat.dtype == np.float32
    np.testing.assert_allclose(heat, grad_cam(tiny, noise(32), label=0).heat, atol=0.1)


def test_a_reloaded_classifier_gives_the_same_map(tiny, tmp_path):
    again = tl.load(tiny.save(tmp_path))
    np.testing.assert_allclose(grad_cam(again, noise(32)).heat, grad_cam(tiny, noise(32)).heat, atol=1e-6)


def test_what_cannot_be_is_said_in_words(tiny):
    with pytest.raises(InputError, match=r"'conv22', which the model does not have\. Near: conv2, .*relu3 \(8x8\)"):
        grad_cam(tiny, noise(32), layer="conv22")
    with pytest.raises(InputError, match=r"head_dense_1 \(Dense\) has no output \(B, h, w, channels\)"):
        grad_cam(tiny, noise(32), layer="head_dense_1")
    with pytest.raises(InputError, match=r"label: received 3; accepted is an integer in 0\.\.2"):
        grad_cam(tiny, noise(32), label=3)
    with pytest.raises(InputError, match=r"accepted is \(n, 32, 32, 3\)"):
        grad_cam(tiny, noise(16))
    with pytest.raises(InputError, match=r"received dtype uint8, shape \(32, 32\)"):
        grad_cam(tiny, noise(32)[..., 0])
    with pytest.raises(InputError, match=r"received object, whose `.model` is not .*TunedClassifier"):
        grad_cam(object(), noise(32))
    with pytest.raises(InputError, match=r"ends in head_probs \(Dense, activation relu\); accepted is"):
        grad_cam(small_classifier(dense("relu")), noise(8))


def test_a_layer_of_a_single_position_is_refused():
    with pytest.raises(InputError, match=r"conv puts out 1x1.*no layer has positions; take larger images"):
        grad_cam(small_classifier(dense(), side=2), noise(2))


def test_a_model_without_maps_or_with_a_nested_one_is_refused():
    pixels = keras.Input((8, 8, 3))
    without = keras.Model(pixels, dense()(keras.layers.Flatten()(pixels)))
    nested = keras.Sequential([pixels, keras.layers.Rescaling(1 / 255), small_classifier().model, dense()])
    for model, message in [(without, "none of its layers has one"), (nested, "is a model of its own. Build it flat")]:
        with pytest.raises(InputError, match=message):
            grad_cam(TunedClassifier(model=model, class_names=NAMES, image_size=(8, 8)), noise(8))
    inside = nested.layers[1].name
    with pytest.raises(InputError, match=rf"layer: {inside} \(a model of its own\) has no output"):
        grad_cam(TunedClassifier(model=nested, class_names=NAMES, image_size=(8, 8)), noise(8), layer=inside)


def test_a_sequential_model_works_and_a_subclassed_one_is_refused():
    flat = small_classifier(dense(), channels=5)
    layers = [keras.Input((8, 8, 3)), *(type(layer).from_config(layer.get_config()) for layer in flat.model.layers[1:])]
    sequential = keras.Sequential(layers)
    sequential.set_weights(flat.model.get_weights())
    heat = grad_cam(TunedClassifier(model=sequential, class_names=NAMES, image_size=(8, 8)), noise(8), label=1).heat
    np.testing.assert_array_equal(heat, grad_cam(flat, noise(8), label=1).heat)

    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(InputError, match=r"not a functional keras\.Model"):
        grad_cam(TunedClassifier(model=Subclassed(), class_names=NAMES, image_size=(8, 8)), noise(8))


def test_a_gradient_beyond_half_precision_is_named():
    with precision("mixed_float16"):
        classifier = small_classifier(dense(dtype="float32"))
    last = classifier.model.get_layer("head_probs")
    kernel, bias = last.get_weights()
    last.set_weights([kernel * 1e7, bias])
    with pytest.raises(InputError, match="gradient at conv is not finite"):
        grad_cam(classifier, noise(8))


def test_without_a_name_a_layer_of_a_single_position_is_passed_over():
    x = pixels = keras.Input((8, 8, 3))
    for name in ("two", "one"):
        x = keras.layers.Conv2D(4, 4, strides=4 if name == "two" else 2, padding="same", name=name)(x)
    model = keras.Model(pixels, dense()(keras.layers.Flatten(name="head_flatten")(x)))
    classifier = TunedClassifier(model=model, class_names=NAMES, image_size=(8, 8))
    assert grad_cam(classifier, noise(8)).layer == "two"
    with pytest.raises(InputError, match="one puts out 1x1"):
        grad_cam(classifier, noise(8), layer="one")
