"""Samples from files: folders of classes, and tables that name them. What cannot be used is refused here, in words."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tlkeras.data.class_names import as_groups, few, is_part, label_numbers, part_name
from tlkeras.data.csv_text import read_rows
from tlkeras.data.file_bytes import as_path
from tlkeras.data.tables import from_table
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
        InputError: where the folders are not of this form, say an empty class, a file that is not an image, or a link
            that leads nowhere or makes one folder two.
        MissingInputError: where there is no such folder.
    """
    root = as_path("root", root)
    if isinstance(parts, str):
        raise InputError(f"parts: received {parts!r}; accepted are several names, e.g. ({parts!r},), or None for all.")
    if not os.path.isdir(root):
        raise MissingInputError(f"root: there is no folder {root}. Accepted is {_FOLDERS_ACCEPTED}.")
    folders = _folders(root)[0] if parts is None else list(parts)
    part_of = {folder: part_name(folder) for folder in folders}
    if parts is None and not all(is_part(part) for part in part_of.values()):
        folders, part_of = [""], None
    elif len(set(part_of.values())) < len(folders):
        raise InputError(f"{root}: {', '.join(folders)} name a part twice. Keep one folder per part.")
    files = {folder: _class_files(os.path.join(root, folder)) for folder in folders or [""]}
    _refuse_one_folder_twice([os.path.join(root, folder, name) for folder, of in files.items() for name in of])
    rows = [(folder, class_name, name) for folder, of in files.items() for class_name in of for name in of[class_name]]
    labels, class_names = label_numbers([class_name for _, class_name, _ in rows], class_names, root)
    images = tuple(os.path.join(root, *row) for row in rows)
    _refuse_two_labels(images, [class_name for _, class_name, _ in rows])
    return Samples(
        images=images,
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
        InputError: for missing columns or values, a table that can be read in two ways, a path that comes twice or
            leaves `root`.
        MissingInputError: where the table or images are not there.
    """
    file = as_path("file", file)
    header, rows = read_rows(file)
    frame = _with_types(header, rows)
    for column in {path, label, group, part} & set(header):
        # As written: "007" stays "007", and a class may be called "None" or "NA".
        frame[column] = [cells[header.index(column)] for cells in rows]
    return from_table(frame, file, path, label, group, part, root, os.path.dirname(file), class_names)


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
    return from_table(frame, "frame", path, label, group, part, root, os.getcwd(), class_names)


def visible(folder: str) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files in `folder`, sorted, without the hidden ones.

    Raises:
        InputError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as scan:
            entries = [entry for entry in scan if not entry.name.startswith(".") and entry.name.lower() not in _HIDDEN]
    except OSError as error:
        raise InputError(
            f"{folder} cannot be listed: {error.strerror}. Give it to this user to read, or name another folder."
        ) from error
    folders = {entry.name for entry in entries if _is_folder(entry)}
    return sorted(folders), sorted(entry.name for entry in entries if entry.name not in folders)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


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


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)
