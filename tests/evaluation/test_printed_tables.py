from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tidy import COLUMNS, tidy, with_means

from tlkeras.evaluation.plots import new_figure
from tlkeras.evaluation.printed_tables import (
    accuracy_table,
    averages_table,
    f1_table,
    format_accuracy_table,
    format_f1_table,
    results_table,
    two_way_bars,
)
from tlkeras.evaluation.table_plots import draw_accuracy_bars

PRINTED = {(("frozen", "vgg16"), "test", "accuracy"): 84.75, (("frozen", "vgg19"), "test", "accuracy"): 76.118}
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
    assert heights[0] == pytest.approx([75, 65, np.nan], nan_ok=True)  # micro
    assert heights[1] == pytest.approx([45, np.nan, np.nan], nan_ok=True)  # macro
    diamonds = [line.get_ydata() for line in ax.lines]
    np.testing.assert_allclose(diamonds, [[81, 81, 57], [60, 60, np.nan]])
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
