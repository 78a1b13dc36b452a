"""Features of a network that learns nothing, and a classifier of scikit-learn on them.

Declarations only: importing this module loads neither scikit-learn nor TensorFlow.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from tlkeras.checks import Constraint, check_fields, instance_of, mapping, one_of, or_none
from tlkeras.given import Given, default
from tlkeras.models.backbones import HEAD_PREFIX, PREPROCESSING, Backbone
from tlkeras.models.head import POOLINGS
from tlkeras.schema import PRECISIONS, RESIZINGS, Samples
from tlkeras.training.feature_table import FEATURE_DTYPES
from tlkeras.training.recipe import NetworkRecipe, Weights, words_of

if TYPE_CHECKING:
    import numpy as np

    from tlkeras.training.feature_classifier import FeatureClassifier
    from tlkeras.training.feature_store import FeatureStore

# {name: (module, class, arguments)} of scikit-learn; what is not named here are its defaults.
CLASSIFIERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "knn": ("sklearn.neighbors", "KNeighborsClassifier", {"n_neighbors": 3}),
    "svm": ("sklearn.svm", "SVC", {"kernel": "rbf"}),
    "logistic_regression": ("sklearn.linear_model", "LogisticRegression", {"max_iter": 1000}),
    "random_forest": ("sklearn.ensemble", "RandomForestClassifier", {"n_estimators": 100}),
    "decision_tree": ("sklearn.tree", "DecisionTreeClassifier", {}),
    "naive_bayes": ("sklearn.naive_bayes", "GaussianNB", {}),
}
SCALINGS = ("standard", "none")


@dataclass(frozen=True)
class Extractor(NetworkRecipe):
    """A frozen network's features, and a classifier of scikit-learn that learns from them.

    Features as an off-the-shelf representation: Razavian et al., CNN Features off-the-shelf, CVPR workshops 2014.

    Args:
        backbone: a name of `tl.BACKBONES`, or a Backbone of your own.
        classifier: "knn" (k = 3), "svm" (RBF kernel), "logistic_regression", "random_forest", "decision_tree" or
            "naive_bayes", with scikit-learn's defaults but for those in brackets. Where votes of the SVM's pairs of
            classes tie, the farthest inside wins (scikit-learn's break_ties), so that decisions and probabilities
            agree. Its probabilities come from one temperature, fitted to training images that five folds hold out,
            whole groups as in `tl.KFold`: every class has to be learnt without any one of them.
        weights: "imagenet", None for random ones, a weights file, or an earlier run's saved classifier; in an
            Experiment's cells also a tl.EarlierRun.
        image_size: (height, width) in pixels; None takes the network's native size, also for an earlier run's weights,
            whatever size that run was trained at.
        layer: whose output the features are; None takes the backbone's last. With an earlier run's classifier as
            weights also one of its head, e.g. "head_dense_1", with the preprocessing and precision it was trained with.
        pooling: what is made of a layer's positions: "avg", "max", or "flatten" for all of them.
        scaling: "standard" gives every feature mean 0 and deviation 1 over the training images; "none" leaves them.
        arguments: further arguments of scikit-learn's class, e.g. {"n_neighbors": 5}.
        resize: as in `tl.Tuner`.
        preprocessing: as in `tl.Tuner`.
        precision: what the network computes in: "float32", "bfloat16" or "float16".
        feature_dtype: how features are kept: "float32", or "float16" for half the room.

    Raises:
        InputError: names the field, what it received and what it accepts.
    """

    fit_options: ClassVar[tuple[str, ...]] = ("weights_folder", "store")

    backbone: str | Backbone
    classifier: str = "knn"
    _: KW_ONLY
    weights: Weights = "imagenet"
    image_size: Given[tuple[int, int] | None, tuple[int, int]] = default(None)
    layer: str | None = None
    pooling: str = "avg"
    scaling: str = "standard"
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    resize: str = "squash"
    preprocessing: str = "backbone"
    precision: str = "float32"
    feature_dtype: str = "float32"

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "classifier": one_of(*CLASSIFIERS),
        "layer": or_none(instance_of(str, "the name of a layer")),
        "pooling": one_of(*POOLINGS),
        "scaling": one_of(*SCALINGS),
        "arguments": mapping(),
        "resize": one_of(*RESIZINGS),
        "preprocessing": one_of("backbone", *PREPROCESSING),
        "precision": one_of(*PRECISIONS),
        "feature_dtype": one_of(*FEATURE_DTYPES),
    }

    def __post_init__(self):
        object.__setattr__(self, "image_size", self._checked_image_size())
        check_fields(self, self._accepts)

    def words(self) -> dict[str, str]:
        """{setting: in words}, as pages print them."""
        given = "".join(f", {name}={words_of(value)}" for name, value in self.arguments.items())
        return self._number_words() | {
            "classifier on features": self.classifier + given,
            "features": f"{self.layer or 'last of the backbone'}, pooling {self.pooling}",
            "scaling of features": self.scaling,
            **self._input_words(),
        }

    @property
    def draws(self) -> bool:
        """Whether another seed would fit another classifier to the same features."""
        solver = self.arguments.get("solver", "lbfgs") if self.classifier == "logistic_regression" else None
        return self.classifier not in ("knn", "naive_bayes") and solver not in ("lbfgs", "newton-cg", "newton-cholesky")

    def in_precision(self, precision: str) -> Extractor:
        """The same recipe computing in another precision; "auto", which times a training, leaves it as it is."""
        return self if precision == "auto" else replace(self, precision=precision)

    def for_smoke(self, side: int) -> Extractor:
        """The same recipe, small enough to see in seconds whether it runs: random weights, images of `side` pixels.

        In place of a layer of an earlier run's head, which random weights have none of, comes the backbone's last.
        """
        layer = None if (self.layer or "").startswith(HEAD_PREFIX) else self.layer
        return replace(self, image_size=self._side_for_smoke(side), weights=None, layer=layer)

    def features(
        self,
        samples: Samples,
        *,
        seed: int = 0,
        weights_folder: str | None = None,
        store: FeatureStore | str | os.PathLike | bool = True,
    ) -> np.ndarray:
        """The network's features of every sample, in order, before scaling; nothing is fitted.

        Args:
            samples: n images, labelled or not.
            seed: random weights are a function of it.
            weights_folder: as in `fit`.
            store: as in `fit`.

        Returns:
            float32 (n, d).

        Raises:
            InputError: unreadable files, or a layer that is not there.
        """
        from tlkeras.training.feature_classifier import network_features

        return network_features(self, seed=seed, weights_folder=weights_folder, store=store).of(samples)

    def fit(
        self,
        train: Samples | tuple[np.ndarray, np.ndarray],
        val: Samples | tuple[np.ndarray, np.ndarray] | None = None,
        *,
        seed: int,
        weights_folder: str | None = None,
        store: FeatureStore | str | os.PathLike | bool = True,
    ) -> FeatureClassifier:
        """Computes the features of the training images, or finds them in the feature store, and fits the classifier.

        Args:
            train: training samples with labels, or (images, labels): uint8 (n, H, W, 3) RGB and integers (n,).
            val: accepted as every recipe does; nothing is chosen by it, and nothing fitted to it.
            seed: random weights, and the draws of the classifier, are functions of it.
            weights_folder: where weight files are looked for first; see `tlkeras.models.weights`.
            store: as in `Tuner.fit`.

        Raises:
            InputError: samples without labels, a class without training image, unreadable files, a layer that is not
                there, arguments that scikit-learn's class does not take.
        """
        from tlkeras.training.feature_classifier import fit_extractor

        return fit_extractor(self, train, val, seed=seed, weights_folder=weights_folder, store=store)
