"""Keras' optimizers with what a phase adds: a rate for each stage, averages of the weights.

They are for one replica, so that no step stays in memory after its model is gone.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tlkeras.backend import keras
from tlkeras.training.optimizer_names import OPTIMIZERS, KerasOptimizer
from tlkeras.training.phase import Phase


@dataclass(frozen=True, eq=False)
class _Plan:
    """Of a built optimizer: what each of its variables learns at, and what is averaged.

    Attributes:
        rates: the part of the learning rate, one per variable.
        averaged: (variable, its average).
    """

    rates: tuple[float, ...]
    averaged: tuple[tuple[keras.Variable, keras.Variable], ...]


class PhaseOptimizer(keras.optimizers.Optimizer):
    """What is mixed into a class of Keras'.

    Attributes:
        rates: of the variables it will be built for, the part of the learning rate that each learns at; None for all
            of it.
        to_average: variables of which averages are kept, that begin as they are when it is built.
        average_share: how much of them goes into their averages in the next step; there where some are kept.
    """

    rates: Sequence[float] | None = None
    to_average: Sequence[keras.Variable] = ()
    average_share: keras.Variable

    def build(self, variables: list) -> None:
        """Makes the optimizer's variables."""
        # Kernels alone decay: what has one axis is a bias, or the scale or shift of a normalisation; those of attention
        # have two, one of them for the heads.
        still = [variable for variable in variables if len(variable.shape) < 2 or variable.name == "bias"]
        self.exclude_from_weight_decay(var_list=still)
        super().build(variables)
        if self.to_average:
            self.average_share = self.add_variable((), name="average_share")
        averaged = [(each, self.add_variable_from_reference(each, name="average")) for each in self.to_average]
        for variable, average in averaged:
            average.assign(variable)
        self._plan = _Plan(tuple(self.rates or [1.0] * len(variables)), tuple(averaged))

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Keras' own, at the variable's part of the rate."""
        rate = self._plan.rates[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate if rate == 1 else learning_rate * rate)

    def _apply_weight_decay(self, variables: Iterable) -> None:
        if not self.weight_decay:
            return
        for variable in variables:
            if self._use_weight_decay(variable):
                rate = self.learning_rate * (self.weight_decay * self._plan.rates[self._get_variable_index(variable)])
                variable.assign_sub(variable * keras.ops.cast(rate, variable.dtype))

    def _backend_apply_gradients(self, grads: Sequence, trainable_variables: Sequence) -> None:
        super()._backend_apply_gradients(grads, trainable_variables)
        for variable, average in self._plan.averaged:
            average.assign_add((variable - average) * keras.ops.cast(self.average_share, average.dtype))

    def _all_reduce_sum_gradients(self, grads_and_vars: Iterable) -> list:
        """The gradients themselves: of one replica they are the sum.

        TensorFlow (2.21) registers the gradient of that sum under a name of its own in every traced step, and keeps it,
        and with it the graph of the step, as long as the process lives: 6 MB and more of each phase that was trained.
        """
        if self._distribution_strategy.num_replicas_in_sync > 1:
            return super()._all_reduce_sum_gradients(grads_and_vars)
        return list(grads_and_vars)

    @contextmanager
    def averages(self) -> Iterator[None]:
        """Gives the variables their averages, and afterwards back what they had."""
        had = [keras.ops.convert_to_numpy(variable).copy() for variable, _ in self._plan.averaged]
        self.take_averages()
        try:
            yield
        finally:
            for (variable, _), array in zip(self._plan.averaged, had, strict=True):
                variable.assign(array)

    def take_averages(self) -> None:
        """Gives the variables their averages."""
        for variable, average in self._plan.averaged:
            variable.assign(average)


@functools.cache
def _class_of(name: str) -> type[PhaseOptimizer]:
    own = getattr(keras.optimizers, OPTIMIZERS[name])
    return type(own.__name__, (PhaseOptimizer, own), {"__doc__": f"keras.optimizers.{own.__name__}, of a phase."})


def build_optimizer(phase: Phase) -> PhaseOptimizer:
    """The optimizer that a phase names, at its rate; what it learns is told by `build`."""
    options: dict[str, Any] = dict(phase.optimizer.options) if isinstance(phase.optimizer, KerasOptimizer) else {}
    if phase.optimizer_name == "sgd":
        options["momentum"] = phase.momentum
    return _class_of(phase.optimizer_name)(
        learning_rate=float(phase.learning_rate),
        weight_decay=phase.decay or (0.0 if phase.optimizer_name == "adamw" else None),
        global_clipnorm=phase.clip_norm,
        gradient_accumulation_steps=phase.accumulate if phase.accumulate > 1 else None,
        **options,
    )
