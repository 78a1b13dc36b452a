from dataclasses import replace

import keras
import numpy as np
import pytest
from tiny import TINY, build_tiny

from tlkeras.errors import InputError
from tlkeras.models.backbones import backbone_layers
from tlkeras.models.classifier import build_classifier, build_encoder, encoder_of, preprocess
from tlkeras.models.head import Head
from tlkeras.models.zoo import BACKBONES

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 40, 3)).astype(np.float32)


def preprocessed(backbone, mode):
    pixels = keras.Input((32, 40, 3))
    return keras.Model(pixels, preprocess(pixels, backbone, mode)).predict(PIXELS, verbose=0)


def weights_of(backbone, seed, global_seed, image_size=(32, 32)):
    keras.utils.set_random_seed(global_seed)
    return build_classifier(backbone, n_classes=2, image_size=image_size, seed=seed).get_weights()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("unit", PIXELS / 255),
        ("symmetric", PIXELS / 127.5 - 1),
        ("imagenet", (PIXELS / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("backbone", PIXELS[..., ::-1] - [103.939, 116.779, 123.68]),
    ],
)
def test_preprocessing_can_be_chosen(mode, expected):
    np.testing.assert_allclose(preprocessed(BACKBONES["vgg16"], mode), expected, rtol=0, atol=1e-4)


def test_a_network_that_scales_inside_gets_nothing_in_front_unless_the_fault_is_asked_for():
    row = BACKBONES["mobilenetv3small"]
    np.testing.assert_array_equal(preprocessed(row, "backbone"), PIXELS)
    model = build_encoder(row, image_size=(32, 40), preprocessing="unit")
    scaled_twice = keras.Model(model.input, backbone_layers(model)[0].output).predict(PIXELS, verbose=0)
    np.testing.assert_allclose(scaled_twice, PIXELS / 255 / 127.5 - 1, rtol=0, atol=1e-6)


def test_an_unknown_preprocessing_is_refused():
    with pytest.raises(InputError, match="received 'tf'; accepted: backbone, unit, symmetric, imagenet"):
        build_encoder(TINY, image_size=(32, 32), preprocessing="tf")


def test_the_model_is_flat_and_goes_from_pixels_to_probabilities():
    model = build_classifier(TINY, n_classes=3, image_size=(32, 40), head=Head(hidden=(8,)))
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert [layer.name for layer in model.layers] == [
        *("pixels", "preprocess_symmetric"),
        *("conv1", "bn1", "relu1", "conv2", "bn2", "add2", "conv3", "bn3", "relu3"),
        *("head_flatten", "head_dense_1", "head_dropout_1", "head_probs"),
    ]
    assert [layer.name for layer in backbone_layers(model)] == [layer.name for layer in model.layers[2:-4]]
    assert model.name == "tiny"
    probs = model.predict(PIXELS, verbose=0)
    assert probs.shape == (2, 3)
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)


# Between them: Conv2D, DepthwiseConv2D, SeparableConv2D, BatchNormalization, with and without bias.
@pytest.mark.parametrize(
    ("backbone", "image_size"),
    [(TINY, (32, 32)), ("mobilenet_025", (32, 32)), pytest.param("xception", (71, 71), marks=pytest.mark.slow)],
    ids=["tiny", "mobilenet_025", "xception"],
)
def test_random_weights_are_a_function_of_the_seed_alone(backbone, image_size):
    first, again = (weights_of(backbone, 0, global_seed, image_size) for global_seed in (1, 2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    kernels = [weight for weight in first if weight.ndim > 1]
    others = [weight for weight in weights_of(backbone, 1, 1, image_size) if weight.ndim > 1]
    assert not any(np.array_equal(kernel, other) for kernel, other in zip(kernels, others, strict=True))


def test_random_weights_follow_each_layers_own_rule():
    model = build_classifier(TINY, n_classes=2, image_size=(32, 32))
    kernel = np.asarray(model.get_layer("conv3").kernel)  # 3 x 3, 4 channels to 8: Glorot's limit
    limit = np.sqrt(6 / (9 * 4 + 9 * 8))
    assert 0.8 * limit < abs(kernel).max() <= limit
    assert not np.asarray(model.get_layer("conv3").bias).any()


def test_a_weight_whose_rule_is_not_known_is_refused():
    class Scale(keras.layers.Layer):
        def build(self, shape):
            self.factor = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="factor")

        def call(self, x):
            return x * self.factor

    row = replace(TINY, constructor=lambda input_tensor, weights: Scale(name="scale")(input_tensor))
    with pytest.raises(InputError, match="how scale draws its weight 'factor' is not known"):
        build_encoder(row, image_size=(32, 32))


def test_a_constructor_may_return_the_features_and_take_arguments_of_its_own():
    row = replace(
        TINY,
        constructor=lambda input_tensor, weights, filters: build_tiny(input_tensor, filters=filters).output,
        arguments={"filters": 6},
    )
    assert build_encoder(row, image_size=(32, 32)).output_shape == (None, 12)


def test_a_constructor_that_leaves_the_input_or_takes_our_names_is_refused():
    def elsewhere(input_tensor, weights):
        return keras.layers.Conv2D(2, 3)(keras.Input(input_tensor.shape[1:]))

    def our_name(input_tensor, weights):
        return keras.layers.Conv2D(2, 3, name="head_conv")(input_tensor)

    with pytest.raises(InputError, match="tiny: its constructor has to build on `input_tensor`"):
        build_encoder(replace(TINY, constructor=elsewhere), image_size=(32, 32))
    with pytest.raises(InputError, match="tiny: its layer names must not begin with 'preprocess_' or 'head_'"):
        build_encoder(replace(TINY, constructor=our_name), image_size=(32, 32))


@pytest.mark.parametrize("image_size", [(70, 200), 224, (224,), (224.0, 224.0), None])
def test_an_image_size_that_the_network_cannot_take_is_refused(image_size):
    with pytest.raises(InputError, match=r"image_size: received .*each at least 71 for xception"):
        build_encoder("xception", image_size=image_size)


@pytest.mark.parametrize("n_classes", [1, 2.0, None])
def test_fewer_than_two_classes_are_refused(n_classes):
    with pytest.raises(InputError, match="n_classes"):
        build_classifier(TINY, n_classes=n_classes, image_size=(32, 32))


def test_an_encoder_gives_the_pooled_features_that_the_head_sees():
    model = build_classifier(TINY, n_classes=2, image_size=(32, 40), seed=5)
    features = keras.Model(model.input, backbone_layers(model)[-1].output).predict(PIXELS, verbose=0)
    for pooling, expected in (
        ("avg", features.mean(axis=(1, 2))),
        ("max", features.max(axis=(1, 2))),
        ("flatten", features.reshape(2, -1)),
    ):
        encoder = build_encoder(TINY, image_size=(32, 40), pooling=pooling, seed=5)
        np.testing.assert_allclose(encoder.predict(PIXELS, verbose=0), expected, rtol=1e-5, atol=1e-6)
        assert len(backbone_layers(encoder)) == len(backbone_layers(model))
    with pytest.raises(InputError, match="pooling: received 'mean'"):
        build_encoder(TINY, image_size=(32, 40), pooling="mean")


def of_layer(model, name):
    return keras.Model(model.input, model.get_layer(name).output).predict_on_batch(PIXELS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A classifier with BatchNorm statistics that matter, and its file."""
    head = Head(hidden=(6, 5), dropout=0.5, batch_norm=True, pooling="max")
    model = build_classifier(TINY, n_classes=3, image_size=(32, 40), head=head, preprocessing="unit", seed=5)
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return model, path


@pytest.mark.parametrize(
    ("layer", "shape"), [("conv1", (16, 20, 4)), ("bn2", (16, 20, 4)), ("add2", (16, 20, 4)), ("conv3", (8, 10, 8))]
)
def test_an_encoder_up_to_a_layer_of_the_backbone(layer, shape):
    model = build_classifier(TINY, n_classes=2, image_size=(32, 40), seed=5)
    maps = of_layer(model, layer)
    assert maps.shape == (2, *shape)
    for pooling, expected in (
        ("avg", maps.mean(axis=(1, 2))),
        ("max", maps.max(axis=(1, 2))),
        ("flatten", maps.reshape(2, -1)),
    ):
        encoder = build_encoder(TINY, image_size=(32, 40), layer=layer, pooling=pooling, seed=5)
        np.testing.assert_allclose(encoder.predict_on_batch(PIXELS), expected, rtol=1e-5, atol=1e-5)
        # It computes nothing beyond the layer.
        assert encoder.layers[-2].name == layer
        assert (encoder.name, encoder.output_shape) == ("tiny", (None, expected.shape[1]))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("layer", [None, "conv2"])
def test_an_encoder_in_half_precision_gives_float32(layer, precision):
    half, exact = (
        build_encoder(TINY, image_size=(32, 40), layer=layer, precision=name) for name in (precision, "float32")
    )
    found, expected = half.predict_on_batch(PIXELS), exact.predict_on_batch(PIXELS)
    assert (half.output.dtype, found.dtype) == ("float32", np.float32)
    assert (found != expected).any()
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("layer", "units"), [("head_max", 8), ("head_dense_1", 6), ("head_batch_norm_1", 6), ("head_dense_2", 5)]
)
def test_an_encoder_up_to_a_layer_of_a_saved_head_preprocesses_as_it_was_trained(layer, units, saved):
    model, path = saved
    encoder = build_encoder(TINY, image_size=(32, 40), weights=path, layer=layer)
    found = encoder.predict_on_batch(PIXELS)
    assert found.shape == (2, units)
    np.testing.assert_allclose(found, of_layer(model, layer), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"image_size": (32, 32)}, r"a classifier on tiny for images of \(32, 40\); received .*\(32, 32\)"),
        ({"backbone": replace(TINY, name="small")}, "a classifier on tiny .*received backbone small"),
        ({"weights": None}, "head_dense_1 is a layer of a head, and weights None hold none"),
        ({"layer": "head_dense_3"}, r"'head_dense_3', which the model does not have\. Near: head_dense_"),
    ],
)
def test_a_layer_of_a_head_that_is_not_there_is_refused(given, said, saved):
    arguments = {"backbone": TINY, "image_size": (32, 40), "weights": saved[1], "layer": "head_dense_1"} | given
    with pytest.raises(InputError, match=said):
        build_encoder(**arguments)


def test_a_layer_of_a_head_is_not_looked_for_in_weights_of_a_backbone_alone(tmp_path):
    build_encoder(TINY, image_size=(32, 40)).save_weights(tmp_path / "tiny.weights.h5")
    with pytest.raises(InputError, match=r"tiny\.weights\.h5' hold none\. Give the folder of an earlier run"):
        build_encoder(TINY, image_size=(32, 40), weights=tmp_path / "tiny.weights.h5", layer="head_dense_1")


def test_an_encoder_of_a_classifier_ends_where_its_head_begins(saved):
    model, _ = saved
    before = [layer.name for layer in model.layers]
    encoder = encoder_of(model)
    np.testing.assert_allclose(
        encoder.predict_on_batch(PIXELS), of_layer(model, "relu3").mean(axis=(1, 2)), rtol=1e-5, atol=1e-6
    )
    # The layers are the classifier's own, and it stays as it was.
    assert encoder.get_layer("conv3") is model.get_layer("conv3")
    assert [layer.name for layer in model.layers] == before
    np.testing.assert_array_equal(
        encoder_of(model, layer="head_probs").predict_on_batch(PIXELS), model.predict_on_batch(PIXELS)
    )


def test_an_encoder_of_a_network_without_a_head_ends_with_it():
    pixels = keras.Input((8, 8, 3))
    maps = keras.layers.ReLU(name="maps")(pixels)
    found = encoder_of(keras.Model(pixels, maps), pooling="flatten").predict_on_batch(PIXELS[:, :8, :8])
    np.testing.assert_array_equal(found, PIXELS[:, :8, :8].reshape(2, -1))
