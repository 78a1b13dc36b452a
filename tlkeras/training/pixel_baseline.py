"""Trees on pixels: what a classifier reaches that learns no features. The baseline a network has to beat.

A decision tree and a random forest of scikit-learn, with its defaults. Importing this module loads neither
scikit-learn nor TensorFlow.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from tqdm import tqdm

from tlkeras.checks import Constraint, check_fields, check_image_size, one_of, or_none, whole
from tlkeras.errors import InputError
from tlkeras.machine import available_memory, format_size, n_cores
from tlkeras.schema import Predictions, Samples
from tlkeras.seeds import derive_seed
from tlkeras.training.recipe import Recipe

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

CLASSIFIERS = ("decision_tree", "random_forest")
PIXEL_FORMS = ("raw", "normalised", "rescaled")
_BATCH = 256  # images decoded and predicted at a time
_PROBED = 64  # the time of a tree is told from one that looks at a 64th of the features at each node
_QUICK = 2 * 10**7  # fewer numbers than this are fitted in seconds: nothing is told


@dataclass(frozen=True)
class PixelBaseline(Recipe):
    """A tree or a forest on the pixels of whole images, each grey level of each colour one feature.

    Without limits on depth, splitting by Gini impurity (Breiman et al., Classification and Regression Trees, 1984;
    Breiman, Machine Learning 45, 2001).

    Args:
        classifier: "decision_tree" or "random_forest".
        image_size: (height, width) in pixels; images of another size are resized. Features are 3 * height * width
            float32 per image.
        pixels: "raw" grey levels 0..255; "rescaled" to -1..1; "normalised", each image minus its mean, divided by its
            standard deviation (an image of one grey level becomes 0). A tree only asks which of two values of a
            feature is larger, so that rescaling, the same for all images, changes a prediction only where a grey
            level falls on a threshold; normalising is another for each image.
        n_trees: of the forest; None takes 100, scikit-learn's default (10 before its version 0.22 of December 2019).
            A decision tree has none.

    Raises:
        InputError: names the field, what it received and what it accepts.
    """

    learns_from: ClassVar[tuple[str, ...]] = ("train", "val")  # nothing is left to choose by val

    classifier: str
    _: KW_ONLY
    image_size: tuple[int, int] = (224, 224)
    pixels: str = "raw"
    n_trees: int | None = None

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "classifier": one_of(*CLASSIFIERS),
        "pixels": one_of(*PIXEL_FORMS),
        "n_trees": or_none(whole(1)).also(" for 100"),
    }

    def __post_init__(self):
        object.__setattr__(self, "image_size", check_image_size(self.image_size))
        check_fields(self, self._accepts)
        if self.classifier == "random_forest" and self.n_trees is None:
            object.__setattr__(self, "n_trees", 100)
        if self.classifier == "decision_tree" and self.n_trees is not None:
            raise InputError(
                f"PixelBaseline.n_trees: received {self.n_trees!r} for a {self.classifier}; accepted is None: it has "
                "one tree."
            )

    def words(self) -> dict[str, str]:
        """{setting: in words}, as pages print them; named so that they stand beside those of networks."""
        forest = {} if self.n_trees is None else {"trees in the forest": str(self.n_trees)}
        return forest | {"image size, trees": "x".join(map(str, self.image_size)), "pixels, trees": self.pixels}

    def for_smoke(self, side: int) -> PixelBaseline:
        """The same recipe, small enough to see in seconds whether it runs."""
        return self.resized((side, side))

    def fit(
        self,
        train: Samples | tuple[np.ndarray, np.ndarray],
        val: Samples | tuple[np.ndarray, np.ndarray] | None = None,
        *,
        seed: int,
        progress: bool = True,
    ) -> BaselineClassifier:
        """Decodes the images and grows the trees, on all cores.

        Says the memory of the features before anything is decoded, and the time the trees will take, from a small part
        of the work, before they are grown.

        Args:
            train: training samples with labels, or (images, labels): uint8 (n, H, W, 3) RGB and integers (n,).
            val: validation samples in the same form, or None. Nothing is chosen by them, so they are learnt from too.
            seed: the trees are a function of it, whatever the number of cores.
            progress: say what is done, and show bars on long work.

        Returns:
            BaselineClassifier, with predict(samples) and predict_pixels(images).

        Raises:
            InputError: samples without labels, a class without training image, unreadable files, or features that
                take more than the memory that is free.
        """
        from tlkeras.training.checks import as_samples, check_samples
        from tlkeras.training.progress import printer

        train = as_samples("train", train)
        val = None if val is None else as_samples("val", val, train.class_names)
        check_samples(train, val)
        parts = [train] if val is None else [train, val]
        labels = np.concatenate([samples.labels for samples in parts])
        say, estimator = printer(progress), _build_estimator(self, seed)
        _say_memory(self, len(labels), say)
        features = _decode_features(parts, self, progress)
        if progress:
            _say_time(estimator, features, labels, say)
        start = time.perf_counter()
        _grow(estimator, features, labels, progress)
        say(f"{self.classifier} grown in {time.perf_counter() - start:.1f} s")
        if self.classifier == "random_forest":
            estimator.set_params(n_jobs=1)  # several threads add the trees' answers up in the order they come
        return BaselineClassifier(estimator, train.class_names, self.image_size, self.pixels)


@dataclass(frozen=True, eq=False)
class BaselineClassifier:
    """What `PixelBaseline.fit` returns. It lives in memory: the same recipe, data and seed grow the same trees.

    Attributes:
        estimator: the fitted scikit-learn classifier, features float32 (n, 3 * H * W).
        class_names: the k classes, in the order of the probabilities.
        image_size: (height, width) in pixels.
        pixels: see `PixelBaseline`.
    """

    estimator: ClassifierMixin = field(repr=False)
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    pixels: str

    def predict(self, samples: Samples) -> Predictions:
        """Probabilities (the share of a leaf's training images, averaged over the trees) for every sample, in order.

        Raises:
            InputError: no samples, or of other classes; files that cannot be read.
        """
        from tlkeras.data.pipeline import decoded_batches
        from tlkeras.training.checks import to_predict

        samples = to_predict(samples, self.class_names)
        batches = decoded_batches(samples, self.image_size, _BATCH)
        return Predictions(samples=samples, probs=np.concatenate([self._probs(batch) for batch in batches]))

    def predict_pixels(self, images: np.ndarray) -> np.ndarray:
        """Probabilities for pixels that are in memory.

        Args:
            images: (n, H, W, 3), RGB, uint8 or float in [0, 255], (H, W) the classifier's `image_size`; n may be 0.

        Returns:
            float32 (n, k), in the order of `class_names`.

        Raises:
            InputError: images of another shape, or scaled to 0..1.
        """
        from tlkeras.training.checks import check_pixels

        batches = check_pixels(images, self.image_size, _BATCH)
        return np.concatenate([np.empty((0, len(self.class_names)), np.float32), *map(self._probs, batches)])

    def write_run(self, folder: str | os.PathLike) -> dict:
        """Writes nothing, for the same seed grows the same trees; see `TunedClassifier.write_run`."""
        return {"device": "CPU"}

    def _probs(self, batch: np.ndarray) -> np.ndarray:
        return self.estimator.predict_proba(_features(batch, self.pixels)).astype(np.float32)


def _features(images: np.ndarray, pixels: str) -> np.ndarray:
    """Images (b, H, W, 3) in 0..255 as float32 (b, 3 * H * W)."""
    values = images.reshape(len(images), -1).astype(np.float32)
    if pixels == "rescaled":
        return values / np.float32(127.5) - 1
    if pixels == "normalised":
        values -= values.mean(axis=1, keepdims=True)
        deviation = values.std(axis=1, keepdims=True)
        return np.divide(values, deviation, out=np.zeros_like(values), where=deviation > 0)
    return values


def _decode_features(parts: Sequence[Samples], recipe: PixelBaseline, progress: bool) -> np.ndarray:
    from tlkeras.data.pipeline import decoded_batches, with_bar

    n = sum(map(len, parts))
    features, start = np.empty((n, 3 * math.prod(recipe.image_size)), np.float32), 0
    batches = chain.from_iterable(decoded_batches(samples, recipe.image_size, _BATCH) for samples in parts)
    for batch in with_bar(batches, n, progress):
        features[start : start + len(batch)] = _features(batch, recipe.pixels)
        start += len(batch)
    return features


def _build_estimator(recipe: PixelBaseline, seed: int) -> ClassifierMixin:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    state = derive_seed(seed, "pixel_baseline")
    if recipe.classifier == "decision_tree":
        return DecisionTreeClassifier(random_state=state)
    return RandomForestClassifier(recipe.n_trees, random_state=state, n_jobs=n_cores())


def _grow(estimator: ClassifierMixin, features: np.ndarray, labels: np.ndarray, progress: bool) -> None:
    if not hasattr(estimator, "n_estimators"):
        estimator.fit(features, labels)
        return
    wanted, step = estimator.n_estimators, 10 * estimator.n_jobs
    silent = not progress or features.size < _QUICK
    # Adding trees gives the forest that one call gives: each tree's seed comes from its place.
    estimator.set_params(warm_start=True)
    with tqdm(total=wanted, desc="growing trees", unit="tree", disable=silent or None) as bar:
        for grown in range(0, wanted, step):
            n_trees = min(grown + step, wanted)
            # scikit-learn's threads race for the process's warning filters, and can leave them empty.
            with warnings.catch_warnings():
                estimator.set_params(n_estimators=n_trees).fit(features, labels)
            bar.update(n_trees - grown)
    estimator.set_params(warm_start=False)


def _say_memory(recipe: PixelBaseline, n: int, say) -> None:
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


def _say_time(estimator: ClassifierMixin, features: np.ndarray, labels: np.ndarray, say) -> None:
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
