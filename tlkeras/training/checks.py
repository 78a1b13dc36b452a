"""What `fit` accepts, known before anything is decoded."""

from __future__ import annotations

from tlkeras.data.arrays import from_arrays
from tlkeras.schema import InputError, Samples
from tlkeras.training.tuner import Tuner


def as_samples(name: str, given, class_names=None) -> Samples:
    """Samples as they are, or made of a pair (images, labels); `name` is the argument's, for the error."""
    if isinstance(given, Samples):
        return given
    if isinstance(given, tuple | list) and len(given) == 2:
        try:
            return from_arrays(*given, class_names=class_names)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    raise InputError(f"{name}: received {type(given).__name__}; accepted are tl.Samples or a pair (images, labels).")


def check_samples(train: Samples, val: Samples | None) -> None:
    """Refuses samples without labels, a class without training image, and other classes in `val`."""
    for name, samples in {"train": train, "val": val}.items():
        if samples is None:
            continue
        if len(samples) == 0:
            raise InputError(f"{name}: there are no samples in it." + (" Give None instead." if name == "val" else ""))
        if samples.labels is None:
            raise InputError(f"{name}: these samples have no labels; training and validation need them.")
    missing = [name for name, count in train.class_counts().items() if count == 0]
    if missing:
        raise InputError(f"train: no training image of {', '.join(missing)}. Add some, or leave the class out.")
    if val is not None and val.class_names != train.class_names:
        raise InputError(f"val: its classes {val.class_names} are not those of train, {train.class_names}.")


def check_val_is_there(recipe: Tuner, val: Samples | None) -> None:
    """Refuses a recipe that needs validation samples where there are none."""
    patient = any(phase.patience is not None for phase in recipe.phases)
    if val is None and (patient or recipe.augment_val):
        raise InputError("val: received None, but Phase.patience and Tuner.augment_val need validation samples.")
