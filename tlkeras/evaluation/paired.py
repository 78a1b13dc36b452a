"""Two methods' predictions of the same samples: how far apart they are, and whether chance would do as much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from tlkeras.checks import check_whole
from tlkeras.errors import InputError
from tlkeras.evaluation.intervals import ROUNDING, WITHOUT_INTERVAL, check_level, ends, ranges_of
from tlkeras.evaluation.metrics import check_scorable, score
from tlkeras.evaluation.resampling import count_groups, exchange_p, group_numbers, groups_of, leave_out
from tlkeras.schema import Predictions
from tlkeras.seeds import generator


def paired(
    first: Predictions | Sequence[Predictions],
    second: Predictions | Sequence[Predictions],
    *,
    metrics: Iterable[str] = ("accuracy",),
    positive_class: str | None = None,
    level: float = 0.95,
    permutations: int = 9999,
    seed: int = 0,
    kept: dict | None = None,
) -> pd.DataFrame:
    """What two methods make of the same images: how far apart they are, and whether chance would do as much.

    p is that of a permutation test: if the methods were alike, it would not matter which of them said what, so for
    every group (patient, lesion; an image of unknown group is one) both methods' answers change places or not by a
    coin, and p is how often the difference is then at least as far from 0 as it is (two-sided; Good, Permutation,
    Parametric and Bootstrap Tests of Hypotheses, 2005). What is exchanged, and so what "alike" means, is

    - for figures of decisions (accuracy, F1, ...) the predicted class;
    - for ROC AUC and average precision the rank that the image has among all images under each method, as the figures
      look at nothing else (Bandos, Rockette & Gur, Statistics in Medicine 24, 2005): no increasing change of one
      method's probabilities of a class moves p, of two classes so no temperature;
    - for log loss, Brier score and calibration error the probabilities as they are, whose scale is what they measure.

    low and high come of both methods' own `intervals` and of how alike the groups move the two (Zou & Donner,
    Statistics in Medicine 27, 2008), and agree with the test: 0 lies outside exactly where p is at most 1 - level.
    Where the two would not, seldom and with few groups, the end that is nearer to 0 is put there. Coverage by
    simulation: assets/benchmark/coverage.md. Images are drawn again, trainings are not: all is said of these
    classifiers, and what another seed would have trained is not in it.

    Args:
        first: a method's predictions, or those of its seeds: then every figure is the mean over the seeds, and a group
            changes places in all seeds together.
        second: the other method's on the same samples, in any order; seed i of one stands beside seed i of the other.
        metrics: figures of `metrics.score`.
        positive_class: see `metrics.score`.
        level: how often such intervals hold the true difference, between 0 and 1.
        permutations: how many are drawn; where there are no more choices than that, each is made once instead.
        seed: the table is a function of the predictions and this.
        kept: a dict that calls share, empty for the first: what leaving out groups makes of a method's figures, the
            same in every pair that the method is in.

    Returns:
        float64, index "metric", columns first, second, difference (second - first), low, high, p, groups (how many
        change places), and mcnemar_p: McNemar's exact test (the binomial test of the images that one method alone has
        right), in the row "accuracy", where there is one seed and every group has one image: it takes images for
        independent. NaN is what is not defined: the interval where that of either method is not, or where no group
        moves the difference; p where more than 5 % of the permutations leave the figure undefined (fewer count as at
        least as far). The smallest p is 1 / (permutations + 1), or, where each of 2**groups choices is made, 2 /
        2**groups: with five groups or fewer none reaches .05.

    Raises:
        InputError: what `metrics.score` refuses, samples that are not the same, lists of different lengths, or `level`
            or `permutations` out of range.
    """
    check_level(level)
    permutations, seed = check_whole("permutations", permutations, 1), check_whole("seed", seed)
    wanted = tuple(dict.fromkeys(metrics))
    pairs = aligned_pairs(first, second)
    table = pd.DataFrame(
        {
            name: np.mean([score(pair[side], positive_class, wanted) for pair in pairs], axis=0)
            for side, name in enumerate(("first", "second"))
        },
        index=pd.Index(wanted, name="metric"),
    )
    table["difference"] = table["second"] - table["first"]
    table["p"] = [
        exchange_p(pairs, str(metric), positive_class, permutations, generator(seed, "paired", "permutations"))
        if np.isfinite(difference)
        else np.nan
        for metric, difference in table["difference"].items()
    ]
    table[["low", "high"]] = _between(pairs, table, positive_class, level, seed, {} if kept is None else kept)
    table["groups"] = float(count_groups([one for one, _ in pairs], "accuracy"))
    table["mcnemar_p"] = [mcnemar_p(pairs) if metric == "accuracy" else np.nan for metric in wanted]
    return table[["first", "second", "difference", "low", "high", "p", "groups", "mcnemar_p"]]


def _between(
    pairs: Sequence[tuple[Predictions, Predictions]],
    table: pd.DataFrame,
    positive_class: str | None,
    level: float,
    seed: int,
    kept: dict,
) -> np.ndarray:
    """Both ends of the interval of each difference, float64 (metrics, 2); `table` as `paired` has it so far."""
    found = np.full((len(table), 2), np.nan)
    measured = [metric for metric in table.index[table["p"].notna()] if metric not in WITHOUT_INTERVAL]
    if not measured:
        return found
    sides = []
    for of_side in zip(*pairs, strict=True):
        key = (of_side, positive_class, *measured, seed)
        if key not in kept:
            rng = generator(seed, "paired", "intervals")
            kept[key] = leave_out(of_side, positive_class, measured, rng).mean()
        sides.append(kept[key])
    (low, high), (second_low, second_high) = (ends(side, ranges_of(measured), level).T for side in sides)
    first, second = (side.figures[0] for side in sides)
    moved, second_moved = (side.figures[0][:, None] - side.without[0] for side in sides)
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = (moved * second_moved).sum(axis=1) / np.sqrt((moved**2).sum(axis=1) * (second_moved**2).sum(axis=1))
    ways = ((second - second_low, high - first), (second_high - second, first - low))  # down and up
    down, up = (np.sqrt(np.maximum(a**2 + b**2 - 2 * alike * a * b, 0)) for a, b in ways)
    down[np.abs(second_moved - moved).max(axis=1) <= ROUNDING] = np.nan
    of_measured = table.loc[measured]
    difference, claimed = of_measured["difference"].to_numpy(), of_measured["p"].to_numpy() <= 1 - level + ROUNDING
    low, high = np.where(np.isnan(down + up), np.nan, [difference - down, difference + up])
    least = np.nextafter(0, 1)
    low = np.select([~claimed, difference > 0], [np.minimum(low, 0), np.maximum(low, least)], low)
    high = np.select([~claimed, difference < 0], [np.maximum(high, 0), np.minimum(high, -least)], high)
    found[table.index.get_indexer(pd.Index(measured))] = np.stack([low, high], axis=1)
    return found


def paired_table(
    methods: Mapping[str, Predictions | Sequence[Predictions]],
    metric: str = "accuracy",
    *,
    pairs: Iterable[tuple[str, str]] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """`paired` for every two methods of one part, and Holm's correction over the table.

    Args:
        methods: {name: predictions, or those of its seeds}, at least two.
        metric: the figure compared.
        pairs: the two names of each row; None takes every two.
        options: as `paired` takes them.

    Returns:
        One row per pair, columns first_method, second_method, metric, then those of `paired`, then p_holm of `holm`.

    Raises:
        InputError: fewer than two methods, or what `paired` refuses.
    """
    if len(methods) < 2:
        raise InputError(f"methods: received {list(methods)}; a comparison needs at least two.")
    pairs = list(combinations(methods, 2) if pairs is None else pairs)
    unknown = [name for pair in pairs for name in pair if name not in methods]
    if unknown or not pairs:
        raise InputError(
            f"pairs: received {unknown[0] if unknown else pairs!r}; accepted is at least one pair of two names of "
            f"{', '.join(methods)}."
        )
    kept: dict = {}
    rows = [
        paired(methods[first], methods[second], metrics=(metric,), kept=kept, **options)
        .reset_index()
        .assign(first_method=first, second_method=second)
        for first, second in pairs
    ]
    table = holm(pd.concat(rows, ignore_index=True))
    return table[["first_method", "second_method", *table.columns.drop(["first_method", "second_method"])]]


def holm(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column p_holm: its p, raised so that the chance of any false claim in the table stays below the
    level asked for (Holm, Scandinavian Journal of Statistics 6, 1979). Rows without a p are no part of the correction.
    """
    rising = table["p"].dropna().sort_values()
    steps = rising * np.arange(len(rising), 0, -1)  # the smallest times how many there are, the largest once
    corrected = steps.cummax().clip(upper=1)
    return table.assign(p_holm=corrected)


def mcnemar_p(pairs: Sequence[tuple[Predictions, Predictions]]) -> float:
    """McNemar's exact p; NaN with several seeds, or where a group has several images."""
    (unit, *others), n_units = group_numbers([first for first, _ in pairs])
    if others or n_units < len(unit):
        return np.nan
    ((first, second),) = pairs
    alone = [int((one.correct & ~other.correct).sum()) for one, other in ((first, second), (second, first))]
    return float(binomtest(alone[0], sum(alone)).pvalue) if any(alone) else 1.0


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
    return [(one, in_order_of(one, other)) for one, other in zip(firsts, seconds, strict=True)]


def in_order_of(first: Predictions, second: Predictions) -> Predictions:
    """`second` with the rows in the order of `first`.

    Raises:
        InputError: a sample twice, samples, labels or groups that differ.
    """
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
    ordered = second
    if not np.array_equal(order, np.arange(len(order))):
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
