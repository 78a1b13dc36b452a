"""A run folder made small enough to commit."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

from tlkeras.errors import MissingInputError
from tlkeras.files import atomic_write
from tlkeras.models.saved import CARD, MODEL_CARD
from tlkeras.replication.checklist_items import CHECKLISTS
from tlkeras.replication.reviewed import Reviewed
from tlkeras.replication.run_folder import MANIFEST, PACKED, PREDICTIONS

PUBLISHED_SUFFIXES = (".md", ".csv", ".json", ".png", ".csv.gz")
_IMAGES = ("sheet_", "hardest_", "explanations_", "activations_", "labels.png", "look_alikes.png")  # of the data set
_OF_MODELS = (CARD, MODEL_CARD)
_FILLED_IN = tuple(f"{name}.md" for name in CHECKLISTS)  # by hand, maybe also where they would be copied to
# How the names begin; --report-only makes the last again.
NOT_PUBLISHED = (".", *_IMAGES, *_OF_MODELS, *_FILLED_IN, "probabilities_")


def publish(source: str | os.PathLike, target: str | os.PathLike) -> Path:
    """Copies a run folder, small enough to commit, enough to report again: finished cells, predictions compressed.

    Models stay out, and so do the sheets, explanations and activations, which show images of the data set, and
    checklists, which somebody may have filled in there, too. What is told of every image goes out: its name, group,
    class and probabilities, and where `Experiment.subgroups` names some, its subgroups. Names of files and groups that
    are a patient's have to be others before.

    Raises:
        MissingInputError: `source` holds nothing of the kind.
    """
    source, target = Path(source), Path(target)
    finished = {file.parent for file in source.rglob(MANIFEST)} | {file.parent for file in source.rglob(Reviewed.FILE)}
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


def _compress(source: Path, target: Path) -> None:
    # No time inside: the same predictions give the same bytes.
    with atomic_write(target) as temporary:
        temporary.write_bytes(gzip.compress(source.read_bytes(), mtime=0))
