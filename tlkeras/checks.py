"""What a field or an argument may be, declared: received, accepted, what to do.

A dataclass names the constraints of its fields and applies them in `__post_init__` by `check_fields`; a function checks
an argument by `real(above=0).check("temperature", temperature)`. scikit-learn's parameter validation is the model.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np

from tlkeras.errors import InputError


def _python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class Constraint:
    """What a value may be.

    Attributes:
        accepted: in words, after "accepted": " is an integer of at least 1", ": 'adam', 'sgd'".
        fits: whether a value is accepted.
        kept: what is kept of one that is; NumPy's numbers become Python's.
    """

    accepted: str
    fits: Callable[[Any], bool]
    kept: Callable[[Any], Any] = _python

    def check(self, name: str, value: object) -> Any:
        """What is kept of the value of that name.

        Raises:
            InputError: it does not fit; says what was received and what is accepted.
        """
        if not self.fits(value):
            raise InputError(f"{name}: received {value!r}; accepted{self.accepted}.")
        return self.kept(value)

    def also(self, words: str) -> Constraint:
        """The same with further words of what is accepted: a unit, what it is for."""
        return replace(self, accepted=self.accepted + words)


def whole(least: int | None = None, most: int | None = None) -> Constraint:
    """An integer, Python's or NumPy's, of at least `least` and, beside it, at most `most`.

    No float is taken, not even 2.0: where a count or a seed became one, something before went wrong. Neither is a bool.
    """
    within = "" if least is None else f" of at least {least}" if most is None else f" in {least}..{most}"
    return Constraint(
        f" is an integer{within}",
        lambda value: is_whole(value) and (least is None or value >= least) and (most is None or value <= most),
    )


def real(
    *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf, below: float = math.inf
) -> Constraint:
    """A finite number, Python's or NumPy's, in a range: `least` and `most` belong to it, `above` and `below` do not.

    A bool is no number.
    """
    low, high = max(least, above), min(most, below)
    within = f" of at least {low:g}" if least > above else f" above {low:g}"
    if math.isfinite(high):
        within = f" in {'[' if least > above else '('}{low:g}, {high:g}{']' if most < below else ')'}"
    return Constraint(
        f" is a number{within}",
        lambda value: _is_number(value) and least <= value <= most and above < value < below,
    )


def one_of(*values: str | None) -> Constraint:
    """One of these words, or None where it is among them."""
    return Constraint(
        f": {', '.join(map(repr, values))}", lambda value: (value is None or isinstance(value, str)) and value in values
    )


def flag() -> Constraint:
    """True or False, NumPy's too."""
    return Constraint(" is True or False", lambda value: isinstance(value, bool | np.bool_))


def instance_of(kind: type, words: str) -> Constraint:
    """An object of a class, `words` naming it."""
    return Constraint(f" is {words}", lambda value: isinstance(value, kind))


def several(each: Constraint, words: str, least: int = 1) -> Constraint:
    """A tuple or list of at least so many values, each of one kind, `words` naming them; it is kept as a tuple."""
    return Constraint(
        f" are {words}",
        lambda value: isinstance(value, tuple | list) and len(value) >= least and all(map(each.fits, value)),
        lambda value: tuple(map(each.kept, value)),
    )


def mapping() -> Constraint:
    """A dict or the like; a copy of it is kept, NumPy's numbers as Python's."""
    return Constraint(
        " is a dict",
        lambda value: isinstance(value, Mapping),
        lambda value: {name: _python(item) for name, item in value.items()},
    )


def either(*constraints: Constraint) -> Constraint:
    """What fits one of these, and is kept as the first of them keeps it."""
    first, *others = (each.accepted for each in constraints)
    return Constraint(
        ", or".join([first, *(words.removeprefix(" is").removeprefix(" are").removeprefix(":") for words in others)]),
        lambda value: any(each.fits(value) for each in constraints),
        lambda value: next(each for each in constraints if each.fits(value)).kept(value),
    )


def or_none(constraint: Constraint) -> Constraint:
    """What fits this, or None."""
    return either(constraint, one_of(None))


def check_fields(owner: object, constraints: Mapping[str, Constraint], of: str = "") -> None:
    """Checks the fields of a frozen dataclass in its `__post_init__`, and keeps of them what the constraints keep.

    Args:
        owner: the dataclass.
        constraints: {field: what it may be}.
        of: for the message, whose fields they are, e.g. " of vgg16".

    Raises:
        InputError: names the field, what it received and what it accepts.
    """
    for name, constraint in constraints.items():
        kept = constraint.check(f"{type(owner).__name__}.{name}{of}", getattr(owner, name))
        object.__setattr__(owner, name, kept)


def check_whole(name: str, value: object, least: int | None = None, most: int | None = None, also: str = "") -> int:
    """An integer argument of a function as an int; see `whole`. `also` is said of what is accepted."""
    return whole(least, most).also(also).check(name, value)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is an integer, Python's or NumPy's; a bool is none, and neither is 2.0."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return number and math.isfinite(value)


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


def check_rising(name: str, values: object) -> tuple[float, ...]:
    """Numbers of which each is larger than the one before.

    Raises:
        InputError: they are none.
    """
    rising = several(real(), "numbers that rise").check(name, values)
    if sorted(set(rising)) != list(rising):
        raise InputError(f"{name}: received {values}; accepted are numbers that rise.")
    return rising


def check_image_size(
    image_size: tuple[int, int], smallest: int = 1, network: str | None = None, name: str = "image_size"
) -> tuple[int, int]:
    """`image_size` as two ints.

    Raises:
        InputError: where it is not (height, width), two whole numbers of at least `smallest`, which `network` needs.
    """
    sides = tuple(image_size) if isinstance(image_size, tuple | list) else ()
    if len(sides) != 2 or not all(map(is_whole, sides)) or min(sides) < smallest:
        raise InputError(
            f"{name}: received {image_size!r}; accepted is (height, width) in pixels, each at least {smallest}"
            f"{f' for {network}' if network else ''}, e.g. (224, 224)."
        )
    return int(sides[0]), int(sides[1])
