"""What a search returns: the classifier fitted with the best setting, and what the grid found."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from tlkeras.errors import InputError
from tlkeras.files import write_csv
from tlkeras.schema import Predictions, Samples
from tlkeras.training.recipe import Recipe, describe

if TYPE_CHECKING:
    import keras

    from tlkeras.training.feature_classifier import FeatureClassifier
    from tlkeras.training.tuned_classifier import TunedClassifier


@dataclass(frozen=True, eq=False)
class SearchedClassifier:
    """What `Search.fit` returns: the classifier fitted with the best setting, and what the grid found.

    Attributes:
        classifier: as the recipe's own `fit` returns it.
        best: {name: value} of the setting it was fitted with.
        recipe: the recipe with that setting.
        ranking: DataFrame, one row per setting, the best first; see `evaluation.grid_search.ranking_table`.
        out_of_fold: DataFrame, one row per training image: what each setting predicted for it where its fold was held
            out; see `evaluation.grid_search.fold_results`.
        seconds: what the grid took in this call, the last fit not among it.
        n_trainings: how many trainings the grid has.
        n_kept: how many of them an earlier call had finished.
    """

    classifier: TunedClassifier | FeatureClassifier
    best: dict[str, Any]
    recipe: Recipe
    ranking: pd.DataFrame = field(repr=False)
    out_of_fold: pd.DataFrame = field(repr=False)
    seconds: float
    n_trainings: int
    n_kept: int

    @property
    def model(self) -> keras.Model:
        """The classifier's network, where it has one: see `TunedClassifier`."""
        return self._trained.model

    @property
    def history(self) -> pd.DataFrame:
        """The log of the last fit, where a network was trained: see `TunedClassifier.history`."""
        return self._trained.history

    @property
    def class_names(self) -> tuple[str, ...]:
        """The k classes, in the order of the probabilities."""
        return self.classifier.class_names

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.classifier.image_size

    @property
    def resize(self) -> str:
        """How images come to that size, as in `tl.read_pixels`."""
        return self.classifier.resize

    def predict(self, samples: Samples) -> Predictions:
        """As the classifier fitted with the best setting."""
        return self.classifier.predict(samples)

    def predict_pixels(self, images: np.ndarray) -> np.ndarray:
        """As the classifier fitted with the best setting."""
        return self.classifier.predict_pixels(images)

    def features(self, samples: Samples, **options: Any) -> np.ndarray:
        """The features of every sample, where the classifier has some: float32 (n, d)."""
        return self._own("features")(samples, **options)

    def save(self, folder: str | os.PathLike, **options: Any) -> Path:
        """Writes the classifier, where it can be written, for `tl.load`: see `TunedClassifier.save`."""
        return self._own("save")(folder, **options)

    @property
    def _trained(self) -> TunedClassifier:
        return cast("TunedClassifier", self.classifier)  # of the other, Python says that it has no such attribute

    def _own(self, method: str):
        found = getattr(self.classifier, method, None)
        if found is None:
            raise InputError(f"classifier: {type(self.classifier).__name__}, which was searched, has no `{method}`.")
        return found

    def write_run(self, folder: str | os.PathLike) -> dict:
        """Writes out_of_fold.csv, and what the classifier writes; see `TunedClassifier.write_run`."""
        write_csv(self.out_of_fold, Path(folder) / "out_of_fold.csv")
        found = {
            "best": describe(self.best),
            "refit": self.recipe.describe(),
            "seconds": round(self.seconds, 1),
            "trainings": self.n_trainings,
            "kept": self.n_kept,
        }
        return self.classifier.write_run(folder) | {"search": found}
