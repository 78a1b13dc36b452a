"""One answer for each patient or lesion, from the answers to its images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tlkeras.checks import one_of
from tlkeras.errors import InputError
from tlkeras.evaluation.resampling import groups_of, unit_names
from tlkeras.schema import Predictions

WAYS = ("mean", "max", "noisy_or")


def pool_groups(predictions: Predictions, how: str = "mean", *, positive_class: str | None = None) -> Predictions:
    """One row for each group in place of one for each image; `tl.score`, `tl.intervals` and `tl.paired` take it.

    Args:
        predictions: n samples with groups; one without a group stays by itself.
        how: "mean" of the images' probabilities; "max", the largest of each class; or "noisy_or", 1 less the product of
            1 less each, the probability that any image shows the class if images err independently (Pearl,
            Probabilistic Reasoning in Intelligent Systems, 1988, section 4.3.2). What comes of the last two is brought
            to sum 1.
        positive_class: of two classes, the one that a single image is enough to show: "max" and "noisy_or" are then of
            its probability alone.

    Returns:
        Predictions of g groups in the order of their first images, whose sample_id is the group's name; the image that
        stands for each is its first.

    Raises:
        InputError: no groups, a group with images of several classes, another `how`, or a `positive_class` that is
            none of two classes.
    """
    how = one_of(*WAYS).check("how", how)
    samples = predictions.samples
    if samples.groups is None:
        raise InputError("predictions: their samples have no groups; name them when they are read, e.g. group_of=.")
    names = samples.class_names
    if positive_class is not None and (len(names) != 2 or positive_class not in names):
        raise InputError(
            f"positive_class: received {positive_class!r}; the classes are {', '.join(names)}, and accepted is one of "
            "two."
        )
    _, first, of_row = np.unique(unit_names(predictions), return_index=True, return_inverse=True)
    order = np.argsort(first)
    of_row, first = np.argsort(order)[of_row], first[order]
    if samples.labels is not None and (samples.labels != samples.labels[first][of_row]).any():
        row = int(np.flatnonzero(samples.labels != samples.labels[first][of_row])[0])
        of_group = sorted({names[label] for label in samples.labels[of_row == of_row[row]]})
        raise InputError(
            f"predictions: group {samples.groups[row]!r} has images of {' and '.join(of_group)}, so that one answer "
            "for all of them can be right and wrong at once. Name groups that have one class."
        )
    probs = _pooled(predictions.probs.astype(np.float64), of_row, len(first), how)
    if positive_class is not None and how != "mean":
        positive = names.index(positive_class)
        probs[:, 1 - positive] = 1 - probs[:, positive]
    pooled = samples.take(first)
    known = groups_of(predictions)[first]
    return Predictions(
        samples=replace(pooled, sample_ids=np.where(known == "", pooled.sample_ids, known)),
        probs=(probs / probs.sum(axis=1, keepdims=True)).astype(np.float32),
    )


def _pooled(probs: np.ndarray, of_row: np.ndarray, n_groups: int, how: str) -> np.ndarray:
    """float64 (groups, classes), not yet of sum 1."""
    found = np.zeros((n_groups, probs.shape[1]))
    if how == "max":
        np.maximum.at(found, of_row, probs)
        return found
    if how == "mean":
        np.add.at(found, of_row, probs)
        return found / np.bincount(of_row, minlength=n_groups)[:, None]
    with np.errstate(divide="ignore"):  # of a probability of 1
        np.add.at(found, of_row, np.log1p(-np.minimum(probs, 1)))
    return -np.expm1(found)
