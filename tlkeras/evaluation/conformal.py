"""Sets of classes in place of one: how many it takes so that the true one is among them as often as is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tlkeras.checks import real
from tlkeras.errors import InputError
from tlkeras.evaluation.intervals import intervals_of_means, of_seeds
from tlkeras.evaluation.metrics import check_scorable
from tlkeras.evaluation.resampling import unit_names
from tlkeras.evaluation.tables import apart_from
from tlkeras.schema import Predictions


@dataclass(frozen=True, eq=False)
class PredictionSets:
    """The classes that each image may be of; see `prediction_sets`.

    Attributes:
        predictions: of n samples and k classes.
        members: bool (n, k), whether a class is in an image's set. A set may be empty: the image is like none of the
            validation images.
        coverage: how often the true class shall be in the set, 0..1, of the images of every class.
        calibrated_on: {class name: validation images}; with fewer than coverage / (1 - coverage) a class is in every
            set.
    """

    predictions: Predictions = field(repr=False)
    members: np.ndarray = field(repr=False)
    coverage: float
    calibrated_on: dict[str, int]


def prediction_sets(val: Predictions, predictions: Predictions, *, coverage: float = 0.9) -> PredictionSets:
    """Sets of classes that hold the true one as often as is asked for, of the images of each class.

    A class is in an image's set unless its probability is lower than among all but a few of that class's validation
    images (split conformal prediction, class by class: Vovk, Conditional validity of inductive conformal predictors,
    Machine Learning 92, 2013). This holds for images that are drawn as the validation images are, whatever the
    classifier; where test images are others, as of another hospital, `coverage_table` shows by how much it does not.

    Args:
        val: labelled predictions of images that neither trained the classifier nor test it.
        predictions: of other images, with or without labels.
        coverage: how often, above 0 and below 1.

    Raises:
        InputError: what `tl.score` refuses of `val`, other classes, or `coverage` out of range.
    """
    check_scorable(val)
    coverage = real(above=0, below=1).also(", such as 0.9").check("coverage", coverage)
    names = val.samples.class_names
    if predictions.samples.class_names != names:
        raise InputError(
            f"predictions: the classes differ, {list(names)} of val and {list(predictions.samples.class_names)}."
        )
    members = np.ones(predictions.probs.shape, dtype=bool)
    for label in range(len(names)):
        known = np.sort(val.probs[val.samples.known_labels == label, label])
        as_low = np.searchsorted(known, predictions.probs[:, label], side="right")
        members[:, label] = (as_low + 1) / (len(known) + 1) > 1 - coverage + 1e-9
    return PredictionSets(predictions, members, coverage, val.samples.class_counts())


def coverage_table(
    sets: PredictionSets | Sequence[PredictionSets], *, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """What prediction sets come to on labelled samples.

    Args:
        sets: of one classifier, or of each seed's.
        level: of the intervals, as in `tl.intervals`.
        seed: likewise.

    Returns:
        One row per true class, then "all" ("all average" where a class is called so). Columns val_images, images and
        groups (int64, of the first seed), coverage (how often the true class is in the set, 0..1) with low and high
        over groups and seeds, size (classes in a set, mean), single and empty (shares of sets with one class, and with
        none).

    Raises:
        InputError: the samples have no labels.
    """
    given = [sets] if isinstance(sets, PredictionSets) else list(sets)
    of_seeds([each.predictions for each in given])
    names = given[0].predictions.samples.class_names
    told = {name: [] for name in ("coverage", "size", "single", "empty")}
    rows = []
    for each in given:
        labels = each.predictions.samples.known_labels
        of_row = np.concatenate([labels[:, None] == np.arange(len(names)), np.ones((len(labels), 1), bool)], axis=1)
        rows.append(of_row)
        sizes = each.members.sum(axis=1)
        covered = each.members[np.arange(len(labels)), labels]
        for name, values in zip(told, (covered, sizes, sizes == 1, sizes == 0), strict=True):
            told[name].append(np.where(of_row, values[:, None], np.nan))
    parts = [each.predictions for each in given]
    found = intervals_of_means(parts, told["coverage"], (0, 1), level=level, seed=seed)
    units, first = unit_names(parts[0]), rows[0]
    calibrated = list(given[0].calibrated_on.values())
    table = {
        "val_images": [*calibrated, sum(calibrated)],
        "images": first.sum(axis=0),
        "groups": [len(set(units[of_row])) for of_row in first.T],
        "coverage": found["value"].to_numpy(),
        "low": found["low"].to_numpy(),
        "high": found["high"].to_numpy(),
    }
    for name in ("size", "single", "empty"):
        means = [[_mean(column) for column in values.T] for values in told[name]]
        table[name] = np.mean(means, axis=0)
    return pd.DataFrame(table, index=pd.Index([*names, apart_from("all", names)], name="class"))


def _mean(values: np.ndarray) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else np.nan
