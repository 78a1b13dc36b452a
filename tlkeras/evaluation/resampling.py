"""Whole groups (patients, lesions), numbered alike in all parts, and left out one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tlkeras.evaluation.weighted_scores import RANKED, class_of, weighted_scores
from tlkeras.schema import Predictions

NUMBERS_AT_ONCE = 4_000_000  # of float64: 32 MB in each of a few arrays
MOST_UNITS = 2000  # beyond, groups are left out some at a time, so that the time grows with the images alone


@dataclass(frozen=True, eq=False)
class LeftOut:
    """The figures of one method's seeds as they are, and with each unit left out.

    Attributes:
        figures: float64 (seeds, metrics).
        without: float64 (seeds, metrics, units); where a seed's part lacks the unit, its figures as they are.
        present: bool (seeds, units), whether the seed's part has the unit. Units are groups, or, of more than
            `MOST_UNITS`, random sets of them.
    """

    figures: np.ndarray
    without: np.ndarray
    present: np.ndarray

    def of_seed(self, number: int) -> LeftOut:
        """One seed alone, with the units of its part."""
        here = self.present[number]
        return LeftOut(self.figures[[number]], self.without[number][None, :, here], self.present[number][None, here])

    def mean(self) -> LeftOut:
        """The mean over the seeds, as of one."""
        figures, without = (of_seeds.mean(axis=0, keepdims=True) for of_seeds in (self.figures, self.without))
        return LeftOut(figures, without, self.present.any(axis=0, keepdims=True))


def leave_out(
    parts: Sequence[Predictions], positive_class: str | None, metrics: Sequence[str], rng: np.random.Generator
) -> LeftOut:
    """The figures of each seed's predictions, and those without each group.

    Args:
        parts: the predictions of each seed; their samples may differ, as where each seed has a split of its own.
        positive_class: see `metrics.score`.
        metrics: likewise.
        rng: draws the sets that more than `MOST_UNITS` groups are left out in (delete-a-group jackknife: Kott, Journal
            of Official Statistics 17, 2001).
    """
    units, n_groups = group_numbers(parts)
    n_units = n_groups
    if n_groups > MOST_UNITS:
        n_units, sets = MOST_UNITS, rng.permutation(n_groups) % MOST_UNITS
        units = [sets[unit] for unit in units]
    figures, without, present = [], [], []
    for part, unit in zip(parts, units, strict=True):
        whole = figures_under(part, np.ones((1, len(part))), positive_class, metrics)[:, 0]
        there, of_part = np.unique(unit), np.repeat(whole[:, None], n_units, axis=1)
        for positions in in_chunks(len(there), len(part)):
            numbers = there[positions]
            of_part[:, numbers] = figures_under(part, unit != numbers[:, None], positive_class, metrics)
        figures.append(whole)
        without.append(of_part)
        present.append(np.isin(np.arange(n_units), there))
    return LeftOut(np.stack(figures), np.stack(without), np.stack(present))


def figures_under(
    predictions: Predictions, weights: np.ndarray, positive_class: str | None, metrics: Sequence[str]
) -> np.ndarray:
    """float64 (metrics, draws): `weighted_scores` of the predictions."""
    samples = predictions.samples
    found = weighted_scores(samples.labels, predictions.probs, samples.class_names, weights, positive_class, metrics)
    return np.stack(list(found.values()))


def group_numbers(parts: Sequence[Predictions]) -> tuple[list[np.ndarray], int]:
    """For each part the number of every row's group, the same for one group in all parts, and how many there are.

    A sample whose group is unknown is a group of its own, known by its sample_id.
    """
    names = [unit_names(part) for part in parts]
    numbers, found = pd.factorize(np.concatenate(names), sort=True)  # so that the order of the rows changes no draw
    return np.split(numbers, np.cumsum([len(of_part) for of_part in names])[:-1]), len(found)


def unit_names(part: Predictions) -> np.ndarray:
    """What each row is left out with: object (n,) of str, its group, or where that is unknown itself."""
    ids, groups = part.samples.sample_ids, groups_of(part)
    return np.array(
        [f"image {i}" if group == "" else f"group {group}" for i, group in zip(ids, groups, strict=True)], dtype=object
    )


def count_groups(parts: Sequence[Predictions], metric: str, positive_class: str | None = None) -> int:
    """How many groups a figure rests on: those that hold the class it is of ("recall_<class>"), otherwise all."""
    found, of_class = set(), class_of(metric, parts[0].samples.class_names, positive_class)
    if metric.startswith(RANKED):
        of_class = None  # the other classes' images count alike
    for part in parts:
        rows = slice(None) if of_class is None else part.samples.labels == of_class
        found.update(unit_names(part)[rows])
    return len(found)


def groups_of(predictions: Predictions) -> np.ndarray:
    """Every row's group as str, "" where it is unknown."""
    groups = predictions.samples.groups
    if groups is None:
        return np.full(len(predictions), "", dtype=object)
    return np.where(pd.isna(groups), "", groups).astype(str).astype(object)


def in_chunks(total: int, numbers_each: int) -> Iterator[np.ndarray]:
    """The numbers below `total`, some at a time: as many draws, of `numbers_each` numbers, as memory shall hold."""
    at_once = max(1, NUMBERS_AT_ONCE // numbers_each)
    return (np.arange(start, min(start + at_once, total)) for start in range(0, total, at_once))
