"""Samples that are predicted while a network trains, and steer nothing in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlkeras.schema import Samples

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class Watched:
    """What a fit predicts after some of its epochs: one run of nine epochs then answers for one of three as well.

    Attributes:
        samples: the n images predicted.
        moments: after which (phase, epoch).
        probs: {(phase, epoch): float32 (n, k)}, filled as the fit goes on.
    """

    samples: Samples
    moments: frozenset[tuple[int, int]]
    probs: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
