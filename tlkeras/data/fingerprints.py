"""Which of many images are the same, byte for byte or pixel for pixel, and which look alike."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tlkeras.data.digests import bytes_or_none, file_digest, pixel_digests, source_digests
from tlkeras.data.file_bytes import Unreadable
from tlkeras.data.levels import Levels
from tlkeras.data.perceptual_hash import IMAGE_SIZE, N_BITS, STRUCTURED, near_pairs, perceptual_hashes
from tlkeras.data.python_decoder import upright_size
from tlkeras.errors import InputError
from tlkeras.machine import n_cores
from tlkeras.schema import Samples

NEAR_LIMIT = 10**6  # pairs that look alike; frames of films can have billions
_CHUNK = 512  # images decoded and hashed at a time


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
            digests = source_digests(samples)
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


def fingerprint(samples: Samples, *, progress: bool = True) -> Fingerprints:
    """Reads and decodes every image once, so that several splits of them can be audited.

    Args:
        samples: n images, with or without labels.
        progress: whether long work shows a bar.

    Raises:
        InputError: lists the files that cannot be read, with the reasons.
    """
    return fingerprint_all([samples], progress=progress)


def fingerprint_all(parts: Sequence[Samples], *, progress: bool = True) -> Fingerprints:
    """`fingerprint` of several sets, one behind the other: files, and arrays of any size."""
    seen = [each for part in parts for each in _digests_and_sizes(part)]
    digests = tuple(digest for digest, _ in seen)
    hashes, levels = zip(*(_hashes_and_levels(part, progress) for part in parts), strict=True)
    hashes = np.concatenate(hashes)
    _, first, files = np.unique(np.array(digests, dtype=object), return_index=True, return_inverse=True)
    near, distances, complete = near_pairs(hashes[first], limit=NEAR_LIMIT)

    # Equal pixels look alike, so only images that look like another are decoded in full; of images without structure,
    # and where too many look alike, all.
    doubtful = np.zeros(len(first), bool)
    doubtful[near] = True
    doubtful |= (hashes[first].sum(axis=1) < STRUCTURED) | (not complete)
    images = list(itertools.chain.from_iterable(part.images for part in parts))
    picture_of, known = np.arange(len(first)), {}
    for file in np.flatnonzero(doubtful):
        picture_of[file] = known.setdefault(_digest_in_full(images[first[file]]), file)
    near, distances = _between_pictures(picture_of[near], distances)
    return Fingerprints(
        sample_ids=np.concatenate([part.sample_ids for part in parts]),
        digests=digests,
        sizes=np.array([size for _, size in seen], dtype=np.int64).reshape(-1, 2),
        levels=tuple(itertools.chain.from_iterable(levels)),
        hashes=hashes,
        files=files,
        pictures=picture_of[files],
        near=near,
        distances=distances,
        complete=complete,
    )


def _digests_and_sizes(samples: Samples) -> list[tuple[bytes, tuple[int, int]]]:
    """The digest (of `source_digests`) and the (height, width) of each image, for which a file is read once."""
    if isinstance(samples.images, np.ndarray):
        return [(digest, samples.images.shape[1:3]) for digest in pixel_digests(samples.images)]
    with ThreadPoolExecutor(n_cores()) as pool:
        return list(pool.map(_digest_and_size, samples.images))


def _digest_and_size(path: str) -> tuple[bytes, tuple[int, int]]:
    contents = bytes_or_none(path)
    return file_digest(path, contents), (0, 0) if contents is None else _size(path, contents)


def _size(path: str, contents: bytes) -> tuple[int, int]:
    """(height, width); (0, 0) of what cannot be read: decoding it names it, with the reason."""
    try:
        return upright_size(contents)
    except Unreadable:
        from tlkeras.data.images import read_pixels

        try:  # TensorFlow forgives a PNG a damaged comment, Pillow does not
            return read_pixels(path, None).shape[:2]
        except InputError:
            return 0, 0


def _hashes_and_levels(samples: Samples, progress: bool) -> tuple[np.ndarray, list[Levels]]:
    from tlkeras.data.pipeline import measured_batches, with_bar

    hashes, levels = [np.empty((0, N_BITS), bool)], []
    for pixels, of_batch in with_bar(measured_batches(samples, IMAGE_SIZE, _CHUNK), len(samples), progress):
        hashes.append(perceptual_hashes(pixels))
        levels += of_batch
    return np.concatenate(hashes), levels


def _digest_in_full(image: str | np.ndarray) -> bytes:
    """Of the pixels at native size, whichever file format they lie in."""
    if isinstance(image, np.ndarray):
        return pixel_digests(image[np.newaxis])[0]
    from tlkeras.data.images import read_pixels

    return pixel_digests(read_pixels(image, None).astype(np.uint8)[np.newaxis])[0]


def _between_pictures(near: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of different pictures, each once, with their smallest distance."""
    apart = near[:, 0] != near[:, 1]
    near, distances = np.sort(near[apart], axis=1), distances[apart]
    order = np.lexsort((distances, near[:, 1], near[:, 0]))
    near, distances = near[order], distances[order]
    _, firsts = np.unique(near, axis=0, return_index=True)
    return near[firsts], distances[firsts]
