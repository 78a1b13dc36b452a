"""The two-phase recipe: a head on a frozen backbone first, then parts of the backbone at a low rate.

Declarations only: a Tuner stores what was asked for and checks it; `fit` hands it to the loop. Importing this module
loads no TensorFlow.
"""

from __future__ import annotations

import copy
import math
import os
from dataclasses import KW_ONLY, dataclass, fields, replace
from typing import TYPE_CHECKING, ClassVar

from tlkeras.checks import check_image_size, check_number, check_whole
from tlkeras.data.augmentation import Augmentation
from tlkeras.errors import InputError
from tlkeras.models.backbones import PREPROCESSING, Backbone
from tlkeras.models.head import Head
from tlkeras.models.precision import PRECISIONS
from tlkeras.models.zoo import get_backbone
from tlkeras.schema import Samples
from tlkeras.training.feature_table import FEATURE_DTYPES
from tlkeras.training.monitor import MONITORS, default_monitor

if TYPE_CHECKING:
    import numpy as np

    from tlkeras.models.weights import WeightsFile
    from tlkeras.training.feature_store import FeatureStore
    from tlkeras.training.tuned_classifier import TunedClassifier


def require_trainable_batch_norm(weights: WeightsFile | None, phases: tuple[Phase, ...]) -> None:
    """Refuses phases that train BatchNorm on a file whose BatchNorm is folded into the kernels."""
    if weights is not None and weights.batch_norm_folded and any(phase.batch_norm == "train" for phase in phases):
        raise InputError(
            f"{weights.path}: its BatchNorm is folded into the kernels, so it is the published network only while "
            "BatchNorm is frozen, and a phase asks for batch_norm='train'. Use the original file, or 'frozen'."
        )


def _require(condition, name, received, accepted):
    if not condition:
        raise InputError(f"{name}: received {received!r}; accepted is {accepted}.")


def _one_of(name, received, accepted, also=None):
    if received not in accepted:
        words = ", ".join(repr(value) for value in accepted) + (f", {also}" if also else "")
        raise InputError(f"{name}: received {received!r}; accepted: {words}.")


@dataclass(frozen=True)
class StepDecay:
    """Multiplies the learning rate by `factor` after every `every` epochs of a phase."""

    every: int
    factor: float = 0.1

    def __post_init__(self):
        object.__setattr__(self, "every", check_whole("StepDecay.every", self.every, 1, also=" (epochs)"))
        factor = check_number("StepDecay.factor", self.factor, lambda factor: 0 < factor <= 1, "a number in (0, 1]")
        object.__setattr__(self, "factor", factor)


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

    def __post_init__(self):
        object.__setattr__(self, "epochs", check_whole("Phase.epochs", self.epochs, 1))
        rate = check_number("Phase.learning_rate", self.learning_rate, lambda rate: rate > 0, "a number above 0")
        object.__setattr__(self, "learning_rate", rate)
        _one_of("Phase.optimizer", self.optimizer, ("adam", "sgd"))
        _one_of("Phase.monitor", self.monitor, (*MONITORS, None))
        _one_of("Phase.keep", self.keep, ("best", "last"))
        _one_of("Phase.batch_norm", self.batch_norm, ("frozen", "train"))
        accepted = "a number in [0, 1), used by SGD"
        momentum = check_number("Phase.momentum", self.momentum, lambda momentum: 0 <= momentum < 1, accepted)
        object.__setattr__(self, "momentum", momentum)
        if self.batch_norm_momentum is not None:
            kept = check_number(
                "Phase.batch_norm_momentum",
                self.batch_norm_momentum,
                lambda kept: 0 <= kept < 1 and self.batch_norm == "train",
                "None, or with batch_norm='train' a number in [0, 1)",
            )
            object.__setattr__(self, "batch_norm_momentum", kept)
        if self.patience is not None:
            object.__setattr__(self, "patience", check_whole("Phase.patience", self.patience, 1, also=", or None"))
        if self.schedule is not None and not isinstance(self.schedule, StepDecay):
            _one_of("Phase.schedule", self.schedule, ("cosine",), also="None or StepDecay(every, factor)")
        self._check_unfreeze()

    def _check_unfreeze(self):
        if isinstance(self.unfreeze, list):
            object.__setattr__(self, "unfreeze", tuple(self.unfreeze))
        if isinstance(self.unfreeze, str) and self.unfreeze != "all":
            raise InputError(
                f"Phase.unfreeze: a bare name {self.unfreeze!r} can mean two things. "
                f"Write unfreeze=({self.unfreeze!r},) for exactly that stage, or unfreeze_from={self.unfreeze!r} "
                "for it and what follows."
            )
        stages = isinstance(self.unfreeze, tuple) and self.unfreeze and all(isinstance(s, str) for s in self.unfreeze)
        if self.unfreeze != "all" and not stages:
            layers = check_whole("Phase.unfreeze", self.unfreeze, 0, also=' (layers), "all", or a tuple of stage names')
            object.__setattr__(self, "unfreeze", layers)
        if self.unfreeze_from is not None and self.unfreeze != 0:
            raise InputError(
                f"Phase: received unfreeze={self.unfreeze!r} and unfreeze_from={self.unfreeze_from!r}; give one."
            )

    @property
    def chooses(self) -> bool:
        """Whether anything looks at the monitor."""
        return self.keep == "best" or self.patience is not None

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of epoch 1, 2, ..., `epochs`."""
        if self.schedule is None:
            return self.learning_rate
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / self.epochs))
        return self.learning_rate * self.schedule.factor ** ((epoch - 1) // self.schedule.every)


@dataclass(frozen=True)
class Tuner:
    """The two-phase transfer-learning recipe; `fit` returns a fitted classifier and leaves the recipe as it was.

    Args:
        backbone: a name of `tl.BACKBONES`, or a Backbone of your own.
        weights: "imagenet", None for random ones, a weights file, or an earlier run's saved classifier; in an
            Experiment's cells also a tl.EarlierRun.
        image_size: (height, width) in pixels; None takes the network's native size.
        head: what is put on the backbone.
        phases: run one after the other on the same model; by default 10 epochs of the head alone, then 10 of
            everything but BatchNorm at a tenth of the rate.
        augmentation: drawn anew for each image in each epoch, on training images only.
        augment_val: augment the validation images too. A fault, offered because one of the documents made it.
        imbalance: None, "class_weights" (inverse frequency, mean 1, in the training loss only) or "oversample" (every
            class drawn as often as the largest, training samples only). Either makes "val_balanced_loss" what phases
            monitor that name nothing else.
        preprocessing: "backbone" for what the network was trained with; "unit" (0..1), "symmetric" (-1..1),
            "imagenet" (mean and deviation), "caffe" (BGR minus mean) and "none" put that in its place.
        batch_size: images per training step; the last batch of an epoch is smaller, no image is dropped. Where
            BatchNorm learns, in the backbone or the head, a last batch of a quarter of that or less shares the images
            of the one before (33 images in batches of 32 come as 17 and 16): in what BatchNorm keeps for prediction the
            variance of a single image would weigh as much as that of a whole batch.
        precision: what the network computes in: "float32", "bfloat16", "float16", or "auto" for bfloat16 where it is
            at least a tenth faster than float32 on this machine, timed on one batch. Weights, softmax and loss stay
            float32.
        feature_dtype: how the features of frozen layers are kept: "float32", or "float16" for half the room, with
            features rounded to 11 bits; values beyond its range are refused.

    Raises:
        InputError: names the field, what it received and what it accepts.
    """

    learns_from: ClassVar[tuple[str, ...]] = ("train",)  # the parts whose images the weights are fitted to
    fit_options: ClassVar[tuple[str, ...]] = ("weights_folder", "store", "memory_budget", "checkpoint")
    searches: ClassVar[bool] = False  # over a grid of settings
    keeps_model: ClassVar[bool] = True  # in a run folder

    backbone: str | Backbone
    _: KW_ONLY
    weights: str | None = "imagenet"
    image_size: tuple[int, int] | None = None
    head: Head = Head()
    phases: tuple[Phase, ...] = (Phase(10, 1e-4), Phase(10, 1e-5, unfreeze="all"))
    augmentation: Augmentation | None = None
    augment_val: bool = False
    imbalance: str | None = None
    preprocessing: str = "backbone"
    batch_size: int = 32
    precision: str = "float32"
    feature_dtype: str = "float32"

    def __post_init__(self):
        row = get_backbone(self.backbone)
        size = self.image_size if self.image_size is not None else (row.native_size, row.native_size)
        object.__setattr__(self, "image_size", check_image_size(size, smallest=row.min_size, network=row.name))
        _one_of("Tuner.preprocessing", self.preprocessing, ("backbone", *PREPROCESSING))
        _one_of("Tuner.imbalance", self.imbalance, (None, "class_weights", "oversample"))
        _one_of("Tuner.precision", self.precision, (*PRECISIONS, "auto"))
        _one_of("Tuner.feature_dtype", self.feature_dtype, FEATURE_DTYPES)
        object.__setattr__(self, "batch_size", check_whole("Tuner.batch_size", self.batch_size, 1))
        _require(isinstance(self.head, Head), "Tuner.head", self.head, "a tl.Head")
        _require(
            self.augmentation is None or isinstance(self.augmentation, Augmentation),
            "Tuner.augmentation",
            self.augmentation,
            "None or a tl.Augmentation",
        )
        if self.augment_val and self.augmentation is None:
            raise InputError("Tuner.augment_val: there is no augmentation to apply to the validation images.")
        phases = (self.phases,) if isinstance(self.phases, Phase) else tuple(self.phases)
        _require(
            bool(phases) and all(isinstance(phase, Phase) for phase in phases),
            "Tuner.phases",
            self.phases,
            "one or more tl.Phase",
        )
        object.__setattr__(self, "phases", phases)
        monitors = {phase.monitor for phase in self.resolved.phases if phase.keep == "best"}
        if len(monitors) > 1:
            raise InputError(
                f"Tuner.phases: the best weights are kept across phases, but these look at {sorted(monitors)}, which "
                "cannot be compared. Give every phase with keep='best' the same monitor."
            )

    @property
    def resolved(self) -> Tuner:
        """The same recipe with the monitor of every phase named: what is trained, and described in run folders.

        The recipe itself keeps None, so that a copy with another `imbalance` has that one's default.
        """
        monitor = default_monitor(self.imbalance)
        same = copy.copy(self)
        phases = tuple(replace(phase, monitor=phase.monitor or monitor) for phase in self.phases)
        object.__setattr__(same, "phases", phases)
        return same

    def describe(self) -> dict:
        """The fields by name, as run folders keep them: see `tlkeras.training.recipe.describe`."""
        resolved = self.resolved
        return {"type": "Tuner", **{field.name: getattr(resolved, field.name) for field in fields(self)}}

    @property
    def network(self) -> Tuner:
        """The recipe's own part that names a backbone and its weights."""
        return self

    def starting_from(self, weights: WeightsFile | str | os.PathLike | None) -> Tuner:
        """The same recipe with other weights."""
        return replace(self, weights=weights)

    def resized(self, image_size: tuple[int, int]) -> Tuner:
        """The same recipe at another image size."""
        return replace(self, image_size=image_size)

    def in_precision(self, precision: str) -> Tuner:
        """The same recipe computing in another precision."""
        return replace(self, precision=precision)

    def for_smoke(self, side: int) -> Tuner:
        """The same recipe, small enough to see in seconds whether it runs: one epoch, random weights, small images."""
        side = max(side, get_backbone(self.backbone).min_size)
        phases = tuple(replace(phase, epochs=1) for phase in self.phases)
        return replace(self, image_size=(side, side), weights=None, phases=phases)

    def fit(
        self,
        train: Samples | tuple[np.ndarray, np.ndarray],
        val: Samples | tuple[np.ndarray, np.ndarray] | None = None,
        *,
        seed: int,
        weights_folder: str | None = None,
        store: FeatureStore | str | os.PathLike | bool = True,
        memory_budget: str | int | None = None,
        checkpoint: str | os.PathLike | None = None,
        progress: bool = True,
    ) -> TunedClassifier:
        """Builds the model, runs the phases, and returns the classifier with the weights the last phase kept.

        Layers that do not learn, and have only such before them, run once per image: their features are kept in the
        feature store, where later phases, seeds, splits and heads find them.

        Args:
            train: training samples with labels, or (images, labels): uint8 (n, H, W, 3) RGB and integers (n,).
            val: validation samples in the same form, or None. They choose the epoch that is kept; nothing is fitted to
                them.
            seed: weights, order, augmentation and dropout are functions of it. On a CPU, the same seed on the same
                machine, versions and number of threads gives the same classifier, bit for bit.
            weights_folder: where weight files are looked for first; see `tlkeras.models.weights`.
            store: True for the feature store in the user's cache (`tlkeras.training.feature_store`), a folder or a
                FeatureStore for another, False to keep no features and run the frozen layers in every epoch.
            memory_budget: bytes, or a size such as "4GB", that decoded pixels may take in memory; what needs more goes
                to a file mapped into memory. None takes half of what is free.
            checkpoint: a file (.npz) that keeps the state at the end of epochs; None keeps none. Where it is there, a
                fit of the same recipe, seed, weights and images goes on from it, to the classifier that an unbroken
                fit gives, on the same machine bit for bit. It stays behind.
            progress: show a line per epoch, and bars on long work.

        Raises:
            InputError: samples without labels, a class without training image, unreadable files, classes of `val` that
                are not those of `train`, a checkpoint of another training, memory that does not suffice.
            DivergedError: a loss that is no longer finite; its `classifier` has the last good weights.
            UnwritableError: no room, or no right, to write the checkpoint or the feature store.
        """
        from tlkeras.training.loop import fit_tuner

        return fit_tuner(
            self,
            train,
            val,
            seed=seed,
            weights_folder=weights_folder,
            store=store,
            memory_budget=memory_budget,
            checkpoint=checkpoint,
            progress=progress,
        )
