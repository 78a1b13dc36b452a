from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tidy import COLUMNS, tidy, with_means

from tlkeras.evaluation.printed_tables import (
    accuracy_table,
    format_accuracy_table,
    results_table,
    two_way_bars,
)

PRINTED = {(("frozen", "vgg16"), "test", "accuracy"): 84.75, (("frozen", "vgg19"), "test", "accuracy"): 76.118}


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


def accuracy_of(scores):
    return accuracy_table(
        scores, PRINTED, protocol="corrected", methods=["frozen", "tuned"], backbones=["vgg16", "vgg19"]
    )


def test_means_over_seeds_of_one_protocol_and_part_in_percent(scores):
    table = accuracy_of(scores)
    assert list(table.index) == ["vgg16", "vgg19"]
    assert table.loc["vgg16", "frozen"].to_dict() == pytest.approx(
        {"ours": 91, "sd": np.sqrt(2), "low": 89, "high": 94, "published": 84.75}
    )
    assert (table.dtypes == np.float64).all()


def test_what_was_not_run_or_not_printed_is_nan(scores):
    table = accuracy_of(scores)
    assert table.loc["vgg19", ("frozen", "published")] == 76.118
    assert table.loc["vgg19", "tuned"].isna().all()
    assert table.loc["vgg16", "tuned"].dropna().to_dict() == {"ours": 50}


def test_nothing_run_yet_still_gives_the_printed_column():
    table = accuracy_of(pd.DataFrame([], columns=COLUMNS))
    assert table["frozen"]["published"].tolist() == [84.75, 76.118]
    assert table["frozen"]["ours"].isna().all()


def test_formatted_cells(scores):
    formatted = format_accuracy_table(accuracy_of(scores))
    assert formatted.to_dict("index") == {
        "vgg16": {"frozen": "91.0 ± 1.4 [89.0, 94.0]", "frozen published": "84.75", "frozen difference": "+6.2"}
        | {"tuned": "50.0"},
        "vgg19": {"frozen": "not run", "frozen published": "76.118", "frozen difference": "", "tuned": "not run"},
    }
    with_baseline = format_accuracy_table(accuracy_of(scores), "62.5 [57.0, 67.4]").loc["majority class"]
    assert with_baseline.tolist() == ["62.5 [57.0, 67.4]", "", "", "62.5 [57.0, 67.4]"]


def test_the_bars_of_a_two_way_table_stand_as_its_cells_do():
    places = {"tree_raw": ("tree", "raw"), "tree_scaled": ("tree", "scaled"), "forest_raw": ("forest", "raw")}
    scores = pd.concat(
        [
            tidy(
                ("tree_raw", "pixels"), "test", accuracy=[(0, 0.5)], accuracy_low=[(0, 0.4)], accuracy_high=[(0, 0.6)]
            ),
            tidy(("forest_raw", "pixels"), "test", accuracy=[(0, 0.7), (1, 0.8)]),
        ]
    )
    printed = {(("tree_scaled", "pixels"), "test", "accuracy"): 57.0}
    one_row = accuracy_table(scores, printed, protocol="corrected", methods=list(places), backbones=["pixels"])
    bars = two_way_bars(one_row, places)
    assert list(bars.index) == ["tree", "forest"]
    assert bars.columns.unique("method").tolist() == ["raw", "scaled"]
    assert bars.loc["tree", "raw"].dropna().to_dict() == pytest.approx({"ours": 50, "low": 40, "high": 60})
    assert bars.loc["tree", "scaled"].dropna().to_dict() == {"published": 57}
    assert bars.loc["forest", "raw"].dropna().to_dict() == pytest.approx({"ours": 75, "sd": np.sqrt(50)})
    assert bars.loc["forest", "scaled"].isna().all()


def test_a_documents_figures_stand_below_ours():
    cell, other = ("frozen", "vgg16"), ("frozen", "vgg19")
    scores = pd.concat(
        [
            tidy(cell, "model", parameters=[(0, 1234)], trainable_parameters=[(0, 34)], seconds=[(0, 9.6)]),
            tidy(cell, "train", accuracy=[(0, 0.5)], loss=[(0, 0.7)]),
            tidy(cell, "val", accuracy=[(0, 0.6)], log_loss=[(0, 0.8)]),
            tidy(cell, "test", accuracy=[(0, 0.61)], log_loss=[(0, 0.81)]),
        ]
    )
    printed = {
        (cell, "test", "accuracy"): 70.41,
        (cell, "test", "log_loss"): 0.9,
        (other, "model", "parameters"): 4_880_967,
    }
    printed |= {(("frozen", "resnet50"), "test", "accuracy"): 79.82}  # `accuracy_table` shows that
    table = results_table(scores, printed, names={cell: "Exp 1"})
    ours, theirs, not_run = (dict(row[1]) for row in table.iterrows())
    assert table.index.tolist() == [
        ("Exp 1", *cell, "ours"),
        ("Exp 1", *cell, "published"),
        ("", *other, "published; not run"),
    ]
    assert ours == {
        "trainable parameters, phase 1": "34",
        "parameters": "1,234",
        "train accuracy, %": "50.0",
        "train loss": "0.700",
        "val accuracy, %": "60.0",
        "val log loss": "0.800",
        "test accuracy, %": "61.0",
        "test log loss": "0.810",
        "run time, s": "10",
        "peak memory, MB": "",
    }
    assert {title: text for title, text in theirs.items() if text} == {
        "test accuracy, %": "70.41",
        "test log loss": "0.900",
    }
    assert not_run["parameters"] == "4,880,967"
