"""Which of many images are the same, byte for byte or pixel for pixel, and which look alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlkeras.data.digests import pixel_digests
from tlkeras.data.measures import Levels
from tlkeras.data.perceptual_hash import N_BITS, near_pairs
from tlkeras.data.readable import require_readable
from tlkeras.errors import InputError
from tlkeras.schema import Samples

NEAR_LIMIT = 10**6  # pairs that look alike; frames of films can have billions


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What `fingerprint` found of n samples.

    Attributes:
        sample_ids: object (n,) of str.
        digests: n digests of the bytes of the files, or of the rows of the array.
        sizes: int64 (n, 2), height and width in pixels, of a file as it is shown upright.
        levels: n `Levels`, of what was decoded.
        hashes: bool (n, 255), of `perceptual_hashes`.
        files: int64 (n,); equal numbers mean equal bytes.
        pictures: int64 (n,); equal numbers mean equal pixels at native size.
        near: int64 (m, 2), two different `pictures` that look alike, the smaller first, each pair once.
        distances: int64 (m,), the bits in which the hashes of the two differ.
        complete: whether `near` holds all such pairs; it stops at `NEAR_LIMIT`.
    """

    sample_ids: np.ndarray
    digests: tuple[bytes, ...]
    sizes: np.ndarray
    levels: tuple[Levels, ...]
    hashes: np.ndarray
    files: np.ndarray
    pictures: np.ndarray
    near: np.ndarray
    distances: np.ndarray
    complete: bool

    def __len__(self) -> int:
        return len(self.sample_ids)

    def rows_of(self, samples: Samples) -> np.ndarray:
        """int64: where these fingerprints hold each sample, found by its sample_id.

        Raises:
            InputError: where a sample is not in them, or is another image of the same sample_id. Files are known by
                their paths alone, pixels in an array are compared.
        """
        row_of = dict(zip(self.sample_ids, range(len(self)), strict=True))
        unknown = [str(name) for name in samples.sample_ids if name not in row_of]
        rows = np.array([row_of.get(name, 0) for name in samples.sample_ids], dtype=np.int64)
        if not unknown and isinstance(samples.images, np.ndarray):
            digests = pixel_digests(samples.images)
            unknown = [
                str(name)
                for name, row, digest in zip(samples.sample_ids, rows, digests, strict=True)
                if self.digests[row] != digest
            ]
        if unknown:
            raise InputError(
                f"fingerprints: {len(unknown)} of {len(samples)} samples are not among the {len(self)} they were made "
                f"of, the first {unknown[0]!r}. Make them of all samples that are split: tl.fingerprint(samples)."
            )
        return rows


def fingerprint(samples: Samples) -> Fingerprints:
    """Looks at every image once, so that several splits of them can be audited.

    Args:
        samples: n images, with or without labels.

    Raises:
        InputError: lists the files that cannot be read, with the reasons.
    """
    return fingerprint_all([samples])


def fingerprint_all(parts: Sequence[Samples]) -> Fingerprints:
    """`fingerprint` of several sets, one behind the other: files, and arrays of any size."""
    looks = [look for part in parts for look in require_readable(part, hashed=True)]
    digests = tuple(look.digest for look in looks)
    hashed = [look.hashed for look in looks if look.hashed is not None]  # all of them: it was asked for
    hashes = np.stack([of_one.bits for of_one in hashed]) if hashed else np.empty((0, N_BITS), bool)
    _, first, files = np.unique(np.array(digests, dtype=object), return_index=True, return_inverse=True)
    near, distances, complete = near_pairs(hashes[first], limit=NEAR_LIMIT)
    known: dict[bytes, int] = {}
    pixels = [looks[row].hashed.pixels for row in first]
    picture_of = np.array([known.setdefault(each, file) for file, each in enumerate(pixels)], np.int64)
    near, distances = _between_pictures(picture_of[near], distances)
    return Fingerprints(
        sample_ids=np.concatenate([part.sample_ids for part in parts]),
        digests=digests,
        sizes=np.array([look.size for look in looks], dtype=np.int64).reshape(-1, 2),
        levels=tuple(of_one.levels for of_one in hashed),
        hashes=hashes,
        files=files,
        pictures=picture_of[files],
        near=near,
        distances=distances,
        complete=complete,
    )


def _between_pictures(near: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of different pictures, each once, with their smallest distance."""
    apart = near[:, 0] != near[:, 1]
    near, distances = np.sort(near[apart], axis=1), distances[apart]
    order = np.lexsort((distances, near[:, 1], near[:, 0]))
    near, distances = near[order], distances[order]
    _, firsts = np.unique(near, axis=0, return_index=True)
    return near[firsts], distances[firsts]
