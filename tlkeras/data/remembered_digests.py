"""Digests of image files, taken once: remembered while a file's path, size, times and inode stay what they were."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tlkeras.data.digests import pixel_digests, sealed, source_digests, unsealed
from tlkeras.errors import UnwritableError
from tlkeras.files import atomic_write
from tlkeras.machine import n_cores
from tlkeras.schema import Samples

_AT_MOST = 10**6  # files; of 10,000 the table takes 1.5 MB
_SETTLED = 2 * 10**9  # ns since a file's last change: within a tick of the clock it can change and keep its times

Status = list[int]  # size, times of the last change of bytes and of anything (ns), inode


class RememberedDigests:
    """`source_digests` that reads again only what changed.

    Args:
        file: where they are remembered; None remembers them in this object alone. One that is damaged, or cannot be
            read or written, costs time and nothing else.
        verify: believe nothing that was remembered before: every file is read once more.
    """

    def __init__(self, file: Path | None = None, *, verify: bool = False):
        self._file = file
        self._known: dict[str, tuple[Status, str]] = {} if file is None or verify else _read(file)

    def of(self, samples: Samples) -> list[bytes]:
        """One digest per sample, as `source_digests` gives them."""
        if isinstance(samples.images, np.ndarray):
            return pixel_digests(samples.images)
        started, before = time.time_ns(), _statuses(samples.images)
        rows = [row for row, path in enumerate(samples.images) if not self._is_known(path, before[row])]
        found = source_digests(samples.take(rows))
        after = _statuses([samples.images[row] for row in rows])
        digests = dict(zip(rows, found, strict=True))
        for row, status in zip(rows, after, strict=True):
            self._known.pop(samples.images[row], None)
            if status is not None and status == before[row] and max(status[1:3]) < started - _SETTLED:
                self._known[samples.images[row]] = (status, digests[row].hex())
        if rows and self._file is not None:
            _write(self._file, self._known)
        return [
            digests[row] if row in digests else bytes.fromhex(self._known[path][1])
            for row, path in enumerate(samples.images)
        ]

    def _is_known(self, path: str, status: Status | None) -> bool:
        return status is not None and path in self._known and self._known[path][0] == status


def _statuses(paths: Sequence[str]) -> list[Status | None]:
    with ThreadPoolExecutor(n_cores()) as pool:
        return list(pool.map(_status, paths))


def _status(path: str) -> Status | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _read(file: Path) -> dict[str, tuple[Status, str]]:
    """Nothing where the file does not hold what was written."""
    try:
        return json.loads(unsealed(file.read_bytes()) or "{}")
    except OSError:
        return {}


def _write(file: Path, known: dict[str, tuple[Status, str]]) -> None:
    kept = _read(file) | known  # of other processes, too
    kept = dict(list(kept.items())[-_AT_MOST:])
    try:
        with atomic_write(file) as temporary:
            temporary.write_bytes(sealed(json.dumps(kept).encode()))
    except (OSError, UnwritableError):
        return
