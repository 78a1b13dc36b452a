"""A network's layers: by name, and their weights."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import numpy as np

from tlkeras.backend import keras
from tlkeras.errors import InputError
from tlkeras.models.backbones import backbone_layers


def copy_weights(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Gives `target`, a layer or model of the same shapes, the weights of `source`.

    `set_weights` alone leaves a Normalization (EfficientNet's) with the mean and variance that it was built with.
    """
    target.set_weights(source.get_weights())
    settle(target)


def settle(outer: keras.layers.Layer) -> None:
    """Brings what a layer, and those it holds, works out of its weights into line with them: the scaling of a
    Normalization, the position embeddings of keras-hub's DINOv2 at this image size."""
    for layer in outer._flatten_layers():  # Keras has no public way to them
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
        elif hasattr(layer, "interpolated_position_embeddings"):
            variables = layer._trainable_variables + layer._non_trainable_variables
            layer.load_own_variables({str(number): np.asarray(each) for number, each in enumerate(variables)})


def functional_model(classifier: object) -> keras.Model:
    """The classifier's network.

    Raises:
        InputError: it has none whose layers can be looked at.
    """
    model = getattr(classifier, "model", None)
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise InputError(
            f"classifier: received {type(classifier).__name__}, whose `.model` is not a functional keras.Model to look "
            "into; accepted is a TunedClassifier. tl.explain works with every classifier."
        )
    return model


def find_layer(model: keras.Model, name: str | None) -> keras.layers.Layer:
    """The layer of that name, whose output is (B, h, w, channels); None takes the last one before the head that has
    more than one position.

    Raises:
        InputError: no such layer, with names that are near and those to take.
    """
    if name is None:
        mapped = with_positions(backbone_layers(model))
        # Of a small image the last layers may have a single position left, which shows nothing.
        chosen = next(
            (layer for layer in reversed(mapped) if layer.output.shape[1:3] != (1, 1)), (mapped or [None])[-1]
        )
        behind = model.layers if chosen is None else model.layers[model.layers.index(chosen) :]
        nested = [layer.name for layer in behind if isinstance(layer, keras.Model)]
        if nested or chosen is None:
            found = f"its layer {nested[0]} is a model of its own" if nested else "none of its layers has one"
            raise InputError(
                "classifier: what is looked for is the last output (B, h, w, channels) before the head of its model, "
                f"but {found}. Build it flat, as tl.build_classifier does, or name a layer."
            )
        return chosen
    layer = named_layer(model, name)
    if not with_positions([layer]):
        received = "a model of its own" if isinstance(layer, keras.Model) else type(layer).__name__
        raise InputError(
            f"layer: {name} ({received}) has no output (B, h, w, channels), which is what can be shown on an image. "
            f"{suggestions(model)}"
        )
    return layer


def named_layer(model: keras.Model, name: str) -> keras.layers.Layer:
    """The layer of that name.

    Raises:
        InputError: no such layer, with names that are near and those to take.
    """
    layers = {layer.name: layer for layer in model.layers}
    if name not in layers:
        near = get_close_matches(str(name), layers, n=3)
        raise InputError(
            f"layer: received {name!r}, which the model does not have."
            + (f" Near: {', '.join(near)}." if near else "")
            + f" {suggestions(model)}"
        )
    return layers[name]


def with_positions(layers: Iterable[keras.layers.Layer]) -> list[keras.layers.Layer]:
    """Those of the layers whose output is (B, h, w, channels)."""
    # The output of a nested model lies in its own graph, which no path joins to the model's input.
    return [
        layer
        for layer in layers
        if not isinstance(layer, keras.Model)
        and isinstance(layer.output, keras.KerasTensor)
        and len(layer.output.shape) == 4
    ]


def suggestions(model: keras.Model) -> str:
    """The last layer of each size of map, for an error message."""
    last = {
        layer.output.shape[1:3]: layer.name
        for layer in with_positions(backbone_layers(model))
        if not isinstance(layer, keras.layers.ZeroPadding2D) and layer.output.shape[1:3] != (1, 1)
    }
    if not last and any(isinstance(layer, keras.Model) for layer in model.layers):
        return "Its layers are networks of their own, as those of an average: ask one of its members."
    if not last:
        return "At this image size no layer has positions; take larger images."
    sized = (f"{name} ({height}x{width})" for (height, width), name in reversed(last.items()))
    return f"The last layer of each size: {', '.join(sized)}."
