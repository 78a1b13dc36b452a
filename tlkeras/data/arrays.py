"""Samples from images that are already in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlkeras.data.sources import as_groups, check_class_names, label_numbers
from tlkeras.schema import InputError, Samples


def from_arrays(
    images: np.ndarray,
    labels: Sequence[int] | Sequence[str] | None,
    class_names: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> Samples:
    """Images that are already in memory.

    Args:
        images: uint8 (n, H, W, 3), RGB, 0..255; another dtype is taken where it holds nothing but these whole numbers.
        labels: int (n,), or class names (n,), or None where only predictions are asked for.
        class_names: the k names; by default the sorted names in `labels`, or "0", "1", ... up to the largest label.
        groups: str (n,), the patient or lesion of each image.

    Raises:
        InputError: where shapes, dtypes or values are none of these.
    """
    images, groups = _as_pixels(images), as_groups(groups)
    class_names = None if class_names is None else [str(name) for name in class_names]
    if labels is None:
        return Samples(images, None, tuple(class_names or ()), groups=groups)
    labels = np.asarray(labels)
    if labels.shape != (len(images),):
        raise InputError(
            f"labels: received shape {labels.shape}; accepted for these images is ({len(images)},). "
            "For one-hot rows: labels.argmax(axis=1)."
        )
    if labels.dtype.kind in "UOT":
        labels, class_names = label_numbers([str(name) for name in labels], class_names, "labels")
    elif labels.dtype.kind not in "iu":
        raise InputError(
            f"labels: received dtype {labels.dtype}; accepted are integers or class names. labels.astype(int)?"
        )
    elif class_names is None:
        class_names = [str(label) for label in range(int(labels.max()) + 1)]
    check_class_names(class_names, "labels")
    return Samples(images, labels, tuple(class_names), groups=groups)


def _as_pixels(images: np.ndarray) -> np.ndarray:
    """`images` as uint8 (n, H, W, 3), without loss."""
    try:
        images = np.asarray(images)
    except ValueError as error:
        raise InputError("images: received images of different sizes; resize them, or use files.") from error
    accepted = "accepted is uint8 (n, H, W, 3), RGB in 0..255"
    if images.ndim == 3 and images.shape[-1] == 3:
        raise InputError(
            f"images: received shape {images.shape}, one image; {accepted}. Add the batch axis: images[np.newaxis]."
        )
    if images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 1):
        grey = "images" if images.ndim == 4 else "images[..., np.newaxis]"
        raise InputError(
            f"images: received shape {images.shape}, grey; {accepted}. Repeat: np.repeat({grey}, 3, axis=-1)."
        )
    if images.ndim != 4 or images.shape[-1] != 3:
        raise InputError(f"images: received shape {images.shape}; {accepted}.")
    if not images.size:
        raise InputError(f"images: received shape {images.shape}, no pixels; {accepted}.")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "iuf":
        raise InputError(f"images: received dtype {images.dtype}; {accepted}.")
    low, high = images.min(), images.max()
    if np.isnan(low):
        raise InputError(f"images: received NaN in {np.isnan(images).any(axis=(1, 2, 3)).sum()} images; {accepted}.")
    if low < 0 or high > 255:
        raise InputError(f"images: received values {low}..{high}; {accepted}. Bring them back to 0..255 first.")
    pixels = images.astype(np.uint8)
    if not np.array_equal(pixels, images):
        remedy = "If they were divided by 255: np.rint(255 * images)" if high <= 1 else "Round them: np.rint(images)"
        raise InputError(f"images: received fractions in {low}..{high}; {accepted}. {remedy}.astype('uint8').")
    return pixels
