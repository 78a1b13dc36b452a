"""Where weights come from: a folder, Keras' cache, a download with checked hash, a path, an earlier run."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from tlkeras.files import atomic_write, read_json, sha256_of
from tlkeras.models.backbones import Backbone, PublishedWeights, backbone_layers, get_backbone
from tlkeras.models.model_file import read_model
from tlkeras.schema import InputError, MissingInputError

if TYPE_CHECKING:
    import keras
    import numpy as np

FOLDER_VARIABLE = "TLKERAS_WEIGHTS"
SUFFIXES = (".h5", ".hdf5", ".keras")
TORCH_SUFFIXES = (".pth", ".pt", ".safetensors")
# {Keras' name of a weight: PyTorch's}
_TORCH_WEIGHTS = {
    **{"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"},
    **{"moving_mean": "running_mean", "moving_variance": "running_var"},
}
_LISTED = 3  # names that a message lists of each kind
_FOLDED_NOTE = "BatchNorm is folded into the kernels: equal to the published network only while BatchNorm is frozen"


@dataclass(frozen=True)
class WeightsFile:
    """A file that holds a backbone's weights, and how far to trust it.

    Attributes:
        path: where it lies.
        sha256: of its bytes.
        source: "folder", "cache", "download", "path" or "run".
        published_hash: what is published of its hash, and true of the file: Keras' md5, or how PyTorch's sha256 begins;
            None where nothing is.
        note: what the reader of a result has to know; empty where there is nothing.
        batch_norm_folded: equal to the published network only while BatchNorm is frozen.
    """

    path: Path
    sha256: str
    source: str
    published_hash: str | None = None
    note: str = ""
    batch_norm_folded: bool = False

    def describe(self) -> dict:
        """What a saved classifier and a run folder keep of it: everything but the folder it lay in."""
        return asdict(self) | {"path": self.path.name}


def find_weights(
    backbone: str | Backbone,
    weights: str | os.PathLike | WeightsFile | None,
    *,
    folder: str | os.PathLike | None = None,
) -> WeightsFile | None:
    """The weights file that `weights` stands for.

    Args:
        backbone: whose weights.
        weights: None for random ones; "imagenet" for the file trained at 224 pixels (299 for InceptionV3 and Xception);
            the path of a .h5 or .weights.h5 file of the network without its classifier; the path of a .keras model, or
            of a folder that holds model.keras, whose backbone layers are taken; for a backbone with `torch_names` the
            path of PyTorch's .pth, .pt or .safetensors. A WeightsFile is returned as it is.
        folder: searched first for "imagenet"; by default the folder that the variable TLKERAS_WEIGHTS names. Keras'
            cache comes next, then the download into it.

    Raises:
        MissingInputError: a path or folder that is not there.
        InputError: a file with another hash than the published one, or one that has to be fetched by hand.
    """
    backbone = get_backbone(backbone)
    if weights is None or isinstance(weights, WeightsFile):
        return weights
    if not isinstance(weights, str | os.PathLike):
        raise InputError(
            f'weights: received {weights!r}; accepted: "imagenet", None, or a path, such as the folder of an earlier '
            "run's cell."
        )
    if weights != "imagenet":
        return _from_path(backbone, Path(weights).expanduser())
    if not backbone.weights:
        raise InputError(f"weights: no ImageNet file is known for {backbone.name}; give the path of one, or None.")
    folder = folder or os.environ.get(FOLDER_VARIABLE) or None
    if folder is not None and not Path(folder).expanduser().is_dir():
        raise MissingInputError(f"weights folder: there is no folder {folder}. Give one that exists, or none.")
    places = [("cache", _cache())] if folder is None else [("folder", Path(folder).expanduser()), ("cache", _cache())]
    for source, place in places:
        for published in backbone.weights:
            if (place / published.file).is_file():
                return _checked(place / published.file, published, source)
    official = backbone.weights[0]
    if official.url is None:
        raise MissingInputError(
            f"weights: there is no {official.file} in {' or '.join(str(place) for _, place in places)}, and no address "
            "to download it from. Put it there."
        )
    return _checked(_download(official, backbone), official, "download")


def load_weights(model: keras.Model, weights: WeightsFile) -> None:
    """Loads `weights` into a freshly built backbone; preprocessing layers in front of it do not matter.

    Nothing in the file is executed: .keras models are read in Keras' safe mode, of .h5 files and PyTorch's only the
    arrays.

    Raises:
        InputError: the file cannot be read, or holds another network.
    """
    try:
        if weights.path.suffix == ".keras":
            _copy_backbone(weights.path, model)
        elif weights.path.suffix in TORCH_SUFFIXES:
            _copy_torch(weights.path, model)
        else:
            model.load_weights(weights.path)
    except InputError:
        raise
    # What Keras, h5py and zipfile raise for a cut file, a foreign one, or another network's.
    except (ValueError, TypeError, KeyError, OSError, BadZipFile) as error:
        raise InputError(
            f"weights: {weights.path} does not load into {model.name}: {error} Give a file of this network without its "
            "classifier."
        ) from error


def _from_path(backbone: Backbone, path: Path) -> WeightsFile:
    folded = any(published.batch_norm_folded for published in backbone.weights if published.file == path.name)
    source = "path"
    if path.is_dir():
        path, source = path / "model.keras", "run"
        card = path.with_name("classifier.json")
        folded = card.is_file() and _says_folded(read_json(card))
    if not path.is_file():
        raise MissingInputError(
            f'weights: there is no file {path}; accepted: "imagenet", None, a .h5 or .weights.h5 file of '
            f"{backbone.name} without its classifier, {'a file of PyTorch, ' * backbone.torch_names}a .keras model, or "
            "a folder that holds model.keras."
        )
    if path.suffix not in SUFFIXES + TORCH_SUFFIXES * backbone.torch_names:
        raise InputError(
            f"weights: received {path}; accepted for {backbone.name} are files that end in .h5, .weights.h5 or .keras"
            + (f", and PyTorch's, in {', '.join(TORCH_SUFFIXES)}." if backbone.torch_names else ".")
        )
    return WeightsFile(
        path=path,
        sha256=sha256_of(path),
        source=source,
        note=_FOLDED_NOTE if folded else "",
        batch_norm_folded=folded,
    )


def _says_folded(card: object) -> bool:
    weights = card.get("weights") if isinstance(card, dict) else None
    return isinstance(weights, dict) and bool(weights.get("batch_norm_folded"))


def _checked(path: Path, published: PublishedWeights, source: str) -> WeightsFile:
    fault = _fault_of_hash(path, published)
    if fault:
        raise InputError(
            f"weights: {path} is damaged or another file: {fault}. Remove it; it can be fetched from {published.url}."
        )
    sha256, published_hash = sha256_of(path), published.md5 or published.sha256_prefix
    notes = [_FOLDED_NOTE] if published.batch_norm_folded else []
    if published_hash is None:
        notes.append(f"no hash is published for this file; its sha256 is {sha256}")
    return WeightsFile(
        path=path,
        sha256=sha256,
        source=source,
        published_hash=published_hash,
        note="; ".join(notes),
        batch_norm_folded=published.batch_norm_folded,
    )


def _fault_of_hash(path: Path, published: PublishedWeights) -> str:
    """How the file's hash differs from the published one, in words; empty where it does not."""
    if published.md5 is not None:
        with open(path, "rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
        if md5 != published.md5:
            return f"its md5 is {md5}, the published one {published.md5}"
    if published.sha256_prefix is not None:
        sha256 = sha256_of(path)
        if not sha256.startswith(published.sha256_prefix):
            return f"its sha256 is {sha256}, the published one begins with {published.sha256_prefix}"
    return ""


def _cache() -> Path:
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"


def _download(published: PublishedWeights, backbone: Backbone) -> Path:
    import keras

    path = _cache() / published.file
    try:
        # get_file writes in place: where no hash is published, the rest of a killed download would pass for the file.
        # It compares whole hashes alone, so they are checked here.
        with atomic_write(path) as temporary:
            keras.utils.get_file(
                temporary.name,
                origin=published.url,
                cache_subdir=str(temporary.parent.absolute()),
                force_download=True,
            )
            fault = _fault_of_hash(temporary, published)
            if fault:
                raise InputError(f"what came is damaged or another file: {fault}")
    except Exception as error:  # get_file raises no narrower type where there is no network
        known = "Keras publishes no hash for it; its sha256 is recorded"
        if published.md5:
            known = f"its md5 is {published.md5}"
        elif published.sha256_prefix:
            known = f"its sha256 begins with {published.sha256_prefix}"
        raise InputError(
            f"weights: the ImageNet file of {backbone.name} is not here and could not be downloaded ({error}).\n"
            f"Fetch {published.url} where there is a network ({known})\n"
            f"and put {published.file} into {path.parent}, or into the folder that --weights or {FOLDER_VARIABLE} "
            "names. Random weights are weights=None."
        ) from None  # its four links say no more
    return path


def _copy_backbone(path: Path, model: keras.Model) -> None:
    source = read_model(path)
    given, wanted = ([layer for layer in backbone_layers(each) if layer.weights] for each in (source, model))
    shapes = [[[tuple(weight.shape) for weight in layer.weights] for layer in layers] for layers in (given, wanted)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"weights: {path} holds another backbone ({source.name}, {len(given)} layers with weights) than "
            f"{model.name} ({len(wanted)}). Give a model that was built with the same backbone."
        )
    for from_layer, to_layer in zip(given, wanted, strict=True):
        to_layer.set_weights(from_layer.get_weights())


def _as_keras(array: np.ndarray) -> np.ndarray:
    """A convolution's (out, in, h, w) as (h, w, in, out), a linear layer's (out, in) as (in, out)."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def _copy_torch(path: Path, model: keras.Model) -> None:
    """Copies the weights of a PyTorch network whose modules have the names of the model's layers.

    Its classifier "fc" and the batches that BatchNorm counted are left out. "module.", which DataParallel puts in front
    of every name, is taken off.
    """
    from tlkeras.models.torch_file import read_torch_file

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
