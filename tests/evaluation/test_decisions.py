from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from tlkeras.errors import InputError
from tlkeras.evaluation.calibration import at_adjustment
from tlkeras.evaluation.decisions import decision_curve, fit_threshold, risk_coverage
from tlkeras.evaluation.intervals import intervals
from tlkeras.evaluation.metrics import score
from tlkeras.schema import Predictions, Samples


def two_classes(labels, probability, groups=None):
    """Predictions of "sick" (label 1) with these probabilities."""
    sick = np.asarray(probability, np.float32)
    files = tuple(f"{i}.png" for i in range(len(sick)))
    return Predictions(
        Samples(files, np.asarray(labels), ("well", "sick"), groups=groups), np.stack([1 - sick, sick], axis=1)
    )


def some(n=400, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    return two_classes(labels, np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0.001, 0.999))


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.95, 1.0])
def test_the_highest_threshold_of_scikit_learn_that_finds_so_many(wanted):
    val = some()
    false, true, cuts = roc_curve(val.samples.labels, val.probs[:, 1], drop_intermediate=False)
    first = np.flatnonzero(true >= wanted - 1e-12)[0]  # from the strictest threshold down
    found = fit_threshold(val, "sick", sensitivity=wanted)
    assert np.append(cuts, 0)[first + 1] < found.threshold(1) <= cuts[first]
    decided = score(at_adjustment(val, found), "sick")
    assert decided["sensitivity"] == pytest.approx(true[first])
    assert decided["specificity"] == pytest.approx(1 - false[first])


def test_specificity_is_the_sensitivity_of_the_other_class():
    val = some(seed=1)
    one, other = fit_threshold(val, "sick", specificity=0.9), fit_threshold(val, "well", sensitivity=0.9)
    np.testing.assert_allclose(one.offsets, other.offsets, atol=1e-9)


@pytest.mark.parametrize("ratio", [0.1, 1, 7])
def test_no_other_threshold_costs_less(ratio):
    val = some(seed=2)
    sick, probability = val.samples.labels == 1, val.probs[:, 1].astype(np.float64)

    def cost(cut):
        return ratio * (sick & (probability < cut)).sum() + (~sick & (probability >= cut)).sum()

    chosen = cost(fit_threshold(val, "sick", cost_ratio=ratio).threshold(1))
    assert chosen == min(cost(cut) for cut in np.linspace(0, 1, 2001))


def test_a_threshold_keeps_the_order_of_the_images():
    val = some(seed=3)
    decided = at_adjustment(val, fit_threshold(val, "sick", sensitivity=0.99))
    assert score(decided)["roc_auc"] == pytest.approx(score(val)["roc_auc"])
    assert score(decided)["accuracy"] != score(val)["accuracy"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "received none"),
        ({"sensitivity": 0.9, "cost_ratio": 2}, "received sensitivity, cost_ratio"),
        ({"sensitivity": 0}, "sensitivity: received 0"),
        ({"sensitivity": 95}, "sensitivity: received 95"),
        ({"cost_ratio": -1}, "cost_ratio: received -1"),
    ],
)
def test_what_is_wanted_is_one_share_or_ratio(given, said):
    with pytest.raises(InputError, match=said):
        fit_threshold(some(), "sick", **given)


def test_a_threshold_needs_two_classes_with_images():
    with pytest.raises(InputError, match="'mild'"):
        fit_threshold(some(), "mild", sensitivity=0.9)
    with pytest.raises(InputError, match="one class"):
        fit_threshold(two_classes([1, 1], [0.2, 0.8]), "sick", sensitivity=0.9)
    three = Predictions(Samples(("a", "b"), np.array([0, 1]), ("a", "b", "c")), np.full((2, 3), 1 / 3, np.float32))
    with pytest.raises(InputError, match="a, b, c"):
        decision_curve(three, "a")


def test_net_benefit_by_hand():
    # From 0.25 on: 2 of 3 sick and 1 of 2 well, so 2/5 - 1/5 * 1/3.
    predictions = two_classes([1, 1, 1, 0, 0], [0.9, 0.3, 0.1, 0.6, 0.2])
    table = decision_curve(predictions, "sick", thresholds=[0.25, 0.5])
    assert table.loc[0.25, "net_benefit"] == pytest.approx(2 / 5 - 1 / 15)
    assert table.loc[0.5, "net_benefit"] == pytest.approx(1 / 5 - 1 / 5)
    assert table.loc[0.25, "everyone"] == pytest.approx(3 / 5 - 2 / 5 / 3)


def test_the_interval_of_net_benefit_is_the_spread_of_its_terms_and_groups_widen_it():
    rng = np.random.default_rng(0)
    single = some(600, seed=4)
    term = (single.probs[:, 1] >= 0.5) * np.where(single.samples.labels == 1, 1.0, -1.0)
    table = decision_curve(single, "sick", thresholds=[0.5])
    width = (table["high"] - table["low"]).item()
    assert width == pytest.approx(2 * 1.96 * term.std(ddof=1) / np.sqrt(600), rel=0.02)
    thrice = np.repeat(np.arange(600), 3)
    copied = two_classes(single.samples.labels[thrice], single.probs[thrice, 1], groups=thrice.astype(str))
    apart = two_classes(single.samples.labels[thrice], single.probs[thrice, 1])
    grouped, alone = (decision_curve(one, "sick", thresholds=[0.5]) for one in (copied, apart))
    assert (grouped["high"] - grouped["low"]).item() == pytest.approx(width, rel=0.02)
    assert (alone["high"] - alone["low"]).item() == pytest.approx(width / np.sqrt(3), rel=0.02)
    shuffled = rng.permutation(600)
    again = decision_curve(Predictions(single.samples.take(shuffled), single.probs[shuffled]), "sick", thresholds=[0.5])
    np.testing.assert_allclose(again, table, rtol=1e-12)


def test_thresholds_are_probabilities():
    with pytest.raises(InputError, match="thresholds"):
        decision_curve(some(), "sick", thresholds=[0.5, 1])


def test_risk_by_hand_and_at_full_coverage_the_error():
    predictions = two_classes([1, 1, 0, 0], [0.99, 0.4, 0.2, 0.3])
    table = risk_coverage(predictions, coverages=[1, 0.75, 0.5])
    np.testing.assert_allclose(table["risk"], [1 / 4, 0, 0])
    np.testing.assert_allclose(table["confidence"], [0.6, 0.7, 0.8], rtol=1e-6)
    assert table["images"].tolist() == [4, 3, 2]
    whole, table = some(seed=5), risk_coverage(some(seed=5), coverages=[1])
    expected = intervals(whole, metrics=["accuracy"]).loc["accuracy"]
    np.testing.assert_allclose(table.loc[1, ["risk", "low", "high"]], 1 - expected[["value", "high", "low"]], rtol=1e-9)


def test_images_as_sure_are_answered_together():
    table = risk_coverage(two_classes([1, 0, 1, 0], [0.9, 0.9, 0.9, 0.5]), coverages=[0.25])
    assert table["images"].item() == 3
    assert table["risk"].item() == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="coverages"):
        risk_coverage(some(), coverages=[1.5])


def test_a_threshold_of_a_classifier_that_is_sure_finds_what_was_asked():
    # To the last digit of a float32 these probabilities are 1; their log odds are not.
    sure = np.array([[1e-9, 1.0]] * 20 + [[1.0, 1e-9]] * 20, np.float32)
    samples = Samples(tuple(f"{i}.png" for i in range(40)), np.repeat([1, 0], 20), ("well", "sick"))
    val = Predictions(samples, sure)
    for wanted in ({"sensitivity": 0.95}, {"specificity": 0.95}, {"cost_ratio": 10}):
        decided = score(at_adjustment(val, fit_threshold(val, "sick", **wanted)), "sick")
        assert decided["sensitivity"] == decided["specificity"] == 1


def test_net_benefit_of_a_part_of_one_class():
    table = decision_curve(two_classes([0, 0, 0, 0], [0.9, 0.3, 0.1, 0.6]), "sick", thresholds=[0.5])
    assert table["net_benefit"].item() == pytest.approx(-2 / 4)
    assert table["everyone"].item() == pytest.approx(-1)


def test_seeds_of_other_classes_and_none_are_refused():
    one = some()
    other = Predictions(Samples(one.samples.images, one.samples.labels, ("sick", "well")), one.probs)
    for told in (lambda parts: decision_curve(parts, "sick"), risk_coverage):
        with pytest.raises(InputError, match="differ"):
            told([one, other])
        with pytest.raises(InputError, match="empty list"):
            told([])
