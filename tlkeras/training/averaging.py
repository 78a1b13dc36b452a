"""Averages of the weights on their way through a phase, which take the place of the last ones. Loads no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tlkeras.checks import Constraint, check_fields, real, whole


@dataclass(frozen=True)
class EMA:
    """An exponential moving average, from the first step of the phase on (Polyak & Juditsky 1992).

    In step t it keeps min(decay, (1 + t) / (10 + t)) of itself, so that it does not hang on to where it began
    (TensorFlow's ExponentialMovingAverage).
    """

    decay: float = 0.99

    _accepts: ClassVar[Mapping[str, Constraint]] = {"decay": real(above=0, below=1)}

    def __post_init__(self):
        check_fields(self, self._accepts)

    def share_of(self, step: int) -> float:
        """How much of the weights after step 1, 2, ... goes into the average."""
        return 1 - min(self.decay, (1 + step) / (10 + step))


@dataclass(frozen=True)
class SWA:
    """The mean of the weights at the ends of the last `epochs` of the phase (Izmailov et al. 2018)."""

    epochs: int

    _accepts: ClassVar[Mapping[str, Constraint]] = {"epochs": whole(2)}

    def __post_init__(self):
        check_fields(self, self._accepts)

    def share_of(self, nth: int) -> float:
        """How much of the weights after the nth of these epochs goes into the average; below 1 is before them."""
        return 1 / nth if nth >= 1 else 0.0
