"""One epoch of a phase: what it shows in which order, with every draw seeded at its start, and how it is judged."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlkeras.backend import keras
from tlkeras.data.balance import balanced_sample, oversample
from tlkeras.data.mixing import build_mix
from tlkeras.errors import DivergedError
from tlkeras.models.backbones import Backbone
from tlkeras.progress import bar
from tlkeras.schema import EpochLog
from tlkeras.seeds import derive_seed, generator
from tlkeras.training.feature_store import FeatureStore
from tlkeras.training.feed import Augmenting, Feed, KeptFeatures, Part
from tlkeras.training.frozen import Frozen
from tlkeras.training.linear_probe import AnyPhase, LinearProbe
from tlkeras.training.monitor import BALANCED, balanced_figure
from tlkeras.training.optimizers import PhaseOptimizer
from tlkeras.training.phase import Phase
from tlkeras.training.tuned_classifier import PREDICT_BATCH
from tlkeras.training.tuner import Tuner
from tlkeras.training.watched import Watched

SEED_STATE = "seed_generator_state"  # what Keras calls the variable that Dropout and noise layers draw from


@dataclass(frozen=True, eq=False)
class Job:
    """What stays the same through all phases of one fit."""

    recipe: Tuner
    backbone: Backbone
    seed: int
    train: Part
    val: Part | None
    watched: Watched | None
    watched_part: Part | None
    sample_weights: np.ndarray | None  # float32 (n,), one per training sample
    warp: Callable | None
    store: FeatureStore | None

    @property
    def rows_per_epoch(self) -> int:
        """How many images an epoch shows."""
        return self.recipe.rows_per_epoch([*self.train.samples.class_counts().values()])

    def kept(self, *trunks: keras.Model) -> KeptFeatures:
        """Where the features that these trunks give are found."""
        assert self.store is not None  # without one nothing is cut
        return KeptFeatures(self.store, trunks, self.recipe.feature_dtype)


@dataclass(frozen=True, eq=False)
class Stage:
    """What a phase trains and what it is judged by: the whole model over pixels, or its tail over kept features."""

    model: keras.Model  # the whole one
    learner: keras.Model
    train: Feed
    judge: keras.Model
    val: Feed | None
    onlooker: keras.Model  # predicts the watched samples
    watched: Feed | None


def build_stage(model: keras.Model, frozen: Frozen | None, job: Job, number: int) -> Stage:
    """Images that change in every epoch go through the whole model, others once through the trunk."""
    recipe = job.recipe
    augmenting = None
    if recipe.augmentation is not None and job.warp is not None:
        mix = build_mix(recipe.augmentation) if recipe.augmentation.mixes else None
        augmenting = Augmenting(recipe.augmentation, job.warp, job.seed, number, mix)
    val_augmenting = augmenting if recipe.augment_val else None
    kept, tail = (None, model) if frozen is None else (job.kept(*frozen.trunks), frozen.cut.tail)
    fixed = pixels_come_again(recipe)
    val_fixed = fixed or not recipe.augment_val
    learner, judge = tail if fixed else model, tail if val_fixed else model
    soft = recipe.learns_from_shares
    if soft and judge is learner:  # which is compiled with another loss, for other labels
        judge = keras.Model(learner.input, learner.output)
    return Stage(
        model=model,
        learner=learner,
        train=Feed(job.train, kept=kept if fixed else None, augmenting=augmenting, one_hot=soft),
        judge=judge,
        val=job.val and Feed(job.val, kept=kept if val_fixed else None, augmenting=val_augmenting),
        onlooker=tail,
        watched=job.watched_part and Feed(job.watched_part, kept=kept),
    )


def pixels_come_again(recipe: Tuner) -> bool:
    """Whether later epochs show the very pixels of earlier ones: not augmented, or in fixed views."""
    return recipe.augmentation is None or recipe.augmentation.views is not None


@dataclass(frozen=True)
class Trained:
    """What training an epoch showed: loss and accuracy over its images, on the way, and how long it took."""

    loss: float
    accuracy: float
    seconds: float


def train_epoch(stage: Stage, optimizer: PhaseOptimizer, job: Job, phase: Phase, number: int, epoch: int) -> Trained:
    """Trains one epoch of a stage that is compiled with that optimizer.

    Raises:
        DivergedError: the loss, or a weight, is no longer a number.
    """
    start = time.perf_counter()
    seed_dropout(stage.model, job.seed, number, epoch)
    order = _epoch_order(job, number, epoch)
    # An oversampled image looks different each time it comes: its k-th showing draws as example row + k * n.
    examples = order + len(job.train.samples) * _showing(order)
    size = job.recipe.batch_size
    batches = stage.train.batches(
        epoch,
        order,
        examples=examples,
        weights=job.sample_weights,
        batch_size=size,
        even_out=batch_norm_learns(stage.learner),
    )
    callbacks = [_Steps(optimizer, phase, epoch), _BatchBar(f"phase {number} epoch {epoch}/{phase.epochs}")]
    logs = stage.learner.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=callbacks).history
    loss, accuracy = float(logs["loss"][0]), float(logs["accuracy"][0])
    if not math.isfinite(loss):
        raise _diverged(f"the training loss is {loss}", job, phase, number, epoch)
    # The loss of the last step is that of the weights before it.
    if not all(bool(keras.ops.all(keras.ops.isfinite(weight))) for weight in stage.learner.trainable_weights):
        raise _diverged("weights are no numbers after the last step", job, phase, number, epoch)
    return Trained(loss, accuracy, time.perf_counter() - start)


def judge_epoch(stage: Stage, job: Job, phase: AnyPhase, number: int, epoch: int, trained: Trained) -> EpochLog:
    """How an epoch that was trained does on the validation samples, by the weights that the model has.

    Raises:
        DivergedError: the validation loss is no number.
    """
    start = time.perf_counter()
    val_loss = val_accuracy = None
    balanced: dict[str, Any] = {}
    if stage.val is not None and job.val is not None:
        rows = np.arange(len(job.val.samples))
        batches = stage.val.batches(epoch, rows, examples=rows, batch_size=job.recipe.batch_size)
        scores = stage.judge.evaluate(batches, verbose=0, return_dict=True)
        val_loss, val_accuracy = float(scores["loss"]), float(scores["accuracy"])
        if not math.isfinite(val_loss):
            raise _diverged(f"the validation loss is {val_loss}", job, phase, number, epoch)
        if phase.chooses and phase.monitor in BALANCED:
            probs, val = _predict(stage.judge, stage.val, epoch), job.val.samples
            balanced = {phase.monitor: balanced_figure(phase.monitor, val.known_labels, probs, val.class_names)}
    seconds = round(trained.seconds + time.perf_counter() - start, 3)
    return EpochLog(number, epoch, seconds, trained.loss, trained.accuracy, val_loss, val_accuracy, **balanced)


def line_of(log: EpochLog, title: str) -> str:
    """What an epoch came to, in one line."""
    line = f"  {title}  {log.seconds:6.1f} s  loss {log.loss:.4f}  accuracy {log.accuracy:.4f}"
    seen = {name: getattr(log, name) for name in ("val_loss", "val_accuracy", *BALANCED)}
    return line + "".join(f"  {name} {value:.4f}" for name, value in seen.items() if value is not None)


def compile_model(
    model: keras.Model, optimizer: keras.optimizers.Optimizer | None, loss: Callable | None = None
) -> None:
    """Compiles for labels int (b,) and cross-entropy, or with another loss for rows of probabilities (b, k)."""
    # "accuracy" by its name would be made in the first step, and TensorFlow traces a step again that makes variables.
    if loss is None:
        metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
        model.compile(optimizer=optimizer, loss=keras.losses.SparseCategoricalCrossentropy(), metrics=metrics)
    else:
        model.compile(optimizer=optimizer, loss=loss, metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")])


def batch_norm_learns(model: keras.Model) -> bool:
    """Whether a layer takes its mean and variance from each batch, and keeps them."""
    layers = model._flatten_layers()
    return any(isinstance(layer, keras.layers.BatchNormalization) and layer.trainable for layer in layers)


def _diverged(what: str, job: Job, phase: AnyPhase, number: int, epoch: int) -> DivergedError:
    if isinstance(phase, LinearProbe):
        return DivergedError(f"{what} in phase {number}, with a penalty of {phase.penalties[epoch - 1]:g}.")
    return DivergedError(
        f"{what} in phase {number}, epoch {epoch}, with learning rate {phase.learning_rate_at(epoch):g} "
        f"({phase.optimizer_name}, batches of {job.recipe.batch_size}, {keras.config.dtype_policy().compute_dtype}). "
        "Lower the rate of this phase (a tenth is the usual next step)."
    )


def predict_watched(stage: Stage, epoch: int) -> np.ndarray:
    """Probabilities of the watched samples, float32 (n, k)."""
    assert stage.watched is not None  # asked for only where samples are watched
    return _predict(stage.onlooker, stage.watched, epoch)


def _predict(model: keras.Model, feed: Feed, epoch: int) -> np.ndarray:
    rows = np.arange(len(feed))
    return model.predict(feed.batches(epoch, rows, examples=rows, batch_size=PREDICT_BATCH), verbose=0)


def _epoch_order(job: Job, number: int, epoch: int) -> np.ndarray:
    labels, classes = job.train.samples.known_labels, len(job.train.samples.class_names)
    if job.recipe.imbalance == "oversample":
        rows = oversample(labels, classes, seed=derive_seed(job.seed, "oversample", number, epoch))
    elif job.recipe.imbalance == "balanced_sampling":
        rows = balanced_sample(labels, classes, seed=derive_seed(job.seed, "balanced", number, epoch))
    else:
        rows = np.arange(len(labels))
    return generator(job.seed, "order", number, epoch).permutation(rows)


def _showing(rows: np.ndarray) -> np.ndarray:
    """How often each entry of `rows` stood in it before: int64 (m,)."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    counts = np.empty(len(rows), dtype=np.int64)
    counts[order] = np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))
    return counts


def seed_dropout(model: keras.Model, seed: int, number: int, epoch: int) -> None:
    """Gives every Dropout and noise layer the seed of this epoch."""
    states = [variable for layer in model.layers for variable in layer.variables if variable.name == SEED_STATE]
    for index, state in enumerate(states):
        state.assign(np.array([derive_seed(seed, "dropout", number, epoch, index), 0], dtype=state.dtype))


class _Steps(keras.callbacks.Callback):
    """Gives each step of an epoch its learning rate, and its share in the average of the weights."""

    def __init__(self, optimizer: PhaseOptimizer, phase: Phase, epoch: int):
        super().__init__()
        self._optimizer, self._phase, self._epoch = optimizer, phase, epoch
        self._set: tuple[float, float] | None = None

    def on_train_batch_begin(self, batch, logs=None):
        step = self._epoch, batch + 1, self.params["steps"]
        now = self._phase.learning_rate_at(*step), self._phase.average_share_at(*step)
        if now == self._set:
            return
        self._set = now
        self._optimizer.learning_rate = now[0]
        if self._phase.average is not None:
            self._optimizer.average_share.assign(now[1])


class _BatchBar(keras.callbacks.Callback):
    """A bar over the batches of an epoch."""

    def __init__(self, title: str):
        super().__init__()
        self._title = title

    def on_train_begin(self, logs=None):
        self._bar = bar(self._title, self.params.get("steps"))

    def on_train_batch_end(self, batch, logs=None):
        self._bar.update()

    def on_train_end(self, logs=None):
        self._bar.close()
