"""A figure of a search over two settings."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from tlkeras.errors import InputError
from tlkeras.evaluation.grid_search_tables import field_in_words, lower_is_better, metric_in_words, value_in_words
from tlkeras.evaluation.plots import GREY
from tlkeras.evaluation.tables import NOT_DEFINED, NOT_RUN
from tlkeras.user_text import in_figure

MAP = "cividis"  # made for colour-vision deficiency; its lightness rises all the way
FRAME = {"fill": False, "linewidth": 2.2, "edgecolor": "black"}
TIED = (0, (2, 1.5))
NARROWEST = 0.02  # between dark and bright: less is not made to look like more


def draw_grid(
    ranking: pd.DataFrame, ax: Axes, x: str = "epochs", y: str = "learning_rate", metric: str = "accuracy"
) -> Axes:
    """The mean of each pair of settings, scores in per cent, ± its sd over folds; the brighter, the better.

    The pair that was chosen has a solid frame; what shares its rank has a dashed one.

    Args:
        ranking: of `grid_search_tables.ranking_table`.
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


def _ink(color: tuple[float, float, float, float]) -> str:
    """Black or white, whichever stands out more (relative luminance and contrast: WCAG 2.2)."""
    channels = np.array(color[:3])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return "black" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "white"
