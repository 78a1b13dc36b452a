"""The state of a training on disk: a fit that was killed goes on from there, and ends with the same weights.

One file, replaced whole at the end of an epoch. It holds what learns (weights, optimizer), the best so far and the
history; everything else of an epoch is a function of its number: the order of the images, augmentation and dropout have
seeds of their own (`tlkeras.seeds`), and layers that never learn come back from the weights file.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np

from tlkeras.backend import device_name
from tlkeras.data.digests import digest
from tlkeras.data.images import DECODER
from tlkeras.errors import InputError
from tlkeras.files import atomic_write
from tlkeras.machine import n_cores, processor
from tlkeras.progress import say
from tlkeras.schema import EpochLog, Precision
from tlkeras.training.recipe import first_difference, in_this_version

if TYPE_CHECKING:
    from tlkeras.models.weights_file import WeightsFile
    from tlkeras.schema import Samples
    from tlkeras.training.tuner import Tuner

_STATE = "state"  # the entry that holds everything but arrays, as JSON
_SHARE = 0.05  # of the time, at most, that goes into writing checkpoints


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training at the end of an epoch, the last one of `history`.

    Attributes:
        history: all epochs so far.
        precision: what the network computes in.
        weights: {place in the model: array} of every layer that has learnt so far.
        optimizer: the optimizer's variables, in its order.
        best: `weights` as they were when the phase's monitor was best, or None where there is no best.
        best_epoch: (phase, epoch) of that, or None.
    """

    history: tuple[EpochLog, ...]
    precision: Precision
    weights: Mapping[str, np.ndarray]
    optimizer: tuple[np.ndarray, ...]
    best: Mapping[str, np.ndarray] | None
    best_epoch: tuple[int, int] | None

    @property
    def phase(self) -> int:
        """The phase it lies in."""
        return self.history[-1].phase


class CheckpointFile:
    """Where a training keeps its checkpoint, and which training that is.

    Args:
        path: of the file; a folder is made where it is missing.
        training: what decides the result, as plain JSON values (`describe_training`).
    """

    def __init__(self, path: Path, training: dict):
        self._path, self._training = path, training
        self._place = {
            "processor": processor(),
            "threads": n_cores(),
            "device": device_name(),
            **{name: version(name) for name in ("tlkeras", "tensorflow", "keras", "numpy")},
        }
        self._written, self._took = -math.inf, 0.0
        self._begun, self._seconds = time.monotonic(), 0.0  # of the processes before

    def read(self) -> Checkpoint | None:
        """What is there, or None.

        Raises:
            InputError: the file is damaged, or another training's.
        """
        try:
            opened = self._path.open("rb")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(
                f"checkpoint: {self._path} cannot be opened ({error.strerror}). Name a file that this user may read "
                "and write."
            ) from error
        try:
            with opened:
                state, arrays = _read_whole(opened)
            training, place = state["training"], state["place"]
            found, self._seconds = _unpacked(state, arrays), float(state["seconds"])
        except Exception as error:  # what a damaged archive makes zipfile, NumPy and json raise has no common type
            raise InputError(
                f"{self._path} is no checkpoint that can be read ({error}). Remove it, and the training begins anew."
            ) from error
        differs = first_difference(in_this_version(training), self._training)
        if differs is not None:
            name, before, now = differs
            raise InputError(
                f"{self._path} is another training's checkpoint: its {name} is {before!r}, that of this one {now!r}. "
                "Remove it, and the training begins anew; to keep it, give this one another folder (--out) or file."
            )
        last = found.history[-1]
        say(f"goes on after epoch {last.epoch} of phase {last.phase}, from {self._path.name}")
        moved = first_difference(place, self._place)
        if moved is not None:
            name, before, now = moved
            say(
                f"note: begun with {name} {before}, it goes on with {now}: the result may differ from an unbroken "
                "run's in the last digits"
            )
        return found

    def offer(self, take: Callable[[], Checkpoint]) -> None:
        """Writes what `take` gives, unless that would cost more than a twentieth of the time; what was trained since
        the last one is then trained again after a fault, to the same result.

        Raises:
            UnwritableError: the disk is full, or this user may not write there; the last checkpoint is as it was.
        """
        start = time.monotonic()
        if start - self._written < self._took / _SHARE:
            return
        checkpoint = take()
        arrays = {f"weights/{place}": array for place, array in checkpoint.weights.items()}
        arrays |= {f"optimizer/{number}": array for number, array in enumerate(checkpoint.optimizer)}
        arrays |= {f"best/{place}": array for place, array in (checkpoint.best or {}).items()}
        state = {
            "training": self._training,
            "place": self._place,
            "seconds": self._seconds + start - self._begun,
            "history": [asdict(log) for log in checkpoint.history],
            "precision": asdict(checkpoint.precision),
            "best_epoch": checkpoint.best_epoch,
            "arrays": sorted(arrays),
        }
        with atomic_write(self._path) as temporary, temporary.open("wb") as file:
            contents: dict[str, Any] = {_STATE: np.frombuffer(json.dumps(state).encode(), np.uint8), **arrays}
            np.savez(file, **contents)
        self._written = time.monotonic()
        self._took = self._written - start


def describe_training(
    recipe: Tuner,
    weights: WeightsFile | None,
    images: Mapping[str, tuple[Samples, list[bytes]] | None],
    class_names: tuple[str, ...],
    seed: int,
) -> dict:
    """What decides the result of a fit: recipe, weights file, seed, and digests of the images and their labels.

    `images` are {part: (samples, a digest of each image)}.
    """
    return {
        "recipe": recipe.starting_from(None).describe(),
        "weights": None if weights is None else weights.sha256,
        "seed": seed,
        "class_names": list(class_names),
        "images": {
            name: None if found is None else digest(found[0].known_labels.astype("<i8").tobytes(), *found[1]).hex()
            for name, found in images.items()
        },
        "decoder": DECODER,
    }


def time_spent(path: Path) -> dict | None:
    """What the checkpoint at `path` tells of the processes before: {"seconds": of training, "place": where}; None where
    there is none that can be read."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            state = json.loads(file[_STATE].tobytes())
            return {"seconds": state["seconds"], "place": state["place"]}
    except Exception:  # whoever reads it whole says why
        return None


def _read_whole(opened: BinaryIO) -> tuple[dict, dict[str, np.ndarray]]:
    """The state and the arrays of an archive, once every byte of both has been compared with its checksum."""
    if not is_zipfile(opened):  # of which NumPy would say that it wants pickle
        raise BadZipFile("it is no .npz archive")
    with ZipFile(opened) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise BadZipFile(f"its {damaged} is damaged")
    opened.seek(0)
    with np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    state = json.loads(arrays.pop(_STATE).tobytes())
    if sorted(arrays) != state["arrays"]:
        raise ValueError("some of its arrays are lacking")
    return state, arrays


def _unpacked(state: dict, arrays: dict[str, np.ndarray]) -> Checkpoint:
    by_kind: dict[str, dict[str, np.ndarray]] = {"weights": {}, "optimizer": {}, "best": {}}
    for name, array in arrays.items():
        kind, place = name.split("/", 1)
        by_kind[kind][place] = array
    optimizer = by_kind["optimizer"]
    best_epoch = state["best_epoch"]
    return Checkpoint(
        history=tuple(EpochLog(**log) for log in state["history"]),
        precision=Precision(**state["precision"]),
        weights=by_kind["weights"],
        optimizer=tuple(optimizer[str(number)] for number in range(len(optimizer))),
        best=None if best_epoch is None else by_kind["best"],
        best_epoch=None if best_epoch is None else tuple(best_epoch),
    )
