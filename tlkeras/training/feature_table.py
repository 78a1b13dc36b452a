"""One table of features on disk: a row per distinct image, added to and never changed, found by the image's digest.

A folder holds three files. rows.bin: the rows, one behind the other. index.npz: which image each row belongs to; it is
written anew, whole, after the rows it names are on the disk, so rows that a killed writer left are never taken for
whole. table.json: what the rows are.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile

import numpy as np

from tlkeras.data.digests import DIGEST_BYTES
from tlkeras.files import TEMPORARY_PREFIX, atomic_write, read_json, write_at, write_json
from tlkeras.schema import InputError

FEATURE_DTYPES = ("float32", "float16")
ROWS, INDEX, CARD = "rows.bin", "index.npz", "table.json"
_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)  # in Python from 3.13 on
_COMMIT_BYTES = 64 * 10**6  # what a killed writer loses at most, and what waits in memory to be written


class FeatureTable:
    """Rows of one shape and dtype. Whoever adds holds the table's lock, which is the feature store's business.

    Args:
        folder: where the table lies, or will.
        card: what the rows are, for people; it holds "row_shape" and "dtype". A new table keeps it with its first row.
    """

    def __init__(self, folder: str | os.PathLike, card: dict):
        self.folder, self.card = Path(folder), card
        self.shape, self.dtype = tuple(card["row_shape"]), np.dtype(card["dtype"])
        self.row_bytes = math.prod(self.shape) * self.dtype.itemsize
        self._row_of_source: dict[bytes, int] = {}
        self._row_of_image: dict[bytes, int] = {}
        self._waiting: list[np.ndarray] = []
        self._written = 0  # rows in rows.bin
        self._changed = False
        self._mapped = np.empty((0, *self.shape), self.dtype)
        if (self.folder / INDEX).is_file():
            self._read_index()

    def __len__(self) -> int:
        return len(self._row_of_image)

    def find(self, sources: list[bytes]) -> np.ndarray:
        """int64 (n,): the row of each image, by the digest of where its pixels came from; -1 where there is none."""
        return np.array([self._row_of_source.get(source, -1) for source in sources], dtype=np.int64)

    def holds(self, image: bytes) -> bool:
        """Whether there is a row for an image with this digest of its pixels."""
        return image in self._row_of_image

    def add(self, sources: list[bytes], images: list[bytes], features: dict[bytes, np.ndarray]) -> None:
        """Adds images; pixels that have a row already, under whatever name, get no second one.

        Args:
            sources: n digests of where the pixels came from (`source_digests`).
            images: n digests of the pixels.
            features: {image digest: row}, for at least those that `holds` denies.
        """
        for source, image in zip(sources, images, strict=True):
            if image not in self._row_of_image:
                self._row_of_image[image] = len(self._row_of_image)
                self._waiting.append(np.ascontiguousarray(features[image], dtype=self.dtype))
            self._row_of_source[source] = self._row_of_image[image]
            self._changed = True
        if len(self._waiting) * self.row_bytes >= _COMMIT_BYTES:
            self.commit()

    def commit(self) -> None:
        """Puts what was added on the disk: the rows first, then the index that names them."""
        if not self._changed:
            return
        for unfinished in self.folder.glob(f"{TEMPORARY_PREFIX}*"):  # of a writer that was killed
            unfinished.unlink()
        if not (self.folder / CARD).is_file():
            write_json(self.folder / CARD, self.card)
        if self._waiting:
            write_at(self.folder / ROWS, self._written * self.row_bytes, self._waiting)
            self._written += len(self._waiting)
            self._waiting = []
            with open(self.folder / ROWS, "rb") as rows:
                self._map(rows)
        with atomic_write(self.folder / INDEX) as temporary, open(temporary, "wb") as file:
            np.savez(
                file,
                images=_packed(self._row_of_image),
                sources=_packed(self._row_of_source),
                rows=np.fromiter(self._row_of_source.values(), np.int64),
            )
        self._changed = False

    def touch(self) -> None:
        """Notes that the table was used now: the one not used for longest is the first to be removed."""
        try:
            os.utime(self.folder / CARD)
        except FileNotFoundError:
            raise
        except OSError:  # a store that may only be read, and removes nothing either
            pass

    def mapped(self) -> np.ndarray:
        """All committed rows (r, ...), mapped from the disk: pages come into memory as they are touched, and leave it
        again."""
        return self._mapped

    def _map(self, rows: BinaryIO) -> None:
        # Copy-on-write, for TensorFlow takes no read-only array without copying it; nobody writes. No memory is set
        # aside for it: a table may be larger than memory.
        access = {"flags": mmap.MAP_PRIVATE | _MAP_NORESERVE, "prot": mmap.PROT_READ | mmap.PROT_WRITE}
        pages = mmap.mmap(rows.fileno(), self._written * self.row_bytes, **access)
        self._mapped = np.frombuffer(pages, self.dtype).reshape(self._written, *self.shape)

    def _read_index(self) -> None:
        # Both files from one folder, though another process may remove it meanwhile and make it anew.
        place = os.open(self.folder, os.O_RDONLY)
        try:
            opener = lambda name, flags: os.open(name, flags, dir_fd=place)  # noqa: E731
            with open(INDEX, "rb", opener=opener) as file, np.load(file) as index:
                images, sources, rows = _unpacked(index["images"]), _unpacked(index["sources"]), index["rows"]
            self._row_of_image = {image: row for row, image in enumerate(images)}
            self._row_of_source = dict(zip(sources, rows.tolist(), strict=True))
            self._written = len(images)
            with open(ROWS, "rb", opener=opener) as file:
                there, named = os.fstat(file.fileno()).st_size, self._written * self.row_bytes
                if there < named:
                    raise self._damaged(f"{ROWS} holds {there:,} bytes, its index names {named:,}")
                self._map(file)
        except InputError:
            raise
        except (ValueError, KeyError, EOFError, BadZipFile) as error:
            raise self._damaged(f"{INDEX} cannot be read ({error})") from error
        finally:
            os.close(place)

    def _damaged(self, what: str) -> InputError:
        return InputError(
            f"{self.folder}: {what}. Something else has changed it: remove the folder, it will be computed again."
        )


def read_card(folder: str | os.PathLike) -> dict:
    """What the table in `folder` says of itself, with the folder, rows, bytes, and when it was last used (seconds since
    1970)."""
    folder = Path(folder)
    card = read_json(folder / CARD)
    size = (folder / ROWS).stat().st_size if (folder / ROWS).is_file() else 0
    row_bytes = math.prod(card["row_shape"]) * np.dtype(card["dtype"]).itemsize
    return card | {"folder": folder, "rows": size // row_bytes, "bytes": size, "used": (folder / CARD).stat().st_mtime}


def _packed(digests) -> np.ndarray:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)


def _unpacked(digests: np.ndarray) -> list[bytes]:
    return [bytes(row) for row in digests]
