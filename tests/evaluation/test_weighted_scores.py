from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as reference

from tlkeras.errors import InputError
from tlkeras.evaluation.weighted_scores import class_of, equal_mass_sums, metric_names, weighted_scores

NAMES = ("a", "b", "c", "d")


def problem(seed, n=240, k=4, steps=20, absent=None):
    """Labels and probabilities in steps of 1/steps, so that many tie; a class may be absent."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([label for label in range(k) if label != absent], n)
    sharp = 1 + 4 * np.eye(k)[labels]
    probs = np.stack([rng.multinomial(steps, rng.dirichlet(row)) for row in sharp]) / steps
    return labels, probs.astype(np.float32), rng


def weights_of(kind, rng, n):
    return {
        "ones": np.ones(n),
        "counts": rng.multinomial(n, np.ones(n) / n).astype(float),
        "shares": rng.random(n) + 0.01,
    }[kind]


def expected_figures(labels, probs, weights):
    """scikit-learn's, for classes that are all there and all predicted."""
    probs = probs.astype(np.float64)
    predicted, k = probs.argmax(axis=1), probs.shape[1]
    options = {"sample_weight": weights}
    actual = np.eye(k)[labels]
    figures = {
        "n": weights.sum(),
        "accuracy": reference.accuracy_score(labels, predicted, **options),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted, **options),
        "matthews": reference.matthews_corrcoef(labels, predicted, **options),
        "kappa": reference.cohen_kappa_score(labels, predicted, **options),
        "roc_auc": reference.roc_auc_score(labels, probs, multi_class="ovr", **options),
        "average_precision": reference.average_precision_score(actual, probs, **options),
        "log_loss": reference.log_loss(labels, probs.clip(1e-7), labels=range(k), **options),
        "balanced_log_loss": np.mean(
            [
                reference.log_loss(labels[of], probs[of].clip(1e-7), labels=range(k), sample_weight=weights[of])
                for of in (labels == label for label in range(k))
            ]
        ),
        "brier": reference.brier_score_loss(labels, probs, labels=range(k), scale_by_half=False, **options),
    }
    for average in ("macro", "weighted"):
        values = reference.precision_recall_fscore_support(labels, predicted, average=average, **options)
        figures |= {f"{average}_{m}": v for m, v in zip(("precision", "recall", "f1"), values[:3], strict=True)}
    by_class = reference.precision_recall_fscore_support(labels, predicted, labels=range(k), **options)
    for label, name in enumerate(NAMES):
        figures |= {f"{m}_{name}": v[label] for m, v in zip(("precision", "recall", "f1"), by_class[:3], strict=True)}
        figures[f"roc_auc_{name}"] = reference.roc_auc_score(actual[:, label], probs[:, label], **options)
        figures[f"average_precision_{name}"] = reference.average_precision_score(
            actual[:, label], probs[:, label], **options
        )
    return figures


@pytest.mark.parametrize("kind", ["ones", "counts", "shares"])
@pytest.mark.parametrize("seed", range(4))
def test_every_figure_agrees_with_scikit_learn_ties_and_weights_included(seed, kind):
    labels, probs, rng = problem(seed)
    weights = weights_of(kind, rng, len(labels))
    found = weighted_scores(labels, probs, NAMES, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # probabilities of 0, clipped here and there alike, no longer sum to 1
        expected = expected_figures(labels, probs, weights)
    assert tuple(found) == metric_names(NAMES)
    assert set(found) - set(expected) == {"ece", "ece_by_chance"}
    assert {name: found[name][0] for name in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["ones", "counts", "shares"])
def test_an_absent_class_is_undefined_itself_and_in_every_mean_over_classes(kind):
    labels, probs, rng = problem(5, absent=2)
    weights = weights_of(kind, rng, len(labels))
    found = {name: values[0] for name, values in weighted_scores(labels, probs, NAMES, weights).items()}
    undefined = {name for name, value in found.items() if np.isnan(value)}
    of_class = {f"{metric}_c" for metric in ("recall", "f1", "roc_auc", "average_precision")}
    means = {"balanced_accuracy", "macro_recall", "macro_f1", "roc_auc", "average_precision", "balanced_log_loss"}
    assert undefined == of_class | means
    predicted, options = probs.argmax(axis=1), {"sample_weight": weights}
    assert found["precision_c"] == 0  # it was predicted, wrongly
    assert found["matthews"] == pytest.approx(reference.matthews_corrcoef(labels, predicted, **options))
    assert found["kappa"] == pytest.approx(reference.cohen_kappa_score(labels, predicted, **options))
    assert found["roc_auc_a"] == pytest.approx(reference.roc_auc_score(labels == 0, probs[:, 0], **options))
    weighted = reference.precision_recall_fscore_support(
        labels, predicted, average="weighted", zero_division=0, **options
    )
    assert [found[f"weighted_{m}"] for m in ("precision", "recall", "f1")] == pytest.approx(list(weighted[:3]))


def test_a_class_whose_weights_are_all_0_is_absent():
    labels, probs, rng = problem(6)
    weights = rng.random(len(labels))
    weights[labels == 1] = 0
    found = weighted_scores(labels, probs, NAMES, weights)
    for metric in ("recall_b", "roc_auc_b", "average_precision_b", "balanced_accuracy", "roc_auc"):
        assert np.isnan(found[metric][0]), metric
    weights[labels != 0] = 0
    alone = weighted_scores(labels, probs, NAMES, weights)
    assert np.isnan(alone["roc_auc_a"][0])
    assert alone["average_precision_a"][0] == pytest.approx(1)
    assert np.isnan(alone["matthews"][0])


def test_a_weight_is_how_often_a_row_is_there():
    labels, probs, rng = problem(7)
    times = rng.integers(0, 4, len(labels))
    rows = np.repeat(np.arange(len(labels)), times)
    weighted = weighted_scores(labels, probs, NAMES, times)
    repeated = weighted_scores(labels[rows], probs[rows], NAMES, np.ones(len(rows)))
    # Four times the same image is less by chance than four images.
    assert weighted.pop("ece_by_chance") > repeated.pop("ece_by_chance")
    assert {k: v[0] for k, v in weighted.items()} == pytest.approx({k: v[0] for k, v in repeated.items()})


def test_many_draws_at_once_are_each_draw_alone_and_the_order_of_rows_is_nothing():
    labels, probs, rng = problem(8)
    labels[:] = np.where(labels == 3, rng.integers(0, 3, len(labels)), labels)
    labels[0] = 3  # one row of class d: half of the draws lack it
    weights = rng.integers(0, 2, (20, len(labels)))
    together = weighted_scores(labels, probs, NAMES, weights)
    order = rng.permutation(len(labels))
    for draw, row in enumerate(weights):
        alone = weighted_scores(labels[order], probs[order], NAMES, row[order])
        for metric, values in together.items():
            np.testing.assert_allclose(values[draw], alone[metric][0], rtol=1e-12, atol=1e-12, err_msg=metric)
    assert np.isnan(together["recall_d"]).sum() == (weights[:, 0] == 0).sum()


def test_a_positive_class_has_its_own_areas():
    labels, probs, rng = problem(9, k=2)
    weights = rng.integers(0, 3, (5, len(labels)))
    found = weighted_scores(labels, probs, ("well", "ill"), weights, "ill", ("average_precision", "roc_auc", "f1"))
    each = weighted_scores(labels, probs, ("well", "ill"), weights)
    assert list(found) == ["average_precision", "roc_auc", "f1"]
    for metric, values in found.items():
        np.testing.assert_array_equal(values, each[f"{metric}_ill"])
    mean = (each["average_precision_well"] + each["average_precision_ill"]) / 2
    np.testing.assert_allclose(each["average_precision"], mean)


def test_calibration_error_of_bins_of_equal_numbers():
    # 150 different confidences: 15 bins of 10 images each, written out.
    rng = np.random.default_rng(1)
    top = rng.permutation(np.linspace(0.5, 1, 150))
    labels = (rng.random(150) > 0.7).astype(np.int64)
    probs = np.stack([top, 1 - top], axis=1)
    in_bins = np.argsort(top).reshape(15, 10)
    expected = np.mean([abs((labels[rows] == 0).mean() - top[rows].mean()) for rows in in_bins])
    found = weighted_scores(labels, probs, ("a", "b"), np.ones(150), metrics=("ece",))
    assert found["ece"][0] == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["constant", "three values", "continuous"])
def test_what_chance_adds_to_the_calibration_error_is_its_mean_where_probabilities_are_right(kind):
    rng = np.random.default_rng(2)
    drawn = {"constant": np.full(600, 0.8), "three values": rng.choice([0.6, 0.75, 0.9], 600)}
    top = drawn.get(kind, rng.uniform(0.55, 0.99, 600))
    probs, ones = np.stack([top, 1 - top], axis=1), np.ones(600)
    errors = [
        weighted_scores((rng.random(600) > top).astype(np.int64), probs, ("a", "b"), ones, metrics=("ece",))["ece"][0]
        for _ in range(400)
    ]
    found = weighted_scores(np.zeros(600, np.int64), probs, ("a", "b"), ones, metrics=("ece_by_chance",))
    assert found["ece_by_chance"][0] == pytest.approx(np.mean(errors), rel=0.08)


def test_calibration_error_of_one_confidence_is_its_distance_from_the_accuracy():
    probs = np.tile([0.8, 0.2], (10, 1))
    for labels in ([1] * 4 + [0] * 6, [0] * 6 + [1] * 4):
        found = weighted_scores(np.array(labels), probs, ("a", "b"), np.ones(10), metrics=("ece",))
        assert found["ece"][0] == pytest.approx(0.2)


def test_a_row_on_a_boundary_counts_on_both_sides():
    # Three rows of weight 1 in two bins: the middle one is half in each.
    sums = equal_mass_sums(np.array([0.9, 0.7, 0.5]), np.array([1.0, 10.0, 100.0]), np.ones((1, 3)), bins=2)
    np.testing.assert_allclose(sums, [[6, 105]])
    weighted = equal_mass_sums(np.array([0.5, 0.7, 0.9]), np.array([100.0, 10.0, 1.0]), np.array([[1, 0, 3.0]]), bins=2)
    np.testing.assert_allclose(weighted, [[2, 1 + 100]])


def test_the_class_whose_images_a_figure_rests_on():
    of_all = [metric for metric in metric_names("ab") if not metric.endswith(("_a", "_b"))]
    assert {class_of(metric, "ab") for metric in of_all} == {None}
    assert [class_of(f"{metric}_b", "ab") for metric in ("precision", "recall", "f1", "roc_auc")] == [1] * 4
    of_positive = ("sensitivity", "specificity", "precision", "f1", "roc_auc", "average_precision", "accuracy")
    assert [class_of(metric, "ab", "b") for metric in of_positive] == [1, 0, 1, 1, 1, 1, None]
    assert [class_of(metric, "ab", "a") for metric in of_positive] == [0, 1, 0, 0, 0, 0, None]
    assert class_of("recall_c", "ab") is None


def test_only_the_shares_of_the_weights_matter():
    rng = np.random.default_rng(0)
    labels, probs = rng.integers(0, 3, 60), rng.dirichlet([1, 1, 1], 60)
    weights = rng.uniform(0.5, 2, 60)
    whole, small = (weighted_scores(labels, probs, "abc", scale * weights) for scale in (1, 1e-4))
    for metric in set(whole) - {"n", "ece_by_chance"}:
        assert small[metric] == pytest.approx(whole[metric], rel=1e-9), metric


def test_one_answer_to_all_has_no_correlation_whatever_the_weights():
    # The squares of the weights' sums are equal but for rounding, which must not be taken for a spread.
    rng = np.random.default_rng(0)
    probs = np.tile([0.3, 0.7], (999, 1))
    found = weighted_scores(rng.integers(0, 2, 999), probs, "ab", rng.random((20, 999)), metrics="matthews")
    assert np.isnan(found["matthews"]).all()


def test_agreement_beyond_chance_is_undefined_only_where_there_is_one_class_in_all_whatever_the_weights():
    weights = 1e-4 * np.random.default_rng(0).random((20, 999))
    alike, some = np.tile([0.7, 0.3], (999, 1)), np.tile([0.7, 0.3], (999, 1))
    some[::3] = [0.3, 0.7]
    kappa = [
        weighted_scores(np.zeros(999, int), probs, "ab", weights, metrics="kappa")["kappa"] for probs in (alike, some)
    ]
    assert np.isnan(kappa[0]).all()  # but for rounding, all agree, and would by chance
    np.testing.assert_allclose(kappa[1], 0, atol=1e-12)  # right no more often than chance


def test_weights_that_do_not_fit_are_refused_in_words():
    labels, probs, _ = problem(0)
    with pytest.raises(InputError, match=r"weights: received shape \(2, 3\) for 240 rows"):
        weighted_scores(labels, probs, NAMES, np.ones((2, 3)))
