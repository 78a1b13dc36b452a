"""What every explanation starts from: an image in whole grey levels, and a classifier that answers for pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tlkeras.errors import InputError


class PixelClassifier(Protocol):
    """What can be explained: uint8 images (n, H, W, 3) in, probabilities (n, k) out, and the names of the k classes."""

    @property
    def class_names(self) -> Sequence[str]: ...  # noqa: D102

    def predict_pixels(self, images: np.ndarray) -> np.ndarray: ...  # noqa: D102


def check_classifier(classifier: PixelClassifier) -> None:
    """Refuses what has no `predict_pixels` or no `class_names`."""
    lacking = [name for name in ("predict_pixels", "class_names") if not hasattr(classifier, name)]
    if lacking:
        raise InputError(
            f"classifier: received {type(classifier).__name__}, which has no {' and no '.join(lacking)}; accepted is a "
            "TunedClassifier, or anything with predict_pixels(images) and class_names."
        )


def uint8_image(image: np.ndarray) -> np.ndarray:
    """The image as uint8 (H, W, 3), from uint8 or float in 0..255, rounded to whole grey levels.

    Raises:
        InputError: another shape or type, values outside 0..255, or floats in 0..1, which are scaled or next to black.
    """
    image = np.asarray(image)
    received = f"image: received dtype {image.dtype}, shape {image.shape}"
    accepted = "accepted is (H, W, 3), RGB in 0..255, uint8 or float."
    if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise InputError(f"{received}; {accepted}")
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.number) or not (image.min() >= 0 and image.max() <= 255):
        raise InputError(f"{received} with values outside 0..255; {accepted}")
    if np.issubdtype(image.dtype, np.floating) and 0 < image.max() <= 1:
        raise InputError(
            f"{received} with values in 0..{image.max():g}: scaled to 0..1? {accepted} Give 255 * image, or "
            "image.astype('uint8') where they are grey levels 0 and 1."
        )
    return np.rint(image).astype(np.uint8)


def predict_probs(classifier: PixelClassifier, images: np.ndarray) -> np.ndarray:
    """What the classifier says of `images`, uint8 (n, H, W, 3): probabilities (n, k), checked.

    Raises:
        InputError: another shape, or values that are not finite.
    """
    probs = np.asarray(classifier.predict_pixels(images))
    expected = (len(images), len(classifier.class_names))
    if probs.shape != expected:
        raise InputError(
            f"classifier: predict_pixels gave shape {probs.shape}; expected is {expected} (images, classes). "
            "A network with one sigmoid output needs the two columns 1 - p and p."
        )
    if not np.isfinite(probs).all():
        raise InputError(
            "classifier: predict_pixels gave values that are not finite; expected are probabilities. Its weights or "
            "its preprocessing are broken."
        )
    return probs
