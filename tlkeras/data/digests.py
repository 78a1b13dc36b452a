"""Images by their content: equal digests mean equal bytes, whatever a file is called and wherever it lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from tlkeras.errors import MissingInputError
from tlkeras.schema import Samples

DIGEST_BYTES = 16  # 128 bits: among 10**12 images two different ones meet with a probability of 1e-15


def pixel_digests(images: np.ndarray) -> list[bytes]:
    """One digest per image of (n, H, W, 3), of any dtype: of its shape, dtype and values."""
    kind = f"{images.dtype} {images.shape[1:]}".encode()
    return [digest(kind, np.ascontiguousarray(image).data) for image in images]


def listing_digest(samples: Samples) -> str:
    """One hash of names, sizes, labels, parts and groups: what runs knew their data by before they knew the contents.

    Raises:
        MissingInputError: a file is not there any more.
    """
    if isinstance(samples.images, np.ndarray):
        return contents_digest(samples, pixel_digests(samples.images))
    return _hash_of(samples, [_size(path) for path in samples.images])


def contents_digest(samples: Samples, digests: Sequence[bytes]) -> str:
    """One hash of names, contents, labels, parts and groups: the same images under other names are another data set.

    Args:
        samples: n images.
        digests: n, of `ImageIndex.digests`.
    """
    return _hash_of(samples, [value.hex() for value in digests])


def digest(*pieces: bytes | memoryview) -> bytes:
    """`DIGEST_BYTES` bytes that depend on all pieces, in order."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for piece in pieces:
        state.update(piece)
    return state.digest()


def sealed(contents: bytes) -> bytes:
    """What `unsealed` makes the contents of again, if not one bit of it has changed."""
    return digest(contents) + contents


def unsealed(seal: bytes) -> bytes | None:
    """The contents of what `sealed` made; None of anything else."""
    contents = seal[DIGEST_BYTES:]
    return contents if digest(contents) == seal[:DIGEST_BYTES] else None


def file_digest(contents: bytes) -> bytes:
    """That of a file, of its bytes."""
    return digest(b"file", contents)


def _hash_of(samples: Samples, images: Sequence[object]) -> str:
    columns = [samples.sample_ids, images]
    columns += [column for column in (samples.labels, samples.parts, samples.groups) if column is not None]
    lines = "\n".join("\t".join(map(str, row)) for row in zip(*columns, strict=True))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except (OSError, ValueError) as error:
        raise MissingInputError(
            f"{path!r} is not there, or closed to this user. Put it back, or leave it out."
        ) from error
