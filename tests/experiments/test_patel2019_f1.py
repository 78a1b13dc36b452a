from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from patel2019_f1 import averages_table, f1_table, format_f1_table
from tidy import tidy

from tlkeras.errors import InputError
from tlkeras.evaluation.plots import new_figure
from tlkeras.evaluation.table_plots import draw_accuracy_bars

VGG16, STAND_IN, TREE = ("all", "vgg16"), ("all", "mobilenetv2"), ("tree", "pixels")
F1_PRINTED = {
    (VGG16, "test", "f1_df"): 0.0,
    (VGG16, "test", "f1_nv"): 0.9,
    (VGG16, "test", "micro_f1"): 0.81,
    (VGG16, "test", "macro_f1"): 0.6,
    (TREE, "test", "micro_f1"): 0.57,
    (TREE, "val", "f1_nv"): 0.99,
}
F1_COLUMNS = {"all (vgg16)": (VGG16, VGG16), "all (mobilenetv2)": (STAND_IN, VGG16), "tree": (TREE, TREE)}


def of_seeds(cell, part="test", **metrics):
    return tidy(cell, part, "paper", **{name: list(enumerate(values)) for name, values in metrics.items()})


@pytest.fixture
def f1_scores():
    """Two seeds of the document's network, one of a stand-in whose test part holds no df, none of the tree."""
    return pd.concat(
        [
            of_seeds(
                VGG16,
                accuracy=(0.7, 0.8), accuracy_low=(0.6, 0.7), accuracy_high=(0.75, 0.95),
                macro_f1=(0.4, 0.5), f1_df=(0.0, 0.2), f1_nv=(0.8, 0.8), f1_nv_low=(0.7, 0.8), f1_nv_high=(0.9, 0.8),
            ),
            of_seeds(VGG16, part="val", accuracy=(0.1, 0.1), f1_df=(1.0, 1.0)),
            of_seeds(
                STAND_IN,
                accuracy=(0.65,), accuracy_low=(0.6,), accuracy_high=(0.7,),
                macro_f1=(np.nan,), f1_df=(np.nan,), f1_nv=(0.0,),
            ),
        ]
    )  # fmt: skip


def f1_of(scores):
    return f1_table(scores, F1_PRINTED, columns=F1_COLUMNS, class_names=["nv", "df"])


def row_of(table, name, column):
    return table.loc[name, column].dropna().to_dict()


def test_rows_of_f1_are_the_classes_in_their_order_then_micro_and_macro(f1_scores):
    table = f1_of(f1_scores)
    assert list(table.index) == ["nv", "df", "micro average", "macro average"]
    assert table.columns.unique("method").tolist() == list(F1_COLUMNS)
    assert (table.dtypes == np.float64).all()


def test_f1_is_the_mean_over_the_seeds_of_one_part(f1_scores):
    table = f1_of(f1_scores)
    assert row_of(table, "df", "all (vgg16)") == pytest.approx({"ours": 0.1, "sd": np.sqrt(0.02), "published": 0})
    assert row_of(table, "nv", "all (vgg16)") == pytest.approx(
        {"ours": 0.8, "sd": 0, "low": 0.75, "high": 0.85, "published": 0.9}
    )
    assert row_of(table, "macro average", "all (vgg16)") == pytest.approx(
        {"ours": 0.45, "sd": np.sqrt(0.005), "published": 0.6}
    )


def test_the_micro_average_is_accuracy_with_its_interval(f1_scores):
    table = f1_of(f1_scores)
    assert row_of(table, "micro average", "all (vgg16)") == pytest.approx(
        {"ours": 0.75, "sd": np.sqrt(0.005), "low": 0.65, "high": 0.85, "published": 0.81}
    )
    assert row_of(table, "micro average", "all (mobilenetv2)") == pytest.approx(
        {"ours": 0.65, "low": 0.6, "high": 0.7, "published": 0.81}
    )


def test_a_stand_in_stands_beside_the_values_of_the_documents_network(f1_scores):
    table = f1_of(f1_scores)
    published = table.xs("published", axis=1, level="figure")
    pd.testing.assert_series_equal(published["all (vgg16)"], published["all (mobilenetv2)"], check_names=False)
    assert published["tree"].dropna().to_dict() == {"micro average": 0.57}


def test_for_the_eye_ours_stands_below_what_was_printed(f1_scores):
    formatted = format_f1_table(f1_of(f1_scores))
    assert formatted.index.tolist() == [
        ("nv", "published"),
        ("nv", "ours"),
        ("df", "published"),
        ("df", "ours"),
        ("micro average", "published"),
        ("micro average", "ours"),
        ("macro average", "published"),
        ("macro average", "ours"),
    ]
    assert formatted["all (vgg16)"].tolist() == [
        "0.90",
        "0.800 ± 0.000 [0.750, 0.850]",
        "0.00",
        "0.100 ± 0.141",
        "0.81",
        "0.750 ± 0.071 [0.650, 0.850]",
        "0.60",
        "0.450 ± 0.071",
    ]
    # An F1 of 0 is one; a class that no test image has is not, nor is a mean over it.
    assert formatted.xs("ours", level=1)["all (mobilenetv2)"].tolist() == [
        "0.000",
        "not defined",
        "0.650 [0.600, 0.700]",
        "not defined",
    ]
    assert formatted["tree"].tolist() == ["", "not run", "", "not run", "0.57", "not run", "", "not run"]


def test_a_row_that_is_nowhere_printed_has_no_line_for_it(f1_scores):
    table = f1_table(f1_scores, {}, columns=F1_COLUMNS, class_names=["nv"])
    assert format_f1_table(table).index.tolist() == [(name, "ours") for name in table.index]


def test_nothing_run_yet_still_gives_what_was_printed(f1_scores):
    table = f1_of(f1_scores.iloc[:0])
    assert table.xs("ours", axis=1, level="figure").isna().all(axis=None)
    assert table.loc["nv", ("all (vgg16)", "published")] == 0.9
    assert set(format_f1_table(table).xs("ours", level=1).to_numpy().ravel()) == {"not run"}


def test_the_averages_are_drawn_as_bars_in_percent(f1_scores):
    averages = averages_table(f1_of(f1_scores))
    assert list(averages.index) == list(F1_COLUMNS)
    assert averages.loc["all (vgg16)", "micro average"].to_dict() == pytest.approx(
        {"ours": 75, "sd": 100 * np.sqrt(0.005), "low": 65, "high": 85, "published": 81}
    )
    ax = draw_accuracy_bars(averages, new_figure(6, 4)[1], ylabel="F1, %")
    heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
    assert heights[0] == pytest.approx([75, 65])  # micro; of the third row nothing was run
    assert heights[1] == pytest.approx([45, np.nan], nan_ok=True)  # macro
    diamonds = [line.get_ydata() for line in ax.lines]
    np.testing.assert_allclose(diamonds, [[81, 81], [60, 60]])
    assert [label.get_text() for label in ax.get_legend().get_texts()] == [
        "micro average",
        "macro average",
        "published",
    ]


def test_a_class_called_like_an_average_has_a_row_of_its_own():
    scores = of_seeds(TREE, accuracy=(0.5,), macro_f1=(0.25,), **{"f1_macro average": (0.75,)})
    table = f1_table(scores, {}, columns={"tree": (TREE, TREE)}, class_names=["macro average"])
    assert list(table.index) == ["macro average", "micro average", "macro average average"]
    assert table[("tree", "ours")].tolist() == [0.75, 0.5, 0.25]
    assert averages_table(table).xs("ours", axis=1, level="figure").loc["tree"].tolist() == [50, 25]


def test_a_bar_that_is_not_defined_is_not_said_to_be_not_run(f1_scores):
    averages = averages_table(f1_of(f1_scores))
    ax = draw_accuracy_bars(averages.loc[["all (mobilenetv2)"]], new_figure(6, 4)[1], partly="not defined")
    assert sorted(text.get_text() for text in ax.texts) == ["65.0", "not defined"]


def test_a_missing_column_and_a_score_that_is_there_twice_are_refused(f1_scores):
    with pytest.raises(InputError, match="'seed'"):
        f1_of(f1_scores.drop(columns="seed"))
    with pytest.raises(InputError, match="1 rows are there twice"):
        f1_of(pd.concat([f1_scores, f1_scores.iloc[:1]]))
