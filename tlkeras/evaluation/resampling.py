"""Whole groups (patients, lesions) drawn with replacement, and what a figure is on each draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from tlkeras.evaluation.weighted_scores import weighted_scores
from tlkeras.schema import Predictions

ROUNDING = 1e-12  # differences of figures below this are those of summing in another order
MOST_UNDEFINED = 0.05  # the share of draws without a value up to which the others are taken for all
NUMBERS_AT_ONCE = 4_000_000  # of float64: 32 MB in each of a few arrays


def figures_of_draws(
    tuples: Sequence[Sequence[Predictions]],
    positive_class: str | None,
    metrics: Sequence[str],
    draws: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """The figures of bootstrap draws of the groups.

    Args:
        tuples: for each seed the predictions of every method, all on the same samples.
        positive_class: see `metrics.score`.
        metrics: likewise.
        draws: how many.
        rng: the groups are drawn from it; all seeds, methods and metrics see the same draws.

    Returns:
        {metric: (methods, draws)}, means over the seeds; NaN with fewer than two groups.
    """
    units, n_units = group_numbers([methods[0] for methods in tuples])
    found = []
    for at_once in _chunks(draws, max(n_units, *(len(unit) for unit in units))):
        drawn = rng.integers(0, n_units, (at_once, n_units)) + n_units * np.arange(at_once)[:, None]
        times = np.bincount(drawn.ravel(), minlength=at_once * n_units).reshape(at_once, n_units)
        found.append(
            [
                [figures_under(one, times[:, unit], positive_class, metrics) for one in methods]
                for methods, unit in zip(tuples, units, strict=True)
            ]
        )
    figures = np.concatenate([np.mean(chunk, axis=0) for chunk in found], axis=-1)  # (methods, metrics, draws)
    if n_units < 2:
        figures[:] = np.nan
    return {metric: figures[:, i] for i, metric in enumerate(metrics)}


def figures_under(
    predictions: Predictions, weights: np.ndarray, positive_class: str | None, metrics: Sequence[str]
) -> np.ndarray:
    """float64 (metrics, draws): `weighted_scores` of the predictions."""
    samples = predictions.samples
    found = weighted_scores(samples.labels, predictions.probs, samples.class_names, weights, positive_class, metrics)
    return np.stack(list(found.values()))


def percentile_intervals(draws: Mapping[str, np.ndarray], level: float) -> pd.DataFrame:
    """Columns low and high, one row per metric; NaN where more than `MOST_UNDEFINED` of its draws are, or all agree."""
    ends = {}
    for metric, values in draws.items():
        defined = values[~np.isnan(values)]
        # Draws that all agree tell nothing: what never occurred among these images cannot be drawn.
        told = len(defined) >= (1 - MOST_UNDEFINED) * len(values) and np.ptp(defined) > ROUNDING
        ends[metric] = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]) if told else [np.nan, np.nan]
    return pd.DataFrame.from_dict(ends, orient="index", columns=["low", "high"], dtype=np.float64)


def group_numbers(parts: Sequence[Predictions]) -> tuple[list[np.ndarray], int]:
    """For each part the number of every row's group, the same for one group in all parts, and how many there are.

    A sample whose group is unknown is a group of its own, known by its sample_id.
    """
    names = [
        [
            f"image {sample_id}" if group == "" else f"group {group}"
            for sample_id, group in zip(part.samples.sample_ids, groups_of(part), strict=True)
        ]
        for part in parts
    ]
    every = np.array([name for of_part in names for name in of_part], dtype=object)
    numbers, found = pd.factorize(every, sort=True)  # so that the order of the rows changes no draw
    return np.split(numbers, np.cumsum([len(of_part) for of_part in names])[:-1]), len(found)


def groups_of(predictions: Predictions) -> np.ndarray:
    """Every row's group as str, "" where it is unknown."""
    groups = predictions.samples.groups
    if groups is None:
        return np.full(len(predictions), "", dtype=object)
    return np.where(pd.isna(groups), "", groups).astype(str).astype(object)


def draws_at_once(numbers_each: int) -> int:
    """How many draws of so many numbers each are held in memory together."""
    return max(1, NUMBERS_AT_ONCE // numbers_each)


def _chunks(total: int, numbers_each: int) -> Iterator[int]:
    """How many of `total` draws, of so many numbers each, are made at once."""
    at_once = draws_at_once(numbers_each)
    while total > 0:
        yield min(at_once, total)
        total -= at_once
