"""A fitted classifier: predicts, and saves itself whole."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from tlkeras.backend import device_name, keras, pinned_state
from tlkeras.checks import check_image_size, one_of
from tlkeras.data.pipeline import epoch_batches, naming_files, pixel_batches
from tlkeras.errors import InputError
from tlkeras.evaluation.blocks import page_as_markdown
from tlkeras.evaluation.model_card import check_tested, kept_in_words, model_card
from tlkeras.files import write_csv, write_text
from tlkeras.models.classifier import encoder_of
from tlkeras.models.cut import Cut
from tlkeras.models.layers import functional_model
from tlkeras.models.probe import probe
from tlkeras.models.saved import MODEL_CARD, Card, read_saved, write_saved
from tlkeras.models.weights_file import WeightsFile
from tlkeras.schema import RESIZINGS, EpochLog, Precision, Predictions, Samples
from tlkeras.training.checks import check_pixels, to_predict
from tlkeras.training.features import features_of
from tlkeras.training.feed import KeptFeatures, Part
from tlkeras.training.memory import memory_in_words
from tlkeras.training.monitor import BALANCED

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

PREDICT_BATCH = 64

# Beside the classifiers, not in them: a copy's model is another one, and never answers with this one's features.
_KEPT: WeakKeyDictionary[keras.Model, tuple[Cut, KeptFeatures]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class TunedClassifier:
    """What `Tuner.fit` returns and `tl.load` reads.

    Attributes:
        model: keras.Model over raw pixels, float32 (B, H, W, 3) RGB in [0, 255], to probabilities (B, k).
        class_names: the k classes, in the order of the probabilities.
        image_size: (height, width) in pixels.
        resize: how images come to that size, as in `tl.read_pixels`.
        epochs: the training log, one EpochLog per epoch; empty for a model made elsewhere.
        layers: DataFrame of every layer and whether it learnt in each phase, or None.
        weights: the weights file the backbone started from, or None where it started from random ones.
        precision: what it computes in.
        images: {part: {class: how many images}} of the parts that `fit` saw, "train" and "val"; None of a model made
            elsewhere.

    It can be copied and pickled; a deep copy has weights of its own, and predicts by them. `save` writes what is to be
    kept or passed on: reading a pickle runs code that is in it.
    """

    model: keras.Model
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    epochs: tuple[EpochLog, ...] = ()
    layers: pd.DataFrame | None = None
    weights: WeightsFile | None = None
    precision: Precision = Precision()
    images: Mapping[str, Mapping[str, int]] | None = None
    resize: str = "squash"

    def __post_init__(self):
        names = tuple(str(name) for name in self.class_names)
        shape = getattr(self.model, "output_shape", None)  # a subclassed model has none
        if len(set(names)) != len(names) or "" in names or (isinstance(shape, tuple) and shape[-1] != len(names)):
            raise InputError(
                f"class_names: received {list(names)} for a model that gives {shape}; accepted are different names, "
                "none empty, one for each probability."
            )
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "image_size", check_image_size(self.image_size))
        one_of(*RESIZINGS).check("resize", self.resize)

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch: phase, epoch, seconds, loss, accuracy, val_loss, val_accuracy, kept; before kept the
        balanced figure that a phase was judged by, see `EpochLog`."""
        import pandas as pd

        table = pd.DataFrame([asdict(log) for log in self.epochs], columns=list(EpochLog.__dataclass_fields__))
        return table.drop(columns=[name for name in BALANCED if table[name].isna().all()])

    @property
    def kept(self) -> str:
        """Which epoch's weights it has, in words, e.g. "phase 1, epoch 3 of 10; no epoch of phase 2 was better"; "" for
        a model made elsewhere."""
        return kept_in_words(self.epochs)

    @property
    def kept_features(self) -> tuple[Cut, KeptFeatures] | None:
        """The model in two parts and where the features between them are kept, for `predict` to find them; None (as
        with a model that was loaded, or copied) runs the whole model."""
        return _KEPT.get(self.model)

    def keep_features(self, cut: Cut, kept: KeptFeatures) -> None:
        """Gives the model, while it lives, its `kept_features`."""
        _KEPT[self.model] = cut, kept

    @pinned_state()
    def predict(self, samples: Samples, *, views: int = 1, flips: str = "horizontal") -> Predictions:
        """Probabilities for every sample, in order; none is left out. Files are read as in training, bit for bit.

        Where `fit` kept features, those of these samples are found in its feature store, or added to it.

        Args:
            samples: n images.
            views: 2 averages those of an image and its mirror image, up to 10 shifted ones too; see
                `ensemble.with_views`, which gives a classifier that always does.
            flips: "both" adds each view upside down.

        Raises:
            InputError: no samples, or of other classes; files that cannot be read; views out of range.
        """
        if views != 1 or flips != "horizontal":
            from tlkeras.training.ensemble import with_views

            return with_views(self, views, flips=flips).predict(samples)
        samples = to_predict(samples, self.class_names)
        if self.kept_features is not None and self.kept_features[1].have_room(len(samples)):
            return Predictions(samples=samples, probs=self._predict_from_features(samples))
        with memory_in_words(
            f"predicting {PREDICT_BATCH} images of {self.image_size} at a time",
            "Free some, or train with a smaller image_size.",
        ):
            batches = pixel_batches(samples, self.image_size, PREDICT_BATCH, self.resize)
            probs = naming_files(samples, lambda: self.model.predict(batches, verbose=0))
        return Predictions(samples=samples, probs=probs)

    def _predict_from_features(self, samples: Samples) -> np.ndarray:
        cut, kept = _KEPT[self.model]
        part = Part(samples, self.image_size, resize=self.resize)
        features = kept.of(part.sources, part.stream)
        order = np.arange(len(samples))
        batches = epoch_batches(features.table, order, rows=features.rows, batch_size=PREDICT_BATCH)
        return cut.tail.predict(batches, verbose=0)

    def predict_pixels(self, images: np.ndarray) -> np.ndarray:
        """Probabilities for pixels that are in memory.

        An image's probabilities do not depend on the images beside it (beyond float32 rounding). Beyond images and
        result, memory is that of one batch of `PREDICT_BATCH` images, whatever their number.

        Args:
            images: (n, H, W, 3), RGB, uint8 or float in [0, 255], (H, W) the classifier's `image_size`; n may be 0.

        Returns:
            float32 (n, k), in the order of `class_names`.

        Raises:
            InputError: images of another shape, or scaled to 0..1.
        """
        batches = check_pixels(images, self.image_size, PREDICT_BATCH)
        if not batches:
            return np.empty((0, len(self.class_names)), np.float32)
        # `model.predict` sets up a data pipeline in every call, which takes as long as 15 images do in MobileNetV2.
        return np.concatenate([self.model.predict_on_batch(keras.ops.cast(batch, "float32")) for batch in batches])

    def features(self, samples: Samples, *, layer: str | None = None, pooling: str = "avg") -> np.ndarray:
        """What one layer makes of every sample, in order: float32 (n, d).

        Args:
            samples: n images.
            layer: its name; None takes what the head begins with (the output, of a model built elsewhere).
            pooling: what is made of a layer's positions: "avg", "max", or "flatten" for all of them.

        Raises:
            InputError: a layer that is not there; files that cannot be read.
        """
        encoder = encoder_of(functional_model(self), layer=layer, pooling=pooling)
        return features_of(encoder, samples, store=None, resize=self.resize)

    def write_run(self, folder: str | os.PathLike) -> dict:
        """Writes what a run keeps of it: history.csv, layers.csv and the model; returns facts about it."""
        write_csv(self.history, Path(folder) / "history.csv")
        if self.layers is not None:
            write_csv(self.layers, Path(folder) / "layers.csv")
        self._write_model(Path(folder))
        return {
            "parameters": self.model.count_params(),
            "weights": None if self.weights is None else self.weights.describe(),
            "precision": asdict(self.precision),
            "device": device_name(),
        }

    def save(self, folder: str | os.PathLike, *, tested: Mapping[str, Predictions] | None = None) -> Path:
        """Writes model.keras, then classifier.json beside it (classes, size, history, hash, probe, how many
        images it saw), and model_card.md, which says what the model is for and how well it does.

        Args:
            folder: where; made if it is not there.
            tested: {part: predictions for images it did not learn from}, for the card.

        Raises:
            InputError: `tested` is something else, or of other classes; nothing is written.
        """
        check_tested(tested, self.class_names)
        folder = Path(folder)
        card = model_card(self._write_model(folder).describe(), name=self.model.name, tested=tested)
        write_text(folder / MODEL_CARD, page_as_markdown(card, folder))
        return folder

    def _write_model(self, folder: Path) -> Card:
        return write_saved(
            folder,
            self.model,
            class_names=self.class_names,
            image_size=self.image_size,
            resize=self.resize,
            epochs=self.epochs,
            weights=self.weights,
            precision=self.precision,
            images=self.images,
        )

    def probe(self) -> list[float]:
        """The k probabilities for one fixed image of noise, to 6 decimals: `load` compares them with those saved."""
        return probe(self.model, self.image_size)


def load(folder: str | os.PathLike) -> TunedClassifier:
    """Reads what `TunedClassifier.save` wrote; the preprocessing comes back with the model, whose first layers it is.

    No code in the files is run: Keras' safe mode is on, and layers that bring code of their own are refused before
    Keras sees them. A layer of your own is taken where it is registered (keras.saving.register_keras_serializable).

    Args:
        folder: holds model.keras and classifier.json.

    Returns:
        TunedClassifier with class names, image size, history, precision, weights file and numbers of images as saved;
        `layers` is None. On the same machine its probabilities are those before saving, bit for bit.

    Raises:
        InputError: a file is damaged or foreign, or model.keras is not the one classifier.json was written for.
        MissingInputError: the folder or one of the files is not there.

    Warns:
        UserWarning: the model answers otherwise here than where it was saved.
    """
    model, card = read_saved(folder)
    return TunedClassifier(
        model=model,
        class_names=card.class_names,
        image_size=card.image_size,
        resize=card.resize,
        epochs=card.epochs,
        weights=card.weights,
        precision=card.precision,
        images=card.images,
    )
