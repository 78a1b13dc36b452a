"""What a command says, on streams that may be closed, full, or read by someone who has left: it never ends the work."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from tlkeras.user_text import in_terminal

_BAR = "\r"  # a progress bar goes back to the beginning of its line


class Terminal:
    """A text stream that shows control characters instead of sending them, and what it cannot encode by its number.

    Where nothing can be written any more, what follows is dropped, and `failure` says why. Everything else is the
    stream's own.
    """

    def __init__(self, stream: TextIO, keep: str = ""):
        self.stream, self.failure, self._keep = stream, None, keep

    def write(self, text: str) -> int:
        """Writes what can be written; the length of `text`, whatever became of it."""
        self._attempt(lambda: self._write(in_terminal(text, keep=self._keep)))
        return len(text)

    def flush(self) -> None:
        """Sends what was written."""
        self._attempt(self.stream.flush)

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
        except UnicodeEncodeError as error:
            self.stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))

    def _attempt(self, act: Callable[[], object]) -> None:
        if self.failure is not None:
            return
        try:
            act()
        except (OSError, ValueError) as error:  # a ValueError where it was closed in this process
            self.failure = error
            _lead_nowhere(self.stream)


@contextlib.contextmanager
def guarded_terminal() -> Iterator[tuple[Terminal, Terminal]]:
    """Standard output and standard error as `Terminal`s while the block runs; either may have been closed before."""
    for number in (0, 1, 2):  # where one is closed, the next file to be opened would take its place, and its text
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest number that is free
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = output, errors = (
            Terminal(sys.stdout or nowhere),
            Terminal(sys.stderr or nowhere, keep=_BAR),
        )
        try:
            yield output, errors
        finally:
            output.flush()
            errors.flush()
            sys.stdout, sys.stderr = before


def _lead_nowhere(stream: TextIO) -> None:
    """What the stream still holds would fail once more when Python ends, and be told with a traceback."""
    with contextlib.suppress(OSError, ValueError):
        number, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
