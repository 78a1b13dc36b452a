"""How far a training has come, and what it comes back to: the best weights, the last good ones, a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tlkeras.backend import keras
from tlkeras.errors import InputError
from tlkeras.schema import EpochLog, Precision
from tlkeras.training.checkpoint import Checkpoint, CheckpointFile
from tlkeras.training.linear_probe import AnyPhase
from tlkeras.training.monitor import value_of


class TrainingState:
    """How far a fit has come: its history, and the weights it can come back to.

    Weights are {"layer/weight": array} of the layers that learn, by their positions in the model: names differ from one
    build to the next.

    Args:
        model: as it was built; with `started` it gets the weights from there.
        learning: for each phase the positions of the layers that learn in it.
        phases: of the recipe.
        precision: what the model computes in.
        file: where checkpoints go, or None.
        started: the checkpoint that the fit goes on from, or None.
    """

    def __init__(
        self,
        model: keras.Model,
        learning: Sequence[frozenset[int]],
        phases: Sequence[AnyPhase],
        precision: Precision,
        file: CheckpointFile | None = None,
        started: Checkpoint | None = None,
    ):
        self._learning, self.precision, self._file = learning, precision, file
        self.history: list[EpochLog] = []
        self.begins_in = 1  # phase
        self._optimizer: tuple[np.ndarray, ...] = ()
        self._best_value: float = math.inf
        self._best_epoch: tuple[int, int] | None = None
        self._best: dict[str, np.ndarray] | None = None
        self._last: dict[str, np.ndarray] | None = None  # held only while there is no best
        self._kept: tuple[int, int] | None = None  # the epoch whose weights the model has
        if started is not None:
            self._go_on(model, started, phases)

    def _go_on(self, model: keras.Model, started: Checkpoint, phases: Sequence[AnyPhase]) -> None:
        _require_shapes(model, started.weights)
        self.history, self.begins_in, self._optimizer = list(started.history), started.phase, started.optimizer
        if started.best is not None:
            # What had not learnt by then is as it was built.
            self._best, self._best_epoch = {**self._taken(model, len(phases)), **started.best}, started.best_epoch
            best = next(log for log in self.history if (log.phase, log.epoch) == started.best_epoch)
            value = value_of(best, phases[best.phase - 1])
            self._best_value = math.inf if value is None else value
        _put(model, started.weights)
        self._kept = (self.history[-1].phase, self.history[-1].epoch)

    def _taken(self, model: keras.Model, phase: int) -> dict[str, np.ndarray]:
        """Of every layer that learns in the phases up to this one."""
        learnt = sorted(set().union(*self._learning[:phase]))
        return {
            f"{i}/{j}": keras.ops.convert_to_numpy(weight).copy()
            for i in learnt
            for j, weight in enumerate(model.layers[i].weights)
        }

    def begin(self, phase: int, model: keras.Model) -> None:
        """Notes what a phase sets out from: more layers may learn in it than in those before."""
        if self._best is None and self._kept is not None:
            self._last = self._taken(model, phase)

    def restore_optimizer(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Gives a phase's optimizer, once, what the checkpoint holds of it."""
        for variable, array in zip(optimizer.variables, self._optimizer, strict=True):
            variable.assign(array)
        self._optimizer = ()

    def judge(self, log: EpochLog, phase: AnyPhase, model: keras.Model) -> None:
        """Takes in an epoch that has been judged by the weights that the model has now."""
        self.history.append(log)
        value = value_of(log, phase)
        if phase.keep == "best" and value is not None and value < self._best_value:
            self._best_value, self._best_epoch = value, (log.phase, log.epoch)
            self._best, self._last = self._taken(model, len(self._learning)), None
        elif self._best is None:
            self._last = self._taken(model, log.phase)
        self._kept = (log.phase, log.epoch)

    def keep(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Writes a checkpoint where one is due: the model has the weights that training goes on from."""
        if self._file is not None:
            self._file.offer(lambda: self._checkpoint(model, optimizer, self.history[-1].phase))

    def _checkpoint(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, phase: int) -> Checkpoint:
        weights = self._taken(model, phase)
        return Checkpoint(
            history=tuple(self.history),
            precision=self.precision,
            weights=weights,
            optimizer=tuple(keras.ops.convert_to_numpy(variable) for variable in optimizer.variables),
            best=None if self._best is None else {place: self._best[place] for place in weights},
            best_epoch=self._best_epoch,
        )

    def take_best(self, model: keras.Model) -> bool:
        """Gives the model the best weights so far; False where there are none."""
        if self._best is None:
            return False
        _put(model, self._best)
        self._kept = self._best_epoch
        return True

    def fall_back(self, model: keras.Model) -> str | None:
        """Gives the model the best weights so far, or the last that were numbers; says in words which."""
        if not self.take_best(model):
            if self._last is None:
                return None
            _put(model, self._last)
        assert self._kept is not None  # the weights of that epoch
        phase, epoch = self._kept
        return f"phase {phase}, epoch {epoch}"

    def marked_history(self) -> tuple[EpochLog, ...]:
        """The history, with the epoch whose weights the model has."""
        return tuple(replace(log, kept=(log.phase, log.epoch) == self._kept) for log in self.history)


def _put(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    for place, array in weights.items():
        layer, number = map(int, place.split("/"))
        model.layers[layer].weights[number].assign(array)


def _require_shapes(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Refuses the weights of another network, such as a Backbone of one's own that was changed."""
    shapes = {f"{i}/{j}": tuple(w.shape) for i, layer in enumerate(model.layers) for j, w in enumerate(layer.weights)}
    other = [place for place, array in weights.items() if shapes.get(place) != array.shape]
    if other:
        raise InputError(
            f"checkpoint: it holds the weights of another network than {model.name} ({len(other)} of {len(weights)} do "
            "not fit). Remove the file, and the training begins anew."
        )
