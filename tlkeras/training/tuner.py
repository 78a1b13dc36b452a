"""The two-phase recipe: a head on a frozen backbone first, then parts of the backbone at a low rate.

Declarations only: a Tuner stores what was asked for and checks it; `fit` hands it to the loop. Importing this module
loads no TensorFlow.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from tlkeras.checks import (
    Constraint,
    check_fields,
    check_image_size,
    either,
    flag,
    instance_of,
    one_of,
    or_none,
    several,
    whole,
)
from tlkeras.data.augmentation import Augmentation
from tlkeras.errors import InputError
from tlkeras.given import Given, default
from tlkeras.models.backbones import PREPROCESSING, Backbone
from tlkeras.models.head import Head
from tlkeras.models.zoo import get_backbone
from tlkeras.schema import PRECISIONS, RESIZINGS, Samples
from tlkeras.training.feature_table import FEATURE_DTYPES
from tlkeras.training.linear_probe import AnyPhase, LinearProbe
from tlkeras.training.loss import Loss
from tlkeras.training.monitor import default_monitor
from tlkeras.training.phase import Phase
from tlkeras.training.recipe import NetworkRecipe, Weights, words_of

if TYPE_CHECKING:
    import numpy as np

    from tlkeras.models.weights_file import WeightsFile
    from tlkeras.training.feature_store import FeatureStore
    from tlkeras.training.tuned_classifier import TunedClassifier


def require_trainable_batch_norm(weights: WeightsFile | None, phases: tuple[AnyPhase, ...]) -> None:
    """Refuses phases that train BatchNorm on a file whose BatchNorm is folded into the kernels."""
    if weights is not None and weights.batch_norm_folded and any(phase.batch_norm == "train" for phase in phases):
        raise InputError(
            f"{weights.path}: its BatchNorm is folded into the kernels, so it is the published network only while "
            "BatchNorm is frozen, and a phase asks for batch_norm='train'. Use the original file, or 'frozen'."
        )


@dataclass(frozen=True)
class Tuner(NetworkRecipe):
    """The two-phase transfer-learning recipe; `fit` returns a fitted classifier and leaves the recipe as it was.

    Args:
        backbone: a name of `tl.BACKBONES`, or a Backbone of your own.
        weights: "imagenet", None for random ones, a weights file, or an earlier run's saved classifier; in an
            Experiment's cells also a tl.EarlierRun.
        image_size: (height, width) in pixels; None takes the network's native size.
        head: what is put on the backbone.
        phases: tl.Phase and tl.LinearProbe, run one after the other on the same model; by default 10 epochs of the head
            alone, then 10 of everything but BatchNorm at a tenth of the rate.
        augmentation: drawn anew for each image in each epoch, on training images only.
        augment_val: augment the validation images too. A fault, offered because one of the documents made it.
        imbalance: None, "class_weights" (inverse frequency, mean 1, in the training loss only), "oversample" (every
            class drawn as often as the largest, training samples only) or "balanced_sampling" (every class as often as
            any other in an epoch as long as without). Each of them, and `loss.logit_adjustment`, makes
            "val_balanced_loss" what phases monitor that name nothing else.
        loss: what training minimises.
        resize: what is done with images of another aspect ratio, in training and in every prediction: "squash"
            stretches them, "crop" takes their middle, "pad" adds black edges; see `tl.read_pixels`.
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

    fit_options: ClassVar[tuple[str, ...]] = ("weights_folder", "store", "memory_budget", "checkpoint")
    keeps_model: ClassVar[bool] = True
    usual_words: ClassVar[Mapping[str, str]] = {
        **NetworkRecipe.usual_words,
        "augmentation of validation images": "no",
        "loss": "cross-entropy",
        "warm-up": "none",
        "rate of each stage": "the next one's",
        "weight decay": "none",
        "gradients": "as they are",
        "image size of the phase": "the recipe's",
    }

    backbone: str | Backbone
    _: KW_ONLY
    weights: Weights = "imagenet"
    image_size: Given[tuple[int, int] | None, tuple[int, int]] = default(None)
    head: Head = Head()
    phases: Given[AnyPhase | Sequence[AnyPhase], tuple[AnyPhase, ...]] = default(
        (Phase(10, 1e-4), Phase(10, 1e-5, unfreeze="all"))
    )
    augmentation: Augmentation | None = None
    augment_val: bool = False
    imbalance: str | None = None
    loss: Loss = Loss()
    resize: str = "squash"
    preprocessing: str = "backbone"
    batch_size: int = 32
    precision: str = "float32"
    feature_dtype: str = "float32"

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "head": instance_of(Head, "a tl.Head"),
        "phases": several(
            either(instance_of(Phase, "a tl.Phase"), instance_of(LinearProbe, "a tl.LinearProbe")),
            "one or more tl.Phase or tl.LinearProbe",
        ),
        "augmentation": or_none(instance_of(Augmentation, "a tl.Augmentation")),
        "augment_val": flag(),
        "imbalance": one_of(None, "class_weights", "oversample", "balanced_sampling"),
        "loss": instance_of(Loss, "a tl.Loss"),
        "resize": one_of(*RESIZINGS),
        "preprocessing": one_of("backbone", *PREPROCESSING),
        "batch_size": whole(1),
        "precision": one_of(*PRECISIONS, "auto"),
        "feature_dtype": one_of(*FEATURE_DTYPES),
    }

    def __post_init__(self):
        object.__setattr__(self, "image_size", self._checked_image_size())
        if isinstance(self.phases, Phase | LinearProbe):
            object.__setattr__(self, "phases", (self.phases,))
        check_fields(self, self._accepts)
        if self.augment_val and self.augmentation is None:
            raise InputError("Tuner.augment_val: there is no augmentation to apply to the validation images.")
        if self.augment_val and self.augmentation is not None and self.augmentation.mixes:
            raise InputError(
                f"Tuner.augment_val: received True, with mixup={self.augmentation.mixup!r} and "
                f"cutmix={self.augmentation.cutmix!r}; what is judged has one label. Leave one out."
            )
        if self.imbalance == "class_weights" and self.augmentation is not None and self.augmentation.mixes:
            raise InputError(
                f"Tuner.imbalance: received 'class_weights', with mixup={self.augmentation.mixup!r} and "
                f"cutmix={self.augmentation.cutmix!r}: an image of two classes has no weight. Take 'balanced_sampling'."
            )
        if self.imbalance is not None and self.loss.logit_adjustment:
            raise InputError(
                f"Tuner.loss: received {self.loss!r}, and imbalance={self.imbalance!r}: both make up for unequal "
                "classes. Leave one out."
            )
        if self.head.hidden and any(isinstance(phase, LinearProbe) for phase in self.phases):
            raise InputError(
                f"Tuner.head: received hidden={self.head.hidden!r}, and a phase is a LinearProbe, which solves one "
                'linear layer; accepted is hidden=(), e.g. tl.Head(hidden=(), pooling="avg").'
            )
        if self.augment_val and any(isinstance(phase, LinearProbe) for phase in self.phases):
            raise InputError(
                "Tuner.augment_val: received True, and a phase is a LinearProbe: each of its penalties would be judged "
                "by images that were changed otherwise. Leave one out."
            )
        row = get_backbone(self.backbone)
        for phase in self.phases:
            if phase.image_size is None:
                continue
            check_image_size(phase.image_size, smallest=row.min_size, network=row.name, name="Phase.image_size")
            if self.head.pooling == "flatten":
                raise InputError(
                    f"Tuner.head: received pooling='flatten', and a phase has image_size={phase.image_size!r}: the "
                    "head would have other weights at each size. Take pooling='avg'."
                )
        monitors = {phase.monitor for phase in self.resolved.phases if phase.keep == "best"}
        if len(monitors) > 1:
            raise InputError(
                "Tuner.phases: the best weights are kept across phases, but these look at "
                f"{sorted(map(str, monitors))}, which cannot be compared. Give every phase with keep='best' the same "
                "monitor."
            )

    @property
    def resolved(self) -> Tuner:
        """The same recipe with the monitor of every phase named: what is trained, and described in run folders.

        The recipe itself keeps None, so that a copy with another `imbalance` has that one's default.
        """
        monitor = default_monitor(classes_alike=self._counts_classes_alike)
        same = copy.copy(self)
        phases = tuple(replace(phase, monitor=phase.monitor or monitor) for phase in self.phases)
        object.__setattr__(same, "phases", phases)
        return same

    def rows_per_epoch(self, class_counts: Sequence[int]) -> int:
        """How many images an epoch shows, of so many training images of each class."""
        return max(class_counts) * len(class_counts) if self.imbalance == "oversample" else sum(class_counts)

    def with_enough_steps(self, class_counts: Sequence[int]) -> Tuner:
        """The same recipe with the epochs that its phases take, of so many training images of each class."""
        batches = math.ceil(self.rows_per_epoch(class_counts) / self.batch_size)
        phases = tuple(phase.with_enough_steps(batches) for phase in self.phases)
        return self if phases == self.phases else replace(self, phases=phases)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The image sizes that training sees, the recipe's own first."""
        of_phases = [phase.image_size for phase in self.phases if phase.image_size is not None]
        return tuple(dict.fromkeys([self.image_size, *of_phases]))

    @property
    def learns_from_shares(self) -> bool:
        """Whether training sees an image's label as a share of each class."""
        return not self.loss.is_plain or (self.augmentation is not None and self.augmentation.mixes)

    def describe(self) -> dict[str, Any]:
        """The fields by name as plain JSON values, as run folders keep them, the monitor of every phase named."""
        return super(Tuner, self.resolved).describe()

    def words(self) -> dict[str, str]:
        """{setting: in words}, as pages print them; of phases that differ one after the other."""
        phases = _in_turn([phase.words() for phase in self.resolved.phases])
        return {
            **self._number_words(),
            "epochs per phase": phases.pop("epochs per phase"),
            "batch size": str(self.batch_size),
            **self._input_words(),
            **phases,
            "hidden layers": words_of(self.head.hidden),
            "hidden activation": self.head.activation,
            "pooling": self.head.pooling,
            "dropout before the hidden layers": str(self.head.input_dropout),
            "dropout after each": str(self.head.dropout),
            "BatchNorm after each": words_of(self.head.batch_norm),
            "unequal classes": words_of(self.imbalance),
            "loss": "cross-entropy" if self.loss.is_plain else words_of(self.loss),
            "augmentation": words_of(self.augmentation),
            "augmentation of validation images": words_of(self.augment_val),
        }

    def for_smoke(self, side: int) -> Tuner:
        """The same recipe, small enough to see in seconds whether it runs: one epoch, random weights, small images."""
        phases = tuple(phase.for_smoke() for phase in self.phases)
        return replace(self, image_size=self._side_for_smoke(side), weights=None, phases=phases)

    @property
    def not_searchable(self) -> str | None:
        """Why a fold, which has no validation images, cannot fit it as it is, in words; None where it can."""
        if self.augment_val or any(phase.patience for phase in self.phases):
            return (
                "a fold has no validation images for Phase.patience to look at, or for augment_val to change. Leave "
                "them out; the grid can hold the epochs."
            )
        if self.precision == "auto":
            return (
                'precision "auto" is timed anew in every training, so that folds could compute in different ones. Name '
                'one: "float32", "bfloat16" or "float16".'
            )
        return None

    @property
    def default_metric(self) -> str:
        """What ranks its settings in a search where nothing is named."""
        return "balanced_accuracy" if self._counts_classes_alike else "accuracy"

    @property
    def _counts_classes_alike(self) -> bool:
        return self.imbalance is not None or self.loss.logit_adjustment > 0

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
        )


def _in_turn(phases: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The words of phases, once where they say the same; which layers learn is said of each."""
    told = {}
    for name in phases[0]:
        words = [phase[name] for phase in phases]
        alike = len(set(words)) == 1 and name != "backbone layers that learn"
        told[name] = words[0] if alike else ", then ".join(words)
    return told
