"""Every image file read once in a process: its digest, and where it is asked for what decoding it shows.

What was found holds while a file's path, size, times and inode stay what they were. Digests can be kept on the disk for
other processes; what decoding shows is found anew in each.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tlkeras.data.digests import digest, file_digest, pixel_digests, sealed, unsealed
from tlkeras.data.file_contents import Unreadable, read_bytes
from tlkeras.data.measures import Levels
from tlkeras.data.perceptual_hash import IMAGE_SIZE, N_BITS, perceptual_hashes
from tlkeras.errors import UnwritableError
from tlkeras.files import atomic_write
from tlkeras.machine import n_cores
from tlkeras.progress import bar
from tlkeras.schema import Samples

_AT_MOST = 10**6  # files; of 10,000 the table on the disk takes 1.5 MB
_SETTLED = 2 * 10**9  # ns since a file's last change: within a tick of the clock it can change and keep its times

Status = tuple[int, ...]  # size, times of the last change of bytes and of anything (ns), inode


@dataclass(frozen=True, slots=True)
class Hashed:
    """What an image is compared with others by.

    Attributes:
        packed: its perceptual hash, eight bits in a byte.
        levels: of the scale that was made from: a large JPEG's is a reduced one.
        pixels: digest of the pixels at native size, whichever file format they lie in.
    """

    packed: bytes
    levels: Levels
    pixels: bytes

    @property
    def bits(self) -> np.ndarray:
        """bool (255,), see `perceptual_hashes`."""
        return np.unpackbits(np.frombuffer(self.packed, np.uint8), count=N_BITS).astype(bool)


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of an image.

    Attributes:
        digest: of the bytes of the file, or of the row of the array.
        reason: why it cannot be read or decoded, in words; "" where it can.
        size: (height, width) in pixels, upright, where it was decoded.
        levels: at native size, where it was decoded.
        hashed: where it was asked for.
    """

    digest: bytes
    reason: str = ""
    size: tuple[int, int] = (0, 0)
    levels: Levels | None = None
    hashed: Hashed | None = None


class ImageIndex:
    """What is known of image files. A process has one, `INDEX`: whoever asks it second reads nothing.

    A file that changed within the last two seconds is not remembered, nor one that cannot be read, nor an array, which
    its owner may write to.
    """

    def __init__(self):
        self._known: dict[str, tuple[Status, Look]] = {}

    def digests(self, samples: Samples) -> list[bytes]:
        """One digest per sample, of the file as it lies on the disk, or of the row of the array.

        A file that cannot be read gets one that no other has: who decodes it finds out why.
        """
        if isinstance(samples.images, np.ndarray):
            return pixel_digests(samples.images)
        read = partial(_in_threads, _look_at_bytes, n_cores())
        return [look.digest for look in self._of(samples.images, lambda look: True, read)]

    def looks(self, samples: Samples, *, hashed: bool = False, workers: int | None = None) -> list[Look]:
        """What each sample shows, decoded as training decodes it.

        Args:
            samples: n images, files or an array.
            hashed: whether they are to be compared, see `Hashed`.
            workers: threads; None takes one per core.
        """

        def read(images: Sequence[str | np.ndarray]) -> list[Look]:
            found = _in_threads(partial(_look, hashed=hashed), workers or os.cpu_count() or 1, images)
            with bar("checking images", len(images), "image") as steps:
                looks = []
                for look in found:
                    looks.append(look)
                    steps.update()
                return looks

        if isinstance(samples.images, np.ndarray):
            return read(list(samples.images))
        return self._of(samples.images, lambda look: look.levels and (look.hashed or not hashed), read)

    def forget(self, samples: Samples) -> None:
        """Has every file read again when it is next asked for."""
        for path in () if isinstance(samples.images, np.ndarray) else samples.images:
            self._known.pop(path, None)

    def recall(self, file: Path) -> None:
        """Learns the digests in `file`; one that is damaged, or cannot be read, teaches nothing."""
        for path, (status, value) in _read_table(file).items():
            self._known.setdefault(path, (tuple(status), Look(bytes.fromhex(value))))

    def keep(self, file: Path, samples: Samples) -> None:
        """Adds the digests of `samples` to those in `file`; that it cannot be written costs time and nothing else."""
        if isinstance(samples.images, np.ndarray):
            return
        known = {path: self._known[path] for path in samples.images if path in self._known}
        new = {path: [list(status), look.digest.hex()] for path, (status, look) in known.items()}
        there = _read_table(file)  # of other processes, too
        if all(there.get(path) == value for path, value in new.items()):
            return
        kept = dict(list((there | new).items())[-_AT_MOST:])
        try:
            with atomic_write(file) as temporary:
                temporary.write_bytes(sealed(json.dumps(kept).encode()))
        except (OSError, UnwritableError):
            return

    def _of(
        self, paths: Sequence[str], suffices: Callable[[Look], object], read: Callable[[list[str]], Iterable[Look]]
    ) -> list[Look]:
        """A look at each path: the known one where the file has not changed and it suffices, else what `read` gives."""
        started, before = time.time_ns(), dict(zip(paths, _statuses(paths), strict=True))
        known = {path: self._known[path] for path in before if path in self._known}
        found = {path: look for path, (status, look) in known.items() if status == before[path] and suffices(look)}
        lacking = [path for path in before if path not in found]
        found |= zip(lacking, read(lacking), strict=True)
        for path, status in zip(lacking, _statuses(lacking), strict=True):
            self._known.pop(path, None)
            settled = status is not None and status == before[path] and max(status[1:3]) < started - _SETTLED
            if status is not None and settled and not found[path].reason:
                self._known[path] = (status, found[path])
        for path in list(self._known)[: max(0, len(self._known) - _AT_MOST)]:
            del self._known[path]
        return [found[path] for path in paths]


INDEX = ImageIndex()


def _in_threads(look: Callable, workers: int, images: Sequence[str | np.ndarray]) -> Iterator[Look]:
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(look, images)


def _look_at_bytes(path: str) -> Look:
    try:
        return Look(file_digest(read_bytes(path)))
    except Unreadable as error:
        return Look(digest(b"unreadable", path.encode("utf-8", "surrogateescape")), str(error))


def _look(image: str | np.ndarray, *, hashed: bool) -> Look:
    from tlkeras.data.images import decode_with_thumbnail, read_pixels

    if isinstance(image, np.ndarray):
        of_bytes = pixel_digests(image[np.newaxis])[0]
        levels = small_levels = Levels.of(image)
        pixels, small = image, read_pixels(image, IMAGE_SIZE).astype(np.uint8) if hashed else None
    else:
        try:
            contents = read_bytes(image)
        except Unreadable:
            return _look_at_bytes(image)
        of_bytes = file_digest(contents)
        try:
            (pixels, levels), (small, small_levels) = decode_with_thumbnail(contents, IMAGE_SIZE if hashed else None)
        except Unreadable as error:
            return Look(of_bytes, str(error))
    compared = None
    if small is not None:
        packed = np.packbits(perceptual_hashes(small[np.newaxis])[0]).tobytes()
        compared = Hashed(packed, small_levels, pixel_digests(pixels[np.newaxis])[0])
    return Look(of_bytes, "", pixels.shape[:2], levels, compared)


def _statuses(paths: Sequence[str]) -> list[Status | None]:
    with ThreadPoolExecutor(n_cores()) as pool:
        return list(pool.map(_status, paths))


def _status(path: str) -> Status | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _read_table(file: Path) -> dict[str, list]:
    """Nothing where the file does not hold what was written."""
    try:
        return json.loads(unsealed(file.read_bytes()) or "{}")
    except OSError:
        return {}
