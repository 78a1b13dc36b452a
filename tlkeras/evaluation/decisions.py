"""What probabilities are used for: a threshold that validation images choose, the net benefit of acting on one, and the
risk that is left where a classifier may stay silent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tlkeras.checks import real, several
from tlkeras.errors import InputError
from tlkeras.evaluation.calibration import Adjustment, logits_of
from tlkeras.evaluation.intervals import intervals_of_means, of_seeds
from tlkeras.evaluation.metrics import check_scorable
from tlkeras.schema import Predictions

_WANTED = ("sensitivity", "specificity", "cost_ratio")
_SHARE = real(above=0, most=1)
COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.1)


def fit_threshold(
    val: Predictions,
    positive_class: str,
    *,
    sensitivity: float | None = None,
    specificity: float | None = None,
    cost_ratio: float | None = None,
) -> Adjustment:
    """The threshold of a two-class classifier that does on the validation images what is wanted.

    `tl.at_adjustment(test, threshold)` decides by it, and `tl.intervals` of that says what it comes to there: a
    sensitivity that holds on the validation images is missed on the test images about as often as it is exceeded.

    Args:
        val: labelled predictions of images that neither trained the classifier nor test it.
        positive_class: the class that is looked for.
        sensitivity: at least this share of the positive images is found (0..1); the threshold is the highest that does.
        specificity: at least this share of the others is left alone (0..1); the lowest that does.
        cost_ratio: a missed image costs so many times what a false alarm costs; the threshold with the least cost.

    Returns:
        Slope 1 and two offsets: probabilities keep their order. `threshold.threshold(label)` is it as a probability,
        midway, in log odds, between the two images that it divides.

    Raises:
        InputError: what `tl.score` refuses, not two classes, one of them without images, or not exactly one of the
            three.
    """
    label = _label_of(val, positive_class)
    of_class = val.samples.known_labels == label
    if of_class.all() or not of_class.any():
        raise InputError(
            "val: all images are of one class; a threshold needs images of "
            + " and ".join(val.samples.class_names)
            + "."
        )
    given = dict(zip(_WANTED, (sensitivity, specificity, cost_ratio), strict=True))
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) != 1:
        raise InputError(
            f"fit_threshold: received {', '.join(given) or 'none'} of {', '.join(_WANTED)}; accepted is exactly one."
        )
    ((name, value),) = given.items()
    value = (real(above=0) if name == "cost_ratio" else _SHARE).check(name, value)
    # On the scale on which it will decide, where probabilities that are 1 to the last digit still differ.
    logits = logits_of(val)
    log_odds = logits[:, label] - logits[:, 1 - label]
    positive, others = log_odds[of_class], log_odds[~of_class]
    found = np.unique(log_odds)
    cuts = np.concatenate([[found[0] - 1], (found[1:] + found[:-1]) / 2, [found[-1] + 1]])
    missed = np.searchsorted(np.sort(positive), cuts)  # how many lie below each
    alarms = len(others) - np.searchsorted(np.sort(others), cuts)
    if name == "sensitivity":
        chosen = np.flatnonzero(len(positive) - missed >= value * len(positive) - 1e-9)[-1]
    elif name == "specificity":
        chosen = np.flatnonzero(len(others) - alarms >= value * len(others) - 1e-9)[0]
    else:
        costs = value * missed + alarms
        cheapest = np.flatnonzero(costs <= costs.min() + 1e-9)
        chosen = cheapest[len(cheapest) // 2]  # several: the middle one
    offsets = np.zeros(2)
    offsets[label], offsets[1 - label] = -cuts[chosen] / 2, cuts[chosen] / 2
    return Adjustment(1.0, offsets)


def decision_curve(
    predictions: Predictions | Sequence[Predictions],
    positive_class: str,
    *,
    thresholds: Sequence[float] = tuple(np.arange(1, 100) / 100),
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Net benefit of acting on a classifier, over what a threshold says of costs (Vickers & Elkin, Medical Decision
    Making 26, 2006).

    Who acts from a probability t on takes one false alarm for worth t / (1 - t) of a case found. Net benefit counts the
    cases found per image, less the false alarms at that price. Acting on nobody has 0, acting on all what `everyone`
    says; a classifier is of use at the thresholds where it lies above both. It presumes that probabilities mean what
    they say: see `tl.draw_reliability`.

    Args:
        predictions: labelled, of two classes; or those of each seed, of which the mean is told.
        positive_class: the class that is acted on.
        thresholds: probabilities, each above 0 and below 1.
        level: of the intervals, as in `tl.intervals`.
        seed: likewise.

    Returns:
        float64, index "threshold", columns net_benefit with low and high (over groups and seeds), and everyone. NaN
        where no group moves the figure.

    Raises:
        InputError: what `tl.score` refuses, not two classes, or a threshold out of range.
    """
    parts = of_seeds(predictions)
    label = _label_of(parts[0], positive_class)
    given = several(real(above=0, below=1), "one or more probabilities above 0 and below 1").check(
        "thresholds", list(thresholds)
    )
    cut = np.array(given)
    price, terms = cut / (1 - cut), []
    for part in parts:
        acted = part.probs[:, label].astype(np.float64)[:, None] >= cut
        terms.append(acted * np.where((part.samples.known_labels == label)[:, None], 1.0, -price))
    found = intervals_of_means(parts, terms, (-np.inf, np.inf), level=level, seed=seed)
    table = found.rename(columns={"value": "net_benefit"}).set_index(pd.Index(cut, name="threshold"))
    share = np.mean([(part.samples.known_labels == label).mean() for part in parts])
    return table.assign(everyone=share - (1 - share) * price)


def risk_coverage(
    predictions: Predictions | Sequence[Predictions],
    *,
    coverages: Sequence[float] = COVERAGES,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """The error that is left where a classifier answers only for the images it is surest of (El-Yaniv & Wiener, Journal
    of Machine Learning Research 11, 2010; Geifman & El-Yaniv, NeurIPS 2017).

    Args:
        predictions: labelled; or those of each seed, of which the mean is told.
        coverages: shares of the images that are answered, each above 0 and at most 1; by the highest probability, those
            of equal ones all.
        level: of the intervals, as in `tl.intervals`.
        seed: likewise.

    Returns:
        float64, index "coverage" (what was asked for), columns answered (the share that is), confidence (the least
        highest probability among them), risk (the share of them that is wrong, 0..1) with low and high over groups and
        seeds, and images (how many are answered). Both ends are NaN where no group moves it, as without an error.

    Raises:
        InputError: what `tl.score` refuses, or a coverage out of range.
    """
    parts = of_seeds(predictions)
    given = several(_SHARE, "one or more shares above 0 and at most 1").check("coverages", list(coverages))
    wrong, told = [], []
    for part in parts:
        top = part.probs.max(axis=1)
        falling = np.sort(top)[::-1]
        confidence = falling[np.maximum(np.ceil(np.array(given) * len(top) - 1e-9).astype(int), 1) - 1]
        answered = top[:, None] >= confidence
        wrong.append(np.where(answered, ~part.correct[:, None], np.nan))
        told.append((answered.mean(axis=0), confidence, answered.sum(axis=0)))
    risk = intervals_of_means(parts, wrong, (0, 1), level=level, seed=seed).rename(columns={"value": "risk"})
    answered, confidence, images = np.mean(told, axis=0)
    table = pd.DataFrame({"answered": answered, "confidence": confidence}).join(risk).assign(images=images)
    return table.set_index(pd.Index(given, name="coverage")).astype(np.float64)


def _label_of(predictions: Predictions, positive_class: str) -> int:
    check_scorable(predictions)
    names = predictions.samples.class_names
    if len(names) != 2 or positive_class not in names:
        raise InputError(
            f"positive_class: received {positive_class!r} with the classes {', '.join(names)}; accepted is one of two."
        )
    return names.index(positive_class)
