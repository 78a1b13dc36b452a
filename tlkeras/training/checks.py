"""What `fit` and `predict` accept, known before anything is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tlkeras.data.arrays import from_arrays
from tlkeras.data.names import check_class_names
from tlkeras.errors import InputError
from tlkeras.schema import Samples
from tlkeras.training.monitor import BALANCED
from tlkeras.training.tuner import Tuner


def as_samples(name: str, given: object, class_names: Sequence[str] | None = None) -> Samples:
    """Samples as they are, or made of a pair (images, labels); `name` is the argument's, for the error."""
    if isinstance(given, Samples):
        return given
    if isinstance(given, tuple | list) and len(given) == 2:
        try:
            return from_arrays(*given, class_names=class_names)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    raise InputError(f"{name}: received {type(given).__name__}; accepted are tl.Samples or a pair (images, labels).")


def samples_to_fit(train: object, val: object | None) -> tuple[Samples, Samples | None]:
    """What a `fit` was given as samples that can be learnt from, `val` with the classes of `train`."""
    learnt = as_samples("train", train)
    judged = None if val is None else as_samples("val", val, learnt.class_names)
    check_samples(learnt, judged)
    return learnt, judged


def check_samples(train: Samples, val: Samples | None) -> None:
    """Refuses samples without labels, fewer than two classes, one without training image, and other ones in `val`."""
    for name, samples in {"train": train, "val": val}.items():
        if samples is None:
            continue
        if len(samples) == 0:
            raise InputError(f"{name}: there are no samples in it." + (" Give None instead." if name == "val" else ""))
        if samples.labels is None:
            raise InputError(f"{name}: these samples have no labels; training and validation need them.")
    check_class_names(train.class_names, "train")
    missing = [name for name, count in train.class_counts().items() if count == 0]
    if missing:
        raise InputError(f"train: no training image of {', '.join(missing)}. Add some, or leave the class out.")
    if val is not None and val.class_names != train.class_names:
        raise InputError(f"val: its classes {val.class_names} are not those of train, {train.class_names}.")


def check_val(recipe: Tuner, val: Samples | None) -> None:
    """Refuses validation samples, or none, by which a resolved recipe cannot choose."""
    patient = any(phase.patience is not None for phase in recipe.phases)
    if val is None and (patient or recipe.augment_val):
        raise InputError("val: received None, but Phase.patience and Tuner.augment_val need validation samples.")
    balanced = [phase.monitor for phase in recipe.phases if phase.chooses and phase.monitor in BALANCED]
    missing = [] if val is None else [name for name, count in val.class_counts().items() if count == 0]
    if balanced and missing:
        raise InputError(
            f"val: no validation image of {', '.join(missing)}, which leaves the monitor {balanced[0]} undefined. "
            'Add some, draw the parts by another seed, leave the class out, or take Phase(monitor="val_loss").'
        )


def to_predict(samples: Samples, class_names: tuple[str, ...]) -> Samples:
    """The samples as a classifier of these classes can predict them: those without classes take its own.

    Raises:
        InputError: something else, no samples, or of other classes.
    """
    if not isinstance(samples, Samples):
        raise InputError(
            f"samples: received {type(samples).__name__}; accepted are tl.Samples: tl.from_arrays(images, labels), or "
            "predict_pixels(images) for images alone."
        )
    if samples.labels is None and not samples.class_names:
        samples = replace(samples, class_names=class_names)
    if samples.class_names != class_names:
        raise InputError(
            f"samples: their classes {samples.class_names} are not those trained on, {class_names}. Read them with "
            "class_names=classifier.class_names."
        )
    if len(samples) == 0:
        raise InputError("samples: there are none to predict.")
    return samples


def check_pixels(images: np.ndarray, image_size: tuple[int, int], batch_size: int) -> Sequence[np.ndarray]:
    """Images (n, H, W, 3) in memory, in batches of `batch_size`; none where n is 0.

    Raises:
        InputError: images of another shape, of no numbers, outside 0..255, or floats in 0..1, which are scaled or next
            to black.
    """
    try:
        images = np.asarray(images)
    except ValueError as error:
        raise InputError("images: received images of different sizes; resize them to one.") from error
    if images.ndim != 4 or images.shape[1:] != (*image_size, 3):
        raise InputError(
            f"images: received shape {images.shape}; accepted is (n, {', '.join(map(str, image_size))}, 3). "
            "tl.read_pixels(path, classifier.image_size, classifier.resize) reads a file to that size."
        )
    if images.dtype.kind not in "uif":
        raise InputError(f"images: received dtype {images.dtype}; accepted are numbers in 0..255, uint8 or float.")
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    if not batches or images.dtype == np.uint8:
        return batches
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 255):  # so that NaN is refused as well
        raise InputError(f"images: received values {low}..{high}; accepted is 0..255. Bring them back first.")
    if images.dtype.kind == "f" and 0 < high <= 1:
        raise InputError(
            "images: floats that lie in 0..1; accepted is 0..255, the model scales by itself. Multiply by 255, or give "
            "images.astype('uint8') where they are grey levels 0 and 1."
        )
    return batches
