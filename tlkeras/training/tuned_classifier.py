"""A fitted classifier: predicts, saves itself whole, and comes back equal."""

from __future__ import annotations

import os
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from tlkeras import __version__
from tlkeras.data.images import require_readable
from tlkeras.data.pipeline import pixel_batches
from tlkeras.files import atomic_write, read_json, sha256_of, write_json
from tlkeras.models.weights import WeightsFile
from tlkeras.schema import EpochLog, InputError, MissingInputError, Predictions, Samples
from tlkeras.seeds import generator

if TYPE_CHECKING:
    import pandas as pd

PREDICT_BATCH = 64
FINGERPRINT_TOLERANCE = 1e-3  # in probability; the same file on another machine's float32 kernels differs by far less


@dataclass(frozen=True, eq=False)
class TunedClassifier:
    """What `Tuner.fit` returns and `tl.load` reads.

    Attributes:
        model: keras.Model over raw pixels, float32 (B, H, W, 3) RGB in [0, 255], to probabilities (B, k).
        class_names: the k classes, in the order of the probabilities.
        image_size: (height, width) in pixels.
        epochs: the training log, one EpochLog per epoch; empty for a model made elsewhere.
        layers: DataFrame of every layer and whether it learnt in each phase, or None.
        weights: the weights file the backbone started from, or None where it started from random ones.
    """

    model: keras.Model
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    epochs: tuple[EpochLog, ...] = ()
    layers: pd.DataFrame | None = None
    weights: WeightsFile | None = None

    def __post_init__(self):
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "image_size", tuple(self.image_size))

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch: phase, epoch, seconds, loss, accuracy, val_loss, val_accuracy."""
        import pandas as pd

        return pd.DataFrame([asdict(log) for log in self.epochs], columns=list(EpochLog.__dataclass_fields__))

    def predict(self, samples: Samples) -> Predictions:
        """Probabilities for every sample, in order; none is left out. Files are read as in training, bit for bit."""
        if samples.labels is None and not samples.class_names:
            samples = replace(samples, class_names=self.class_names)
        if samples.class_names != self.class_names:
            raise InputError(
                f"samples: their classes {samples.class_names} are not those trained on, {self.class_names}. Read them "
                "with class_names=classifier.class_names."
            )
        if len(samples) == 0:
            raise InputError("samples: there are none to predict.")
        try:
            probs = self.model.predict(pixel_batches(samples, self.image_size, PREDICT_BATCH), verbose=0)
        except Exception:
            require_readable(samples)  # names the files, where it was they that stopped the pipeline
            raise
        return Predictions(samples=samples, probs=probs)

    def predict_pixels(self, images: np.ndarray) -> np.ndarray:
        """Probabilities float32 (n, k) for images (n, H, W, 3), RGB, uint8 or float in [0, 255], of `image_size`."""
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != (*self.image_size, 3):
            raise InputError(
                f"images: received shape {images.shape}; accepted is (n, {', '.join(map(str, self.image_size))}, 3). "
                "tl.read_pixels(path, classifier.image_size) reads a file to that size."
            )
        if np.issubdtype(images.dtype, np.floating) and images.size and images.max() <= 1 and (images % 1).any():
            raise InputError(
                "images: values lie in 0..1; accepted is 0..255, the model scales by itself. Multiply by 255."
            )
        return self.model.predict(images.astype(np.float32), batch_size=PREDICT_BATCH, verbose=0)

    def save(self, folder: str | os.PathLike) -> Path:
        """Writes model.keras, then classifier.json beside it (classes, size, history, hash, fingerprint)."""
        folder = Path(folder)
        with atomic_write(folder / "model.keras") as temporary:
            self.model.save(temporary)
        write_json(
            folder / "classifier.json",
            {
                "class_names": list(self.class_names),
                "image_size": list(self.image_size),
                "sha256": sha256_of(folder / "model.keras"),
                "fingerprint": self._fingerprint(),
                "weights": None if self.weights is None else self.weights.describe(),
                "versions": {"tlkeras": __version__, "keras": keras.__version__},
                "epochs": [asdict(log) for log in self.epochs],
            },
        )
        return folder

    def _fingerprint(self) -> list[float]:
        noise = generator(0, "fingerprint").integers(0, 256, (1, *self.image_size, 3), dtype=np.uint8)
        return [round(float(prob), 6) for prob in self.predict_pixels(noise)[0]]


def load(folder: str | os.PathLike) -> TunedClassifier:
    """Reads what `TunedClassifier.save` wrote, with Keras' safe mode on.

    Raises:
        InputError: a file is missing, or model.keras is not the one classifier.json was written for.

    Warns:
        UserWarning: the model answers otherwise here than where it was saved.
    """
    folder = Path(folder)
    for name in ("model.keras", "classifier.json"):
        if not (folder / name).is_file():
            raise MissingInputError(f"{folder} holds no {name}; give the folder that TunedClassifier.save wrote.")
    card = read_json(folder / "classifier.json")
    if sha256_of(folder / "model.keras") != card["sha256"]:
        raise InputError(f"{folder / 'model.keras'} is not the file classifier.json was written for (sha256 differs).")
    classifier = TunedClassifier(
        model=keras.saving.load_model(folder / "model.keras", compile=False, safe_mode=True),
        class_names=tuple(card["class_names"]),
        image_size=tuple(card["image_size"]),
        epochs=tuple(EpochLog(**log) for log in card["epochs"]),
        weights=None
        if card["weights"] is None
        else WeightsFile(**(card["weights"] | {"path": Path(card["weights"]["path"])})),
    )
    difference = np.abs(np.subtract(classifier._fingerprint(), card["fingerprint"])).max()
    if not difference <= FINGERPRINT_TOLERANCE:
        warnings.warn(
            f"{folder}: on one fixed image this model's probabilities differ by {difference:.2g} from those at saving "
            f"(keras {card['versions']['keras']} then, {keras.__version__} now). Check its results before using them.",
            stacklevel=2,
        )
    return classifier
