from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tidy import COLUMNS, tidy

from tlkeras.errors import InputError
from tlkeras.evaluation.blocks import to_markdown
from tlkeras.evaluation.printed_figures import (
    figure_in_words,
    format_printed_figures_table,
    printed_figures_table,
)

KNN, SVM = ("knn", "resnet18"), ("svm", "resnet18")
PRINTED = {
    (KNN, "test", "accuracy"): 95.0,
    (KNN, "test", "precision_Gland"): 0.88,
    (KNN, "test", "f1_Gland"): 0.9,
    (KNN, "test", "confused_Tumor_as_Gland"): 37,
    (SVM, "test", "accuracy"): 98.0,
    (SVM, "test", "precision_Tumor"): 1.0,
}


@pytest.fixture
def scores():
    return tidy(
        KNN,
        "test",
        accuracy=[(0, 0.94), (1, 0.98)],
        accuracy_low=[(0, 0.92), (1, 0.96)],
        accuracy_high=[(0, 0.95), (1, 0.99)],
        precision_Gland=[(0, 0.9), (1, 0.91)],
        f1_Gland=[(0, 0.9), (1, np.nan)],
        confused_Tumor_as_Gland=[(0, 30), (1, 31)],
    )


def row(table, metric, cell=KNN, part="test"):
    return table.loc[(*cell, part, metric)]


def test_every_printed_figure_has_ours_and_the_difference_in_its_units(scores):
    table = printed_figures_table(scores, PRINTED)
    assert table.index.tolist() == [(*cell, part, metric) for cell, part, metric in PRINTED]
    assert row(table, "accuracy").to_dict() == pytest.approx(
        {
            "published": 95,
            "ours": 96,
            "sd": np.sqrt(8),  # of 94 and 98
            "low": 94,
            "high": 97,
            "difference": 1,
            "seeds": 2,
        }
    )
    precision = row(table, "precision_Gland")
    assert precision[["ours", "difference"]].tolist() == pytest.approx([0.905, 0.025])
    assert precision[["low", "high"]].isna().all()
    assert row(table, "confused_Tumor_as_Gland")["difference"] == -6.5
    assert table["seeds"].dtype == np.int64


def test_not_run_and_not_defined_are_two_things(scores):
    table = printed_figures_table(scores, PRINTED)
    assert np.isnan(row(table, "f1_Gland")["ours"])  # one of two seeds has no value: the mean is not the other's
    formatted = format_printed_figures_table(table)["ours"]
    assert formatted[*KNN, "test", "F1, Gland"] == "not defined"
    assert formatted[*SVM, "test", "accuracy, %"] == "not run"
    other_classes = printed_figures_table(tidy(SVM, "test", accuracy=[(0, 0.5)]), PRINTED)
    assert format_printed_figures_table(other_classes)["ours"][*SVM, "test", "precision, Tumor"] == "not defined"


def test_formatted_for_the_page(scores):
    formatted = format_printed_figures_table(printed_figures_table(scores, PRINTED))
    assert formatted.index.names == ["method", "backbone", "part", "figure"]
    assert {key[3]: tuple(values) for key, values in zip(formatted.index, formatted.to_numpy(), strict=True)} == {
        "accuracy, %": ("98.0", "not run", ""),  # the SVM's, which comes last
        "precision, Gland": ("0.88", "0.905 ± 0.007", "+0.025"),
        "F1, Gland": ("0.90", "not defined", ""),  # two decimals as its neighbours
        "Tumor called Gland, images": ("37", "30.5 ± 0.7", "-6.5"),
        "precision, Tumor": ("1.00", "not run", ""),
    }
    assert formatted.loc[(*KNN, "test", "accuracy, %")].tolist() == ["95.0", "96.0 ± 2.8 [94.0, 97.0]", "+1.0"]
    assert to_markdown(formatted).count("\n") == 2 + len(PRINTED)


def test_digits_that_were_printed_are_kept_and_shown_of_ours_too():
    net = ("scratch", "resnet18")
    printed = {
        (net, "test", "macro_precision"): 0.9834,
        (net, "test", "macro_f1"): 0.98,
        (net, "test", "loss"): 0.0532,
        (net, "test", "accuracy"): 98.33,
        (net, "model", "parameters"): 11_178_051,
    }
    scores = pd.concat(
        [
            tidy(net, "test", macro_precision=[(0, 0.98337)], macro_f1=[(0, 0.97)], log_loss=[(0, 0.06)]),
            tidy(net, "model", parameters=[(0, 11_178_051)]),
        ]
    )
    formatted = format_printed_figures_table(printed_figures_table(scores, printed)).droplevel(["method", "backbone"])
    assert formatted.loc["test", "published"].to_dict() == {
        "macro precision": "0.9834",
        "macro F1": "0.9800",
        "loss": "0.0532",
        "accuracy, %": "98.33",
    }
    assert formatted.loc[("test", "macro precision")].tolist() == ["0.9834", "0.9834", "+0.0000"]  # and not -0.0000
    assert formatted.loc[("test", "loss"), "ours"] == "0.060"
    assert formatted.loc[("model", "parameters")].tolist() == ["11,178,051", "11,178,051", "+0"]


@pytest.mark.parametrize(
    ("metric", "printed", "scored", "value", "ours"),
    [
        ("recall", 0.9, "sensitivity", 0.8, 0.8),
        ("sensitivity", 0.9, "recall", 0.8, 0.8),
        ("loss", 0.9, "log_loss", 0.8, 0.8),
        ("micro_f1", 0.9, "accuracy", 0.8, 0.8),
        ("macro_recall", 0.9, "balanced_accuracy", 0.8, 0.8),
        ("balanced_accuracy", 90, "balanced_accuracy", 0.8, 80),
    ],
)
def test_one_figure_under_two_names(metric, printed, scored, value, ours):
    table = printed_figures_table(tidy(KNN, "test", **{scored: [(0, value)]}), {(KNN, "test", metric): printed})
    assert row(table, metric)["ours"] == pytest.approx(ours)


def test_its_own_name_comes_first():
    scores = tidy(KNN, "train", log_loss=[(0, 0.2)], loss=[(0, 0.7)])
    assert row(printed_figures_table(scores, {(KNN, "train", "loss"): 1.0}), "loss", part="train")["ours"] == 0.7


def test_nothing_run_and_nothing_printed_are_tables_too(scores):
    nothing_run = printed_figures_table(pd.DataFrame([], columns=COLUMNS), PRINTED)
    assert (format_printed_figures_table(nothing_run)["ours"] == "not run").all()
    assert len(format_printed_figures_table(printed_figures_table(scores, {}))) == 0


def test_scores_of_several_protocols_are_refused(scores):
    both = pd.concat([scores, scores.assign(protocol="paper", value=0.5)])
    with pytest.raises(InputError, match=r"scores: received the protocols \['corrected', 'paper'\]"):
        printed_figures_table(both, PRINTED)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("accuracy", "accuracy, %"),
        ("recall_lung_aca", "recall, lung_aca"),
        ("macro_recall", "macro recall"),
        ("recall", "recall"),
        ("f1", "F1"),
        ("micro_f1", "micro F1"),
        ("confused_lung_n_as_lung_aca", "lung_n called lung_aca, images"),
    ],
)
def test_figures_in_words(metric, words):
    assert figure_in_words(metric) == words
