"""What a page is made of, whichever way it is shown: as Markdown here, as HTML in `evaluation.report`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from tlkeras.user_text import in_markdown, in_markdown_cell


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


def to_markdown(frame: pd.DataFrame) -> str:
    """A GitHub pipe table with its columns aligned: numbers right, floats with three decimals, NaN empty.

    The index comes first under its name; levels of column names are joined by a space.
    """
    index = frame.index.to_frame(index=False)
    index.columns = [name or "" for name in frame.index.names]
    body = frame.reset_index(drop=True)
    columns = [part.iloc[:, i] for part in (index, body) for i in range(part.shape[1])]
    lines = []
    for column in columns:
        numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        name = " ".join(map(str, column.name)) if isinstance(column.name, tuple) else str(column.name)
        cells = [in_markdown_cell(name), *(in_markdown_cell(format_cell(value)) for value in column)]
        width = max(3, *map(len, cells))
        rule = "-" * (width - 1) + ":" if numeric else "-" * width
        cells = [cell.rjust(width) if numeric else cell.ljust(width) for cell in cells]
        lines.append([cells[0], rule, *cells[1:]])
    return "".join(f"| {' | '.join(row)} |\n" for row in zip(*lines, strict=True))


def format_cell(value: Any) -> str:
    """A value as tables show it: floats with three decimals, NaN and None empty, anything else as it is."""
    if pd.isna(value):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


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
