"""A CSV file as it stands written: text cells under one header, refused in words where they could be read two ways."""

from __future__ import annotations

import csv
import io
import os
import re

from tlkeras.data.file_bytes import MAX_BYTES, Unreadable, read_bytes
from tlkeras.errors import InputError, MissingInputError

# What begins with these bytes is compressed, whatever it is called.
_ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}
_QUOTE_AFTER_SPACE = re.compile(r'\s+"')  # which would make the quotes a part of the cell
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_text(file: str | os.PathLike) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Raises:
        InputError: it is no text in UTF-8.
        MissingInputError: it is not there.
    """
    try:
        contents = read_bytes(file)
    except Unreadable as error:
        if str(error).startswith("missing"):
            raise MissingInputError(f"there is no file {os.fspath(file)}.") from error
        raise _refusal(file, f"{error}") from error
    for signature, kind in _ARCHIVES.items():
        if contents.startswith(signature):
            raise _refusal(file, f"it is {kind}. Unpack it, or save the table as CSV")
    try:
        text = contents.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = contents.count(b"\n", 0, error.start) + 1
        raise _refusal(file, f"{error}, in line {line}. Save it as UTF-8") from error
    if "\0" in text:
        raise _refusal(file, f"NUL byte in line {text.count(chr(10), 0, text.index(chr(0))) + 1}. Save it as UTF-8")
    return text


def read_rows(file: str | os.PathLike) -> tuple[list[str], list[list[str]]]:
    """The header and the rows below it, every cell as written; lines without anything on them are left out.

    Raises:
        InputError: no table, a column named twice, rows of another length than the header.
        MissingInputError: there is no such file.
    """
    csv.field_size_limit(MAX_BYTES)  # a mask in a cell may be long
    reader = csv.reader(io.StringIO(read_text(file), newline=""), strict=True)  # ends of lines may be mixed
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise _refusal(file, f"{error}, in line {reader.line_num}. Correct its quotes") from error
    if not lines:
        raise _refusal(file, "it is empty")
    header, body = lines[0][1], lines[1:]
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise InputError(f"{os.fspath(file)} names a column twice: {', '.join(repeated)}. Keep one of each.")
    other = next((words for mark, words in _SEPARATORS.items() if len(header) == 1 and mark in header[0]), None)
    if other:
        raise _refusal(file, f"its header is {header[0]!r}. Separate the columns by commas, not by {other}")
    quoted = [str(number) for number, cells in lines if any(_QUOTE_AFTER_SPACE.match(cell) for cell in cells)]
    if quoted:
        raise _refusal(file, f"a space stands before a quote in line {', '.join(quoted[:3])}. Remove such spaces")
    ragged = [f"line {number} has {len(cells)}" for number, cells in body if len(cells) != len(header)]
    if ragged:
        more = f" and {len(ragged) - 3} more" if len(ragged) > 3 else ""
        raise InputError(
            f"{os.fspath(file)}: {', '.join(ragged[:3])}{more} cells, its header {len(header)}. Correct these lines; "
            "a cell that holds a comma stands in quotes."
        )
    return header, [cells for _, cells in body]


def _refusal(file: str | os.PathLike, reason: str) -> InputError:
    return InputError(f"{os.fspath(file)} is not a comma-separated UTF-8 table with a header: {reason}.")
