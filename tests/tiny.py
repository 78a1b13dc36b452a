"""A tiny real backbone: three convolutions with BatchNorm, a residual branch and a Dropout, built in a blink."""

import tlkeras as tl


def build_tiny(input_tensor, weights=None, filters=4):
    """What `Backbone.constructor` may be."""
    import keras
    from keras import layers

    assert weights is None
    x = layers.Conv2D(filters, 3, strides=2, padding="same", name="conv1")(input_tensor)
    x = layers.BatchNormalization(name="bn1")(x)
    x = layers.ReLU(name="relu1")(x)
    y = layers.Conv2D(filters, 3, strides=1, padding="same", name="conv2")(x)
    y = layers.BatchNormalization(name="bn2")(y)
    x = layers.Add(name="add2")([x, y])
    x = layers.Conv2D(2 * filters, 3, strides=2, padding="same", name="conv3")(x)
    x = layers.BatchNormalization(name="bn3")(x)
    x = layers.ReLU(name="relu3")(x)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="tiny")


TINY = tl.Backbone(
    name="tiny",
    constructor=build_tiny,
    preprocessing="symmetric",
    native_size=32,
    min_size=8,
    stages={"block1": "conv1", "block2": "conv2", "block3": "conv3"},
    paper="none",
)


def tiny_tuner(**fields):
    """A Tuner over TINY that trains in a second; fields replace its own."""
    defaults = {
        "weights": None,
        "image_size": (32, 32),
        "head": tl.Head(hidden=(8,), dropout=0.3),
        "phases": (tl.Phase(2, 1e-2), tl.Phase(2, 1e-3, unfreeze="all")),
        "batch_size": 16,
    }
    return tl.Tuner(TINY, **(defaults | fields))
