"""The blocks of a page as one HTML file that needs nothing beside it: no network, no other file, no script but its own.

Its looks are report.css, its sorting and copying report.js; without JavaScript everything can be read.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections.abc import Iterable, Iterator
from importlib import resources
from itertools import groupby
from pathlib import Path

import pandas as pd
from PIL import Image, UnidentifiedImageError

from tlkeras.errors import InputError, MissingInputError
from tlkeras.evaluation.blocks import Block, Bullets, Code, Figure, Folded, Heading, Table, Text, format_cell
from tlkeras.evaluation.tables import NOT_DEFINED, NOT_RUN

# A number that a word, a version ("2.5.1") or a date ("2026-01-31") does not go on from.
_LEADING_NUMBER = re.compile(r"(?:<\s*)?[+\-−]?(?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?(?![\w.-])")
# Code first: stars inside it stay stars. Code inside strong text is found on the way in.
_MARK = re.compile(r"`(?P<code>[^`]+)`|\*\*(?=\S)(?P<strong>(?:`[^`]+`|[^`])+?)(?<=\S)\*\*")
_OPTION = re.compile(r"(?<!\S)-[\w-]+")  # "--out": a browser would break the line behind its hyphens
_SMALL_FIGURE = 560  # CSS pixels up to which two figures stand side by side


def report_html(blocks: Iterable[Block], *, title: str) -> str:
    """The page as HTML that ends with a newline; see `blocks.page_as_markdown` for the other way to show it.

    Args:
        blocks: what the page holds. Headings of level 2 that no `Folded` holds make its contents list. Text is
            escaped, so that a class name cannot become a tag; `**strong**` and code in backticks are shown so.
        title: the browser's, and the page's first heading where the blocks do not begin with one of level 1.

    Raises:
        MissingInputError: the file of a figure is not there.
        InputError: it is not a PNG, or a block is of no known kind.
    """
    blocks = list(blocks)
    if not (blocks and isinstance(blocks[0], Heading) and blocks[0].level == 1):
        blocks.insert(0, Heading(title, 1))
    before, *sections = _sections(blocks)
    style, script = (
        resources.files("tlkeras.evaluation").joinpath(name).read_text(encoding="utf-8")
        for name in ("report.css", "report.js")
    )
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
{_contents(sections)}
<main>
{"".join(_section(*each) for each in (before, *sections))}</main>
<script>{script}</script>
</body>
</html>
"""


def _sections(blocks: list[Block]) -> Iterator[tuple[str, list[Block]]]:
    """What stands before the first heading of level 2, without an anchor; then each such heading with its blocks."""
    taken, anchor, inside = {""}, "", []
    for block in blocks:
        if isinstance(block, Heading) and block.level == 2:
            yield anchor, inside
            anchor, inside = re.sub(r"\W+", "-", block.text.lower()).strip("-") or "section", []
            while anchor in taken:
                anchor += "-2"
            taken.add(anchor)
        inside.append(block)
    yield anchor, inside


def _section(anchor: str, blocks: list[Block]) -> str:
    return f'<section id="{anchor}">\n{_html(blocks)}\n</section>\n' if anchor else f"{_html(blocks)}\n"


def _contents(sections: list[tuple[str, list[Block]]]) -> str:
    if not sections:
        return ""
    titles = [(anchor, block.text) for anchor, blocks in sections for block in blocks[:1] if isinstance(block, Heading)]
    links = [f'<li><a href="#{anchor}">{_inline(title)}</a></li>' for anchor, title in titles]
    inside = ["<details><summary>Contents</summary>", "<ol>", *links, "</ol>", "</details>"]
    return "\n".join(['<nav aria-label="Contents">', *inside, "</nav>"])


def _html(blocks: Iterable[Block]) -> str:
    parts = []
    for kind, run in groupby(blocks, type):
        shown = [_block(block) for block in run]
        parts += ['<div class="figures">', *shown, "</div>"] if kind is Figure else shown
    return "\n".join(parts)


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{_inline(block.text)}</h{block.level}>"
        case Text():
            return f"<p>{_inline(block.text)}</p>"
        case Bullets():
            return "\n".join(["<ul>", *[f"<li>{_inline(item)}</li>" for item in block.items], "</ul>"])
        case Code():
            # One element per line, so that a line that wraps is told from the next one.
            lines = [_OPTION.sub(r"<i>\g<0></i>", html.escape(line)) for line in block.lines]
            spans = "".join(f"<span>{line}\n</span>" for line in lines)
            return f'<div class="code"><pre><code>{spans}</code></pre></div>'
        case Table():
            return _table(block.frame)
        case Figure():
            return _figure(block)
        case Folded():
            return f"<details>\n<summary>{_inline(block.title)}</summary>\n{_html(block.blocks)}\n</details>"
    raise InputError(f"blocks: received {block!r}; accepted are the kinds in evaluation/blocks.py, e.g. Text('...').")


def _inline(text: str) -> str:
    def mark(found: re.Match) -> str:
        code, strong = found["code"], found["strong"]
        return f"<strong>{_MARK.sub(mark, strong)}</strong>" if code is None else f"<code>{code}</code>"

    return _MARK.sub(mark, html.escape(text))


def _table(frame: pd.DataFrame) -> str:
    """Cells, names and order as in `blocks.to_markdown`. A column of numbers is marked: it stands right, and report.js
    sorts it by number."""
    levels = frame.index.nlevels
    names = [*[name or "" for name in frame.index.names], *frame.columns]
    rows = [
        [format_cell(value) for value in (*(key if levels > 1 else (key,)), *values)]
        for key, values in zip(frame.index, frame.itertuples(index=False, name=None), strict=True)
    ]
    kinds = [' class="number"' if _holds_numbers(row[i] for row in rows) else "" for i in range(len(names))]
    lines = ['<div class="table"><table>', "<thead><tr>"]
    for name, kind in zip(names, kinds, strict=True):
        shown = " ".join(map(str, name)) if isinstance(name, tuple) else str(name)
        lines.append(f'<th scope="col"{kind}>{html.escape(shown)}</th>')
    lines += ["</tr></thead>", "<tbody>"]
    for row in rows:
        cells = []
        for i, (cell, kind) in enumerate(zip(row, kinds, strict=True)):
            tag, scope = ("th", ' scope="row"') if i < levels else ("td", "")
            shown = f"<em>{cell}</em>" if cell in (NOT_RUN, NOT_DEFINED) else html.escape(cell)
            cells.append(f"<{tag}{scope}{kind}>{shown}</{tag}>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</tbody>", "</table></div>"])


def _holds_numbers(cells: Iterable[str]) -> bool:
    """Whether at least half of the cells begin with a number, those left out that say there is none."""
    shown = [cell for cell in cells if cell]
    numbers = [_LEADING_NUMBER.match(cell) is not None for cell in shown if cell not in (NOT_RUN, NOT_DEFINED)]
    return bool(shown) and 2 * sum(numbers) >= len(numbers)


def _figure(figure: Figure) -> str:
    path = Path(figure.path)
    if not path.is_file():
        raise MissingInputError(f"Figure: there is no file {path}; draw it before the page is made, or leave it out.")
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            # A figure drawn at 150 dots per inch is shown at the size it was drawn for, sharp on a dense screen.
            scale = 96 / image.info.get("dpi", (96, 96))[0]
            width, height = (round(side * scale) for side in image.size)
    except UnidentifiedImageError as error:
        raise InputError(f"Figure: {path} is not a PNG file; save it as one.") from error
    small = ' class="small"' if width <= _SMALL_FIGURE else ""
    caption = f"<figcaption>{_inline(figure.caption)}</figcaption>" if figure.caption else ""
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    alt = html.escape(figure.alt)
    return f'<figure{small}><img src="{source}" alt="{alt}" width="{width}" height="{height}">{caption}</figure>'


def _digest(text: str) -> str:
    """What a Content-Security-Policy calls an inline script or style by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
