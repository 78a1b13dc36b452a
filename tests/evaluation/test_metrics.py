from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from tlkeras.evaluation.metrics import classification_report_table, confusion_table, score
from tlkeras.schema import InputError, Predictions, Samples


def predictions_of(labels, probs, class_names=("normal", "pneumonia")):
    probs = np.asarray(probs, dtype=np.float32)
    labels = None if labels is None else np.asarray(labels, dtype=np.int64)
    return Predictions(Samples(tuple(f"{i}.png" for i in range(len(probs))), labels, class_names), probs)


def two_class(labels, positive):
    return predictions_of(labels, [(1 - p, p) for p in positive])


@pytest.fixture
def three_classes():
    rng = np.random.default_rng(0)
    return predictions_of(rng.integers(0, 3, 200), rng.dirichlet(np.ones(3), 200), ("a", "b", "c"))


def test_figures_of_five_images_by_hand():
    # Predicted: 0, 1, 1, 1, 0. One of two healthy and two of three ill are right.
    figures = score(two_class([0, 0, 1, 1, 1], [0.2, 0.6, 0.9, 0.7, 0.4]), "pneumonia")
    assert figures.index.name == "metric"
    assert figures.to_dict() == pytest.approx(
        {
            "n": 5,
            "accuracy": 3 / 5,
            "balanced_accuracy": (1 / 2 + 2 / 3) / 2,
            "macro_f1": (1 / 2 + 2 / 3) / 2,
            "log_loss": -np.log([0.8, 0.4, 0.9, 0.7, 0.4]).mean(),
            "roc_auc": 5 / 6,  # of the six pairs only 0.4 against 0.6 is in the wrong order
            "sensitivity": 2 / 3,
            "specificity": 1 / 2,
            "precision": 2 / 3,
            "f1": 2 / 3,
        },
        abs=1e-6,
    )


def test_the_other_class_as_positive_swaps_sensitivity_and_specificity():
    predictions = two_class([0, 0, 1, 1, 1], [0.2, 0.6, 0.9, 0.7, 0.4])
    figures = score(predictions, "normal")
    assert figures["sensitivity"] == 1 / 2
    assert figures["specificity"] == pytest.approx(2 / 3)
    assert figures["roc_auc"] == pytest.approx(5 / 6)


def test_agrees_with_scikit_learn(three_classes):
    labels, predicted, probs = three_classes.samples.labels, three_classes.predicted, three_classes.probs.astype(float)
    probs /= probs.sum(axis=1, keepdims=True)
    assert score(three_classes).to_dict() == pytest.approx(
        {
            "n": 200,
            "accuracy": reference.accuracy_score(labels, predicted),
            "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
            "macro_f1": reference.f1_score(labels, predicted, average="macro"),
            "log_loss": reference.log_loss(labels, probs),
            "roc_auc": reference.roc_auc_score(labels, probs, multi_class="ovr"),
        },
        abs=1e-6,
    )
    expected = reference.precision_recall_fscore_support(labels, predicted)
    report = classification_report_table(three_classes)
    assert list(report.index) == ["a", "b", "c", "macro"]
    np.testing.assert_allclose(report.iloc[:3].to_numpy().T, expected)
    np.testing.assert_allclose(
        report.loc["macro", ["precision", "recall", "f1"]].astype(float), np.mean(expected[:3], 1)
    )
    assert report.loc["macro", "support"] == 200
    np.testing.assert_array_equal(confusion_table(three_classes), reference.confusion_matrix(labels, predicted))


def test_tied_probabilities_count_half_in_roc_auc():
    assert score(two_class([0, 1], [0.5, 0.5]))["roc_auc"] == 0.5


def test_a_class_without_samples_leaves_means_over_classes_undefined():
    figures = score(two_class([1, 1], [0.9, 0.2]), "pneumonia")
    assert figures["accuracy"] == 0.5
    assert figures["sensitivity"] == 0.5
    assert np.isnan(figures[["balanced_accuracy", "macro_f1", "roc_auc", "specificity"]]).all()


def test_a_class_never_predicted_has_no_precision_but_f1_0():
    report = classification_report_table(two_class([0, 1], [0.1, 0.2]))
    assert np.isnan(report.loc["pneumonia", "precision"])
    assert report.loc["pneumonia", "f1"] == 0
    assert score(two_class([0, 1], [0.1, 0.2]))["macro_f1"] == pytest.approx(1 / 3)


def test_a_certain_error_costs_a_finite_log_loss():
    assert score(two_class([1], [0.0]))["log_loss"] == pytest.approx(-np.log(1e-7))


def test_confusion_rows_are_actual_and_shares_are_of_the_row():
    predictions = two_class([0, 0, 0, 0, 1], [0.9, 0.1, 0.1, 0.1, 0.8])
    counts = confusion_table(predictions)
    assert (counts.index.name, counts.columns.name) == ("actual", "predicted")
    assert counts.loc["normal", "pneumonia"] == 1
    assert confusion_table(predictions, normalize=True).loc["normal"].to_dict() == {"normal": 0.75, "pneumonia": 0.25}
    lonely = confusion_table(two_class([1], [0.9]), normalize=True)
    assert lonely.loc["normal"].isna().all()


@pytest.mark.parametrize(
    ("labels", "probs", "positive", "words"),
    [
        ([], np.zeros((0, 2)), None, "at least one sample"),
        (None, [[0.5, 0.5]], None, "no labels"),
        ([0, 1], [[3.0, -1.0], [0.5, 0.5]], None, "1 of 2 rows are not probabilities"),
        ([0], [[np.nan, np.nan]], None, "not probabilities"),
        ([0], [[0.5, 0.9]], None, "sum to 1"),
        ([0], [[0.5, 0.5]], "lung", "'lung'"),
    ],
)
def test_bad_input_is_refused_in_words(labels, probs, positive, words):
    with pytest.raises(InputError, match=words):
        score(predictions_of(labels, probs), positive)


def test_a_positive_class_among_three_is_refused(three_classes):
    with pytest.raises(InputError, match="exactly two"):
        score(three_classes, "a")
