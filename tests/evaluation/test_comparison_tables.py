import numpy as np
import pandas as pd
import pytest
from cells import answers
from tidy import tidy

import tlkeras as tl
from tlkeras.evaluation.comparison_tables import (
    calibration_table,
    comes_from,
    format_paired_table,
    paired_figures_table,
    threshold_table,
)
from tlkeras.evaluation.statistics import paired_table

VGG16, SMALL, TREE = ("frozen", "vgg16"), ("frozen", "mobilenetv2_035"), ("tree", "pixels")
AFTER = {"log_loss_after": [(0, 0.3)], "brier_after": [(0, 0.2)], "ece_after": [(0, 0.05)]}
BEFORE = {"log_loss": [(0, 0.5)], "log_loss_low": [(0, 0.4)], "log_loss_high": [(0, 0.6)], "brier": [(0, 0.25)]}


def test_before_and_after_stand_side_by_side_with_the_temperature():
    scores = pd.concat(
        [
            tidy(VGG16, "val", n=[(0, 1230)], temperature=[(0, 1.256)], log_loss=[(0, 9.0)]),
            tidy(VGG16, "test", **BEFORE, ece=[(0, 0.1)], **AFTER, accuracy=[(0, 0.8)]),
        ]
    )
    table = calibration_table(scores, part="test")
    assert table.index.names == ["method", "backbone"]
    assert table.loc[VGG16].to_dict() == {
        "val images": "1,230",
        "temperature": "1.26",
        "log loss before": "0.500 [0.400, 0.600]",
        "log loss after": "0.300",
        "Brier before": "0.250",
        "Brier after": "0.200",
        "ECE before": "0.100",
        "ECE after": "0.050",
    }


def test_seeds_are_averaged():
    scores = pd.concat(
        [
            tidy(VGG16, "val", temperature=[(0, 1.0), (1, 2.0)]),
            tidy(VGG16, "test", log_loss=[(0, 0.5), (1, 0.7)], log_loss_after=[(0, 0.4), (1, 0.6)]),
        ]
    )
    row = calibration_table(scores, part="test").loc[VGG16]
    # The standard deviation of two numbers is their distance over the root of 2.
    assert row["temperature"] == "1.50 ± 0.71"
    assert (row["log loss before"], row["log loss after"]) == ("0.600 ± 0.141", "0.500 ± 0.141")


def test_a_temperature_that_is_not_defined_leaves_what_is_after_it_undefined():
    scores = pd.concat([tidy(VGG16, "val", temperature=[(0, np.nan)]), tidy(VGG16, "test", **BEFORE)])
    row = calibration_table(scores, part="test").loc[VGG16]
    assert row["temperature"] == row["log loss after"] == row["ECE after"] == "not defined"
    assert row["Brier before"] == "0.250"


def test_cells_without_a_temperature_and_other_parts_are_left_out():
    scores = pd.concat(
        [
            tidy(TREE, "test", **BEFORE),
            tidy(VGG16, "val", temperature=[(0, 1.5)]),
            tidy(VGG16, "test", **BEFORE),
            tidy(SMALL, "val", temperature=[(0, 1.5)]),
            tidy(SMALL, "test2", **BEFORE),
        ]
    )
    assert calibration_table(scores, part="test").index.tolist() == [VGG16]
    assert calibration_table(scores, part="test2").index.tolist() == [SMALL]
    assert calibration_table(tidy(TREE, "test", **BEFORE), part="test") is None


def test_scores_that_hold_a_figure_twice_are_refused():
    scores = tidy(VGG16, "val", temperature=[(0, 1.5)])
    with pytest.raises(tl.InputError, match="1 rows are there twice"):
        calibration_table(pd.concat([scores, scores]), part="test")


ROWS = pd.DataFrame(
    [
        ("a", "b", "accuracy", 0.8, 0.8213, 0.0213, 0.0041, 0.0389, 0.0004, 0.25, 0.0004),
        ("a", "b", "log_loss", 0.5, 0.45, -0.05, -0.1, 0.0, 0.04, np.nan, 0.099),
        ("a", "b", "roc_auc", np.nan, 0.9, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan),
        ("a", "b", "recall_nv", 0.5, 0.5, -0.00001, -0.2, 0.2, 1.0, np.nan, 1.0),
    ],
    columns=[
        "first_method",
        "second_method",
        "metric",
        "first",
        "second",
        "difference",
        "low",
        "high",
        "p",
        "mcnemar_p",
        "p_holm",
    ],
)


def test_figures_are_written_in_their_own_units_and_what_is_not_defined_says_so():
    shown = format_paired_table(ROWS)
    assert shown.index.names == ["first method", "second method", "figure"]
    rows = shown.droplevel([0, 1]).to_dict("index")
    assert rows["accuracy, %"] == {
        "first": "80.0",
        "second": "82.1",
        "difference": "+2.1 [+0.4, +3.9]",
        "p": "< 0.001",
        "p, McNemar": "0.250",
        "p, Holm": "< 0.001",
    }
    assert rows["log loss"] == {
        "first": "0.500",
        "second": "0.450",
        "difference": "-0.050 [-0.100, +0.000]",
        "p": "0.040",
        "p, McNemar": "",  # it is a test of right and wrong
        "p, Holm": "0.099",
    }
    assert rows["ROC AUC"] == {
        "first": "not defined",
        "second": "0.900",
        "difference": "not defined",
        "p": "not defined",
        "p, McNemar": "",
        "p, Holm": "not defined",
    }
    assert rows["recall nv"]["difference"] == "+0.000 [-0.200, +0.200]"  # never -0.000


def test_a_test_that_applies_to_no_row_has_no_column_and_seeds_have_one_where_they_are_told():
    assert list(format_paired_table(ROWS.iloc[[1]]).columns) == ["first", "second", "difference", "p", "p, Holm"]
    told = format_paired_table(ROWS.iloc[[1]].assign(seeds="0, 1"))
    assert next(iter(told.columns)) == "seeds"
    assert told["seeds"].tolist() == ["0, 1"]


def test_parts_are_told_where_there_are_several():
    shown = format_paired_table(pd.concat([ROWS.assign(part="near"), ROWS.assign(part="far")]))
    assert shown.index.names == ["first method", "second method", "part", "figure"]
    assert shown.index.get_level_values("part").tolist() == ["near"] * 4 + ["far"] * 4


def test_what_is_measured_can_be_shown():
    labels = np.arange(8) % 2
    first, second = (answers(labels, np.where(np.arange(8) < n, labels, 1 - labels)) for n in (4, 7))
    (shown,) = format_paired_table(paired_table({"a": first, "b": second})).to_dict("records")
    assert (shown["first"], shown["second"]) == ("50.0", "87.5")
    assert shown["difference"].startswith("+37.5 [")
    # Three images are right in b alone, none in a alone: 2 of 2^3 ways are as far apart, as the binomial test says.
    assert shown["p"] == shown["p, McNemar"] == shown["p, Holm"] == "0.250"


def test_accuracy_stands_at_both_thresholds_beside_the_ranking():
    on_test = {"accuracy": [(0, 0.8)], "accuracy_adjusted": [(0, 0.9)], "balanced_accuracy": [(0, 0.7)]}
    on_test |= {"balanced_accuracy_adjusted": [(0, 0.85)], "roc_auc": [(0, 0.96)]}
    scores = pd.concat(
        [
            tidy(VGG16, "val", threshold=[(0, 0.3)], accuracy=[(0, 0.1)]),
            tidy(VGG16, "test", **on_test),
            tidy(TREE, "test", accuracy=[(0, 0.6)]),
        ]
    )
    table = threshold_table(scores, part="test")
    assert table.to_dict("index") == {
        VGG16: {
            "threshold": "0.300",
            "accuracy, %": "80.0",
            "accuracy, adjusted, %": "90.0",
            "balanced accuracy, %": "70.0",
            "balanced accuracy, adjusted, %": "85.0",
            "ROC AUC": "0.960",
        }
    }
    assert threshold_table(tidy(TREE, "test", accuracy=[(0, 0.6)]), part="test") is None


@pytest.mark.parametrize(
    ("accuracy", "adjusted", "ranking", "words"),
    [
        ((0.1, 0.01), (0.02, 0.5), (0.01, 0.5), "the threshold"),
        ((0.1, 0.01), (-0.08, 0.01), (0.01, 0.5), "the threshold"),
        ((0.1, 0.01), (0.02, 0.01), (0.01, 0.01), "the threshold; the ranking differs, too"),
        ((0.1, 0.01), (0.02, 0.01), (-0.01, 0.01), "the threshold, against the ranking"),
        ((0.1, 0.01), (0.08, 0.01), (0.01, 0.5), "the threshold, also as validation sets it"),
        ((0.1, 0.01), (0.08, 0.01), (-0.01, 0.01), "the threshold, also as validation sets it"),
        ((0.1, 0.01), (0.08, 0.2), (0.01, 0.05), "the ranking"),
        ((0.1, 0.01), None, (0.01, 0.01), "the ranking, as far as is known"),
        ((0.1, 0.01), None, (-0.01, 0.01), "the threshold, against the ranking"),
        ((0.1, 0.01), None, (0.01, 0.5), "no difference in ranking is shown"),
        ((0.1, 0.2), (0.1, 0.2), (0.01, 0.01), "no difference in accuracy is shown, but one in ranking"),
        ((0.1, 0.2), None, (0.01, 0.2), "no difference is shown"),
        ((0.1, np.nan), None, (0.01, 0.2), "not tested"),
        ((0.1, 0.2), None, (np.nan, np.nan), "not tested"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_what_a_difference_comes_from(accuracy, adjusted, ranking, words, sign):
    found = {"accuracy": accuracy, "accuracy_adjusted": adjusted, "roc_auc": ranking}
    found = {name: (sign * value[0], value[1]) for name, value in found.items() if value is not None}
    of_pair = pd.DataFrame.from_dict(found, orient="index", columns=["difference", "p_holm"])
    assert comes_from(of_pair) == words


def test_a_pair_is_one_line_with_all_figures():
    of_pair = ROWS.iloc[[0, 0]].assign(metric=["accuracy", "roc_auc"], seeds="0", groups=428.0)
    of_pair.loc[:, "p_holm"] = [0.01, 0.2]
    shown = paired_figures_table(of_pair)
    assert shown.to_dict("index") == {
        ("a", "b"): {
            "seeds": "0",
            "groups": "428",
            "accuracy, %": "+2.1 [+0.4, +3.9]",
            "p, Holm, accuracy": "0.010",
            "ROC AUC": "+0.021 [+0.004, +0.039]",
            "p, Holm, ROC AUC": "0.200",
            "comes from": "no difference in ranking is shown",
        }
    }
