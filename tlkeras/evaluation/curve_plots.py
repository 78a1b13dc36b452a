"""ROC, precision-recall and reliability curves, and where the line is drawn, on the Axes they are given; colours and
manners as in `plots`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from tlkeras.evaluation.calibration import reliability_table
from tlkeras.evaluation.curves import precision_recall_table, roc_table
from tlkeras.evaluation.metrics import score
from tlkeras.evaluation.plots import BLUE, COLORS, GREEN, GREY, LINE_STYLES, ORANGE
from tlkeras.evaluation.tables import ADJUSTED, METRICS, NOT_DEFINED
from tlkeras.schema import Predictions
from tlkeras.user_text import in_figure


def draw_roc(predictions: Predictions, ax: Axes, positive_class: str | None = None) -> Axes:
    """True against false positives over all thresholds, a line per class against the rest, its area in the legend.

    Args:
        predictions: labelled.
        ax: where to draw.
        positive_class: of two classes the one to draw alone.

    Raises:
        InputError: what `metrics.score` refuses.
    """
    ax.plot([0, 1], [0, 1], "--", lw=0.9, color=GREY, label="chance", zorder=1)
    _draw_classes(predictions, ax, positive_class, "roc_auc", roc_table)
    ax.set(xlabel="false positive rate (1 - specificity)", ylabel="true positive rate (sensitivity)")
    return _finish(ax, "area under the curve", columns=2)


def draw_precision_recall(predictions: Predictions, ax: Axes, positive_class: str | None = None) -> Axes:
    """Precision against recall over all thresholds, a line per class against the rest, its area in the legend.

    The area is the average precision; chance reaches the share of the class: a line where one class is drawn, otherwise
    beside its area.

    Args:
        predictions: labelled.
        ax: where to draw.
        positive_class: of two classes the one to draw alone.

    Raises:
        InputError: what `metrics.score` refuses.
    """
    shares = {name: n / len(predictions) for name, n in predictions.samples.class_counts().items()}
    lines = _draw_classes(predictions, ax, positive_class, "average_precision", precision_recall_table)
    for name, line in lines.items():
        line.set(drawstyle="steps-post", label=f"{line.get_label()} (chance {shares[name]:.2f})")
        if positive_class is not None:
            ax.axhline(shares[name], linestyle="--", lw=0.9, color=GREY, zorder=1)
    ax.set(xlabel="recall (sensitivity)", ylabel="precision")
    return _finish(ax, "average precision", columns=2)


def draw_reliability(predictions: Predictions, ax: Axes, scaled: Predictions | None = None) -> Axes:
    """Accuracy against confidence (the highest probability) in 15 bins of equally many images.

    Points below the diagonal claim too much, above it too little. The legend holds the calibration error.

    Args:
        predictions: labelled.
        ax: where to draw.
        scaled: the same after temperature scaling, as a second line.

    Raises:
        InputError: what `metrics.score` refuses.
    """
    ax.plot([0, 1], [0, 1], "--", lw=0.9, color=GREY, label="as claimed", zorder=1)
    shown = {"as predicted": (predictions, BLUE, "o-")}
    if scaled is not None:
        shown["after temperature scaling"] = (scaled, ORANGE, "s-")
    for name, (of_one, color, style) in shown.items():
        table, error = reliability_table(of_one), score(of_one, metrics=("ece",))["ece"]
        ax.plot(table["confidence"], table["accuracy"], style, color=color, ms=4, lw=1.4, label=f"{name} {error:.3f}")
    ax.set(xlabel="confidence (highest probability)", ylabel="accuracy")
    return _finish(ax, "calibration error", columns=1)


def _draw_classes(
    predictions: Predictions,
    ax: Axes,
    positive_class: str | None,
    metric: str,
    table_of: Callable[[Predictions, str], pd.DataFrame],
) -> dict[str, Line2D]:
    figures = score(predictions, positive_class)
    lines = {}
    for i, name in enumerate(predictions.samples.class_names):
        if positive_class not in (None, name):
            continue
        area = figures[f"{metric}_{name}"]
        defined = not np.isnan(area)
        points = table_of(predictions, name).iloc[:, 1:].to_numpy().T if defined else [[], []]
        (lines[name],) = ax.plot(
            *points,
            LINE_STYLES[i // len(COLORS) % len(LINE_STYLES)],
            color=COLORS[i % len(COLORS)],
            lw=1.4,
            label=in_figure(f"{name} {area:.3f}" if defined else f"{name} {NOT_DEFINED}"),
        )
    return lines


def _finish(ax: Axes, title: str, columns: int) -> Axes:
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    ax.grid(color="0.9", zorder=0)
    ax.spines[["top", "right"]].set_visible(False)
    legend = ax.legend(
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.14),
        frameon=False,
        fontsize=8,
        ncols=columns,
        title=title,
        title_fontsize=8,
        alignment="left",
        columnspacing=1.2,
    )
    legend.get_title().set_color(GREY)
    return ax


def draw_thresholds(table: pd.DataFrame, axes: Sequence[Axes]) -> Sequence[Axes]:
    """Accuracy where the line lies at 0.5 and where validation images put it, and beside it ROC AUC, a line per cell.

    Args:
        table: as `comparison_tables.threshold_figures` makes it.
        axes: two, one beside the other.
    """
    left, right = axes
    rows = np.arange(len(table))[::-1]
    markers = {
        "accuracy": (left, "o", BLUE, BLUE, "as it is"),
        f"accuracy{ADJUSTED}": (left, "D", "white", ORANGE, "threshold (or priors) set on validation"),
        "roc_auc": (right, "o", GREEN, GREEN, "ROC AUC"),
    }
    for metric, (ax, marker, face, edge, label) in markers.items():
        figures, factor = table[metric], METRICS[metric][1]
        shift = {"accuracy": 0.13, f"accuracy{ADJUSTED}": -0.13}.get(metric, 0)
        ax.hlines(rows + shift, factor * figures["low"], factor * figures["high"], color=edge, lw=1.2, zorder=2)
        ax.plot(
            factor * figures["ours"], rows + shift, marker, mfc=face, mec=edge, mew=1.4, ms=6, linestyle="none",
            label=label, zorder=3,
        )  # fmt: skip
    left.set_yticks(rows, [in_figure(", ".join(cell)) for cell in table.index])
    left.set_xlabel("accuracy, %")
    right.set_yticks(rows, [""] * len(rows))
    right.set_xlabel("ROC AUC")
    for ax in axes:
        ax.set_ylim(-0.6, len(table) - 0.4)
        ax.grid(axis="x", color="0.9", zorder=0)
        ax.spines[["top", "right"]].set_visible(False)
    left.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=9)
    return axes
