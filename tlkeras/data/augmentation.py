"""What may happen to a training image, in ImageDataGenerator's words, and the seeds that decide what does."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlkeras.checks import check_whole
from tlkeras.errors import InputError
from tlkeras.seeds import derive_seed

FILL_MODES = ("nearest", "reflect", "wrap", "constant")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images; argument names and meaning are those of Keras' old ImageDataGenerator.

    Every image draws its own values, uniformly, independently of each other. The default changes nothing.

    Attributes:
        rotation_range: degrees; the angle is drawn from ± this.
        width_shift_range: shift to the left or right. A float is drawn from ± this: a fraction of the width below 1,
            pixels from 1 on. An int n draws whole pixels from -(n - 1)..n - 1. Several numbers: one of them, with
            either sign, as fractions where all are below 1, else as pixels.
        height_shift_range: shift up or down, given in the same ways; fractions are of the height.
        shear_range: degrees, below 90; drawn from ± this. (0.2 is a fifth of a degree, not of a radian.)
        zoom_range: z in [0, 1) for (1 - z, 1 + z), or (low, high) above 0; drawn for each axis on its own, so the
            aspect ratio changes. Below 1 enlarges.
        horizontal_flip: mirror left and right with probability 1/2.
        vertical_flip: mirror top and bottom with probability 1/2.
        brightness_range: (low, high), at least 0: the factor on all grey levels, cut at 255; None leaves them.
        channel_shift_range: grey levels; one number from ± this is added to all three channels, cut at the image's
            own smallest and largest value.
        fill_mode: what stands outside the image: "nearest" (its edge), "reflect" (its mirror image, edge repeated),
            "wrap" (its other side), or "constant" (`cval`).
        cval: the grey level of "constant", 0..255.
        views: k shows each image in k fixed variants, which repeat every k epochs and in all phases, so that a frozen
            trunk can keep them; None draws anew in every epoch.

    Raises:
        InputError: a value is of the wrong kind or outside its range.
    """

    rotation_range: float = 0
    width_shift_range: float | int | Sequence[float] = 0
    height_shift_range: float | int | Sequence[float] = 0
    shear_range: float = 0
    zoom_range: float | tuple[float, float] = 0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    brightness_range: tuple[float, float] | None = None
    channel_shift_range: float = 0
    fill_mode: str = "nearest"
    cval: float = 0.0
    views: int | None = None

    def __post_init__(self):
        for name in ("width_shift_range", "height_shift_range", "zoom_range", "brightness_range"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))

        def check(name: str, accepted: bool, words: str) -> None:
            if not accepted:
                raise InputError(f"Augmentation({name}={getattr(self, name)!r}): accepted is {words}.")

        check("rotation_range", _within(self.rotation_range, 0, 360), "a number of degrees in 0..360")
        for name in ("width_shift_range", "height_shift_range"):
            check(
                name,
                _is_shift(getattr(self, name)),
                "a float at least 0 (a fraction below 1, pixels from 1 on), an int at least 0 (whole pixels), or "
                "several numbers to choose from",
            )
        check(
            "shear_range",
            _within(self.shear_range, 0, 90) and self.shear_range < 90,
            "a number of degrees from 0 to below 90",
        )
        low, high = self.zoom_limits if _is_range(self.zoom_range) or _is_number(self.zoom_range) else (0, 0)
        check("zoom_range", 0 < low <= high, "a number from 0 to below 1, or two numbers (low, high) above 0")
        for name in ("horizontal_flip", "vertical_flip"):
            check(name, isinstance(getattr(self, name), (bool, np.bool_)), "True or False")
        check(
            "brightness_range",
            self.brightness_range is None or (_is_range(self.brightness_range) and self.brightness_range[0] >= 0),
            "None, or two numbers (low, high) at least 0: factors, 1 leaves the image as it is",
        )
        check("channel_shift_range", _within(self.channel_shift_range, 0, 255), "a number of grey levels in 0..255")
        check("fill_mode", self.fill_mode in FILL_MODES, f"one of {', '.join(FILL_MODES)}")
        check("cval", _within(self.cval, 0, 255), "a grey level in 0..255")
        if self.views is not None:
            views = check_whole("Augmentation.views", self.views, 1, also=", or None for new draws in every epoch")
            object.__setattr__(self, "views", views)

    @property
    def zoom_limits(self) -> tuple[float, float]:
        """The smallest and largest zoom factor."""
        if isinstance(self.zoom_range, tuple):
            return self.zoom_range
        return 1 - self.zoom_range, 1 + self.zoom_range

    def view_of(self, epoch: int) -> int:
        """Which variant of each image `epoch` shows: the epoch itself, or epoch mod `views`."""
        return epoch if self.views is None else epoch % self.views

    def example_seeds(self, seed: int, phase: int, epoch: int, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The seeds of an epoch's draws, one pair per example: a function of the arguments and of nothing else.

        Args:
            seed: the run's seed.
            phase: number of the training phase; does not enter where `views` are fixed.
            epoch: number of the epoch within the phase; enters as `view_of(epoch)`.
            indices: int (m,), 0..2**31-1: which examples. Equal indices draw equally.

        Returns:
            int32 (m, 2): one word for the view, and the index itself. The bits need no mixing: the generator that the
            warp draws from (Philox) scrambles its key.
        """
        indices = np.asarray(indices)
        if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
            raise InputError(
                f"indices: received dtype {indices.dtype}, shape {indices.shape}; accepted: integers (m,)."
            )
        if len(indices) and not (indices.min() >= 0 and indices.max() < 2**31):
            raise InputError(f"indices: received {indices.min()}..{indices.max()}; accepted are 0..{2**31 - 1}.")
        when = ("epoch", phase, epoch) if self.views is None else ("view", self.view_of(epoch))
        seeds = np.empty((len(indices), 2), dtype=np.int32)
        seeds[:, 0] = derive_seed(seed, "augmentation", *when)
        seeds[:, 1] = indices
        return seeds


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _within(value: object, low: float, high: float) -> bool:
    return _is_number(value) and low <= value <= high


def _is_range(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value)) and value[0] <= value[1]


def _is_shift(value: object) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return len(values) > 0 and all(_is_number(number) and number >= 0 for number in values)
