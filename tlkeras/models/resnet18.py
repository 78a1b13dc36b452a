"""ResNet-18, which keras.applications lacks, equal to torchvision's but for the classifier.

Importing this module loads no Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

WIDTHS = (64, 128, 256, 512)  # channels of the four stages of two blocks each


def resnet18(input_tensor: keras.KerasTensor, weights: None = None) -> keras.KerasTensor:
    """Puts the layers of ResNet-18 on a tensor; they bear torchvision's names, with "_" in place of ".".

    He et al. 2016, arXiv:1512.03385; the random weights follow He et al. 2015, arXiv:1502.01852, by the outputs of each
    layer, as torchvision draws them. Without the classifier it has 11,176,512 trainable parameters.

    Args:
        input_tensor: float32 (B, H, W, 3), RGB with ImageNet's mean and deviation taken out.
        weights: None; files are loaded by `tlkeras.models.weights.load_weights`.

    Returns:
        Features, float32 (B, h, w, 512); h and w are H / 32 and W / 32, rounded up, and none is negative.
    """
    from tlkeras.backend import keras

    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(input_tensor)
    x = _conv(x, WIDTHS[0], 7, stride=2, name="conv1")  # (B, H/2, W/2, 64)
    x = _batch_norm(x, name="bn1")
    x = keras.layers.ReLU(name="relu")(x)
    # PyTorch pads with minus infinity; behind a ReLU zero comes to the same.
    x = keras.layers.ZeroPadding2D(1, name="maxpool_pad")(x)
    x = keras.layers.MaxPooling2D(3, strides=2, name="maxpool")(x)  # (B, H/4, W/4, 64)
    for stage, width in enumerate(WIDTHS, start=1):
        x = _block(x, width, stride=1 if stage == 1 else 2, name=f"layer{stage}_0")
        x = _block(x, width, stride=1, name=f"layer{stage}_1")
    return x


def _block(x, width, stride, name):
    """Two convolutions, and a shortcut around them that is itself a convolution where the shape changes."""
    from tlkeras.backend import keras

    shortcut = x
    if stride == 1:
        y = _conv(x, width, 3, name=f"{name}_conv1", padding="same")
    else:
        # "same" would pad an even image on the right and at the bottom alone; PyTorch pads all sides.
        y = keras.layers.ZeroPadding2D(1, name=f"{name}_conv1_pad")(x)
        y = _conv(y, width, 3, stride=stride, name=f"{name}_conv1")
        shortcut = _conv(x, width, 1, stride=stride, name=f"{name}_downsample_0")
        shortcut = _batch_norm(shortcut, name=f"{name}_downsample_1")
    y = _batch_norm(y, name=f"{name}_bn1")
    y = keras.layers.ReLU(name=f"{name}_relu")(y)
    y = _conv(y, width, 3, name=f"{name}_conv2", padding="same")
    y = _batch_norm(y, name=f"{name}_bn2")
    y = keras.layers.Add(name=f"{name}_add")([y, shortcut])
    return keras.layers.ReLU(name=f"{name}_out")(y)


def _conv(x, filters, size, name, stride=1, padding="valid"):
    from tlkeras.backend import keras

    he_normal_by_outputs = keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal")
    return keras.layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_initializer=he_normal_by_outputs,
        name=name,
    )(x)


def _batch_norm(x, name):
    from tlkeras.backend import keras

    # PyTorch's momentum 0.1 is the share of the new batch, Keras' 0.9 that of the old value. What stays different: a
    # batch of n values moves PyTorch's variance towards n / (n - 1) times the one that moves Keras'. That matters only
    # where this layer is trained, and least where n = B * h * w is large.
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)
