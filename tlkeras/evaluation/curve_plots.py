"""Curves, on the Axes they are given: over all thresholds (ROC, precision-recall, and their points as tables), over
confidence (reliability) and over epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from tlkeras.errors import InputError
from tlkeras.evaluation.calibration import reliability_table
from tlkeras.evaluation.metrics import check_scorable, score
from tlkeras.evaluation.plots import BLUE, COLORS, GREEN, GREY, LINE_STYLES, ORANGE, light_grid
from tlkeras.evaluation.tables import NOT_DEFINED
from tlkeras.schema import Predictions
from tlkeras.user_text import in_figure

# What a phase may be judged by that counts every class alike, beside the accuracy and the loss.
BALANCED = {
    "accuracy": {
        "val_balanced_accuracy": "validation, balanced",
        "val_macro_f1": "validation, macro F1",
        "val_roc_auc": "validation, ROC AUC",
    },
    "loss": {"val_balanced_loss": "validation, balanced loss"},
}


def roc_table(predictions: Predictions, class_name: str) -> pd.DataFrame:
    """One class against the rest, from the strictest threshold (nothing is called it) down; scikit-learn's `roc_curve`.

    Returns:
        float64, columns threshold (the first infinite), false_positive_rate and true_positive_rate (0..1).

    Raises:
        InputError: what `metrics.score` refuses, another class, or one that no sample or every sample is of.
    """
    positive, probability = _against_the_rest(predictions, class_name)
    if positive.all():
        raise InputError(f"class_name: every sample is {class_name!r}, so a ROC curve is not defined.")
    false_positives, true_positives, thresholds = roc_curve(positive, probability)
    return pd.DataFrame(
        {"threshold": thresholds, "false_positive_rate": false_positives, "true_positive_rate": true_positives},
        dtype=np.float64,
    )


def precision_recall_table(predictions: Predictions, class_name: str) -> pd.DataFrame:
    """One class against the rest, from the mildest threshold up; scikit-learn's `precision_recall_curve`.

    Returns:
        float64, columns threshold, recall and precision (0..1). The last point (recall 0, precision 1) is where the
        curve is drawn to; it has no threshold (NaN).

    Raises:
        InputError: what `metrics.score` refuses, another class, or one that no sample is of.
    """
    precision, recall, thresholds = precision_recall_curve(*_against_the_rest(predictions, class_name))
    return pd.DataFrame(
        {"threshold": np.append(thresholds, np.nan), "recall": recall, "precision": precision}, dtype=np.float64
    )


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


def draw_accuracy_lines(histories: Mapping[str, pd.DataFrame], ax: Axes, *, part: str = "validation") -> Axes:
    """Accuracy per epoch, one line per history; epochs count on through the phases, whose starts are marked.

    Args:
        histories: {label: history with the columns phase, epoch, accuracy, val_accuracy (0..1)}.
        ax: where to draw.
        part: "validation" or "training".

    Raises:
        InputError: another part, no history, or one without validation accuracy where that is drawn.
    """
    columns = {"validation": "val_accuracy", "training": "accuracy"}
    if part not in columns:
        raise InputError(f"part: received {part!r}; accepted: {', '.join(columns)}.")
    if not histories:
        raise InputError("histories: received none; accepted is {label: history}, at least one.")
    starts: dict[tuple[float, int], list[str]] = {}
    colors = {}
    for i, (label, history) in enumerate(histories.items()):
        history = history.sort_values(["phase", "epoch"])
        accuracy = history[columns[part]].astype(float)
        if accuracy.isna().any():
            raise InputError(
                f"histories: {label!r} was trained without a validation part; leave it out of this figure."
            )
        colors[label] = COLORS[i % len(COLORS)]
        style = LINE_STYLES[i // len(COLORS) % len(LINE_STYLES)]
        epochs = np.arange(1, len(history) + 1)
        # The first on top: a method that goes on where another ends does not hide it.
        ax.plot(
            epochs, 100 * accuracy, style, color=colors[label], marker="o", ms=3, lw=1.4, label=in_figure(label),
            zorder=20 - i,
        )  # fmt: skip
        phases = history["phase"].to_numpy()
        for at in np.flatnonzero(np.diff(phases)):
            starts.setdefault((at + 1.5, int(phases[at + 1])), []).append(label)
    named = set()
    for (x, phase), labels in sorted(starts.items()):
        shared = len(labels) > 1 or len(histories) == 1
        ax.axvline(x, linestyle="--", lw=0.9, color=GREY if shared else colors[labels[0]], zorder=0)
        if phase not in named:
            ax.annotate(
                f"phase {phase}",
                (x, 0),
                xycoords=("data", "axes fraction"),
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=8,
                color=GREY,
            )
        named.add(phase)
    ax.set(xlabel="epoch", ylabel=f"{part} accuracy, %")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    light_grid(ax, "y")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    return ax


def draw_training_curves(history: pd.DataFrame, axes: Sequence[Axes]) -> Sequence[Axes]:
    """Accuracy and loss per epoch, training and validation, over all phases.

    A dashed line stands where a phase starts, a ring on the epoch whose weights were kept.

    Args:
        history: the columns phase, epoch, accuracy, loss, val_accuracy, val_loss (NaN without validation) and kept;
            where phases were judged by a figure that counts every class alike, the column of that too, see `EpochLog`.
        axes: two, for accuracy and loss.
    """
    history = history.sort_values(["phase", "epoch"]).reset_index(drop=True)
    epochs = np.arange(1, len(history) + 1)
    starts = history.index[history["phase"].diff() != 0]
    for ax, metric, factor, title in zip(axes, ("accuracy", "loss"), (100, 1), ("accuracy, %", "loss"), strict=True):
        for column, label, color, style in (
            (metric, "training", BLUE, "-"),
            (f"val_{metric}", "validation", ORANGE, "--"),
            *((column, label, GREEN, ":") for column, label in BALANCED[metric].items()),
        ):
            if column not in history or history[column].isna().all():
                continue
            values = factor * history[column].astype(float)
            ax.plot(epochs, values, style, color=color, marker="o", ms=3, lw=1.4, label=label)
            kept = history["kept"].to_numpy(dtype=bool)
            ax.plot(epochs[kept], values[kept], "o", mfc="none", mec="black", mew=1.2, ms=9, linestyle="none")
        for start in starts:
            ax.axvline(start + 0.5, linestyle="--", lw=0.9, color=GREY, zorder=0)
            ax.annotate(
                f"phase {history['phase'][start]}",
                (start + 0.5, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -2),
                textcoords="offset points",
                va="top",
                fontsize=8,
                color=GREY,
            )
        ax.set(xlabel="epoch", ylabel=title)
        ax.margins(y=0.12)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        light_grid(ax, "y")
    handles = list({line.get_label(): line for ax in axes for line in ax.get_legend_handles_labels()[0]}.values())
    handles.append(Line2D([], [], marker="o", mfc="none", mec="black", mew=1.2, ms=9, linestyle="none", label="kept"))
    axes[0].legend(handles=handles, frameon=False, fontsize=8, loc="lower right")
    return axes


def _against_the_rest(predictions: Predictions, class_name: str) -> tuple[np.ndarray, np.ndarray]:
    check_scorable(predictions)
    names = predictions.samples.class_names
    if class_name not in names:
        raise InputError(f"class_name: received {class_name!r}; accepted: {', '.join(names)}.")
    label = names.index(class_name)
    positive = predictions.samples.labels == label
    if not positive.any():
        raise InputError(f"class_name: no sample is {class_name!r}, so a curve is not defined.")
    return positive, predictions.probs[:, label]


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
    light_grid(ax)
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
