"""Figures from computed numbers. Every `draw_*` draws on the Axes it is given and returns it; pyplot stays out.

Colours are those of Okabe & Ito (Color Universal Design, 2008), told apart with any colour vision.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from tlkeras.errors import InputError
from tlkeras.evaluation.fonts import choose_fonts
from tlkeras.files import atomic_write
from tlkeras.user_text import in_figure

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
COLORS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", VERMILLION, "#000000")
LINE_STYLES = ("-", "--", ":")
GREY = "#666666"
# What a phase may be judged by that counts every class alike, beside the accuracy and the loss.
BALANCED = {
    "accuracy": {
        "val_balanced_accuracy": "validation, balanced",
        "val_macro_f1": "validation, macro F1",
        "val_roc_auc": "validation, ROC AUC",
    },
    "loss": {"val_balanced_loss": "validation, balanced loss"},
}


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of `width` x `height` inches and its one Axes, known to nobody else: no display, no pyplot state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def new_grid(rows: int, columns: int, side: float = 1.9) -> tuple[Figure, np.ndarray]:
    """A figure of `rows` x `columns` Axes for images, each about `side` inches wide."""
    figure = Figure(figsize=(columns * side, rows * (side + 0.3)), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def save_figure(figure: Figure, path: str | os.PathLike) -> Path:
    """Writes the figure, whole or not at all, trimmed, at 150 dots per inch, as its suffix says; then empties it.

    Texts that their font cannot write get an installed one that can; where there is none, a warning says so.
    """
    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in formats:
        raise InputError(
            f"path: received {path.name!r}; accepted are names that end in one of {', '.join(sorted(formats))}."
        )
    choose_fonts(figure, path)
    with atomic_write(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)  # `choose_fonts` has said so
        figure.savefig(temporary, dpi=150, bbox_inches="tight")
    figure.clear()
    return path


def draw_accuracy_bars(table: pd.DataFrame, ax: Axes, *, ylabel: str = "accuracy, %", partly: str = "not run") -> Axes:
    """Bars of `tables.accuracy_table`: a group per row (backbone), a colour per method, in % from 0.

    Ours is the bar, its interval the whisker; what was published is the hollow diamond beside it. A cell that was not
    run says so.

    Args:
        table: as `tables.accuracy_table` makes it.
        ax: where to draw.
        ylabel: what the bars are.
        partly: what is written where a bar has no value and others of its row have one.
    """
    methods = list(table.columns.unique("method"))
    slot = 0.84 / len(methods)  # of the distance between two backbones
    published = table.xs("published", axis=1, level="figure").notna().any(axis=None)
    width = slot * (0.62 if published else 0.86)
    rows = np.arange(len(table))
    nothing = table.xs("ours", axis=1, level="figure").isna().all(axis=1).to_numpy()
    small = 8 if len(table) * len(methods) <= 12 else 6
    for i, method in enumerate(methods):
        color, figures = COLORS[i % len(COLORS)], table[method]
        start = rows - 0.42 + i * slot
        middle = start + width / 2 + 0.04 * slot
        ax.bar(middle, figures["ours"], width, color=color, zorder=2)
        ax.vlines(middle, figures["low"], figures["high"], color="black", lw=1.2, zorder=3)
        beside = start + (width + slot) / 2
        ax.plot(beside, figures["published"], "D", mfc="white", mec=color, mew=1.4, ms=5, linestyle="none", zorder=4)
        for x in middle[figures["ours"].isna()]:
            words = "not run" if nothing[round(x)] else partly
            ax.text(x, 1.5, words, rotation=90, ha="center", va="bottom", fontsize=small, color=GREY)
        for x, value in zip(middle, figures["ours"], strict=True):
            if not np.isnan(value):
                ax.text(
                    x, 1.5, f"{value:.1f}", rotation=90, ha="center", va="bottom", fontsize=small, color=_ink(color)
                )
    _label_columns(ax, table.index)
    ax.set(ylim=(0, 100), ylabel=ylabel, xlim=(-0.6, len(table) - 0.4))
    ax.grid(axis="y", color="0.9", zorder=0)
    ax.spines[["top", "right"]].set_visible(False)
    handles = [Patch(color=COLORS[i % len(COLORS)], label=in_figure(method)) for i, method in enumerate(methods)]
    if published:
        handles.append(
            Line2D([], [], marker="D", mfc="white", mec=GREY, mew=1.4, ms=5, linestyle="none", label="published")
        )
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(handles), 4), frameon=False)
    return ax


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
    ax.grid(axis="y", color="0.9", zorder=0)
    ax.spines[["top", "right"]].set_visible(False)
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
        ax.grid(axis="y", color="0.9", zorder=0)
        ax.spines[["top", "right"]].set_visible(False)
    handles = list({line.get_label(): line for ax in axes for line in ax.get_legend_handles_labels()[0]}.values())
    handles.append(Line2D([], [], marker="o", mfc="none", mec="black", mew=1.2, ms=9, linestyle="none", label="kept"))
    axes[0].legend(handles=handles, frameon=False, fontsize=8, loc="lower right")
    return axes


def draw_class_counts(counts: pd.DataFrame, ax: Axes) -> Axes:
    """A column per class, as high as it has images, cut into parts; the number of images and their share above.

    Args:
        counts: images, index the class names, columns the parts.
        ax: where to draw.
    """
    totals, below = counts.sum(axis=1), np.zeros(len(counts))
    for i, part in enumerate(counts.columns):
        ax.bar(
            range(len(counts)), counts[part], 0.72, bottom=below, color=COLORS[i % len(COLORS)], label=in_figure(part)
        )
        below = below + counts[part].to_numpy()
    for x, total in enumerate(totals):
        words = f"{total:,}\n{100 * total / totals.sum():.1f} %"
        ax.annotate(words, (x, total), xytext=(0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=8)
    _label_columns(ax, counts.index)
    ax.set(ylabel="images", ylim=(0, 1.16 * totals.max()))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    return ax


def draw_confusion(table: pd.DataFrame, ax: Axes) -> Axes:
    """`metrics.confusion_table` in numbers, shaded by the share of the actual class.

    Counts are written as they are, shares (of a normalised table) in per cent; a class without samples stays empty.
    """
    values = table.to_numpy(dtype=float)
    normalized = table.dtypes.map(lambda dtype: dtype.kind == "f").all()
    totals = values.sum(axis=1, keepdims=True)
    shares = np.divide(values, totals, out=np.zeros_like(values), where=totals > 0)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        written = f"{100 * share:.1f}" if normalized else f"{values[row, column]:.0f}"
        ax.text(
            column,
            row,
            written if totals[row, 0] > 0 else "",
            ha="center",
            va="center",
            fontsize=10 if len(table) <= 4 else 8,
            color="white" if share > 0.55 else "black",
        )
    _label_columns(ax, table.columns)
    ax.set_yticks(range(len(table)), [*map(in_figure, table.index)])
    ax.tick_params(length=0)
    ax.set(xlabel="predicted", ylabel="actual")
    return ax


def draw_predictions_sheet(
    images: Sequence[np.ndarray], actual: Sequence[str], predicted: Sequence[str], axes: np.ndarray
) -> np.ndarray:
    """Images with their actual and predicted class names; right ones in green with a tick, wrong ones red with a cross.

    Args:
        images: n of (H, W, 3), RGB, 0..255.
        actual: n class names.
        predicted: n class names.
        axes: array of at least n Axes; those left over stay blank.
    """
    n, places = len(images), np.ravel(axes)
    if not n == len(actual) == len(predicted) <= len(places):
        raise InputError(
            f"received {n} images, {len(actual)} actual and {len(predicted)} predicted names and {len(places)} axes; "
            "accepted are as many names as images, and an Axes for each."
        )
    for ax in places:
        ax.set_axis_off()
    for ax, image, truth, guess in zip(places, images, actual, predicted, strict=False):
        right = truth == guess
        color = GREEN if right else VERMILLION
        ax.imshow(np.rint(image).astype(np.uint8))
        ax.set_axis_on()
        ax.set(xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set(color=color, linewidth=2)
        words = f"actual {in_figure(truth)}\n{'✓' if right else '✗'} predicted {in_figure(guess)}"
        ax.set_title(words, fontsize=7, color=color)
    return axes


def _label_columns(ax: Axes, names: Sequence[str]) -> None:
    slanted = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len(names) > 4 else {}
    ax.set_xticks(range(len(names)), [*map(in_figure, names)], **slanted)


def _ink(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
