"""Which layers learn: the only place that touches `.trainable`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from tlkeras.errors import InputError
from tlkeras.models.backbones import HUB, Backbone, backbone_layers, resolve_stages

if TYPE_CHECKING:
    import keras
    import pandas as pd

# What layers came with: BatchNorm its momentum, for the phases that ask for no other; dropout and noise how much of it.
_OWN_MOMENTUM: WeakKeyDictionary[keras.layers.Layer, float] = WeakKeyDictionary()
_OWN_NOISE: WeakKeyDictionary[keras.layers.Layer, float] = WeakKeyDictionary()


@dataclass(frozen=True)
class TrainableSummary:
    """What `set_trainable` left trainable. Counts are layers and parameters (single numbers, not arrays)."""

    backbone_layers: int
    backbone_layers_trainable: int
    first_trainable: str | None  # the first trainable backbone layer, None where the whole backbone is frozen
    parameters: int
    parameters_trainable: int
    batch_norm_trainable: int  # BatchNorm layers of the backbone that use and update batch statistics

    def __str__(self) -> str:
        if self.first_trainable is None:
            backbone = "backbone frozen"
        else:
            backbone = (
                f"{self.backbone_layers_trainable} of {self.backbone_layers} backbone layers trainable "
                f"from {self.first_trainable}, BatchNorm {'trained' if self.batch_norm_trainable else 'frozen'}"
            )
        return f"{backbone}; {self.parameters_trainable:,} of {self.parameters:,} parameters learn"


def set_trainable(
    model: keras.Model,
    backbone: Backbone,
    *,
    unfreeze: int | str | tuple[str, ...] = 0,
    unfreeze_from: str | None = None,
    batch_norm: str = "frozen",
    batch_norm_momentum: float | None = None,
) -> TrainableSummary:
    """Sets every layer's `trainable` flag; the model has to be compiled afterwards, or the change has no effect.

    Frozen layers answer as in prediction: their BatchNorm stands still, and dropout, stochastic depth and noise among
    them (EfficientNet has some) are switched off until a later call unfreezes them, or `restore_noise` is called.

    Args:
        model: what `build_classifier` returned. Its head always learns.
        backbone: the row the model was built from; it names the stages.
        unfreeze: 0, "all", the last n backbone layers that have weights, or exactly these stages ("block1", "block5").
        unfreeze_from: a stage or layer name; it and everything after it learn. Excludes `unfreeze`.
        batch_norm: "frozen" keeps the backbone's BatchNorm layers in inference mode (stored statistics, fixed scale and
            shift) even where their neighbours learn; "train" lets those in the unfrozen part learn and update.
        batch_norm_momentum: how much of its stored statistics such a layer keeps in each step; None its own.

    Raises:
        InputError: a stage or layer that this backbone does not have, more layers than it has, or a choice in which
            nothing can learn.
    """
    from tlkeras.backend import keras

    layers = backbone_layers(model)
    chosen = _chosen_layers(layers, backbone, unfreeze, unfreeze_from)
    for layer in model.layers:
        layer.trainable = True
    batch_norms = 0
    for index, layer in enumerate(layers):
        _set_noise(layer, on=index in chosen)
        is_batch_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = index in chosen and not (is_batch_norm and batch_norm == "frozen")
        batch_norms += is_batch_norm and layer.trainable
        if is_batch_norm:
            own = _OWN_MOMENTUM.setdefault(layer, layer.momentum)
            layer.momentum = own if batch_norm_momentum is None else batch_norm_momentum
    trainable = [layer for layer in layers if layer.trainable_weights]
    if chosen and not trainable:
        raise InputError(
            f"unfreeze={unfreeze!r}: only BatchNorm layers of {backbone.name} are in it, and batch_norm='frozen' keeps "
            "them still, so nothing would learn. Take more layers, or a stage."
        )
    return TrainableSummary(
        backbone_layers=len([layer for layer in layers if layer.weights]),
        backbone_layers_trainable=len(trainable),
        first_trainable=trainable[0].name if trainable else None,
        parameters=model.count_params(),
        parameters_trainable=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        batch_norm_trainable=batch_norms,
    )


def stages_before_the_head(model: keras.Model, backbone: Backbone) -> dict[str, int]:
    """{backbone layer: 1 in the last stage, 2 in the one before it, ...}, of the row that `model` was built from."""
    layers = backbone_layers(model)
    stages = resolve_stages(backbone, layers)
    return {
        layers[index].name: number for number, stage in enumerate(reversed(stages), start=1) for index in stages[stage]
    }


def restore_noise(model: keras.Model) -> None:
    """Gives dropout, stochastic depth and noise of the backbone back what they came with, as a saved model keeps it."""
    for layer in backbone_layers(model):
        _set_noise(layer, on=True)


def noise_of(layer: keras.layers.Layer) -> str | None:
    """The attribute that holds how much a layer of Keras' drops or disturbs in training; None of any other layer."""
    from tlkeras.backend import keras

    if isinstance(layer, keras.layers.Dropout | keras.layers.AlphaDropout | keras.layers.GaussianDropout):
        return "rate"
    if isinstance(layer, keras.layers.GaussianNoise):
        return "stddev"
    if type(layer).__module__.startswith(HUB) and type(layer).__name__.endswith("DropPath"):
        return "drop_prob" if hasattr(layer, "drop_prob") else "rate"
    # ConvNeXt's, whose class Keras does not export.
    of_convnext = type(layer).__module__.startswith("keras.") and hasattr(layer, "drop_path_rate")
    return "drop_path_rate" if of_convnext else None


def _set_noise(layer, *, on: bool) -> None:
    for inner in layer._flatten_layers():  # ConvNeXt's units hold others; Keras has no public way to them
        name = noise_of(inner)
        if name is not None:
            own = _OWN_NOISE.setdefault(inner, getattr(inner, name))
            setattr(inner, name, own if on else 0.0)


def layer_table(model: keras.Model) -> pd.DataFrame:
    """One row per layer in build order: layer, type, parameters, trainable (yes, no, "-" where it has no weights), and
    how many parameters learn (not the moving averages of a BatchNorm that does)."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "layer": layer.name,
                "type": type(layer).__name__,
                "parameters": layer.count_params(),
                "trainable": "-" if not layer.weights else "yes" if layer.trainable_weights else "no",
                "trainable_parameters": sum(math.prod(weight.shape) for weight in layer.trainable_weights),
            }
            for layer in model.layers
        ]
    )


def _chosen_layers(layers, backbone, unfreeze, unfreeze_from) -> set[int]:
    stages = resolve_stages(backbone, layers)
    everything = range(len(layers))
    if unfreeze_from is not None:
        if unfreeze_from in stages:
            return set(everything[stages[unfreeze_from].start :])
        names = [layer.name for layer in layers]
        if unfreeze_from in names:
            return set(everything[names.index(unfreeze_from) :])
        raise _unknown("unfreeze_from", unfreeze_from, backbone, stages, names)
    if unfreeze == "all":
        return set(everything)
    if isinstance(unfreeze, tuple):
        for stage in unfreeze:
            if stage not in stages:
                raise _unknown("unfreeze", stage, backbone, stages, [])
        return {index for stage in unfreeze for index in stages[stage]}
    with_weights = [index for index in everything if layers[index].weights]
    if unfreeze > len(with_weights):
        raise InputError(
            f"unfreeze: received {unfreeze}, but {backbone.name} has {len(with_weights)} layers with weights. "
            f'Give at most that many, or "all".'
        )
    # Everything from the n-th last layer with weights on: the layers between them have nothing to learn.
    return set(everything[with_weights[-unfreeze] :]) if unfreeze else set()


def _unknown(argument, received, backbone, stages, names) -> InputError:
    near = get_close_matches(received, [*stages, *names], n=3)
    return InputError(
        f"{argument}: {backbone.name} has no {received!r}; its stages are {', '.join(stages)}"
        + (", or give a layer name" if names else "")
        + (f". Near: {', '.join(near)}." if near else ".")
    )
