from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tidy import COLUMNS, tidy, with_means

from tlkeras.errors import InputError
from tlkeras.evaluation.tables import (
    accuracy_table,
    difference_table,
    format_accuracy_table,
    metrics_table,
    to_markdown,
)

REPORTED = {(("frozen", "vgg16"), "test", "accuracy"): 84.75, (("frozen", "vgg19"), "test", "accuracy"): 76.118}


@pytest.fixture
def scores():
    rows = pd.DataFrame(
        [
            ("corrected", "frozen", "vgg16", "test", 0, "accuracy", 0.90, 0.88, 0.93),
            ("corrected", "frozen", "vgg16", "test", 1, "accuracy", 0.92, 0.90, 0.95),
            ("corrected", "tuned", "vgg16", "test", 0, "accuracy", 0.5, np.nan, np.nan),
            ("corrected", "frozen", "vgg16", "val", 0, "accuracy", 0.1, 0.0, 0.2),
            ("paper", "frozen", "vgg16", "test", 0, "accuracy", 0.2, 0.1, 0.3),
            ("corrected", "frozen", "vgg16", "test", 0, "log_loss", 0.3, np.nan, np.nan),
        ],
        columns=COLUMNS,
    )
    return with_means(rows)


def table_of(scores):
    return accuracy_table(
        scores, REPORTED, protocol="corrected", methods=["frozen", "tuned"], backbones=["vgg16", "vgg19"]
    )


def test_means_over_seeds_of_one_protocol_and_part_in_percent(scores):
    table = table_of(scores)
    assert list(table.index) == ["vgg16", "vgg19"]
    assert table.loc["vgg16", "frozen"].to_dict() == pytest.approx(
        {"ours": 91, "sd": np.sqrt(2), "low": 89, "high": 94, "published": 84.75}
    )
    assert (table.dtypes == np.float64).all()


def test_what_was_not_run_or_not_published_is_nan(scores):
    table = table_of(scores)
    assert table.loc["vgg19", ("frozen", "published")] == 76.118
    assert table.loc["vgg19", "tuned"].isna().all()
    assert table.loc["vgg16", "tuned"].dropna().to_dict() == {"ours": 50}


def test_the_interval_of_a_mean_is_shown_only_of_the_seeds_it_is_over(scores):
    one_left_out = scores[(scores["seed"] == 0) | (scores["metric"] != "accuracy")]
    assert table_of(one_left_out).loc["vgg16", ("frozen", "low")] == 88  # a single seed has its own
    of_three = scores.assign(seeds=3)
    assert np.isnan(table_of(of_three).loc["vgg16", ("frozen", "low")])
    assert table_of(of_three).loc["vgg16", ("tuned", "ours")] == 50


def test_nothing_run_yet_still_gives_the_published_column():
    table = table_of(pd.DataFrame([], columns=COLUMNS))
    assert table["frozen"]["published"].tolist() == [84.75, 76.118]
    assert table["frozen"]["ours"].isna().all()


def test_formatted_cells(scores):
    formatted = format_accuracy_table(table_of(scores))
    assert formatted.to_dict("index") == {
        "vgg16": {"frozen": "91.0 ± 1.4 [89.0, 94.0]", "frozen published": "84.75", "frozen difference": "+6.2"}
        | {"tuned": "50.0"},
        "vgg19": {"frozen": "not run", "frozen published": "76.118", "frozen difference": "", "tuned": "not run"},
    }
    with_baseline = format_accuracy_table(table_of(scores), "62.5 [57.0, 67.4]").loc["majority class"]
    assert with_baseline.tolist() == ["62.5 [57.0, 67.4]", "", "", "62.5 [57.0, 67.4]"]


def test_every_metric_with_its_spread_and_what_is_not_defined():
    seeds = lambda *values: list(enumerate(values))  # noqa: E731
    scores = tidy(
        ("frozen", "vgg16"),
        "test",
        accuracy=seeds(0.90, 0.92),
        accuracy_low=seeds(0.88, 0.90),
        accuracy_high=seeds(0.93, 0.95),
        macro_f1=seeds(0.5, np.nan),
        log_loss=seeds(0.25, 0.25),
    )
    table = metrics_table(scores, metrics=("accuracy", "macro_f1", "log_loss"))
    assert table.to_dict("index") == {
        ("corrected", "frozen", "vgg16"): {
            "seeds": "2",
            "accuracy, %": "91.0 ± 1.4 [89.0, 94.0]",
            "macro F1": "not defined",
            "log loss": "0.250 ± 0.000",
        }
    }


def both_protocols(cell=("all", "vgg16"), **metrics):
    """{metric: ((paper, seed by seed), (corrected, seed by seed))} as scores."""
    return pd.concat(
        tidy(cell, "test", **{name: list(enumerate(values[place])) for name, values in metrics.items()}).assign(
            protocol=protocol
        )
        for place, protocol in enumerate(("paper", "corrected"))
    )


WORSE_AND_BETTER = {
    "accuracy": ((0.9, 0.8), (0.80,)),
    "accuracy_low": ((0.8, 0.7), (0.75,)),
    "accuracy_high": ((1.0, 0.9), (0.85,)),
    "balanced_accuracy": ((0.5, 0.6), (0.60,)),
    "macro_f1": ((0.5, 0.5), (0.4375,)),
    "roc_auc": ((0.9, 0.9), (0.90,)),
}


def differences(scores, words="split", cell=("all", "vgg16")):
    (row,) = difference_table(scores, ("paper", "corrected"), {cell: words}).to_dict("index").values()
    return row


def test_a_difference_is_the_second_protocol_minus_the_first():
    scores = both_protocols(**WORSE_AND_BETTER)
    assert differences(
        pd.concat([scores, scores.assign(part="val", value=0.0)]), "split: by image, then by lesion"
    ) == {
        "seeds": "2 / 1",
        "accuracy, %, paper": "85.0 ± 7.1 [75.0, 95.0]",
        "accuracy, %, corrected": "80.0 [75.0, 85.0]",
        "accuracy, points, corrected minus paper": "-5.0",
        "balanced accuracy, points, corrected minus paper": "+5.0",
        "macro F1, corrected minus paper": "-0.062",
        "ROC AUC, corrected minus paper": "+0.000",
        "what differs": "split: by image, then by lesion",
    }


def test_only_the_cells_that_are_named_are_compared():
    scores = pd.concat(
        [both_protocols(cell, **WORSE_AND_BETTER) for cell in [("a", "one"), ("b", "one"), ("a", "two")]]
    )
    named = {("b", "one"): "x", ("a", "one"): "nothing"}
    table = difference_table(scores, ("paper", "corrected"), named)
    assert table.index.tolist() == list(named)
    assert table["what differs"].tolist() == ["x", "nothing"]


@pytest.mark.parametrize("paper", [(np.nan, np.nan), (0.9, np.nan)], ids=["no seed", "one seed of two"])
def test_a_difference_to_what_is_not_defined_is_not_defined(paper):
    # A mean over fewer seeds is another figure.
    scores = both_protocols(**WORSE_AND_BETTER | {"macro_f1": ((0.5, 0.5), (np.nan,)), "roc_auc": (paper, (0.9,))})
    row = differences(scores)
    assert row["macro F1, corrected minus paper"] == "not defined"
    assert row["ROC AUC, corrected minus paper"] == "not defined"
    assert row["accuracy, points, corrected minus paper"] == "-5.0"


def test_an_accuracy_without_an_interval_stands_alone():
    without = {"accuracy_low": ((np.nan, np.nan), (0.75,)), "accuracy_high": ((np.nan, np.nan), (0.85,))}
    row = differences(both_protocols(**WORSE_AND_BETTER | without))
    assert (row["accuracy, %, paper"], row["accuracy, %, corrected"]) == ("85.0 ± 7.1", "80.0 [75.0, 85.0]")


def test_a_missing_column_and_a_repeated_score_are_refused(scores):
    with pytest.raises(InputError, match=r"\['seed'\] are missing"):
        table_of(scores.drop(columns="seed"))
    with pytest.raises(InputError, match="1 rows are there twice"):
        table_of(pd.concat([scores, scores.iloc[:1]]))


def test_markdown_is_aligned_and_escaped():
    frame = pd.DataFrame(
        {"a|b": ["x|y", None], "n": [1, 20], "share": [0.5, np.nan]}, index=pd.Index(["r1", "r2"], name="row")
    )
    assert to_markdown(frame) == (
        "| row | a\\|b |   n | share |\n"
        "| --- | ---- | --: | ----: |\n"
        "| r1  | x\\|y |   1 | 0.500 |\n"
        "| r2  |      |  20 |       |\n"
    )


def test_markdown_joins_column_levels_and_keeps_every_index_level():
    frame = pd.DataFrame(
        [[1.0]],
        index=pd.MultiIndex.from_tuples([("p", "q")], names=["protocol", None]),
        columns=pd.MultiIndex.from_tuples([("frozen", "ours")]),
    )
    assert to_markdown(frame).splitlines() == [
        "| protocol |     | frozen ours |",
        "| -------- | --- | ----------: |",
        "| p        | q   |       1.000 |",
    ]
