"""A folder of feature tables: what is there, how much it takes, who holds which, and what goes first.

Only folders named as tables are ours; whatever else lies there is left alone, and no link is followed.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tlkeras.files import TEMPORARY_PREFIX, holding, remove_folder, remove_unfinished, writing
from tlkeras.progress import say
from tlkeras.training.feature_table import ROWS, DamagedTable, FeatureTable, read_card

_KEPT_FREE = 10**9  # bytes of the disk that are left to others
_LOCKS = "locks"
_NAME = re.compile("[0-9a-f]{32}")

_TOLD: set[Path] = set()  # tables whose damage this process has told of; every fit comes by


class TableFolder:
    """The tables of a feature store.

    Attributes:
        folder: where they lie; made with the first one.
        limit: bytes they may take together.
    """

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit = folder, limit

    def entries(self) -> list[dict]:
        """What is in the store, the table used last first: the cards of `feature_table.read_card`. Of a table that
        cannot be read: folder, bytes, used (0.0), and "damaged", the reason in words."""
        found = []
        for folder in self._tables():
            try:
                found.append(read_card(folder))
            except FileNotFoundError:  # removed by another process since the folder was listed
                continue
            except (DamagedTable, OSError) as error:
                found.append({"folder": folder, "bytes": _bytes_in(folder), "used": 0.0, "damaged": str(error)})
        return sorted(found, key=lambda card: -card["used"])

    def clear(self) -> tuple[int, int]:
        """Removes every table that no process is filling: how many went, and how many stayed. What other processes have
        mapped stays readable for them, and leaves the disk when they end.

        Raises:
            UnwritableError: this user may not.
        """
        folders = self._tables()
        with writing(self.folder):
            removed = sum(self._remove(folder) for folder in folders)
            self._clear_up()
        return removed, len(folders) - removed

    def can_hold(self, n_bytes: int) -> bool:
        """Whether so much fits below the limit and on the disk, all that is there given up."""
        return n_bytes <= self.limit and n_bytes <= self._free() + self._size()

    def with_room(self, places: Sequence[tuple[Path, dict]], sources: list[bytes]) -> list[FeatureTable]:
        """Tables, and room for what they lack: other tables go first, and at last their own earlier rows.

        Args:
            places: (folder, card) of each; their locks are held.
            sources: n digests of where the pixels of all images come from.

        Raises:
            OSError: what cannot be read or removed.
        """
        folders = [folder for folder, _ in places]
        tables = [_opened(*place, sources) for place in places]
        lacking = sum(int((table.find(sources) < 0).sum()) * table.row_bytes for table in tables)
        self._clear_up()
        entries = self.entries()
        for entry in entries:
            if "damaged" in entry and entry["folder"] not in (*folders, *_TOLD):
                _TOLD.add(entry["folder"])
                say(f"feature store: {entry['damaged']}; left as it is, tlkeras store --clear removes it")
        for entry in reversed(entries):
            if not lacking or self._fits(lacking):
                return tables
            if entry["folder"] not in folders:
                self._remove(entry["folder"])
        held = sum(len(table) * table.row_bytes for table in tables)
        if held and not self._fits(lacking) and self._fits(len(set(sources)) * sum(t.row_bytes for t in tables) - held):
            for folder in folders:
                if folder.is_dir():
                    remove_folder(folder)
            return [FeatureTable(*place) for place in places]
        return tables

    def lock(self, folder: Path, on_wait: Callable[[], None] | None = None) -> AbstractContextManager[bool]:
        """Holds a table; see `tlkeras.files.holding`."""
        locks = self.folder / _LOCKS
        if locks.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(locks))
        return holding(locks / folder.name, on_wait)

    def _fits(self, more: int) -> bool:
        return more <= self._free() and self._size() + more <= self.limit

    def _free(self) -> int:
        return max(0, shutil.disk_usage(_nearest_folder(self.folder)).free - _KEPT_FREE)

    def _remove(self, folder: Path) -> bool:
        with self.lock(folder) as held:
            if held:
                _discard(folder)
        return held

    def _clear_up(self) -> None:
        """Removes what processes left that were killed while they removed a table."""
        for unfinished in self._unfinished():
            remove_unfinished(unfinished)

    def _tables(self) -> list[Path]:
        return [path for path in _listed(self.folder) if _NAME.fullmatch(path.name)]

    def _unfinished(self) -> list[Path]:
        return [path for path in _listed(self.folder) if path.name.startswith(TEMPORARY_PREFIX)]

    def _size(self) -> int:
        return sum(entry["bytes"] for entry in self.entries()) + sum(map(_bytes_in, self._unfinished()))


def _opened(folder: Path, card: dict, sources: list[bytes]) -> FeatureTable:
    """The table, empty where what lies there is damaged; its lock is held."""
    try:
        table = FeatureTable(folder, card)
        lost = table.damaged(table.find(sources))
        if not lost:
            return table
        reason = f"{lost:,} rows of {folder / ROWS} are not what was written"
    except DamagedTable as error:
        reason = str(error)
    say(f"feature store: {reason}; all its features are computed again")
    _discard(folder)
    return FeatureTable(folder, card)


def _nearest_folder(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.isdir(folder))


def _listed(folder: Path) -> list[Path]:
    """What is in a folder, sorted; nothing where it cannot be listed: who writes there will find out why."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _bytes_in(path: Path) -> int:
    """What all files of a folder take; links are not followed."""
    if path.is_symlink():
        return 0
    return sum(os.lstat(Path(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def _discard(folder: Path) -> None:
    """Removes a table, or what stands in its place; of a link the link."""
    if folder.is_dir() and not folder.is_symlink():
        remove_folder(folder)
    else:
        folder.unlink(missing_ok=True)
