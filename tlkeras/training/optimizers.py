"""Keras' optimizers, for one replica: no step stays in memory after its model is gone."""

from __future__ import annotations

from collections.abc import Iterable

from tlkeras.backend import keras
from tlkeras.training.phase import Phase


class _OneReplica(keras.optimizers.Optimizer):
    """Leaves out the sum of the gradients over replicas, which of one is the gradients themselves.

    TensorFlow (2.21) registers the gradient of that sum under a name of its own in every traced step, and keeps it, and
    with it the graph of the step, as long as the process lives: 6 MB and more of each phase that was trained.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Iterable) -> list:
        if self._distribution_strategy.num_replicas_in_sync > 1:
            return super()._all_reduce_sum_gradients(grads_and_vars)
        return list(grads_and_vars)


class Adam(_OneReplica, keras.optimizers.Adam):
    """Kingma & Ba 2015, with Keras' defaults."""


class SGD(_OneReplica, keras.optimizers.SGD):
    """Stochastic gradient descent with momentum."""


def build_optimizer(phase: Phase) -> keras.optimizers.Optimizer:
    """The optimizer that a phase names, at the rate of its first epoch."""
    if phase.optimizer == "adam":
        return Adam(phase.learning_rate)
    return SGD(phase.learning_rate, momentum=phase.momentum)
