"""Samples of a table's rows: which image each names, of which class, and what of that cannot be used."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.data.file_contents import as_path
from tlkeras.data.file_names import IMAGE_SUFFIXES, Spellings, is_image
from tlkeras.data.names import JOIN, check_normalise, few, in_one_spelling, is_empty, label_numbers, part_names
from tlkeras.errors import InputError, MissingInputError
from tlkeras.schema import Samples

if TYPE_CHECKING:
    import pandas as pd

REFUSE, DROP = "refuse", "drop"  # what is done with rows whose image is not there


def from_table(
    frame: pd.DataFrame,
    source: str,
    path: str,
    label: str | Sequence[str],
    group: str | None,
    part: str | None,
    root: str | os.PathLike | None,
    base: str,
    class_names: Sequence[str] | None,
    suffix: str | None,
    missing: str,
    normalise: str | None,
) -> Samples:
    """Samples of the rows of `frame`; `source` names it in messages, `base` is where relative paths start."""
    check_normalise(normalise)
    _check_words(suffix, missing)
    one_hot = isinstance(label, Iterable) and not isinstance(label, str)
    columns = [label] if isinstance(label, str) or not isinstance(label, Iterable) else list(label)
    if label is None or (one_hot and (len(columns) < 2 or len(set(columns)) < len(columns))):
        raise InputError(f"label: received {label!r}; accepted are a column, or two or more of 0 and 1, one a class.")
    if path is None:
        raise InputError("path: received None; accepted is the column of image paths.")
    named = [("path", path), *(("label", column) for column in columns), ("group", group), ("part", part)]
    named = [(role, column) for role, column in named if column is not None]
    headers = list(frame.columns)
    wrong = [(role, column) for role, column in named if headers.count(column) != 1]
    if wrong:
        role, column = wrong[0]
        near = get_close_matches(str(column), map(str, headers), n=1) or ["..."]
        raise InputError(
            f"{source} has not one column for {', '.join(f'{role}={column!r}' for role, column in wrong)}; it has "
            f"{', '.join(map(str, headers))}. Name a column that it has: {role}={near[0]!r}."
        )
    if not len(frame):
        raise InputError(f"{source} has no rows.")
    if root is not None:
        base = as_path("root", root)
    paths = _as_text(frame[path], source, path, range(1, len(frame) + 1))
    if suffix is not None:
        paths = [name if is_image(name) else name + suffix for name in paths]
    images = _paths(paths, base, source)
    if normalise is not None:
        images = _as_spelled_on_disk(images, paths, base)
    if root is not None:
        _refuse_outside(images, base, source)
    kept = _there(images, source) if missing == DROP else list(range(len(frame)))
    frame, images, paths = frame.iloc[kept], [images[row] for row in kept], [paths[row] for row in kept]
    rows = [row + 1 for row in kept]
    if one_hot:
        names, class_names = _of_one_hot(frame[columns], source, rows), columns if class_names is None else class_names
    else:
        names = _as_text(frame[columns[0]], source, columns[0], rows)
    groups, parts = (
        None if column is None else _as_text(frame[column], source, column, rows) for column in (group, part)
    )
    _refuse_repeats(images, names, source, rows)
    _refuse_what_is_not_there(images, paths, names, base, source, rows)
    labels, class_names = label_numbers(names, class_names, source, normalise)
    others = frame.drop(columns=[column for _, column in named]).reset_index(drop=True)
    inside = all(image.startswith(os.path.join(base, "")) for image in images)
    return Samples(
        images=tuple(images),
        labels=labels,
        class_names=class_names,
        parts=None if parts is None else part_names(parts, f"{source}, column {part!r}", normalise),
        groups=None if groups is None else in_one_spelling(groups, f"{source}, column {group!r}", "groups", normalise),
        metadata=others if len(others.columns) else None,
        root=base if inside else None,
    )


def _check_words(suffix: str | None, missing: str) -> None:
    if suffix is not None and not (isinstance(suffix, str) and is_image(suffix)):
        raise InputError(
            f"suffix: received {suffix!r}; accepted are {', '.join(IMAGE_SUFFIXES)}, also with text before, or None."
        )
    if missing not in (REFUSE, DROP):
        raise InputError(
            f"missing: received {missing!r}; accepted are {DROP!r}, which leaves rows without their image out and says "
            f"how many, and {REFUSE!r}."
        )


def _as_text(column: pd.Series, source: str, name: str, rows: Sequence[int]) -> list[str]:
    """The column's values as text; `rows` numbers them for messages."""
    values = column.tolist()
    empty = [str(row) for row, value in zip(rows, values, strict=True) if is_empty(value)]
    if empty:
        raise InputError(
            f"{source}: column {name!r} is empty in rows {few(empty)} (1 is the first). Fill or remove them."
        )
    # pandas makes decimals of whole numbers beside an empty cell.
    values = [int(value) if _is_whole(value) else value for value in values]
    strange = [f"{value!r} in row {row}" for row, value in zip(rows, values, strict=True) if not _is_written(value)]
    if strange:
        raise InputError(f"{source}: column {name!r} holds {few(strange)}; accepted are text and whole numbers.")
    return [str(value) for value in values]


def _is_whole(value: object) -> bool:
    return isinstance(value, float | np.floating) and bool(abs(value) < 2**53 and value == int(value))


def _of_one_hot(columns: pd.DataFrame, source: str, rows: Sequence[int]) -> list[str]:
    """The class of every row, whose column holds its only 1."""
    import pandas as pd

    values = columns.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    single = np.isin(values, (0, 1)).all(axis=1) & (values.sum(axis=1) == 1)
    if not single.all():
        wrong = [str(row) for row, fits in zip(rows, single, strict=True) if not fits]
        raise InputError(
            f"{source}: rows {few(wrong)} (1 is the first) do not hold a single 1, and else 0, in the label columns "
            f"{', '.join(map(str, columns))}. Every image has one class: correct these rows, or leave them out."
        )
    return [str(columns.columns[column]) for column in values.argmax(axis=1)]


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


def _refuse_repeats(images: list[str], labels: list[str], source: str, rows: Sequence[int]) -> None:
    first, repeats = {}, []
    for row, image, label in zip(rows, images, labels, strict=True):
        other, its_label = first.setdefault(image, (row, label))
        if other != row:
            given = f"as {its_label} and as {label}" if label != its_label else "twice"
            repeats.append(f"{image} (rows {other} and {row}, {given})")
    if repeats:
        raise InputError(f"{source} names images more than once: {few(repeats)}. Keep one row per image.")


def _as_spelled_on_disk(images: list[str], paths: list[str], base: str) -> list[str]:
    """The images, where a path has no file the one file that it is another spelling of."""
    spellings, found = Spellings(), list(images)
    for row, (image, path) in enumerate(zip(images, paths, strict=True)):
        if not os.path.exists(image) and len(there := spellings.of(path, base)) == 1:
            found[row] = there[0]
    return found


def _there(images: list[str], source: str) -> list[int]:
    """The rows whose file is there; how many are not is a warning."""
    rows = [row for row, image in enumerate(images) if os.path.exists(image)]
    absent = [images[row] for row in sorted(set(range(len(images))) - set(rows))]
    if not rows:
        raise MissingInputError(
            f"{source}: none of the {len(images)} images is there: {few(absent)}. Correct the paths."
        )
    if absent:
        warnings.warn(
            f"{source}: {len(absent):,} of {len(images):,} images are not there and are left out: {few(absent)}.",
            stacklevel=4,
        )
    return rows


def _refuse_what_is_not_there(
    images: list[str], paths: list[str], labels: list[str], base: str, source: str, rows: Sequence[int]
) -> None:
    """Refuses paths without a file, and links that give one file two labels."""
    absent, strange, first, twofold = {}, [], {}, []
    for row, image in enumerate(images):
        try:
            status = os.stat(image)
        except OSError:
            absent[image] = paths[row]
            continue
        if not stat.S_ISREG(status.st_mode):
            strange.append(image)
            continue
        other = first.setdefault((status.st_dev, status.st_ino), row)
        # Equal numbers alone may be chance on a network's file system, or copies that a tool made one file of.
        if labels[other] != labels[row] and os.path.realpath(image) == os.path.realpath(images[other]):
            twofold.append(
                f"{image} (row {rows[row]}, {labels[row]}; as {images[other]} in row {rows[other]}, {labels[other]})"
            )
    if absent:
        raise MissingInputError(
            f"{source}: {len(absent)} of {len(images)} images are not there: {few(list(absent))}. "
            "Relative paths start at `root`, without it at the table's folder (for a DataFrame, the current one). "
            f'{_meant(absent, base)}missing="{DROP}" leaves such rows out.'
        )
    if strange:
        raise InputError(f"{source}: {few(strange)} are no files, but folders, pipes or devices. Correct the paths.")
    if twofold:
        raise InputError(f"{source} gives one file two labels through links: {few(twofold)}. Keep one row per image.")


def _meant(absent: dict[str, str], base: str) -> str:
    """Which files the paths may mean, and which argument takes them: "'a' is there as a.jpg: suffix=".jpg" ..."."""
    spellings = Spellings()
    found = {image: there[0] for image, path in absent.items() if len(there := spellings.of(path, base)) == 1}
    if not found:
        return ""
    added = {there.removeprefix(image) for image, there in found.items()}
    suffix = added.pop() if len(added) == 1 else ""
    taken = f'suffix="{suffix}"' if suffix.lower() in IMAGE_SUFFIXES else f'normalise="{JOIN}"'
    image, there = next(iter(found.items()))
    there = there if os.path.isabs(absent[image]) else os.path.relpath(there, base)
    return f"{absent[image]!r} is there as {there!r}: {taken} takes {len(found):,} of them so. "
