"""Text that is not ours (names of classes, files, patients, methods) on its way out: one way each into a figure, a
Markdown page, a table's cell, a file's name and the terminal, in which it is shown, and does nothing."""

from __future__ import annotations

import re

# What begins a tag, a comment or a reference in Markdown; "<0.001" stays.
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_REFERENCE = re.compile(r"&(?=#?\w+;)")
_CODE = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_NOT_IN_A_NAME = re.compile(r"[\x00-\x1f/\\%]|^\.")
_LINE_ENDS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
# What a spreadsheet takes for a formula, behind the apostrophes that keep it from that.
_FORMULA = re.compile(r"'*[=+\-@\t\r].", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
# C0 and C1 but the tab and the line feed; and what turns the direction of writing, or cannot be seen.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def in_figure(text: object) -> str:
    """For matplotlib: dollars are dollars and not formulas, a label that begins with "_" keeps its place in the legend
    (behind a space), and control characters are written as in the terminal."""
    text = in_terminal(str(text)).replace("\t", " ").replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def in_markdown(text: object) -> str:
    """For one line of Markdown: tags and references are shown, images and links of the text's own are none, code in
    backticks stays as it is."""
    text, shown, start = _LINE_ENDS.sub(" ", str(text)), [], 0
    for code in _CODE.finditer(text):
        shown += [_harmless(text[start : code.start()]), code.group()]
        start = code.end()
    return "".join([*shown, _harmless(text[start:])])


def in_markdown_cell(text: object) -> str:
    """For a cell of a pipe table."""
    return in_markdown(text).replace("|", "\\|")


def in_csv(cell: str) -> str:
    """For a cell of text: one that a spreadsheet would take for a formula begins with an apostrophe; `from_csv` takes
    it away again, so that every cell is read as it was."""
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def from_csv(cell: str) -> str:
    """The cell that `in_csv` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def in_file_name(text: str) -> str:
    """For a part of a file's name: what leads to another folder, or hides the file, is written as %XX."""
    return _NOT_IN_A_NAME.sub(lambda found: f"%{ord(found[0]):02X}", text)


def in_terminal(text: str, *, keep: str = "") -> str:
    r"""For the terminal: a control character is written as its number (\x1b), so that it cannot act on the terminal.

    Args:
        text: what is written.
        keep: control characters that act all the same.
    """
    return _CONTROLS.sub(lambda found: found[0] if found[0] in keep else _number(found[0]), text)


def _number(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"


def _harmless(text: str) -> str:
    return _TAG.sub("&lt;", _REFERENCE.sub("&amp;", text)).replace("](", "]\\(")
