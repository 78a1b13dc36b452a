from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tidy import tidy

from tlkeras.errors import InputError
from tlkeras.evaluation import comparison_tables, printed_figures, printed_tables, score_tables
from tlkeras.evaluation.tables import as_printed, by_cell, counts_in_words, measured, over_seeds

CELL = ("frozen", "vgg16")


@pytest.fixture
def scores():
    ends = {"accuracy_low": [(0, 0.88), (1, 0.90)], "accuracy_high": [(0, 0.93), (1, 0.95)]}
    return tidy(CELL, "test", accuracy=[(0, 0.90), (1, 0.92)], macro_f1=[(0, 0.5), (1, np.nan)], **ends)


def test_a_cell_has_its_rows_by_metric_with_every_measured_column(scores):
    figures = by_cell(scores.drop(columns=["low", "seeds_low"]), "method", "backbone")[CELL]
    assert list(figures) == ["accuracy", "macro_f1"]
    assert figures["accuracy"]["value"].tolist() == [0.90, 0.92]
    assert figures["accuracy"][["low", "groups"]].isna().all(axis=None)


def test_mean_deviation_and_the_interval_of_the_mean_over_the_seeds_it_was_made_of(scores):
    rows = by_cell(scores, "method", "backbone")[CELL]["accuracy"]
    assert over_seeds(rows, 100) == pytest.approx((91, np.sqrt(2), 89, 94))
    assert over_seeds(rows.assign(seeds=3), 100) == pytest.approx((91, np.sqrt(2), np.nan, np.nan), nan_ok=True)
    assert over_seeds(rows.iloc[:1], 100) == pytest.approx((90, np.nan, 88, 93), nan_ok=True)  # one has its own
    assert np.isnan(over_seeds(None)).all()


def test_a_figure_for_the_eye_and_one_that_a_seed_leaves_undefined(scores):
    figures = by_cell(scores, "method", "backbone")[CELL]
    assert measured(figures, "accuracy") == "91.0 ± 1.4 [89.0, 94.0]"
    assert measured(figures, "accuracy", factor=1, form=".3f") == "0.910 ± 0.014 [0.890, 0.940]"
    assert measured(figures, "macro_f1") == measured(figures, "kappa") == "not defined"


def test_digits_as_printed_and_counts_in_words():
    found = [as_printed(value, metric) for value, metric in ((84.75, "accuracy"), (70, "accuracy"), (0.9, "loss"))]
    assert found == ["84.75", "70.0", "0.900"]
    assert (as_printed(4_880_967, "parameters"), as_printed(None, "loss")) == ("4,880,967", "")
    assert counts_in_words([1495, 1494, np.nan, 1494]) == "1,494 or 1,495"


@pytest.mark.parametrize(
    "table_of",
    [
        score_tables.metrics_table,
        lambda scores: score_tables.calibration_table(scores, part="test"),
        lambda scores: score_tables.threshold_table(scores, part="test"),
        score_tables.epochs_table,
        lambda scores: score_tables.two_way_table(scores, {}, backbone="vgg16"),
        lambda scores: printed_tables.accuracy_table(scores, {}, protocol="corrected", methods=[], backbones=[]),
        lambda scores: printed_tables.results_table(scores, {}, names={}),
        lambda scores: printed_figures.printed_figures_table(scores, {}),
        lambda scores: comparison_tables.difference_table(scores, ("paper", "corrected"), {}),
    ],
)
def test_every_table_refuses_a_missing_column_and_a_score_that_is_there_twice(table_of, scores):
    with pytest.raises(InputError, match="'seed'"):
        table_of(scores.drop(columns="seed"))
    with pytest.raises(InputError, match="1 rows are there twice"):
        table_of(pd.concat([scores, scores.iloc[:1]]))
