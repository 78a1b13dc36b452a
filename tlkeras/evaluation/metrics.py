"""How well predictions agree with the labels. A figure that the samples leave undefined is NaN, never 0.

A class without a sample in the part has no recall, F1 or ROC AUC; a class never predicted has no precision. Means over
the classes are over all of them, and so are NaN as soon as one is: a mean over fewer classes is another figure.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from tlkeras.schema import InputError, Predictions

SMALLEST_PROBABILITY = 1e-7  # bounds the loss of one image at 16.1; Keras, which works from logits, does not


def score(predictions: Predictions, positive_class: str | None = None) -> pd.Series:
    """The figures of one part, named metrics, as float64.

    Always n, accuracy, balanced_accuracy (mean recall), macro_f1, log_loss (mean negative natural logarithm of the
    true class's probability) and roc_auc (each class against the rest, averaged). With `positive_class` roc_auc is
    that class's, and sensitivity, specificity, precision and f1 of that class follow.

    Args:
        predictions: labelled, at least one sample.
        positive_class: one of two class names, the one that is looked for (the disease).

    Raises:
        InputError: no samples, no labels, rows that are not probabilities, or `positive_class` not one of two classes.
    """
    _check(predictions)
    labels, probs, names = predictions.samples.labels, predictions.probs, predictions.samples.class_names
    precision, recall, f1, _ = _per_class(predictions)
    likelihood = probs[np.arange(len(labels)), labels].astype(np.float64)
    aucs = [_roc_auc(labels == label, probs[:, label]) for label in range(len(names))]
    figures = {
        "n": float(len(labels)),
        "accuracy": predictions.correct.mean(),
        "balanced_accuracy": recall.mean(),
        "macro_f1": f1.mean(),
        "log_loss": np.log(1 / likelihood.clip(SMALLEST_PROBABILITY, 1.0)).mean(),
        "roc_auc": np.mean(aucs),
    }
    if positive_class is not None:
        if len(names) != 2 or positive_class not in names:
            raise InputError(
                f"positive_class: received {positive_class!r} for the classes {list(names)}; accepted is one of "
                "exactly two class names. Leave it out where there are more."
            )
        positive = names.index(positive_class)
        figures |= {
            "roc_auc": aucs[positive],
            "sensitivity": recall[positive],
            "specificity": recall[1 - positive],
            "precision": precision[positive],
            "f1": f1[positive],
        }
    return pd.Series(figures, dtype=np.float64, name="value").rename_axis("metric")


def classification_report_table(predictions: Predictions) -> pd.DataFrame:
    """Precision, recall and F1 (0..1) and support (samples) of each class, and their mean over the classes.

    Returns:
        Rows: the class names, then "macro", whose support is the number of all samples.
    """
    _check(predictions)
    precision, recall, f1, support = _per_class(predictions)
    table = pd.DataFrame(
        {"precision": precision, "recall": recall, "f1": f1, "support": support},
        index=pd.Index(predictions.samples.class_names, name="class"),
    )
    macro = pd.DataFrame(
        {"precision": precision.mean(), "recall": recall.mean(), "f1": f1.mean(), "support": support.sum()},
        index=pd.Index(["macro"], name="class"),
    )
    return pd.concat([table, macro])


def confusion_table(predictions: Predictions, normalize: bool = False) -> pd.DataFrame:
    """How often each class (rows, "actual") was taken for each class (columns, "predicted").

    Args:
        predictions: labelled.
        normalize: give shares of the actual class (rows sum to 1; NaN for a class without samples), not counts.
    """
    _check(predictions)
    counts = _confusion(predictions)
    names = predictions.samples.class_names
    return pd.DataFrame(
        _ratio(counts, counts.sum(axis=1, keepdims=True)) if normalize else counts,
        index=pd.Index(names, name="actual"),
        columns=pd.Index(names, name="predicted"),
    )


def _check(predictions: Predictions) -> None:
    if not len(predictions):
        raise InputError("predictions: received none; a score needs at least one sample.")
    if predictions.samples.labels is None:
        raise InputError("predictions: their samples have no labels, so there is nothing to score them against.")
    probs = predictions.probs
    # The tolerance leaves room for a softmax in bfloat16.
    wrong = ~((probs >= 0).all(axis=1) & (np.abs(probs.sum(axis=1) - 1) < 0.02))
    if wrong.any():
        raise InputError(
            f"probs: {wrong.sum()} of {len(probs)} rows are not probabilities, the first {probs[wrong][0]}; accepted "
            "are rows of numbers in 0..1 that sum to 1. A model that ends without softmax gives logits: add it."
        )


def _confusion(predictions: Predictions) -> np.ndarray:
    k = len(predictions.samples.class_names)
    return np.bincount(predictions.samples.labels * k + predictions.predicted, minlength=k * k).reshape(k, k)


def _per_class(predictions: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    confusion = _confusion(predictions)
    hits, support, claimed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    # 2 TP / (2 TP + FP + FN) is 0 for a class that was never predicted, where precision is undefined.
    f1 = np.where(support > 0, _ratio(2 * hits, support + claimed), np.nan)
    return _ratio(hits, claimed), _ratio(hits, support), f1, support


def _roc_auc(positive: np.ndarray, probability: np.ndarray) -> float:
    """The chance that a positive ranks above a negative, ties counted half (Hanley & McNeil, Radiology 143, 1982)."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return np.nan
    rank_sum = rankdata(probability)[positive].sum()
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)
