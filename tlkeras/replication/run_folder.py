"""The run folder: what is in it, and what is finished. Knows no TensorFlow.

    <out>/<protocol>/                              table.md, accuracy.csv, scores.csv, config.json, environment.json
    <out>/<protocol>/<backbone>/<method>/seed<k>/  predictions.csv, history.csv, layers.csv, model.keras, cell.json

A cell is finished when its cell.json is there: every file is written whole, and this one last. It is the cell's
manifest, with the hashes of the others. Until then checkpoint.npz holds how far its training has come.
"""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.errors import InputError, MissingInputError
from tlkeras.files import read_csv, read_json, sha256_of, write_json
from tlkeras.schema import Predictions
from tlkeras.training.recipe import first_difference, in_this_version

if TYPE_CHECKING:
    import pandas as pd

MANIFEST, CHECKPOINT, PREDICTIONS = "cell.json", "checkpoint.npz", "predictions.csv"
PACKED = f"{PREDICTIONS}.gz"  # in a published folder, in place of predictions.csv
CONTENTS = "contents"  # the setting that holds the hash of all images; cells of earlier versions have none
_RUN_AGAIN = "Remove the cell.json beside it, and the cell is run again."
_OWN_HASH = "sha256"


@dataclass(frozen=True)
class CellKey:
    """Which cell of an experiment: one method on one backbone with one seed."""

    method: str
    backbone: str
    seed: int

    def __str__(self) -> str:
        return f"{self.backbone}/{self.method}/seed{self.seed}"


@dataclass(frozen=True)
class RunFolder:
    """One protocol's part of a run folder."""

    root: Path

    def cell(self, key: CellKey) -> Path:
        """The folder of one cell."""
        return self.root / key.backbone / key.method / f"seed{key.seed}"

    def settings_of(self, key: CellKey) -> dict:
        """The settings a finished cell was made with; see `read_manifest`."""
        return self.read_cell(key)["settings"]

    def settings_or_none(self, key: CellKey) -> dict | None:
        """The settings a finished cell was made with; None where the cell is not finished."""
        return self.settings_of(key) if (self.cell(key) / MANIFEST).is_file() else None

    def finished(self) -> list[CellKey]:
        """The finished cells, sorted as they lie in the folder."""
        keys = []
        for file in self.root.glob("*/*/seed*/cell.json"):
            backbone, method, seed = file.parent.relative_to(self.root).parts
            if re.fullmatch(r"seed-?\d+", seed):  # a copy beside it, say seed0.bak, is not a cell
                keys.append(CellKey(method, backbone, int(seed.removeprefix("seed"))))
        return sorted(keys, key=lambda key: (key.backbone, key.method, key.seed))

    def is_finished(self, key: CellKey, settings: dict) -> bool:
        """Whether the cell is there, made with these settings.

        Raises:
            InputError: it is there, but made with other settings; the first one that differs is named.
        """
        made_with = self.settings_or_none(key)
        if made_with is None:
            return False
        _refuse_other(self.cell(key), made_with, settings)
        return True

    def require_same(self, shared: dict) -> None:
        """Refuses a folder that holds cells of other `shared` settings: a table must not mix data or splits."""
        for key in self.finished():
            made_with = self.settings_of(key)
            _refuse_other(
                self.cell(key),
                {name: made_with[name] for name in shared if name != CONTENTS or name in made_with},
                shared,
            )

    def require_same_recipe(self, key: CellKey, recipe: dict) -> None:
        """Refuses another recipe than that of the cell's other seeds: a mean over seeds must not mix recipes."""
        for other in self.finished():
            if (other.method, other.backbone) == (key.method, key.backbone) and other.seed != key.seed:
                _refuse_other(self.cell(other), {"recipe": self.settings_of(other)["recipe"]}, {"recipe": recipe})

    def write_cell(self, key: CellKey, settings: dict, facts: dict) -> None:
        """Marks a cell as finished by its cell.json, which holds the hashes of its files, and its own.

        Args:
            key: the cell.
            settings: decide whether it can be kept.
            facts: what was found out.
        """
        cell, later = self.cell(key), (MANIFEST, CHECKPOINT)
        names = sorted(file.name for file in cell.iterdir() if file.is_file() and file.name not in later)
        made = {"settings": settings, "facts": facts, "files": {name: sha256_of(cell / name) for name in names}}
        write_json(cell / MANIFEST, with_hash(made))

    def read_cell(self, key: CellKey) -> dict:
        """What cell.json of a finished cell holds; see `read_manifest`."""
        return read_manifest(self.cell(key))

    def files(self, key: CellKey, pattern: str) -> list[str]:
        """The names of a finished cell's files that fit a pattern, sorted: those that it had when it was finished; of
        earlier versions those that it has."""
        there = self.read_cell(key).get("files") or [file.name for file in self.cell(key).iterdir()]
        return sorted(fnmatch.filter(there, pattern))

    def read_file(self, key: CellKey, name: str) -> bytes:
        """What a file of a finished cell holds, predictions.csv also where it lies packed.

        All that is told of a cell is read here, or made of what was.

        Raises:
            InputError: it is not what was written when the cell was finished, or cannot be read.
            MissingInputError: it is not there.
        """
        file = _place(self.cell(key), name)
        with _said_in_words(file):
            contents = gzip.decompress(file.read_bytes()) if file.name == PACKED else file.read_bytes()
        _compare(file, name, hashlib.sha256(contents).hexdigest())
        return contents

    def require_whole(self, key: CellKey, *names: str) -> None:
        """Refuses what `read_file` refuses, of files too large to be read at once."""
        for name in names:
            _compare(_place(self.cell(key), name), name, hash_now(self.cell(key), name))

    def read_table(self, key: CellKey, name: str, *, dtype: object = None) -> pd.DataFrame:
        """A CSV file of a finished cell, if it is what was written.

        Args:
            key: the cell.
            name: of the file.
            dtype: of `pandas.read_csv`; where it is given, an empty field is empty text, not a missing value.

        Raises:
            InputError: it is not what was written when the cell was finished, or cannot be read.
            MissingInputError: it is not there.
        """
        kinds = {} if dtype is None else {"dtype": dtype, "keep_default_na": False}
        try:
            return read_csv(io.BytesIO(self.read_file(key, name)), **kinds)
        except InputError:
            raise
        except ValueError as error:  # of a cell of an earlier version, which kept no hashes
            raise InputError(
                f"{self.cell(key) / name} is no table as a run writes it ({error}). Remove the folder's cell.json, and "
                "the cell is run again."
            ) from error

    def read_predictions(self, key: CellKey) -> dict[str, Predictions]:
        """{part: Predictions} of a finished cell, from predictions.csv or the compressed form of a published folder.

        Raises:
            InputError: the file is not what was written when the cell was finished.
            MissingInputError: it is not there.
        """
        text = dict.fromkeys(("sample_id", "part", "group", "path", "label", "predicted"), str)
        frame = self.read_table(key, PREDICTIONS, dtype=text)
        if absent := [column for column in text if column not in frame]:
            raise InputError(
                f"{self.cell(key) / PREDICTIONS} lacks the columns {', '.join(absent)}: it is not what a run writes. "
                "Remove the folder's cell.json, and the cell is run again."
            )
        return {str(part): Predictions.from_frame(rows.reset_index(drop=True)) for part, rows in frame.groupby("part")}


def read_manifest(cell: Path) -> dict:
    """What cell.json holds: settings, facts, and {name: sha256} of the files, which cells of earlier versions lack.

    Raises:
        InputError: it is not what was written; earlier versions kept no hash of it.
        MissingInputError: it is not there.
    """
    made = without_hash(read_json(cell / MANIFEST))
    if made is None or not {"settings", "facts"} <= made.keys():
        raise InputError(
            f"{cell / MANIFEST} is not what was written when the cell was finished: damaged or edited. Remove it, and "
            "the cell is run again."
        )
    return made


def hash_now(cell: Path, name: str) -> str:
    """The sha256 of a file of a finished cell as it is now, however large; raises what `RunFolder.read_file` raises."""
    file = _place(cell, name)
    with _said_in_words(file):
        return (
            hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest() if file.name == PACKED else sha256_of(file)
        )


def with_hash(made: dict) -> dict:
    """JSON values with their own hash."""
    return made | {_OWN_HASH: _hash_of(made)}


def without_hash(found: object) -> dict | None:
    """What `with_hash` was given; None where it is something else. Earlier versions gave it no hash."""
    if not isinstance(found, dict):
        return None
    made = {name: value for name, value in found.items() if name != _OWN_HASH}
    return made if found.get(_OWN_HASH) in (None, _hash_of(made)) else None


def _hash_of(made: dict) -> str:
    # As it is when it is read again: there all keys are text.
    return hashlib.sha256(json.dumps(json.loads(json.dumps(made)), sort_keys=True).encode()).hexdigest()


def _place(cell: Path, name: str) -> Path:
    for file in (cell / name, *([cell / PACKED] if name == PREDICTIONS else [])):
        if file.is_file():
            return file
    raise MissingInputError(f"{cell} holds no {name}; remove its cell.json, and the cell is run again.")


def _compare(file: Path, name: str, found: str) -> None:
    manifest = read_manifest(file.parent) if (file.parent / MANIFEST).is_file() else {}
    if found != manifest.get("files", {}).get(name, found):
        raise InputError(
            f"{file} is not what was written when the cell was finished (its sha256 differs from the one in "
            f"cell.json): damaged or edited. {_RUN_AGAIN}"
        )


@contextlib.contextmanager
def _said_in_words(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file} cannot be read ({error}). {_RUN_AGAIN}") from error


def _refuse_other(folder: Path, made_with: dict, settings: dict) -> None:
    if CONTENTS not in made_with:
        settings = {name: value for name, value in settings.items() if name != CONTENTS}
    found = first_difference(in_this_version(made_with), in_this_version(settings))
    if found is not None:
        name, before, now = found
        if name == CONTENTS:
            raise InputError(
                f"{folder} was made with other images: their names and sizes are the same, their contents are not "
                f"({str(before)[:16]}, now {str(now)[:16]}). Put the images back, name another folder with --out, or "
                "remove that one."
            )
        raise InputError(
            f"{folder} was made with {name} = {before!r}, now it is {now!r}. Name another folder with --out, or remove "
            "that one."
        )
