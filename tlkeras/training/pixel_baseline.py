"""Trees on pixels: what a classifier reaches that learns no features. The baseline a network has to beat.

A decision tree and a random forest of scikit-learn, with its defaults. Importing this module loads neither
scikit-learn nor TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar

from tlkeras.checks import Constraint, check_fields, check_image_size, one_of, or_none, whole
from tlkeras.errors import InputError
from tlkeras.schema import Samples
from tlkeras.training.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np

    from tlkeras.training.feature_classifier import FeatureClassifier

CLASSIFIERS = ("decision_tree", "random_forest")
PIXEL_FORMS = ("raw", "normalised", "rescaled")


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
    ) -> FeatureClassifier:
        """Decodes the images and grows the trees, on all cores.

        Says the memory of the features before anything is decoded, and the time the trees will take, from a small part
        of the work, before they are grown.

        Args:
            train: training samples with labels, or (images, labels): uint8 (n, H, W, 3) RGB and integers (n,).
            val: validation samples in the same form, or None. Nothing is chosen by them, so they are learnt from too.
            seed: the trees are a function of it, whatever the number of cores.

        Returns:
            FeatureClassifier, with predict(samples) and predict_pixels(images).

        Raises:
            InputError: samples without labels, a class without training image, unreadable files, or features that
                take more than the memory that is free.
        """
        from tlkeras.training.pixel_trees import fit_pixel_baseline

        return fit_pixel_baseline(self, train, val, seed=seed)
