"""Fonts for names in any writing: matplotlib's own has no Chinese, Japanese or Korean, and draws boxes instead."""

from __future__ import annotations

import os
import warnings
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

_REGULAR = range(300, 501)  # weights
_BOXES = "LastResort"  # has every character, as a box


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
