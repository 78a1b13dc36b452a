from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from tlkeras.errors import InputError
from tlkeras.evaluation.calibration import at_temperature, reliability_table
from tlkeras.evaluation.curve_plots import (
    draw_accuracy_lines,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    draw_training_curves,
    precision_recall_table,
    roc_table,
)
from tlkeras.evaluation.metrics import score
from tlkeras.evaluation.plots import new_figure, new_grid
from tlkeras.schema import Predictions, Samples


def random_predictions(k, n=120, absent=None):
    rng = np.random.default_rng(0)
    labels = rng.choice([label for label in range(k) if label != absent], n)
    probs = rng.dirichlet(np.ones(k), n).astype(np.float32)
    return Predictions(Samples(tuple(map(str, range(n))), labels, tuple("abcdefghi"[:k])), probs)


def two_class(labels, positive):
    probs = np.array([(1 - p, p) for p in positive], dtype=np.float32)
    return Predictions(Samples(tuple(f"{i}.png" for i in range(len(probs))), np.array(labels), ("well", "ill")), probs)


FIVE = two_class([0, 0, 1, 1, 1], [0.2, 0.6, 0.9, 0.7, 0.4])


def history(phases, accuracies):
    return pd.DataFrame({"phase": phases, "epoch": np.arange(len(phases)), "val_accuracy": accuracies})


def texts(ax):
    return [text.get_text() for text in ax.texts]


def entries(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line_of(ax, word):
    (line,) = [line for line in ax.lines if str(line.get_label()).startswith(word)]
    return line


@pytest.fixture
def ax():
    return new_figure(4, 4)[1]


def test_roc_of_five_images_by_hand():
    table = roc_table(FIVE, "ill")
    assert list(table.columns) == ["threshold", "false_positive_rate", "true_positive_rate"]
    # The corners: nothing; 0.9 and 0.7 are ill; 0.6 is well; 0.4 is ill; 0.2 is well.
    corners = [(0, 0), (0, 1 / 3), (0, 2 / 3), (1 / 2, 2 / 3), (1 / 2, 1), (1, 1)]
    np.testing.assert_allclose(table.iloc[:, 1:], corners)
    np.testing.assert_allclose(table["threshold"], [np.inf, 0.9, 0.7, 0.6, 0.4, 0.2], rtol=1e-6)


def test_precision_and_recall_of_five_images_by_hand():
    table = precision_recall_table(FIVE, "ill")
    np.testing.assert_allclose(table["threshold"], [0.2, 0.4, 0.6, 0.7, 0.9, np.nan], rtol=1e-6)
    np.testing.assert_allclose(table["recall"], [1, 1, 2 / 3, 2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(table["precision"], [3 / 5, 3 / 4, 2 / 3, 1, 1, 1])


def test_the_areas_are_the_figures():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    probs = np.stack([rng.multinomial(10, row) / 10 for row in rng.dirichlet([1, 1, 1], 200)]).astype(np.float32)
    predictions = Predictions(Samples(tuple(map(str, range(200))), labels, ("a", "b", "c")), probs)
    figures = score(predictions)
    for name in "abc":
        roc, pr = roc_table(predictions, name), precision_recall_table(predictions, name)
        assert np.trapezoid(roc["true_positive_rate"], roc["false_positive_rate"]) == pytest.approx(
            figures[f"roc_auc_{name}"]
        )
        steps = -np.diff(pr["recall"]) @ pr["precision"].to_numpy()[:-1]
        assert steps == pytest.approx(figures[f"average_precision_{name}"])


def test_what_has_no_curve_is_refused_in_words():
    with pytest.raises(InputError, match="class_name: received 'lung'"):
        roc_table(FIVE, "lung")
    for table_of in (roc_table, precision_recall_table):
        with pytest.raises(InputError, match="no sample is 'ill'"):
            table_of(two_class([0, 0], [0.1, 0.6]), "ill")
    with pytest.raises(InputError, match="every sample is 'ill'"):
        roc_table(two_class([1, 1], [0.1, 0.6]), "ill")
    assert (precision_recall_table(two_class([1, 1], [0.1, 0.6]), "ill")["precision"] == 1).all()


@pytest.mark.parametrize(
    ("draw", "table_of", "metric", "first"),
    [
        (draw_roc, roc_table, "roc_auc", ["chance"]),
        (draw_precision_recall, precision_recall_table, "average_precision", []),
    ],
)
def test_a_line_per_class_with_its_area_and_nothing_for_an_absent_one(draw, table_of, metric, first, ax):
    predictions = random_predictions(9, absent=4)
    assert draw(predictions, ax) is ax
    figures, shown = score(predictions), entries(ax)
    assert len(shown) == 9 + len(first)
    assert shown[: len(first)] == first
    assert shown[len(first)].startswith(f"a {figures[f'{metric}_a']:.3f}")
    assert shown[len(first) + 4].startswith("e not defined")
    x, y = table_of(predictions, "b").iloc[:, 1:].to_numpy().T
    np.testing.assert_allclose(line_of(ax, "b ").get_xdata(), x)
    np.testing.assert_allclose(line_of(ax, "b ").get_ydata(), y)
    assert len(line_of(ax, "e ").get_xdata()) == 0
    styles = {(line.get_color(), line.get_linestyle()) for line in ax.lines if line.get_label() != "chance"}
    assert len(styles) == 9  # no two classes look alike


def test_one_class_alone_stands_above_its_own_chance(ax):
    predictions = random_predictions(2)
    draw_precision_recall(predictions, ax, "b")
    share = (predictions.samples.labels == 1).mean()
    assert entries(ax) == [f"b {score(predictions, 'b')['average_precision']:.3f} (chance {share:.2f})"]
    assert [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"] == [share]
    roc = draw_roc(predictions, new_figure(4, 4)[1], "b")
    assert entries(roc) == ["chance", f"b {score(predictions, 'b')['roc_auc']:.3f}"]
    with pytest.raises(InputError, match="positive_class: received 'z'"):
        draw_roc(predictions, ax, "z")


def test_precision_steps_and_does_not_slope(ax):
    draw_precision_recall(random_predictions(3), ax)
    assert {line.get_drawstyle() for line in ax.lines} == {"steps-post"}


def test_reliability_before_and_after_temperature_scaling(ax):
    predictions = random_predictions(3)
    scaled = at_temperature(predictions, 3)
    assert draw_reliability(predictions, ax, scaled) is ax
    errors = [score(one)["ece"] for one in (predictions, scaled)]
    assert entries(ax) == [
        "as claimed",
        f"as predicted {errors[0]:.3f}",
        f"after temperature scaling {errors[1]:.3f}",
    ]
    for word, one in (("as predicted", predictions), ("after", scaled)):
        table = reliability_table(one)
        np.testing.assert_allclose(line_of(ax, word).get_xdata(), table["confidence"])
        np.testing.assert_allclose(line_of(ax, word).get_ydata(), table["accuracy"])
    assert len(entries(draw_reliability(predictions, new_figure(4, 4)[1]))) == 2


def test_epochs_count_on_through_the_phases_and_each_start_is_marked():
    histories = {
        "long": history([1, 1, 1, 2, 2], [0.5, 0.6, 0.7, 0.8, 0.9]),
        "short": history([1, 1, 2], [0.4, 0.5, 0.6]),
    }
    ax = draw_accuracy_lines(histories, new_figure(6, 4)[1])
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
        draw_accuracy_lines({"m": history([1, 1], [None, None])}, new_figure(6, 4)[1])


def test_training_accuracy_is_drawn_where_that_is_asked_for_and_needs_no_validation():
    trained = history([1, 1], [None, None]).assign(accuracy=[0.25, 0.75])
    other = history([1], [0.9]).assign(accuracy=[0.5])
    ax = draw_accuracy_lines({"all": trained, "random": other}, new_figure(6, 4)[1], part="training")
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [(1, 25), (2, 75)])
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [(1, 50)])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "training accuracy, %")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["all", "random"]
    ax = draw_accuracy_lines({"random": other}, new_figure(6, 4)[1])
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [(1, 90)])
    assert ax.get_ylabel() == "validation accuracy, %"


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
    accuracy, loss = draw_training_curves(curves, new_grid(1, 2)[1][0])
    assert texts(accuracy) == texts(loss) == ["phase 1", "phase 2"]
    lines = accuracy.get_lines()
    np.testing.assert_allclose(lines[0].get_xydata(), [(1, 50), (2, 60), (3, 70)])
    np.testing.assert_allclose(lines[1].get_xydata(), [(2, 60)])  # the ring
    starts = [line.get_xdata()[0] for line in lines if line.get_xdata()[0] == line.get_xdata()[-1]]
    assert {0.5, 2.5} <= set(starts)
    judged = curves.assign(val_balanced_loss=[2.5, 1.5, np.nan])
    accuracy, loss = draw_training_curves(judged, new_grid(1, 2)[1][0])
    legend = [text.get_text() for text in accuracy.get_legend().get_texts()]
    assert legend == ["training", "validation", "validation, balanced loss", "kept"]
    (balanced,) = (line for line in loss.get_lines() if line.get_label() == "validation, balanced loss")
    np.testing.assert_allclose(balanced.get_xydata(), [(1, 2.5), (2, 1.5), (3, np.nan)])
    curves[["val_accuracy", "val_loss"]] = np.nan
    accuracy, _ = draw_training_curves(curves, new_grid(1, 2)[1][0])
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["training", "kept"]
