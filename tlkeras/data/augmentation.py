"""What may happen to a training image, in ImageDataGenerator's words, and the seeds that decide what does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tlkeras.checks import Constraint, check_fields, either, flag, instance_of, one_of, or_none, real, several, whole
from tlkeras.errors import InputError
from tlkeras.given import Given, default
from tlkeras.seeds import derive_seed

FILL_MODES = ("nearest", "reflect", "wrap", "constant")
_SHIFT = either(
    real(least=0).also(" (a float: a fraction below 1, pixels from 1 on; an integer: whole pixels)"),
    several(real(least=0), "several numbers to choose from"),
)


def _low_high(each: Constraint, words: str) -> Constraint:
    pair = several(each, f"two numbers (low, high) {words}")
    return replace(pair, fits=lambda value: pair.fits(value) and len(value) == 2 and value[0] <= value[1])


@dataclass(frozen=True)
class RandAugment:
    """So many operations on each image, all of one magnitude (Cubuk et al. 2020).

    Attributes:
        operations: how many, each drawn from fourteen: turn, shear and shift along either axis, brightness, colour,
            contrast, sharpness, posterize, solarize, autocontrast, equalize, and none.
        magnitude: 0..30, of which 30 is a shear of 0.3, a shift of 45 % of the side, 30 degrees, 90 % more or less of
            brightness, colour, contrast or sharpness, four bits of eight, or everything inverted.
    """

    operations: int = 2
    magnitude: float = 9

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "operations": whole(1),
        "magnitude": real(least=0, most=30),
    }

    def __post_init__(self):
        check_fields(self, self._accepts)


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
        crop_scale: (low, high), parts of the area: each image is a crop of so much of it, three to four at its
            narrowest and widest, enlarged to the whole (torchvision's RandomResizedCrop, cut at the edges); None takes
            all of it. It is cut from the image at the training's size.
        erasing: the probability that a box of 2 to 33 % of the area becomes noise (Zhong et al. 2020), 0..1.
        mixup: alpha above 0 mixes each image with another of its batch, and the labels, in parts drawn from
            Beta(alpha, alpha) (Zhang et al. 2018); 0 mixes none.
        cutmix: alpha above 0 pastes a box of another image of the batch, and mixes the labels by its area (Yun et al.
            2019); 0 pastes none. With both, each image takes one of them with probability 1/2.
        policy: "trivial" for one operation on each image, of a magnitude drawn from 0..30 (TrivialAugment, Müller &
            Hutter 2021, their wide ranges: up to 135 degrees, 32 pixels, a shear of 0.99), or RandAugment(operations,
            magnitude). Turns, shears and shifts are part of the one resampling and fill as `fill_mode` says; colours
            come after it.
        views: k shows each image in k fixed variants, which repeat every k epochs and in all phases, so that a frozen
            trunk can keep them; None draws anew in every epoch.

    Raises:
        InputError: a value is of the wrong kind or outside its range.
    """

    rotation_range: float = 0
    width_shift_range: Given[float | Sequence[float], float | tuple[float, ...]] = default(0)
    height_shift_range: Given[float | Sequence[float], float | tuple[float, ...]] = default(0)
    shear_range: float = 0
    zoom_range: Given[float | Sequence[float], float | tuple[float, float]] = default(0)
    horizontal_flip: bool = False
    vertical_flip: bool = False
    brightness_range: Given[Sequence[float] | None, tuple[float, float] | None] = default(None)
    channel_shift_range: float = 0
    fill_mode: str = "nearest"
    cval: float = 0.0
    views: int | None = None
    crop_scale: Given[Sequence[float] | None, tuple[float, float] | None] = default(None)
    erasing: float = 0
    mixup: float = 0
    cutmix: float = 0
    policy: str | RandAugment | None = None

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "rotation_range": real(least=0, most=360).also(", in degrees"),
        "width_shift_range": _SHIFT,
        "height_shift_range": _SHIFT,
        "shear_range": real(least=0, below=90).also(", in degrees"),
        "zoom_range": either(real(least=0, below=1), _low_high(real(above=0), "above 0")),
        "horizontal_flip": flag(),
        "vertical_flip": flag(),
        "brightness_range": or_none(
            _low_high(real(least=0), "of at least 0, factors of which 1 leaves the image as it is")
        ),
        "channel_shift_range": real(least=0, most=255).also(", in grey levels"),
        "fill_mode": one_of(*FILL_MODES),
        "cval": real(least=0, most=255).also(", a grey level"),
        "views": or_none(whole(1)).also(" for new draws in every epoch"),
        "crop_scale": or_none(_low_high(real(above=0, most=1), "in (0, 1], parts of the area")),
        "erasing": real(least=0, most=1),
        "mixup": real(least=0),
        "cutmix": real(least=0),
        "policy": either(one_of("trivial", None), instance_of(RandAugment, "a tl.RandAugment")),
    }

    def __post_init__(self):
        check_fields(self, self._accepts)
        if self.mixes and self.views is not None:
            raise InputError(
                f"Augmentation.views: received {self.views!r}, with mixup={self.mixup!r} and cutmix={self.cutmix!r}: "
                "an image has another partner in every epoch, so there are no variants to repeat. Leave views out."
            )

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with others, and labels with theirs."""
        return bool(self.mixup or self.cutmix)

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
