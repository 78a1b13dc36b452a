"""From what a grid's settings predicted for images that were held out, to their figures fold by fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tlkeras.errors import InputError
from tlkeras.evaluation.statistics import intervals
from tlkeras.evaluation.weighted_scores import weighted_scores
from tlkeras.schema import PROBABILITY_PREFIX, Predictions, Samples

SETTING_PREFIX = "setting_"  # out_of_fold.csv holds one column `setting_<number>` per setting
OF_CLASSES = ("accuracy", "balanced_accuracy", "macro_f1")  # figures that need no probabilities


def probability_column(number: int, class_name: str) -> str:
    """The column of out_of_fold.csv that holds what setting `number` gave a class: "setting_3_prob_mel"."""
    return f"{SETTING_PREFIX}{number}_{PROBABILITY_PREFIX}{class_name}"


def fold_results(
    out_of_fold: pd.DataFrame, settings: Sequence[Mapping[str, Any]], metric: str = "accuracy"
) -> pd.DataFrame:
    """A figure of each setting on each held-out fold.

    An image without an answer, because its training was no longer a number, counts as wrong, and as surely wrong.

    Args:
        out_of_fold: one row per image: sample_id, group ("" where unknown), fold, label, and for each setting the
            predicted class, `setting_0`, ..., empty where there is no answer. Where the metric is not one of
            `OF_CLASSES` also the probability of every class, `setting_0_prob_<class>`, ...
        settings: what varied in each, {name: value}, in the order of those columns.
        metric: a figure of `metrics.score`.

    Returns:
        One row per setting and fold: a column per name, fold, n (images), the metric, NaN where the fold leaves it
        undefined, and <metric>_low and <metric>_high of the setting, a 95 % interval over the groups of all
        images, as many as groups says; see `statistics.intervals`.

    Raises:
        InputError: a setting has no column, or not those that the metric needs.
    """
    folds, fold_of = np.unique(out_of_fold["fold"].to_numpy(), return_inverse=True)
    in_fold = np.arange(len(folds))[:, None] == fold_of
    rows = []
    for number, setting in enumerate(settings):
        predictions = _predictions(out_of_fold, number, metric)
        samples = predictions.samples
        found = weighted_scores(samples.labels, predictions.probs, samples.class_names, in_fold, metrics=metric)[metric]
        _, low, high, groups = intervals(predictions, metrics=(metric,)).loc[metric]
        of_setting = {f"{metric}_low": low, f"{metric}_high": high, "groups": groups}
        rows += [
            {**setting, "fold": fold, "n": n, metric: value} | of_setting
            for fold, n, value in zip(folds, in_fold.sum(axis=1), found, strict=True)
        ]
    return pd.DataFrame(rows)


def with_wrong_answers(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """The probabilities (n, k), with certainty of the class after the true one where a row is no number."""
    wrong = np.eye(probs.shape[1], dtype=probs.dtype)[(labels + 1) % probs.shape[1]]
    return np.where(np.isfinite(probs).all(axis=1, keepdims=True), probs, wrong)


def _predictions(out_of_fold: pd.DataFrame, number: int, metric: str) -> Predictions:
    column = f"{SETTING_PREFIX}{number}"
    names = sorted(out_of_fold["label"].unique())
    wanted = [column] if metric in OF_CLASSES else [probability_column(number, name) for name in names]
    missing = [name for name in wanted if name not in out_of_fold]
    if missing:
        raise InputError(f"out_of_fold: there is no column {missing[0]}; run the search again.")
    if metric in OF_CLASSES:
        predicted = out_of_fold[column].fillna("")
        names = sorted({*names, *predicted} - {""})
        probs = (predicted.to_numpy()[:, None] == np.array(names, dtype=object)).astype(np.float32)
        probs[(predicted == "").to_numpy()] = np.nan
    else:
        # An empty cell among numbers may have been read as text.
        probs = out_of_fold[wanted].apply(pd.to_numeric).to_numpy(np.float32)
    labels = np.array([names.index(name) for name in out_of_fold["label"]], dtype=np.int64)
    samples = Samples(
        images=("",) * len(labels),
        labels=labels,
        class_names=names,
        groups=out_of_fold["group"].fillna("").to_numpy(dtype=object),
        sample_ids=out_of_fold["sample_id"].to_numpy(dtype=object),
    )
    return Predictions(samples, with_wrong_answers(labels, probs))
