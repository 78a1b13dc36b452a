"""What a page is made of, whichever way it is shown: as Markdown here, as HTML in `evaluation.report`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tlkeras.evaluation.tables import to_markdown
from tlkeras.user_text import in_markdown

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Heading:
    """A title; level 1 is the page's."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph. `**strong**` and code in backticks are shown so; everything else is as it stands."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list; items as in `Text`."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Commands to copy, one in a line."""

    lines: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """A table; its index comes first, under its name."""

    frame: pd.DataFrame


@dataclass(frozen=True)
class Figure:
    """A PNG file. `alt` says what it shows to who cannot see it."""

    path: Path
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Folded:
    """Blocks behind a title that opens them."""

    title: str
    blocks: tuple[Block, ...]


Block = Heading | Text | Bullets | Code | Table | Figure | Folded


def bullets(title: str, items: Iterable[str]) -> list[Block]:
    """A titled list; nothing where there are no items."""
    items = tuple(items)
    return [Heading(title), Bullets(items)] if items else []


def page_as_markdown(blocks: Iterable[Block], folder: str | os.PathLike) -> str:
    """The page as Markdown that ends with a newline, for a file in `folder`: figures are linked relative to it."""
    return "\n".join(line for block in blocks for line in _lines(block, Path(folder))).rstrip("\n") + "\n"


def _lines(block: Block, folder: Path) -> list[str]:
    match block:
        case Heading():
            return [f"{'#' * block.level} {in_markdown(block.text)}", ""]
        case Text():
            return [in_markdown(block.text), ""]
        case Bullets():
            return [*[f"- {in_markdown(item)}" for item in block.items], ""]
        case Code():
            return ["```sh", *block.lines, "```", ""]
        case Table():
            return [to_markdown(block.frame)]
        case Figure():
            path = quote(Path(os.path.relpath(block.path, folder)).as_posix())
            caption = [in_markdown(block.caption), ""] if block.caption else []
            return [f"![{in_markdown(block.alt)}]({path})", "", *caption]
        case Folded():
            inner = [line for each in block.blocks for line in _lines(each, folder)]
            return ["<details>", f"<summary>{in_markdown(block.title)}</summary>", "", *inner, "</details>", ""]
