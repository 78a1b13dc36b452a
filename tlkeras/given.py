"""Fields of dataclasses that take more than they keep, as editors and type checkers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

_Taken = TypeVar("_Taken", contravariant=True)
_Kept = TypeVar("_Kept", covariant=True)


class Given(Generic[_Taken, _Kept]):
    """The annotation of such a field: what the constructor takes, and what `__post_init__` makes of it.

    Nothing is ever an instance: for a checker, a descriptor is what may be set as one type and read as another.
    """

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: object) -> _Kept: ...
        def __set__(self, instance: object, value: _Taken) -> None: ...


def default(value: object) -> Any:
    """`value`, as the default of such a field: to a checker it would be no `Given`."""
    return value
