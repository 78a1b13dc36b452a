"""Two methods' predictions of the same samples, row beside row, and tests of whether chance tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest, rankdata

from tlkeras.evaluation.metrics import check_scorable
from tlkeras.evaluation.resampling import figures_under, group_numbers, groups_of, in_chunks
from tlkeras.evaluation.weighted_scores import OVER_CLASSES, RANKED, class_of
from tlkeras.schema import InputError, Predictions, Samples

MOST_UNDEFINED = 0.05  # the share of exchanges without a figure up to which the others are taken for all
ROUNDED, ROUNDING = 10, 1e-9  # decimals, and what is below: differences that summing in another order makes


def aligned_pairs(
    first: Predictions | Sequence[Predictions], second: Predictions | Sequence[Predictions]
) -> list[tuple[Predictions, Predictions]]:
    """(first, second) of every seed, both with the rows in the order of first.

    Raises:
        InputError: what `metrics.score` refuses, unlike many seeds, or samples, labels, groups or classes that differ.
    """
    firsts, seconds = ([given] if isinstance(given, Predictions) else list(given) for given in (first, second))
    if not firsts or len(firsts) != len(seconds):
        raise InputError(
            f"first and second: received predictions of {len(firsts)} and {len(seconds)} seeds; accepted are as many "
            "of one as of the other, at least one, seed i beside seed i."
        )
    names = firsts[0].samples.class_names
    for predictions in (*firsts, *seconds):
        check_scorable(predictions)
        if predictions.samples.class_names != names:
            raise InputError(
                f"first and second: the classes differ, {list(names)} and {list(predictions.samples.class_names)}."
            )
    return [(one, _in_order_of(one, other)) for one, other in zip(firsts, seconds, strict=True)]


def _in_order_of(first: Predictions, second: Predictions) -> Predictions:
    """`second` with the rows in the order of `first`."""
    ids = [pd.Index(predictions.samples.sample_ids) for predictions in (first, second)]
    for of_one, name in zip(ids, ("first", "second"), strict=True):
        if not of_one.is_unique:
            raise InputError(
                f"{name}: received {of_one[of_one.duplicated()][0]!r} twice; accepted is each sample once."
            )
    apart = ids[0].symmetric_difference(ids[1])
    if len(apart):
        raise InputError(
            f"first and second: {len(apart)} samples are in one of them alone, e.g. {apart[0]!r} in "
            f"{'first' if apart[0] in ids[0] else 'second'}; a paired comparison needs the same test samples."
        )
    order = ids[1].get_indexer(ids[0])
    ordered = Predictions(second.samples.take(order), second.probs[order])
    class_names = np.array(first.samples.class_names, dtype=object)
    for name, values in (
        ("label", [class_names[one.samples.labels] for one in (first, ordered)]),
        ("group", [groups_of(one) for one in (first, ordered)]),
    ):
        differs = np.flatnonzero(values[0] != values[1])
        if len(differs):
            row = differs[0]
            raise InputError(
                f"first and second: sample {ids[0][row]!r} has the {name} {values[0][row]!r} in one and "
                f"{values[1][row]!r} in the other; a paired comparison needs the same test samples."
            )
    return ordered


def exchange(
    pairs: Sequence[tuple[Predictions, Predictions]],
    metric: str,
    positive_class: str | None,
    level: float,
    permutations: int,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """low, high and p of exchanging the two methods group by group; see `statistics.paired`.

    An exchange leaves of the difference d a share c (the images that stay less those that change places), and adds a
    noise a: it gives a + c d. Were the true difference t, it would be a + c (d - t) on the side of d - t. So every
    exchange has a largest distance |d - t| up to which it is at least as far as that; p counts the exchanges whose own
    is at least |d|, and the interval ends where such a count falls to 1 - level.
    """
    units, n_units = group_numbers([first for first, _ in pairs])
    if n_units < 2:
        return (np.nan,) * 3
    every = 2**n_units <= permutations
    n_draws = 2**n_units if every else permutations
    difference_under = _difference_of(pairs, units, n_units, metric, positive_class)
    rests_on = [_rests_on(first.samples, metric, positive_class) for first, _ in pairs]
    share = np.mean(
        [np.bincount(unit, weights=of_row, minlength=n_units) for unit, of_row in zip(units, rests_on, strict=True)],
        axis=0,
    )
    differences, kept = [], []
    for at_once in in_chunks(n_draws, 2 * max(n_units, *(len(unit) for unit in units))):
        changed = (at_once[:, None] >> np.arange(n_units)) & 1 if every else rng.integers(0, 2, (len(at_once), n_units))
        changed = changed.astype(bool)
        differences.append(difference_under(changed))
        kept.append((1 - 2.0 * changed) @ share)
    found, kept = np.concatenate(differences), np.concatenate(kept)
    undefined = np.isnan(found)
    if undefined.mean() > MOST_UNDEFINED:
        return (np.nan,) * 3
    difference = float(difference_under(np.zeros((1, n_units), dtype=bool))[0].round(ROUNDED))
    noise = found - kept * difference
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.maximum(noise / (1 - kept), -noise / (1 + kept))  # how far t may lie below d
        above = np.maximum(noise / (1 + kept), -noise / (1 - kept))
    reaches = []
    for distances in (below, above):
        # All stay or all change: as far as d whatever t is. Drawn at random, the choice that was made counts as one.
        distances[undefined | ((np.abs(kept) > 1 - ROUNDING) & (np.abs(noise) < ROUNDING))] = np.inf
        distances = np.sort(np.append(distances, [] if every else [np.inf]).round(ROUNDED))[::-1]
        reaches.append(distances)
    below, above = reaches
    p = float((np.where(difference > 0, below, above) >= abs(difference)).mean()) if difference else 1.0
    last = int((1 - level) * len(below) + ROUNDING)  # as many may be at least as far without being more than 1 - level
    low, high = difference - below[last], difference + above[last]
    # Where every exchange gives the same, what did not occur among these images cannot be seen.
    told = np.isfinite([low, high]).all() and high - low > ROUNDING
    return (low, high, p) if told else (np.nan, np.nan, p)


def _difference_of(
    pairs: Sequence[tuple[Predictions, Predictions]],
    units: Sequence[np.ndarray],
    n_units: int,
    metric: str,
    positive_class: str | None,
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from the groups that change places, bool (draws, groups), to second minus first, float64 (draws,),
    the mean over the seeds."""
    if metric == "accuracy" or metric.startswith("roc_auc"):
        of_groups = np.mean(
            [
                np.bincount(unit, weights=_terms(pair, metric, positive_class), minlength=n_units)
                for pair, unit in zip(pairs, units, strict=True)
            ],
            axis=0,
        )
        return lambda changed: (1 - 2.0 * changed) @ of_groups
    stacked = [_stacked(pair, metric) for pair in pairs]

    def difference(changed: np.ndarray) -> np.ndarray:
        of_seeds = []
        for rows, unit in zip(stacked, units, strict=True):
            as_first = np.concatenate([~changed[:, unit], changed[:, unit]], axis=1)
            first, second = (
                figures_under(rows, chosen, positive_class, (metric,))[0] for chosen in (as_first, ~as_first)
            )
            of_seeds.append(second - first)
        return np.mean(of_seeds, axis=0)

    return difference


def _stacked(pair: tuple[Predictions, Predictions], metric: str) -> Predictions:
    """Both methods' rows one under the other, so that a choice is a set of weights of 0 and 1; ranks in place of
    probabilities for figures that look at nothing else."""
    samples, probs = pair[0].samples, [one.probs for one in pair]
    if metric.startswith(RANKED):
        probs = [rankdata(of_one, axis=0) for of_one in probs]
    return Predictions(samples.take(np.tile(np.arange(len(samples)), 2)), np.concatenate(probs))


def _terms(pair: tuple[Predictions, Predictions], metric: str, positive_class: str | None) -> np.ndarray:
    """What each image adds to the difference in accuracy or ROC AUC, float64 (n,); the term changes its sign where the
    image changes places. The same differences as from `_stacked`, a hundred times faster."""
    if metric == "accuracy":
        return (pair[1].correct * 1.0 - pair[0].correct) / len(pair[0])
    names = pair[0].samples.class_names
    name = metric.removeprefix("roc_auc_") if metric != "roc_auc" else positive_class
    chosen = range(len(names)) if name is None else [list(names).index(name)]
    return np.mean([_area_terms(pair, label) for label in chosen], axis=0)


def _rests_on(samples: Samples, metric: str, positive_class: str | None) -> np.ndarray:
    """How much of a difference in a figure each image would hold if all images alike were told apart better: float64
    (n,), sum 1. Of figures of one class its images hold it, of means over classes each class alike."""
    k, labels = len(samples.class_names), samples.labels
    of_class = class_of(metric, samples.class_names, positive_class)
    if of_class is None and not metric.startswith(OVER_CLASSES):
        return np.full(len(labels), 1 / len(labels))
    counts = np.bincount(labels, minlength=k).astype(np.float64)
    in_class = np.eye(k)[labels] / np.maximum(counts, 1)  # each class's images, sum 1
    if metric.startswith(RANKED):  # half of it is held by the others
        rest = np.maximum(len(labels) - counts, 1)
        in_class = (in_class + (1 - np.eye(k)[labels]) / rest) / 2
    return in_class.mean(axis=1) if of_class is None else in_class[:, of_class]


def _area_terms(pair: tuple[Predictions, Predictions], label: int) -> np.ndarray:
    """What each image adds to the difference in ROC AUC of a class, float64 (n,).

    An area is a sum over pairs of a positive and a negative. What a pair adds to one method where both of its images
    change places it adds to the other where both stay, so that in the difference only terms of single images are left:
    by how many of the others, both methods' ranks together, an image is passed under one method and not the other.
    """
    positive = pair[0].samples.labels == label
    ranks, terms = [rankdata(one.probs[:, label]) for one in pair], np.empty(len(positive))
    for side, sign in ((positive, 1), (~positive, -1)):  # a negative that ranks high takes away
        others = np.sort(np.concatenate([of_one[~side] for of_one in ranks]))
        passed = [
            np.searchsorted(others, of_one[side], "left") + np.searchsorted(others, of_one[side], "right")
            for of_one in ranks
        ]
        terms[side] = sign * (passed[1] - passed[0]) / (4 * positive.sum() * (~positive).sum())
    return terms


def mcnemar_p(pairs: Sequence[tuple[Predictions, Predictions]]) -> float:
    """McNemar's exact p; NaN with several seeds, or where a group has several images."""
    (unit, *others), n_units = group_numbers([first for first, _ in pairs])
    if others or n_units < len(unit):
        return np.nan
    ((first, second),) = pairs
    alone = [int((one.correct & ~other.correct).sum()) for one, other in ((first, second), (second, first))]
    return float(binomtest(alone[0], sum(alone)).pvalue) if any(alone) else 1.0
