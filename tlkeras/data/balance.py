"""Answers to unequal class sizes: weigh the images of rare classes more, or show them more often.

All are for the training part only: what is weighed or repeated in validation or test no longer measures anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlkeras.errors import InputError
from tlkeras.seeds import generator


def class_weights(labels: np.ndarray, n_classes: int, class_names: Sequence[str] | None = None) -> np.ndarray:
    """Inverse class frequency, scaled so that the mean weight over the training images is 1.

    Class k of n images in K classes weighs n / (K * n_k): every class then adds the same to the loss, and the
    learning rate keeps its meaning (King and Zeng 2001; the "balanced" of scikit-learn).

    Args:
        labels: int (n,), the labels of the training images.
        n_classes: K, the number of classes.
        class_names: names for the error message.

    Returns:
        float64 (K,).

    Raises:
        InputError: where a class has no training image: no weight makes up for that.
    """
    counts = _class_counts(labels, n_classes, class_names)
    return counts.sum() / (n_classes * counts)


def sample_weights(labels: np.ndarray, n_classes: int, class_names: Sequence[str] | None = None) -> np.ndarray:
    """The `class_weights` of each image's class: float32 (n,), mean 1."""
    return class_weights(labels, n_classes, class_names)[labels].astype(np.float32)


def oversample(labels: np.ndarray, n_classes: int, seed: int, class_names: Sequence[str] | None = None) -> np.ndarray:
    """Indices that bring every class to the size of the largest.

    An image of a class of size c is taken floor(max / c) times, and the places then left are drawn without
    replacement, so that within a class no image comes more than once more often than another.

    Args:
        labels: int (n,), the labels of the training images.
        n_classes: the number of classes.
        seed: decides which images come once more.
        class_names: names for the error message.

    Returns:
        int64 (n_classes * size of the largest class,), ascending, into the training images.

    Raises:
        InputError: where a class has no training image: there is nothing to repeat.
    """
    counts = _class_counts(labels, n_classes, class_names)
    largest, chosen = counts.max(), []
    for label in range(n_classes):
        chosen += _drawn(labels, label, largest, generator(seed, "oversample", label))
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def balanced_sample(
    labels: np.ndarray, n_classes: int, seed: int, class_names: Sequence[str] | None = None
) -> np.ndarray:
    """Indices of as many images as there are, every class as often as any other (class-balanced sampling, Kang et al.
    2020): of large classes a part, small ones repeated.

    Where n does not divide by the number of classes, `seed` decides which of them come once more. Within a class no
    image comes more than once more often than another.

    Args:
        labels: int (n,), the labels of the training images.
        n_classes: the number of classes.
        seed: decides which images come.
        class_names: names for the error message.

    Returns:
        int64 (n,), ascending, into the training images.

    Raises:
        InputError: where a class has no training image.
    """
    counts = _class_counts(labels, n_classes, class_names)
    each, left = divmod(int(counts.sum()), n_classes)
    once_more = set(generator(seed, "balanced").permutation(n_classes)[:left].tolist())
    chosen = []
    for label in range(n_classes):
        chosen += _drawn(labels, label, each + (label in once_more), generator(seed, "balanced", label))
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _drawn(labels: np.ndarray, label: int, size: int, draws: np.random.Generator) -> list[np.ndarray]:
    """`size` images of a class: all of them as often as they fit in, the rest drawn without replacement."""
    members = np.flatnonzero(np.asarray(labels) == label)
    times, left = divmod(size, len(members))
    return [np.repeat(members, times), draws.choice(members, size=left, replace=False)]


def _class_counts(labels: np.ndarray, n_classes: int, class_names: Sequence[str] | None) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels: received dtype {labels.dtype}, shape {labels.shape}; accepted: integers (n,).")
    if len(labels) and not (labels.min() >= 0 and labels.max() < n_classes):
        raise InputError(
            f"labels: received values {labels.min()}..{labels.max()}; with {n_classes} classes accepted are "
            f"0..{n_classes - 1}."
        )
    counts = np.bincount(labels, minlength=n_classes)
    if not counts.all():
        names = [str(k) if class_names is None else class_names[k] for k in np.flatnonzero(counts == 0).tolist()]
        raise InputError(
            f"labels: no training image of class {', '.join(names)}; balancing needs at least one of each class. "
            "Split again so that the training part has every class, or leave the class out."
        )
    return counts
