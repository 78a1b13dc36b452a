"""The one loop: what learns -> compile -> epochs, for each phase, with every draw of an epoch seeded at its start."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from tlkeras.data.balance import oversample, sample_weights
from tlkeras.data.warp import build_warp
from tlkeras.machine import available_memory
from tlkeras.models.backbones import get_backbone
from tlkeras.models.classifier import build_classifier
from tlkeras.models.device import device_name
from tlkeras.models.freezing import layer_table, set_trainable
from tlkeras.models.precision import computing_in
from tlkeras.models.weights import find_weights
from tlkeras.schema import DivergedError, EpochLog, Samples
from tlkeras.seeds import derive_seed, generator
from tlkeras.sizes import parse_size
from tlkeras.training.checks import as_samples, check_samples, check_val_is_there
from tlkeras.training.feature_store import FeatureStore, open_store
from tlkeras.training.feed import Augmenting, Feed, KeptFeatures, Part
from tlkeras.training.frozen import Frozen, can_be_kept, find_frozen
from tlkeras.training.precision import choose_precision, compared_with_float32
from tlkeras.training.progress import BatchBar, printer
from tlkeras.training.tuned_classifier import PREDICT_BATCH, TunedClassifier
from tlkeras.training.tuner import Phase, Tuner, require_trainable_batch_norm
from tlkeras.training.watched import Watched

SEED_STATE = "seed_generator_state"  # what Keras calls the variable that Dropout and noise layers draw from


def fit_tuner(
    recipe: Tuner,
    train,
    val,
    *,
    seed: int,
    weights_folder=None,
    store=True,
    memory_budget=None,
    progress=True,
    watched: Watched | None = None,
) -> TunedClassifier:
    """See `Tuner.fit`; `watched` are further samples, predicted on the way."""
    train = as_samples("train", train)
    val = None if val is None else as_samples("val", val, train.class_names)
    check_samples(train, val)
    check_val_is_there(recipe, val)
    store, say = open_store(store), printer(progress)
    shown = [train, val, None if watched is None else watched.samples]
    scratch = _scratch(recipe, shown, memory_budget, store)
    backbone = get_backbone(recipe.backbone)
    weights = find_weights(backbone, recipe.weights, folder=weights_folder)
    require_trainable_batch_norm(weights, recipe.phases)
    say(f"{backbone.name} on {device_name()}, weights: {'random' if weights is None else weights.path.name}")
    if weights is not None and weights.note:
        say(f"note: {weights.note}")

    def build(precision: str) -> keras.Model:
        return build_classifier(
            backbone,
            n_classes=len(train.class_names),
            image_size=recipe.image_size,
            weights=weights,
            head=recipe.head,
            preprocessing=recipe.preprocessing,
            precision=precision,
            seed=derive_seed(seed, "weights"),
        )

    precision = choose_precision(recipe, train, build, say)
    with computing_in(precision.name):
        model = build(precision.name)
        # Every phase is set once before anything is decoded or trained: a stage that is not there is known at once.
        frozen = find_frozen(
            model,
            recipe.phases,
            lambda phase: _set_trainable(model, backbone, phase),
            lambda trunks: can_be_kept(trunks, store, recipe, *shown, say),
        )

        def part(samples: Samples, augmented: bool) -> Part:
            hold = None in frozen or (augmented and not _pixels_come_again(recipe))
            return Part(samples, recipe.image_size, hold=hold, scratch=scratch, progress=progress)

        job = _Job(
            recipe=recipe,
            seed=seed,
            train=part(train, augmented=True),
            val=None if val is None else part(val, augmented=recipe.augment_val),
            watched=watched,
            watched_part=None if watched is None else part(watched.samples, augmented=False),
            sample_weights=sample_weights(train.labels, len(train.class_names), class_names=train.class_names)
            if recipe.imbalance == "class_weights"
            else None,
            warp=None if recipe.augmentation is None else build_warp(recipe.augmentation, recipe.image_size),
            store=store,
            progress=progress,
            say=say,
        )
        best, history, tables = _Best(), [], []
        for number, phase in enumerate(recipe.phases, start=1):
            summary = _set_trainable(model, backbone, phase)
            say(f"phase {number} of {len(recipe.phases)}: {summary}")
            tables.append(layer_table(model))
            history += _run_phase(model, frozen[number - 1], job, phase, number, best)
            kept = best.epoch if phase.keep == "best" and best.epoch is not None else (number, history[-1].epoch)
        # A fresh model around the same layers: without the last phase's optimizer, whose state would triple the saved
        # file.
        model = keras.Model(model.input, model.output, name=model.name)
    classifier = TunedClassifier(
        model=model,
        class_names=train.class_names,
        image_size=recipe.image_size,
        epochs=tuple(replace(log, kept=(log.phase, log.epoch) == kept) for log in history),
        layers=_layers_by_phase(tables),
        weights=weights,
        precision=precision,
    )
    features = None if frozen[-1] is None else (frozen[-1].cut, job.kept(frozen[-1].cut.trunk))
    precision = compared_with_float32(classifier.keeping(features), build, val, say)
    return replace(classifier, precision=precision).keeping(features)


@dataclass(frozen=True, eq=False)
class _Job:
    """What stays the same through all phases of one fit."""

    recipe: Tuner
    seed: int
    train: Part
    val: Part | None
    watched: Watched | None
    watched_part: Part | None
    sample_weights: np.ndarray | None  # float32 (n,), one per training sample
    warp: Callable | None
    store: FeatureStore | None
    progress: bool
    say: Callable[[str], None]

    def kept(self, *trunks: keras.Model) -> KeptFeatures:
        return KeptFeatures(self.store, trunks, self.recipe.feature_dtype, self.say)


class _Best:
    """The best weights so far, over all phases."""

    def __init__(self):
        self.value, self.weights, self.epoch = math.inf, None, None

    def offer(self, value: float, model: keras.Model, epoch: tuple[int, int]) -> None:
        if value < self.value:
            self.value, self.weights, self.epoch = value, model.get_weights(), epoch


@dataclass(frozen=True, eq=False)
class _Stage:
    """What a phase trains and what it is judged by: the whole model over pixels, or its tail over kept features."""

    model: keras.Model  # the whole one
    learner: keras.Model
    train: Feed
    judge: keras.Model
    val: Feed | None
    onlooker: keras.Model  # predicts the watched samples
    watched: Feed | None


def _run_phase(model, frozen, job: _Job, phase: Phase, number: int, best: _Best) -> list[EpochLog]:
    stage = _stage(model, frozen, job, number)
    stage.learner.compile(
        optimizer=_optimizer(phase), loss=keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"]
    )
    if stage.judge is not stage.learner:
        stage.judge.compile(optimizer=None, loss=keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    history, best_of_phase, waited = [], math.inf, 0
    for epoch in range(1, phase.epochs + 1):
        log = _run_epoch(stage, job, phase, number, epoch)
        history.append(log)
        job.say(_line(log, phase))
        if job.watched is not None and (number, epoch) in job.watched.moments:
            job.watched.probs[number, epoch] = _predict_watched(stage, epoch)
        if job.val is None:
            continue
        value = log.val_loss if phase.monitor == "val_loss" else -log.val_accuracy
        if phase.keep == "best":
            best.offer(value, model, (number, epoch))
        waited = 0 if value < best_of_phase else waited + 1
        best_of_phase = min(best_of_phase, value)
        if phase.patience is not None and waited >= phase.patience:
            job.say(f"phase {number} stops: no better {phase.monitor} for {waited} epochs")
            break
    if phase.keep == "best" and best.weights is not None:
        model.set_weights(best.weights)
    elif phase.keep == "best":
        reason = "no validation samples" if job.val is None else f"{phase.monitor} was never a number"
        job.say(f"{reason}: the weights of the last epoch are kept")
    return history


def _stage(model: keras.Model, frozen: Frozen | None, job: _Job, number: int) -> _Stage:
    """Images that change in every epoch go through the whole model, others once through the trunk."""
    recipe = job.recipe
    augmenting = None
    if recipe.augmentation is not None:
        augmenting = Augmenting(recipe.augmentation, job.warp, job.seed, number)
    val_augmenting = augmenting if recipe.augment_val else None
    kept, tail = (None, model) if frozen is None else (job.kept(*frozen.trunks), frozen.cut.tail)
    fixed = _pixels_come_again(recipe)
    val_fixed = fixed or not recipe.augment_val
    return _Stage(
        model=model,
        learner=tail if fixed else model,
        train=Feed(job.train, kept=kept if fixed else None, augmenting=augmenting),
        judge=tail if val_fixed else model,
        val=job.val and Feed(job.val, kept=kept if val_fixed else None, augmenting=val_augmenting),
        onlooker=tail,
        watched=job.watched_part and Feed(job.watched_part, kept=kept),
    )


def _predict_watched(stage: _Stage, epoch: int) -> np.ndarray:
    rows = np.arange(len(stage.watched))
    return stage.onlooker.predict(
        stage.watched.batches(epoch, rows, examples=rows, batch_size=PREDICT_BATCH), verbose=0
    )


def _pixels_come_again(recipe: Tuner) -> bool:
    """Whether later epochs show the very pixels of earlier ones: not augmented, or in fixed views."""
    return recipe.augmentation is None or recipe.augmentation.views is not None


def _run_epoch(stage: _Stage, job: _Job, phase: Phase, number: int, epoch: int) -> EpochLog:
    start = time.perf_counter()
    _seed_dropout(stage.model, job.seed, number, epoch)
    stage.learner.optimizer.learning_rate = phase.learning_rate_at(epoch)
    order = _epoch_order(job, number, epoch)
    # An oversampled image looks different each time it comes: its k-th showing draws as example row + k * n.
    examples = order + len(job.train.samples) * _showing(order)
    size = job.recipe.batch_size
    batches = stage.train.batches(epoch, order, examples=examples, weights=job.sample_weights, batch_size=size)
    callbacks = [BatchBar(f"phase {number} epoch {epoch}/{phase.epochs}")] if job.progress else []
    logs = stage.learner.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=callbacks).history
    loss, accuracy = float(logs["loss"][0]), float(logs["accuracy"][0])
    if not math.isfinite(loss):
        raise DivergedError(
            f"the training loss is {loss} in phase {number}, epoch {epoch}, with learning rate "
            f"{phase.learning_rate_at(epoch):g}. Lower the rate of this phase (a tenth is the usual next step)."
        )
    val_loss = val_accuracy = None
    if stage.val is not None:
        rows = np.arange(len(job.val.samples))
        batches = stage.val.batches(epoch, rows, examples=rows, batch_size=size)
        scores = stage.judge.evaluate(batches, verbose=0, return_dict=True)
        val_loss, val_accuracy = float(scores["loss"]), float(scores["accuracy"])
    return EpochLog(number, epoch, round(time.perf_counter() - start, 3), loss, accuracy, val_loss, val_accuracy)


def _epoch_order(job: _Job, number: int, epoch: int) -> np.ndarray:
    labels, classes = job.train.samples.labels, len(job.train.samples.class_names)
    if job.recipe.imbalance == "oversample":
        rows = oversample(labels, classes, seed=derive_seed(job.seed, "oversample", number, epoch))
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


def _seed_dropout(model: keras.Model, seed: int, number: int, epoch: int) -> None:
    states = [variable for layer in model.layers for variable in layer.variables if variable.name == SEED_STATE]
    for index, state in enumerate(states):
        state.assign(np.array([derive_seed(seed, "dropout", number, epoch, index), 0], dtype=state.dtype))


def _optimizer(phase: Phase) -> keras.optimizers.Optimizer:
    if phase.optimizer == "adam":
        return keras.optimizers.Adam(phase.learning_rate)
    return keras.optimizers.SGD(phase.learning_rate, momentum=phase.momentum)


def _set_trainable(model, backbone, phase: Phase):
    return set_trainable(
        model,
        backbone,
        unfreeze=phase.unfreeze,
        unfreeze_from=phase.unfreeze_from,
        batch_norm=phase.batch_norm,
        batch_norm_momentum=phase.batch_norm_momentum,
    )


def _scratch(recipe: Tuner, parts, memory_budget, store: FeatureStore | None) -> Path | None:
    """The folder for decoded pixels, None where they fit into memory."""
    budget = available_memory() // 2 if memory_budget is None else parse_size("memory_budget", memory_budget)
    pixels = sum(len(samples) for samples in parts if samples is not None) * math.prod(recipe.image_size) * 3
    if pixels <= budget:
        return None
    return (store or FeatureStore()).folder  # not the system's folder for temporary files, which may lie in memory


def _layers_by_phase(tables):
    table = tables[0][["layer", "type", "parameters"]].copy()
    for number, of_phase in enumerate(tables, start=1):
        table[f"trainable_phase_{number}"] = of_phase["trainable"]
        table[f"trainable_parameters_phase_{number}"] = of_phase["trainable_parameters"]
    return table


def _line(log: EpochLog, phase: Phase) -> str:
    line = (
        f"  epoch {log.epoch:>2}/{phase.epochs}  {log.seconds:6.1f} s  loss {log.loss:.4f}  accuracy {log.accuracy:.4f}"
    )
    return line if log.val_loss is None else f"{line}  val_loss {log.val_loss:.4f}  val_accuracy {log.val_accuracy:.4f}"
