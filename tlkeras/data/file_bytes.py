"""The bytes of a file, or in words why there are none: a pipe is not waited for, a device does not fill the memory."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tlkeras.errors import InputError

# 64 million pixels of four channels of 16 bits take half of it.
MAX_BYTES = 2**30

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe, not a file",
    stat.S_IFSOCK: "a socket, not a file",
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
}


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
