"""Sizes are products that a reader can multiply out: an image of 8x8x3 is 192 numbers."""

import keras
import pytest
from keras import layers

from tlkeras.errors import InputError
from tlkeras.models.output_sizes import OPEN_SIDE, output_sizes


def model(*inside, shape=(8, 8, 3)):
    image = tensor = keras.Input(shape)
    for layer in inside:
        tensor = layer(tensor)
    return keras.Model(image, tensor)


def largest(of):
    return max(size for _, size in output_sizes(of))


UP, DOWN = (lambda: layers.UpSampling2D(10)), (lambda: layers.AveragePooling2D(10))
HUGE = 80 * 80 * 3  # what UP makes of the image


@pytest.mark.parametrize(
    "of",
    [
        lambda: model(UP(), DOWN()),
        lambda: keras.Sequential([keras.Input((8, 8, 3)), UP(), DOWN()]),
        lambda: model(keras.Sequential([UP(), DOWN()])),
        lambda: model(layers.Pipeline([UP(), DOWN()])),
        lambda: model(keras.Sequential([layers.Pipeline([UP(), DOWN()])])),
        lambda: model(model(UP(), DOWN())),
        lambda: model(model(UP(), DOWN(), shape=(None, None, 3))),  # its own tensors don't tell their sides
        lambda: model(model(keras.Sequential([UP(), DOWN()]), shape=(None, None, 3))),
    ],
)
def test_whatever_holds_the_layers_they_are_seen(of):
    assert largest(of()) == HUGE


def test_sides_that_are_left_open_are_taken_for_those_of_a_photograph():
    assert largest(model(UP(), DOWN(), shape=(None, None, 3))) == 100 * OPEN_SIDE**2 * 3


def test_attention_is_asked_for_what_it_makes_on_its_way():
    tokens = model(layers.Reshape((64, 3)), shape=(8, 8, 3))
    assert largest(model(layers.Reshape((64, 3)))) == 192
    image = keras.Input((8, 8, 3))
    rows = tokens(image)
    assert largest(keras.Model(image, layers.MultiHeadAttention(num_heads=4, key_dim=2)(rows, rows))) == 4 * 64 * 64
    assert largest(keras.Model(image, layers.Attention()([rows, rows]))) == 64 * 64
    assert largest(keras.Model(image, layers.AdditiveAttention()([rows, rows]))) == 3 * 64 * 64


def test_a_layer_called_twice_counts_each_time():
    image, up = keras.Input((8, 8, 3)), UP()
    assert largest(keras.Model(image, DOWN()(DOWN()(up(up(image)))))) == 100 * HUGE


def test_what_cannot_be_seen_into_is_refused():
    frames = model(layers.Reshape((2, 4, 8, 3)), layers.TimeDistributed(layers.Conv2D(2, 3)))
    assert largest(frames) == 192
    hidden = model(
        layers.Reshape((2, 4, 8, 3)), layers.TimeDistributed(keras.Sequential([layers.Flatten()]), name="odd")
    )
    with pytest.raises(InputError, match=r"its layer odd \(TimeDistributed\) holds sequential"):
        largest(hidden)
    recurrent = model(layers.Reshape((8, 24)), layers.Bidirectional(layers.LSTM(5)))
    assert largest(recurrent) == 192
