"""What images are before any resize: how large, and how much their grey levels tell.

Sizes are (height, width), and in words width x height, as documents print them. An image of one colour, of a handful of
levels or of a sliver of the range is legitimate, and more often a file whose values were read by another scale than
they were written in. So it is named, never refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tlkeras.checks import check_image_size

FEW = 20  # levels; 12 bits read as 16 leave 16 of them
NARROW = 32  # of 256 levels that an image spans, an eighth of the range
NARROW_SET = 128  # that all images together span, half of the range


@dataclass(frozen=True)
class PixelSizes:
    """The sizes of n images as they lie on the disk, shown upright, or in an array: before any resize.

    Attributes:
        counts: {(height, width): images}, by area, of equal areas the less high first.
    """

    counts: Mapping[tuple[int, int], int]

    @classmethod
    def of(cls, sizes: np.ndarray) -> PixelSizes:
        """Of int (n, 2), the height and width of each image."""
        return cls.together([cls(Counter((int(height), int(width)) for height, width in sizes))])

    @classmethod
    def together(cls, parts: Iterable[PixelSizes]) -> PixelSizes:
        """The sizes of all parts' images."""
        counts = sum((Counter(part.counts) for part in parts), Counter())
        return cls({size: counts[size] for size in sorted(counts, key=lambda size: (size[0] * size[1], size))})

    @classmethod
    def from_json(cls, value: Mapping[str, int]) -> PixelSizes:
        """What `as_json` told."""
        sides = {tuple(map(int, size.split("x"))): n for size, n in value.items()}
        return cls({(height, width): n for (width, height), n in sides.items()})

    def as_json(self) -> dict[str, int]:
        """{"200x150": images}, width x height."""
        return {size_words(size): n for size, n in self.counts.items()}

    def __len__(self) -> int:
        return sum(self.counts.values())

    @property
    def smallest(self) -> tuple[int, int]:
        """The smallest by area; this, the median and the largest are of images that are there, so n must not be 0."""
        return next(iter(self.counts))

    @property
    def median(self) -> tuple[int, int]:
        """The median by area; of an even number of images the smaller of the two in the middle."""
        ends = np.cumsum(list(self.counts.values()))
        return list(self.counts)[np.searchsorted(ends, (len(self) - 1) // 2, side="right")]

    @property
    def largest(self) -> tuple[int, int]:
        """The largest by area."""
        return list(self.counts)[-1]

    def enlarged_to(self, image_size: tuple[int, int]) -> PixelSizes:
        """Those of the images that a resize to (height, width) enlarges: they are lower or narrower.

        Raises:
            InputError: no such image_size.
        """
        height, width = check_image_size(image_size)
        return PixelSizes({size: n for size, n in self.counts.items() if size[0] < height or size[1] < width})

    def words(self) -> str:
        """ "200x150", or "smallest 40x30, median 200x150, largest 600x450"; "none" of no images."""
        if not self.counts:
            return "none"
        if len(self.counts) == 1:
            return size_words(self.smallest)
        named = {name: size_words(getattr(self, name)) for name in ("smallest", "median", "largest")}
        return ", ".join(f"{name} {words}" for name, words in named.items())


def size_words(size: tuple[int, int]) -> str:
    """Width x height of a (height, width)."""
    return f"{size[1]}x{size[0]}"


@dataclass(frozen=True)
class Levels:
    """The grey levels of one image.

    Attributes:
        lowest: 0..255, over all channels.
        highest: 0..255.
        span: 1..256, from the lowest to the highest of the channel that spans most.
        n: 1..256, different levels of the channel that has most.
        depth: the bits that the largest value of a 16-bit file was taken for; 0 of other files, and of declared bits.
    """

    lowest: int
    highest: int
    span: int
    n: int
    depth: int = 0

    @classmethod
    def of(cls, pixels: np.ndarray, depth: int = 0) -> Levels:
        """Of uint8 (h, w, 3)."""
        import cv2

        pixels = np.ascontiguousarray(pixels)  # OpenCV takes no mirrored view
        counts = [cv2.calcHist([pixels], [channel], None, [256], [0, 256]).ravel() for channel in range(3)]
        present = [np.flatnonzero(count) for count in counts]
        return cls(
            lowest=int(min(levels[0] for levels in present)),
            highest=int(max(levels[-1] for levels in present)),
            span=int(max(levels[-1] - levels[0] for levels in present)) + 1,
            n=max(map(len, present)),
            depth=depth,
        )

    def words(self) -> str:
        """What it lacks; "" of an image that lacks nothing."""
        if self.n == 1:
            return "one colour everywhere"
        if self.span < NARROW:
            return f"{self.n} of 256 levels, all within {self.lowest}..{self.highest}"
        return f"{self.n} of 256 levels" if self.n <= FEW else ""


def levels_of_set(images: Sequence[Levels]) -> tuple[str, ...]:
    """What a set lacks as a whole, and how unlike its 16-bit files were read, a sentence each."""
    said = []
    lowest = min((image.lowest for image in images), default=0)
    highest = max((image.highest for image in images), default=255)
    if highest - lowest < NARROW_SET:
        said.append(
            f"All {len(images):,} images lie within grey levels {lowest}..{highest} of 0..255; perhaps their range is "
            "another than the one that they were read by."
        )
    depths = depths_seen(images)
    if len(depths) > 1:
        told = ", ".join(f"{n:,} as {bits} bits" for bits, n in depths.items())
        said.append(
            f"16-bit files that do not declare their range were read by their largest value, {told}: the same value "
            "is of another brightness. Declare it: a PNG's sBIT, a TIFF's MaxSampleValue."
        )
    return tuple(said)


def depths_seen(images: Iterable[Levels]) -> dict[int, int]:
    """{bits: images} of the files whose largest value decided, by bits; of an image of one colour it says nothing."""
    return dict(sorted(Counter(image.depth for image in images if image.depth and image.n > 1).items()))
