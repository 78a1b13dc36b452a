"""Samples from images that are already in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlkeras.data.names import as_groups, check_class_names, check_normalise, few, is_empty, label_numbers
from tlkeras.errors import InputError
from tlkeras.schema import Samples

_MOST_CLASSES = 100_000  # that numbers alone may name; more are no numbers of classes


def from_arrays(
    images: np.ndarray,
    labels: Sequence[int] | Sequence[str] | np.ndarray | None,
    class_names: Sequence[str] | None = None,
    groups: Sequence[str] | np.ndarray | None = None,
    *,
    normalise: str | None = None,
) -> Samples:
    """Images that are already in memory.

    Args:
        images: uint8 (n, H, W, 3), RGB, 0..255; another dtype is taken where it holds nothing but these whole numbers.
            Floats of 0 and 1 alone could be shares of white or grey levels, so they are refused.
        labels: int (n,), or class names (n,), or one-hot rows (n, k), or None where only predictions are asked for;
            floats are taken where they are whole.
        class_names: the k names; by default the sorted names in `labels`, or "0", "1", ... up to the largest label.
        groups: str (n,), the patient or lesion of each image.
        normalise: what to do with classes and groups that differ only in case, spaces, leading zeros, characters that
            do not show, or in how letters are stored: "join" takes such for one, None refuses them.

    Raises:
        InputError: where shapes, dtypes or values are none of these.
    """
    check_normalise(normalise)
    pixels, group_names = as_pixels(images), as_groups(groups, normalise)
    if isinstance(class_names, str):
        raise InputError(f"class_names: received {class_names!r}; accepted are several names, e.g. ('cat', 'dog').")
    class_names = None if class_names is None else [str(name) for name in class_names]
    if labels is None:
        return Samples(pixels, None, tuple(class_names or ()), groups=group_names)
    numbers = _as_labels(labels, len(pixels))
    if numbers.dtype.kind == "O":
        numbers, class_names = label_numbers(numbers.tolist(), class_names, "labels", normalise)
    elif class_names is None:
        low, high = int(numbers.min()), int(numbers.max())
        if low < 0 or high >= _MOST_CLASSES:
            raise InputError(
                f"labels: received values {low}..{high}; accepted are 0..k-1 for k classes, at most {_MOST_CLASSES:,}. "
                "Number the classes so, or give names: [str(label) for label in labels]."
            )
        n_classes = max(high + 1, np.shape(labels)[-1] if np.ndim(labels) == 2 else 0)  # a last class without an image
        class_names = [str(label) for label in range(n_classes)]
    check_class_names(class_names, "labels")
    return Samples(pixels, numbers, tuple(class_names), groups=group_names)


def _as_labels(given: Sequence[int] | Sequence[str] | np.ndarray, n: int) -> np.ndarray:
    """The labels as integers (n,), or as an object array of n str."""
    words = isinstance(given, list | tuple) and any(isinstance(label, str) for label in given)
    try:
        # NumPy would make text of the numbers, and of None, beside text.
        labels = np.asarray(given, dtype=object if words else None)
    except ValueError as error:
        raise InputError(
            f"labels: received rows of different lengths; accepted is one label per image, ({n},)."
        ) from error
    if _is_one_hot(labels, n):
        return labels.argmax(axis=1)
    if labels.shape != (n,):
        remedy = "labels.ravel()" if labels.shape == (n, 1) else "Rows (n, k) hold a single 1, and else 0"
        raise InputError(f"labels: received shape {labels.shape}; accepted for these images is ({n},). {remedy}.")
    if labels.dtype.kind in "iu":
        return labels
    values = labels.tolist()
    empty = [str(row) for row, value in enumerate(values) if is_empty(value)]
    if empty:
        raise InputError(f"labels: no label for images {few(empty)}. Fill these, or leave the images out.")
    if labels.dtype.kind == "f" and np.array_equal(labels, np.rint(labels)) and np.abs(labels).max() < 2**53:
        return labels.astype(np.int64)
    if labels.dtype.kind not in "OUT":
        raise InputError(
            f"labels: received dtype {labels.dtype}; accepted are integers or class names."
            + (" labels.astype(int)?" if labels.dtype.kind == "b" else "")
        )
    if all(isinstance(value, int | np.integer) and not isinstance(value, bool) for value in values):
        return _as_integers(values)
    strange = [f"{value!r} of image {row}" for row, value in enumerate(values) if not isinstance(value, str)]
    if strange:
        raise InputError(f"labels: received {few(strange)}; accepted are integers, or class names for all images.")
    return np.array([str(value) for value in values], dtype=object)


def _is_one_hot(labels: np.ndarray, n: int) -> bool:
    rows = labels.ndim == 2 and len(labels) == n and labels.shape[1] > 1 and labels.dtype.kind in "iufb"
    return rows and bool(np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all())


def _as_integers(values: list[int]) -> np.ndarray:
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError as error:
        raise InputError(f"labels: received values up to {max(values)}; accepted are 0..k-1 for k classes.") from error


def as_pixels(images: np.ndarray) -> np.ndarray:
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
    if images.dtype.kind == "f" and 0 < high <= 1:
        raise InputError(
            f"images: received floats in {low}..{high}; {accepted}. If they were divided by 255: "
            "np.rint(255 * images).astype('uint8'). If they are grey levels 0 and 1: images.astype('uint8')."
        )
    pixels = images.astype(np.uint8)
    if not np.array_equal(pixels, images):
        raise InputError(
            f"images: received fractions in {low}..{high}; {accepted}. Round them: np.rint(images).astype('uint8')."
        )
    return pixels
