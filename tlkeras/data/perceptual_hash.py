"""Which images look alike: a hash of the coarse structure of each, and the pairs whose hashes are close.

The DCT hash of Zauner ("Implementation and Benchmarking of Perceptual Image Hash Functions", 2010), with the 16x16
lowest frequencies of 64x64 grey levels in place of 8x8 of 32x32. It finds copies that were compressed, scaled or
brightened, not ones that were mirrored, turned or cut out. What it finds and misses is measured by
experiments/benchmarks/benchmark_near_duplicates.py, and written in assets/benchmark/near_duplicates.md.
"""

from __future__ import annotations

import numpy as np

from tlkeras.errors import InputError

IMAGE_SIZE = (64, 64)  # what is hashed
N_BITS = 16 * 16 - 1
# At most so many bits apart is near: the largest distance at which 95 % of the flagged pairs are of one lesion
# (HAM10000) and of one patient (chest X-ray).
NEAR = 35
STRUCTURED = N_BITS // 4  # with fewer bits set an image has next to no structure, and its hash says nothing
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_BLOCK = 4096  # hashes compared with as many others at a time: 64 MB of float32


def perceptual_hashes(pixels: np.ndarray) -> np.ndarray:
    """One hash per image.

    Args:
        pixels: uint8 (n, 64, 64, 3), RGB.

    Returns:
        bool (n, 255): which of the lowest frequencies but the mean lie above their median. Half of them do, or fewer
        where an image has little structure; none in an image of one colour.

    Raises:
        InputError: pixels of another shape.
    """
    from scipy.fft import dctn

    if pixels.shape[1:] != (*IMAGE_SIZE, 3):
        raise InputError(
            f"pixels: received shape {pixels.shape}; accepted is (n, {IMAGE_SIZE[0]}, {IMAGE_SIZE[1]}, 3)."
        )
    frequencies = dctn(pixels.astype(np.float32) @ _GREY, axes=(1, 2), norm="ortho")[:, :16, :16]
    # Rounded, so that what is zero but for the last digits of a float is zero: a step is 0.003 grey levels.
    frequencies = frequencies.reshape(len(pixels), N_BITS + 1)[:, 1:].round(1)
    return frequencies > np.median(frequencies, axis=1, keepdims=True)


def near_pairs(
    hashes: np.ndarray, at_most: int = NEAR, *, limit: int | None = None
) -> tuple[np.ndarray, np.ndarray, bool]:
    """All pairs of images whose hashes differ in few bits; images without structure are near to none.

    Args:
        hashes: bool (n, 255), of `perceptual_hashes`.
        at_most: the largest number of bits that differ.
        limit: stop at so many pairs; None finds all.

    Returns:
        int64 (m, 2), rows of `hashes`, the smaller first, in ascending order; int64 (m,), how many bits differ; and
        whether these are all.
    """
    rows = np.flatnonzero(hashes.sum(axis=1) >= STRUCTURED)
    signs = np.where(hashes[rows], 1, -1).astype(np.float32)
    pairs, distances, n = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)], 0
    for top in range(0, len(rows), _BLOCK):
        for left in range(top, len(rows), _BLOCK):
            # Every bit that differs takes 2 from N_BITS; sums of so few ones are exact.
            products = signs[top : top + _BLOCK] @ signs[left : left + _BLOCK].T
            first, second = np.nonzero(products >= N_BITS - 2 * at_most)
            apart = (N_BITS - products[first, second]).astype(np.int64) // 2
            first, second = first + top, second + left
            upper = first < second
            pairs.append(np.stack([rows[first[upper]], rows[second[upper]]], axis=1))
            distances.append(apart[upper])
            n += int(upper.sum())
            if limit is not None and n > limit:
                return np.concatenate(pairs)[:limit], np.concatenate(distances)[:limit], False
    pairs, distances = np.concatenate(pairs), np.concatenate(distances)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order], distances[order], True
