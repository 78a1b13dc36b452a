from __future__ import annotations

import numpy as np
import pytest
from predicted import random_predictions
from sklearn import metrics as reference
from sklearn.dummy import DummyClassifier

from tlkeras.errors import InputError
from tlkeras.evaluation.metrics import (
    baseline,
    classification_report_table,
    confused_pairs,
    confusion_table,
    largest_losses,
    score,
)
from tlkeras.schema import Predictions, Samples


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
    expected = {
        "n": 5,
        "accuracy": 3 / 5,
        "balanced_accuracy": (1 / 2 + 2 / 3) / 2,
        "macro_precision": (1 / 2 + 2 / 3) / 2,
        "macro_recall": (1 / 2 + 2 / 3) / 2,
        "macro_f1": (1 / 2 + 2 / 3) / 2,
        "weighted_precision": 3 / 5,  # 2/5 of 1/2 and 3/5 of 2/3
        "weighted_recall": 3 / 5,
        "weighted_f1": 3 / 5,
        "matthews": (2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2),
        "kappa": (3 / 5 - 13 / 25) / (1 - 13 / 25),  # chance agrees in 2/5 of 2/5 and 3/5 of 3/5
        "roc_auc": 5 / 6,  # of the six pairs only 0.4 against 0.6 is in the wrong order
        "average_precision": (1 + 1 + 3 / 4) / 3,  # the ill at places 1, 2 and 4
        "log_loss": -np.log([0.8, 0.4, 0.9, 0.7, 0.4]).mean(),
        "balanced_log_loss": -(np.log([0.8, 0.4]).mean() + np.log([0.9, 0.7, 0.4]).mean()) / 2,
        "brier": 2 * np.mean(np.square([0.2, 0.6, 0.1, 0.3, 0.6])),
        "ece": np.mean([0.2, 0.6, 0.1, 0.3, 0.6]),  # three bins for every image
        # The spread of each image's right answer; the two of 0.6 are one block of six bins.
        "ece_by_chance": np.sqrt(2 / np.pi) * np.sqrt([0.8 * 0.2, 0.9 * 0.1, 0.7 * 0.3, 2 * 0.6 * 0.4]).sum() / 5,
        "sensitivity": 2 / 3,
        "specificity": 1 / 2,
        "precision": 2 / 3,
        "f1": 2 / 3,
        "precision_normal": 1 / 2,
        "recall_normal": 1 / 2,
        "f1_normal": 1 / 2,
        "roc_auc_normal": 5 / 6,
        "average_precision_normal": (1 + 2 / 3) / 2,  # the healthy at places 1 and 3
        "precision_pneumonia": 2 / 3,
        "recall_pneumonia": 2 / 3,
        "f1_pneumonia": 2 / 3,
        "roc_auc_pneumonia": 5 / 6,
        "average_precision_pneumonia": (1 + 1 + 3 / 4) / 3,
    }
    assert list(figures.index) == list(expected)
    assert figures.to_dict() == pytest.approx(expected, abs=1e-6)


def test_the_figures_asked_for_come_in_their_order():
    predictions = two_class([0, 0, 1, 1, 1], [0.2, 0.6, 0.9, 0.7, 0.4])
    wanted = ["f1_normal", "ece", "roc_auc_pneumonia", "accuracy"]
    figures = score(predictions, metrics=wanted)
    assert list(figures.index) == wanted
    assert figures.to_dict() == score(predictions)[wanted].to_dict()


def test_the_other_class_as_positive_swaps_sensitivity_and_specificity():
    predictions = two_class([0, 0, 1, 1, 1], [0.2, 0.6, 0.9, 0.7, 0.4])
    figures = score(predictions, "normal")
    assert figures["sensitivity"] == 1 / 2
    assert figures["specificity"] == pytest.approx(2 / 3)
    assert figures["roc_auc"] == pytest.approx(5 / 6)


def test_the_report_agrees_with_scikit_learn(three_classes):
    labels, predicted = three_classes.samples.labels, three_classes.predicted
    expected = reference.precision_recall_fscore_support(labels, predicted)
    report = classification_report_table(three_classes)
    assert list(report.index) == ["a", "b", "c", "micro", "macro", "weighted"]
    np.testing.assert_allclose(report.iloc[:3].to_numpy().T, expected)
    for average in ("micro", "macro", "weighted"):
        figures = reference.precision_recall_fscore_support(labels, predicted, average=average)[:3]
        np.testing.assert_allclose(report.loc[average, ["precision", "recall", "f1"]].astype(float), figures)
        assert report.loc[average, "support"] == 200
    np.testing.assert_array_equal(confusion_table(three_classes), reference.confusion_matrix(labels, predicted))


def test_classes_called_like_averages_have_rows_of_their_own():
    names = ("macro", "micro", "macro average")
    samples = Samples(tuple("abcd"), np.array([0, 0, 1, 2]), names)
    report = classification_report_table(Predictions(samples, np.eye(3, dtype=np.float32)[[0, 1, 1, 2]]))
    assert list(report.index) == [*names, "micro average", "macro average average", "weighted"]
    assert report.loc["macro", "recall"] == 1 / 2
    assert report.loc["macro average average", "recall"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert report.loc["micro", "support"] == 1


def test_tied_probabilities_count_half_in_roc_auc():
    assert score(two_class([0, 1], [0.5, 0.5]))["roc_auc"] == 0.5


def test_a_class_without_samples_leaves_means_over_classes_undefined():
    figures = score(two_class([1, 1], [0.9, 0.2]), "pneumonia")
    assert figures["accuracy"] == figures["weighted_recall"] == 0.5
    assert figures["sensitivity"] == 0.5
    assert figures["average_precision"] == figures["weighted_precision"] == 1  # no healthy image to rank or call ill
    undefined = ["balanced_accuracy", "macro_recall", "macro_f1", "roc_auc", "specificity", "matthews"]
    of_class = ["recall_normal", "f1_normal", "roc_auc_normal", "average_precision_normal", "roc_auc_pneumonia"]
    assert np.isnan(figures[[*undefined, *of_class]]).all()
    assert np.isnan(score(two_class([1, 1], [0.9, 0.2]))["average_precision"])  # the mean over both


def test_always_one_answer_has_no_correlation_and_no_agreement_beyond_chance():
    figures = score(two_class([0, 0, 1], [0.4, 0.4, 0.4]))
    assert figures["kappa"] == 0
    assert np.isnan(figures["matthews"])
    assert np.isnan(figures["weighted_precision"])
    assert figures["weighted_f1"] == pytest.approx(2 / 3 * 4 / 5)
    assert np.isnan(score(two_class([0, 0], [0.4, 0.4]))["kappa"])  # chance agrees always


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


def test_an_unknown_metric_is_refused_in_words(three_classes):
    with pytest.raises(InputError, match=r"metrics: received 'f1'; accepted: n, accuracy.*f1_c"):
        score(three_classes, metrics=["accuracy", "f1"])


def answers_of(labels, predicted, sure=0.8):
    probs = np.full((len(labels), 3), (1 - sure) / 2, dtype=np.float32)
    probs[np.arange(len(labels)), predicted] = sure
    return Predictions(
        Samples(tuple(f"{i}.png" for i in range(len(labels))), np.array(labels, dtype=int), ("a", "b", "c")), probs
    )


def test_the_commonest_confusions_first_and_their_share_of_the_actual_class():
    predictions = answers_of([0, 0, 0, 0, 1, 1, 2, 2, 2, 2], [0, 1, 2, 2, 0, 1, 0, 0, 0, 2])
    table = confused_pairs(predictions)
    assert table.to_numpy().tolist() == [
        ["c", "a", 3, 0.75],
        ["a", "c", 2, 0.5],
        ["a", "b", 1, 0.25],
        ["b", "a", 1, 0.5],
    ]
    assert list(table.columns) == ["actual", "predicted", "images", "share"]
    assert confused_pairs(predictions, 2).equals(table[:2])
    assert len(confused_pairs(answers_of([0, 1], [0, 1]))) == 0


def test_the_images_whose_class_got_the_least_probability_first():
    probs = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [1, 0, 0], [1, 0, 1e-9], [0.2, 0.5, 0.3]], np.float32)
    samples = Samples(tuple(f"{i}.png" for i in range(5)), np.array([0, 1, 1, 2, 1]), ("a", "b", "c"))
    table = largest_losses(Predictions(samples, probs), 4)
    assert table["row"].tolist() == [2, 3, 1, 4]
    assert table["sample_id"].tolist() == ["2.png", "3.png", "1.png", "4.png"]
    assert table["label"].tolist() == ["b", "c", "b", "b"]
    assert table["predicted"].tolist() == ["a", "a", "c", "b"]
    assert table["probability"].tolist() == pytest.approx([0, 1e-9, 0.2, 0.5])
    assert table["loss"].tolist() == pytest.approx(-np.log([1e-7, 1e-7, 0.2, 0.5]))
    every = largest_losses(Predictions(samples, probs), 99)
    assert every["loss"].mean() == pytest.approx(score(Predictions(samples, probs))["log_loss"])


@pytest.mark.parametrize("table_of", [confused_pairs, largest_losses])
def test_the_worst_of_none_is_refused(table_of):
    with pytest.raises(InputError, match="n: received 0"):
        table_of(answers_of([0], [0]), 0)
    with pytest.raises(InputError, match="at least one sample"):
        table_of(answers_of([], []))


def test_the_baseline_is_scikit_learns():
    predictions = random_predictions()
    train = np.repeat([0, 1, 2], [20, 50, 30])
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((100, 1)), train)
    found = baseline({"a": 20, "b": 50, "c": 30}, predictions)
    np.testing.assert_allclose(found.probs, dummy.predict_proba(np.zeros((200, 1))), rtol=1e-6)
    assert found.samples is predictions.samples
    assert score(found)["accuracy"] == np.mean(predictions.samples.labels == 1)
    assert score(found)["roc_auc"] == 0.5


@pytest.mark.parametrize("counts", [{"a": 1}, {"a": 1, "b": 2, "c": 0, "d": 1}, {"a": 0, "b": 0, "c": 0}])
def test_a_baseline_of_other_classes_is_refused_in_words(counts):
    with pytest.raises(InputError, match="train_counts: received"):
        baseline(counts, random_predictions())
