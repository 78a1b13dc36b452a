"""Images by their content: equal digests mean equal bytes, whatever a file is called and wherever it lies."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tlkeras.data.file_bytes import Unreadable, read_bytes
from tlkeras.machine import n_cores
from tlkeras.schema import MissingInputError, Samples

DIGEST_BYTES = 16  # 128 bits: among 10**12 images two different ones meet with a probability of 1e-15


def source_digests(samples: Samples) -> list[bytes]:
    """One digest per sample, of the file as it lies on the disk, or of the row of the array.

    A file that cannot be read gets one that no other has: who decodes it finds out why.
    """
    if isinstance(samples.images, np.ndarray):
        return pixel_digests(samples.images)
    with ThreadPoolExecutor(n_cores()) as pool:
        return list(pool.map(lambda path: file_digest(path, bytes_or_none(path)), samples.images))


def pixel_digests(images: np.ndarray) -> list[bytes]:
    """One digest per image of (n, H, W, 3), of any dtype: of its shape, dtype and values."""
    kind = f"{images.dtype} {images.shape[1:]}".encode()
    return [digest(kind, np.ascontiguousarray(image).data) for image in images]


def listing_digest(samples: Samples) -> str:
    """One hash of names, sizes, labels, parts and groups: another copy of a data set is another data set.

    Raises:
        MissingInputError: a file is not there any more.
    """
    if isinstance(samples.images, np.ndarray):
        sizes = [value.hex() for value in pixel_digests(samples.images)]
    else:
        sizes = [_size(path) for path in samples.images]
    columns = [samples.sample_ids, sizes]
    columns += [column for column in (samples.labels, samples.parts, samples.groups) if column is not None]
    lines = "\n".join("\t".join(map(str, row)) for row in zip(*columns, strict=True))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def digest(*pieces: bytes | memoryview) -> bytes:
    """`DIGEST_BYTES` bytes that depend on all pieces, in order."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for piece in pieces:
        state.update(piece)
    return state.digest()


def file_digest(path: str, contents: bytes | None) -> bytes:
    """That of `source_digests`, of a file whose bytes were read; None of one that cannot be."""
    if contents is None:
        return digest(b"unreadable", path.encode("utf-8", "surrogateescape"))
    return digest(b"file", contents)


def bytes_or_none(path: str) -> bytes | None:
    """The bytes of a file, None where it cannot be read."""
    try:
        return read_bytes(path)
    except Unreadable:
        return None


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except (OSError, ValueError) as error:
        raise MissingInputError(
            f"{path!r} is not there, or closed to this user. Put it back, or leave it out."
        ) from error
