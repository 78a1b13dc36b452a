"""How many numbers each layer of a network makes of one image, found before any of them is made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from tlkeras.backend import keras
from tlkeras.errors import InputError

OPEN_SIDE = 512  # in place of a side that the network leaves to its images


def output_sizes(model: object) -> Iterator[tuple[str, int]]:
    """(name, numbers for one image) of all layers and operations, those inside models and pipelines too, and of what
    attention makes on its way.

    The layers are called, with shapes in place of images, so the model is not to be used afterwards.

    Raises:
        InputError: a layer of Keras holds others, where what these make cannot be seen.
    """
    inputs = keras.tree.flatten(getattr(model, "inputs", None) or [])
    if inputs:
        yield from _inside(model, [_of_one_image(tensor) for tensor in inputs])


def _of_one_image(tensor: keras.KerasTensor) -> keras.KerasTensor:
    sides = (OPEN_SIDE if side is None else side for side in tensor.shape[1:])
    return keras.KerasTensor((1, *sides), dtype=tensor.dtype)


def _inside(operation: Any, inputs: Sequence[keras.KerasTensor]) -> Iterator[tuple[str, int]]:
    """What an operation that is given `inputs` makes before its own output; nothing of a plain one."""
    if isinstance(operation, keras.Sequential | keras.layers.Pipeline):
        (tensor,) = inputs
        for layer in operation.layers:
            yield from _inside(layer, [tensor])
            tensor = layer(tensor)
            yield from _sizes(layer, tensor)
    elif isinstance(operation, keras.Model):
        yield from _inside_graph(operation, inputs)
    elif isinstance(operation, keras.layers.MultiHeadAttention | keras.layers.GroupQueryAttention):
        heads = operation.num_heads if hasattr(operation, "num_heads") else operation.num_query_heads
        yield operation.name, heads * _positions(inputs[0]) * _positions(inputs[-1])
    elif isinstance(operation, keras.layers.Attention):
        depth = inputs[0].shape[-1] if isinstance(operation, keras.layers.AdditiveAttention) else 1
        yield operation.name, depth * _positions(inputs[0]) * _positions(inputs[-1])
    elif isinstance(operation, keras.layers.Layer) and _is_of_keras(operation):
        hiding = [held.name for held in _held(operation) if isinstance(held, keras.Model) or _held(held)]
        if hiding:
            raise InputError(
                f"its layer {operation.name} ({type(operation).__name__}) holds {', '.join(hiding[:3])}, which hold "
                "layers themselves, and what these make of an image cannot be seen before they run. Put these layers "
                "into the network itself, and save it again"
            )


def _inside_graph(model: keras.Model, inputs: Sequence[keras.KerasTensor]) -> Iterator[tuple[str, int]]:
    if not hasattr(model, "operations"):  # a class of someone's own, whose code is not the file's
        return
    made: dict[int, keras.KerasTensor] = dict(zip(map(id, model.inputs), inputs, strict=True))
    same = all(given.shape[1:] == known.shape[1:] for given, known in zip(inputs, model.inputs, strict=True))
    for node in _calls(model):
        if same:
            tensors, outputs = node.input_tensors, node.outputs
        else:
            args, kwargs = node.arguments.fill_in(made)
            tensors = [made[id(tensor)] for tensor in node.input_tensors]
            outputs = keras.tree.flatten(node.operation(*args, **kwargs))
            made.update(zip(map(id, node.outputs), outputs, strict=True))
        yield from _inside(node.operation, tensors)
        yield from _sizes(node.operation, outputs)


def _calls(model: keras.Model) -> list:
    """The calls (nodes) that the model consists of, each behind those whose outputs it takes."""
    calls = [node for operation in model.operations for node in operation._inbound_nodes if not node.is_input]
    known, ordered = {id(tensor) for tensor in model.inputs}, []
    while calls:
        waiting = []
        for node in calls:
            if all(id(tensor) in known for tensor in node.input_tensors):
                known |= {id(tensor) for tensor in node.outputs}
                ordered.append(node)
            else:
                waiting.append(node)
        if len(waiting) == len(calls):  # calls in other models
            break
        calls = waiting
    return ordered


def _sizes(operation: keras.Operation, outputs: object) -> Iterator[tuple[str, int]]:
    for tensor in keras.tree.flatten(outputs):
        if isinstance(tensor, keras.KerasTensor):
            yield operation.name, math.prod(side or 1 for side in tensor.shape[1:])


def _positions(tensor: keras.KerasTensor) -> int:
    return math.prod(side or 1 for side in tensor.shape[1:-1])


def _held(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers inside a layer. Cells of a recurrent one do not count: their outputs are no larger than its own."""
    if isinstance(layer, keras.layers.RNN | keras.layers.StackedRNNCells):
        return []
    return list(layer._flatten_layers(include_self=False, recursive=False))


def _is_of_keras(layer: keras.layers.Layer) -> bool:
    return type(layer).__module__.split(".")[0] == "keras"
