"""Samples from files: folders of classes, and tables that name them. What cannot be used is refused here, in words."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tlkeras.data.file_contents import as_path, read_rows
from tlkeras.data.file_names import IMAGE_SUFFIXES, is_image, visible
from tlkeras.data.names import as_groups, few, is_part, label_numbers, part_name, part_names
from tlkeras.data.tables import REFUSE, from_table
from tlkeras.errors import InputError, MissingInputError
from tlkeras.schema import Samples

if TYPE_CHECKING:
    import pandas as pd

_FOLDERS_ACCEPTED = "root/<class>/<images> or root/{train,val,test,test1,...}/<class>/<images>"


def from_folders(
    root: str | os.PathLike,
    *,
    parts: Sequence[str] | None = None,
    group_of: Callable[[str], str] | None = None,
    group_of_path: Callable[[str], str] | None = None,
    class_names: Sequence[str] | None = None,
    normalise: str | None = None,
) -> Samples:
    """Images in one folder per class, or in part folders (train, val, test, test1, ...) that hold class folders.

    Files and classes come in the order of their names. Hidden files are skipped. Parts may be called "Training",
    "valid", "validation", "dev" or "Testing", too.

    Args:
        root: the folder; every folder in it is a class, or every one a part.
        parts: the part folders to read, leaving aside what else lies in `root`.
        group_of: tells a file's group (patient, lesion) from its name, e.g. "tom_01.jpg".
        group_of_path: tells it from the path below `root`, e.g. "train/cat/tom_01.jpg", in place of `group_of`. What it
            keeps of the folders makes one patient two where he lies in two of them.
        class_names: the class names in the order of the labels, as a classifier was trained on them; by default those
            found, sorted. A test set that lacks a class needs it.
        normalise: what to do with classes, groups and parts that differ only in case, spaces, leading zeros, characters
            that do not show, or in how letters are stored: "join" takes such for one, None refuses them.

    Raises:
        InputError: where the folders are not of this form, say an empty class, a file that is not an image, or a link
            that leads nowhere or makes one folder two.
        MissingInputError: where there is no such folder.
    """
    root = as_path("root", root)
    if isinstance(parts, str):
        raise InputError(f"parts: received {parts!r}; accepted are several names, e.g. ({parts!r},), or None for all.")
    if parts is not None and len(set(parts)) < len(parts):
        raise InputError(f"parts: received {tuple(parts)!r}; accepted is every part once.")
    if group_of is not None and group_of_path is not None:
        raise InputError("group_of and group_of_path: received both; accepted is one of them, or neither.")
    for name, given in (("group_of", group_of), ("group_of_path", group_of_path)):
        if given is not None and not callable(given):
            raise InputError(
                f"{name}: received {given!r}; accepted is a function, e.g. lambda name: name.split('_')[0]."
            )
    if not os.path.isdir(root):
        raise MissingInputError(f"root: there is no folder {root}. Accepted is {_FOLDERS_ACCEPTED}.")
    folders = _folders(root)[0] if parts is None else list(parts)
    has_parts = parts is not None or (bool(folders) and all(is_part(part_name(folder)) for folder in folders))
    part_of = dict(zip(folders, part_names(folders, root, normalise), strict=True)) if has_parts else None
    if part_of is None:
        folders = [""]
    files = {folder: _class_files(os.path.join(root, folder)) for folder in folders}
    _refuse_one_folder_twice([os.path.join(root, folder, name) for folder, of in files.items() for name in of])
    rows = [(folder, class_name, name) for folder, of in files.items() for class_name in of for name in of[class_name]]
    labels, class_names = label_numbers([class_name for _, class_name, _ in rows], class_names, root, normalise)
    images = tuple(os.path.join(root, *row) for row in rows)
    _refuse_two_labels(images, [class_name for _, class_name, _ in rows])
    groups = None
    if group_of is not None:
        groups = [group_of(name) for *_, name in rows]
    elif group_of_path is not None:
        groups = [group_of_path("/".join(filter(None, row))) for row in rows]
    return Samples(
        images=images,
        labels=labels,
        class_names=class_names,
        parts=None if part_of is None else [part_of[folder] for folder, _, _ in rows],
        groups=as_groups(groups, normalise),
        root=root,
    )


def from_csv(
    file: str | os.PathLike,
    path: str = "path",
    label: str | Sequence[str] = "label",
    group: str | None = None,
    part: str | None = None,
    root: str | os.PathLike | None = None,
    class_names: Sequence[str] | None = None,
    *,
    suffix: str | None = None,
    missing: str = REFUSE,
    normalise: str | None = None,
) -> Samples:
    """Images named in a table: one row per image, comma-separated, UTF-8, with a header.

    Args:
        file: the CSV file.
        path: the column of image paths. Relative ones are taken below `root`, without it below the file's folder.
        label: the column of class names or whole numbers; or several columns, one for each class in the order of the
            labels, that hold 1 in the column of the image's class and 0 in the others.
        group: the column that says which images belong together (patient, lesion), where there is one.
        part: the column of the set's own parts ("train", "val", "test", ...), where there is one.
        root: the folder that every path must lie in, links resolved.
        class_names: the class names in the order of the labels, as a classifier was trained on them; by default those
            found, sorted. A test set that lacks a class needs it.
        suffix: what paths lack that do not end as images do, ".jpg" for a column of ids.
        missing: "refuse" a table that names images that are not there, or "drop" their rows, with a warning that says
            how many.
        normalise: what to do with classes, groups and parts that differ only in case, spaces, leading zeros, characters
            that do not show, or in how letters are stored: "join" takes such for one, and a path for the one file that
            it differs so from, or in its slashes or its suffix; None refuses them.

    Returns:
        Samples in the order of the rows; columns that were not named become `metadata`.

    Raises:
        InputError: for missing columns or values, a table that can be read in two ways, a path that comes twice or
            leaves `root`.
        MissingInputError: where the table or images are not there; the message says which files the paths may mean.
    """
    file = as_path("file", file)
    header, rows = read_rows(file)
    frame = _with_types(header, rows)
    labels = [label] if isinstance(label, str) else []
    for column in {path, *labels, group, part} & set(header):
        # As written: "007" stays "007", and a class may be called "None" or "NA".
        frame[column] = [cells[header.index(column)] for cells in rows]
    told = (root, os.path.dirname(file), class_names, suffix, missing, normalise)
    return from_table(frame, file, path, label, group, part, *told)


def from_dataframe(
    frame: pd.DataFrame,
    path: str = "path",
    label: str | Sequence[str] = "label",
    group: str | None = None,
    part: str | None = None,
    root: str | os.PathLike | None = None,
    class_names: Sequence[str] | None = None,
    *,
    suffix: str | None = None,
    missing: str = REFUSE,
    normalise: str | None = None,
) -> Samples:
    """Images named in a DataFrame; arguments and errors as in `from_csv`. Without `root`, paths are relative to the
    current folder."""
    told = (root, os.getcwd(), class_names, suffix, missing, normalise)
    return from_table(frame, "frame", path, label, group, part, *told)


def _folders(folder: str) -> tuple[list[str], list[str]]:
    """`visible`, where a link that leads nowhere may have been meant as a class or a part."""
    folders, names = visible(folder)
    lost = [name for name in names if not os.path.exists(os.path.join(folder, name))]
    if lost:
        raise InputError(f"{folder}: the links {few(lost)} lead nowhere. Mend or remove them.")
    return folders, names


def _class_files(folder: str) -> dict[str, list[str]]:
    """{class name: names of its images} for the class folders in `folder`."""
    if not os.path.isdir(folder):
        raise MissingInputError(f"there is no folder {folder}. Accepted is {_FOLDERS_ACCEPTED}.")
    classes, outside = _folders(folder)
    outside = [name for name in outside if is_image(name)]
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
                f"put the images directly into the class folder.{_parts_hint(classes)}"
            )
        strange = [name for name in names if not is_image(name)]
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


def _parts_hint(folders: Sequence[str]) -> str:
    """How to read the parts among these folders alone."""
    known = [folder for folder in folders if is_part(part_name(folder))]
    others = [folder for folder in folders if folder not in known]
    return f" Or are {few(others)} no classes? To leave them aside: parts={tuple(known)!r}." if known else ""


def _refuse_one_folder_twice(folders: Sequence[str]) -> None:
    """Refuses class folders that links make the same: their images would have two labels, or come twice."""
    first = {}
    for folder in folders:
        other = first.setdefault(os.path.realpath(folder), folder)
        if other != folder:
            raise InputError(f"{folder} and {other} are one folder, through a link. Keep one of them.")


def _refuse_two_labels(images: Sequence[str], labels: Sequence[str]) -> None:
    """Refuses an image that a link puts into a second class."""
    if not any(map(os.path.islink, images)):
        return
    first = {}
    for image, label in zip(images, labels, strict=True):
        other, its_label = first.setdefault(os.path.realpath(image), (image, label))
        if its_label != label:
            raise InputError(
                f"{image} and {other} are one image, through a link: it would be {label} and {its_label}. Keep one of "
                "them."
            )


def _with_types(header: list[str], rows: list[list[str]]) -> pd.DataFrame:
    """The table as pandas takes it: numbers as numbers, empty cells as NaN."""
    import pandas as pd

    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([header, *rows])
    text.seek(0)
    return pd.read_csv(text, low_memory=False, index_col=False)


def read_labelled(
    data: str | os.PathLike, *, group: str | None = None, class_names: Sequence[str] | None = None
) -> Samples:
    """Labelled images as a command names them: a folder as `from_folders` reads it, or a CSV file as `from_csv` does.

    Args:
        data: the folder; or the file, with the columns path and label, and part where it has one.
        group: the column of the file that says whose image it is.
        class_names: see `from_folders`.

    Raises:
        InputError: a group of a folder, or what these two refuse.
        MissingInputError: there is no such folder or file.
    """
    path = as_path("data", data)
    if not os.path.exists(path):
        raise MissingInputError(f"data: there is no {path}. Accepted is a folder of class folders, or a CSV file.")
    if os.path.isdir(path):
        if group is not None:
            raise InputError("--group: names a column of a CSV file, and the data are a folder.")
        return from_folders(path, class_names=class_names)
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        header = [name.strip().strip('"') for name in file.readline().rstrip("\n").split(",")]
    return from_csv(path, group=group, part="part" if "part" in header else None, class_names=class_names)
