"""Brings a saved classifier back, and says in words what is wrong with files that hold none."""

from __future__ import annotations

import math
import os
import textwrap
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import get_args, get_origin, get_type_hints

from tlkeras.backend import keras
from tlkeras.errors import InputError, MissingInputError
from tlkeras.files import read_json, sha256_of
from tlkeras.models.fingerprint import LARGEST_IMAGE, warn_of_change
from tlkeras.models.model_file import read_model, reading, require_local
from tlkeras.models.weights import WeightsFile
from tlkeras.schema import EpochLog, Precision
from tlkeras.training.tuned_classifier import CARD, MODEL, TunedClassifier


def load(folder: str | os.PathLike) -> TunedClassifier:
    """Reads what `TunedClassifier.save` wrote; the preprocessing comes back with the model, whose first layers it is.

    No code in the files is run: Keras' safe mode is on, and layers that bring code of their own are refused before
    Keras sees them. A layer of your own is taken where it is registered (keras.saving.register_keras_serializable).

    Args:
        folder: holds model.keras and classifier.json.

    Returns:
        TunedClassifier with class names, image size, history, precision, weights file and numbers of images as saved;
        `layers` is None. On the same machine its probabilities are those before saving, bit for bit.

    Raises:
        InputError: a file is damaged or foreign, or model.keras is not the one classifier.json was written for.
        MissingInputError: the folder or one of the files is not there.

    Warns:
        UserWarning: the model answers otherwise here than where it was saved.
    """
    folder = _saved_folder(folder)
    card, file = _read_card(folder / CARD), folder / MODEL
    with reading(file):
        sha256 = sha256_of(file)
    if sha256 != card["sha256"]:
        raise InputError(
            f"{file} is not the file that {CARD} was written for (sha256 differs): damaged, or from another "
            "classifier. Copy both files again from where they were saved."
        )
    model = read_model(file)
    _require_fit(file, model, card)
    classifier = TunedClassifier(
        model=model,
        class_names=tuple(card["class_names"]),
        image_size=tuple(card["image_size"]),
        epochs=tuple(EpochLog(**log) for log in card["epochs"]),
        weights=None
        if card["weights"] is None
        else WeightsFile(**(card["weights"] | {"path": Path(card["weights"]["path"])})),
        precision=Precision(**card["precision"]),
        images=card["images"],
    )
    warn_of_change(model, card, folder)
    return classifier


def _saved_folder(folder: str | os.PathLike) -> Path:
    if not isinstance(folder, str | os.PathLike):
        raise InputError(f"folder: received {folder!r}; accepted is the folder that TunedClassifier.save wrote.")
    require_local(folder)
    folder = Path(folder)
    if folder.is_file():
        raise InputError(
            f"{folder} is a file; give the folder that TunedClassifier.save wrote, with {MODEL} and {CARD} in it."
        )
    if not folder.is_dir():
        raise MissingInputError(f"there is no folder {folder}; give the folder that TunedClassifier.save wrote.")
    for name in (MODEL, CARD):
        require_local(folder / name)
    absent = [name for name in (MODEL, CARD) if not (folder / name).is_file()]
    if absent:
        raise MissingInputError(
            f"{folder} holds no {' and no '.join(absent)}; give the folder that TunedClassifier.save wrote."
        )
    return folder


def _read_card(file: Path) -> dict:
    """What classifier.json says, every value that `load` uses of the type it needs."""
    with reading(file):
        card = read_json(file)
    if not isinstance(card, dict):
        raise InputError(f"{file} holds {_kind(card)}; accepted is what TunedClassifier.save writes, a JSON object.")
    card.setdefault("precision", asdict(Precision()))  # earlier versions wrote none, and knew no other
    card.setdefault("images", None)  # nor this
    lacking = [key for key in _ACCEPTED if key not in card]
    if lacking:
        raise InputError(f"{file} lacks {', '.join(lacking)}. Save the classifier again with TunedClassifier.save.")
    for key, (accepted, fits) in _ACCEPTED.items():
        if not fits(card[key]):
            raise InputError(
                f"{file}: {key} is {textwrap.shorten(repr(card[key]), 100)}; accepted is {accepted}. Save the "
                "classifier again with TunedClassifier.save."
            )
    if len(card["fingerprint"]) != len(card["class_names"]):
        raise InputError(
            f"{file} names {len(card['class_names'])} classes and has a fingerprint of {len(card['fingerprint'])} "
            "probabilities; there must be one for each class. Copy the file again from where it was saved."
        )
    return card


def _are_class_names(value: object) -> bool:
    named = isinstance(value, list) and all(type(name) is str and name for name in value)
    return named and len(value) >= 2 and len(set(value)) == len(value)


def _is_image_size(value: object) -> bool:
    sides = isinstance(value, list) and len(value) == 2 and all(type(side) is int and side > 0 for side in value)
    return sides and math.prod(value) <= LARGEST_IMAGE


def _is_file_name(value: str) -> bool:
    return value != ".." and Path(value).name == value


def _is_record(value: object, kind: type) -> bool:
    """Whether `value` is a JSON object with the fields of the dataclass `kind`, each of a type that fits."""
    hints = get_type_hints(kind).items()
    types = {
        name: [get_origin(each) or each for each in (get_args(hint) if get_origin(hint) is UnionType else (hint,))]
        for name, hint in hints
    }
    required = {field.name for field in fields(kind) if field.default is MISSING}
    if not isinstance(value, dict) or not required <= value.keys() <= types.keys():
        return False
    written = {float: (float, int), Path: (str,)}  # a float may have been written as 1, a path is written as text
    return all(
        type(value[name]) in [each for hint in types[name] for each in written.get(hint, (hint,))] for name in value
    )


_ACCEPTED = {
    "class_names": ("a list of two or more different names", _are_class_names),
    "image_size": (f"[height, width], at most {LARGEST_IMAGE:,} pixels", _is_image_size),
    "sha256": ("the hash of model.keras in hexadecimal", lambda value: type(value) is str),
    "fingerprint": (
        "a list of probabilities",
        lambda value: isinstance(value, list) and all(type(prob) is float for prob in value),
    ),
    "weights": (
        f"null, or an object with {', '.join(field.name for field in fields(WeightsFile))}, the path a file name alone",
        lambda value: value is None or (_is_record(value, WeightsFile) and _is_file_name(value["path"])),
    ),
    "precision": (
        f"an object with {', '.join(field.name for field in fields(Precision))}",
        lambda value: _is_record(value, Precision),
    ),
    "versions": (
        "an object that names the version of keras",
        lambda value: isinstance(value, dict) and type(value.get("keras")) is str,
    ),
    "epochs": (
        f"a list of objects with {', '.join(field.name for field in fields(EpochLog))}",
        lambda value: isinstance(value, list) and all(_is_record(log, EpochLog) for log in value),
    ),
    "images": (
        "null, or an object of parts, each an object of classes with their numbers of images",
        lambda value: value is None or _are_counts(value),
    ),
}


def _are_counts(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(counts, dict) and all(type(count) is int and count >= 0 for count in counts.values())
        for counts in value.values()
    )


def _kind(value: object) -> str:
    names = {list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number", NoneType: "null"}
    return names[type(value)]


def _require_fit(file: Path, model: object, card: dict) -> None:
    """Refuses a model that does not take images of the card's size, or does not answer with one number per class."""
    if not isinstance(model, keras.Model):
        raise InputError(f"{file} holds a {type(model).__name__}; accepted is a keras.Model, as Tuner.fit returns it.")
    height, width, k = *card["image_size"], len(card["class_names"])
    # A network without a flattened layer may leave a side open.
    for what, shape, accepted in (
        ("takes input", getattr(model, "input_shape", None), ((None,), (height, None), (width, None), (3,))),
        ("gives output", getattr(model, "output_shape", None), ((None,), (k,))),
    ):
        fits = isinstance(shape, tuple) and len(shape) == len(accepted)
        if not fits or any(side not in sides for side, sides in zip(shape, accepted, strict=True)):
            raise InputError(
                f"{file} {what} of shape {shape}; accepted is {tuple(sides[0] for sides in accepted)}, for {CARD} says "
                f"image_size {[height, width]} and names {k} classes. Copy both files again from where they were saved."
            )
