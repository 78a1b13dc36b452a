"""How far a figure would move with other samples of the same kind, and with other seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import t as student

from tlkeras.checks import real
from tlkeras.errors import InputError
from tlkeras.evaluation.metrics import check_scorable, score
from tlkeras.evaluation.resampling import MOST_UNITS, LeftOut, count_groups, leave_out, leave_out_of_means
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
    check_level(level)
    parts = of_seeds(parts)
    names = parts[0].samples.class_names
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
            of_chosen.loc[measured, ["low", "high"]] = ends(found, ranges_of(measured), level)
        return of_chosen

    each = [
        table([part], leave_out_of([part]) if in_sets else left_out and left_out.of_seed(number))
        for number, part in enumerate(parts)
    ]
    return [*each, table(parts, left_out) if len(parts) > 1 else each[0]]


def of_seeds(predictions: Predictions | Sequence[Predictions]) -> list[Predictions]:
    """The predictions of one seed, or of several, as a list.

    Raises:
        InputError: an empty list, what `metrics.score` refuses, or seeds of other classes.
    """
    parts = [predictions] if isinstance(predictions, Predictions) else list(predictions)
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
    return parts


def intervals_of_means(
    predictions: Predictions | Sequence[Predictions],
    values: np.ndarray | Sequence[np.ndarray],
    within: tuple[float, float] = (0, 1),
    *,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Means of what is told of every image, with the intervals of `intervals`: one row per column of values.

    Args:
        predictions: of n samples, whose groups are left out one after another; or those of each seed.
        values: float (n, m), NaN in rows that a mean is not over; or those of each seed.
        within: the range of a mean, infinite where it has none.
        level: as in `intervals`.
        seed: likewise.

    Returns:
        float64, columns value, low and high, NaN where they are not defined.
    """
    check_level(level)
    parts = [predictions] if isinstance(predictions, Predictions) else list(predictions)
    of_parts = [values] if isinstance(values, np.ndarray) else list(values)
    left_out = leave_out_of_means(parts, of_parts, generator(seed, "intervals"))
    found = ends(left_out, [within] * left_out.figures.shape[1], level)
    return pd.DataFrame({"value": left_out.figures.mean(axis=0), "low": found[:, 0], "high": found[:, 1]})


def ranges_of(metrics: Sequence[str]) -> list[tuple[float, float]]:
    """Where each figure of `metrics.score` lies."""
    return [_RANGES.get(metric, (0, 1)) for metric in metrics]


def ends(left_out: LeftOut, ranges: Sequence[tuple[float, float]], level: float = 0.95) -> np.ndarray:
    """Both ends of the interval of each figure, float64 (figures, 2); see `intervals`.

    Args:
        left_out: the figures, and those without each group.
        ranges: of each of them, outside which no interval reaches.
        level: as in `intervals`.
    """
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
    for i, within in enumerate(ranges):
        # What never occurred among these images cannot be seen by leaving some of them out.
        if np.isfinite(reach[i]) and np.sqrt(variance[i]) > ROUNDING:
            found[i] = _around(left_out.figures[:, i].mean(), reach[i], *within)
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
    if np.isinf(least) and np.isinf(most):
        return value - reach, value + reach
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


def check_level(level: float) -> None:
    """Refuses what is no share of intervals that hold the true figure.

    Raises:
        InputError: not a number between 0 and 1.
    """
    real(above=0, below=1).also(", such as 0.95").check("level", level)
