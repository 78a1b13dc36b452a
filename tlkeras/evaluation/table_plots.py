"""Tables drawn: accuracy as bars, thresholds, classes and their confusion, the settings of a search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from tlkeras.errors import InputError
from tlkeras.evaluation.grid_search import field_in_words, lower_is_better, metric_in_words, value_in_words
from tlkeras.evaluation.plots import BLUE, COLORS, GREEN, GREY, INK_ON, ORANGE, light_grid
from tlkeras.evaluation.tables import ADJUSTED, METRICS, NOT_DEFINED, NOT_RUN
from tlkeras.user_text import in_figure

MAP = "cividis"  # made for colour-vision deficiency; its lightness rises all the way
FRAME = {"fill": False, "linewidth": 2.2, "edgecolor": "black"}
TIED = (0, (2, 1.5))
NARROWEST = 0.02  # between dark and bright: less is not made to look like more
_IN_A_LINE = 40  # characters of the names below a table of a few columns, each as wide as the longest


def draw_accuracy_bars(table: pd.DataFrame, ax: Axes, *, ylabel: str = "accuracy, %", partly: str = "not run") -> Axes:
    """Bars of `printed_tables.accuracy_table`: a group per row (backbone), a colour per method, in % from 0.

    Ours is the bar, its interval the whisker; what was printed is the hollow diamond beside it. A cell that was not
    run says so; rows of which nothing was run stand in a line below.

    Args:
        table: as `printed_tables.accuracy_table` makes it.
        ax: where to draw.
        ylabel: what the bars are.
        partly: what is written where a bar has no value and others of its row have one.
    """
    methods, absent = list(table.columns.unique("method")), rows_not_run(table)
    table = table.drop(index=absent)
    slot = 0.84 / len(methods)  # of the distance between two backbones
    printed = table.xs("published", axis=1, level="figure").notna().to_numpy().any()
    width = slot * (0.62 if printed else 0.86)
    rows = np.arange(len(table))
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
            ax.text(x, 1.5, partly, rotation=90, ha="center", va="bottom", fontsize=small, color=GREY)
        for x, value in zip(middle, figures["ours"], strict=True):
            if not np.isnan(value):
                ax.text(
                    x, 1.5, f"{value:.1f}", rotation=90, ha="center", va="bottom", fontsize=small, color=INK_ON[color]
                )
    _label_columns(ax, table.index)
    ax.set(ylim=(0, 100), ylabel=ylabel, xlim=(-0.6, len(table) - 0.4))
    if absent:
        ax.set_xlabel(in_figure(f"not run: {', '.join(absent)}"), fontsize=8, color=GREY)
    light_grid(ax, "y")
    handles: list[Artist] = [
        Patch(color=COLORS[i % len(COLORS)], label=in_figure(method)) for i, method in enumerate(methods)
    ]
    if printed:
        handles.append(
            Line2D([], [], marker="D", mfc="white", mec=GREY, mew=1.4, ms=5, linestyle="none", label="published")
        )
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(handles), 4), frameon=False)
    return ax


def rows_not_run(table: pd.DataFrame) -> list[str]:
    """The rows of `printed_tables.accuracy_table` that hold no figure of ours; none where no row holds one."""
    nothing = np.all(table.xs("ours", axis=1, level="figure").isna().to_numpy(), axis=1)
    return [] if nothing.all() else [str(row) for row in table.index[nothing]]


def draw_thresholds(table: pd.DataFrame, axes: Sequence[Axes]) -> Sequence[Axes]:
    """Accuracy where the line lies at 0.5 and where validation images put it, and beside it ROC AUC, a line per cell.

    Args:
        table: as `score_tables.threshold_table` makes it.
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
        light_grid(ax, "x")
    left.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=9)
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
    normalized = all(dtype.kind == "f" for dtype in table.dtypes)
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


def draw_grid(
    ranking: pd.DataFrame, ax: Axes, x: str = "epochs", y: str = "learning_rate", metric: str = "accuracy"
) -> Axes:
    """The mean of each pair of settings, scores in per cent, ± its sd over folds; the brighter, the better.

    The pair that was chosen has a solid frame; what shares its rank has a dashed one.

    Args:
        ranking: of `grid_search.ranking_table`.
        ax: where to draw.
        x: the field along, from its lowest value; words in the order of the ranking.
        y: the field upwards, likewise.
        metric: what it is ranked by.

    Raises:
        InputError: a field is not there, or a pair is there several times because a third field was varied.
    """
    for name, field in (("x", x), ("y", y)):
        if field not in ranking.columns:
            raise InputError(f"{name}: received {field!r}; accepted is one of {list(ranking.columns)}.")
    if ranking.duplicated([x, y]).any():
        raise InputError(
            f"ranking: a pair ({x}, {y}) is there several times; accepted is one row for each. Choose one value of the "
            "other fields before."
        )
    across, up = _values(ranking[x]), _values(ranking[y])
    settings = {(value_in_words(cell[y]), value_in_words(cell[x])): cell for _, cell in ranking.iterrows()}
    grid = [[settings.get((row, column)) for column in across] for row in up]
    factor, digits = (1, 3) if lower_is_better(metric) else (100, 1)
    means = np.array([[np.nan if cell is None else factor * cell["mean"] for cell in row] for row in grid])
    defined = means[np.isfinite(means)] if np.isfinite(means).any() else np.zeros(1)
    shades = {"cmap": MAP, "vmin": min(defined.min(), defined.max() - factor * NARROWEST), "vmax": defined.max()}
    if lower_is_better(metric):
        shades = {"cmap": f"{MAP}_r", "vmin": defined.min(), "vmax": max(defined.max(), defined.min() + NARROWEST)}
    drawn = ax.imshow(np.ma.masked_invalid(means), origin="lower", aspect="auto", **shades)
    for (row, column), mean in np.ndenumerate(means):
        cell = grid[row][column]
        if np.isnan(mean):
            words, ink = NOT_RUN if cell is None else NOT_DEFINED, GREY
        else:
            words = f"{mean:.{digits}f}" + ("" if np.isnan(cell["sd"]) else f"\n± {factor * cell['sd']:.{digits}f}")
            ink = _ink(drawn.to_rgba(mean))
        ax.text(column, row, words, ha="center", va="center", fontsize=9, color=ink)
        if cell is not None and cell["rank"] == 1 and not np.isnan(mean):
            style = "-" if cell["best"] else TIED
            ax.add_patch(Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, **FRAME, linestyle=style))
    ax.set_xticks(range(len(across)), [*map(in_figure, across)])
    ax.set_yticks(range(len(up)), [*map(in_figure, up)])
    for edges, line in ((range(1, len(across)), ax.axvline), (range(1, len(up)), ax.axhline)):
        for edge in edges:
            line(edge - 0.5, color="white", linewidth=1.5)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel=in_figure(field_in_words(x)), ylabel=in_figure(field_in_words(y)))
    frames = {"chosen": "-"} | ({"as good": TIED} if ((ranking["rank"] == 1) & ~ranking["best"]).any() else {})
    ax.legend(
        handles=[Rectangle((0, 0), 1, 1, **FRAME, linestyle=style, label=label) for label, style in frames.items()],
        title=f"mean {metric_in_words(metric)}\nover folds{'' if factor == 1 else ', %'},\n± its deviation",
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        fontsize=8,
        title_fontsize=8,
    )
    return ax


def _values(column: pd.Series) -> list[str]:
    """The values of a field in words, numbers from the lowest."""
    values = column.unique()
    return [value_in_words(v) for v in (sorted(values) if pd.api.types.is_numeric_dtype(column) else values)]


def _ink(color: Sequence[float] | np.ndarray) -> str:
    """Black or white, whichever stands out more (relative luminance and contrast: WCAG 2.2)."""
    channels = np.array(color[:3])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return "black" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "white"


def _label_columns(ax: Axes, names: Sequence[str] | pd.Index) -> None:
    words = [*map(in_figure, names)]
    side_by_side = len(words) <= 4 and len(words) * max(map(len, words)) <= _IN_A_LINE
    slanted = {} if side_by_side else {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(words)), words, **slanted)
