"""What a file holds, or in words why that is nothing to read: its bytes, or the cells of a CSV table.

A pipe is not waited for, a device does not fill the memory, and a table that could be read two ways is refused.
"""

from __future__ import annotations

import csv
import io
import os
import re
import stat
from pathlib import Path

from tlkeras.errors import InputError, MissingInputError

# 64 million pixels of four channels of 16 bits take half of it.
MAX_BYTES = 2**30

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe, not a file",
    stat.S_IFSOCK: "a socket, not a file",
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
}
# What begins with these bytes is compressed, whatever it is called.
_ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}
_QUOTE_AFTER_SPACE = re.compile(r'\s+"')  # which would make the quotes a part of the cell
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class Unreadable(Exception):
    """Why a file cannot be read, in words."""


def as_path(name: str, given: str | bytes | os.PathLike) -> str:
    """`given` as an absolute path, or an InputError for the argument `name`."""
    try:
        return os.path.abspath(os.fsdecode(given))
    except TypeError as error:
        raise InputError(f"{name}: received {given!r}; accepted is a path, e.g. 'data/flowers'.") from error


def read_bytes(path: str | os.PathLike) -> bytes:
    """All bytes of a regular file of at most `MAX_BYTES`.

    Raises:
        Unreadable: missing, a folder, a pipe, a device, too large, or closed to this user.
    """
    try:
        reason = _why_not(os.stat(path))  # before it is opened: opening alone can wait, or wind a tape
        if reason:
            raise Unreadable(reason)
        return Path(os.fsdecode(path)).read_bytes()
    except FileNotFoundError as error:
        raise Unreadable(_how_missing(path)) from error
    except PermissionError as error:
        raise Unreadable("no permission to read it") from error
    except OSError as error:
        raise Unreadable(f"the file system says: {error.strerror}") from error
    except ValueError as error:  # a NUL byte, or text that no bytes stand for
        raise Unreadable("missing: no file can have this name") from error


def unfit_to_read(path: str | os.PathLike) -> str | None:
    """Why `path` must not be opened at all, found without opening it: it is a pipe, a device, a folder or too large.

    None where it is a file, or where that only shows when it is read (missing, closed to this user).
    """
    try:
        return _why_not(os.stat(path))
    except (OSError, ValueError):
        return None


def _why_not(status: os.stat_result) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return _KINDS.get(stat.S_IFMT(status.st_mode), "not a file")
    if status.st_size > MAX_BYTES:
        return f"absurd size ({status.st_size / 2**30:,.1f} GiB; at most {MAX_BYTES / 2**30:.0f} GiB are read)"
    return None


def _how_missing(path: str | os.PathLike) -> str:
    return f"missing: a link to {os.readlink(path)!r}, which is not there" if os.path.islink(path) else "missing"


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
