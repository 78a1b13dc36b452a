"""How the learning rate moves through a phase, as factors of the phase's own rate. Loads no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tlkeras.checks import Constraint, check_fields, real, whole

# Where a run to more epochs does not pass through the end of a run to fewer.
OF_THE_WHOLE_PHASE = ("cosine", "cosine_by_epoch", "one_cycle")

# fastai's `fit_one_cycle`: the share of the phase in which the rate rises, what it begins at, and what it ends at.
_RISING, _START, _END = 0.25, 1 / 25, 1e-5


@dataclass(frozen=True)
class StepDecay:
    """Multiplies the learning rate by `factor` after every `every` epochs of a phase."""

    every: int
    factor: float = 0.1

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "every": whole(1).also(" (epochs)"),
        "factor": real(above=0, most=1),
    }

    def __post_init__(self):
        check_fields(self, self._accepts)


def rate_factor(
    schedule: str | StepDecay | None, *, done: float, epochs: int, warmup: float = 0, step: float = 1
) -> float:
    """What the phase's learning rate is multiplied by in a training step.

    Args:
        schedule: as `Phase.schedule` takes it.
        done: epochs of the phase that are over when the step begins, 0 <= done < epochs.
        epochs: of the phase.
        warmup: epochs in which the rate rises along a line (Goyal et al. 2017, section 2.2), to reach 1 in the last
            step of them; a cosine begins after them.
        step: what one training step is of an epoch.
    """
    if warmup and done + step < warmup:
        return (done + step) / warmup
    if schedule is None:
        return 1.0
    if isinstance(schedule, StepDecay):
        return schedule.factor ** (math.floor(done) // schedule.every)
    if schedule == "one_cycle":
        passed = done / epochs
        if passed < _RISING:
            return _along_cosine(_START, 1, passed / _RISING)
        return _along_cosine(1, _END, (passed - _RISING) / (1 - _RISING))
    if schedule == "cosine_by_epoch":
        done, warmup = math.floor(done), 0
    return _along_cosine(1, 0, max(0, done - warmup) / (epochs - warmup))


def _along_cosine(start: float, end: float, passed: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * passed))
