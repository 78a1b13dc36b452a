"""Whether probabilities mean what they say, and what makes them mean more: a temperature, and offsets of the classes,
fitted to validation images."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, softmax

from tlkeras.evaluation.metrics import check_scorable
from tlkeras.evaluation.weighted_scores import ECE_BINS, equal_mass_sums
from tlkeras.schema import InputError, Predictions

SMALLEST, LARGEST = 0.01, 1000.0  # temperatures that are looked at
# The smallest normal float32: below it a softmax gives 0, whose logarithm there is not.
FLOOR = float(np.finfo(np.float32).tiny)


def fit_temperature(val: Predictions) -> float:
    """The temperature T for which softmax(log(probs) / T) has the least log loss on the validation samples.

    Above 1 it takes confidence away, below 1 it adds some (Guo et al., On Calibration of Modern Neural Networks, ICML
    2017, section 4.2). A probability of 0 counts as 1.2e-38, the least that a softmax in float32 resolves.

    Args:
        val: labelled predictions of samples that neither trained the classifier nor test it.

    Returns:
        T in 0.01..1000, or NaN where none there is best: every sample is right, so that the loss falls for ever as T
        goes to 0; the classifier is no better than equal probabilities, so that it falls for ever as T grows; or the
        best one lies beyond.

    Raises:
        InputError: what `metrics.score` refuses.
    """
    check_scorable(val)
    labels, logits = val.samples.labels, _logits(val)
    of_label = logits[np.arange(len(labels)), labels]
    # The loss is convex in 1 / T: its slope at 0 and its growth at infinity say whether there is a least one.
    if (of_label == logits.max(axis=1)).all() or (of_label - logits.mean(axis=1)).mean() <= 0:
        return np.nan

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -scaled[np.arange(len(labels)), labels].mean()

    found = minimize_scalar(loss, bounds=np.log([SMALLEST, LARGEST]), method="bounded", options={"xatol": 1e-6})
    temperature = float(np.exp(found.x))
    return temperature if 1.01 * SMALLEST < temperature < LARGEST / 1.01 else np.nan


def at_temperature(predictions: Predictions, temperature: float) -> Predictions:
    """The predictions with softmax(log(probs) / temperature); the predicted classes stay what they are.

    Raises:
        InputError: `temperature` is not a finite number above 0.
    """
    if not (isinstance(temperature, int | float) and 0 < temperature < np.inf):
        raise InputError(
            f"temperature: received {temperature!r}; accepted is a number above 0. `fit_temperature` gives NaN where "
            "the validation samples leave it undefined: then keep the probabilities as they are."
        )
    return Predictions(predictions.samples, softmax(_logits(predictions) / temperature, axis=1).astype(np.float32))


def fit_offsets(val: Predictions) -> np.ndarray:
    """What has to be added to the logarithms of the classes' probabilities for them to have the validation samples'
    class shares: offsets b for which softmax(log(probs) + b) has the least log loss on them.

    There the mean probability of each class is its share. Of two classes this is a threshold, see `threshold`; of
    several it adjusts the class priors that training gave the classifier (Saerens, Latinne & Decaestecker, Neural
    Computation 14, 2002, with the labels at hand; the bias of Alexandari, Kundaje & Shrikumar, ICML 2020). What two
    classifiers differ in after it is not where they draw the line.

    Args:
        val: labelled predictions of samples that neither trained the classifier nor test it.

    Returns:
        float64 (k,), mean 0; NaN where the samples lack a class, whose offset would fall for ever.

    Raises:
        InputError: what `metrics.score` refuses.
    """
    check_scorable(val)
    labels, logits, k = val.samples.labels, _logits(val), len(val.samples.class_names)
    shares = np.bincount(labels, minlength=k) / len(labels)
    if not shares.all():
        return np.full(k, np.nan)

    def loss(offsets: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = log_softmax(logits + offsets, axis=1)
        return -scaled[np.arange(len(labels)), labels].mean(), np.exp(scaled).mean(axis=0) - shares

    found = minimize(loss, np.zeros(k), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return found - found.mean()


def at_offsets(predictions: Predictions, offsets: np.ndarray) -> Predictions:
    """The predictions with softmax(log(probs) + offsets), and the classes predicted by that.

    Raises:
        InputError: `offsets` are not k finite numbers.
    """
    offsets = np.asarray(offsets, dtype=np.float64)
    k = len(predictions.samples.class_names)
    if offsets.shape != (k,) or not np.isfinite(offsets).all():
        raise InputError(
            f"offsets: received {offsets.tolist()}; accepted are {k} finite numbers, one for each class. `fit_offsets` "
            "gives NaN where the validation samples lack a class: then keep the probabilities as they are."
        )
    return Predictions(predictions.samples, softmax(_logits(predictions) + offsets, axis=1).astype(np.float32))


def threshold(offsets: np.ndarray, label: int) -> float:
    """Of two classes, the probability of class `label` above which `at_offsets` predicts it, 0..1."""
    return float(expit(offsets[1 - label] - offsets[label]))


def reliability_table(predictions: Predictions, bins: int = ECE_BINS) -> pd.DataFrame:
    """Claimed against reached: mean highest probability and accuracy in bins of equally many images, the lowest first.

    The mean of |accuracy - confidence| over the bins is the figure "ece", see `weighted_scores`: an image on a boundary
    counts on both sides by its parts, images of equal probability are shared out alike.

    Returns:
        float64, index "bin" 1..bins, columns confidence and accuracy (0..1) and images (n / bins).

    Raises:
        InputError: what `metrics.score` refuses, or `bins` below 1.
    """
    check_scorable(predictions)
    if bins < 1:
        raise InputError(f"bins: received {bins}; accepted is 1 or more, such as {ECE_BINS}.")
    top = predictions.probs.max(axis=1).astype(np.float64)
    each = np.ones((1, len(top)))
    sums = {
        name: equal_mass_sums(top, values, each, bins)[0, ::-1]
        for name, values in (("confidence", top), ("accuracy", predictions.correct))
    }
    images = len(top) / bins
    index = pd.RangeIndex(1, bins + 1, name="bin")
    return pd.DataFrame({name: values / images for name, values in sums.items()} | {"images": images}, index=index)


def _logits(predictions: Predictions) -> np.ndarray:
    return np.log(predictions.probs.astype(np.float64).clip(FLOOR))
