"""Which value of a 16-bit file is white: of X-rays and microscopes it is often that of 10, 12 or 14 bits.

A file may declare it, a PNG by its chunk sBIT, a TIFF by its tag MaxSampleValue. Most don't, and then the largest value
decides, of this one file: white is the largest value of 8, 10, 12, 14 or 16 bits, the fewest that hold it. A file whose
values have visibly been scaled up to all 16 bits stays at 16, however dark it is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

FULL = 16
_USUAL = (8, 10, 12, 14, FULL)  # the depths of sensors
_SCALED_FROM = (8, 10, 12)
_PNG_SIGNATURE = 8  # bytes
_CHUNK_HEAD = 8  # length and kind
_CHUNK_CHECK = 4


@dataclass(frozen=True)
class BitDepth:
    """How many bits white takes in a 16-bit file.

    Attributes:
        bits: 1 to 16; white is 2**bits - 1.
        declared: whether the file says so; else its largest value does.
    """

    bits: int
    declared: bool

    @property
    def white(self) -> int:
        """The value that becomes 255."""
        return 2**self.bits - 1


def of_png(colours: np.ndarray, contents: bytes) -> BitDepth:
    """Of a PNG's colours, uint16 (h, w, 1 or 3), and the bytes of its file.

    The standard wants values of n significant bits scaled up to 16, and then white is 65535. Many files hold them as
    they are: those whose largest value is one of n bits, and that were not scaled up.
    """
    significant = _significant_bits(contents)[: colours.shape[-1]]
    if not significant or not 0 < min(significant) <= max(significant) <= FULL:
        return of_values(colours)
    bits = max(significant)
    as_they_are = int(colours.max()) < 2**bits and not _is_scaled_up(colours, bits)
    return BitDepth(bits if as_they_are else FULL, declared=True)


def of_tiff(colours: np.ndarray, largest: int | None) -> BitDepth:
    """Of a TIFF's colours as stored, uint16 (h, w, 1 or 3), and its MaxSampleValue.

    Some programs write the largest value of this image there, so it is taken to the end of its bits: 3127 declares 12.
    A tag that the values contradict says nothing.
    """
    if largest is None or not max(1, int(colours.max())) <= largest < 2**FULL:
        return of_values(colours)
    return BitDepth(int(largest).bit_length(), declared=True)


def of_values(colours: np.ndarray) -> BitDepth:
    """Of values, uint16, where nothing is declared."""
    needed = int(colours.max()).bit_length()
    bits = next(bits for bits in _USUAL if bits >= needed)
    if bits < FULL and any(_is_scaled_up(colours, source) for source in _SCALED_FROM):
        bits = FULL
    return BitDepth(bits, declared=False)


def _is_scaled_up(values: np.ndarray, bits: int) -> bool:
    """Whether all values are ones of `bits` bits scaled to 16: shifted, repeated in the bits below, or multiplied."""
    shift = FULL - bits
    if not shift:
        return True
    sources = np.arange(2**bits, dtype=np.int64)
    shifted = sources << shift
    repeated = shifted | (shifted >> bits)
    multiplied = np.rint(sources * ((2**FULL - 1) / (2**bits - 1))).astype(np.int64)
    present = np.zeros(2**FULL, bool)
    for row in values:  # an index of all at once would be eight bytes per value
        present[row] = True
    return any(np.isin(np.flatnonzero(present), scaled).all() for scaled in (shifted, repeated, multiplied))


def _significant_bits(contents: bytes) -> tuple[int, ...]:
    """What a PNG's sBIT says of each channel, empty where there is none before the pixels."""
    start = _PNG_SIGNATURE
    while start + _CHUNK_HEAD <= len(contents):
        length, kind = struct.unpack_from(">I4s", contents, start)
        start += _CHUNK_HEAD
        if kind == b"sBIT":
            return tuple(contents[start : start + min(length, 4)])
        if kind == b"IDAT":
            break
        start += length + _CHUNK_CHECK
    return ()
