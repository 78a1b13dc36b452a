"""How large images are: how often each size occurs, told as the smallest, the median and the largest.

Sizes are (height, width), and in words width x height, as documents print them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tlkeras.checks import check_image_size


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
        return cls({tuple(int(side) for side in reversed(size.split("x"))): n for size, n in value.items()})

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
        return next(reversed(self.counts))

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
