from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tidy import COLUMNS, tidy

from tlkeras.evaluation.tables import (
    accuracy_table,
    difference_table,
    format_accuracy_table,
    grid_bars_table,
    grid_table,
    metrics_table,
    to_markdown,
)
from tlkeras.schema import InputError

REPORTED = {(("frozen", "vgg16"), "test", "accuracy"): 84.75, (("frozen", "vgg19"), "test", "accuracy"): 76.118}


@pytest.fixture
def scores():
    return pd.DataFrame(
        [
            ("corrected", "frozen", "vgg16", "test", 0, "accuracy", 0.90),
            ("corrected", "frozen", "vgg16", "test", 1, "accuracy", 0.92),
            ("corrected", "frozen", "vgg16", "test", 0, "accuracy_low", 0.88),
            ("corrected", "frozen", "vgg16", "test", 1, "accuracy_low", 0.90),
            ("corrected", "frozen", "vgg16", "test", 0, "accuracy_high", 0.93),
            ("corrected", "frozen", "vgg16", "test", 1, "accuracy_high", 0.95),
            ("corrected", "tuned", "vgg16", "test", 0, "accuracy", 0.5),
            ("corrected", "frozen", "vgg16", "val", 0, "accuracy", 0.1),
            ("paper", "frozen", "vgg16", "test", 0, "accuracy", 0.2),
            ("corrected", "frozen", "vgg16", "test", 0, "log_loss", 0.3),
        ],
        columns=COLUMNS,
    )


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


def test_nothing_run_yet_still_gives_the_published_column():
    table = table_of(pd.DataFrame([], columns=COLUMNS))
    assert table["frozen"]["published"].tolist() == [84.75, 76.118]
    assert table["frozen"]["ours"].isna().all()


def test_formatted_cells(scores):
    formatted = format_accuracy_table(table_of(scores))
    assert formatted.to_dict("index") == {
        "vgg16": {"frozen": "91.0 ± 1.4 [89.0, 94.0]", "frozen published": "84.75", "tuned": "50.0"},
        "vgg19": {"frozen": "not run", "frozen published": "76.118", "tuned": "not run"},
    }


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
        "accuracy, %, paper": "85.0 [75.0, 95.0]",
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
    assert (row["accuracy, %, paper"], row["accuracy, %, corrected"]) == ("85.0", "80.0 [75.0, 85.0]")


GRID = {"tree_raw": ("tree", "raw"), "tree_scaled": ("tree", "scaled"), "forest_raw": ("forest", "raw")}


def test_the_bars_of_a_two_way_table_stand_as_its_cells_do():
    scores = pd.concat(
        [
            tidy(
                ("tree_raw", "pixels"), "test", accuracy=[(0, 0.5)], accuracy_low=[(0, 0.4)], accuracy_high=[(0, 0.6)]
            ),
            tidy(("forest_raw", "pixels"), "test", accuracy=[(0, 0.7), (1, 0.8)]),
        ]
    )
    reported = {(("tree_scaled", "pixels"), "test", "accuracy"): 57.0}
    one_row = accuracy_table(scores, reported, protocol="corrected", methods=list(GRID), backbones=["pixels"])
    bars = grid_bars_table(one_row, GRID)
    assert list(bars.index) == ["tree", "forest"]
    assert bars.columns.unique("method").tolist() == ["raw", "scaled"]
    assert bars.loc["tree", "raw"].dropna().to_dict() == pytest.approx({"ours": 50, "low": 40, "high": 60})
    assert bars.loc["tree", "scaled"].dropna().to_dict() == {"published": 57}
    assert bars.loc["forest", "raw"].dropna().to_dict() == pytest.approx({"ours": 75, "sd": np.sqrt(50)})
    assert bars.loc["forest", "scaled"].isna().all()
    # The same places, in words.
    assert grid_table(scores, GRID, backbone="pixels").to_dict("index") == {
        "tree": {"raw": "50.0", "scaled": "not run"},
        "forest": {"raw": "75.0 ± 7.1", "scaled": "not run"},
    }


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
