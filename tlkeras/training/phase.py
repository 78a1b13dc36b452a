"""A phase of a training: some epochs with one choice of what learns and how fast. Loads no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from tlkeras.checks import (
    Constraint,
    check_fields,
    check_image_size,
    either,
    instance_of,
    one_of,
    or_none,
    real,
    several,
    whole,
)
from tlkeras.errors import InputError
from tlkeras.given import Given, default
from tlkeras.training.averaging import EMA, SWA
from tlkeras.training.monitor import MONITORS
from tlkeras.training.optimizer_names import OPTIMIZERS, OWN_WEIGHT_DECAY, KerasOptimizer, read_optimizer
from tlkeras.training.recipe import words_of
from tlkeras.training.schedules import OF_THE_WHOLE_PHASE, StepDecay, rate_factor

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Phase:
    """Some epochs with one choice of what learns and how fast.

    Args:
        epochs: how many passes over the training images at most.
        learning_rate: the rate of the head, where a schedule is at its height.
        unfreeze: which backbone layers learn: 0 none, "all", the last n that have weights, or exactly the stages of a
            tuple, e.g. ("block1", "block5").
        unfreeze_from: a stage or layer name: it and everything after it learn. Excludes `unfreeze`.
        optimizer: one of Keras' by its name in lower case: "adam" (Kingma & Ba 2015), "sgd", "adamw" (Loshchilov &
            Hutter 2019), "lion" (Chen et al. 2023), "nadam", "rmsprop", "adagrad", "adadelta", "adamax", "adafactor",
            "ftrl"; or an object of such a class for options of its own, e.g. keras.optimizers.Lion(beta_1=0.95), of
            which the class and these options are kept, an SGD's momentum too. Its learning rate stays at Keras' 0.001.
        momentum: of SGD, 0..1.
        schedule: of the learning rate, set anew for each step. None for a constant one; "cosine" for half a cosine from
            `learning_rate` to 0 (Loshchilov & Hutter 2017, without restarts); "one_cycle" for a quarter of the phase
            from a 25th up to it and then down to a 100,000th, both along a cosine (Smith & Topin 2018, as in fastai,
            without its cycle of the momentum); StepDecay(every, factor). "cosine_by_epoch" moves between epochs alone,
            as "cosine" did before 0.3.
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
        warmup: epochs, or a part of one, in which the rate rises along a line to `learning_rate` (Goyal et al. 2017);
            a cosine begins after them. What was pretrained is otherwise torn by the first steps of a fresh optimizer.
        stage_decay: each stage of the backbone learns at this part of the rate of the next one, the last at this part
            of the head's (layer-wise decay, Howard & Ruder 2018, Bao et al. 2022), 0..1; 1 for one rate.
        weight_decay: what weights lose in a step, times the rate, apart from the gradient (AdamW's, with every
            optimizer): not biases, nor the scale and shift of normalisations. None takes Keras' own, 0.004 with
            "adamw" and none with the others.
        clip_norm: gradients together longer than that are shortened to it; None leaves them.
        accumulate: batches whose gradients are averaged into one step. It counts through the ends of epochs; what is
            left at the end of the phase is dropped.
        least_steps: where the images are so few that the epochs hold fewer steps, there are as many epochs as hold this
            number; warm-up and `average` are checked against the epochs declared. A rate that suits thousands of images
            needs hundreds of steps to change a network.
        image_size: (height, width) in pixels of this phase's training images, as a beginning at fewer pixels is faster
            (progressive resizing, Howard 2018); None for the recipe's. Validation images have the recipe's size in
            every phase, so that what is kept is the best at that. For heads that pool.
        average: EMA(decay) or SWA(epochs) judges, and keeps, averages of the weights in place of those of the last
            step; statistics that a BatchNorm keeps are averaged likewise. None does not.
    """

    epochs: int
    learning_rate: float
    unfreeze: int | str | tuple[str, ...] = 0
    unfreeze_from: str | None = None
    optimizer: Given[str | KerasOptimizer | keras.optimizers.Optimizer, str | KerasOptimizer] = default("adam")
    momentum: float = 0.9
    schedule: str | StepDecay | None = None
    patience: int | None = None
    monitor: str | None = None
    keep: str = "best"
    batch_norm: str = "frozen"
    batch_norm_momentum: float | None = None
    warmup: float = 0
    stage_decay: float = 1
    weight_decay: float | None = None
    clip_norm: float | None = None
    accumulate: int = 1
    average: EMA | SWA | None = None
    image_size: tuple[int, int] | None = None
    least_steps: int | None = None

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "epochs": whole(1),
        "learning_rate": real(above=0),
        "unfreeze": either(
            whole(0).also(" (layers)"), one_of("all"), several(instance_of(str, "a name"), "a tuple of stage names")
        ),
        "optimizer": either(one_of(*OPTIMIZERS), instance_of(KerasOptimizer, "an object of keras.optimizers")),
        "momentum": real(least=0, below=1).also(", used by SGD"),
        "schedule": either(one_of(*OF_THE_WHOLE_PHASE, None), instance_of(StepDecay, "StepDecay(every, factor)")),
        "patience": or_none(whole(1)),
        "monitor": one_of(*MONITORS, None),
        "keep": one_of("best", "last"),
        "batch_norm": one_of("frozen", "train"),
        "batch_norm_momentum": or_none(real(least=0, below=1)).also(", with batch_norm='train'"),
        "warmup": real(least=0).also(" (epochs)"),
        "stage_decay": real(above=0, most=1),
        "weight_decay": or_none(real(least=0)),
        "clip_norm": or_none(real(above=0)),
        "accumulate": whole(1).also(" (batches)"),
        "least_steps": or_none(whole(1)),
        "average": either(one_of(None), instance_of(EMA, "EMA(decay)"), instance_of(SWA, "SWA(epochs)")),
    }

    def __post_init__(self):
        if isinstance(self.unfreeze, str) and self.unfreeze != "all":
            raise InputError(
                f"Phase.unfreeze: a bare name {self.unfreeze!r} can mean two things. "
                f"Write unfreeze=({self.unfreeze!r},) for exactly that stage, or unfreeze_from={self.unfreeze!r} "
                "for it and what follows."
            )
        if hasattr(self.optimizer, "get_config"):
            optimizer, momentum = read_optimizer(self.optimizer, self.learning_rate)
            if momentum is not None and self.momentum not in (type(self).momentum, momentum):
                raise InputError(
                    f"Phase.momentum: received {self.momentum!r}, and an optimizer whose own is {momentum!r}; leave "
                    "one out."
                )
            object.__setattr__(self, "optimizer", optimizer)
            object.__setattr__(self, "momentum", self.momentum if momentum is None else momentum)
        check_fields(self, self._accepts)
        if self.image_size is not None:
            object.__setattr__(self, "image_size", check_image_size(self.image_size, name="Phase.image_size"))
        options = self.optimizer.options if isinstance(self.optimizer, KerasOptimizer) else {}
        if self.clip_norm is not None and (clipped := {"clipnorm", "clipvalue"} & options.keys()):
            raise InputError(
                f"Phase.clip_norm: received {self.clip_norm!r}, and an optimizer with {min(clipped)}; leave one out."
            )
        if self.batch_norm_momentum is not None and self.batch_norm != "train":
            raise InputError(
                f"Phase.batch_norm_momentum: received {self.batch_norm_momentum!r}, and batch_norm is "
                f"{self.batch_norm!r}; accepted is None."
            )
        if self.unfreeze_from is not None and self.unfreeze != 0:
            raise InputError(
                f"Phase: received unfreeze={self.unfreeze!r} and unfreeze_from={self.unfreeze_from!r}; give one."
            )
        if self.warmup >= self.epochs:
            raise InputError(f"Phase.warmup: received {self.warmup!r} of {self.epochs} epochs; accepted are fewer.")
        if self.warmup and self.schedule in ("one_cycle", "cosine_by_epoch"):
            raise InputError(
                f"Phase.warmup: received {self.warmup!r}, and schedule={self.schedule!r}, "
                + ("which rises by itself." if self.schedule == "one_cycle" else 'which has none. Take "cosine".')
            )
        if isinstance(self.average, SWA) and (self.average.epochs > self.epochs or self.patience is not None):
            raise InputError(
                f"Phase.average: received {self.average!r}, with epochs={self.epochs} and patience={self.patience}; "
                "it takes the last ones, so there have to be as many, and no early stop."
            )

    @classmethod
    def of_earlier(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of a phase as they stand in the description of an earlier version, in words of this one."""
        if "warmup" not in values and values.get("schedule") == "cosine":
            return {**values, "schedule": "cosine_by_epoch"}
        return values

    def with_enough_steps(self, batches: int) -> Phase:
        """The same with the epochs that it takes where an epoch has so many batches."""
        if self.least_steps is None:
            return self
        epochs = math.ceil(self.least_steps * self.accumulate / batches)
        return replace(self, epochs=max(self.epochs, epochs), least_steps=None)

    def for_smoke(self) -> Phase:
        """The same in one epoch, without what needs more of them."""
        average = None if isinstance(self.average, SWA) else self.average
        return replace(self, epochs=1, warmup=0, average=average, image_size=None, least_steps=None)

    def words(self) -> dict[str, str]:
        """{setting: in words}, as pages print them; of a phase whose monitor is named."""
        momentum = f", momentum {words_of(self.momentum)}" if self.optimizer_name == "sgd" else ""
        kept = "" if self.batch_norm_momentum is None else f", momentum {words_of(self.batch_norm_momentum)}"
        stop = f"after {self.patience} epochs without a better {self.monitor}" if self.patience else "none"
        learns = f"from {self.unfreeze_from}" if self.unfreeze_from else words_of(self.unfreeze or None)
        optimizer = self.optimizer if isinstance(self.optimizer, str) else self.optimizer.words()
        average = (
            "" if self.average is None else f", averaged ({type(self.average).__name__}, {words_of(self.average)})"
        )
        return {
            "epochs per phase": str(self.epochs)
            + ("" if self.least_steps is None else f", at least {self.least_steps} steps"),
            "optimizer": optimizer + momentum,
            "learning rate": words_of(self.learning_rate),
            "schedule": words_of(self.schedule).replace("_", " "),
            "warm-up": f"{words_of(self.warmup)} epochs" if self.warmup else "none",
            "rate of each stage": "the next one's"
            if self.stage_decay == 1
            else f"{words_of(self.stage_decay)} of the next one's",
            "weight decay": words_of(self.decay or None),
            "image size of the phase": "the recipe's"
            if self.image_size is None
            else "x".join(map(str, self.image_size)),
            "gradients": ", ".join(self._gradient_words()) or "as they are",
            "backbone layers that learn": learns,
            "backbone's BatchNorm": self.batch_norm + kept,
            "early stop": stop,
            "weights kept": (f"best {self.monitor}" if self.keep == "best" else "last") + average,
        }

    def _gradient_words(self) -> list[str]:
        clipped = [] if self.clip_norm is None else [f"of a norm of at most {words_of(self.clip_norm)}"]
        return clipped + ([f"averaged over {self.accumulate} batches"] if self.accumulate > 1 else [])

    @property
    def chooses(self) -> bool:
        """Whether anything looks at the monitor."""
        return self.keep == "best" or self.patience is not None

    @property
    def optimizer_name(self) -> str:
        """The optimizer's class in lower case."""
        return self.optimizer if isinstance(self.optimizer, str) else self.optimizer.name

    @property
    def decay(self) -> float:
        """How much weights lose in a step, times the rate; Keras' own where nothing is given."""
        own = OWN_WEIGHT_DECAY.get(self.optimizer_name, 0.0)
        return own if self.weight_decay is None else self.weight_decay

    @property
    def is_a_beginning(self) -> bool:
        """Whether the same phase with more epochs passes through this one's end."""
        whole = self.schedule in OF_THE_WHOLE_PHASE or isinstance(self.average, SWA)
        return not whole and self.least_steps is None

    def learning_rate_at(self, epoch: int, batch: int = 1, batches: int = 1) -> float:
        """The learning rate of a step: batch 1, 2, ..., `batches` of epoch 1, 2, ..., `epochs`."""
        done = epoch - 1 + (batch - 1) / batches
        factor = rate_factor(self.schedule, done=done, epochs=self.epochs, warmup=self.warmup, step=1 / batches)
        return self.learning_rate * factor

    def average_share_at(self, epoch: int, batch: int, batches: int) -> float:
        """How much of the weights after a step goes into `average`; of steps as `learning_rate_at` counts them."""
        if isinstance(self.average, EMA):
            step, within = divmod((epoch - 1) * batches + batch, self.accumulate)
            return 0.0 if within else self.average.share_of(step)
        if isinstance(self.average, SWA) and batch == batches:
            return self.average.share_of(epoch - self.epochs + self.average.epochs)
        return 0.0

    def is_averaged(self, epoch: int) -> bool:
        """Whether there is an average of the weights at the end of an epoch."""
        first = self.epochs - self.average.epochs + 1 if isinstance(self.average, SWA) else 1
        return self.average is not None and epoch >= first
