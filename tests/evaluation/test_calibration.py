from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve

from tlkeras.errors import InputError
from tlkeras.evaluation.calibration import (
    Adjustment,
    at_adjustment,
    at_temperature,
    fit_adjustment,
    fit_temperature,
    reliability_table,
)
from tlkeras.evaluation.metrics import score
from tlkeras.schema import Predictions, Samples


def predictions_of(labels, probs):
    probs = np.asarray(probs, dtype=np.float32)
    samples = Samples(tuple(f"{i}.png" for i in range(len(probs))), np.asarray(labels), tuple("abcd"[: probs.shape[1]]))
    return Predictions(samples, probs)


def overconfident(by, n=4000, k=3, seed=0):
    """Labels drawn from the true probabilities, and predictions whose logits are `by` times too large."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, k))
    labels = (rng.random((n, 1)) > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1).clip(0, k - 1)
    return predictions_of(labels, softmax(by * logits, axis=1))


@pytest.mark.parametrize("by", [0.25, 1, 3, 10])
def test_the_temperature_that_made_the_probabilities_is_found(by):
    assert fit_temperature(overconfident(by)) == pytest.approx(by, rel=0.06)


def test_the_least_log_loss_of_the_validation_samples_is_where_it_says():
    val = overconfident(2.5, n=300)
    best = fit_temperature(val)
    loss = {factor: score(at_temperature(val, best * factor))["log_loss"] for factor in (0.97, 1, 1.03)}
    assert loss[1] < min(loss[0.97], loss[1.03])


def test_scaling_keeps_the_predicted_classes_and_mends_other_samples():
    temperature = fit_temperature(overconfident(4, seed=0))
    test = overconfident(4, seed=1)
    scaled = at_temperature(test, temperature)
    before, after = score(test), score(scaled)
    assert after["accuracy"] == before["accuracy"]
    assert (scaled.predicted == test.predicted).all()
    assert after["ece"] < 0.03 < 0.1 < before["ece"]
    assert after["log_loss"] < before["log_loss"]
    assert after["brier"] < before["brier"]


def test_temperature_1_changes_nothing_and_2_takes_the_root_of_the_odds():
    predictions = predictions_of([0, 1], [[0.8, 0.2], [0.5, 0.5]])
    np.testing.assert_allclose(at_temperature(predictions, 1).probs, predictions.probs, rtol=1e-6)
    scaled = at_temperature(predictions, 2)
    np.testing.assert_allclose(scaled.probs, [[2 / 3, 1 / 3], [0.5, 0.5]], rtol=1e-6)  # odds 4 become 2
    assert scaled.probs.dtype == np.float32
    assert scaled.samples is predictions.samples


def test_probabilities_of_0_become_the_share_that_is_right():
    # A tree is always certain, and right in 7 of 10.
    labels = np.arange(100) % 10 >= 7
    tree = predictions_of(labels.astype(int), np.tile([1, 0], (100, 1)))
    temperature = fit_temperature(tree)
    np.testing.assert_allclose(at_temperature(tree, temperature).probs[0], [0.7, 0.3], atol=1e-3)


@pytest.mark.parametrize(
    ("labels", "probs"),
    [
        ([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]),  # all right
        ([0, 1], [[0.5, 0.5], [0.5, 0.5]]),  # equal probabilities
        ([1, 0, 0], [[0.9, 0.1], [0.2, 0.8], [0.9, 0.1]]),  # wrong more than right
        ([0, 0], [[1.0], [1.0]]),  # one class
        ([0] * 99 + [1], [[0.500001, 0.499999]] * 100),  # better than 0.01, where the search ends
    ],
)
def test_where_no_temperature_is_best_there_is_none(labels, probs):
    assert np.isnan(fit_temperature(predictions_of(labels, probs)))


def test_labels_of_one_class_have_a_temperature_as_long_as_one_is_wrong():
    val = predictions_of([0, 0, 0], [[0.99, 0.01], [0.99, 0.01], [0.2, 0.8]])
    assert fit_temperature(val) > 1


@pytest.mark.parametrize("temperature", [0, -1, np.nan, np.inf, "2", None])
def test_bad_temperatures_are_refused_in_words(temperature):
    with pytest.raises(InputError, match="temperature: received"):
        at_temperature(overconfident(1, n=5), temperature)


def test_the_reliability_table_agrees_with_scikit_learn_and_with_the_calibration_error():
    predictions = overconfident(3, n=300)
    table = reliability_table(predictions, bins=10)
    top = predictions.probs.max(axis=1).astype(np.float64)
    # scikit-learn cuts at quantiles of the values; with 300 different ones its bins hold the same 30.
    accuracy, confidence = calibration_curve(predictions.correct, top, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(table["confidence"], confidence)
    np.testing.assert_allclose(table["accuracy"], accuracy)
    assert table["images"].tolist() == [30] * 10
    assert table.index.tolist() == list(range(1, 11))
    of_15 = reliability_table(predictions)
    assert (of_15["accuracy"] - of_15["confidence"]).abs().mean() == pytest.approx(score(predictions)["ece"])


def test_bins_share_an_image_and_equal_probabilities():
    table = reliability_table(predictions_of([0, 1, 0], [[0.9, 0.1], [0.7, 0.3], [0.6, 0.4]]), bins=2)
    assert table["images"].tolist() == [1.5, 1.5]
    assert table["confidence"].tolist() == pytest.approx([(0.6 + 0.35) / 1.5, (0.35 + 0.9) / 1.5])
    assert table["accuracy"].tolist() == pytest.approx([1 / 1.5, 1 / 1.5])
    with pytest.raises(InputError, match="bins: received 0"):
        reliability_table(predictions_of([0], [[1.0, 0]]), bins=0)


def unequal_priors(n=900, slope=1.0, seed=3):
    """Predictions as of a classifier that learnt from equal classes: right but for the priors, its logits `slope` times
    too large."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=[0.7, 0.2, 0.1])
    logits = rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[labels]
    return predictions_of(labels, softmax(slope * 1.5 * logits, axis=1))


def test_the_adjustment_gives_validation_its_class_shares_and_the_least_log_loss():
    val = unequal_priors()
    adjustment = fit_adjustment(val)
    adjusted = at_adjustment(val, adjustment)
    shares = np.bincount(val.samples.labels) / len(val)
    np.testing.assert_allclose(adjusted.probs.mean(axis=0), shares, atol=0.01)  # softened by one image a class
    assert adjustment.offsets.mean() == pytest.approx(0, abs=1e-12)
    assert adjustment.slope == pytest.approx(1, abs=0.15)
    # The classifier takes all three for as likely: what is missing is the logarithm of their shares.
    gained = np.log([0.7, 0.2, 0.1])
    np.testing.assert_allclose(adjustment.offsets, gained - gained.mean(), atol=0.2)
    assert score(adjusted)["accuracy"] > score(val)["accuracy"] + 0.03
    other = unequal_priors(seed=4)
    assert score(at_adjustment(other, adjustment))["accuracy"] > score(other)["accuracy"] + 0.03
    loss = score(adjusted)["log_loss"]
    for slope, step in ((1.1, 0), (0.9, 0), (1, 0.1), (1, -0.1)):
        moved = Adjustment(adjustment.slope * slope, adjustment.offsets + np.array([step, 0, 0]))
        assert score(at_adjustment(val, moved))["log_loss"] > loss - 1e-4


@pytest.mark.parametrize("slope", [0.1, 0.3, 3])
def test_no_temperature_moves_an_adjusted_decision(slope):
    val, test, warm, warm_test = (
        unequal_priors(slope=of, seed=seed) for of, seed in ((1, 3), (1, 4), (slope, 3), (slope, 4))
    )
    plain, warmed = at_adjustment(test, fit_adjustment(val)), at_adjustment(warm_test, fit_adjustment(warm))
    assert (plain.predicted != warmed.predicted).mean() < 0.005  # float32 rounds small probabilities
    assert (test.predicted == warm_test.predicted).all()


def test_of_two_classes_the_adjustment_is_a_threshold():
    labels = np.array([0, 0, 0, 1, 1, 1])
    val = predictions_of(labels, [(1 - p, p) for p in (0.05, 0.1, 0.35, 0.3, 0.4, 0.45)])
    adjustment = fit_adjustment(val)
    line = adjustment.threshold(1)
    adjusted = at_adjustment(val, adjustment)
    assert adjusted.predicted.tolist() == (val.probs[:, 1] > line).astype(int).tolist()
    assert 0.1 < line < 0.35
    assert adjustment.threshold(0) == pytest.approx(1 - line)
    assert (np.argsort(adjusted.probs[:, 1]) == np.argsort(val.probs[:, 1])).all()


def test_validation_without_an_error_has_a_line_between_its_classes():
    val = predictions_of([0, 0, 1, 1], [(1 - p, p) for p in (0.05, 0.1, 0.3, 0.45)])
    adjustment = fit_adjustment(val)
    assert 0.1 < adjustment.threshold(1) < 0.3
    assert np.isfinite(adjustment.slope)


def test_what_leaves_the_line_open_has_no_adjustment():
    assert fit_adjustment(predictions_of([0, 1, 1], [[0.4, 0.3, 0.3]] * 3)) is None  # no third class
    assert fit_adjustment(predictions_of([0, 1, 1], [[0.4, 0.6]] * 3)) is None  # all alike
    for adjustment in (None, Adjustment(1.0, np.zeros(2))):
        with pytest.raises(InputError, match="adjustment: received"):
            at_adjustment(predictions_of([0], [[0.4, 0.3, 0.3]]), adjustment)
