"""What a saved network answers to one fixed image, and whether it still does."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.checks import check_image_size
from tlkeras.errors import InputError
from tlkeras.models.model_file import reading
from tlkeras.seeds import generator

if TYPE_CHECKING:
    import keras

LARGEST_IMAGE = 2**26  # pixels
FINGERPRINT_TOLERANCE = 1e-3  # in probability; the same file on another machine's float32 kernels differs by far less


def fingerprint(model: keras.Model, image_size: tuple[int, int]) -> list[float]:
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
    noise = generator(0, "fingerprint").integers(0, 256, (1, *image_size, 3), dtype=np.uint8)
    probs = model.predict_on_batch(keras.ops.cast(noise, "float32"))
    return [round(float(prob), 6) for prob in probs[0]]


def warn_of_change(model: keras.Model, card: Mapping[str, Any], folder: Path, *, stacklevel: int = 2) -> None:
    """Compares a model that was read from `folder` with what `card`, the classifier.json there, says of it.

    Raises:
        InputError: the card lacks what is compared, or the model cannot be run.

    Warns:
        UserWarning: the model answers otherwise here than where it was saved.
    """
    from tlkeras.backend import keras

    with reading(folder):
        then, version = card["fingerprint"], card["versions"]["keras"]
        now = fingerprint(model, card["image_size"])
        difference = float(np.max(np.abs(np.subtract(now, then))))
    if not difference <= FINGERPRINT_TOLERANCE:
        warnings.warn(
            f"{folder}: on one fixed image this model's probabilities differ by {difference:.2g} from those at saving "
            f"(keras {version} then, {keras.__version__} now). Check its results before using them.",
            stacklevel=stacklevel + 1,
        )
