"""Samples of a table's rows: which image each names, of which class, and what of that cannot be used."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.data.class_names import few, is_empty, label_numbers, part_name
from tlkeras.data.file_bytes import as_path
from tlkeras.schema import InputError, MissingInputError, Samples

if TYPE_CHECKING:
    import pandas as pd


def from_table(
    frame: pd.DataFrame,
    source: str,
    path: str,
    label: str,
    group: str | None,
    part: str | None,
    root: str | os.PathLike | None,
    base: str,
    class_names: Sequence[str] | None,
) -> Samples:
    """Samples of the rows of `frame`; `source` names it in messages, `base` is where relative paths start."""
    named = {"path": path, "label": label, "group": group, "part": part}
    named = {role: column for role, column in named.items() if column is not None}
    headers = list(frame.columns)
    wrong = [f"{role}={column!r}" for role, column in named.items() if headers.count(column) != 1]
    if wrong:
        role = next(role for role, column in named.items() if headers.count(column) != 1)
        near = get_close_matches(str(named[role]), map(str, headers), n=1) or ["..."]
        raise InputError(
            f"{source} has not one column for {', '.join(wrong)}; it has {', '.join(map(str, headers))}. Name a column "
            f"that it has: {role}={near[0]!r}."
        )
    if not len(frame):
        raise InputError(f"{source} has no rows.")
    text = {role: _as_text(frame[column], source, column) for role, column in named.items()}
    if root is not None:
        base = as_path("root", root)
    images = _paths(text["path"], base, source)
    if root is not None:
        _refuse_outside(images, base, source)
    _refuse_repeats(images, text["label"], source)
    _refuse_what_is_not_there(images, text["label"], source)
    labels, class_names = label_numbers(text["label"], class_names, source)
    others = frame.drop(columns=list(named.values())).reset_index(drop=True)
    inside = all(image.startswith(os.path.join(base, "")) for image in images)
    return Samples(
        images=tuple(images),
        labels=labels,
        class_names=class_names,
        parts=[part_name(name) for name in text["part"]] if part is not None else None,
        groups=text.get("group"),
        metadata=others if len(others.columns) else None,
        root=base if inside else None,
    )


def _as_text(column: pd.Series, source: str, name: str) -> list[str]:
    if column.dtype.kind == "f" and column.notna().all():
        raise InputError(f"{source}: column {name!r} holds decimal numbers; accepted are text and integers.")
    values = column.tolist()
    rows = [str(row) for row, value in enumerate(values, start=1) if is_empty(value)]
    if rows:
        raise InputError(
            f"{source}: column {name!r} is empty in rows {few(rows)} (1 is the first). Fill or remove them."
        )
    strange = [f"{value!r} in row {row}" for row, value in enumerate(values, start=1) if not _is_written(value)]
    if strange:
        raise InputError(f"{source}: column {name!r} holds {few(strange)}; accepted are text and integers.")
    return [str(value) for value in values]


def _is_written(value: object) -> bool:
    return isinstance(value, str | os.PathLike | int | np.integer | np.bool_)


def _paths(names: list[str], base: str, source: str) -> list[str]:
    """Absolute and without "..", each the file that the operating system would open for it."""
    images, astray = [], []
    for name in names:
        joined = os.path.join(base, name)
        try:
            os.fsencode(joined)
        except UnicodeEncodeError:
            joined = "\0"
        if "\0" in joined:
            raise InputError(f"{source}: no file can be called {name!r}. Correct the path.")
        images.append(os.path.normpath(joined))
        if ".." in name and os.path.realpath(joined) != os.path.realpath(images[-1]):
            astray.append(name)
    if astray:
        raise InputError(
            f"{source}: {few(astray)} leave the folder of a link through '..'. Write the paths without it."
        )
    return images


def _refuse_outside(images: list[str], root: str, source: str) -> None:
    home = os.path.join(os.path.realpath(root), "")
    outside = [image for image in images if not os.path.realpath(image).startswith(home)]
    if outside:
        raise InputError(f"{source}: {few(outside)} lie outside root {root}. Correct the paths, or leave root out.")


def _refuse_repeats(images: list[str], labels: list[str], source: str) -> None:
    first, repeats = {}, []
    for row, image in enumerate(images):
        if image in first:
            given = (
                f"as {labels[first[image]]} and as {labels[row]}" if labels[row] != labels[first[image]] else "twice"
            )
            repeats.append(f"{image} (rows {first[image] + 1} and {row + 1}, {given})")
        first.setdefault(image, row)
    if repeats:
        raise InputError(f"{source} names images more than once: {few(repeats)}. Keep one row per image.")


def _refuse_what_is_not_there(images: list[str], labels: list[str], source: str) -> None:
    """Refuses paths without a file, and links that give one file two labels."""
    absent, strange, first, twofold = [], [], {}, []
    for row, image in enumerate(images):
        try:
            status = os.stat(image)
        except OSError:
            absent.append(image)
            continue
        if not stat.S_ISREG(status.st_mode):
            strange.append(image)
            continue
        other = first.setdefault((status.st_dev, status.st_ino), row)
        # Equal numbers alone may be chance on a network's file system, or copies that a tool made one file of.
        if labels[other] != labels[row] and os.path.realpath(image) == os.path.realpath(images[other]):
            twofold.append(
                f"{image} (row {row + 1}, {labels[row]}; as {images[other]} in row {other + 1}, {labels[other]})"
            )
    if absent:
        raise MissingInputError(
            f"{source}: {len(absent)} of {len(images)} images are not there: {few(absent)}. "
            "Relative paths start at `root`, without it at the table's folder (for a DataFrame, the current one)."
        )
    if strange:
        raise InputError(f"{source}: {few(strange)} are no files, but folders, pipes or devices. Correct the paths.")
    if twofold:
        raise InputError(f"{source} gives one file two labels through links: {few(twofold)}. Keep one row per image.")
