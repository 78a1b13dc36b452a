from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from tidy import tidy

from tlkeras.errors import InputError
from tlkeras.evaluation import plots
from tlkeras.evaluation.tables import accuracy_table


def texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.fixture
def bars():
    ends = {"accuracy_low": [(0, 0.85)], "accuracy_high": [(0, 0.94)]}
    scores = tidy(("frozen", "vgg16"), "test", accuracy=[(0, 0.9)], **ends)
    reported = {(("tuned", "vgg16"), "test", "accuracy"): 61.5}
    return accuracy_table(
        scores, reported, protocol="corrected", methods=["frozen", "tuned"], backbones=["vgg16", "vgg19"]
    )


def history(phases, accuracies):
    return pd.DataFrame({"phase": phases, "epoch": np.arange(len(phases)), "val_accuracy": accuracies})


def test_bars_show_ours_the_interval_the_published_value_and_what_was_not_run(bars):
    ax = plots.draw_accuracy_bars(bars, plots.new_figure(6, 4)[1])
    assert [bar.get_height() for bar in ax.patches if not np.isnan(bar.get_height())] == [90]
    assert (ax.get_ylim(), ax.get_ylabel()) == ((0, 100), "accuracy, %")
    drawn = np.concatenate([line.get_ydata() for line in ax.lines])
    assert drawn[~np.isnan(drawn)].tolist() == [61.5]
    whiskers = [path.vertices[:, 1].tolist() for whisker in ax.collections for path in whisker.get_paths()]
    assert [85.0, 94.0] in [pytest.approx(ends) for ends in whiskers]
    assert texts(ax) == ["not run", "90.0", "not run", "not run"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["frozen", "tuned", "published"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["vgg16", "vgg19"]


def test_bars_of_something_else_say_so(bars):
    assert plots.draw_accuracy_bars(bars, plots.new_figure(6, 4)[1], ylabel="F1, %").get_ylabel() == "F1, %"


def test_epochs_count_on_through_the_phases_and_each_start_is_marked():
    histories = {
        "long": history([1, 1, 1, 2, 2], [0.5, 0.6, 0.7, 0.8, 0.9]),
        "short": history([1, 1, 2], [0.4, 0.5, 0.6]),
    }
    ax = plots.draw_accuracy_lines(histories, plots.new_figure(6, 4)[1])
    long, short, *starts = ax.lines
    np.testing.assert_allclose(long.get_xydata(), [(1, 50), (2, 60), (3, 70), (4, 80), (5, 90)])
    np.testing.assert_array_equal(short.get_xdata(), [1, 2, 3])
    # The phase ends after epoch 2 in one and after epoch 3 in the other: each in the colour of its line.
    assert [line.get_xdata()[0] for line in starts] == [2.5, 3.5]
    assert same_color(starts[0].get_color(), short.get_color())
    assert same_color(starts[1].get_color(), long.get_color())
    assert texts(ax) == ["phase 2"]


def test_a_history_without_validation_is_refused():
    with pytest.raises(InputError, match="'m' was trained without a validation part"):
        plots.draw_accuracy_lines({"m": history([1, 1], [None, None])}, plots.new_figure(6, 4)[1])


def test_training_accuracy_is_drawn_where_that_is_asked_for_and_needs_no_validation():
    trained = history([1, 1], [None, None]).assign(accuracy=[0.25, 0.75])
    other = history([1], [0.9]).assign(accuracy=[0.5])
    ax = plots.draw_accuracy_lines({"all": trained, "random": other}, plots.new_figure(6, 4)[1], part="training")
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [(1, 25), (2, 75)])
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [(1, 50)])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "training accuracy, %")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["all", "random"]
    ax = plots.draw_accuracy_lines({"random": other}, plots.new_figure(6, 4)[1])
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [(1, 90)])
    assert ax.get_ylabel() == "validation accuracy, %"


def test_columns_of_classes_are_as_high_as_they_have_images_and_cut_into_parts():
    counts = pd.DataFrame({"train": [60, 4500], "val": [10, 900], "test": [30, 4500]}, index=["NORMAL", "PNEUMONIA"])
    ax = plots.draw_class_counts(counts, plots.new_figure(5, 4)[1])
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
    assert texts(plots.draw_class_counts(counts, plots.new_figure(5, 4)[1])) == ["4\n100.0 %", "0\n0.0 %"]


def test_confusion_cells_hold_counts_or_shares_in_percent():
    table = pd.DataFrame([[3, 1], [0, 0]], index=["a", "b"], columns=["a", "b"])
    ax = plots.draw_confusion(table, plots.new_figure(4, 4)[1])
    assert texts(ax) == ["3", "1", "", ""]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "actual")
    shares = pd.DataFrame([[0.75, 0.25], [np.nan, np.nan]], index=["a", "b"], columns=["a", "b"])
    ax = plots.draw_confusion(shares, plots.new_figure(4, 4)[1])
    assert texts(ax) == ["75.0", "25.0", "", ""]


def test_training_curves_mark_the_phases_and_the_epoch_that_was_kept():
    curves = pd.DataFrame(
        {
            "phase": [1, 1, 2],
            "epoch": [1, 2, 1],
            "accuracy": [0.5, 0.6, 0.7],
            "val_accuracy": [0.4, 0.6, 0.5],
            "loss": [3.0, 2.0, 1.0],
            "val_loss": [2.0, 1.0, 1.5],
            "kept": [False, True, False],
        }
    )
    accuracy, loss = plots.draw_training_curves(curves, plots.new_grid(1, 2)[1][0])
    assert texts(accuracy) == texts(loss) == ["phase 1", "phase 2"]
    lines = accuracy.get_lines()
    np.testing.assert_allclose(lines[0].get_xydata(), [(1, 50), (2, 60), (3, 70)])
    np.testing.assert_allclose(lines[1].get_xydata(), [(2, 60)])  # the ring
    starts = [line.get_xdata()[0] for line in lines if line.get_xdata()[0] == line.get_xdata()[-1]]
    assert {0.5, 2.5} <= set(starts)
    judged = curves.assign(val_balanced_loss=[2.5, 1.5, np.nan])
    accuracy, loss = plots.draw_training_curves(judged, plots.new_grid(1, 2)[1][0])
    legend = [text.get_text() for text in accuracy.get_legend().get_texts()]
    assert legend == ["training", "validation", "validation, balanced loss", "kept"]
    (balanced,) = (line for line in loss.get_lines() if line.get_label() == "validation, balanced loss")
    np.testing.assert_allclose(balanced.get_xydata(), [(1, 2.5), (2, 1.5), (3, np.nan)])
    curves[["val_accuracy", "val_loss"]] = np.nan
    accuracy, _ = plots.draw_training_curves(curves, plots.new_grid(1, 2)[1][0])
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["training", "kept"]


def test_sheet_marks_right_and_wrong_by_sign_and_colour():
    axes = Figure().subplots(1, 3)
    plots.draw_predictions_sheet(np.zeros((2, 4, 4, 3), np.float32), ["a", "a"], ["a", "b"], axes)
    assert [ax.get_title() for ax in axes] == ["actual a\n✓ predicted a", "actual a\n✗ predicted b", ""]
    assert axes[0].title.get_color() != axes[1].title.get_color()
    assert not axes[2].axison
    with pytest.raises(InputError, match="received 4 images"):
        plots.draw_predictions_sheet(np.zeros((4, 4, 4, 3)), ["a"] * 4, ["a"] * 4, axes)


def test_save_figure_writes_whole_and_refuses_an_unknown_suffix(tmp_path):
    figure, ax = plots.new_figure(2, 2)
    ax.plot([0, 1])
    path = plots.save_figure(figure, tmp_path / "new" / "figure.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in path.parent.iterdir()] == ["figure.png"]
    assert figure.axes == []
    with pytest.raises(InputError, match=r"figure\.xyz"):
        plots.save_figure(plots.new_figure(2, 2)[0], tmp_path / "figure.xyz")
    assert [file.name for file in tmp_path.iterdir()] == ["new"]


def test_pyplot_and_tensorflow_stay_out():
    code = (
        "import sys, tlkeras.evaluation.metrics, tlkeras.evaluation.statistics, tlkeras.evaluation.tables,"
        " tlkeras.evaluation.plots; print({'tensorflow', 'keras', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
