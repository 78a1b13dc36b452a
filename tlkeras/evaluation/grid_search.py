"""From what a grid's settings predicted for images that were held out, to their accuracy fold by fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tlkeras.evaluation.statistics import intervals
from tlkeras.schema import InputError, Predictions, Samples

SETTING_PREFIX = "setting_"  # out_of_fold.csv holds one column `setting_<number>` per setting


def fold_results(out_of_fold: pd.DataFrame, settings: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The accuracy of each setting on each held-out fold.

    Args:
        out_of_fold: one row per image: sample_id, group ("" where unknown), fold, label, and for each setting the
            predicted class, `setting_0`, ... An empty one is no prediction, and so a wrong one.
        settings: what varied in each, {name: value}, in the order of those columns.

    Returns:
        One row per setting and fold: a column per name, fold, n (images), accuracy (0..1), and the setting's
        accuracy_low and accuracy_high, a 95 % interval over the groups of all images; see `statistics.intervals`.

    Raises:
        InputError: a setting has no column.
    """
    rows = []
    for number, setting in enumerate(settings):
        column = f"{SETTING_PREFIX}{number}"
        if column not in out_of_fold:
            raise InputError(f"out_of_fold: there is no column {column}; run the search again.")
        correct = (out_of_fold[column] == out_of_fold["label"]).to_numpy()
        found = intervals(_as_predictions(correct, out_of_fold), metrics=("accuracy",))
        _, low, high, _ = found.loc["accuracy"]
        for fold, of_fold in pd.Series(correct).groupby(out_of_fold["fold"].to_numpy()):
            rows.append(
                {
                    **setting,
                    "fold": fold,
                    "n": len(of_fold),
                    "accuracy": of_fold.mean(),
                    "accuracy_low": low,
                    "accuracy_high": high,
                }
            )
    return pd.DataFrame(rows)


def _as_predictions(correct: np.ndarray, out_of_fold: pd.DataFrame) -> Predictions:
    """Predictions that are right and wrong where `correct` says so."""
    samples = Samples(
        images=("",) * len(correct),
        labels=np.zeros(len(correct), np.int64),
        class_names=("right", "wrong"),
        groups=out_of_fold["group"].fillna("").to_numpy(dtype=object),
        sample_ids=out_of_fold["sample_id"].to_numpy(dtype=object),
    )
    return Predictions(samples, np.stack([correct, ~correct], axis=1).astype(np.float32))
