"""What one layer makes of one image: a map per channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tlkeras.backend import keras
from tlkeras.errors import InputError
from tlkeras.explaining.pixels import uint8_image
from tlkeras.models.backbones import backbone_layers
from tlkeras.models.layers import find_layer, functional_model, with_positions
from tlkeras.schema import Activations

if TYPE_CHECKING:
    from tlkeras.training.tuned_classifier import TunedClassifier

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)


def activations(classifier: TunedClassifier, image: np.ndarray, *, layer: str | None = None) -> Activations:
    """The output of one layer for one image, BatchNorm and Dropout in inference mode.

    Args:
        classifier: a TunedClassifier.
        image: (H, W, 3), RGB, 0..255, uint8 or float (rounded to whole grey levels), of the classifier's image size.
        layer: the name of one of `classifier.model.layers` whose output is (B, h, w, channels); None takes the first
            convolution. Where its activation is a layer of its own, as in networks with BatchNorm, the values are those
            before it, and may be negative.

    Returns:
        Activations.

    Raises:
        InputError: a layer that is not there or has no positions, an image of another size, or a classifier without a
            Keras model.
    """
    model = functional_model(classifier)
    image = uint8_image(image)
    if image.shape[:2] != tuple(classifier.image_size):
        raise InputError(
            f"image: received shape {image.shape}; accepted is {(*classifier.image_size, 3)}. "
            "tl.read_pixels(path, classifier.image_size, classifier.resize) reads a file to that size."
        )
    found = _first_convolution(model) if layer is None else find_layer(model, layer)
    probe = keras.Model(model.inputs, found.output, name="activations")
    maps = probe.predict_on_batch(image[None].astype(np.float32))[0]
    return Activations(image=image, maps=np.asarray(maps, np.float32), layer=found.name)


def _first_convolution(model: keras.Model) -> keras.layers.Layer:
    for layer in with_positions(backbone_layers(model)):
        if isinstance(layer, CONVOLUTIONS):
            return layer
    raise InputError("classifier: its network has no convolution of its own; name a layer.")
