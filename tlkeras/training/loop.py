"""The one loop: what learns -> compile -> epochs, for each phase, with every draw of an epoch seeded at its start."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from tlkeras.data.balance import oversample, sample_weights
from tlkeras.data.pipeline import cpu_tensor, decode_all, epoch_batches
from tlkeras.data.sources import from_arrays
from tlkeras.data.warp import build_warp
from tlkeras.models.backbones import get_backbone
from tlkeras.models.classifier import build_classifier
from tlkeras.models.freezing import layer_table, set_trainable
from tlkeras.models.weights import find_weights
from tlkeras.schema import EpochLog, InputError, Samples
from tlkeras.seeds import derive_seed, generator
from tlkeras.training.tuned_classifier import TunedClassifier
from tlkeras.training.tuner import Phase, Tuner


def fit_tuner(recipe: Tuner, train, val, *, seed: int, weights_folder=None, progress=True) -> TunedClassifier:
    """See `Tuner.fit`."""
    train, val = _as_samples("train", train), None if val is None else _as_samples("val", val)
    _check_samples(train, val)
    say = _printer(progress)
    backbone = get_backbone(recipe.backbone)
    weights = find_weights(backbone, recipe.weights, folder=weights_folder)
    if weights is not None and weights.batch_norm_folded and any(p.batch_norm == "train" for p in recipe.phases):
        raise InputError(
            f"{weights.path}: its BatchNorm is folded into the kernels, so it is the published network only "
            "while BatchNorm is frozen, and a phase asks for batch_norm='train'. Use the original file, or 'frozen'."
        )
    say(f"{backbone.name} on {_device()}, weights: {'random' if weights is None else Path(weights.path).name}")
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
    job = _Job(
        recipe=recipe,
        seed=seed,
        train=_Part(train, cpu_tensor(decode_all(train, recipe.image_size, progress=progress))),
        val=None if val is None else _Part(val, cpu_tensor(decode_all(val, recipe.image_size, progress=progress))),
        weights=sample_weights(train.labels, len(train.class_names), class_names=train.class_names)
        if recipe.imbalance == "class_weights"
        else None,
        warp=None if recipe.augmentation is None else build_warp(recipe.augmentation, recipe.image_size),
        progress=progress,
    )
    best, history, tables = _Best(), [], []
    for number, phase in enumerate(recipe.phases, start=1):
        summary = set_trainable(
            model, backbone, unfreeze=phase.unfreeze, unfreeze_from=phase.unfreeze_from, batch_norm=phase.batch_norm
        )
        say(f"phase {number} of {len(recipe.phases)}: {summary}")
        tables.append(layer_table(model))
        history += _run_phase(model, job, phase, number, best, say)
    # A fresh model around the same layers: without the last phase's optimizer, whose state would triple the saved file.
    model = keras.Model(model.input, model.output, name=model.name)
    return TunedClassifier(
        model=model,
        class_names=train.class_names,
        image_size=recipe.image_size,
        epochs=tuple(history),
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
    weights: np.ndarray | None  # float32 (n,), one per training sample
    warp: object | None
    progress: bool


class _Best:
    """The best weights so far, over all phases."""

    def __init__(self):
        self.value, self.weights = math.inf, None

    def offer(self, value: float, model: keras.Model) -> None:
        if value < self.value:
            self.value, self.weights = value, model.get_weights()


def _run_phase(model, job: _Job, phase: Phase, number: int, best: _Best, say) -> list[EpochLog]:
    # XLA made this loop ten times slower on CPUs; on a GPU Keras decides.
    jit = "auto" if keras.distribution.list_devices("gpu") else False
    model.compile(
        optimizer=_optimizer(phase),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
        jit_compile=jit,
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
            best.offer(value, model)
        waited = 0 if value < best_of_phase else waited + 1
        best_of_phase = min(best_of_phase, value)
        if phase.patience is not None and waited >= phase.patience:
            say(f"phase {number} stops: no better {phase.monitor} for {waited} epochs")
            break
    if phase.keep == "best" and best.weights is not None:
        model.set_weights(best.weights)
    elif phase.keep == "best":
        say("no validation samples: the weights of the last epoch are kept")
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
        weights=job.weights,
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
    for index, layer in enumerate(model.layers):
        drawn_from = getattr(layer, "seed_generator", None)
        if drawn_from is not None:
            state = [derive_seed(seed, "dropout", number, epoch, index), 0]
            drawn_from.state.assign(np.array(state, dtype=drawn_from.state.dtype))


def _optimizer(phase: Phase) -> keras.optimizers.Optimizer:
    if phase.optimizer == "adam":
        return keras.optimizers.Adam(phase.learning_rate)
    return keras.optimizers.SGD(phase.learning_rate, momentum=phase.momentum)


def _as_samples(name: str, given) -> Samples:
    if isinstance(given, Samples):
        return given
    if isinstance(given, tuple | list) and len(given) == 2:
        return from_arrays(*given)
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
    # Pairs of arrays name their classes by the labels they hold, so a validation part may hold fewer.
    if val is not None and val.class_names != train.class_names[: len(val.class_names)]:
        raise InputError(f"val: its classes {val.class_names} are not those of train, {train.class_names}.")


def _layers_by_phase(tables):
    table = tables[0].rename(columns={"trainable": "trainable_phase_1"})
    for number, later in enumerate(tables[1:], start=2):
        table[f"trainable_phase_{number}"] = later["trainable"]
    return table


def _device() -> str:
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
