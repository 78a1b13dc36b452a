from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from tidy import tidy

from tlkeras.errors import InputError
from tlkeras.evaluation.grid_search import ranking_table
from tlkeras.evaluation.plots import new_figure, new_grid
from tlkeras.evaluation.printed_tables import accuracy_table
from tlkeras.evaluation.score_tables import threshold_table
from tlkeras.evaluation.table_plots import (
    draw_accuracy_bars,
    draw_class_counts,
    draw_confusion,
    draw_grid,
    draw_thresholds,
)


def texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.fixture
def bars():
    ends = {"accuracy_low": [(0, 0.85)], "accuracy_high": [(0, 0.94)]}
    scores = tidy(("frozen", "vgg16"), "test", accuracy=[(0, 0.9)], **ends)
    printed = {(("tuned", "vgg16"), "test", "accuracy"): 61.5}
    return accuracy_table(
        scores, printed, protocol="corrected", methods=["frozen", "tuned"], backbones=["vgg16", "vgg19"]
    )


FOLDS = {
    (0.0001, 3): [0.6, 0.7],
    (0.0001, 5): [1.0, 1.0],
    (0.01, 3): [0.9, 0.8],
    (0.1, 5): [1.0, 1.0],
    (0.1, 3): [None, 0.5],
}


def ranking(folds=FOLDS, extra=()):
    rows = [(*setting, i, a) for setting, accuracies in folds.items() for i, a in enumerate(accuracies)]
    table = pd.DataFrame(rows, columns=["learning_rate", "epochs", "fold", "accuracy"]).assign(**dict(extra))
    return ranking_table(table, ["learning_rate", "epochs", *dict(extra)])


def written(ax):
    return {tuple(text.get_position()): text.get_text() for text in ax.texts}


def test_bars_show_ours_the_interval_the_published_value_and_what_was_not_run(bars):
    ax = draw_accuracy_bars(bars, new_figure(6, 4)[1])
    assert [bar.get_height() for bar in ax.patches if not np.isnan(bar.get_height())] == [90]
    assert (ax.get_ylim(), ax.get_ylabel()) == ((0, 100), "accuracy, %")
    drawn = np.concatenate([line.get_ydata() for line in ax.lines])
    assert drawn[~np.isnan(drawn)].tolist() == [61.5]
    whiskers = [path.vertices[:, 1].tolist() for whisker in ax.collections for path in whisker.get_paths()]
    assert [85.0, 94.0] in [pytest.approx(ends) for ends in whiskers]
    assert texts(ax) == ["90.0", "not run"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["frozen", "tuned", "published"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["vgg16"]
    assert ax.get_xlabel() == "not run: vgg19"


def test_where_nothing_was_run_every_row_has_its_place(bars):
    ax = draw_accuracy_bars(bars.loc[["vgg19"]], new_figure(6, 4)[1])
    assert texts(ax) == ["not run", "not run"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["vgg19"]
    assert ax.get_xlabel() == ""


def test_bars_of_something_else_say_so(bars):
    assert draw_accuracy_bars(bars, new_figure(6, 4)[1], ylabel="F1, %").get_ylabel() == "F1, %"


def test_the_line_as_it_is_and_as_validation_sets_it_stand_beside_the_ranking():
    cells = {("frozen", "vgg16"): (0.8, 0.82, 0.95), ("augmented", "vgg16"): (0.9, 0.81, 0.96)}
    scores = pd.concat(
        tidy(
            cell, "test", accuracy=[(0, as_it_is)], accuracy_low=[(0, as_it_is - 0.1)],
            accuracy_high=[(0, as_it_is + 0.05)], accuracy_adjusted=[(0, adjusted)], roc_auc=[(0, area)],
        )
        for cell, (as_it_is, adjusted, area) in cells.items()
    )  # fmt: skip
    without = tidy(("tree", "pixels"), "test", accuracy=[(0, 0.5)])
    assert threshold_table(without, part="test") is None
    table = threshold_table(pd.concat([scores, without]), part="test")
    assert table.index.tolist() == [*cells]
    _, axes = new_grid(1, 2)
    left, right = draw_thresholds(table, axes[0])
    assert [label.get_text() for label in left.get_yticklabels()] == ["frozen, vgg16", "augmented, vgg16"]
    drawn = {line.get_label(): line.get_xdata().tolist() for ax in (left, right) for line in ax.get_lines()}
    assert drawn["as it is"] == [80, 90]
    assert drawn["threshold (or priors) set on validation"] == [82, 81]
    assert drawn["ROC AUC"] == [0.95, 0.96]
    ends = [segment[:, 0].tolist() for segment in left.collections[0].get_segments()]
    assert ends == [pytest.approx([70, 85]), pytest.approx([80, 95])]


def test_columns_of_classes_are_as_high_as_they_have_images_and_cut_into_parts():
    counts = pd.DataFrame({"train": [60, 4500], "val": [10, 900], "test": [30, 4500]}, index=["NORMAL", "PNEUMONIA"])
    ax = draw_class_counts(counts, new_figure(5, 4)[1])
    pieces = {bars.get_label(): [(bar.get_y(), bar.get_height()) for bar in bars] for bars in ax.containers}
    assert pieces == {
        "train": [(0, 60), (0, 4500)],
        "val": [(60, 10), (4500, 900)],
        "test": [(70, 30), (5400, 4500)],
    }
    # 100 and 9,900 of 10,000.
    assert texts(ax) == ["100\n1.0 %", "9,900\n99.0 %"]
    assert [text.xy for text in ax.texts] == [(0, 100), (1, 9900)]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["NORMAL", "PNEUMONIA"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["train", "val", "test"]
    assert ax.get_ylabel() == "images"
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylim()[1] > 9900
    colors = [bars.patches[0].get_facecolor() for bars in ax.containers]
    assert len(set(colors)) == 3


def test_a_class_without_images_has_its_place_and_says_0():
    counts = pd.DataFrame({"train": [3, 0], "test": [1, 0]}, index=["nv", "df"])
    assert texts(draw_class_counts(counts, new_figure(5, 4)[1])) == ["4\n100.0 %", "0\n0.0 %"]


def test_confusion_cells_hold_counts_or_shares_in_percent():
    table = pd.DataFrame([[3, 1], [0, 0]], index=["a", "b"], columns=["a", "b"])
    ax = draw_confusion(table, new_figure(4, 4)[1])
    assert texts(ax) == ["3", "1", "", ""]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "actual")
    shares = pd.DataFrame([[0.75, 0.25], [np.nan, np.nan]], index=["a", "b"], columns=["a", "b"])
    ax = draw_confusion(shares, new_figure(4, 4)[1])
    assert texts(ax) == ["75.0", "25.0", "", ""]


def test_each_pair_has_its_mean_and_spread_where_its_settings_say():
    ax = draw_grid(ranking(), new_figure(5, 4)[1])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["3", "5"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0.0001", "0.01", "0.1"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epochs", "learning rate")
    assert written(ax) == {
        (0, 0): "65.0\n± 7.1",
        (1, 0): "100.0\n± 0.0",
        (0, 1): "85.0\n± 7.1",
        (1, 1): "not run",
        (0, 2): "not defined",
        (1, 2): "100.0\n± 0.0",
    }
    assert ax.get_ylim()[0] < ax.get_ylim()[1]  # the lowest rate below
    shown = ax.images[0].get_array()
    np.testing.assert_allclose(shown.filled(-1), [[65, 100], [85, -1], [-1, 100]])


def test_the_chosen_pair_has_a_solid_frame_and_its_equals_a_dashed_one():
    ax = draw_grid(ranking(), new_figure(5, 4)[1])
    frames = {(round(f.get_x() + 0.47), round(f.get_y() + 0.45)): f.get_linestyle() for f in ax.patches}
    assert frames.keys() == {(1, 0), (1, 2)}
    assert frames[1, 0] == "-"  # as many epochs, the lower rate
    assert frames[1, 2] != "-"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["chosen", "as good"]
    alone = draw_grid(ranking({(0.1, 3): [0.9], (0.1, 5): [0.8]}), new_figure(4, 2)[1])
    assert [text.get_text() for text in alone.get_legend().get_texts()] == ["chosen"]


def test_axes_can_be_exchanged():
    ax = draw_grid(ranking(), new_figure(5, 4)[1], x="learning_rate", y="epochs")
    assert written(ax)[2, 1] == "100.0\n± 0.0"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("learning rate", "epochs")


def test_numbers_can_be_read_on_dark_and_on_bright():
    ax = draw_grid(ranking({(0.1, i): [i / 10] for i in range(11)}), new_figure(9, 2)[1])
    image = ax.images[0]
    for text in ax.texts:
        rgb = np.array(image.to_rgba(image.get_array()[0, int(text.get_position()[0])])[:3])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        ground, ink = linear @ [0.2126, 0.7152, 0.0722], {"black": 0.0, "white": 1.0}[text.get_color()]
        low, high = sorted((ground, ink))
        assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2.2, level AA
    assert {text.get_color() for text in ax.texts} == {"black", "white"}
    assert ax.texts[0].get_text() == "0.0"  # one fold has no spread


def test_small_differences_stay_small_and_equals_are_bright():
    ax = draw_grid(ranking({(0.1, 3): [0.9], (0.1, 5): [0.9]}), new_figure(4, 2)[1])
    assert ax.images[0].get_clim() == (88, 90)


def test_nothing_defined_is_drawn_as_that():
    ax = draw_grid(ranking({(0.1, 3): [None]}), new_figure(4, 2)[1])
    assert list(written(ax).values()) == ["not defined"]
    assert not ax.patches


def test_settings_that_are_words_or_none_have_their_place_too():
    rows = [(stage, optimizer, 0, 0.5) for stage in (None, "block5") for optimizer in ("sgd", "adam")]
    table = pd.DataFrame(rows, columns=["phase_2.unfreeze_from", "phase_2.optimizer", "fold", "accuracy"])
    fields = list(table.columns[:2])
    ax = draw_grid(ranking_table(table, fields), new_figure(5, 4)[1], x=fields[0], y=fields[1])
    assert sorted(label.get_text() for label in ax.get_xticklabels()) == ["block5", "none"]
    assert list(written(ax).values()) == ["50.0"] * 4
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("phase 2 unfreeze from", "phase 2 optimizer")


def test_a_third_field_and_a_field_that_is_not_there_are_refused():
    table = pd.concat([ranking(extra={"momentum": m}.items()) for m in (0.0, 0.9)])
    with pytest.raises(InputError, match=r"a pair \(epochs, learning_rate\) is there several times"):
        draw_grid(table, new_figure(5, 4)[1])
    with pytest.raises(InputError, match="y: received 'rate'"):
        draw_grid(table, new_figure(5, 4)[1], y="rate")


def test_losses_are_no_per_cent_and_the_least_is_the_brightest():
    rows = [(0.1, 3, 0, 0.25), (0.1, 5, 0, 1.5)]
    table = pd.DataFrame(rows, columns=["learning_rate", "epochs", "fold", "log_loss"])
    ranked = ranking_table(table, ["learning_rate", "epochs"], "log_loss")
    ax = draw_grid(ranked, new_figure(4, 2)[1], metric="log_loss")
    assert written(ax) == {(0, 0): "0.250", (1, 0): "1.500"}
    assert ax.get_legend().get_title().get_text() == "mean log loss\nover folds,\n± its deviation"
    bright, dark = (sum(ax.images[0].to_rgba(loss)[:3]) for loss in (0.25, 1.5))
    assert bright > dark
    (frame,) = ax.patches
    assert round(frame.get_x() + 0.47) == 0
    alone = ranking_table(table[:1], ["learning_rate", "epochs"], "log_loss")
    assert draw_grid(alone, new_figure(4, 2)[1], metric="log_loss").images[0].get_clim() == (0.25, 0.27)


@pytest.mark.parametrize("names", [["cell", "immunohistochemistry", "moon", "retina"], ["NORMAL", "PNEUMONIA"]])
def test_names_below_a_confusion_table_do_not_run_into_each_other(names):
    figure, axes = new_grid(1, 2, side=4.6)
    ax = draw_confusion(pd.DataFrame(np.eye(len(names), dtype=int), names, names), axes[0, 0])
    figure.canvas.draw()
    corners = [label.get_window_extent() for label in ax.get_xticklabels()]
    slanted = ax.get_xticklabels()[0].get_rotation() != 0
    assert slanted or all(left.x1 < right.x0 for left, right in pairwise(corners))
    assert slanted == (len(names) > 2)
