"""Names of files: which are images, which are hidden, and which file a name means that is spelled in another way."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from functools import cache

from tlkeras.data.names import normal_form
from tlkeras.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_HIDDEN = ("thumbs.db", "desktop.ini", "__macosx")  # what Windows and macOS leave behind, beside dot-files


def is_image(name: str) -> bool:
    """Whether a file's name ends as those of images do, in any case."""
    return name.lower().endswith(IMAGE_SUFFIXES)


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


class Spellings:
    """Finds the files that paths mean which are not there as written. Each folder is listed once."""

    def __init__(self):
        self._listed = cache(_by_form)

    def of(self, path: str, base: str) -> list[str]:
        """The files below `base` that are `path` but for case, the direction of slashes, or a suffix that it lacks.

        Args:
            path: as it is written, relative to `base` or absolute.
            base: a folder.

        Returns:
            Absolute paths, sorted; none, one, or those among which it is not clear which is meant.
        """
        *folders, name = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")] or [""]
        homes = ["/"] if os.path.isabs(path) else [base]
        for folder in folders:
            homes = [found for home in homes for found in self._entries(home, folder, os.path.isdir)]
        return sorted(found for home in homes for found in self._entries(home, name, os.path.isfile))

    def _entries(self, home: str, name: str, wanted: Callable[[str], bool]) -> list[str]:
        if wanted(os.path.join(home, name)):  # ".." among them
            return [os.path.join(home, name)]
        names, stems = self._listed(home)
        found = dict.fromkeys([*names.get(normal_form(name), ()), *stems.get(normal_form(name), ())])
        return [path for path in (os.path.join(home, other) for other in found) if wanted(path)]


def _by_form(folder: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The names in a folder by their normal form, and its images by that of their name without suffix."""
    try:
        listed = os.listdir(folder)
    except OSError:
        listed = []
    names, stems = defaultdict(list), defaultdict(list)
    for name in listed:
        names[normal_form(name)].append(name)
        if is_image(name):
            stems[normal_form(os.path.splitext(name)[0])].append(name)
    return names, stems


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False
