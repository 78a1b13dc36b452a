"""Where weights come from: a folder, Keras' cache, a download with checked hash, a path, an earlier run."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from tlkeras.errors import InputError, MissingInputError
from tlkeras.files import atomic_write, sha256_of
from tlkeras.machine import keras_home
from tlkeras.models.backbones import Backbone, PublishedWeights, backbone_layers
from tlkeras.models.hub import HubNetwork
from tlkeras.models.model_file import read_model, reading, require_local
from tlkeras.models.saved import MODEL, card_beside, warn_of_change
from tlkeras.models.weights_file import SAME_VALUES, WeightsFile
from tlkeras.models.zoo import IMAGENET_VALUES, get_backbone

if TYPE_CHECKING:
    import keras

FOLDER_VARIABLE = "TLKERAS_WEIGHTS"
SUFFIXES = (".h5", ".hdf5", ".keras")
TORCH_SUFFIXES = (".pth", ".pt", ".safetensors")
_FOLDED_NOTE = "BatchNorm is folded into the kernels: equal to the published network only while BatchNorm is frozen"


@overload
def find_weights(
    backbone: str | Backbone, weights: str | os.PathLike | WeightsFile, *, folder: str | os.PathLike | None = None
) -> WeightsFile: ...
@overload
def find_weights(
    backbone: str | Backbone, weights: object, *, folder: str | os.PathLike | None = None
) -> WeightsFile | None: ...
def find_weights(
    backbone: str | Backbone, weights: object, *, folder: str | os.PathLike | None = None
) -> WeightsFile | None:
    """The weights file that `weights` stands for.

    Args:
        backbone: whose weights.
        weights: None for random ones; "imagenet" for the file trained at 224 pixels (299 for InceptionV3 and Xception);
            the path of a .h5 or .weights.h5 file of the network without its classifier; the path of a .keras model, or
            of a folder that holds model.keras, whose backbone layers are taken; for a backbone with `torch_names` the
            path of PyTorch's .pth, .pt or .safetensors. A WeightsFile is returned as it is.
        folder: searched first for "imagenet"; by default the folder that the variable TLKERAS_WEIGHTS names. Keras'
            cache comes next, then the download into it. Beside the published file, one whose name begins with the
            backbone's is taken there if it holds ImageNet's values (`zoo.IMAGENET_VALUES`); any other only by its path.

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
        require_local(weights)
        return _from_path(backbone, Path(weights).expanduser())
    if not backbone.weights:
        raise InputError(f"weights: no ImageNet file is known for {backbone.name}; give the path of one, or None.")
    here, others = look_for_imagenet(backbone, folder=folder)
    if here is not None:
        return here
    official = backbone.weights[0]
    if official.url is None:
        raise MissingInputError(
            f"weights: there is no {official.file} in {' or '.join(map(str, searched(folder).values()))}, and no "
            "address to download it from. Put it there"
            + (", or call tl.Backbone.from_hub again." if isinstance(backbone.constructor, HubNetwork) else ".")
        )
    try:
        return _checked(_download(official, backbone), official, "download")
    except InputError as error:
        if not others:
            raise
        named = ", ".join(map(str, others))
        raise InputError(
            f"{error}\n{named}: other values than ImageNet's; name a file by its path to take it."
        ) from None


def searched(folder: str | os.PathLike | None = None) -> dict[str, Path]:
    """Where ImageNet's files are looked for, in this order: {"folder" or "cache": the place}.

    Raises:
        MissingInputError: there is no such folder.
    """
    folder = folder or os.environ.get(FOLDER_VARIABLE) or None
    if folder is not None and not Path(folder).expanduser().is_dir():
        raise MissingInputError(f"weights folder: there is no folder {folder}. Give one that exists, or none.")
    own = {} if folder is None else {"folder": Path(folder).expanduser()}
    return own | {"cache": keras_home() / "models"}


def look_for_imagenet(
    backbone: str | Backbone, *, folder: str | os.PathLike | None = None
) -> tuple[WeightsFile | None, list[Path]]:
    """What "imagenet" stands for where nothing is downloaded, None where it is not here; and the files that are named
    for the backbone and hold other values.

    Raises:
        MissingInputError: there is no such folder.
        InputError: a file with another hash than the published one.
    """
    backbone, places, others = get_backbone(backbone), searched(folder), []
    for source, place in places.items():
        for published in backbone.weights:
            if (place / published.file).is_file():
                return _checked(place / published.file, published, source), []
    for source, place in places.items():
        equal, different = _by_values(backbone, place)
        if equal is not None:
            return replace(equal, source=source), others
        others += different
    return None, others


def load_weights(model: keras.Model, weights: WeightsFile) -> None:
    """Loads `weights` into a freshly built backbone; preprocessing layers in front of it do not matter.

    Nothing in the file is executed: .keras models are read in Keras' safe mode, of .h5 files and PyTorch's only the
    arrays, and no other file is read, whatever they point at.

    Raises:
        InputError: the file cannot be read, holds another network, or has changed since it was found.

    Warns:
        UserWarning: an earlier run's model answers otherwise here than where it was saved.
    """
    weights.require_unchanged()
    try:
        if weights.path.suffix == ".keras":
            _copy_backbone(weights, model)
        elif weights.path.suffix in TORCH_SUFFIXES:
            from tlkeras.models.torch_names import copy_torch

            copy_torch(weights.path, model)
        else:
            from tlkeras.models.h5_file import count_numbers

            count_numbers(weights.path, weights.path)
            layers = [layer for layer in backbone_layers(model) if layer.weights]
            inside = len(layers) == 1 and hasattr(
                layers[0], "load_weights"
            )  # keras-hub's networks are one layer of ours
            (layers[0] if inside else model).load_weights(weights.path)
    except InputError:
        raise
    except Exception as error:  # what Keras and h5py raise for a cut file or another network's has no common type
        raise InputError(
            f"weights: {weights.path} does not load into {model.name}: {error} Give a file of this network without its "
            "classifier."
        ) from error


def read_whole(weights: WeightsFile) -> keras.Model:
    """The whole model of a .keras file, head and all; see `read_model`.

    Raises:
        InputError: the file cannot be read, or has changed since it was found.

    Warns:
        UserWarning: an earlier run's model answers otherwise here than where it was saved.
    """
    weights.require_unchanged()
    model = read_model(weights.path)
    card = card_beside(weights.path, weights.sha256) if weights.source == "run" else None
    if card is not None:
        warn_of_change(model, card, weights.path.parent)
    return model


def _by_values(backbone: Backbone, place: Path) -> tuple[WeightsFile | None, list[Path]]:
    """The first file of `place` named for the backbone that holds ImageNet's values, and those that hold others."""
    wanted, others = IMAGENET_VALUES.get(backbone.name), []
    if wanted is None:
        return None, []
    for path in sorted(place.glob(f"{backbone.name}*")):
        if path.suffix in SUFFIXES and path.is_file():
            found = _from_path(backbone, path)
            if _values_sha256(backbone.name, found) == wanted:
                return replace(found, note=f"{SAME_VALUES}, whose sha256 is {wanted}"), others
            others.append(path)
    return None, others


@cache
def _values_sha256(name: str, weights: WeightsFile) -> str | None:
    """Of all arrays in layer order, as little-endian float32; None where they are another network's."""
    from tlkeras.backend import keras

    backbone = get_backbone(name)
    pixels = keras.Input((backbone.min_size, backbone.min_size, 3))
    body = keras.Model(pixels, backbone.build(pixels))
    try:
        load_weights(body, weights)
    except InputError:
        return None
    digest = hashlib.sha256()
    for layer in backbone_layers(body):
        for array in layer.get_weights():
            digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()


def _from_path(backbone: Backbone, path: Path) -> WeightsFile:
    folded = any(published.batch_norm_folded for published in backbone.weights if published.file == path.name)
    source = "path"
    if path.is_dir():
        path, source = path / MODEL, "run"
    require_local(path)
    if not path.is_file():
        raise MissingInputError(
            f'weights: there is no file {path}; accepted: "imagenet", None, a .h5 or .weights.h5 file of '
            f"{backbone.name} without its classifier, {'a file of PyTorch, ' * backbone.torch_names}a .keras model, or "
            f"a folder that holds {MODEL}."
        )
    if path.suffix not in SUFFIXES + TORCH_SUFFIXES * backbone.torch_names:
        raise InputError(
            f"weights: received {path}; accepted for {backbone.name} are files that end in .h5, .weights.h5 or .keras"
            + (f", and PyTorch's, in {', '.join(TORCH_SUFFIXES)}." if backbone.torch_names else ".")
        )
    with reading(path):
        sha256 = sha256_of(path)
    if source == "run":
        card = card_beside(path, sha256)
        folded = card is not None and card.weights is not None and card.weights.batch_norm_folded
    return WeightsFile(
        path=path,
        sha256=sha256,
        source=source,
        note=_FOLDED_NOTE if folded else "",
        batch_norm_folded=folded,
    )


def _hash_of(path: Path) -> str:
    with reading(path):
        return sha256_of(path)


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


def _download(published: PublishedWeights, backbone: Backbone) -> Path:
    from tlkeras.backend import keras

    path = keras_home() / "models" / published.file
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


def _copy_backbone(weights: WeightsFile, model: keras.Model) -> None:
    from tlkeras.models.layers import copy_weights

    path, source = weights.path, read_whole(weights)
    given, wanted = ([layer for layer in backbone_layers(each) if layer.weights] for each in (source, model))
    shapes = [[[tuple(weight.shape) for weight in layer.weights] for layer in layers] for layers in (given, wanted)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"weights: {path} holds another backbone ({source.name}, {len(given)} layers with weights) than "
            f"{model.name} ({len(wanted)}). Give a model that was built with the same backbone."
        )
    for from_layer, to_layer in zip(given, wanted, strict=True):
        copy_weights(from_layer, to_layer)
