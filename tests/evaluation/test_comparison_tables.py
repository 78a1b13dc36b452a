import numpy as np
import pandas as pd
import pytest
from cells import answers
from tidy import tidy

from tlkeras.evaluation.comparison_tables import (
    comes_from,
    difference_table,
    format_paired_table,
    paired_figures_table,
)
from tlkeras.evaluation.paired import paired_table

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
