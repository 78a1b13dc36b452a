"""Whether probabilities mean what they say, and what validation images make of them: a temperature, and where the line
between the classes is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, softmax

from tlkeras.checks import check_whole, real
from tlkeras.errors import InputError
from tlkeras.evaluation.metrics import check_scorable
from tlkeras.evaluation.weighted_scores import ECE_BINS, equal_mass_sums
from tlkeras.schema import Predictions

SMALLEST, LARGEST = 0.01, 1000.0  # temperatures that are looked at
# The smallest normal float32: below it a softmax gives 0, whose logarithm there is not.
FLAT = 1e-6  # logits whose range is below are one
LEAST_SLOPE = 1e-3  # of logits with a standard deviation of 1; below 0 the order of the images would turn round
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
    labels, logits = val.samples.known_labels, logits_of(val)
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
    undefined = (
        ". `fit_temperature` gives NaN where the validation samples leave it undefined: then keep the probabilities as "
        "they are"
    )
    temperature = real(above=0).also(undefined).check("temperature", temperature)
    return Predictions(predictions.samples, softmax(logits_of(predictions) / temperature, axis=1).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Adjustment:
    """Where a classifier draws the line, as validation samples set it: softmax(slope * log(probs) + offsets).

    Attributes:
        slope: above 0.
        offsets: float64 (k,), mean 0.
    """

    slope: float
    offsets: np.ndarray

    def threshold(self, label: int) -> float:
        """Of two classes, the probability of class `label` above which it is predicted, 0..1."""
        return float(expit((self.offsets[1 - label] - self.offsets[label]) / self.slope))


def fit_adjustment(val: Predictions) -> Adjustment | None:
    """Slope and offsets with the least log loss on the validation samples.

    Of two classes this sets a threshold (Platt, Probabilistic Outputs for Support Vector Machines, 1999), of several
    the class priors that training gave the classifier (bias-corrected temperature scaling: Alexandari, Kundaje &
    Shrikumar, ICML 2020). The class shares it draws the line for are those of the validation samples. No temperature
    moves the decisions that come out. The labels are softened as Platt's are, a sample of a class with n of them to
    (n + 1) / (n + 2), so that samples without an error have a line, too.

    Args:
        val: labelled predictions of samples that neither trained the classifier nor test it.

    Returns:
        None where the samples lack a class, whose offset would fall for ever, or where all have the same probabilities.

    Raises:
        InputError: what `metrics.score` refuses.
    """
    check_scorable(val)
    labels, logits, k = val.samples.known_labels, logits_of(val), len(val.samples.class_names)
    counts = np.bincount(labels, minlength=k)
    logits = logits - logits.mean(axis=1, keepdims=True)
    scale = logits.std()  # so that the search begins alike whatever the temperature
    if not counts.all() or np.ptp(logits, axis=0).max() < FLAT:
        return None
    softened = np.repeat(1 / (counts + 2)[:, None] / (k - 1), k, axis=1)
    np.fill_diagonal(softened, (counts + 1) / (counts + 2))
    wanted = softened[labels]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, offsets = parameters[0], parameters[1:]
        scaled = log_softmax(slope * logits / scale + offsets, axis=1)
        wrong = np.exp(scaled) - wanted
        return -(wanted * scaled).sum() / len(labels), np.append(
            (wrong * logits).sum() / scale, wrong.sum(axis=0)
        ) / len(labels)

    start, bounds = np.append(1.0, np.zeros(k)), [(LEAST_SLOPE, None), *[(None, None)] * k]
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}
    slope, *fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    offsets = np.array(fitted)
    return Adjustment(slope / scale, offsets - offsets.mean())


def at_adjustment(predictions: Predictions, adjustment: Adjustment) -> Predictions:
    """The predictions with softmax(slope * log(probs) + offsets), and the classes predicted by that.

    Raises:
        InputError: `adjustment` is none, or one of other classes.
    """
    k = len(predictions.samples.class_names)
    if not isinstance(adjustment, Adjustment) or len(adjustment.offsets) != k:
        raise InputError(
            f"adjustment: received {adjustment!r}; accepted is an Adjustment of {k} classes, as `fit_adjustment` makes "
            "it. That gives None where the validation samples lack a class: then keep the probabilities as they are."
        )
    adjusted = softmax(adjustment.slope * logits_of(predictions) + adjustment.offsets, axis=1)
    return Predictions(predictions.samples, adjusted.astype(np.float32))


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
    bins = check_whole("bins", bins, 1, also=f", such as {ECE_BINS}")
    top = predictions.probs.max(axis=1).astype(np.float64)
    each = np.ones((1, len(top)))
    sums = {
        name: equal_mass_sums(top, values, each, bins)[0, ::-1]
        for name, values in (("confidence", top), ("accuracy", predictions.correct))
    }
    images = len(top) / bins
    index = pd.RangeIndex(1, bins + 1, name="bin")
    return pd.DataFrame({name: values / images for name, values in sums.items()} | {"images": images}, index=index)


def logits_of(predictions: Predictions) -> np.ndarray:
    """The logarithms of the probabilities, those of 0 as of the least that a softmax in float32 resolves: float64
    (n, k)."""
    return np.log(predictions.probs.astype(np.float64).clip(FLOOR))
