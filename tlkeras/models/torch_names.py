"""Copies the tensors of a PyTorch weights file into a Keras network whose layers have the names of its modules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.errors import InputError
from tlkeras.models.backbones import backbone_layers
from tlkeras.models.torch_file import read_torch_file

if TYPE_CHECKING:
    import keras
    import numpy as np

# {Keras' name of a weight: PyTorch's}
_TORCH_WEIGHTS = {
    **{"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"},
    **{"moving_mean": "running_mean", "moving_variance": "running_var"},
}
_LISTED = 3  # names that a message lists of each kind


def copy_torch(path: Path, model: keras.Model) -> None:
    """Copies the weights of a PyTorch network whose modules have the names of the model's layers.

    Its classifier "fc" and the batches that BatchNorm counted are left out. "module.", which DataParallel puts in front
    of every name, is taken off.

    Raises:
        InputError: the file cannot be read, or holds another network.
    """
    arrays = read_torch_file(path)
    prefix = "module." if all(name.startswith("module.") for name in arrays) else ""
    given = {}
    for name, array in arrays.items():
        module, _, weight = name.removeprefix(prefix).rpartition(".")
        if module.split(".")[0] != "fc" and weight != "num_batches_tracked":
            given[f"{module.replace('.', '_')}.{weight}"] = _as_keras(array)
    wanted = {
        f"{layer.name}.{_TORCH_WEIGHTS.get(variable.name, variable.name)}": variable
        for layer in backbone_layers(model)
        for variable in layer.weights
    }
    shapes = {name: tuple(wanted[name].shape) for name in wanted if name in given}
    faults = {
        "lacks": [name for name in wanted if name not in given],
        "holds besides": [name for name in given if name not in wanted],
        "holds in another shape": [
            f"{name}, {given[name].shape} for {shape}" for name, shape in shapes.items() if given[name].shape != shape
        ],
    }
    if any(faults.values()):
        said = "; ".join(
            f"it {verb} {', '.join(names[:_LISTED])}" + (f" and {len(names) - _LISTED} more" * (len(names) > _LISTED))
            for verb, names in faults.items()
            if names
        )
        raise InputError(
            f"weights: {path} holds another network than {model.name}: {said}. Give a PyTorch state dict of "
            f"{model.name}, with or without its classifier fc."
        )
    for name, variable in wanted.items():
        variable.assign(given[name])


def _as_keras(array: np.ndarray) -> np.ndarray:
    """A convolution's (out, in, h, w) as (h, w, in, out), a linear layer's (out, in) as (in, out)."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
