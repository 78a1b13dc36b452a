"""Trees grown on the pixels of images: how a PixelBaseline is fitted."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tlkeras.data.pipeline import decoded_batches, with_bar
from tlkeras.errors import InputError
from tlkeras.machine import available_memory, format_size, n_cores
from tlkeras.progress import LOGGER, bar, say
from tlkeras.schema import Samples
from tlkeras.seeds import derive_seed
from tlkeras.training.checks import samples_to_fit
from tlkeras.training.feature_classifier import FeatureClassifier
from tlkeras.training.pixel_baseline import PixelBaseline

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

_BATCH = 256  # images decoded and predicted at a time
_PROBED = 64  # the time of a tree is told from one that looks at a 64th of the features at each node
_QUICK = 2 * 10**7  # fewer numbers than this are fitted in seconds: nothing is told


def fit_pixel_baseline(
    recipe: PixelBaseline,
    train: Samples | tuple[np.ndarray, np.ndarray],
    val: Samples | tuple[np.ndarray, np.ndarray] | None,
    *,
    seed: int,
) -> FeatureClassifier:
    """See `PixelBaseline.fit`."""
    train, val = samples_to_fit(train, val)
    parts = [train] if val is None else [train, val]
    labels = np.concatenate([samples.known_labels for samples in parts])
    estimator = _build_estimator(recipe, seed)
    source = PixelFeatures(recipe.image_size, recipe.pixels)
    _say_memory(recipe, len(labels))
    features = source.of(*parts)
    if LOGGER.isEnabledFor(logging.INFO):  # timing a tree takes as long as growing one
        _say_time(estimator, features, labels)
    start = time.perf_counter()
    _grow(estimator, features, labels)
    say(f"{recipe.classifier} grown in {time.perf_counter() - start:.1f} s")
    if recipe.classifier == "random_forest":
        estimator.set_params(n_jobs=1)  # several threads add the trees' answers up in the order they come
    return FeatureClassifier(source, estimator, train.class_names)


@dataclass(frozen=True)
class PixelFeatures:
    """The pixels of images as their features, in the place of a network's: each grey level of each colour is one.

    Attributes:
        image_size: (height, width) in pixels.
        pixels: see `PixelBaseline`.
    """

    resize: ClassVar[str] = "squash"

    image_size: tuple[int, int]
    pixels: str

    def of(self, *parts: Samples) -> np.ndarray:
        """The features of every sample of all parts, in order: float32 (n, 3 * H * W)."""
        n = sum(map(len, parts))
        features, start = np.empty((n, 3 * math.prod(self.image_size)), np.float32), 0
        for batch in with_bar(chain.from_iterable(map(self.batches, parts)), n):
            features[start : start + len(batch)] = batch
            start += len(batch)
        return features

    def batches(self, samples: Samples) -> Iterator[np.ndarray]:
        """The same of one part, float32 (b, 3 * H * W) each: all together take much memory."""
        return map(self.of_pixels, decoded_batches(samples, self.image_size, _BATCH))

    def of_pixels(self, images: np.ndarray) -> np.ndarray:
        """Images (b, H, W, 3) in 0..255 as float32 (b, 3 * H * W)."""
        values = images.reshape(len(images), -1).astype(np.float32)
        if self.pixels == "rescaled":
            return values / np.float32(127.5) - 1
        if self.pixels == "normalised":
            values -= values.mean(axis=1, keepdims=True)
            deviation = values.std(axis=1, keepdims=True)
            return np.divide(values, deviation, out=np.zeros_like(values), where=deviation > 0)
        return values

    def describe(self) -> dict:
        """Nothing to keep in a run folder but where they were computed."""
        return {"device": "CPU"}


def _build_estimator(recipe: PixelBaseline, seed: int) -> ClassifierMixin:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    state = derive_seed(seed, "pixel_baseline")
    if recipe.classifier == "decision_tree":
        return DecisionTreeClassifier(random_state=state)
    return RandomForestClassifier(recipe.n_trees, random_state=state, n_jobs=n_cores())


def _grow(estimator: ClassifierMixin, features: np.ndarray, labels: np.ndarray) -> None:
    if not hasattr(estimator, "n_estimators"):
        estimator.fit(features, labels)
        return
    wanted, step = estimator.n_estimators, 10 * estimator.n_jobs
    # Adding trees gives the forest that one call gives: each tree's seed comes from its place.
    estimator.set_params(warm_start=True)
    with bar("growing trees", wanted, "tree") as steps:
        for grown in range(0, wanted, step):
            n_trees = min(grown + step, wanted)
            # scikit-learn's threads race for the process's warning filters, and can leave them empty.
            with warnings.catch_warnings():
                estimator.set_params(n_estimators=n_trees).fit(features, labels)
            steps.update(n_trees - grown)
    estimator.set_params(warm_start=False)


def _say_memory(recipe: PixelBaseline, n: int) -> None:
    height, width = recipe.image_size
    needed, free = 4 * n * 3 * height * width, available_memory()
    what = (
        f"{recipe.classifier}: {n:,} images (training and validation: it learns from both) at {height}x{width}, "
        f"{recipe.pixels} pixels, take {format_size(needed)}"
    )
    if needed > 0.9 * free:
        raise InputError(
            f"{what} of memory, and {format_size(free)} are free. Take smaller images (image_size, --image-size)."
        )
    say(f"{what} of the {format_size(free)} of memory that are free")


def _say_time(estimator: ClassifierMixin, features: np.ndarray, labels: np.ndarray) -> None:
    from sklearn.base import clone

    if features.size < _QUICK:
        return
    start = time.perf_counter()
    if hasattr(estimator, "n_estimators"):
        clone(estimator).set_params(n_estimators=1).fit(features, labels)
        times = estimator.n_estimators / min(estimator.n_jobs, estimator.n_estimators)
    else:
        # Fewer columns would fit into the processor's cache, and tell half the time.
        clone(estimator).set_params(max_features=1 / _PROBED).fit(features, labels)
        times = _PROBED
    seconds = times * (time.perf_counter() - start)
    say(f"growing takes about {f'{seconds:.0f} s' if seconds < 90 else f'{seconds / 60:.0f} min'}")
