from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from liang2024_parts import parts_table
from tidy import tidy

from tlkeras.errors import InputError

BASELINE = ("baseline", "resnet18")
PARTS = {"test1": "Test data 1", "test2": "Test data 2"}
PARTS_PRINTED = {
    (BASELINE, "test1", "accuracy"): 91.4,
    (BASELINE, "test1", "precision"): 0.938,
    (BASELINE, "test1", "recall"): 0.909,
    (BASELINE, "test1", "f1_tumor"): 0.923,
    (BASELINE, "test2", "accuracy"): 75.0,
}


def figures(**metrics):
    return tidy(BASELINE, "test1", **{name: list(enumerate(values)) for name, values in metrics.items()})


def parts(scores, printed=PARTS_PRINTED):
    return parts_table(scores, BASELINE, titles=PARTS, positive_class="tumor", printed=printed)


def test_a_row_per_part_with_the_printed_figure_in_brackets():
    scores = figures(
        n=[58, 58],
        accuracy=[0.90, 0.92],
        accuracy_low=[0.8, 0.84],
        accuracy_high=[0.96, 0.98],
        precision=[0.93, 0.95],
        sensitivity=[0.9, 0.9],
        f1_tumor=[0.91, 0.91],
        f1_normal=[0.1, 0.1],
    )
    table = parts(scores)
    assert table.index.tolist() == ["Test data 1", "Test data 2"]
    assert table.loc["Test data 1"].to_dict() == {
        "images": "58",
        "Accuracy (published)": "0.910 ± 0.014 [0.820, 0.970] (0.914)",
        "Precision (published)": "0.940 ± 0.014 (0.938)",
        "Recall (published)": "0.900 ± 0.000 (0.909)",
        "F1 Score (published)": "0.910 ± 0.000 (0.923)",
    }
    assert table.loc["Test data 2"].tolist() == ["", "not run (0.750)", "not run", "not run", "not run"]


def test_figures_of_the_positive_class_by_its_name_and_parts_of_several_sizes():
    scores = figures(n=[58, 60], accuracy=[1.0, 1.0], precision_tumor=[1.0, np.nan], recall_tumor=[0.5, 0.5])
    table = parts(scores, printed={})
    assert table.loc["Test data 1"].to_dict() == {
        "images": "58 or 60",
        "Accuracy": "1.000 ± 0.000",
        "Precision": "not defined",
        "Recall": "0.500 ± 0.000",
        "F1 Score": "not defined",
    }


def test_a_missing_column_and_a_score_that_is_there_twice_are_refused():
    scores = figures(accuracy=[0.9])
    with pytest.raises(InputError, match="'seed'"):
        parts(scores.drop(columns="seed"))
    with pytest.raises(InputError, match="1 rows are there twice"):
        parts(pd.concat([scores, scores]))
