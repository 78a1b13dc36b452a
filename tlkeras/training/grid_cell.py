"""One run of a grid as a pure function of its description, so that it does not matter which process runs it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import time
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.data.digests import sealed
from tlkeras.data.images import DECODER
from tlkeras.errors import DivergedError
from tlkeras.files import atomic_write
from tlkeras.progress import silenced
from tlkeras.schema import Samples
from tlkeras.training.feature_store import FeatureStore
from tlkeras.training.recipe import Recipe
from tlkeras.training.tuner import Tuner
from tlkeras.training.watched import Watched


@dataclass(frozen=True, eq=False)
class GridCell:
    """One run of the grid, which answers one setting or several that differ in epochs. Can be sent to any process.

    Attributes:
        recipe: what is fitted, to the largest number of epochs.
        answers: {setting number: epochs of the last phase}, None for a recipe without epochs.
        fold: its number, from 0.
        seed: of this training.
        samples: all training images of the search.
        held_out: bool (n,), those it is judged by; it learns from the others.
        images: a digest of both, labels included; None where nothing is kept.
        options: further arguments of `recipe.fit`.
        store: folder and limit in bytes of the feature store, or None.
        folder: where its answers are kept, or None.
    """

    recipe: Recipe
    answers: dict[int, int | None]
    fold: int
    seed: int
    samples: Samples
    held_out: np.ndarray
    images: str | None
    options: dict[str, Any]
    store: tuple[Path, int] | None
    folder: Path | None

    @property
    def train(self) -> Samples:
        """The images it learns from."""
        return self.samples.take(np.flatnonzero(~self.held_out))

    @property
    def test(self) -> Samples:
        """The images it is judged by."""
        return self.samples.take(np.flatnonzero(self.held_out))

    def by_epochs(self) -> list[int]:
        """The numbers of the settings it answers, in the order of their epochs."""
        return sorted(self.answers, key=lambda number: self.answers[number] or 0)

    @cached_property
    def file(self) -> Path | None:
        """Where its answers are kept, named by what it computes: recipe, weights, epochs, seed and images."""
        if self.folder is None:
            return None
        weights = None if self.recipe.network is None else self.recipe.network.weights
        recipe = self.recipe if weights is None else self.recipe.starting_from(None)
        decisive = {
            "versions": {name: version(name) for name in ("tlkeras", "tensorflow", "keras", "scikit-learn")},
            "decoder": DECODER,
            "recipe": recipe.describe(),
            "weights": getattr(weights, "sha256", None),
            "epochs": sorted(epochs for epochs in self.answers.values() if epochs is not None),
            "seed": self.seed,
            "images": self.images,
        }
        return self.folder / f"{hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:32]}.answers"


def run_cell(cell: GridCell) -> tuple[dict[int, np.ndarray], float]:
    """Trains one cell, and keeps its answers where it has a folder.

    Returns:
        {setting number: float32 (n, k), the probabilities of each image of the fold}, and the seconds it took. They are
        NaN where a training's loss is no longer a number, and where what it made of an image is none.
    """
    start = time.perf_counter()
    options = dict(cell.options)
    if "store" in cell.recipe.fit_options:
        options["store"] = False if cell.store is None else FeatureStore(cell.store[0], limit=cell.store[1])
    if isinstance(cell.recipe, Tuner):
        probs = _watch(cell, cell.recipe, options)
    else:
        with silenced():  # the grid says itself where it is
            classifier = cell.recipe.fit(cell.train, seed=cell.seed, **options)
        found = classifier.predict(cell.test).probs
        probs = dict.fromkeys(cell.answers, found)
    answers = {setting: _answers(of_setting, cell) for setting, of_setting in probs.items()}
    if cell.file is not None:  # written here, so that nothing is lost where the one that waits for it is killed
        with io.BytesIO() as kept, atomic_write(cell.file) as temporary:
            np.save(kept, np.stack([answers[number] for number in cell.by_epochs()]))
            temporary.write_bytes(sealed(kept.getvalue()))
    return answers, time.perf_counter() - start


def _answers(probs: np.ndarray | None, cell: GridCell) -> np.ndarray:
    """Finite weights may still give probabilities that are no numbers."""
    if probs is None:
        return np.full((int(cell.held_out.sum()), len(cell.samples.class_names)), np.nan, np.float32)
    return np.where(np.isfinite(probs).all(axis=1, keepdims=True), probs, np.float32(np.nan))


def _watch(cell: GridCell, recipe: Tuner, options: dict[str, Any]) -> dict[int, np.ndarray | None]:
    from tlkeras.training.loop import fit_tuner

    recipe = recipe.with_enough_steps([*cell.train.class_counts().values()])
    last = len(recipe.phases)
    moments = {
        setting: (last, recipe.phases[-1].epochs if epochs is None else epochs)
        for setting, epochs in cell.answers.items()
    }
    watched = Watched(cell.test, frozenset(moments.values()))
    # Of a training that diverges, what came before stands; what did not come is no answer.
    with contextlib.suppress(DivergedError), silenced():
        fit_tuner(recipe, cell.train, None, seed=cell.seed, watched=watched, **options)
    return {setting: watched.probs.get(moment) for setting, moment in moments.items()}
