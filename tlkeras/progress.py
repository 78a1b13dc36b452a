"""Where long work is: lines through `logging` (logger `tlkeras`), bars on standard error where that is a terminal.

One setting for both, the level of the logger: after `logging.getLogger("tlkeras").setLevel("WARNING")` there are
neither lines nor bars. Lines go to a program's own handlers where it has some, and to standard error where it has none:
what it prints to standard output stays its own.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

LOGGER = logging.getLogger("tlkeras")
_PATIENCE = 2  # seconds: work that takes less shows no bar


class _Unheard(logging.StreamHandler):
    """Writes to standard error what nobody else handles: what `logging` itself does for warnings alone.

    Where it cannot be written, as after a reader has left, the work goes on.
    """

    def __init__(self):
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Standard error as it is when the line comes; None where the program has none."""
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        if self.stream is not None and not logging.getLogger().handlers:
            super().emit(record)


def start_speaking() -> None:
    """Lets the lines through, unless the program has set the logger's level before; called once, by the package."""
    if LOGGER.level == logging.NOTSET:
        LOGGER.setLevel(logging.INFO)
    LOGGER.addHandler(_Unheard())


def say(text: str) -> None:
    """A line, at the level INFO."""
    LOGGER.info("%s", text)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Inside, neither lines nor bars: for work of which its caller says itself where it is. Warnings come through."""
    before = LOGGER.level
    LOGGER.setLevel(max(before, logging.WARNING))
    try:
        yield
    finally:
        LOGGER.setLevel(before)


def bar(title: str, total: int | None, unit: str = "it") -> tqdm:
    """A bar over `total` steps, shown where they take longer than two seconds; gone when it is closed.

    Args:
        title: what is done.
        total: how many steps there are; None where that is not known.
        unit: what a step is of, e.g. "image".
    """
    from tqdm import tqdm

    shown = LOGGER.isEnabledFor(logging.INFO) and sys.stderr is not None and sys.stderr.isatty()
    return tqdm(total=total, desc=title, unit=unit, leave=False, delay=_PATIENCE, disable=not shown)
