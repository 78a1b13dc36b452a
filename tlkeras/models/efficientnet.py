"""EfficientNet with the scaling of its ImageNet weights, which Keras builds for `weights="imagenet"` alone.

Keras' published files hold ImageNet's deviations as variances, so that the network's own normalization divides by their
square roots; a second rescaling, in the graph only where Keras itself loads the file, makes up for that
(keras.applications.efficientnet, "the original implementation"). Here the weights are loaded afterwards, as those of
every backbone, so the pixels are spread beforehand: the normalization then gives what both rescalings would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of RGB in 0..1


def efficientnet(
    input_tensor: keras.KerasTensor, weights: None = None, *, variant: str
) -> keras.Model | keras.KerasTensor:
    """EfficientNet (Tan & Le 2019) without its classifier.

    Args:
        input_tensor: RGB pixels (B, H, W, 3) in 0..255.
        weights: None; see `tlkeras.models.weights`.
        variant: the function of keras.applications, "EfficientNetB0" to "EfficientNetB7".
    """
    from tlkeras.backend import keras

    scale = [deviation**-0.5 for deviation in _DEVIATION]
    offset = [255 * mean * (1 - factor) for mean, factor in zip(_MEAN, scale, strict=True)]
    spread = keras.layers.Rescaling(scale, offset, dtype="float32", name="spread")(input_tensor)
    return getattr(keras.applications, variant)(input_tensor=spread, weights=weights, include_top=False).output
