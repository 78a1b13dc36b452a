"""A phase of a training: some epochs with one choice of what learns and how fast. Loads no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tlkeras.checks import Constraint, check_fields, either, instance_of, one_of, or_none, real, several, whole
from tlkeras.errors import InputError
from tlkeras.training.monitor import MONITORS
from tlkeras.training.recipe import words_of


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


@dataclass(frozen=True)
class Phase:
    """Some epochs with one choice of what learns and how fast.

    Args:
        epochs: how many passes over the training images at most.
        learning_rate: the rate of the first epoch.
        unfreeze: which backbone layers learn: 0 none, "all", the last n that have weights, or exactly the stages of a
            tuple, e.g. ("block1", "block5").
        unfreeze_from: a stage or layer name: it and everything after it learn. Excludes `unfreeze`.
        optimizer: "adam" (Kingma & Ba 2015, Keras' defaults) or "sgd".
        momentum: of SGD, 0..1.
        schedule: None for a constant rate, "cosine" (half a cosine from `learning_rate` to 0 over the phase's epochs;
            Loshchilov & Hutter 2017, without restarts), or StepDecay(every, factor). It changes between epochs.
        patience: stop the phase after this many epochs in a row without a better `monitor` in the phase; None never.
        monitor: what patience and `keep` look at. "val_loss" and "val_accuracy" count every validation image alike;
            "val_balanced_loss" (the mean over the classes of their log loss), "val_balanced_accuracy", "val_macro_f1"
            and "val_roc_auc" (each class against the rest, averaged) count every class alike, are figures of `tl.score`
            and need a validation image of each class. None takes "val_balanced_loss" in a Tuner that has `imbalance`,
            "val_loss" in one that has not.
        keep: the weights the phase ends with: "best" by `monitor` over this phase and the kept ones of those before,
            or "last". Without validation samples there is no best, and the last weights are kept.
        batch_norm: "frozen" (the backbone's BatchNorm layers stay in inference mode) or "train".
        batch_norm_momentum: with "train", how much of its stored mean and variance a layer keeps in each step, 0..1;
            None takes the network's own. MobileNetV2's 0.999 still holds half of what it began with after 690 steps:
            from random weights on a small set, validation then sees another network than training does.
    """

    epochs: int
    learning_rate: float
    unfreeze: int | str | tuple[str, ...] = 0
    unfreeze_from: str | None = None
    optimizer: str = "adam"
    momentum: float = 0.9
    schedule: str | StepDecay | None = None
    patience: int | None = None
    monitor: str | None = None
    keep: str = "best"
    batch_norm: str = "frozen"
    batch_norm_momentum: float | None = None

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "epochs": whole(1),
        "learning_rate": real(above=0),
        "unfreeze": either(
            whole(0).also(" (layers)"), one_of("all"), several(instance_of(str, "a name"), "a tuple of stage names")
        ),
        "optimizer": one_of("adam", "sgd"),
        "momentum": real(least=0, below=1).also(", used by SGD"),
        "schedule": either(one_of("cosine", None), instance_of(StepDecay, "StepDecay(every, factor)")),
        "patience": or_none(whole(1)),
        "monitor": one_of(*MONITORS, None),
        "keep": one_of("best", "last"),
        "batch_norm": one_of("frozen", "train"),
        "batch_norm_momentum": or_none(real(least=0, below=1)).also(", with batch_norm='train'"),
    }

    def __post_init__(self):
        if isinstance(self.unfreeze, str) and self.unfreeze != "all":
            raise InputError(
                f"Phase.unfreeze: a bare name {self.unfreeze!r} can mean two things. "
                f"Write unfreeze=({self.unfreeze!r},) for exactly that stage, or unfreeze_from={self.unfreeze!r} "
                "for it and what follows."
            )
        check_fields(self, self._accepts)
        if self.batch_norm_momentum is not None and self.batch_norm != "train":
            raise InputError(
                f"Phase.batch_norm_momentum: received {self.batch_norm_momentum!r}, and batch_norm is "
                f"{self.batch_norm!r}; accepted is None."
            )
        if self.unfreeze_from is not None and self.unfreeze != 0:
            raise InputError(
                f"Phase: received unfreeze={self.unfreeze!r} and unfreeze_from={self.unfreeze_from!r}; give one."
            )

    def words(self) -> dict[str, str]:
        """{setting: in words}, as pages print them; of a phase whose monitor is named."""
        momentum = f", momentum {words_of(self.momentum)}" if self.optimizer == "sgd" else ""
        kept = "" if self.batch_norm_momentum is None else f", momentum {words_of(self.batch_norm_momentum)}"
        stop = f"after {self.patience} epochs without a better {self.monitor}" if self.patience else "none"
        learns = f"from {self.unfreeze_from}" if self.unfreeze_from else words_of(self.unfreeze or None)
        return {
            "epochs per phase": str(self.epochs),
            "optimizer": self.optimizer + momentum,
            "learning rate": words_of(self.learning_rate),
            "schedule": words_of(self.schedule),
            "backbone layers that learn": learns,
            "backbone's BatchNorm": self.batch_norm + kept,
            "early stop": stop,
            "weights kept": f"best {self.monitor}" if self.keep == "best" else "last",
        }

    @property
    def chooses(self) -> bool:
        """Whether anything looks at the monitor."""
        return self.keep == "best" or self.patience is not None

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of epoch 1, 2, ..., `epochs`."""
        if self.schedule is None:
            return self.learning_rate
        if isinstance(self.schedule, StepDecay):
            return self.learning_rate * self.schedule.factor ** ((epoch - 1) // self.schedule.every)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / self.epochs))
