from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tlkeras.evaluation.tables import (
    accuracy_table,
    format_accuracy_table,
    metrics_table,
    results_table,
    to_markdown,
)
from tlkeras.schema import InputError

COLUMNS = ["protocol", "method", "backbone", "part", "seed", "metric", "value"]
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


def tidy(cell, part, **metrics):
    return pd.DataFrame(
        [
            ("corrected", *cell, part, seed, metric, value)
            for metric, values in metrics.items()
            for seed, value in values
        ],
        columns=COLUMNS,
    )


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
    reported = {
        (cell, "test", "accuracy"): 70.41,
        (cell, "test", "log_loss"): 0.9,
        (other, "model", "parameters"): 4_880_967,
    }
    reported |= {(("frozen", "resnet50"), "test", "accuracy"): 79.82}  # `accuracy_table` shows that
    table = results_table(scores, reported, names={cell: "Exp 1"})
    ours, published, not_run = (dict(row[1]) for row in table.iterrows())
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
    assert {title: text for title, text in published.items() if text} == {
        "test accuracy, %": "70.41",
        "test log loss": "0.900",
    }
    assert not_run["parameters"] == "4,880,967"


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
