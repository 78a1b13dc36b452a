import keras
import numpy as np
import pytest
from tiny import TINY

import tlkeras as tl
from tlkeras.errors import InputError
from tlkeras.models.backbones import backbone_layers
from tlkeras.models.layers import copy_weights, find_layer, functional_model, named_layer, suggestions, with_positions


@pytest.fixture(scope="module")
def model():
    return tl.build_classifier(TINY, n_classes=2, image_size=(16, 24), head=tl.Head(hidden=(4,)))


def chain(*layers, shape=(4, 4, 3)):
    x = pixels = keras.Input(shape, name="pixels")
    for layer in layers:
        x = layer(x)
    return keras.Model(pixels, x)


def test_a_layer_is_found_by_its_name(model):
    for find in (named_layer, find_layer):
        assert find(model, "bn2") is model.get_layer("bn2")
    assert named_layer(model, "head_dense_1") is model.get_layer("head_dense_1")


def test_without_a_name_it_is_the_last_one_before_the_head_with_more_than_one_position(model):
    assert find_layer(model, None).name == "relu3"
    small = chain(
        keras.layers.Conv2D(2, 3, name="two_by_two"),
        keras.layers.MaxPooling2D(2, name="one"),
        keras.layers.Conv2D(2, 1, name="head_conv"),
    )
    assert find_layer(small, None).name == "two_by_two"
    assert find_layer(small, "one").name == "one"
    # Where none has more, the last of them.
    single = chain(keras.layers.ReLU(name="first"), keras.layers.ReLU(name="last"), shape=(1, 1, 3))
    assert find_layer(single, None).name == "last"


def test_a_name_that_is_not_there_is_told_with_those_that_are(model):
    said = (
        r"^layer: received 'relu33', which the model does not have\. Near: relu3, relu1\. "
        r"The last layer of each size: relu3 \(4x6\), add2 \(8x12\)\.$"
    )
    for find in (named_layer, find_layer):
        with pytest.raises(InputError, match=said):
            find(model, "relu33")
    with pytest.raises(InputError, match=r"'zzz', which the model does not have\. The last layer of each size"):
        named_layer(model, "zzz")


def test_a_layer_without_positions_is_not_one_to_look_at(model):
    with pytest.raises(InputError, match=r"layer: head_dense_1 \(Dense\) has no output \(B, h, w, channels\).*relu3"):
        find_layer(model, "head_dense_1")
    with pytest.raises(InputError, match="but none of its layers has one"):
        find_layer(chain(keras.layers.Flatten(), keras.layers.Dense(2)), None)


def test_a_model_inside_a_model_has_no_positions_to_look_at_and_what_comes_behind_it_has():
    inner = chain(keras.layers.ReLU(), shape=(4, 4, 3))
    inner.name = "inner"
    outer = chain(keras.layers.ReLU(name="before"), inner)
    with pytest.raises(InputError, match="but its layer inner is a model of its own"):
        find_layer(outer, None)
    inner = chain(keras.layers.ReLU(), shape=(4, 4, 3))
    inner.name = "inner"
    outer = chain(inner, keras.layers.ReLU(name="after"))
    assert find_layer(outer, None).name == "after"
    with pytest.raises(InputError, match=r"inner \(a model of its own\) has no output"):
        find_layer(outer, "inner")


def test_layers_with_positions(model):
    assert [layer.name for layer in with_positions(model.layers)] == [
        *("pixels", "preprocess_symmetric"),
        *("conv1", "bn1", "relu1", "conv2", "bn2", "add2", "conv3", "bn3", "relu3"),
    ]
    assert with_positions(backbone_layers(model)) == backbone_layers(model)


def test_suggestions_are_the_last_layer_of_each_size_paddings_and_single_positions_left_out():
    padded = chain(
        keras.layers.ReLU(name="whole"),
        keras.layers.ZeroPadding2D(1, name="pad"),
        keras.layers.MaxPooling2D(3, name="half"),
        keras.layers.ReLU(name="half_too"),
        keras.layers.MaxPooling2D(2, name="one"),
    )
    assert suggestions(padded) == "The last layer of each size: half_too (2x2), whole (4x4)."
    single = chain(keras.layers.ReLU(name="one"), shape=(1, 1, 3))
    assert suggestions(single) == "At this image size no layer has positions; take larger images."


def test_a_classifiers_network_is_its_functional_model(model):
    classifier = tl.TunedClassifier(model=model, class_names=("a", "b"), image_size=(16, 24))
    assert functional_model(classifier) is model

    class Subclassed(keras.Model):
        def call(self, x):
            return x

    for other in (object(), tl.TunedClassifier(model=Subclassed(), class_names=("a", "b"), image_size=(16, 24))):
        said = rf"received {type(other).__name__}, whose `\.model` is not a functional keras\.Model"
        with pytest.raises(InputError, match=said):
            functional_model(other)


def test_weights_are_copied_with_what_a_normalization_makes_of_its_own():
    def build():
        pixels = keras.Input((4, 4, 3))
        return keras.Model(pixels, keras.layers.Normalization(name="seen")(pixels))

    source, target = build(), build()
    source.get_layer("seen").adapt(np.arange(96, dtype=np.float32).reshape(2, 4, 4, 3))
    given = np.ones((1, 4, 4, 3), np.float32)
    copy_weights(source, target)
    np.testing.assert_array_equal(target(given), source(given))
    assert np.asarray(source(given)).std() > 0
