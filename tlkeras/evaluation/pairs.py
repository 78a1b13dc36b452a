"""Two methods' predictions of the same samples, row beside row, and tests of whether chance tells them apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest, permutation_test

from tlkeras.evaluation.metrics import check_scorable
from tlkeras.evaluation.resampling import MOST_UNDEFINED, draws_at_once, figures_under, group_numbers, groups_of
from tlkeras.schema import InputError, Predictions

ROUNDED = 12  # decimals


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


def permutation_p(
    pairs: Sequence[tuple[Predictions, Predictions]],
    metric: str,
    positive_class: str | None,
    permutations: int,
    rng: np.random.Generator,
) -> float:
    """The p of exchanging the two methods group by group; see `statistics.paired`. NaN with fewer than two groups."""
    units, n_units = group_numbers([first for first, _ in pairs])
    if n_units < 2:
        return np.nan
    both = [_stacked(*pair) for pair in pairs]

    def difference(numbers: np.ndarray, _: np.ndarray, axis: int) -> np.ndarray:
        # SciPy exchanges `i` of the first sample with `n_units + i` of the second: those are the groups that changed.
        changed = np.atleast_2d(numbers) >= n_units
        of_seeds = []
        for stacked, unit in zip(both, units, strict=True):
            as_first = np.concatenate([~changed[:, unit], changed[:, unit]], axis=1)
            first, second = (
                figures_under(stacked, rows, positive_class, (metric,))[0] for rows in (as_first, ~as_first)
            )
            of_seeds.append(second - first)
        # Rounded, so that what is equal but for the order of summing is equal to SciPy.
        return np.round(np.mean(of_seeds, axis=0), ROUNDED).reshape(numbers.shape[:-1])

    found = permutation_test(
        (np.arange(n_units), np.arange(n_units, 2 * n_units)),
        difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=permutations,
        batch=draws_at_once(2 * max(n_units, *(len(unit) for unit in units))),
        rng=rng,
    )
    undefined = np.isnan(found.null_distribution).mean()
    return np.nan if undefined > MOST_UNDEFINED else min(1.0, float(found.pvalue + undefined))


def _stacked(first: Predictions, second: Predictions) -> Predictions:
    samples = first.samples.take(np.tile(np.arange(len(first)), 2))
    return Predictions(samples, np.concatenate([first.probs, second.probs]))


def mcnemar_p(pairs: Sequence[tuple[Predictions, Predictions]]) -> float:
    """McNemar's exact p; NaN with several seeds, or where a group has several images."""
    (unit, *others), n_units = group_numbers([first for first, _ in pairs])
    if others or n_units < len(unit):
        return np.nan
    ((first, second),) = pairs
    alone = [int((one.correct & ~other.correct).sum()) for one, other in ((first, second), (second, first))]
    return float(binomtest(alone[0], sum(alone)).pvalue) if any(alone) else 1.0
