"""The figures of `metrics.score` with a weight on every row, for thousands of sets of weights at once.

A whole number as weight says how often a row is there, so leaving out a group is one set of weights, and a choice
between two methods for every image is one of 0 and 1 on the rows of both. So there is one place that says what a figure
is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tlkeras.errors import InputError

SMALLEST_PROBABILITY = 1e-7  # bounds the loss of one image at 16.1; Keras, which works from logits, does not
ECE_BINS = 15
FEW_DRAWS = 100  # below, a loop over the rows costs more than it saves
OVERALL = (
    "n",
    "accuracy",
    "balanced_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "weighted_precision",
    "weighted_recall",
    "weighted_f1",
    "matthews",
    "kappa",
    "roc_auc",
    "average_precision",
    "log_loss",
    "balanced_log_loss",
    "brier",
    "ece",
    "ece_by_chance",
)
OF_POSITIVE = ("sensitivity", "specificity", "precision", "f1")
OF_CLASS = ("precision", "recall", "f1", "roc_auc", "average_precision")
RANKED = ("roc_auc", "average_precision")  # of a class, these depend on the order of its probabilities alone


def class_of(metric: str, class_names: Sequence[str], positive_class: str | None = None) -> int | None:
    """The label of the class that a figure is of, whose images it rests on; None of a figure of all classes."""
    positive = None if positive_class is None else list(class_names).index(positive_class)
    if positive is not None and metric in (*OF_POSITIVE, *RANKED):
        return 1 - positive if metric == "specificity" else positive
    for label, name in enumerate(class_names):
        if metric in {f"{kind}_{name}" for kind in OF_CLASS}:
            return label
    return None


def metric_names(class_names: Sequence[str], positive_class: str | None = None) -> tuple[str, ...]:
    """Every metric there is for these classes, in the order of `metrics.score`; see there."""
    of_positive = () if positive_class is None else OF_POSITIVE
    return (*OVERALL, *of_positive, *(f"{metric}_{name}" for name in class_names for metric in OF_CLASS))


def weighted_scores(
    labels: np.ndarray,
    probs: np.ndarray,
    class_names: Sequence[str],
    weights: np.ndarray,
    positive_class: str | None = None,
    metrics: Iterable[str] | None = None,
) -> dict[str, np.ndarray]:
    """The figures of `metrics.score`, see there, under each set of weights (each "draw").

    The calibration error has 15 bins of equal weight along the highest probability (equal mass: Nguyen & O'Connor,
    EMNLP 2015; Nixon et al., CVPR workshops 2019) and is the sum over the bins of |right - claimed| as a share of all
    weight. A row on a boundary counts on both sides by its parts, and rows of equal probability are one row with their
    mean, so the figure depends on no order. Absolute values do not average out: chance alone, in each bin, adds to it.
    ece_by_chance is what it adds where the probabilities are right, a sum over the bins of the mean absolute value of a
    normal variable with the variance of right answers. It takes rows for independent, so that it is too small where the
    rows of a patient are right or wrong together; an ece near it tells nothing.

    Args:
        labels: int (n,), 0..k-1.
        probs: float (n, k), rows that sum to 1.
        class_names: k names.
        weights: float (draws, n), or (n,) for one draw; at least 0.
        positive_class: see `metrics.score`.
        metrics: those wanted, in this order; None gives all of `metric_names`.

    Returns:
        {metric: float64 (draws,)}, NaN where the draw leaves the figure undefined. It takes a few arrays of the size of
        `weights`.

    Raises:
        InputError: `positive_class` or `metrics` is none of those accepted, or the weights do not fit the rows.
    """
    weights = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    if weights.shape[1:] != labels.shape:
        raise InputError(f"weights: received shape {weights.shape} for {len(labels)} rows; accepted is (draws, rows).")
    positive = _positive_label(class_names, positive_class)
    accepted = metric_names(class_names, positive_class)
    wanted = tuple(accepted if metrics is None else [metrics] if isinstance(metrics, str) else metrics)
    unknown = [metric for metric in wanted if metric not in accepted]
    if unknown or not wanted:
        raise InputError(f"metrics: received {unknown[0] if unknown else wanted!r}; accepted: {', '.join(accepted)}.")
    figures = _counted(labels, probs.argmax(axis=1), class_names, weights, positive)
    if not {"log_loss", "balanced_log_loss", "brier"}.isdisjoint(wanted):
        figures |= _of_probabilities(labels, probs, weights)
    figures |= _ranked(labels, probs, class_names, weights, positive, wanted)
    if "ece" in wanted:
        figures["ece"] = _calibration_error(labels, probs, weights)
    if "ece_by_chance" in wanted:
        figures["ece_by_chance"] = _calibration_error_by_chance(probs, weights)
    return {metric: figures[metric] for metric in wanted}


def _positive_label(class_names: Sequence[str], positive_class: str | None) -> int | None:
    if positive_class is None:
        return None
    if len(class_names) != 2 or positive_class not in class_names:
        raise InputError(
            f"positive_class: received {positive_class!r} for the classes {list(class_names)}; accepted is one of "
            "exactly two class names. Leave it out where there are more."
        )
    return list(class_names).index(positive_class)


def _counted(
    labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str], weights: np.ndarray, positive: int | None
) -> dict[str, np.ndarray]:
    """What follows from the right ones, the samples and the claims of every class, each (draws, k)."""
    one_hot = np.eye(len(class_names))
    actual = one_hot[labels]
    support, claimed = weights @ actual, weights @ one_hot[predicted]
    hits = weights @ (actual * (labels == predicted)[:, None])
    n, right = weights.sum(axis=1), hits.sum(axis=1)
    precision, recall = ratio(hits, claimed), ratio(hits, support)
    # 2 TP / (2 TP + FP + FN) is 0 for a class that was never predicted, where precision is undefined.
    f1 = np.where(support > 0, ratio(2 * hits, support + claimed), np.nan)
    weighted = lambda values: ratio(np.where(support > 0, support * values, 0).sum(axis=1), n)  # noqa: E731
    by_chance = (support * claimed).sum(axis=1)  # n squared times the agreement by chance
    both_vary = np.minimum((support > 0).sum(axis=1), (claimed > 0).sum(axis=1)) > 1
    spreads = [np.where(both_vary, n**2 - (counts**2).sum(axis=1), 0) for counts in (support, claimed)]
    seen = ((support > 0) | (claimed > 0)).sum(axis=1)
    figures = {
        "n": n,
        "accuracy": ratio(right, n),
        "balanced_accuracy": recall.mean(axis=1),
        "macro_precision": precision.mean(axis=1),
        "macro_recall": recall.mean(axis=1),
        "macro_f1": f1.mean(axis=1),
        "weighted_precision": weighted(precision),
        "weighted_recall": ratio(right, n),
        "weighted_f1": weighted(f1),
        # A correlation with what never changes is undefined; so is agreement beyond chance where chance always agrees.
        "matthews": ratio(right * n - by_chance, np.sqrt(spreads[0] * spreads[1])),
        "kappa": ratio(right * n - by_chance, np.where(seen > 1, n**2 - by_chance, 0)),
    }
    if positive is not None:
        of_positive = (recall[:, positive], recall[:, 1 - positive], precision[:, positive], f1[:, positive])
        figures |= dict(zip(OF_POSITIVE, of_positive, strict=True))
    for label, name in enumerate(class_names):
        for metric, values in (("precision", precision), ("recall", recall), ("f1", f1)):
            figures[f"{metric}_{name}"] = values[:, label]
    return figures


def image_losses(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """float64 (n,): the negative natural logarithm of every row's probability for its label, at most 16.1."""
    likelihood = probs[np.arange(len(labels)), labels].astype(np.float64)
    return np.log(1 / likelihood.clip(SMALLEST_PROBABILITY, 1.0))


def _of_probabilities(labels: np.ndarray, probs: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    one_hot = np.eye(probs.shape[1])
    squares = np.square(probs.astype(np.float64) - one_hot[labels]).sum(axis=1)
    losses, n = image_losses(labels, probs), weights.sum(axis=1)
    of_classes = ratio(weights @ (one_hot[labels] * losses[:, None]), weights @ one_hot[labels])
    return {
        "log_loss": ratio(weights @ losses, n),
        "balanced_log_loss": of_classes.mean(axis=1),
        "brier": ratio(weights @ squares, n),
    }


def _ranked(
    labels: np.ndarray,
    probs: np.ndarray,
    class_names: Sequence[str],
    weights: np.ndarray,
    positive: int | None,
    wanted: Sequence[str],
) -> dict[str, np.ndarray]:
    overall = any(metric in wanted for metric in RANKED)
    figures, of_rows = {}, None
    for label, name in enumerate(class_names):
        if overall or any(f"{metric}_{name}" in wanted for metric in RANKED):
            if of_rows is None:
                of_rows = np.ascontiguousarray(weights.T)  # rows in another order are then quickly read
            found = _areas(labels == label, probs[:, label], of_rows)
            figures |= {f"{metric}_{name}": values for metric, values in zip(RANKED, found, strict=True)}
    if overall:
        chosen = class_names if positive is None else [class_names[positive]]
        figures |= {metric: np.mean([figures[f"{metric}_{name}"] for name in chosen], axis=0) for metric in RANKED}
    return figures


def _areas(positive: np.ndarray, probability: np.ndarray, of_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ROC AUC, the chance that a positive ranks above a negative, ties counted half (Hanley & McNeil, Radiology 143,
    1982), and average precision, the mean over the positives of the precision at their probability, as scikit-learn;
    from weights (n, draws).
    """
    order, n_before = _descending(probability)
    n_positive = np.append(0, np.cumsum(positive[order]))[n_before]
    block = np.flatnonzero(np.diff(n_positive))  # those that hold a positive: nothing happens at the others
    every, hits = (_cumulated_rows(of_rows, rows) for rows in (order, order[positive[order]]))
    before, through = (hits[n_positive[ends]].T for ends in (block, block + 1))  # (draws, blocks)
    all_before, all_through = (every[n_before[ends]].T for ends in (block, block + 1))
    gained, n, negatives = through - before, hits[-1], ~positive @ of_rows
    higher = ((all_before - before) + (all_through - through)) / 2  # negatives above, those that tie counted half
    auc = ratio((gained * (negatives[:, None] - higher)).sum(axis=1), n * negatives)
    precision = np.divide(through, all_through, out=np.zeros_like(through), where=all_through > 0)
    return auc, ratio((gained * precision).sum(axis=1), n)


def _calibration_error(labels: np.ndarray, probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    top = probs.max(axis=1).astype(np.float64)
    gaps = equal_mass_sums(top, (probs.argmax(axis=1) == labels) - top, weights, ECE_BINS)
    return ratio(np.abs(gaps).sum(axis=1), weights.sum(axis=1))


def _calibration_error_by_chance(probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    top = probs.max(axis=1).astype(np.float64)
    order, n_before = _descending(top)
    variances = _cumulated(np.square(weights) * top * (1 - top), order)[:, n_before]
    mass = _cumulated(weights, order)[:, n_before]
    found = []
    for of_draw, ends in zip(np.diff(variances, axis=1), mass, strict=True):
        edges = np.linspace(0, ends[-1], ECE_BINS + 1)
        # Which part of each block of equal confidence lies in each bin; a part f of it has f squared of its variance.
        overlap = np.minimum(edges[1:, None], ends[1:]) - np.maximum(edges[:-1, None], ends[:-1])
        part = ratio(overlap.clip(0), np.diff(ends))
        found.append(np.sqrt(2 / np.pi * np.nan_to_num(np.square(part)) @ of_draw).sum() / ends[-1])
    return np.array(found)


def equal_mass_sums(position: np.ndarray, values: np.ndarray, weights: np.ndarray, bins: int) -> np.ndarray:
    """Sums of weight times value in bins of equal weight along `position`, the highest first; see `weighted_scores`.

    Args:
        position: float (n,).
        values: float (n,).
        weights: float (draws, n).
        bins: how many.

    Returns:
        float64 (draws, bins).
    """
    order, n_before = _descending(position)
    mass = _cumulated(weights, order)[:, n_before]
    sums = _cumulated(weights * values, order)[:, n_before]
    # Linear between the ends of a block of equal positions: a part of it has the block's mean.
    at = [
        np.interp(np.linspace(0, ends[-1], bins + 1), ends, of_draw) for ends, of_draw in zip(mass, sums, strict=True)
    ]
    return np.diff(at, axis=1)


def _descending(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order from the highest down, and how many stand before each block of equal values, with n at the end."""
    order = np.argsort(-values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=np.inf))
    return order, np.append(starts, len(values))


def _cumulated(weights: np.ndarray, order: np.ndarray) -> np.ndarray:
    """(draws, len(order) + 1): the weight of the first 0, 1, 2, ... rows in this order."""
    total = np.zeros((len(weights), len(order) + 1))
    np.cumsum(np.take(weights, order, axis=1), axis=1, out=total[:, 1:])
    return total


def _cumulated_rows(of_rows: np.ndarray, order: np.ndarray) -> np.ndarray:
    """`_cumulated` of weights (n, draws), as (len(order) + 1, draws)."""
    total = np.zeros((len(order) + 1, of_rows.shape[1]))
    if of_rows.shape[1] < FEW_DRAWS:
        np.cumsum(of_rows[order], axis=0, out=total[1:])
    else:  # the same sums: along the first axis `np.cumsum` reads column by column, and takes four times as long
        for number, row in enumerate(order):
            np.add(total[number], of_rows[row], out=total[number + 1])
    return total


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Their quotient, NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)
