"""Whole groups (patients, lesions), numbered alike in all parts: left out one after another, or with the answers of two
methods exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from tlkeras.evaluation.weighted_scores import RANKED, class_of, weighted_scores
from tlkeras.schema import Predictions

NUMBERS_AT_ONCE = 4_000_000  # of float64: 32 MB in each of a few arrays
MOST_UNITS = 2000  # beyond, groups are left out some at a time, so that the time grows with the images alone
MOST_UNDEFINED = 0.05  # the share of exchanges without a figure up to which the others are taken for all
ROUNDING = 1e-9  # differences that summing in another order makes


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
        return LeftOut(figures, without, np.any(self.present, axis=0, keepdims=True))


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
    units, n_units = units_left_out(parts, rng)
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


def leave_out_of_means(parts: Sequence[Predictions], values: Sequence[np.ndarray], rng: np.random.Generator) -> LeftOut:
    """The mean of each column of values over the rows that have one, and that without each group.

    Args:
        parts: predictions of each seed, of n samples, of which the groups count.
        values: of each seed float (n, m), NaN in rows that a mean is not over.
        rng: as in `leave_out`.
    """
    units, n_units = units_left_out(parts, rng)
    figures, without, present = [], [], []
    for unit, of_part in zip(units, values, strict=True):
        there = ~np.isnan(of_part)
        sums, counts = (
            np.stack([np.bincount(unit, weights=column, minlength=n_units) for column in each.T])
            for each in (np.where(there, of_part, 0), there)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            figures.append(sums.sum(axis=1) / counts.sum(axis=1))
            without.append((sums.sum(axis=1, keepdims=True) - sums) / (counts.sum(axis=1, keepdims=True) - counts))
        present.append(np.isin(np.arange(n_units), unit))
    return LeftOut(np.stack(figures), np.stack(without), np.stack(present))


def units_left_out(parts: Sequence[Predictions], rng: np.random.Generator) -> tuple[list[np.ndarray], int]:
    """For each part the number of what every row is left out with, and how many there are: see `leave_out`."""
    units, n_groups = group_numbers(parts)
    if n_groups <= MOST_UNITS:
        return units, n_groups
    sets = rng.permutation(n_groups) % MOST_UNITS
    return [sets[unit] for unit in units], MOST_UNITS


def exchange_p(
    pairs: Sequence[tuple[Predictions, Predictions]],
    metric: str,
    positive_class: str | None,
    permutations: int,
    rng: np.random.Generator,
) -> float:
    """The p of exchanging the two methods group by group; see `paired.paired`."""
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


def figures_under(
    predictions: Predictions, weights: np.ndarray, positive_class: str | None, metrics: Sequence[str]
) -> np.ndarray:
    """float64 (metrics, draws): `weighted_scores` of the predictions."""
    samples = predictions.samples
    found = weighted_scores(
        samples.known_labels, predictions.probs, samples.class_names, weights, positive_class, metrics
    )
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
