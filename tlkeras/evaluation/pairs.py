"""Two methods' predictions of the same samples, row beside row, and tests of whether chance tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest, rankdata

from tlkeras.errors import InputError
from tlkeras.evaluation.metrics import check_scorable
from tlkeras.evaluation.resampling import figures_under, group_numbers, groups_of, in_chunks
from tlkeras.evaluation.weighted_scores import RANKED
from tlkeras.schema import Predictions

MOST_UNDEFINED = 0.05  # the share of exchanges without a figure up to which the others are taken for all
ROUNDING = 1e-9  # differences that summing in another order makes


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


def exchange_p(
    pairs: Sequence[tuple[Predictions, Predictions]],
    metric: str,
    positive_class: str | None,
    permutations: int,
    rng: np.random.Generator,
) -> float:
    """The p of exchanging the two methods group by group; see `statistics.paired`."""
    units, n_units = group_numbers([first for first, _ in pairs])
    if n_units < 2:
        return np.nan
    every = 2**n_units <= permutations
    n_draws = 2**n_units if every else permutations
    difference_under = _difference_of(pairs, units, n_units, metric, positive_class)
    difference, as_far, undefined = abs(difference_under(np.zeros((1, n_units), dtype=bool))[0]), 0, 0
    for at_once in in_chunks(n_draws, 2 * max(n_units, *(len(unit) for unit in units))):
        changed = (at_once[:, None] >> np.arange(n_units)) & 1 if every else rng.integers(0, 2, (len(at_once), n_units))
        found = difference_under(changed.astype(bool))
        undefined += np.isnan(found).sum()
        as_far += (np.isnan(found) | (np.abs(found) > difference - ROUNDING)).sum()
    if undefined > MOST_UNDEFINED * n_draws:
        return np.nan
    # Drawn at random, the choice that was made counts as one.
    return float(as_far / n_draws if every else (as_far + 1) / (n_draws + 1))


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
