"""What an argument may be: received, accepted, what to do."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable

import numpy as np

from tlkeras.errors import InputError


def check_whole(name: str, value: object, least: int | None = None, most: int | None = None, also: str = "") -> int:
    """An integer argument as an int; the one door of all of them.

    Args:
        name: of the argument.
        value: what was received.
        least: the smallest accepted, None for any.
        most: the largest accepted, beside `least`; None for any.
        also: for the message, what is accepted besides, e.g. " (epochs), or None for never".

    Raises:
        InputError: where it is neither a Python nor a NumPy integer, or out of range. No float is taken, not even 2.0:
            where a count or a seed became one, something before went wrong. Neither is a bool.
    """
    if is_whole(value) and (least is None or value >= least) and (most is None or value <= most):
        return int(value)
    within = "" if least is None else f" of at least {least}" if most is None else f" in {least}..{most}"
    raise InputError(f"{name}: received {value!r}; accepted is an integer{within}{also}.")


def is_whole(value: object) -> bool:
    """Whether it is an integer, Python's or NumPy's; a bool is none, and neither is 2.0."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_number(name: str, value: object, fits: Callable[[float], bool], accepted: str) -> float | int:
    """A number argument as Python's own; the one door of all that need not be whole.

    Args:
        name: of the argument.
        value: what was received.
        fits: whether a finite number is in range.
        accepted: the range in words, for the message.

    Raises:
        InputError: where it is no finite number, Python's or NumPy's, or out of range. A bool is none.
    """
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if number and math.isfinite(value) and fits(value):
        return value.item() if isinstance(value, np.generic) else value
    raise InputError(f"{name}: received {value!r}; accepted is {accepted}.")


def check_rows(name: str, rows: Iterable[int], n: int) -> np.ndarray:
    """Numbers of rows as int64 (m,).

    Raises:
        InputError: where they are anything but integers (m,) in -n..n-1; -1 is the last row.
    """
    given = np.asarray(rows)
    if given.shape == (0,):  # an empty list is an array of floats
        return np.empty(0, np.int64)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        raise InputError(
            f"{name}: received {textwrap.shorten(repr(rows), 80)}, of dtype {given.dtype} and shape {given.shape}; "
            "accepted are integers (m,), e.g. from np.flatnonzero."
        )
    low, high = int(given.min()), int(given.max())
    if low < -n or high >= n:
        raise InputError(f"{name}: received {low}..{high}; of {n} rows accepted are {-n}..{n - 1}.")
    return given.astype(np.int64)


def check_image_size(image_size: tuple[int, int], smallest: int = 1, network: str | None = None) -> tuple[int, int]:
    """`image_size` as two ints.

    Raises:
        InputError: where it is not (height, width), two whole numbers of at least `smallest`, which `network` needs.
    """
    sides = tuple(image_size) if isinstance(image_size, tuple | list) else ()
    if len(sides) != 2 or not all(map(is_whole, sides)) or min(sides) < smallest:
        raise InputError(
            f"image_size: received {image_size!r}; accepted is (height, width) in pixels, each at least {smallest}"
            f"{f' for {network}' if network else ''}, e.g. (224, 224)."
        )
    return int(sides[0]), int(sides[1])
