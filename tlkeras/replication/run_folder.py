"""The run folder: what is in it, and what is finished. Knows no TensorFlow.

    <out>/<protocol>/                              table.md, accuracy.csv, scores.csv, config.json, environment.json
    <out>/<protocol>/<backbone>/<method>/seed<k>/  predictions.csv, history.csv, layers.csv, model.keras, cell.json

A cell is finished when its cell.json is there: every file is written whole, and this one last. It is the cell's
manifest, with the hashes of the others. Until then checkpoint.npz holds how far its training has come.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.errors import InputError, MissingInputError
from tlkeras.files import atomic_write, read_csv
from tlkeras.replication.manifest import (
    MANIFEST,
    PACKED,
    PREDICTIONS,
    files_of,
    read_manifest,
    read_whole,
    require_whole,
    write_manifest,
)
from tlkeras.schema import Predictions
from tlkeras.training.recipe import first_difference

if TYPE_CHECKING:
    import pandas as pd

CONTENTS = "contents"  # the setting that holds the hash of all images; cells of earlier versions have none
PUBLISHED_SUFFIXES = (".md", ".csv", ".json", ".png")
_IMAGES = ("sheet_", "hardest_", "explanations_", "activations_")  # of the data set
_OF_MODELS = ("classifier.json", "model_card")
# How the names begin; --report-only makes the last again.
NOT_PUBLISHED = (".", *_IMAGES, *_OF_MODELS, "probabilities_")


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

    def settings_of(self, key: CellKey) -> dict | None:
        """The settings a finished cell was made with; None where the cell is not finished."""
        return self.read_cell(key)["settings"] if (self.cell(key) / MANIFEST).is_file() else None

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
        made_with = self.settings_of(key)
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
        """Marks a cell as finished: `settings` decide whether it can be kept, `facts` are what was found out."""
        write_manifest(self.cell(key), settings, facts)

    def read_cell(self, key: CellKey) -> dict:
        """What cell.json of a finished cell holds; see `manifest.read_manifest`."""
        return read_manifest(self.cell(key))

    def files(self, key: CellKey, pattern: str) -> list[str]:
        """The names of a finished cell's files; see `manifest.files_of`."""
        return files_of(self.cell(key), pattern)

    def read_file(self, key: CellKey, name: str) -> bytes:
        """A file of a finished cell, if it is what was written; see `manifest.read_whole`. All that is told of a cell
        is read here, or made of what was."""
        return read_whole(self.cell(key), name)

    def require_whole(self, key: CellKey, *names: str) -> None:
        """Refuses files of a finished cell that are not what was written; see `manifest.require_whole`."""
        for name in names:
            require_whole(self.cell(key), name)

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
        return {part: Predictions.from_frame(rows.reset_index(drop=True)) for part, rows in frame.groupby("part")}


def publish(source: str | os.PathLike, target: str | os.PathLike) -> Path:
    """Copies a run folder, small enough to commit, enough to report again: finished cells, predictions compressed.

    Models stay out, and so do the sheets, explanations and activations: they show images of the data set.

    Raises:
        MissingInputError: `source` holds nothing of the kind.
    """
    source, target = Path(source), Path(target)
    finished = {file.parent for file in source.rglob("cell.json")}
    files = sorted(file for folder in {source, *finished} if folder.is_dir() for file in folder.iterdir())
    if not files:
        raise MissingInputError(f"{source} holds no finished run, so there is nothing to publish.")
    for file in files:
        destination = target / file.relative_to(source)
        if file.name == PREDICTIONS:
            _compress(file, destination.with_name(PACKED))
        elif is_published(file.name):
            with atomic_write(destination) as temporary:
                shutil.copyfile(file, temporary)
    return target


def is_published(name: str) -> bool:
    """Whether `publish` copies a file of this name; predictions.csv it packs."""
    return name.endswith(PUBLISHED_SUFFIXES) and not name.startswith(NOT_PUBLISHED)


def _refuse_other(folder: Path, made_with: dict, settings: dict) -> None:
    if CONTENTS not in made_with:
        settings = {name: value for name, value in settings.items() if name != CONTENTS}
    found = first_difference(made_with, settings)
    if found is not None:
        name, before, now = found
        if name == CONTENTS:
            raise InputError(
                f"{folder} was made with other images: their names and sizes are the same, their contents are not "
                f"({before[:16]}, now {now[:16]}). Put the images back, name another folder with --out, or remove that "
                "one."
            )
        raise InputError(
            f"{folder} was made with {name} = {before!r}, now it is {now!r}. Name another folder with --out, or remove "
            "that one."
        )


def _compress(source: Path, target: Path) -> None:
    # No time inside: the same predictions give the same bytes.
    with atomic_write(target) as temporary:
        temporary.write_bytes(gzip.compress(source.read_bytes(), mtime=0))
