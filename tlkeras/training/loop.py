"""The one loop: what learns -> compile -> epochs, for each phase, from a checkpoint on where there is one."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.backend import computing_in, device_name, free_kernels, keras
from tlkeras.checks import check_whole
from tlkeras.data.balance import sample_weights
from tlkeras.data.image_index import INDEX
from tlkeras.data.warp import build_warp
from tlkeras.errors import DivergedError, InputError, MissingInputError
from tlkeras.evaluation.model_card import kept_in_words
from tlkeras.machine import available_memory, parse_size
from tlkeras.models.backbones import Backbone
from tlkeras.models.classifier import build_classifier
from tlkeras.models.freezing import (
    TrainableSummary,
    layer_table,
    restore_noise,
    set_trainable,
    stages_before_the_head,
)
from tlkeras.models.layers import copy_weights
from tlkeras.models.weights import find_weights
from tlkeras.models.weights_file import WeightsFile
from tlkeras.models.zoo import get_backbone
from tlkeras.progress import say
from tlkeras.schema import Samples
from tlkeras.seeds import derive_seed
from tlkeras.training.checkpoint import CheckpointFile, describe_training
from tlkeras.training.checks import check_val, samples_to_fit
from tlkeras.training.epoch import (
    Job,
    Stage,
    build_stage,
    compile_model,
    judge_epoch,
    line_of,
    pixels_come_again,
    predict_watched,
    train_epoch,
)
from tlkeras.training.feature_store import FeatureStore, open_store
from tlkeras.training.feed import Part
from tlkeras.training.frozen import Frozen, can_be_kept, find_frozen
from tlkeras.training.linear_probe import AnyPhase, LinearProbe
from tlkeras.training.memory import check_memory, memory_in_words
from tlkeras.training.monitor import value_of
from tlkeras.training.optimizers import PhaseOptimizer, build_optimizer
from tlkeras.training.phase import Phase
from tlkeras.training.precision import choose_precision, compared_with_float32
from tlkeras.training.probing import run_probe
from tlkeras.training.state import TrainingState
from tlkeras.training.tuned_classifier import TunedClassifier
from tlkeras.training.tuner import Tuner, require_trainable_batch_norm
from tlkeras.training.watched import Watched

if TYPE_CHECKING:
    import pandas as pd


def fit_tuner(
    recipe: Tuner,
    train: Samples | tuple[np.ndarray, np.ndarray],
    val: Samples | tuple[np.ndarray, np.ndarray] | None,
    *,
    seed: int,
    weights_folder: str | None = None,
    store: FeatureStore | str | os.PathLike | bool = True,
    memory_budget: str | int | None = None,
    checkpoint: str | os.PathLike | None = None,
    watched: Watched | None = None,
) -> TunedClassifier:
    """See `Tuner.fit`; `watched` are further samples, predicted on the way."""
    seed = check_whole("seed", seed)
    free_kernels()
    recipe, (train, val) = recipe.resolved, samples_to_fit(train, val)
    check_val(recipe, val)
    recipe = recipe.with_enough_steps([*train.class_counts().values()])
    opened = open_store(store)
    scratch = _scratch(recipe, (train, val, watched and watched.samples), memory_budget, opened)
    backbone = get_backbone(recipe.backbone)
    weights = find_weights(backbone, recipe.weights, folder=weights_folder)
    require_trainable_batch_norm(weights, recipe.phases)
    say(f"{backbone.name} on {device_name()}, weights: {'random' if weights is None else weights.path.name}")
    if weights is not None and weights.note:
        say(f"note: {weights.note}")
    fit = _Fit(recipe, backbone, weights, train, val, watched, seed, opened, scratch)

    file = started = None
    sources = {}
    if checkpoint is not None:
        sources = {name: INDEX.digests(samples) for name, samples in fit.parts.items()}
        images = {"train": None, "val": None} | {name: (fit.parts[name], found) for name, found in sources.items()}
        described = describe_training(recipe, weights, images, train.class_names, seed)
        file = CheckpointFile(Path(checkpoint).expanduser(), described)
        started = file.read()

    precision = choose_precision(recipe, train, fit.build) if started is None else started.precision
    with computing_in(precision.name):
        # Every phase is set once before anything is decoded or trained: a stage that is not there is known at once.
        sizes = {size: fit.at(size).sized(precision.name, sources) for size in recipe.sizes}
        whole = sizes[recipe.image_size]
        model = whole.model
        for at in sizes.values():
            whole.require_shapes_of(at)
        learning, tables = [], []
        for phase in recipe.phases:
            fit.set_trainable(model, phase)
            learning.append(_learning(model))
            tables.append(layer_table(model))
        state = TrainingState(model, learning, recipe.phases, precision, file, started)
        for number, phase in enumerate(recipe.phases, start=1):
            if number < state.begins_in:
                continue
            at = sizes[phase.image_size or recipe.image_size]
            summary = fit.set_trainable(model, phase)
            smaller = f" at {'x'.join(map(str, phase.image_size))}" if phase.image_size else ""
            say(f"phase {number} of {len(recipe.phases)}{smaller}: {summary}")
            state.begin(number, model)
            try:
                if isinstance(phase, LinearProbe):
                    run_probe(model, whole.frozen[number - 1], whole.job, phase, number, state)
                else:
                    fit.set_trainable(at.model, phase)
                    _run_phase(at, whole, phase, number, state)
            except DivergedError as error:
                raise _with_what_is_kept(error, fit, model, state, tables[:number]) from None
    fitted = fit.classifier(model, state, tables)
    last = whole.frozen[-1]
    if last is not None:
        fitted.keep_features(last.cut, whole.job.kept(last.cut.trunk))
    return replace(fitted, precision=compared_with_float32(fitted, fit.build, val))


@dataclass(frozen=True, eq=False)
class _Fit:
    """What is fitted to what: the recipe resolved, the samples checked, the weights found."""

    recipe: Tuner
    backbone: Backbone
    weights: WeightsFile | None
    train: Samples
    val: Samples | None
    watched: Watched | None
    seed: int
    store: FeatureStore | None
    scratch: Path | None  # the folder for decoded pixels

    @property
    def parts(self) -> dict[str, Samples]:
        """The samples that decide the result."""
        return {"train": self.train} | ({} if self.val is None else {"val": self.val})

    def at(self, image_size: tuple[int, int]) -> _Fit:
        """The same at another image size."""
        return replace(self, recipe=replace(self.recipe, image_size=image_size))

    def sized(self, precision: str, sources: Mapping[str, list[bytes]]) -> _Sized:
        """What is trained and judged at this image size; `sources` as in `job`."""
        model = self.build(precision)
        frozen = self.find_frozen(model)
        return _Sized(model, frozen, self.job(sources, whole=None in frozen))

    def build(self, precision: str) -> keras.Model:
        """The recipe's model, as no image has changed it yet."""
        with memory_in_words(
            f"{self.backbone.name} at {self.recipe.image_size}", "Take a smaller image_size, or another head."
        ):
            return build_classifier(
                self.backbone,
                n_classes=len(self.train.class_names),
                image_size=self.recipe.image_size,
                weights=self.weights,
                head=self.recipe.head,
                preprocessing=self.recipe.preprocessing,
                precision=precision,
                seed=derive_seed(self.seed, "weights"),
            )

    def set_trainable(self, model: keras.Model, phase: AnyPhase) -> TrainableSummary:
        """Lets learn what learns in a phase."""
        return set_trainable(
            model,
            self.backbone,
            unfreeze=phase.unfreeze,
            unfreeze_from=phase.unfreeze_from,
            batch_norm=phase.batch_norm,
            batch_norm_momentum=phase.batch_norm_momentum,
        )

    def find_frozen(self, model: keras.Model) -> list[Frozen | None]:
        """For each phase what need not be computed again; see `training.frozen`."""
        watched = None if self.watched is None else self.watched.samples
        return find_frozen(
            model,
            self.recipe.phases,
            lambda phase: self.set_trainable(model, phase),
            lambda trunks: can_be_kept(trunks, self.store, self.recipe, self.train, self.val, watched),
        )

    def job(self, sources: Mapping[str, list[bytes]], *, whole: bool) -> Job:
        """What all phases share.

        Args:
            sources: the digests of the images of each of `parts`, where they are known already.
            whole: a phase runs the whole model, so that pixels are shown again.
        """
        train, recipe = self.train, self.recipe
        change = not pixels_come_again(recipe)
        return Job(
            recipe=recipe,
            backbone=self.backbone,
            seed=self.seed,
            train=self._part(train, whole or change, sources.get("train")),
            val=None
            if self.val is None
            else self._part(self.val, whole or (recipe.augment_val and change), sources.get("val")),
            watched=self.watched,
            watched_part=self.watched and self._part(self.watched.samples, whole),
            sample_weights=sample_weights(train.known_labels, len(train.class_names), class_names=train.class_names)
            if recipe.imbalance == "class_weights"
            else None,
            warp=None if recipe.augmentation is None else build_warp(recipe.augmentation, recipe.image_size),
            store=self.store,
        )

    def _part(self, samples: Samples, hold: bool, sources: list[bytes] | None = None) -> Part:
        size = self.recipe.image_size
        return Part(samples, size, resize=self.recipe.resize, hold=hold, scratch=self.scratch, sources=sources)

    def classifier(self, model: keras.Model, state: TrainingState, tables: Sequence[pd.DataFrame]) -> TunedClassifier:
        """The model with the weights it has now, and what became of it; `tables` are the layers of each phase."""
        restore_noise(model)
        return TunedClassifier(
            # Around the same layers, without the last phase's optimizer, whose state would triple the saved file.
            model=keras.Model(model.input, model.output, name=model.name),
            class_names=self.train.class_names,
            image_size=self.recipe.image_size,
            resize=self.recipe.resize,
            epochs=state.marked_history(),
            layers=_layers_by_phase(tables),
            weights=self.weights,
            precision=state.precision,
            images={name: samples.class_counts() for name, samples in self.parts.items()},
        )


@dataclass(frozen=True, eq=False)
class _Sized:
    """The network at one image size, with what of it is frozen in each phase, and what is shown to it."""

    model: keras.Model
    frozen: list[Frozen | None]
    job: Job

    def require_shapes_of(self, other: _Sized) -> None:
        """Refuses a network that has other weights at another image size."""
        ours, theirs = self.model.weights, other.model.weights
        if [weight.shape for weight in ours] != [weight.shape for weight in theirs]:
            raise InputError(
                f"Phase.image_size: received {other.job.recipe.image_size!r}, at which {self.model.name} has other "
                f"weights than at {self.job.recipe.image_size}: it keeps some for every position. Leave it out."
            )

    def takes_from(self, other: _Sized) -> None:
        """Gives this network the other's weights, where they are two."""
        if other is not self:
            copy_weights(other.model, self.model)

    def stage(self, number: int) -> Stage:
        """What phase `number` trains and is judged by at this size."""
        return build_stage(self.model, self.frozen[number - 1], self.job, number)


def _with_what_is_kept(
    error: DivergedError, fit: _Fit, model: keras.Model, state: TrainingState, tables: Sequence[pd.DataFrame]
) -> DivergedError:
    """The error, with the classifier of the best weights before it where there are any."""
    kept = state.fall_back(model)
    found = fit.classifier(model, state, tables) if kept else None
    # Weights that are numbers may still be so large that what the network makes of them is none.
    if found is None or not np.isfinite(found.probe()).all():
        return error
    return DivergedError(f"{error} The weights of {kept} are kept.", found)


def _run_phase(at: _Sized, whole: _Sized, phase: Phase, number: int, state: TrainingState) -> None:
    """Trains at the phase's image size and judges at the recipe's."""
    at.takes_from(whole)
    stage, job = at.stage(number), at.job
    if at is not whole:
        judged = whole.stage(number)
        stage = replace(stage, judge=judged.judge, val=judged.val, onlooker=judged.onlooker, watched=judged.watched)
    ours = _optimizer_of(phase, at.model, stage.learner, job.backbone)
    counts = np.array(list(job.train.samples.class_counts().values()))
    compile_model(stage.learner, ours, job.recipe.loss.function(counts) if job.recipe.learns_from_shares else None)
    if stage.judge is not stage.learner:
        compile_model(stage.judge, None)
    optimizer = stage.learner.optimizer  # in float16 Keras puts a loss scale around it
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
                trained = train_epoch(stage, ours, job, phase, number, epoch)
                with ours.averages() if phase.is_averaged(epoch) else nullcontext():
                    whole.takes_from(at)
                    log = judge_epoch(stage, whole.job, phase, number, epoch, trained)
                    state.judge(log, phase, whole.model)
                    if job.watched is not None and (number, epoch) in job.watched.moments:
                        job.watched.probs[number, epoch] = predict_watched(stage, epoch)
            say(line_of(log, f"epoch {log.epoch:>2}/{phase.epochs}"))
            state.keep(at.model, optimizer)
        value = value_of(log, phase)
        if value is None:
            continue
        waited = 0 if value < best else waited + 1
        best = min(best, value)
        if phase.patience is not None and waited >= phase.patience:
            say(f"phase {number} stops: no better {phase.monitor} for {waited} epochs")
            break
    taken = phase.keep == "best" and state.take_best(whole.model)
    if not taken:
        ours.take_averages()
        whole.takes_from(at)
    best_of = "" if taken or phase.keep == "last" else " (no validation samples: the last one)"
    say(f"kept: {kept_in_words(state.marked_history())}{best_of}")


def _optimizer_of(phase: Phase, model: keras.Model, learner: keras.Model, backbone: Backbone) -> PhaseOptimizer:
    optimizer = build_optimizer(phase)
    if phase.stage_decay != 1:
        before = stages_before_the_head(model, backbone)
        rates = {
            id(variable): phase.stage_decay ** before.get(layer.name, 0)
            for layer in learner.layers
            for variable in layer.trainable_variables
        }
        optimizer.rates = [rates[id(variable)] for variable in learner.trainable_variables]
    if phase.average is not None:
        statistics = [
            variable
            for layer in learner.layers
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
            for variable in layer.non_trainable_variables
        ]
        optimizer.to_average = [*learner.trainable_variables, *statistics]
    return optimizer


def _scratch(recipe: Tuner, parts, memory_budget, store: FeatureStore | None) -> Path | None:
    """The folder for decoded pixels, None where they fit into memory."""
    budget = available_memory() // 2 if memory_budget is None else parse_size("memory_budget", memory_budget)
    pixels = sum(len(samples) for samples in parts if samples is not None)
    pixels *= sum(map(math.prod, recipe.sizes)) * 3
    if pixels <= budget:
        return None
    try:
        return (store or FeatureStore()).folder  # not the system's folder for temporary files, which may lie in memory
    except MissingInputError:  # there is no home folder
        return Path(tempfile.gettempdir())


def _learning(model: keras.Model) -> frozenset[int]:
    """The positions of the layers that learn now."""
    return frozenset(i for i, layer in enumerate(model.layers) if layer.weights and layer.trainable)


def _layers_by_phase(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    table = tables[0][["layer", "type", "parameters"]].copy()
    for number, of_phase in enumerate(tables, start=1):
        table[f"trainable_phase_{number}"] = of_phase["trainable"]
        table[f"trainable_parameters_phase_{number}"] = of_phase["trainable_parameters"]
    return table
