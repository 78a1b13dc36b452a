"""What a network computes, as a hash: two networks with the same one give the same features for the same pixels."""

from __future__ import annotations

import hashlib
import inspect
import json
import os

import numpy as np

from tlkeras.backend import keras

# What a layer's configuration says about training and about first weights does not change what it computes.
_WITHOUT_EFFECT = ("name", "trainable", "build_config", "compile_config", "seed")
_WITHOUT_EFFECT_ENDINGS = ("_initializer", "_regularizer", "_constraint")
_KNOWN_BY_VERSION = ("keras.", "tensorflow.", "builtins")


def identity_of(model: keras.Model) -> str:
    """The sha256, in hexadecimal, of a functional model's graph, precision and weights.

    Layer names do not enter, for Keras makes some of them up anew in every build. Keras' version does, and the source
    of layers and functions that are not Keras' own; where Python cannot find it, no two identities are equal. What such
    code calls in its turn does not enter.
    """
    config = json.loads(model.to_json())
    digest = hashlib.sha256(json.dumps(_bare(config), sort_keys=True).encode())
    for layer in model._flatten_layers():
        functions = [value for value in vars(layer).values() if inspect.isfunction(value)]
        for code in (*type(layer).__mro__, *functions):
            if not code.__module__.startswith(_KNOWN_BY_VERSION):
                digest.update(_source(code))
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight)
        digest.update(f"{weight.name} {value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _source(code) -> bytes:
    try:
        return inspect.getsource(code).encode()
    except (OSError, TypeError):  # typed at a prompt
        return os.urandom(32)


def _bare(value):
    """A configuration without what has no effect, the layers of each functional model under their numbers."""
    if isinstance(value, list):
        return [_bare(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if str(value.get("class_name")).endswith("DTypePolicy"):  # whose name is what counts
        return value
    if {"layers", "input_layers"} <= value.keys():
        numbers = {layer["name"]: number for number, layer in enumerate(value["layers"])}
        layers = [{**layer, "inbound_nodes": _numbered(layer["inbound_nodes"], numbers)} for layer in value["layers"]]
        ends = {end: _numbered(value[end], numbers) for end in ("input_layers", "output_layers")}
        value = {**value, "layers": layers, **ends}
    return {
        key: _bare(inner)
        for key, inner in value.items()
        if key not in _WITHOUT_EFFECT and not key.endswith(_WITHOUT_EFFECT_ENDINGS)
    }


def _numbered(value, numbers: dict[str, int]):
    """With the layer's number for its name wherever a tensor is told by [layer, node, place]."""
    if isinstance(value, dict):
        return {key: _numbered(inner, numbers) for key, inner in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) == 3 and isinstance(value[0], str) and value[0] in numbers:
        return [numbers[value[0]], *value[1:]]
    return [_numbered(inner, numbers) for inner in value]
