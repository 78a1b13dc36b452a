"""Where the errors are: which classes are taken for which, and which images are furthest off."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tlkeras.checks import check_whole
from tlkeras.evaluation.metrics import check_scorable, confusion_table
from tlkeras.evaluation.weighted_scores import image_losses
from tlkeras.schema import Predictions


def confused_pairs(predictions: Predictions, n: int = 10) -> pd.DataFrame:
    """The errors made most often, the commonest first; of equally many that of the first actual class.

    Args:
        predictions: labelled.
        n: at most so many pairs; those that never occur are left out.

    Returns:
        Columns actual and predicted (class names), images (int64) and share (0..1, of the actual class's images).

    Raises:
        InputError: what `metrics.score` refuses, or `n` below 1.
    """
    n = check_whole("n", n, 1)
    counts, shares = (confusion_table(predictions, normalize) for normalize in (False, True))
    pairs = [
        (actual, predicted, int(counts.loc[actual, predicted]), float(shares.loc[actual, predicted]))
        for actual in counts.index
        for predicted in counts.columns
        if actual != predicted and counts.loc[actual, predicted]
    ]
    table = pd.DataFrame(
        sorted(pairs, key=lambda pair: -pair[2])[:n], columns=["actual", "predicted", "images", "share"]
    )
    return table.astype({"actual": object, "predicted": object, "images": np.int64, "share": np.float64})


def largest_losses(predictions: Predictions, n: int = 12) -> pd.DataFrame:
    """The images whose true class got the least probability, the worst first: hard ones, or labels to check.

    Args:
        predictions: labelled.
        n: at most so many.

    Returns:
        Columns row (int64, in `predictions`), sample_id, label and predicted (class names), probability (of the true
        class, 0..1) and loss (its negative natural logarithm, at most 16.1 as in the figure "log_loss").

    Raises:
        InputError: what `metrics.score` refuses, or `n` below 1.
    """
    n = check_whole("n", n, 1)
    check_scorable(predictions)
    samples, names = predictions.samples, np.array(predictions.samples.class_names, dtype=object)
    probability = predictions.probs[np.arange(len(samples)), samples.labels].astype(np.float64)
    # By probability: the loss of all below 1e-7 is the same.
    rows = np.argsort(probability, kind="stable")[:n]
    return pd.DataFrame(
        {
            "row": rows,
            "sample_id": samples.sample_ids[rows],
            "label": names[samples.labels[rows]],
            "predicted": names[predictions.predicted[rows]],
            "probability": probability[rows],
            "loss": image_losses(samples.labels, predictions.probs)[rows],
        }
    )
