"""Classes, groups and parts as they are written, and the numbers of the classes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from tlkeras.schema import InputError


def label_numbers(
    names: Sequence[str], class_names: Sequence[str] | None, source: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Each sample's class name as a number, int64 (n,), and the class names in the order of the numbers."""
    if class_names is None:
        class_names = sorted(set(names))
        if all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in class_names):
            class_names.sort(key=int)
    class_names = tuple(str(name) for name in class_names)
    check_class_names(class_names, source)
    label_of = {class_name: label for label, class_name in enumerate(class_names)}
    unknown = sorted(set(names) - set(label_of))
    if unknown:
        raise InputError(f"{source}: {few(unknown)} are not among class_names {list(class_names)}.")
    return np.array([label_of[name] for name in names], dtype=np.int64), class_names


def check_class_names(class_names: Sequence[str], source: str) -> None:
    """Refuses fewer than two classes, names that only look different, and names that are no text."""
    if len(class_names) < 2:
        raise InputError(f"{source}: found the classes {list(class_names)}; a classifier needs two or more.")
    seen = {}
    for name in class_names:
        if not name.strip():
            raise InputError(f"{source}: a class is called {name!r}. Give it a name.")
        if not _is_text(name):
            raise InputError(f"{source}: the class name {name!r} is not UTF-8. Rename the class.")
        other = seen.setdefault(unicodedata.normalize("NFC", name).strip().casefold(), name)
        if other != name:
            raise InputError(
                f"{source}: classes {other!r} and {name!r} differ only in case or spaces, or in how an accent is "
                "stored. Use one name."
            )


def as_groups(groups: Sequence[str] | None) -> list[str] | None:
    """The groups as text, each image's own; an image without one is refused."""
    if groups is None:
        return None
    groups = list(groups)
    empty = [str(row) for row, group in enumerate(groups) if is_empty(group)]
    if empty:
        raise InputError(f"groups: no group for images {few(empty)}. Give an image of its own a name of its own.")
    return [str(group) for group in groups]


def part_name(name: str) -> str:
    """A part's name as this package writes it; any other name as it is."""
    lower = name.lower()
    if lower in ("valid", "validation"):
        return "val"
    return lower if is_part(lower) else name


def is_part(name: str) -> bool:
    """Whether a folder of this name is a part: train, val, test, test1, ..."""
    return re.fullmatch(r"train|val|test[0-9]*", name) is not None


def is_empty(value: object) -> bool:
    """Whether a cell says nothing: None, NaN, no text, or the text that programs write for NaN."""
    return value is None or str(value).strip().casefold() in ("", "nan", "<na>", "nat")


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
