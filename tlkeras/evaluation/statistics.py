"""How far a figure would move with other samples of the same kind."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tlkeras.schema import InputError, Predictions
from tlkeras.seeds import generator


def accuracy_interval(
    predictions: Predictions, *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the accuracy, drawn over groups.

    Images of one patient or lesion are alike, so whole groups are drawn with replacement, as many as there are, and
    the accuracy is that of all images drawn. An image whose group is unknown is a group of its own.
    Percentile interval: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. Whole clusters as the
    unit: Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.

    Args:
        predictions: labelled, at least one sample.
        level: the share of draws inside the interval, between 0 and 1.
        draws: bootstrap draws.
        seed: the interval is a function of the predictions and this.

    Returns:
        (low, high), both 0..1. Both NaN with fewer than two groups, which say nothing about their spread. Where every
        prediction is right (or wrong) both are 1 (or 0): a bootstrap cannot see errors that did not occur.

    Raises:
        InputError: no samples, no labels, `level` or `draws` out of range.
    """
    if not 0 < level < 1:
        raise InputError(f"level: received {level}; accepted is a number between 0 and 1, such as 0.95.")
    if draws < 1:
        raise InputError(f"draws: received {draws}; accepted is 1 or more, such as 2000.")
    if not len(predictions):
        raise InputError("predictions: received none; an interval needs at least one sample.")
    group = _group_numbers(predictions)
    size = np.bincount(group)
    if len(size) < 2:
        return np.nan, np.nan
    correct = np.bincount(group, weights=predictions.correct).astype(np.int64)
    # Groups equal in size and in correct images are interchangeable: drawing how often each such kind comes up is the
    # same bootstrap, and takes (draws, kinds) numbers instead of (draws, groups).
    kinds, n_groups = np.unique(np.stack([correct, size], axis=1), axis=0, return_counts=True)
    times = generator(seed, "accuracy_interval").multinomial(len(size), n_groups / len(size), size=draws)
    drawn_correct, drawn_size = (times @ kinds).T
    low, high = np.quantile(drawn_correct / drawn_size, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _group_numbers(predictions: Predictions) -> np.ndarray:
    if predictions.samples.groups is None:
        return np.arange(len(predictions))
    number, names = pd.factorize(pd.Series(predictions.samples.groups, dtype=object).replace("", None))
    unknown = number < 0
    number[unknown] = len(names) + np.arange(unknown.sum())
    return number
