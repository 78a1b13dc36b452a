"""Samples from files: folders of classes, and tables that name them. What cannot be used is refused here, in words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.schema import InputError, MissingInputError, Samples

if TYPE_CHECKING:
    import pandas as pd

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_HIDDEN = ("thumbs.db", "desktop.ini", "__macosx")  # what Windows and macOS leave behind, beside dot-files
_FOLDERS_ACCEPTED = "root/<class>/<images> or root/{train,val,test,test1,...}/<class>/<images>"


def from_folders(
    root: str | os.PathLike,
    *,
    parts: Sequence[str] | None = None,
    group_of: Callable[[str], str] | None = None,
    class_names: Sequence[str] | None = None,
) -> Samples:
    """Images in one folder per class, or in part folders (train, val, test, test1, ...) that hold class folders.

    Files and classes come in the order of their names. Hidden files are skipped; "valid" and "validation" mean "val".

    Args:
        root: the folder; every folder in it is a class, or every one a part.
        parts: the part folders to read, leaving aside what else lies in `root`.
        group_of: tells a file's group (patient, lesion) from its path below `root`, e.g. "train/cat/tom_01.jpg".
        class_names: the class names in the order of the labels, as a classifier was trained on them; by default those
            found, sorted. A test set that lacks a class needs it.

    Raises:
        InputError: where the folders are not of this form, say an empty class or a file that is not an image.
        MissingInputError: where there is no such folder.
    """
    root = os.path.abspath(os.fsdecode(root))
    if not os.path.isdir(root):
        raise MissingInputError(f"root: there is no folder {root}. Accepted is {_FOLDERS_ACCEPTED}.")
    folders = visible(root)[0] if parts is None else list(parts)
    part_of = {folder: _part_name(folder) for folder in folders}
    if parts is None and not all(_is_part(part) for part in part_of.values()):
        folders, part_of = [""], None
    elif len(set(part_of.values())) < len(folders):
        raise InputError(f"{root}: {', '.join(folders)} name a part twice. Keep one folder per part.")
    rows = [
        (folder, class_name, name)
        for folder in folders or [""]
        for class_name, names in _class_files(os.path.join(root, folder)).items()
        for name in names
    ]
    labels, class_names = label_numbers([class_name for _, class_name, _ in rows], class_names, root)
    return Samples(
        images=tuple(os.path.join(root, *row) for row in rows),
        labels=labels,
        class_names=class_names,
        parts=None if part_of is None else [part_of[folder] for folder, _, _ in rows],
        groups=None if group_of is None else as_groups([group_of("/".join(filter(None, row))) for row in rows]),
        root=root,
    )


def from_csv(
    file: str | os.PathLike,
    path: str = "path",
    label: str = "label",
    group: str | None = None,
    part: str | None = None,
    root: str | os.PathLike | None = None,
    class_names: Sequence[str] | None = None,
) -> Samples:
    """Images named in a table: one row per image, comma-separated, UTF-8, with a header.

    Args:
        file: the CSV file.
        path: the column of image paths. Relative ones are taken below `root`, without it below the file's folder.
        label: the column of class names or integers.
        group: the column that says which images belong together (patient, lesion), where there is one.
        part: the column of the set's own parts ("train", "val", "test", ...), where there is one.
        root: the folder that every path must lie in, links resolved.
        class_names: the class names in the order of the labels, as a classifier was trained on them; by default those
            found, sorted. A test set that lacks a class needs it.

    Returns:
        Samples in the order of the rows; columns that were not named become `metadata`.

    Raises:
        InputError: for missing columns or values, a path that comes twice or leaves `root`.
        MissingInputError: where the table or images are not there.
    """
    import pandas as pd

    file = os.path.abspath(os.fsdecode(file))
    try:
        frame = pd.read_csv(file, encoding="utf-8-sig", low_memory=False)
        # As written: "007" stays "007", and a class may be called "None" or "NA".
        text = pd.read_csv(file, encoding="utf-8-sig", dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise MissingInputError(f"there is no file {file}.") from error
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not a comma-separated UTF-8 table with a header ({error}).") from error
    for column in {path, label, group, part} & set(frame.columns):
        frame[column] = text[column]
    return _from_table(frame, file, path, label, group, part, root, os.path.dirname(file), class_names)


def from_dataframe(
    frame: pd.DataFrame,
    path: str = "path",
    label: str = "label",
    group: str | None = None,
    part: str | None = None,
    root: str | os.PathLike | None = None,
    class_names: Sequence[str] | None = None,
) -> Samples:
    """Images named in a DataFrame; arguments and errors as in `from_csv`. Without `root`, paths are relative to the
    current folder."""
    return _from_table(frame, "frame", path, label, group, part, root, os.getcwd(), class_names)


def visible(folder: str) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files in `folder`, sorted, without the hidden ones."""
    with os.scandir(folder) as scan:
        entries = [entry for entry in scan if not entry.name.startswith(".") and entry.name.lower() not in _HIDDEN]
    folders = sorted(entry.name for entry in entries if entry.is_dir())
    return folders, sorted(entry.name for entry in entries if not entry.is_dir())


def _class_files(folder: str) -> dict[str, list[str]]:
    """{class name: names of its images} for the class folders in `folder`."""
    if not os.path.isdir(folder):
        raise MissingInputError(f"there is no folder {folder}. Accepted is {_FOLDERS_ACCEPTED}.")
    classes, outside = visible(folder)
    outside = [name for name in outside if _is_image(name)]
    if outside:
        raise InputError(f"{folder}: {few(outside)} lie outside the class folders. Accepted is {_FOLDERS_ACCEPTED}.")
    if not classes:
        raise InputError(f"{folder} holds no class folders. Accepted is {_FOLDERS_ACCEPTED}.")
    files = {}
    for class_name in classes:
        nested, names = visible(os.path.join(folder, class_name))
        if nested:
            raise InputError(
                f"{os.path.join(folder, class_name)} holds folders: {few(nested)}. Accepted is {_FOLDERS_ACCEPTED}; "
                "put the images directly into the class folder."
            )
        strange = [name for name in names if not _is_image(name)]
        if strange:
            raise InputError(
                f"{os.path.join(folder, class_name)}: {few(strange)} are not images ({', '.join(IMAGE_SUFFIXES)}). "
                "Convert them, or move them elsewhere."
            )
        if not names:
            raise InputError(
                f"{os.path.join(folder, class_name)} holds no image. Put images there, or remove the folder."
            )
        files[class_name] = names
    return files


def _from_table(
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
        raise InputError(f"{source} has not one column for {', '.join(wrong)}; it has {', '.join(map(str, headers))}.")
    if not len(frame):
        raise InputError(f"{source} has no rows.")
    text = {role: _as_text(frame[column], source, column) for role, column in named.items()}
    if root is not None:
        base = os.path.abspath(os.fsdecode(root))
    images = [os.path.normpath(os.path.join(base, name)) for name in text["path"]]
    if root is not None:
        _refuse_outside(images, base, source)
    _refuse_repeats(images, text["label"], source)
    absent = [image for image in images if not os.path.isfile(image)]
    if absent:
        raise MissingInputError(
            f"{source}: {len(absent)} of {len(images)} images are not there: {few(absent)}. "
            "Relative paths start at `root`, without it at the table's folder (for a DataFrame, the current one)."
        )
    labels, class_names = label_numbers(text["label"], class_names, source)
    others = frame.drop(columns=list(named.values())).reset_index(drop=True)
    inside = all(image.startswith(os.path.join(base, "")) for image in images)
    return Samples(
        images=tuple(images),
        labels=labels,
        class_names=class_names,
        parts=[_part_name(name) for name in text["part"]] if part is not None else None,
        groups=text.get("group"),
        metadata=others if len(others.columns) else None,
        root=base if inside else None,
    )


def _as_text(column: pd.Series, source: str, name: str) -> list[str]:
    if column.dtype.kind == "f" and column.notna().all():
        raise InputError(f"{source}: column {name!r} holds decimal numbers; accepted are text and integers.")
    empty = column.isna() | (column.astype(str).str.strip() == "")
    if empty.any():
        rows = [str(row) for row in np.flatnonzero(empty) + 1]
        raise InputError(
            f"{source}: column {name!r} is empty in rows {few(rows)} (1 is the first). Fill or remove them."
        )
    return [str(value) for value in column]


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


def label_numbers(
    names: Sequence[str], class_names: Sequence[str] | None, source: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Each sample's class name as a number, int64 (n,), and the class names in the order of the numbers."""
    if class_names is None:
        class_names = sorted(set(names))
        if all(re.fullmatch(r"-?\d+", name) for name in class_names):
            class_names.sort(key=int)
    class_names = tuple(str(name) for name in class_names)
    check_class_names(class_names, source)
    label_of = {class_name: label for label, class_name in enumerate(class_names)}
    unknown = sorted(set(names) - set(label_of))
    if unknown:
        raise InputError(f"{source}: {few(unknown)} are not among class_names {list(class_names)}.")
    return np.array([label_of[name] for name in names], dtype=np.int64), class_names


def check_class_names(class_names: Sequence[str], source: str) -> None:
    """Refuses fewer than two classes, and names that differ only in case or outer spaces."""
    if len(class_names) < 2:
        raise InputError(f"{source}: found the classes {list(class_names)}; a classifier needs two or more.")
    seen = {}
    for name in class_names:
        other = seen.setdefault(name.strip().casefold(), name)
        if other != name:
            raise InputError(f"{source}: classes {other!r} and {name!r} differ only in case or spaces. Use one name.")


def as_groups(groups: Sequence[str] | None) -> list[str] | None:
    """The groups as text, each image's own; an image without one is refused."""
    if groups is None:
        return None
    groups = list(groups)
    empty = [str(row) for row, group in enumerate(groups) if group is None or group != group or str(group) == ""]
    if empty:
        raise InputError(f"groups: no group for images {few(empty)}. Give an image of its own a name of its own.")
    return [str(group) for group in groups]


def _part_name(name: str) -> str:
    lower = name.lower()
    if lower in ("valid", "validation"):
        return "val"
    return lower if _is_part(lower) else name


def _is_part(name: str) -> bool:
    return re.fullmatch(r"train|val|test\d*", name) is not None


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def few(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
