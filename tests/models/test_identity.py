import re
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers
from tiny import TINY

import tlkeras as tl
from tlkeras.models.classifier import build_encoder
from tlkeras.models.cut import cut
from tlkeras.models.identity import identity_of

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.float32)


def encoder(
    *,
    name=None,
    activation="relu",
    strides=2,
    with_relu=True,
    first="glorot_uniform",
    dropout_seed=None,
    weights_of=None,
    **arguments,
):
    """A small network whose layers Keras names; all weights are those of `weights_of`, where it is given."""

    def constructor(input_tensor, weights):
        x = layers.Conv2D(4, 3, strides=strides, padding="same", activation=activation, kernel_initializer=first)(
            input_tensor
        )
        x = layers.BatchNormalization(name=name)(x)
        if with_relu:
            x = layers.ReLU()(x)
        x = layers.Dropout(0.5, seed=dropout_seed)(x)
        y = layers.Conv2D(4, 3, padding="same")(x)
        return layers.Add()([x, y])

    row = replace(TINY, constructor=constructor, stages={"block1": 0})
    model = build_encoder(row, **({"image_size": (16, 16)} | arguments))
    if weights_of is not None:
        model.set_weights(weights_of.get_weights())
    return model


@pytest.fixture(scope="module")
def reference():
    return encoder()


@pytest.fixture(scope="module")
def identity(reference):
    return identity_of(reference)


def test_it_is_a_sha256(identity):
    assert re.fullmatch("[0-9a-f]{64}", identity)


def test_a_network_built_again_has_the_same_one_though_keras_names_its_layers_anew(reference, identity):
    again = encoder()
    assert [layer.name for layer in again.layers] != [layer.name for layer in reference.layers]
    assert identity_of(again) == identity


@pytest.mark.slow
def test_inceptionv3_built_again_has_the_same_one():
    once, again = (build_encoder("inceptionv3", image_size=(75, 75), seed=1) for _ in range(2))
    assert [layer.name for layer in once.layers] != [layer.name for layer in again.layers]
    assert identity_of(once) == identity_of(again)
    assert identity_of(build_encoder("inceptionv3", image_size=(75, 75), seed=2)) != identity_of(once)


def test_any_weight_changes_it(identity):
    model = encoder()
    for weight in model.weights:
        before = np.asarray(weight)
        after = before.copy()
        after.flat[-1] = np.nextafter(before.flat[-1], np.float32(9))
        weight.assign(after)
        assert identity_of(model) != identity
        weight.assign(before)
    assert identity_of(model) == identity
    batch_norm = next(layer for layer in model.layers if isinstance(layer, layers.BatchNormalization))
    gamma, beta, mean, variance = batch_norm.get_weights()
    batch_norm.set_weights([beta, gamma, mean, variance])  # ones and zeros: the same numbers in other places
    assert identity_of(model) != identity


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "tanh"},
        {"strides": 1},
        {"with_relu": False},
        {"image_size": (16, 20)},
        {"preprocessing": "unit"},
        {"preprocessing": "none"},
        {"precision": "bfloat16"},
        {"pooling": "max"},
    ],
)
def test_what_is_computed_changes_it_with_equal_weights(reference, identity, change):
    other = encoder(weights_of=reference, **change)
    assert identity_of(other) != identity


def test_names_flags_first_weights_and_what_happened_to_the_model_do_not_enter(reference, identity):
    assert identity_of(encoder(name="another")) == identity
    assert identity_of(keras.Model(reference.input, reference.output, name="another")) == identity
    assert (
        identity_of(encoder(first=keras.initializers.HeNormal(seed=9), weights_of=reference, dropout_seed=9))
        == identity
    )
    model = encoder()
    for layer in model.layers:
        layer.trainable = False
    assert identity_of(model) == identity
    model.compile("sgd", "mse")
    model.predict_on_batch(PIXELS)
    assert cut(model) is not None  # which connects its layers a second time
    assert identity_of(model) == identity


def test_the_trunk_of_a_classifier_has_the_same_one_whatever_the_head():
    def trunk(**head):
        head = tl.Head(pooling="avg", **head)
        model = tl.build_classifier(TINY, n_classes=2, image_size=(16, 16), head=head)
        for layer in model.layers:
            layer.trainable = layer.name.startswith("head_")
        return cut(model).trunk

    assert identity_of(trunk(hidden=(4,))) == identity_of(trunk(hidden=(8, 8), input_dropout=0.5))


# A name may be a word that a configuration holds too.
@pytest.mark.parametrize("name", ["relu", "same", "BatchNormalization"])
def test_a_name_that_is_a_setting_elsewhere_does_not_enter_either(identity, name):
    assert identity_of(encoder(name=name)) == identity


def test_layers_named_like_settings_do_not_hide_that_the_settings_differ(reference):
    relu, tanh = (encoder(name=each, activation=each, weights_of=reference) for each in ("relu", "tanh"))
    assert not np.array_equal(relu(PIXELS), tanh(PIXELS))
    assert identity_of(relu) != identity_of(tanh)


def doubling():
    class Scale(layers.Layer):
        def call(self, x):
            return 2 * x

    return Scale


def tripling():
    class Scale(layers.Layer):
        def call(self, x):
            return 3 * x

    return Scale


def a_layer(make):
    pixels = keras.Input((8, 8, 3))
    return keras.Model(pixels, make(pixels))


def test_the_source_of_a_layer_of_ones_own_enters():
    assert doubling()().get_config().keys() == tripling()().get_config().keys()
    identities = [identity_of(a_layer(make()())) for make in (doubling, doubling, tripling)]
    assert identities[0] == identities[1] != identities[2]


def test_so_does_that_of_a_layer_inside_another():
    def within(scale):
        class Outer(layers.Layer):
            def __init__(self, **options):
                super().__init__(**options)
                self.scale = scale()

            def call(self, x):
                return self.scale(x)

        return Outer()

    two, three = (a_layer(within(make())) for make in (doubling, tripling))
    assert identity_of(two) != identity_of(three)


def test_and_that_of_the_class_it_inherits_its_call_from():
    def child_of(parent):
        class Child(parent):
            pass

        return Child()

    two, three = (a_layer(child_of(make())) for make in (doubling, tripling))
    assert identity_of(two) != identity_of(three)


def test_and_that_of_a_function_given_to_keras_own_layers():
    def act_two():
        def act(x):
            return 2 * x

        return act

    def act_three():
        def act(x):
            return 3 * x

        return act

    two, three = (a_layer(layers.Activation(make())) for make in (act_two, act_three))
    assert identity_of(two) != identity_of(three)


def test_a_layer_whose_source_is_not_at_hand_is_never_the_same_twice():
    """A class typed into a notebook or at the prompt: Python finds no source for it, and another may have its name."""
    names = {"__name__": "__main__", "Layer": layers.Layer}
    exec("class Typed(Layer):\n    def call(self, x):\n        return 2 * x\n", names)
    model = a_layer(names["Typed"]())
    assert identity_of(model) != identity_of(model)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_the_precision_of_the_last_layer_counts_too(precision):
    def network(dtype):
        pixels = keras.Input((8, 8, 3))
        return keras.Model(pixels, keras.layers.GlobalAveragePooling2D(dtype=dtype)(pixels))

    assert identity_of(network("float32")) != identity_of(network(f"mixed_{precision}"))
