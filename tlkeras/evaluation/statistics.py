"""How far a figure would move with other samples of the same kind, and whether two methods differ by more than that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import t as student

from tlkeras.checks import check_whole, real
from tlkeras.errors import InputError
from tlkeras.evaluation.metrics import check_scorable, score
from tlkeras.evaluation.pairs import aligned_pairs, exchange_p, mcnemar_p
from tlkeras.evaluation.resampling import MOST_UNITS, LeftOut, count_groups, leave_out
from tlkeras.evaluation.weighted_scores import metric_names
from tlkeras.schema import Predictions
from tlkeras.seeds import generator

LEAST_FREEDOM = 8  # degrees, where there are as many groups: with a single error in all, the logit alone is wide enough
FEW_GROUPS = 20  # below, intervals of some figures cover clearly less than they say; see assets/benchmark/coverage.md
ROUNDING = 1e-12  # differences of sums of a few thousand numbers below 1 that another order of them makes
# Where a figure lies; outside no interval reaches. Figures not named here lie in 0..1.
_RANGES = {
    "log_loss": (0, np.inf),
    "balanced_log_loss": (0, np.inf),
    "brier": (0, 2),
    "matthews": (-1, 1),
    "kappa": (-1, 1),
}
WITHOUT_INTERVAL = ("n", "ece", "ece_by_chance")


def intervals(
    predictions: Predictions | Sequence[Predictions],
    *,
    positive_class: str | None = None,
    metrics: Iterable[str] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """The figures of `metrics.score` with intervals over groups, and over seeds where there are several.

    Images of one patient or lesion are alike, so the groups are the units: how far a figure moves when each of them is
    left out gives its standard error (jackknife: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter
    11), and the interval is that of Student's t around its logit (of losses the logarithm), which keeps it inside the
    figure's range. A few groups that matter much more than the others count as few: there are 2 / (kurtosis - 1)
    degrees of freedom for each group, from the kurtosis of how far the groups move the figure, at most one less than
    there are groups and at least 8 of them (Satterthwaite 1946; O'Neill, The American Statistician 68, 2014). By
    simulation this covers better than percentile, BCa and studentised bootstrap intervals where there are few groups,
    and as they do where there are many (assets/benchmark/coverage.md). An image whose group is unknown is a group of
    its own.

    With several seeds the value is the mean over the seeds, and the interval holds both what other images and what
    other seeds would have given: the variances over groups and over seeds, less that of their common part, and never
    less than either (two-way clustering: Cameron, Gelbach & Miller, Journal of Business & Economic Statistics 29,
    2011), with Satterthwaite's degrees of freedom.

    Args:
        predictions: labelled, at least one sample; or those of each seed of one method.
        positive_class: see `metrics.score`.
        metrics: the figures wanted, in this order; None gives all of `metric_names` but n.
        level: how often such intervals hold the true figure, between 0 and 1.
        seed: of more than 2,000 groups, random sets are left out, drawn from it.

    Returns:
        float64, index "metric", columns value, low, high and groups (how many the figure rests on; for figures of one
        class those that hold it). The ends are NaN

        - with fewer than two groups, which say nothing about their spread;
        - where without one of the groups the figure would be undefined (a class that one group alone holds);
        - where leaving out changes nothing: where every prediction is right, the errors that did not occur cannot be
          seen (of n groups all right, up to 3 / n may well be wrong among others);
        - for the calibration error, which chance moves in one direction, away from 0: its `ece_by_chance` says how far.

    Raises:
        InputError: what `metrics.score` refuses, seeds of other classes, or `level` out of range.
    """
    parts = [predictions] if isinstance(predictions, Predictions) else list(predictions)
    return seed_intervals(parts, positive_class=positive_class, metrics=metrics, level=level, seed=seed)[-1]


def seed_intervals(
    parts: Sequence[Predictions],
    *,
    positive_class: str | None = None,
    metrics: Iterable[str] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> list[pd.DataFrame]:
    """`intervals` of each seed alone and, last, of all of them together (of one seed the same again)."""
    _check_level(level)
    if not parts:
        raise InputError("predictions: received an empty list; accepted are predictions, or those of each seed.")
    for part in parts:
        check_scorable(part)
    names = parts[0].samples.class_names
    for part in parts[1:]:
        if part.samples.class_names != names:
            raise InputError(
                f"predictions: the seeds' classes differ, {list(names)} and {list(part.samples.class_names)}."
            )
    given = [metrics] if isinstance(metrics, str) else metrics
    wanted = metric_names(names, positive_class)[1:] if given is None else tuple(dict.fromkeys(given))
    measured = [metric for metric in wanted if metric not in WITHOUT_INTERVAL]

    def leave_out_of(chosen: Sequence[Predictions]) -> LeftOut | None:
        return leave_out(chosen, positive_class, measured, generator(seed, "intervals")) if measured else None

    left_out = leave_out_of(parts)
    in_sets = left_out is not None and left_out.present.shape[1] == MOST_UNITS  # of other groups in each seed alone

    def table(chosen: Sequence[Predictions], found: LeftOut | None) -> pd.DataFrame:
        values = np.mean([score(part, positive_class, wanted) for part in chosen], axis=0)
        groups = [float(count_groups(chosen, metric, positive_class)) for metric in wanted]
        index = pd.Index(wanted, name="metric")
        of_chosen = pd.DataFrame({"value": values, "low": np.nan, "high": np.nan, "groups": groups}, index=index)
        if found is not None:
            of_chosen.loc[measured, ["low", "high"]] = ends(found, measured, level)
        return of_chosen

    each = [
        table([part], leave_out_of([part]) if in_sets else left_out and left_out.of_seed(number))
        for number, part in enumerate(parts)
    ]
    return [*each, table(parts, left_out) if len(parts) > 1 else each[0]]


def ends(left_out: LeftOut, metrics: Sequence[str], level: float = 0.95) -> np.ndarray:
    """Both ends of the interval of each metric, float64 (metrics, 2); see `intervals`."""
    n_seeds, n_metrics, n_units = left_out.without.shape
    found = np.full((n_metrics, 2), np.nan)
    if n_units < 2:
        return found
    moved = left_out.figures[:, :, None] - left_out.without  # how far each unit moves each seed's figure
    of_groups, freedom = _over_groups(moved.mean(axis=0))
    variance = of_groups
    with np.errstate(invalid="ignore", divide="ignore"):
        if n_seeds > 1:
            of_seeds = left_out.figures.var(axis=0, ddof=1) / n_seeds
            # Each seed by itself varies over groups, too: what of that the seeds do not share is in both.
            common = _over_groups(moved - moved.mean(axis=0))[0].sum(axis=0) / (n_seeds * (n_seeds - 1))
            variance = np.max([of_groups + of_seeds - common, of_groups, of_seeds], axis=0)
            freedom = np.clip(
                variance**2 / (of_groups**2 / freedom + of_seeds**2 / (n_seeds - 1)), 1, np.maximum(freedom, 1)
            )
        reach = student.ppf((1 + level) / 2, freedom) * np.sqrt(variance)
    for i, metric in enumerate(metrics):
        # What never occurred among these images cannot be seen by leaving some of them out.
        if np.isfinite(reach[i]) and np.sqrt(variance[i]) > ROUNDING:
            found[i] = _around(left_out.figures[:, i].mean(), reach[i], *_RANGES.get(metric, (0, 1)))
    return found


def _over_groups(moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The jackknife's variance over the last axis, and its degrees of freedom."""
    n_units = moved.shape[-1]
    squares = np.square(moved)
    mean, of_fourth = squares.mean(axis=-1), np.square(squares).mean(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        kurtosis = of_fourth / np.square(mean)
        freedom = 2 * n_units / np.maximum(kurtosis - 1, 0)
    return (n_units - 1) * mean, np.clip(freedom, min(LEAST_FREEDOM, n_units - 1), n_units - 1)


def _around(value: float, reach: float, least: float, most: float) -> tuple[float, float]:
    """value -+ reach, made on a scale on which the range least..most has no end."""
    if not least < value < most:
        return np.nan, np.nan
    if np.isinf(most):
        with np.errstate(over="ignore"):
            factor = np.exp(reach / (value - least))
        return least + (value - least) / factor, least + (value - least) * factor
    share = (value - least) / (most - least)
    step = reach / (most - least) / (share * (1 - share))
    low, high = expit(logit(share) + np.array([-step, step]))
    return least + low * (most - least), least + high * (most - least)


def paired(
    first: Predictions | Sequence[Predictions],
    second: Predictions | Sequence[Predictions],
    *,
    metrics: Iterable[str] = ("accuracy",),
    positive_class: str | None = None,
    level: float = 0.95,
    permutations: int = 9999,
    seed: int = 0,
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
    _check_level(level)
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
        exchange_p(pairs, metric, positive_class, permutations, generator(seed, "paired", "permutations"))
        if np.isfinite(difference)
        else np.nan
        for metric, difference in table["difference"].items()
    ]
    table[["low", "high"]] = _between(pairs, table, positive_class, level, seed)
    table["groups"] = float(count_groups([one for one, _ in pairs], "accuracy"))
    table["mcnemar_p"] = [mcnemar_p(pairs) if metric == "accuracy" else np.nan for metric in wanted]
    return table[["first", "second", "difference", "low", "high", "p", "groups", "mcnemar_p"]]


def _between(
    pairs: Sequence[tuple[Predictions, Predictions]],
    table: pd.DataFrame,
    positive_class: str | None,
    level: float,
    seed: int,
) -> np.ndarray:
    """Both ends of the interval of each difference, float64 (metrics, 2); `table` as `paired` has it so far."""
    found = np.full((len(table), 2), np.nan)
    measured = [metric for metric in table.index[table["p"].notna()] if metric not in WITHOUT_INTERVAL]
    if not measured:
        return found
    sides = []
    for of_side in zip(*pairs, strict=True):
        left_out = leave_out(of_side, positive_class, measured, generator(seed, "paired", "intervals"))
        sides.append(left_out.mean())
    (low, high), (second_low, second_high) = (ends(side, measured, level).T for side in sides)
    first, second = (side.figures[0] for side in sides)
    moved, second_moved = (side.figures[0][:, None] - side.without[0] for side in sides)
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = (moved * second_moved).sum(axis=1) / np.sqrt((moved**2).sum(axis=1) * (second_moved**2).sum(axis=1))
    ways = ((second - second_low, high - first), (second_high - second, first - low))  # down and up
    down, up = (np.sqrt(np.maximum(a**2 + b**2 - 2 * alike * a * b, 0)) for a, b in ways)
    down[np.abs(second_moved - moved).max(axis=1) <= ROUNDING] = np.nan
    of_measured = table.loc[measured]
    difference, claimed = of_measured["difference"].to_numpy(), of_measured["p"].to_numpy() <= 1 - level
    low, high = np.where(np.isnan(down + up), np.nan, [difference - down, difference + up])
    least = np.nextafter(0, 1)
    low = np.select([~claimed, difference > 0], [np.minimum(low, 0), np.maximum(low, least)], low)
    high = np.select([~claimed, difference < 0], [np.maximum(high, 0), np.minimum(high, -least)], high)
    found[table.index.get_indexer(measured)] = np.stack([low, high], axis=1)
    return found


def paired_table(
    methods: Mapping[str, Predictions | Sequence[Predictions]],
    metric: str = "accuracy",
    *,
    pairs: Iterable[tuple[str, str]] | None = None,
    **options: object,
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
    rows = [
        paired(methods[first], methods[second], metrics=(metric,), **options)
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


def baseline(train_counts: Mapping[str, int], predictions: Predictions) -> Predictions:
    """What answering without looking reaches: each class's share of the training images, for every sample.

    So the predicted class is the commonest one (scikit-learn's `DummyClassifier(strategy="prior")`).

    Args:
        train_counts: {class name: training images}, e.g. `splits.train.class_counts()`.
        predictions: a method's, whose samples are taken.

    Raises:
        InputError: other classes, or no training image.
    """
    names = predictions.samples.class_names
    if set(train_counts) != set(names) or sum(train_counts.values()) < 1:
        raise InputError(
            f"train_counts: received {dict(train_counts)}; accepted are the training images of the classes "
            f"{list(names)}, at least one in all."
        )
    counts = np.array([train_counts[name] for name in names], dtype=np.float64)
    shares = (counts / counts.sum()).astype(np.float32)
    return Predictions(predictions.samples, np.tile(shares, (len(predictions), 1)))


def _check_level(level: float) -> None:
    real(above=0, below=1).also(", such as 0.95").check("level", level)
