"""The probe of a network: what it answers to one fixed image, which tells whether it still does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.checks import check_image_size
from tlkeras.errors import InputError
from tlkeras.seeds import generator

if TYPE_CHECKING:
    import keras

LARGEST_IMAGE = 2**26  # pixels
TOLERANCE = 1e-3  # in probability; the same file on another machine's float32 kernels differs by far less
_STREAM = "fingerprint"  # what a probe was called when the first were saved; another name would be another image


def probe(model: keras.Model, image_size: tuple[int, int]) -> list[float]:
    """The k probabilities for one fixed image of noise, (height, width) as `image_size` says, to 6 decimals.

    Raises:
        InputError: an image size that is none, or of more than `LARGEST_IMAGE` pixels.
    """
    from tlkeras.backend import keras

    if math.prod(check_image_size(image_size)) > LARGEST_IMAGE:
        raise InputError(
            f"image_size: received {list(image_size)}; accepted are at most {LARGEST_IMAGE:,} pixels. Give the size "
            "that the network was trained at."
        )
    noise = generator(0, _STREAM).integers(0, 256, (1, *image_size, 3), dtype=np.uint8)
    probs = model.predict_on_batch(keras.ops.cast(noise, "float32"))
    return [round(float(prob), 6) for prob in probs[0]]
