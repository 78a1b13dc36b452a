"""How well predictions agree with the labels. A figure that the samples leave undefined is NaN, never 0.

A class without a sample in the part has no recall, F1, ROC AUC or average precision; a class never predicted has no
precision. Means over the classes (balanced, macro, and ROC AUC and average precision, where no class is named) are over
all of them, and so are NaN as soon as one is: a mean over fewer classes is another figure. Weighted means count each
class by its samples, so one without samples counts for nothing. Micro averages are not named: with one label per image
every error is one false positive and one false negative, so micro precision, recall and F1 are the accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from tlkeras.checks import check_whole
from tlkeras.errors import InputError
from tlkeras.evaluation.tables import apart_from
from tlkeras.evaluation.weighted_scores import image_losses, ratio, weighted_scores
from tlkeras.schema import Predictions


def score(
    predictions: Predictions, positive_class: str | None = None, metrics: Iterable[str] | None = None
) -> pd.Series:
    """The figures of one part, named metrics, as float64.

    Always n; accuracy; balanced_accuracy and macro_recall (both the mean recall), macro_precision, macro_f1; the means
    weighted by the classes' samples weighted_precision, weighted_recall (which is the accuracy) and weighted_f1;
    matthews (the correlation of label and predicted, Gorodkin 2004) and kappa (agreement beyond chance, Cohen 1960);
    roc_auc and average_precision (each class against the rest, averaged); log_loss (mean negative natural logarithm of
    the true class's probability); balanced_log_loss (the mean over the classes of the log loss of their samples); brier
    (squared differences summed over the classes, 0..2, Brier 1950: with two classes twice scikit-learn's
    `brier_score_loss`); ece (expected calibration error of the highest probability, see `weighted_scores`). With
    `positive_class` roc_auc and average_precision are that class's, and sensitivity, specificity, precision and f1 of
    that class follow. Last precision_<class>, recall_<class>, f1_<class>, roc_auc_<class> and average_precision_<class>
    of every class.

    Args:
        predictions: labelled, at least one sample.
        positive_class: one of two class names, the one that is looked for (the disease).
        metrics: the figures wanted, in this order; None gives all of `metric_names`.

    Raises:
        InputError: no samples, no labels, rows that are not probabilities, `positive_class` not one of two classes, or
            a metric of another name.
    """
    check_scorable(predictions)
    samples = predictions.samples
    figures = weighted_scores(
        samples.known_labels, predictions.probs, samples.class_names, np.ones(len(samples)), positive_class, metrics
    )
    return pd.Series(
        {metric: values[0] for metric, values in figures.items()}, dtype=np.float64, name="value"
    ).rename_axis("metric")


def classification_report_table(predictions: Predictions) -> pd.DataFrame:
    """Precision, recall and F1 (0..1) and support (samples) of each class, and their averages over the classes.

    Returns:
        Rows: the class names, then "micro" (all three the accuracy), "macro" (the mean over the classes) and
        "weighted" (by support), whose support is the number of all samples. Where a class has such a name, the row of
        the average is called "macro average".
    """
    figures, n = score(predictions), len(predictions)
    shown = ("precision", "recall", "f1")
    rows = [
        (name, [f"{m}_{name}" for m in shown], of_class)
        for name, of_class in predictions.samples.class_counts().items()
    ]
    classes = predictions.samples.class_names
    rows.append((apart_from("micro", classes), ["accuracy"] * 3, n))
    rows += [(apart_from(name, classes), [f"{name}_{m}" for m in shown], n) for name in ("macro", "weighted")]
    index = pd.Index([name for name, _, _ in rows], name="class")
    table = pd.DataFrame([figures[metrics].to_numpy() for _, metrics, _ in rows], index=index, columns=shown)
    return table.assign(support=[support for _, _, support in rows])


def confusion_table(predictions: Predictions, normalize: bool = False) -> pd.DataFrame:
    """How often each class (rows, "actual") was taken for each class (columns, "predicted").

    Args:
        predictions: labelled.
        normalize: give shares of the actual class (rows sum to 1; NaN for a class without samples), not counts.
    """
    check_scorable(predictions)
    names, k = predictions.samples.class_names, len(predictions.samples.class_names)
    counts = np.bincount(predictions.samples.known_labels * k + predictions.predicted, minlength=k * k).reshape(k, k)
    return pd.DataFrame(
        ratio(counts, counts.sum(axis=1, keepdims=True)) if normalize else counts,
        index=pd.Index(names, name="actual"),
        columns=pd.Index(names, name="predicted"),
    )


def confused_pairs(predictions: Predictions, n: int = 10) -> pd.DataFrame:
    """The errors made most often, the commonest first; of equally many that of the first actual class.

    Args:
        predictions: labelled.
        n: at most so many pairs; those that never occur are left out.

    Returns:
        Columns actual and predicted (class names), images (int64) and share (0..1, of the actual class's images).

    Raises:
        InputError: what `score` refuses, or `n` below 1.
    """
    n = check_whole("n", n, 1)
    counts, shares = (confusion_table(predictions, normalize) for normalize in (False, True))
    pairs = [
        (actual, predicted, int(counts.to_numpy()[i, j]), float(shares.to_numpy()[i, j]))
        for i, actual in enumerate(counts.index)
        for j, predicted in enumerate(counts.columns)
        if i != j and counts.to_numpy()[i, j]
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
        InputError: what `score` refuses, or `n` below 1.
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
            "label": names[samples.known_labels[rows]],
            "predicted": names[predictions.predicted[rows]],
            "probability": probability[rows],
            "loss": image_losses(samples.known_labels, predictions.probs)[rows],
        }
    )


def baseline(train_counts: Mapping[str, int], predictions: Predictions) -> Predictions:
    """What answering without looking reaches: each class's share of the training images, for every sample.

    So the predicted class is the commonest one (scikit-learn's `DummyClassifier(strategy="prior")`).

    Args:
        train_counts: {class name: training images}, e.g. `splits.train.class_counts()`.
        predictions: a method's, whose samples are taken.

    Raises:
        InputError: other classes, or no training image.
    """
    names = predictions.samples.class_names
    if set(train_counts) != set(names) or sum(train_counts.values()) < 1:
        raise InputError(
            f"train_counts: received {dict(train_counts)}; accepted are the training images of the classes "
            f"{list(names)}, at least one in all."
        )
    counts = np.array([train_counts[name] for name in names], dtype=np.float64)
    shares = (counts / counts.sum()).astype(np.float32)
    return Predictions(predictions.samples, np.tile(shares, (len(predictions), 1)))


def check_scorable(predictions: Predictions) -> None:
    """Refuses what cannot be scored.

    Raises:
        InputError: not Predictions, no samples, no labels, or rows that are not probabilities.
    """
    if not isinstance(predictions, Predictions):
        raise InputError(
            f"predictions: received {type(predictions).__name__}; accepted are Predictions, such as "
            "classifier.predict(splits.test)."
        )
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
