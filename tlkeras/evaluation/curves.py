"""What every threshold on one class's probability would give: the points of ROC and precision-recall curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from tlkeras.errors import InputError
from tlkeras.evaluation.metrics import check_scorable
from tlkeras.schema import Predictions


def roc_table(predictions: Predictions, class_name: str) -> pd.DataFrame:
    """One class against the rest, from the strictest threshold (nothing is called it) down; scikit-learn's `roc_curve`.

    Returns:
        float64, columns threshold (the first infinite), false_positive_rate and true_positive_rate (0..1).

    Raises:
        InputError: what `metrics.score` refuses, another class, or one that no sample or every sample is of.
    """
    positive, probability = _against_the_rest(predictions, class_name)
    if positive.all():
        raise InputError(f"class_name: every sample is {class_name!r}, so a ROC curve is not defined.")
    false_positives, true_positives, thresholds = roc_curve(positive, probability)
    return pd.DataFrame(
        {"threshold": thresholds, "false_positive_rate": false_positives, "true_positive_rate": true_positives},
        dtype=np.float64,
    )


def precision_recall_table(predictions: Predictions, class_name: str) -> pd.DataFrame:
    """One class against the rest, from the mildest threshold up; scikit-learn's `precision_recall_curve`.

    Returns:
        float64, columns threshold, recall and precision (0..1). The last point (recall 0, precision 1) is where the
        curve is drawn to; it has no threshold (NaN).

    Raises:
        InputError: what `metrics.score` refuses, another class, or one that no sample is of.
    """
    precision, recall, thresholds = precision_recall_curve(*_against_the_rest(predictions, class_name))
    return pd.DataFrame(
        {"threshold": np.append(thresholds, np.nan), "recall": recall, "precision": precision}, dtype=np.float64
    )


def _against_the_rest(predictions: Predictions, class_name: str) -> tuple[np.ndarray, np.ndarray]:
    check_scorable(predictions)
    names = predictions.samples.class_names
    if class_name not in names:
        raise InputError(f"class_name: received {class_name!r}; accepted: {', '.join(names)}.")
    label = names.index(class_name)
    positive = predictions.samples.labels == label
    if not positive.any():
        raise InputError(f"class_name: no sample is {class_name!r}, so a curve is not defined.")
    return positive, predictions.probs[:, label]
