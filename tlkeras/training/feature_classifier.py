"""A classifier of scikit-learn on features of images, a frozen network's or pixels: how it is fitted and predicts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.backend import device_name, keras
from tlkeras.errors import InputError
from tlkeras.models.classifier import build_encoder
from tlkeras.models.weights import find_weights
from tlkeras.models.weights_file import WeightsFile
from tlkeras.models.zoo import get_backbone
from tlkeras.progress import say
from tlkeras.schema import Predictions, Samples
from tlkeras.seeds import derive_seed
from tlkeras.training.checks import check_pixels, samples_to_fit, to_predict
from tlkeras.training.extractor import CLASSIFIERS, Extractor
from tlkeras.training.feature_store import BATCH, FeatureStore, open_store
from tlkeras.training.features import features_of, run_network
from tlkeras.training.inner_folds import inner_folds

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

    from tlkeras.training.pixel_trees import PixelFeatures

# Of a support vector machine: what makes its distances probabilities, one distance for each class.
_OUR_OWN = ("probability", "decision_function_shape")
# Scores on images drawn one by one, whose patients or lesions were learnt from; nothing here reads them.
_HELD_OUT_BY_IMAGE = ("oob_score",)


def fit_extractor(
    recipe: Extractor,
    train: Samples | tuple[np.ndarray, np.ndarray],
    val: Samples | tuple[np.ndarray, np.ndarray] | None,
    *,
    seed: int,
    weights_folder: str | None = None,
    store: FeatureStore | str | os.PathLike | bool = True,
    source: NetworkFeatures | None = None,
) -> FeatureClassifier:
    """See `Extractor.fit`; of several fits `source` saves building the same network again."""
    train, _ = samples_to_fit(train, val)
    estimator = _build_estimator(recipe, train, seed)
    source = source or network_features(recipe, seed=seed, weights_folder=weights_folder, store=store)
    features = source.of(train)
    start = time.perf_counter()
    _fit(estimator, recipe, features, train.known_labels)
    say(
        f"{recipe.classifier} on {features.shape[1]:,} features of {len(train):,} images, fitted in "
        f"{time.perf_counter() - start:.1f} s"
    )
    return FeatureClassifier(source, estimator, train.class_names)


def network_features(
    recipe: Extractor,
    *,
    seed: int,
    weights_folder: str | None = None,
    store: FeatureStore | str | os.PathLike | bool = True,
) -> NetworkFeatures:
    """The network whose features the recipe takes; see `Extractor.features`."""
    backbone = get_backbone(recipe.backbone)
    weights = find_weights(backbone, recipe.weights, folder=weights_folder)
    say(f"{backbone.name}, weights: {'random' if weights is None else weights.path.name}")
    if weights is not None and weights.note:
        say(f"note: {weights.note}")
    network = build_encoder(
        backbone,
        image_size=recipe.image_size,
        weights=weights,
        layer=recipe.layer,
        pooling=recipe.pooling,
        preprocessing=recipe.preprocessing,
        precision=recipe.precision,
        seed=derive_seed(seed, "weights"),
    )
    return NetworkFeatures(network, weights, open_store(store), recipe.feature_dtype, recipe.resize)


@dataclass(frozen=True, eq=False)
class NetworkFeatures:
    """What a frozen network gives for images.

    Attributes:
        network: keras.Model over raw pixels, float32 (B, H, W, 3) RGB in [0, 255], to features float32 (B, d).
        weights: the weights file of the network, or None for random ones.
        store: where features are found and kept, or None.
        dtype: they are kept in.
        resize: how images come to the network's size.
    """

    network: keras.Model
    weights: WeightsFile | None = None
    store: FeatureStore | None = field(default=None, repr=False)
    dtype: str = "float32"
    resize: str = "squash"

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.network.input_shape[1:3]

    def of(self, samples: Samples, **shown: Any) -> np.ndarray:
        """The features of every sample, in order, before scaling: float32 (n, d); see `features.features_of`."""
        return features_of(self.network, samples, store=self.store, dtype=self.dtype, resize=self.resize, **shown)

    def batches(self, samples: Samples) -> Iterator[np.ndarray]:
        """The same, to be predicted all at once."""
        yield self.of(samples)

    def of_pixels(self, images: np.ndarray) -> np.ndarray:
        """The features of images (b, H, W, 3) in 0..255: float32 (b, d)."""
        return run_network(self.network, images)

    def describe(self) -> dict:
        """What a run folder keeps of it."""
        return {
            "features": self.network.output_shape[1],
            "weights": None if self.weights is None else self.weights.describe(),
            "device": device_name(),
        }


@dataclass(frozen=True, eq=False)
class FeatureClassifier:
    """What `Extractor.fit` and `PixelBaseline.fit` return: scikit-learn's classifier on features of images.

    It lives in memory: recipe, data and seed make the same one again.

    Attributes:
        source: makes the features: NetworkFeatures of an Extractor, PixelFeatures of a PixelBaseline.
        estimator: the fitted scikit-learn classifier or pipeline, from features (n, d) to probabilities (n, k).
        class_names: the k classes, in the order of the probabilities.
    """

    source: NetworkFeatures | PixelFeatures
    estimator: ClassifierMixin = field(repr=False)
    class_names: tuple[str, ...]

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.source.image_size

    @property
    def resize(self) -> str:
        """How images come to that size, as in `tl.read_pixels`."""
        return self.source.resize

    def features(self, samples: Samples) -> np.ndarray:
        """The features of every sample, in order, before scaling: float32 (n, d).

        Raises:
            InputError: files that cannot be read.
        """
        return self.source.of(samples)

    def predict(self, samples: Samples) -> Predictions:
        """Probabilities for every sample, in order; none is left out. Features are found in a store, or added.

        Raises:
            InputError: no samples, or of other classes; files that cannot be read.
        """
        samples = to_predict(samples, self.class_names)
        return Predictions(samples=samples, probs=np.concatenate([*map(self._probs, self.source.batches(samples))]))

    def predict_pixels(self, images: np.ndarray) -> np.ndarray:
        """Probabilities for pixels that are in memory.

        Args:
            images: (n, H, W, 3), RGB, uint8 or float in [0, 255], (H, W) the classifier's `image_size`; n may be 0.

        Returns:
            float32 (n, k), in the order of `class_names`.

        Raises:
            InputError: images of another shape, or scaled to 0..1.
        """
        batches = check_pixels(images, self.image_size, BATCH)
        probs = [self._probs(self.source.of_pixels(batch)) for batch in batches]
        return np.concatenate([np.empty((0, len(self.class_names)), np.float32), *probs])

    def write_run(self, folder: str | os.PathLike) -> dict:
        """Writes nothing, for the same one can be fitted again; see `TunedClassifier.write_run`."""
        return self.source.describe()

    def _probs(self, features: np.ndarray) -> np.ndarray:
        probs = self.estimator.predict_proba(features)
        # Log-likelihoods of naive Bayes can be so large that what float64 leaves of their differences sums to no 1.
        return (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)


def _fit(estimator: ClassifierMixin, recipe: Extractor, features: np.ndarray, labels: np.ndarray) -> None:
    if recipe.classifier == "naive_bayes" and not np.ptp(features, axis=0).any():  # its variances would be 0
        raise InputError(
            f"train: the network gives the same features for all {len(features):,} images, of which naive_bayes can "
            "make no probabilities. Take other images, another layer, or weights that are not broken."
        )
    try:
        estimator.fit(features, labels)
    except (TypeError, ValueError) as error:
        if not recipe.arguments:
            raise
        raise InputError(
            f"Extractor.arguments: received {recipe.arguments}, with which {recipe.classifier} cannot be fitted: "
            f"{error}"
        ) from error


def _build_estimator(recipe: Extractor, train: Samples, seed: int) -> ClassifierMixin:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    module, name, defaults = CLASSIFIERS[recipe.classifier]
    state = derive_seed(seed, "extractor")
    classifier = getattr(import_module(module), name)()
    ours = (*_OUR_OWN, *_HELD_OUT_BY_IMAGE)
    accepted = [argument for argument in classifier.get_params() if argument not in ours]
    for argument in _HELD_OUT_BY_IMAGE:
        if argument in recipe.arguments:
            raise InputError(
                f"Extractor.arguments: received {argument}, which holds out image by image: others of the same patient "
                "or lesion are learnt from. Leave it out; tl.Search and tl.KFold hold out whole groups."
            )
    unknown = [str(argument) for argument in recipe.arguments if argument not in accepted]
    if unknown:
        raise InputError(
            f"Extractor.arguments: received {', '.join(unknown)}; accepted of scikit-learn's {name}: "
            f"{', '.join(accepted)}."
        )
    given = {**defaults, **({"random_state": state} if "random_state" in accepted else {}), **recipe.arguments}
    classifier.set_params(**given)
    neighbours = given.get("n_neighbors", 0)
    if isinstance(neighbours, int) and neighbours > len(train):
        raise InputError(f"Extractor.arguments: n_neighbors={neighbours}, and there are {len(train)} training images.")
    pipeline = make_pipeline(*[StandardScaler()] * (recipe.scaling == "standard"), classifier)
    if hasattr(pipeline, "predict_proba"):
        return pipeline
    # A support vector machine has distances, not probabilities. One temperature, fitted to the distances of training
    # images that were held out in turn, makes some of them and leaves every decision as it is (Guo et al., ICML 2017).
    # Where classes have as many votes, the larger distance decides: break_ties, which SVC has to be asked for.
    folds = inner_folds(train, state, f"the probabilities of {recipe.classifier}")
    return CalibratedClassifierCV(pipeline, method="temperature", ensemble=False, cv=folds)
