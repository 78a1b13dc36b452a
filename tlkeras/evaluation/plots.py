"""What every figure shares: its colours, how it is made, fonts for names in any writing, how it is written.

Every `draw_*` draws on the Axes it is given and returns it; pyplot stays out. Colours are those of Okabe & Ito (Color
Universal Design, 2008), told apart with any colour vision. Matplotlib's own font has no Chinese, Japanese or Korean,
and draws boxes instead.
"""

from __future__ import annotations

import os
import warnings
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

from tlkeras.errors import InputError
from tlkeras.files import atomic_write

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
COLORS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", VERMILLION, "#000000")
INK_ON = dict(zip(COLORS, ("white", "black", "white", "black", "black", "white", "white"), strict=True))
LINE_STYLES = ("-", "--", ":")
GREY = "#666666"
_REGULAR = range(300, 501)  # weights
_BOXES = "LastResort"  # has every character, as a box


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


def light_grid(ax: Axes, axis: Literal["x", "y", "both"] = "both") -> None:
    """Faint lines behind what is drawn, along "x", "y" or "both", and no frame above and at the right."""
    ax.grid(axis=axis, color="0.9", zorder=0)
    ax.spines[["top", "right"]].set_visible(False)


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


def choose_fonts(figure: Figure, path: str | os.PathLike) -> None:
    """Gives the texts that their font cannot write an installed one that can, and warns where there is none.

    Args:
        figure: its texts are changed.
        path: what the figure is called in the warning.
    """
    lacking = set()
    for text in figure.findobj(Text):
        missing = {each for each in text.get_text() if each.isprintable()} - _characters(
            findfont(text.get_fontproperties())
        )
        if missing:
            family, left = _font_for(frozenset(missing))
            text.set_fontfamily([*text.get_fontfamily(), *family])
            lacking |= left
    if lacking:
        warnings.warn(
            f"{os.fspath(path)}: no installed font has {' '.join(sorted(lacking))}; boxes stand in their place. "
            "Install a font that has them, for Chinese, Japanese and Korean e.g. Noto Sans CJK (fonts-noto-cjk).",
            stacklevel=3,
        )


@cache
def _font_for(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The families that have most of the characters, each adding some, and the characters that none has."""
    left, families = characters, []
    upright = {font.name for font in fontManager.ttflist if font.style == "normal" and font.weight in _REGULAR}
    for name in sorted(upright):
        file = findfont(FontProperties(family=[name]))  # the one of the family that will be drawn with
        if left and _BOXES not in os.path.basename(file) and (found := left & _characters(file)):
            families.append(name)
            left -= found
    return tuple(families), left


@cache
def _characters(file: str) -> frozenset[str]:
    return frozenset(map(chr, get_font(file).get_charmap()))
