"""Where a network can be cut: nothing before the cut learns, so that part runs once per image, not once per epoch."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import dataclass

from tlkeras.backend import keras
from tlkeras.errors import InputError
from tlkeras.models.backbones import HUB
from tlkeras.models.freezing import noise_of


@dataclass(frozen=True, eq=False)
class Cut:
    """A model in two parts, whose layers are the model's own.

    Attributes:
        layer: the name of the layer (or operation) whose output lies between the two.
        trunk: from the model's input to the cut; nothing in it learns or behaves differently in training.
        tail: from the cut to the model's output.
    """

    layer: str
    trunk: keras.Model
    tail: keras.Model


def cut(model: keras.Model) -> Cut | None:
    """Cuts at the deepest tensor that every path from input to output passes and that training leaves as it is.

    Such a tensor dominates the output (Lengauer & Tarjan 1979, ACM TOPLAS 1(1)): with it known, nothing before it
    needs to be computed. What training leaves as it is follows from the layers' `trainable` flags, see `set_trainable`:
    a layer with trainable weights, a BatchNorm that updates, dropout and noise that are on end the trunk.

    Args:
        model: one input, one output; its layers in one flat graph.

    Returns:
        Trunk and tail, `tail(trunk(x))` equal to `model(x)`; or None where no layer with weights lies before the
        deepest such tensor, so that there is nothing to gain.

    Raises:
        InputError: a model with several inputs or outputs.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"{model.name}: received {len(model.inputs)} inputs and {len(model.outputs)} outputs; accepted is a model "
            "with one of each."
        )
    pixels, probs = model.inputs[0], model.outputs[0]
    order = _in_order(pixels, probs)
    still, weighted = {id(pixels): True}, {id(pixels): False}
    for tensor in order[1:]:
        operation, sources = _made_by(tensor)
        still[id(tensor)] = _is_still(operation) and all(still[id(source)] for source in sources)
        weighted[id(tensor)] = bool(getattr(operation, "weights", ())) or any(weighted[id(s)] for s in sources)
    passed_by_all = _passed_by_all(order)
    # Keras can begin no model behind a layer that the model calls a second time.
    calls = Counter(id(_made_by(tensor)[0]) for tensor in order[1:])
    found = [
        tensor
        for tensor in order[1:-1]
        if id(tensor) in passed_by_all
        and still[id(tensor)]
        and weighted[id(tensor)]
        and calls[id(_made_by(tensor)[0])] == 1
    ]
    if not found:
        return None
    return Cut(
        layer=_made_by(found[-1])[0].name,
        trunk=keras.Model(pixels, found[-1], name=f"{model.name}_trunk"),
        tail=keras.Model(found[-1], probs, name=f"{model.name}_tail"),
    )


def _in_order(pixels: keras.KerasTensor, probs: keras.KerasTensor) -> list[keras.KerasTensor]:
    """Every tensor from `pixels` to `probs`, each after those it is made from."""
    order, seen, waiting = [], set(), [(probs, False)]
    while waiting:
        tensor, sources_are_in = waiting.pop()
        if sources_are_in:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            waiting.append((tensor, True))
            if tensor is not pixels:
                waiting.extend((source, False) for source in _made_by(tensor)[1])
    # A constant branch may come before the pixels.
    return [pixels, *(tensor for tensor in order if tensor is not pixels)]


def _made_by(tensor: keras.KerasTensor) -> tuple[keras.Operation, list[keras.KerasTensor]]:
    """The operation that makes `tensor`, and what from. Keras offers no public way from a tensor to its node."""
    operation, node_index, _ = tensor._keras_history
    return operation, operation._inbound_nodes[node_index].input_tensors


def _passed_by_all(order: list[keras.KerasTensor]) -> set[int]:
    """The ids of those tensors that lie on every path from the first to the last: counting paths tells which."""
    from_input, to_output = dict.fromkeys(map(id, order), 0), dict.fromkeys(map(id, order), 0)
    from_input[id(order[0])] = to_output[id(order[-1])] = 1
    for tensor in order[1:]:
        from_input[id(tensor)] = sum(from_input[id(source)] for source in _made_by(tensor)[1])
    for tensor in reversed(order[1:]):
        for source in _made_by(tensor)[1]:
            to_output[id(source)] += to_output[id(tensor)]
    paths = from_input[id(order[-1])]
    return {id(t) for t in order if from_input[id(t)] * to_output[id(t)] == paths}


def _is_still(operation: keras.Operation) -> bool:
    """Whether an operation gives the same in training as in prediction, and goes on doing so."""
    if not isinstance(operation, keras.layers.Layer):
        return True  # arithmetic on tensors
    # A layer of one's own may hold others, and Keras tells those of training whether or not its `call` passes it on.
    return all(_is_still_alone(layer) for layer in operation._flatten_layers())


def _is_still_alone(layer: keras.layers.Layer) -> bool:
    if any(variable.trainable for variable in layer._trainable_variables) and layer.trainable:
        return False
    if isinstance(layer, keras.layers.BatchNormalization):
        return not layer.trainable
    noise = noise_of(layer)
    if noise is not None:
        return getattr(layer, noise) == 0  # of a frozen layer, see `set_trainable`
    if isinstance(layer, keras.layers.Dense | keras.layers.EinsumDense):
        return layer.quantization_mode is None  # they are told of training, and it changes nothing else
    if isinstance(layer, keras.layers.MultiHeadAttention) or type(layer).__module__.startswith(HUB):
        return True  # they hand it on to layers of their own
    hands_on = isinstance(layer, keras.Model) and type(layer).call.__module__.startswith("keras.")
    return hands_on or "training" not in inspect.signature(layer.call).parameters
