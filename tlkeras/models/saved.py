"""The folder of a saved classifier: what is in it, and whether that is what was written.

    <folder>/model.keras      the network
    <folder>/classifier.json  its card: classes, image size, history, hash of the network, its probe
    <folder>/model_card.md    what it is for and how well it does, for people; nothing reads it

Importing this module loads no Keras.
"""

from __future__ import annotations

import math
import os
import textwrap
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import numpy as np

from tlkeras import __version__
from tlkeras.errors import InputError, MissingInputError
from tlkeras.files import atomic_write, read_json, sha256_of, write_json
from tlkeras.models.model_file import read_model, reading, require_local
from tlkeras.models.probe import LARGEST_IMAGE, TOLERANCE, probe
from tlkeras.models.weights_file import WeightsFile
from tlkeras.schema import RESIZINGS, EpochLog, Precision

if TYPE_CHECKING:
    import keras

MODEL, CARD, MODEL_CARD = "model.keras", "classifier.json", "model_card.md"
_PROBE = "fingerprint"  # the probe's key in classifier.json, from when it was called so
_LATER = ("precision", "images", "resize")  # the keys that cards of earlier versions lack


@dataclass(frozen=True)
class Card:
    """What classifier.json says of the model.keras beside it.

    Attributes:
        class_names: the k classes, in the order of the probabilities.
        image_size: (height, width) in pixels.
        sha256: of the bytes of model.keras.
        probe: its k probabilities for one fixed image when it was saved; see `probe.probe`.
        versions: {"tlkeras", "keras"} it was saved with.
        epochs: the training log.
        weights: the file its backbone started from, or None.
        precision: what it computes in; earlier versions wrote none, and knew only float32.
        images: {part: {class: how many images}} that it saw, or None where that is not known.
        resize: how images come to `image_size`, as in `tl.read_pixels`; earlier versions wrote none, and squashed.
    """

    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    sha256: str
    probe: tuple[float, ...]
    versions: Mapping[str, str]
    epochs: tuple[EpochLog, ...]
    weights: WeightsFile | None = None
    precision: Precision = Precision()
    images: Mapping[str, Mapping[str, int]] | None = None
    resize: str = "squash"

    def describe(self) -> dict:
        """The values of classifier.json."""
        return {
            "class_names": list(self.class_names),
            "image_size": list(self.image_size),
            "resize": self.resize,
            "sha256": self.sha256,
            _PROBE: list(self.probe),
            "weights": None if self.weights is None else self.weights.describe(),
            "precision": asdict(self.precision),
            "versions": dict(self.versions),
            "epochs": [asdict(log) for log in self.epochs],
            "images": self.images,
        }


def write_saved(
    folder: Path,
    model: keras.Model,
    *,
    class_names: tuple[str, ...],
    image_size: tuple[int, int],
    resize: str,
    epochs: tuple[EpochLog, ...],
    weights: WeightsFile | None,
    precision: Precision,
    images: Mapping[str, Mapping[str, int]] | None,
) -> Card:
    """Writes model.keras and its card into a folder, made if it is not there; see `Card`, which it returns."""
    from tlkeras.backend import keras

    # Both whole before either takes its name, so that the old pair is not replaced by half a new one.
    with atomic_write(folder / CARD) as temporary_card, atomic_write(folder / MODEL) as temporary:
        # A fresh model around the same layers: those of a model that was cut belong to several graphs.
        keras.Model(model.input, model.output, name=model.name).save(temporary)
        card = Card(
            class_names=class_names,
            image_size=image_size,
            resize=resize,
            sha256=sha256_of(temporary),
            probe=tuple(probe(model, image_size)),
            versions={"tlkeras": __version__, "keras": keras.__version__},
            epochs=epochs,
            weights=weights,
            precision=precision,
            images=images,
        )
        write_json(temporary_card, card.describe())
    return card


def read_saved(folder: str | os.PathLike) -> tuple[keras.Model, Card]:
    """The network and the card that `write_saved` wrote. No code in the files is run; see `read_model`.

    Raises:
        InputError: a file is damaged or foreign, or model.keras is not the one classifier.json was written for.
        MissingInputError: the folder or one of the files is not there.

    Warns:
        UserWarning: the model answers otherwise here than where it was saved.
    """
    folder = _saved_folder(folder)
    file = folder / MODEL
    with reading(file):
        sha256 = sha256_of(file)
    card = card_beside(file, sha256)
    assert card is not None  # its folder was looked through above
    model = read_model(file)
    _require_fit(file, model, card)
    warn_of_change(model, card, folder, stacklevel=3)
    return model, card


def card_beside(model: Path, sha256: str) -> Card | None:
    """The card beside a model file that has that sha256; None where there is no card.

    Raises:
        InputError: the card is damaged or foreign, or was written for another file.
    """
    if not model.with_name(CARD).is_file():
        return None
    card = read_card(model.parent)
    if card.sha256 != sha256:
        raise InputError(
            f"{model} is not the file that {CARD} was written for (sha256 differs): damaged, or from another "
            "classifier. Copy both files again from where they were saved."
        )
    return card


def read_card(folder: str | os.PathLike) -> Card:
    """What classifier.json in `folder` says, every value of the type it needs; those of earlier versions are read too.

    Raises:
        InputError: it is no JSON, or lacks what is needed; the key is named, with what is accepted.
        MissingInputError: it is not there.
    """
    file = Path(folder, CARD)
    with reading(file):
        found = read_json(file)
    if not isinstance(found, dict):
        raise InputError(f"{file} holds {_kind(found)}; accepted is what TunedClassifier.save writes, a JSON object.")
    lacking = [key for key in _ACCEPTED if key not in found and key not in _LATER]
    if lacking:
        raise InputError(f"{file} lacks {', '.join(lacking)}. Save the classifier again with TunedClassifier.save.")
    for key, (accepted, fits) in _ACCEPTED.items():
        if key in found and not fits(found[key]):
            raise InputError(
                f"{file}: {key} is {textwrap.shorten(repr(found[key]), 100)}; accepted is {accepted}. Save the "
                "classifier again with TunedClassifier.save."
            )
    if len(found[_PROBE]) != len(found["class_names"]):
        raise InputError(
            f"{file} names {len(found['class_names'])} classes and has a {_PROBE} of {len(found[_PROBE])} "
            "probabilities; there must be one for each class. Copy the file again from where it was saved."
        )
    weights = found["weights"]
    return Card(
        class_names=tuple(found["class_names"]),
        image_size=tuple(found["image_size"]),
        sha256=found["sha256"],
        probe=tuple(found[_PROBE]),
        versions=found["versions"],
        epochs=tuple(EpochLog(**log) for log in found["epochs"]),
        weights=None if weights is None else WeightsFile(**(weights | {"path": Path(weights["path"])})),
        precision=Precision(**found.get("precision", {})),
        images=found.get("images"),
        resize=found.get("resize", "squash"),
    )


def warn_of_change(model: keras.Model, card: Card, folder: Path, *, stacklevel: int = 2) -> None:
    """Compares a model that was read from `folder` with the probe on its card.

    Raises:
        InputError: the model cannot be run.

    Warns:
        UserWarning: the model answers otherwise here than where it was saved.
    """
    from tlkeras.backend import keras

    with reading(folder):
        now = probe(model, card.image_size)
        difference = float(np.max(np.abs(np.subtract(now, card.probe))))
    if not difference <= TOLERANCE:
        warnings.warn(
            f"{folder}: on one fixed image this model's probabilities differ by {difference:.2g} from those at saving "
            f"(keras {card.versions['keras']} then, {keras.__version__} now). Check its results before using them.",
            stacklevel=stacklevel + 1,
        )


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


def _are_class_names(value: Any) -> bool:
    named = isinstance(value, list) and all(type(name) is str and name for name in value)
    return named and len(value) >= 2 and len(set(value)) == len(value)


def _is_image_size(value: Any) -> bool:
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
    "resize": (f"one of {', '.join(RESIZINGS)}", lambda value: value in RESIZINGS),
    "sha256": (f"the hash of {MODEL} in hexadecimal", lambda value: type(value) is str),
    _PROBE: (
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


def _require_fit(file: Path, model: object, card: Card) -> None:
    """Refuses a model that does not take images of the card's size, or does not answer with one number per class."""
    from tlkeras.backend import keras

    if not isinstance(model, keras.Model):
        raise InputError(f"{file} holds a {type(model).__name__}; accepted is a keras.Model, as Tuner.fit returns it.")
    height, width, k = *card.image_size, len(card.class_names)
    # A network without a flattened layer may leave a side open.
    for what, shape, accepted in (
        ("takes input", getattr(model, "input_shape", None), ((None,), (height, None), (width, None), (3,))),
        ("gives output", getattr(model, "output_shape", None), ((None,), (k,))),
    ):
        fits = isinstance(shape, tuple) and len(shape) == len(accepted)
        if not fits or any(side not in sides for side, sides in zip(shape or (), accepted, strict=True)):
            raise InputError(
                f"{file} {what} of shape {shape}; accepted is {tuple(sides[0] for sides in accepted)}, for {CARD} says "
                f"image_size {[height, width]} and names {k} classes. Copy both files again from where they were saved."
            )
