"""Exclusive locks on open files; the system frees them when their holder ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import IO

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None
    import msvcrt

_AGAIN = 0.1  # seconds between two questions where waiting cannot be left to the system


@contextlib.contextmanager
def locked_file(file: IO, *, wait: bool = False) -> Iterator[None]:
    """Holds an open file, in which nothing need stand.

    Args:
        file: open for writing.
        wait: for another holder to let go; otherwise there is an error at once.

    Raises:
        BlockingIOError: another process holds it.
        OSError: its file system keeps no locks.
    """
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield  # closing the file gives it back
        return
    while not _took_first_byte(file):
        if not wait:
            raise BlockingIOError(f"{file.name} is held by another process")
        time.sleep(_AGAIN)
    try:
        yield
    finally:  # closing gives it back too, but some time later
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)


def _took_first_byte(file: IO) -> bool:
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # Windows locks from here on, also behind the end
    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    return True
