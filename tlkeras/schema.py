"""The nouns every module speaks: frozen, built on NumPy (and pandas where a table is asked for), free of TensorFlow."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.checks import check_rows
from tlkeras.errors import InputError
from tlkeras.given import Given, default

if TYPE_CHECKING:
    import pandas as pd

NOT_TESTS = ("train", "val")  # every other part is a test part
PROBABILITY_PREFIX = "prob_"  # predictions.csv holds one column `prob_<class_name>` per class


@dataclass(frozen=True, eq=False)
class Samples:
    """Labelled images, and what is known about each.

    Attributes:
        images: file paths as a tuple of n str, or the pixels themselves as uint8 (n, H, W, 3), RGB.
        labels: int64 (n,), each in 0..len(class_names)-1, or None where only predictions are asked for.
        class_names: the k class names; `label` i is `class_names[i]`.
        parts: str (n,), the data set's own part of each sample ("train", "val", "test", ...), or None.
        groups: str (n,), the patient or lesion of each sample, or None where it is unknown.
        metadata: the columns left over, one row per sample, or None.
        root: the folder the paths are told relative to in tables and predictions, or None.
        sample_ids: str (n,), names that survive `take`: the path below `root`, or the row number for arrays.

    Raises:
        InputError: where lengths, dtypes or ranges do not fit together.
    """

    images: Given[Iterable[str | os.PathLike[str]] | np.ndarray, tuple[str, ...] | np.ndarray]
    labels: Given[Sequence[int] | np.ndarray | None, np.ndarray | None]
    class_names: Given[Iterable[str], tuple[str, ...]]
    parts: Given[Sequence[str] | np.ndarray | None, np.ndarray | None] = default(None)
    groups: Given[Sequence[str] | np.ndarray | None, np.ndarray | None] = default(None)
    metadata: pd.DataFrame | None = None
    root: str | None = None
    sample_ids: Given[Sequence[str] | np.ndarray | None, np.ndarray] = default(None)

    def __post_init__(self):
        store = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731  (the dataclass is frozen)
        if not isinstance(self.images, np.ndarray):
            several = isinstance(self.images, Iterable) and not isinstance(self.images, str | bytes)
            images = tuple(self.images) if several else ()
            if not several or not all(isinstance(image, str | os.PathLike) for image in images):
                raise InputError(
                    f"images: received {textwrap.shorten(repr(self.images), 100)}; accepted are paths, in a list, or "
                    "an array. One image is a list of one."
                )
            store("images", tuple(map(os.fspath, images)))
        n = len(self.images)
        if isinstance(self.images, np.ndarray) and (
            self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[-1] != 3
        ):
            raise InputError(
                f"images: received an array of dtype {self.images.dtype} and shape {self.images.shape}; accepted is "
                "uint8 (n, H, W, 3), RGB in 0..255. Scale and cast before, e.g. (255 * images).astype('uint8')."
            )
        store("class_names", tuple(str(name) for name in self.class_names))
        if len(set(self.class_names)) != len(self.class_names):
            raise InputError(f"class_names: {list(self.class_names)} names a class twice.")
        for name in ("parts", "groups"):
            if getattr(self, name) is not None:
                store(name, np.asarray(getattr(self, name), dtype=object))
        if self.labels is not None:
            labels = np.asarray(self.labels)
            if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
                raise InputError(
                    f"labels: received dtype {labels.dtype}, shape {labels.shape}; accepted: integers (n,)."
                )
            if len(labels) and not (labels.min() >= 0 and labels.max() < len(self.class_names)):
                raise InputError(
                    f"labels: received values {labels.min()}..{labels.max()}; with {len(self.class_names)} class "
                    f"names accepted are 0..{len(self.class_names) - 1}."
                )
            store("labels", labels.astype(np.int64))
        if self.sample_ids is None:
            store("sample_ids", self._default_ids())
        else:
            store("sample_ids", np.asarray(self.sample_ids, dtype=object))
        for name in ("labels", "parts", "groups", "metadata", "sample_ids"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise InputError(f"{name}: received {len(value)} rows for {n} images; each image needs exactly one.")

    def _default_ids(self) -> np.ndarray:
        if isinstance(self.images, np.ndarray):
            ids = [f"{row:06d}" for row in range(len(self.images))]
        elif self.root is None:
            ids = list(self.images)
        else:
            ids = [os.path.relpath(path, self.root).replace(os.sep, "/") for path in self.images]
        return np.array(ids, dtype=object)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        kind = "arrays" if isinstance(self.images, np.ndarray) else "files"
        return f"Samples({len(self)} {kind}, classes={self.class_counts()})"

    def take(self, indices: Iterable[int] | Iterable[bool]) -> Samples:
        """Some of the samples.

        Args:
            indices: which, in that order: int (m,) in -n..n-1, repeats allowed. Or a mask, bool (n,), which takes the
                samples where it is True.

        Raises:
            InputError: a mask of another length, anything that is no integer, or a sample that is not there.
        """
        mask = np.asarray(indices)
        if mask.dtype == bool:
            if mask.shape != (len(self),):
                raise InputError(
                    f"indices: received a mask of shape {mask.shape} for {len(self)} samples; accepted is one True or "
                    "False for each of them."
                )
            indices = np.flatnonzero(mask)
        indices = check_rows("indices", indices, len(self))
        pick = lambda values: None if values is None else values[indices]  # noqa: E731
        return replace(
            self,
            images=self.images[indices]
            if isinstance(self.images, np.ndarray)
            else tuple(self.images[i] for i in indices),
            labels=pick(self.labels),
            parts=pick(self.parts),
            groups=pick(self.groups),
            metadata=None if self.metadata is None else self.metadata.iloc[indices].reset_index(drop=True),
            sample_ids=pick(self.sample_ids),
        )

    @property
    def known_labels(self) -> np.ndarray:
        """`labels`, where there is nothing to do without them: int64 (n,).

        Raises:
            InputError: these samples have none.
        """
        if self.labels is None:
            raise InputError("these samples have no labels.")
        return self.labels

    def class_counts(self) -> dict[str, int]:
        """How many samples each class has, in the order of `class_names`; empty where there are no labels."""
        if self.labels is None:
            return {}
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        return {name: int(count) for name, count in zip(self.class_names, counts, strict=True)}


@dataclass(frozen=True, eq=False)
class Splits:
    """Training, validation and test parts of one set of samples.

    Attributes:
        train: what the weights are fitted to.
        val: what chooses the epoch and stops training, or None where the experiment has no validation part.
        tests: {name: Samples}; at least one, and never used to choose anything.
        notes: what the reader of a result has to know about this split (class shares that drifted, groups joined).
    """

    train: Samples
    val: Samples | None
    tests: dict[str, Samples]
    notes: tuple[str, ...] = ()

    @property
    def test(self) -> Samples:
        """The only test part; where there are several, name one through `tests`."""
        if len(self.tests) != 1:
            raise InputError(
                f"there are {len(self.tests)} test parts {list(self.tests)}; take one by name: splits.tests[name]."
            )
        return next(iter(self.tests.values()))

    def parts(self) -> dict[str, Samples]:
        """{part name: samples}: train, val where there is one, then every test part."""
        return {"train": self.train} | ({} if self.val is None else {"val": self.val}) | self.tests


@dataclass(frozen=True)
class EpochLog:
    """One line of a training history. Losses are means per image; without validation samples val_* are None.

    val_balanced_loss and those after it are the figures of `tl.score` on the validation samples that count every class
    alike; the one that the phase's monitor names is there, the others are None.
    """

    phase: int  # 1, 2, ...
    epoch: int  # 1, 2, ... within the phase
    seconds: float
    loss: float
    accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    val_balanced_loss: float | None = None
    val_balanced_accuracy: float | None = None
    val_macro_f1: float | None = None
    val_roc_auc: float | None = None
    kept: bool = False  # whether the classifier has the weights of this epoch's end


# How an image whose aspect ratio is another comes to the size asked for: stretched, its middle cut out, or edges added.
RESIZINGS = ("squash", "crop", "pad")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Precision:
    """What a network computes in, and what that was measured to gain and cost.

    Attributes:
        name: one of `PRECISIONS`; weights stay float32 in each.
        milliseconds: {precision: forward pass per image}, where they were timed to choose.
        val_accuracy: of the trained network on the validation samples, 0..1, where it is compared.
        val_accuracy_float32: the same weights computing in float32.
    """

    name: str = "float32"
    milliseconds: dict[str, float] | None = None
    val_accuracy: float | None = None
    val_accuracy_float32: float | None = None


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier said about samples.

    Attributes:
        samples: the n samples; row i of `probs` belongs to sample i.
        probs: float32 (n, k), each row a probability per class, in the order of `samples.class_names`.
    """

    samples: Samples
    probs: np.ndarray

    def __post_init__(self):
        expected = (len(self.samples), len(self.samples.class_names))
        if not isinstance(self.probs, np.ndarray) or not np.issubdtype(self.probs.dtype, np.floating):
            received = getattr(self.probs, "dtype", type(self.probs).__name__)
            raise InputError(f"probs: received {received}; accepted is an array of floats {expected}.")
        if self.probs.shape != expected:
            raise InputError(f"probs: received shape {self.probs.shape}; accepted is {expected} (samples, classes).")

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def predicted(self) -> np.ndarray:
        """int64 (n,): the most probable label; the lowest label where several tie."""
        return self.probs.argmax(axis=1).astype(np.int64)

    @property
    def correct(self) -> np.ndarray:
        """bool (n,): whether the predicted label is the true one."""
        if self.samples.labels is None:
            raise InputError(
                "these predictions belong to samples without labels: there is nothing to score them against."
            )
        return self.predicted == self.samples.labels

    def to_frame(self, part: str) -> pd.DataFrame:
        """One row per sample: sample_id, part, group, path, label, predicted (class names), prob_<class> columns."""
        import pandas as pd

        samples, names = self.samples, np.array(self.samples.class_names, dtype=object)
        frame = pd.DataFrame(
            {
                "sample_id": samples.sample_ids,
                "part": part,
                "group": "" if samples.groups is None else samples.groups,
                "path": "" if isinstance(samples.images, np.ndarray) else samples.sample_ids,
                "label": "" if samples.labels is None else names[samples.labels],
                "predicted": names[self.predicted],
            }
        )
        probabilities = pd.DataFrame(self.probs, columns=[PROBABILITY_PREFIX + name for name in names])
        return pd.concat([frame, probabilities], axis=1)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Predictions:
        """The inverse of `to_frame`, for rows of one part; `samples.images` are the paths as they were written."""
        columns = [column for column in frame.columns if column.startswith(PROBABILITY_PREFIX)]
        names = tuple(column.removeprefix(PROBABILITY_PREFIX) for column in columns)
        index = {name: i for i, name in enumerate(names)}
        text = frame[["sample_id", "group", "path", "label"]].fillna("").astype(str)
        labelled = bool((text["label"] != "").all())
        grouped = bool((text["group"] != "").any())
        samples = Samples(
            images=tuple(text["path"]),
            labels=np.array([index[name] for name in text["label"]], dtype=np.int64) if labelled else None,
            class_names=names,
            groups=text["group"].to_numpy(dtype=object) if grouped else None,
            sample_ids=text["sample_id"].to_numpy(dtype=object),
        )
        return cls(samples=samples, probs=frame[columns].to_numpy(dtype=np.float32))


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which regions of one image spoke for a label, and how far to trust that.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        segments: int (H, W), region numbers 0..n-1.
        weights: float (n,); region i's weight in the local linear model: above 0 it spoke for `label`, below against.
        label: the class explained (int).
        class_name: its name.
        probability: what the classifier gave this label on the whole image.
        r2: the local linear model's coefficient of determination on the perturbed copies: 1 fits, 0 says nothing. It
            means nothing where no weight differs from 0: a constant is fitted by a constant.
        stability: mean rank correlation of the weights over repeated seeds, or None where it was not repeated.
    """

    image: np.ndarray
    segments: np.ndarray
    weights: np.ndarray
    label: int
    class_name: str
    probability: float
    r2: float
    stability: float | None = None


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Where in one image a layer's features spoke for a label.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        heat: float32 (H, W) in 0..1: the layer's map after ReLU, resized bilinearly to the image and divided by its
            maximum; all 0 where nothing spoke for `label`.
        label: the class explained (int).
        class_name: its name.
        probability: what the classifier gave this label.
        layer: the name of the layer whose output was read.
    """

    image: np.ndarray
    heat: np.ndarray
    label: int
    class_name: str
    probability: float
    layer: str


@dataclass(frozen=True, eq=False)
class Activations:
    """What one layer makes of one image.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        maps: float32 (h, w, channels), the layer's output.
        layer: its name.
    """

    image: np.ndarray
    maps: np.ndarray
    layer: str
