"""Figures of the exploratory analysis of HAM10000: drawn from `exploration_table`, the numbers written on them."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ham10000_exploration.tables import CELL_TYPES, DIAGNOSIS_METHODS, UNKNOWN
from tlkeras.errors import InputError
from tlkeras.evaluation.plots import BLUE, COLORS, GREEN, ORANGE
from tlkeras.user_text import in_figure

LIGHT = "#BBBBBB"
NAMES = {code: f"{name} ({code})" for code, name in {**CELL_TYPES, **DIAGNOSIS_METHODS}.items()}
# One colour per value in every figure that shows it.
COLOR_OF = {
    **dict(zip(CELL_TYPES, COLORS, strict=True)),
    **dict(zip(DIAGNOSIS_METHODS, (BLUE, ORANGE, GREEN, COLORS[3]), strict=True)),
    **{"male": BLUE, "female": ORANGE, UNKNOWN: LIGHT, "recorded": BLUE, "filled with the mean": ORANGE},
}


def draw_counts(table: pd.DataFrame, ax: Axes) -> Axes:
    """A horizontal bar per value, in the order of the table, its images and their share written beside it.

    Args:
        table: of `tables.counts_table` without `by`: value, images, share (0..1).
        ax: where to draw.
    """
    rows = np.arange(len(table))
    ax.barh(rows, table["images"], color=[COLOR_OF.get(value, BLUE) for value in table["value"]], height=0.72)
    for row, images, share in zip(rows.tolist(), table["images"], table["share"], strict=True):
        _write_beside(ax, images, row, f"{images:,}  ({100 * share:.1f} %)")
    ax.set_yticks(rows, [in_figure(wrap(NAMES.get(value, value), 40)) for value in table["value"].astype(str)])
    return _finish_rows(ax, 1.22 * table["images"].max(), int(table["images"].sum()))


def draw_ages(table: pd.DataFrame, ax: Axes) -> Axes:
    """A column per age bin, the filled ages on top of the recorded ones, the number of images above both.

    Args:
        table: the rows "age" of `tables.exploration_table`: group, value (the bin's lower edge in years), images.
        ax: where to draw.
    """
    images = _by_group(table)
    columns, below = np.arange(len(images)), np.zeros(len(images))
    for group in images.columns:
        color = COLOR_OF.get(group, GREEN)
        ax.bar(columns, images[group], bottom=below, width=0.86, color=color, label=_legend_label(images, group))
        below = below + images[group].to_numpy()
    for column, n in zip(columns.tolist(), below, strict=True):
        _write_above(ax, column, n, f"{n:,.0f}", fontsize=7)
    ax.legend(frameon=False, loc="upper left")
    label = f"age, years, lower edge of 5-year bins (n = {below.sum():,.0f} images)"
    return _finish_columns(ax, images.index, 1.06 * below.max(), xlabel=label, ylabel="images")


def draw_diagnosis_methods(table: pd.DataFrame, ax: Axes) -> Axes:
    """A pie of the ways of diagnosis (figure 5), clockwise from the left, a wedge named with its images and share.

    Args:
        table: of `tables.counts_table` of dx_type: value, images, share (0..1).
        ax: where to draw.
    """
    names = [DIAGNOSIS_METHODS.get(value, value) for value in table["value"]]
    labels = [
        in_figure(f"{name}\n{images:,} ({100 * share:.1f} %)")
        for name, images, share in zip(names, table["images"], table["share"], strict=True)
    ]
    # The smallest wedges come last, so at the left, where two lines of text lie above each other without touching.
    ax.pie(
        table["images"],
        labels=labels,
        colors=[COLOR_OF.get(value, LIGHT) for value in table["value"]],
        startangle=180,
        counterclock=False,
        wedgeprops={"edgecolor": "white", "linewidth": 1},
    )
    return ax


def draw_counts_by(table: pd.DataFrame, ax: Axes, *, stacked: bool = False) -> Axes:
    """Horizontal bars per value: a bar per group with its images beside it, or one bar cut into groups with the sum.

    Args:
        table: of `tables.counts_table` with `by`: group, value, images.
        ax: where to draw.
        stacked: one bar, for groups too many to compare bar by bar.
    """
    images = _by_group(table)
    rows, left = np.arange(len(images)), np.zeros(len(images))
    height = 0.72 if stacked else 0.84 / images.shape[1]
    for i, group in enumerate(images.columns):
        middle = rows if stacked else rows - 0.42 + (i + 0.5) * height
        color = COLOR_OF.get(group, GREEN)
        ax.barh(middle, images[group], left=left, height=height, color=color, label=_legend_label(images, group))
        if stacked:
            left = left + images[group].to_numpy()
        else:
            for row, n in zip(middle.tolist(), images[group], strict=True):
                _write_beside(ax, n, row, f"{n:,}", color="black" if n else LIGHT)
    ends = images.sum(axis=1) if stacked else images.max(axis=1)
    for row, n in enumerate(ends) if stacked else ():
        _write_beside(ax, n, row, f"{n:,}")
    ax.set_yticks(rows, [*map(in_figure, images.index)])
    ax.legend(frameon=False, loc="lower right", fontsize=9)
    return _finish_rows(ax, 1.12 * ends.max(), images.to_numpy().sum())


def draw_two_way_counts(table: pd.DataFrame, ax: Axes) -> Axes:
    """A cell per value (row) and group (column): its images, shaded by their share of the group.

    Args:
        table: of `tables.counts_table` with `by`: group, value, images, share (0..1).
        ax: where to draw.
    """
    images, shares = _by_group(table), _by_group(table, "share").to_numpy()
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), n in np.ndenumerate(images.to_numpy()):
        ink = LIGHT if n == 0 else "white" if shares[row, column] > 0.55 else "black"
        ax.text(column, row, f"{n:,}", ha="center", va="center", fontsize=8, color=ink)
    ax.set_xticks(range(images.shape[1]), [*map(in_figure, images.columns)])
    ax.set_yticks(range(len(images)), [*map(in_figure, images.index)])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("images, shaded by share of the column")
    return ax


def draw_images_per_lesion(table: pd.DataFrame, ax: Axes) -> Axes:
    """One column per number of images, as high as there are lesions with it; lesions and images written above.

    Args:
        table: the rows "images_per_lesion" of `tables.exploration_table`: value (images of a lesion), lesions, images.
        ax: where to draw.
    """
    columns = np.arange(len(table))
    ax.bar(columns, table["lesions"], width=0.72, color=BLUE)
    for column, lesions, images in zip(columns.tolist(), table["lesions"], table["images"], strict=True):
        _write_above(ax, column, lesions, f"{lesions:,} lesions\n{images:,} images", fontsize=8)
    label = f"images of one lesion (n = {table['lesions'].sum():,} lesions)"
    return _finish_columns(ax, table["value"], 1.15 * table["lesions"].max(), xlabel=label, ylabel="lesions")


def draw_sheet(rows: Sequence[Sequence[np.ndarray]], labels: Sequence[str], ax: Axes, *, gap: int = 6) -> Axes:
    """Rows of images of one size on white, each row named at its left; a row may be shorter than the others.

    Args:
        rows: n rows of (H, W, 3), RGB, 0..255; other values than whole ones are rounded.
        labels: n texts.
        ax: where to draw.
        gap: pixels of white between images.
    """
    sizes = {image.shape for row in rows for image in row}
    if len(sizes) != 1 or len(rows) != len(labels):
        raise InputError(
            f"received {len(rows)} rows with images of shapes {sorted(sizes)} and {len(labels)} labels; accepted are "
            "images of one shape (H, W, 3) and a label for each row."
        )
    ((height, width, _),) = sizes
    down, right = height + gap, width + gap
    sheet = np.full((len(rows) * down - gap, max(map(len, rows)) * right - gap, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            sheet[i * down : i * down + height, j * right : j * right + width] = np.rint(image)
    ax.imshow(sheet)
    ax.set_yticks([i * down + (height - 1) / 2 for i in range(len(rows))], [*map(in_figure, labels)])
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def _by_group(table: pd.DataFrame, column: str = "images") -> pd.DataFrame:
    """Values as rows and groups as columns, both in the order of the table."""
    return table.pivot(index="value", columns="group", values=column).reindex(
        index=table["value"].unique(), columns=table["group"].unique()
    )


def _legend_label(images: pd.DataFrame, group: str) -> str:
    return in_figure(f"{wrap(NAMES.get(group, group), 40)}, {images[group].sum():,}")


def wrap(text: str, width: int) -> str:
    """The text in lines of at most `width` characters."""
    return "\n".join(textwrap.wrap(text, width))


def _write_beside(ax: Axes, x: float, y: float, text: str, color: str = "black") -> None:
    ax.annotate(text, (x, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color=color)


def _write_above(ax: Axes, x: float, y: float, text: str, fontsize: float) -> None:
    ax.annotate(text, (x, y), xytext=(0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=fontsize)


def _finish_rows(ax: Axes, longest: float, n: int) -> Axes:
    """The first row on top, and no scale: the numbers stand at the bars."""
    ax.set(xlim=(0, longest), ylim=(len(ax.get_yticks()) - 0.5, -0.5), xticks=[], xlabel=f"images (n = {n:,})")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    return ax


def _finish_columns(ax: Axes, values: Collection[str], highest: float, **labels: str) -> Axes:
    """No scale either."""
    ax.set_xticks(range(len(values)), [*map(in_figure, values)])
    ax.set(xlim=(-0.6, len(values) - 0.4), ylim=(0, highest), yticks=[], **labels)
    ax.tick_params(axis="x", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return ax
