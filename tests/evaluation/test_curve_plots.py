from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from tidy import tidy

from tlkeras.errors import InputError
from tlkeras.evaluation.calibration import at_temperature, reliability_table
from tlkeras.evaluation.comparison_tables import threshold_figures
from tlkeras.evaluation.curve_plots import draw_precision_recall, draw_reliability, draw_roc, draw_thresholds
from tlkeras.evaluation.curves import precision_recall_table, roc_table
from tlkeras.evaluation.metrics import score
from tlkeras.evaluation.plots import new_figure, new_grid
from tlkeras.schema import Predictions, Samples


def random_predictions(k, n=120, absent=None):
    rng = np.random.default_rng(0)
    labels = rng.choice([label for label in range(k) if label != absent], n)
    probs = rng.dirichlet(np.ones(k), n).astype(np.float32)
    return Predictions(Samples(tuple(map(str, range(n))), labels, tuple("abcdefghi"[:k])), probs)


def entries(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line_of(ax, word):
    (line,) = [line for line in ax.lines if str(line.get_label()).startswith(word)]
    return line


@pytest.fixture
def ax():
    return new_figure(4, 4)[1]


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


def test_pyplot_and_tensorflow_stay_out():
    code = (
        "import sys, tlkeras.evaluation.curve_plots, tlkeras.evaluation.errors, tlkeras.evaluation.statistics;"
        " print({'tensorflow', 'keras', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


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
    assert threshold_figures(without, part="test") is None
    table = threshold_figures(pd.concat([scores, without]), part="test")
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
