"""Classes, groups and parts as they are written, and the numbers of the classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from tlkeras.data.identifiers import (
    WRITTEN_TWICE,
    in_one_spelling,
    matching,
    normal_form,
    spelled_alike,
    told_alike,
)
from tlkeras.errors import InputError

_PART = re.compile(r"(?:(train|training)|(val|valid|validation|dev|development)|test|testing)(?:[ _-]?set)?([0-9]*)")


def label_numbers(
    names: Sequence[str], class_names: Sequence[str] | None, source: str, normalise: str | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Each sample's class name as a number, int64 (n,), and the class names in the order of the numbers.

    `normalise` as in `identifiers.in_one_spelling`; with "join", names are also taken for those of `class_names`.
    """
    names = in_one_spelling(names, source, "classes", normalise)
    if class_names is None:
        class_names = sorted(set(names))
        if all(re.fullmatch(r"-?[0-9]{1,18}(\.0*)?", name) for name in class_names):
            class_names.sort(key=Decimal)
    class_names = tuple(str(name) for name in class_names)
    check_class_names(class_names, source)
    label_of = {class_name: label for label, class_name in enumerate(class_names)}
    if normalise is not None:
        meant = {name: matching(name, class_names) for name in set(names) - set(label_of)}
        names = [meant[name][0] if meant.get(name) else name for name in names]
    unknown = sorted(set(names) - set(label_of))
    if unknown:
        near = [(name, other) for name in unknown for other in matching(name, class_names)]
        hint = f' {told_alike(near)} {WRITTEN_TWICE}: normalise="join" takes them for one.' if near else ""
        raise InputError(f"{source}: {few(unknown)} are not among class_names {list(class_names)}.{hint}")
    return np.array([label_of[name] for name in names], dtype=np.int64), class_names


def check_class_names(class_names: Sequence[str], source: str) -> None:
    """Refuses fewer than two classes, names that only look different, and names that are no text."""
    if len(class_names) < 2:
        raise InputError(f"{source}: found the classes {list(class_names)}; a classifier needs two or more.")
    for name in class_names:
        if not normal_form(name):
            raise InputError(f"{source}: a class is called {name!r}. Give it a name.")
        if not _is_text(name):
            raise InputError(f"{source}: the class name {name!r} is not UTF-8. Rename the class.")
    alike = spelled_alike(class_names)
    if alike:
        raise InputError(f"{source}: classes {told_alike(alike)} {WRITTEN_TWICE}. Use one name.")


def as_groups(groups: Sequence[str] | None, normalise: str | None = None) -> list[str] | None:
    """The groups as text, each image's own and each in one spelling; an image without one is refused."""
    if groups is None:
        return None
    groups = list(groups)
    empty = [str(row) for row, group in enumerate(groups) if is_empty(group)]
    if empty:
        raise InputError(f"groups: no group for images {few(empty)}. Give an image of its own a name of its own.")
    return in_one_spelling([str(group) for group in groups], "groups", "the names", normalise)


def part_names(parts: Sequence[str], source: str, normalise: str | None = None) -> list[str]:
    """The parts as this package writes them, see `part_name`; `normalise` as in `identifiers.in_one_spelling`."""
    form = lambda name: part if is_part(part := part_name(name)) else normal_form(name)  # noqa: E731
    why = "mean the same part"
    return [part_name(name) for name in in_one_spelling(parts, source, "parts", normalise, form, why)]


def part_name(name: str) -> str:
    """A part's name as this package writes it, "val" for "Validation" and "dev "; any other name as it is."""
    found = _PART.fullmatch(normal_form(name))
    if found is None:
        return name
    train, val, number = found.groups()
    if not (train or val):
        return f"test{number}"
    return name if number else "train" if train else "val"


def is_part(name: str) -> bool:
    """Whether a folder of this name is a part: train, val, test, test1, ..."""
    return re.fullmatch(r"train|val|test[0-9]*", name) is not None


def is_empty(value: object) -> bool:
    """Whether a cell says nothing: None, NaN, no text that shows, or the text that programs write for NaN."""
    text = "" if value is None else str(value)
    return (text.strip().casefold() if text.isascii() else normal_form(text)) in ("", "nan", "<na>", "nat")


def few(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:  # a folder's name of other bytes
        return False
    return True
