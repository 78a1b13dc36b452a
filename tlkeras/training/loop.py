"""The one loop: what learns -> compile -> epochs, for each phase, from a checkpoint on where there is one."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from tlkeras.backend import free_kernels, keras
from tlkeras.checks import check_whole
from tlkeras.data.balance import sample_weights
from tlkeras.data.digests import source_digests
from tlkeras.data.warp import build_warp
from tlkeras.errors import DivergedError, MissingInputError
from tlkeras.evaluation.training_tables import kept_in_words
from tlkeras.machine import available_memory, parse_size
from tlkeras.models.backbones import Backbone
from tlkeras.models.classifier import build_classifier
from tlkeras.models.device import device_name
from tlkeras.models.freezing import TrainableSummary, layer_table, set_trainable
from tlkeras.models.precision import computing_in
from tlkeras.models.weights import find_weights
from tlkeras.models.zoo import get_backbone
from tlkeras.schema import EpochLog, Samples
from tlkeras.seeds import derive_seed
from tlkeras.training.checkpoint import CheckpointFile, describe_training
from tlkeras.training.checks import as_samples, check_samples, check_val
from tlkeras.training.epoch import Job, build_stage, pixels_come_again, predict_watched, run_epoch
from tlkeras.training.feature_store import FeatureStore, open_store
from tlkeras.training.feed import Part
from tlkeras.training.frozen import Frozen, can_be_kept, find_frozen
from tlkeras.training.memory import check_memory, memory_in_words
from tlkeras.training.monitor import BALANCED, value_of
from tlkeras.training.optimizers import build_optimizer
from tlkeras.training.precision import choose_precision, compared_with_float32
from tlkeras.training.progress import printer
from tlkeras.training.state import TrainingState
from tlkeras.training.tuned_classifier import TunedClassifier
from tlkeras.training.tuner import Phase, Tuner, require_trainable_batch_norm
from tlkeras.training.watched import Watched


def fit_tuner(
    recipe: Tuner,
    train,
    val,
    *,
    seed: int,
    weights_folder=None,
    store=True,
    memory_budget=None,
    checkpoint=None,
    progress=True,
    watched: Watched | None = None,
) -> TunedClassifier:
    """See `Tuner.fit`; `watched` are further samples, predicted on the way."""
    seed = check_whole("seed", seed)
    free_kernels()
    recipe, train = recipe.resolved, as_samples("train", train)
    val = None if val is None else as_samples("val", val, train.class_names)
    check_samples(train, val)
    check_val(recipe, val)
    say = printer(progress)
    store = open_store(store, say)
    shown = [train, val, None if watched is None else watched.samples]
    scratch = _scratch(recipe, shown, memory_budget, store)
    backbone = get_backbone(recipe.backbone)
    weights = find_weights(backbone, recipe.weights, folder=weights_folder)
    require_trainable_batch_norm(weights, recipe.phases)
    say(f"{backbone.name} on {device_name()}, weights: {'random' if weights is None else weights.path.name}")
    if weights is not None and weights.note:
        say(f"note: {weights.note}")

    def build(precision: str) -> keras.Model:
        with memory_in_words(f"{backbone.name} at {recipe.image_size}", "Take a smaller image_size, or another head."):
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

    file = started = None
    sources = {}
    if checkpoint is not None:
        sources = {id(samples): source_digests(samples) for samples in (train, val) if samples is not None}
        images = {
            name: samples and (samples, sources[id(samples)]) for name, samples in (("train", train), ("val", val))
        }
        described = describe_training(recipe, weights, images, train.class_names, seed)
        file = CheckpointFile(Path(checkpoint).expanduser(), described, say)
        started = file.read()

    def part(samples: Samples, hold: bool) -> Part:
        return Part(
            samples,
            recipe.image_size,
            hold=hold,
            scratch=scratch,
            progress=progress,
            sources=sources.get(id(samples)),
        )

    precision = choose_precision(recipe, train, build, say) if started is None else started.precision
    with computing_in(precision.name):
        model = build(precision.name)
        # Every phase is set once before anything is decoded or trained: a stage that is not there is known at once.
        frozen = find_frozen(
            model,
            recipe.phases,
            lambda phase: _set_trainable(model, backbone, phase),
            lambda trunks: can_be_kept(trunks, store, recipe, *shown, say),
        )
        whole = None in frozen
        job = Job(
            recipe=recipe,
            seed=seed,
            train=part(train, whole or not pixels_come_again(recipe)),
            val=val and part(val, whole or (recipe.augment_val and not pixels_come_again(recipe))),
            watched=watched,
            watched_part=watched and part(watched.samples, whole),
            sample_weights=sample_weights(train.labels, len(train.class_names), class_names=train.class_names)
            if recipe.imbalance == "class_weights"
            else None,
            warp=None if recipe.augmentation is None else build_warp(recipe.augmentation, recipe.image_size),
            store=store,
            progress=progress,
            say=say,
        )
        learning = [_learning(model, backbone, phase) for phase in recipe.phases]
        state, tables = TrainingState(model, learning, recipe.phases, precision, file, started), []

        def classifier() -> TunedClassifier:
            return TunedClassifier(
                # Around the same layers, without the last phase's optimizer, whose state would triple the saved file.
                model=keras.Model(model.input, model.output, name=model.name),
                class_names=train.class_names,
                image_size=recipe.image_size,
                epochs=state.marked_history(),
                layers=_layers_by_phase(tables),
                weights=weights,
                precision=precision,
                images={"train": train.class_counts()} | ({} if val is None else {"val": val.class_counts()}),
            )

        for number, phase in enumerate(recipe.phases, start=1):
            summary = _set_trainable(model, backbone, phase)
            tables.append(layer_table(model))
            if number < state.begins_in:
                continue
            say(f"phase {number} of {len(recipe.phases)}: {summary}")
            state.begin(number, model)
            try:
                _run_phase(model, frozen[number - 1], job, phase, number, state)
            except DivergedError as error:
                kept = state.fall_back(model)
                found = classifier() if kept else None
                # Weights that are numbers may still be so large that what the network makes of them is none.
                if found is None or not np.isfinite(found.fingerprint()).all():
                    raise
                raise DivergedError(f"{error} The weights of {kept} are kept.", found) from None
    fitted = classifier()
    if frozen[-1] is not None:
        fitted.keep_features(frozen[-1].cut, job.kept(frozen[-1].cut.trunk))
    return replace(fitted, precision=compared_with_float32(fitted, build, val, say))


def _run_phase(
    model: keras.Model, frozen: Frozen | None, job: Job, phase: Phase, number: int, state: TrainingState
) -> None:
    stage = build_stage(model, frozen, job, number)
    stage.learner.compile(
        optimizer=build_optimizer(phase), loss=keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"]
    )
    if stage.judge is not stage.learner:
        stage.judge.compile(optimizer=None, loss=keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    optimizer = stage.learner.optimizer
    optimizer.build(stage.learner.trainable_variables)
    check_memory(stage.learner, optimizer, min(job.recipe.batch_size, job.rows_per_epoch))
    logs = [log for log in state.history if log.phase == number]
    if logs:
        state.restore_optimizer(optimizer)
    best, waited = math.inf, 0
    for epoch in range(1, phase.epochs + 1):
        if epoch <= len(logs):
            log = logs[epoch - 1]
        else:
            with memory_in_words(
                f"training {job.recipe.batch_size} images of {job.recipe.image_size} at a time",
                f"Try batch_size={job.recipe.batch_size // 2}."
                if job.recipe.batch_size > 1
                else "Take a smaller image_size, or unfreeze fewer layers.",
            ):
                log = run_epoch(stage, job, phase, number, epoch)
            job.say(_line(log, phase))
            state.add(log, phase, model, optimizer)
            if job.watched is not None and (number, epoch) in job.watched.moments:
                job.watched.probs[number, epoch] = predict_watched(stage, epoch)
        value = value_of(log, phase)
        if value is None:
            continue
        waited = 0 if value < best else waited + 1
        best = min(best, value)
        if phase.patience is not None and waited >= phase.patience:
            job.say(f"phase {number} stops: no better {phase.monitor} for {waited} epochs")
            break
    best_of = "" if phase.keep == "last" or state.take_best(model) else " (no validation samples: the last one)"
    job.say(f"kept: {kept_in_words(state.marked_history())}{best_of}")


def _set_trainable(model: keras.Model, backbone: Backbone, phase: Phase) -> TrainableSummary:
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
    try:
        return (store or FeatureStore()).folder  # not the system's folder for temporary files, which may lie in memory
    except MissingInputError:  # there is no home folder
        return Path(tempfile.gettempdir())


def _learning(model: keras.Model, backbone: Backbone, phase: Phase) -> frozenset[int]:
    """The positions of the layers that learn in a phase."""
    _set_trainable(model, backbone, phase)
    return frozenset(i for i, layer in enumerate(model.layers) if layer.weights and layer.trainable)


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
    seen = {name: getattr(log, name) for name in ("val_loss", "val_accuracy", *BALANCED)}
    return line + "".join(f"  {name} {value:.4f}" for name, value in seen.items() if value is not None)
