"""One table of features on disk: a row per distinct image, added to and never changed, found by the image's digest.

A folder holds three files. rows.bin: the rows, one behind the other. index.bin: which image each row belongs to and the
row's checksum, behind a digest of it all; it is written anew, whole, after the rows it names are on the disk, so rows
that a killed writer left are never taken for whole. table.json: what the rows are.

Nothing that lies there is believed: what is not what was written raises `DamagedTable`, or is counted by
`FeatureTable.damaged`. What cannot be written is held in memory.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import mmap
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tlkeras.data.digests import DIGEST_BYTES, digest, sealed, unsealed
from tlkeras.errors import InputError, MissingInputError, UnwritableError
from tlkeras.files import TEMPORARY_PREFIX, atomic_write, read_json, write_at, write_json
from tlkeras.machine import available_memory, format_size

FEATURE_DTYPES = ("float32", "float16")
FORMAT = 2  # of the files; raise it when they change: a table of another format is never looked for
ROWS, INDEX, CARD = "rows.bin", "index.bin", "table.json"
_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)  # in Python from 3.13 on
_COMMIT_BYTES = 64 * 10**6  # what a killed writer loses at most, and what waits in memory to be written


class DamagedTable(Exception):
    """What lies in a table's folder is not what was written there; the message says what, in words."""


class FeatureTable:
    """Rows of one shape and dtype. Whoever adds holds the table's lock, which is the feature store's business.

    Args:
        folder: where the table lies, or will.
        card: what the rows are, for people; it holds "row_shape" and "dtype". A new table keeps it with its first row.
        unwritten: why nothing can be read or written there: the table is then empty, and rows stay in memory.

    Attributes:
        unwritten: the same, or why what was added could not be written; None where all is well.

    Raises:
        DamagedTable: files that are missing, cut short, changed, or no files but links.
        OSError: files that cannot be read, a folder that another process removed meanwhile.
    """

    def __init__(self, folder: str | os.PathLike, card: dict, *, unwritten: Exception | None = None):
        self.folder, self.card, self.unwritten = Path(folder), card, unwritten
        self.shape, self.dtype = tuple(card["row_shape"]), np.dtype(card["dtype"])
        self.row_bytes = math.prod(self.shape) * self.dtype.itemsize
        self._row_of_source: dict[bytes, int] = {}
        self._row_of_image: dict[bytes, int] = {}
        self._checksums: list[int] = []  # of all rows, in order
        self._waiting: list[np.ndarray] = []
        self._written = 0  # rows in rows.bin
        self._changed = False
        self._mapped = np.empty((0, *self.shape), self.dtype)
        if unwritten is None and INDEX in _files_in(self.folder):
            read_card(self.folder)
            self._read()

    def __len__(self) -> int:
        return len(self._row_of_image)

    def find(self, sources: list[bytes]) -> np.ndarray:
        """int64 (n,): the row of each image, by the digest of where its pixels came from; -1 where there is none."""
        return np.array([self._row_of_source.get(source, -1) for source in sources], dtype=np.int64)

    def holds(self, image: bytes) -> bool:
        """Whether there is a row for an image with this digest of its pixels."""
        return image in self._row_of_image

    def damaged(self, rows: np.ndarray) -> int:
        """How many of these rows, int64 (n,), the disk does not hold as they were written; -1 stands for none."""
        return sum(zlib.crc32(self._mapped[row].data) != self._checksums[row] for row in np.unique(rows[rows >= 0]))

    def add(self, sources: list[bytes], images: list[bytes], features: dict[bytes, np.ndarray]) -> None:
        """Adds images; pixels that have a row already, under whatever name, get no second one.

        Args:
            sources: n digests of where the pixels came from (`ImageIndex.digests`).
            images: n digests of the pixels.
            features: {image digest: row}, for at least those that `holds` denies.

        Raises:
            UnwritableError: they cannot be written, and there is too little memory to hold them.
        """
        for source, image in zip(sources, images, strict=True):
            if image not in self._row_of_image:
                self._row_of_image[image] = len(self._row_of_image)
                row = np.ascontiguousarray(features[image], dtype=self.dtype)
                self._waiting.append(row)
                self._checksums.append(zlib.crc32(row.data))
            self._row_of_source[source] = self._row_of_image[image]
            self._changed = True
        if len(self._waiting) * self.row_bytes >= _COMMIT_BYTES:
            self.commit()
        held = len(self) * self.row_bytes
        free = available_memory() if self.unwritten else held
        if held > free:  # `mapped` needs as much once more
            raise UnwritableError(
                f"features: {self.folder} cannot be written ({self.unwritten}), and {format_size(held)} are too much "
                f"for the memory ({format_size(free)} are free). Name another folder (--store), or keep none "
                "(--no-store)."
            )

    def commit(self) -> None:
        """Puts what was added on the disk: the rows first, then the index that names them. Where that fails it says so
        in `unwritten`, and they stay in memory."""
        if self._changed and self.unwritten is None:
            try:
                self._write()
            except (OSError, UnwritableError) as error:
                self.unwritten = error

    def touch(self) -> None:
        """Notes that the table was used now: the one not used for longest is the first to be removed."""
        try:
            os.utime(self.folder / CARD)
        except FileNotFoundError:
            raise
        except OSError:  # a store that may only be read, and removes nothing either
            pass

    def mapped(self) -> np.ndarray:
        """All rows (r, ...): mapped from the disk, from where pages come into memory as they are touched, and leave it
        again; those that could not be written are in memory."""
        return np.concatenate([self._mapped, self._waiting]) if self._waiting else self._mapped

    def _write(self) -> None:
        for unfinished in self.folder.glob(f"{TEMPORARY_PREFIX}*"):  # of a writer that was killed
            unfinished.unlink()
        if not (self.folder / CARD).is_file():
            write_json(self.folder / CARD, self.card | {"digest": _digest_of(self.card)})
        if self._waiting:
            write_at(self.folder / ROWS, self._written * self.row_bytes, [row.data for row in self._waiting])
        with io.BytesIO() as index:
            np.savez(
                index,
                images=_packed(self._row_of_image),
                checksums=np.array(self._checksums, np.uint32),
                sources=_packed(self._row_of_source),
                rows=np.fromiter(self._row_of_source.values(), np.int64),
            )
            contents = index.getvalue()
        with atomic_write(self.folder / INDEX) as temporary:
            temporary.write_bytes(sealed(contents))
        if self._waiting:
            # Not before: until the index names them, the next writer cuts them off, under whoever has them mapped.
            with open(self.folder / ROWS, "rb") as rows:
                self._map(rows.fileno(), len(self))
        self._written, self._waiting, self._changed = len(self), [], False

    def _map(self, file: int, n_rows: int) -> None:
        # Copy-on-write, for TensorFlow takes no read-only array without copying it; nobody writes. No memory is set
        # aside for it: a table may be larger than memory.
        access = {"access": mmap.ACCESS_COPY}
        if hasattr(mmap, "MAP_PRIVATE"):  # not on Windows
            access = {"flags": mmap.MAP_PRIVATE | _MAP_NORESERVE, "prot": mmap.PROT_READ | mmap.PROT_WRITE}
        pages = mmap.mmap(file, n_rows * self.row_bytes, **access)
        self._mapped = np.frombuffer(pages, self.dtype).reshape(n_rows, *self.shape)

    def _read(self) -> None:
        with _opener(self.folder) as opener:
            with open(INDEX, "rb", opener=opener) as file:
                index = _checked_index(file.read(), self.folder / INDEX)
            images, sources = _unpacked(index["images"]), _unpacked(index["sources"])
            self._row_of_image = {image: row for row, image in enumerate(images)}
            self._row_of_source = dict(zip(sources, index["rows"].tolist(), strict=True))
            self._checksums = index["checksums"].tolist()
            with open(ROWS, "rb", opener=opener) as file:
                there, named = os.fstat(file.fileno()).st_size, len(images) * self.row_bytes
                if there < named:
                    raise DamagedTable(f"{self.folder / ROWS} holds {there:,} bytes, its index names {named:,}")
                self._map(file.fileno(), len(images))
            self._written = len(images)


def read_card(folder: str | os.PathLike) -> dict:
    """What the table in `folder` says of itself, with the folder, rows, bytes, and when it was last used (seconds since
    1970).

    Raises:
        DamagedTable: it says nothing that can be read.
        OSError: the folder is gone, or closed to this user.
    """
    folder = Path(folder)
    there = _files_in(folder)
    if CARD not in there:
        os.lstat(folder)  # raises where all of it is gone
        raise DamagedTable(f"{folder / CARD} is not there")
    used = (folder / CARD).stat().st_mtime
    try:
        card = read_json(folder / CARD)
        written = card.pop("digest")
    except MissingInputError:
        raise
    except (InputError, AttributeError, KeyError, TypeError) as error:
        raise DamagedTable(f"{folder / CARD} is damaged, or of an earlier version ({error!r})") from error
    if written != _digest_of(card):
        raise DamagedTable(f"{folder / CARD} is not what was written")
    size = (folder / ROWS).stat().st_size if ROWS in there else 0
    row_bytes = math.prod(card["row_shape"]) * np.dtype(card["dtype"]).itemsize
    return card | {"folder": folder, "rows": size // row_bytes, "bytes": size, "used": used}


@contextlib.contextmanager
def _opener(folder: Path) -> Iterator[Callable[[str, int], int]]:
    """Opens files of one folder, though another process may remove it meanwhile and make it anew."""
    if os.open not in os.supports_dir_fd:  # Windows, which removes no folder whose files are mapped
        yield lambda name, flags: os.open(folder / name, flags)
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        yield lambda name, flags: os.open(name, flags, dir_fd=place)
    finally:
        os.close(place)


def _files_in(folder: Path) -> set[str]:
    """Which of a table's files are there; links are refused, and all else that is no file in a folder: who writes there
    would write elsewhere."""
    found = set()
    for path, is_kind in ((folder, stat.S_ISDIR), *((folder / name, stat.S_ISREG) for name in (CARD, INDEX, ROWS))):
        try:
            if not is_kind(os.lstat(path).st_mode):
                raise DamagedTable(f"{path} is a link, or something else that does not belong there")
            found.add(path.name)
        except FileNotFoundError:
            continue
    return found


def _digest_of(card: dict) -> str:
    return digest(json.dumps(card, sort_keys=True).encode()).hex()


def _checked_index(contents: bytes, path: Path) -> dict[str, np.ndarray]:
    index = unsealed(contents)
    if index is None:
        raise DamagedTable(f"{path} is not what was written")
    with np.load(io.BytesIO(index)) as index:
        return dict(index)


def _packed(digests) -> np.ndarray:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)


def _unpacked(digests: np.ndarray) -> list[bytes]:
    return [bytes(row) for row in digests]
