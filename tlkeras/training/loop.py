"""The one loop: what learns -> compile -> epochs, for each phase, with every draw of an epoch seeded at its start."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, replace

import keras
import numpy as np
from tqdm import tqdm

from tlkeras.data.arrays import from_arrays
from tlkeras.data.balance import oversample, sample_weights
from tlkeras.data.pipeline import cpu_tensor, decode_all, epoch_batches
from tlkeras.data.warp import build_warp
from tlkeras.models.backbones import get_backbone
from tlkeras.models.classifier import build_classifier
from tlkeras.models.freezing import layer_table, set_trainable
from tlkeras.models.weights import find_weights
from tlkeras.schema import EpochLog, InputError, Samples
from tlkeras.seeds import derive_seed, generator
from tlkeras.training.tuned_classifier import TunedClassifier
from tlkeras.training.tuner import Phase, Tuner, require_trainable_batch_norm

SEED_STATE = "seed_generator_state"  # what Keras calls the variable that Dropout and noise layers draw from


def fit_tuner(recipe: Tuner, train, val, *, seed: int, weights_folder=None, progress=True) -> TunedClassifier:
    """See `Tuner.fit`."""
    train = _as_samples("train", train)
    val = None if val is None else _as_samples("val", val, train.class_names)
    _check_samples(train, val)
    _check_val_is_there(recipe, val)
    say = _printer(progress)
    backbone = get_backbone(recipe.backbone)
    weights = find_weights(backbone, recipe.weights, folder=weights_folder)
    require_trainable_batch_norm(weights, recipe.phases)
    say(f"{backbone.name} on {device_name()}, weights: {'random' if weights is None else weights.path.name}")
    if weights is not None and weights.note:
        say(f"note: {weights.note}")
    model = build_classifier(
        backbone,
        n_classes=len(train.class_names),
        image_size=recipe.image_size,
        weights=weights,
        head=recipe.head,
        preprocessing=recipe.preprocessing,
        seed=derive_seed(seed, "weights"),
    )
    # Every phase is set once before anything is decoded or trained: a stage that is not there is known at once.
    for phase in recipe.phases:
        _set_trainable(model, backbone, phase)
    job = _Job(
        recipe=recipe,
        seed=seed,
        train=_Part(train, cpu_tensor(decode_all(train, recipe.image_size, progress=progress))),
        val=None if val is None else _Part(val, cpu_tensor(decode_all(val, recipe.image_size, progress=progress))),
        sample_weights=sample_weights(train.labels, len(train.class_names), class_names=train.class_names)
        if recipe.imbalance == "class_weights"
        else None,
        warp=None if recipe.augmentation is None else build_warp(recipe.augmentation, recipe.image_size),
        progress=progress,
    )
    best, history, tables = _Best(), [], []
    for number, phase in enumerate(recipe.phases, start=1):
        summary = _set_trainable(model, backbone, phase)
        say(f"phase {number} of {len(recipe.phases)}: {summary}")
        tables.append(layer_table(model))
        history += _run_phase(model, job, phase, number, best, say)
        kept = best.epoch if phase.keep == "best" and best.epoch is not None else (number, history[-1].epoch)
    # A fresh model around the same layers: without the last phase's optimizer, whose state would triple the saved file.
    model = keras.Model(model.input, model.output, name=model.name)
    return TunedClassifier(
        model=model,
        class_names=train.class_names,
        image_size=recipe.image_size,
        epochs=tuple(replace(log, kept=(log.phase, log.epoch) == kept) for log in history),
        layers=_layers_by_phase(tables),
        weights=weights,
    )


@dataclass(frozen=True, eq=False)
class _Part:
    samples: Samples
    pixels: object  # uint8 (n, H, W, 3), a tensor in main memory


@dataclass(frozen=True, eq=False)
class _Job:
    """What stays the same through all phases of one fit."""

    recipe: Tuner
    seed: int
    train: _Part
    val: _Part | None
    sample_weights: np.ndarray | None  # float32 (n,), one per training sample
    warp: object | None
    progress: bool


class _Best:
    """The best weights so far, over all phases."""

    def __init__(self):
        self.value, self.weights, self.epoch = math.inf, None, None

    def offer(self, value: float, model: keras.Model, epoch: tuple[int, int]) -> None:
        if value < self.value:
            self.value, self.weights, self.epoch = value, model.get_weights(), epoch


def _run_phase(model, job: _Job, phase: Phase, number: int, best: _Best, say) -> list[EpochLog]:
    model.compile(
        optimizer=_optimizer(phase),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    history, best_of_phase, waited = [], math.inf, 0
    for epoch in range(1, phase.epochs + 1):
        log = _run_epoch(model, job, phase, number, epoch)
        history.append(log)
        say(_line(log, phase))
        if job.val is None:
            continue
        value = log.val_loss if phase.monitor == "val_loss" else -log.val_accuracy
        if phase.keep == "best":
            best.offer(value, model, (number, epoch))
        waited = 0 if value < best_of_phase else waited + 1
        best_of_phase = min(best_of_phase, value)
        if phase.patience is not None and waited >= phase.patience:
            say(f"phase {number} stops: no better {phase.monitor} for {waited} epochs")
            break
    if phase.keep == "best" and best.weights is not None:
        model.set_weights(best.weights)
    elif phase.keep == "best":
        reason = "no validation samples" if job.val is None else f"{phase.monitor} was never a number"
        say(f"{reason}: the weights of the last epoch are kept")
    return history


def _run_epoch(model, job: _Job, phase: Phase, number: int, epoch: int) -> EpochLog:
    start = time.perf_counter()
    _seed_dropout(model, job.seed, number, epoch)
    model.optimizer.learning_rate = phase.learning_rate_at(epoch)
    order = _epoch_order(job, number, epoch)
    batches = epoch_batches(
        job.train.pixels,
        order,
        labels=job.train.samples.labels,
        weights=job.sample_weights,
        batch_size=job.recipe.batch_size,
        **_augmented(job, number, epoch, order),
    )
    callbacks = [_Bar(f"phase {number} epoch {epoch}/{phase.epochs}")] if job.progress else []
    logs = model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=callbacks).history
    loss, accuracy = float(logs["loss"][0]), float(logs["accuracy"][0])
    if not math.isfinite(loss):
        raise InputError(
            f"the training loss is {loss} in phase {number}, epoch {epoch}, with learning rate "
            f"{phase.learning_rate_at(epoch):g}. Lower the rate of this phase (a tenth is the usual next step)."
        )
    val_loss = val_accuracy = None
    if job.val is not None:
        rows = np.arange(len(job.val.samples))
        augmented = _augmented(job, number, epoch, rows) if job.recipe.augment_val else {}
        batches = epoch_batches(
            job.val.pixels, rows, labels=job.val.samples.labels, batch_size=job.recipe.batch_size, **augmented
        )
        scores = model.evaluate(batches, verbose=0, return_dict=True)
        val_loss, val_accuracy = float(scores["loss"]), float(scores["accuracy"])
    return EpochLog(number, epoch, round(time.perf_counter() - start, 3), loss, accuracy, val_loss, val_accuracy)


def _epoch_order(job: _Job, number: int, epoch: int) -> np.ndarray:
    labels, classes = job.train.samples.labels, len(job.train.samples.class_names)
    if job.recipe.imbalance == "oversample":
        rows = oversample(labels, classes, seed=derive_seed(job.seed, "oversample", number, epoch))
    else:
        rows = np.arange(len(labels))
    return generator(job.seed, "order", number, epoch).permutation(rows)


def _augmented(job: _Job, number: int, epoch: int, rows: np.ndarray) -> dict:
    if job.warp is None:
        return {}
    # An oversampled image looks different each time it comes: its k-th showing draws as example row + k * n.
    examples = rows + len(job.train.samples) * _showing(rows)
    return {"warp": job.warp, "example_seeds": job.recipe.augmentation.example_seeds(job.seed, number, epoch, examples)}


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
        model, backbone, unfreeze=phase.unfreeze, unfreeze_from=phase.unfreeze_from, batch_norm=phase.batch_norm
    )


def _as_samples(name: str, given, class_names=None) -> Samples:
    if isinstance(given, Samples):
        return given
    if isinstance(given, tuple | list) and len(given) == 2:
        try:
            return from_arrays(*given, class_names=class_names)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    raise InputError(f"{name}: received {type(given).__name__}; accepted are tl.Samples or a pair (images, labels).")


def _check_samples(train: Samples, val: Samples | None) -> None:
    for name, samples in {"train": train, "val": val}.items():
        if samples is None:
            continue
        if len(samples) == 0:
            raise InputError(f"{name}: there are no samples in it." + (" Give None instead." if name == "val" else ""))
        if samples.labels is None:
            raise InputError(f"{name}: these samples have no labels; training and validation need them.")
    missing = [name for name, count in train.class_counts().items() if count == 0]
    if missing:
        raise InputError(f"train: no training image of {', '.join(missing)}. Add some, or leave the class out.")
    if val is not None and val.class_names != train.class_names:
        raise InputError(f"val: its classes {val.class_names} are not those of train, {train.class_names}.")


def _check_val_is_there(recipe: Tuner, val: Samples | None) -> None:
    patient = any(phase.patience is not None for phase in recipe.phases)
    if val is None and (patient or recipe.augment_val):
        raise InputError("val: received None, but Phase.patience and Tuner.augment_val need validation samples.")


def _layers_by_phase(tables):
    table = tables[0][["layer", "type", "parameters"]].copy()
    for number, of_phase in enumerate(tables, start=1):
        table[f"trainable_phase_{number}"] = of_phase["trainable"]
        table[f"trainable_parameters_phase_{number}"] = of_phase["trainable_parameters"]
    return table


def device_name() -> str:
    """What Keras trains on: "CPU", or the GPUs."""
    gpus = keras.distribution.list_devices("gpu")
    return f"GPU ({', '.join(gpus)})" if gpus else "CPU"


def _line(log: EpochLog, phase: Phase) -> str:
    line = (
        f"  epoch {log.epoch:>2}/{phase.epochs}  {log.seconds:6.1f} s  loss {log.loss:.4f}  accuracy {log.accuracy:.4f}"
    )
    return line if log.val_loss is None else f"{line}  val_loss {log.val_loss:.4f}  val_accuracy {log.val_accuracy:.4f}"


def _printer(progress: bool):
    return (lambda text: print(text, flush=True)) if progress else (lambda text: None)


class _Bar(keras.callbacks.Callback):
    """A bar over the batches of an epoch that takes longer than two seconds, on a terminal."""

    def __init__(self, title: str):
        super().__init__()
        self._title = title

    def on_train_begin(self, logs=None):
        self._bar = tqdm(
            total=self.params.get("steps"), desc=self._title, leave=False, delay=2, disable=not sys.stderr.isatty()
        )

    def on_train_batch_end(self, batch, logs=None):
        self._bar.update()

    def on_train_end(self, logs=None):
        self._bar.close()
