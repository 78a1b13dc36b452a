"""Whether two sets of images are of one kind: how well a classifier tells them apart, and by what."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tlkeras.data.image_index import INDEX
from tlkeras.errors import InputError
from tlkeras.evaluation.intervals import intervals
from tlkeras.evaluation.tables import apart_from
from tlkeras.progress import say
from tlkeras.reviewing.familiarity import NEIGHBOURS, fit_familiarity
from tlkeras.schema import Predictions, Samples
from tlkeras.training.cross_validation import cross_validate
from tlkeras.training.extractor import Extractor
from tlkeras.training.feature_store import FeatureStore
from tlkeras.training.feed import Part

NETWORK = Extractor("mobilenetv2_050", "logistic_regression", image_size=(224, 224), arguments={"C": 0.01})
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
FEW_IMAGES = 10  # of a class in either set, below which its images alone are not told apart


@dataclass(frozen=True, eq=False)
class Shift:
    """What `shift` found.

    Attributes:
        names: of the two sets.
        shares: index the class names, columns the two sets: shares of their images, 0..1; None without labels.
        measured: index the set, columns images, groups, width, height (medians, pixels), level and contrast (means over
            the images of the mean and the standard deviation of their grey levels, 0..255).
        told_apart: which set each image is from, predicted by classifiers that saw neither it nor others of its group:
            Predictions over both sets, the first one's images first, with the sets as classes.
        classes: object (n,), the class of each of these images, "" where it has none.
        familiar: of each image of the second set the share of the first one's images that lie as far from the others as
            it does, float64 (m,), 0..1; see `Familiarity.share_as_far`.
    """

    names: tuple[str, str]
    shares: pd.DataFrame | None
    measured: pd.DataFrame
    told_apart: Predictions = field(repr=False)
    classes: np.ndarray = field(repr=False)
    familiar: np.ndarray = field(repr=False)

    def table(self, *, level: float = 0.95) -> pd.DataFrame:
        """How well the sets are told apart: ROC AUC, 0.5 where they are of one kind, 1 where no image is like the
        other set's.

        Returns:
            One row for all images, called "all" ("all average" where a class is called so), and one for each class of
            which both sets have 10 images, as shares of classes that differ tell the sets apart, too. Columns first and
            second (images, int64), roc_auc, low, high.
        """
        of_second = self.told_apart.samples.known_labels == 1
        names = dict.fromkeys(name for name in self.classes if name != "")
        chosen = {apart_from("all", names): np.ones(len(of_second), bool)}
        for name in names:
            of_class = self.classes == name
            if min((of_class & of_second).sum(), (of_class & ~of_second).sum()) >= FEW_IMAGES:
                chosen[name] = of_class
        rows = []
        for rows_of in chosen.values():
            part = np.flatnonzero(rows_of)
            predictions = Predictions(self.told_apart.samples.take(part), self.told_apart.probs[part])
            found = intervals(predictions, positive_class=self.names[1], metrics=["roc_auc"], level=level).iloc[0]
            counts = np.bincount(predictions.samples.known_labels, minlength=2)
            rows.append((*counts, found["value"], found["low"], found["high"]))
        index = pd.Index(list(chosen), name="images of")
        return pd.DataFrame(rows, index=index, columns=["first", "second", "roc_auc", "low", "high"])

    def least_familiar(self, n: int = 12) -> np.ndarray:
        """The rows, int64, of the images of the second set that are least like the first one's, the least first."""
        of_second = self.told_apart.probs[-len(self.familiar) :, 1]
        return np.lexsort((-of_second, self.familiar))[:n]


def shift(
    first: Samples,
    second: Samples,
    *,
    names: Sequence[str] = ("first", "second"),
    network: Extractor = NETWORK,
    folds: int = 5,
    seed: int = 0,
    weights_folder: str | None = None,
    store: FeatureStore | str | os.PathLike | bool = True,
) -> Shift:
    """Compares two sets of images: a second hospital's with the first one's, a test part with the training images.

    A classifier on a frozen network's features is asked which set an image is from, cross-validated over groups
    (classifier two-sample test: Lopez-Paz & Oquab, ICLR 2017; Rabanser, Günnemann & Lipton, Failing Loudly, NeurIPS
    2019). What tells them apart need not be what a diagnosis rests on: frames, devices, letters in a corner do, and so
    do shares of the classes, wherefore each class is told alone as well.

    Args:
        first: images with or without labels.
        second: likewise; where both have labels, of the same classes.
        names: what the two are called.
        network: an Extractor, whose classifier tells the sets apart.
        folds: of the cross-validation.
        seed: of the folds.
        weights_folder: as in `Extractor.fit`.
        store: likewise.

    Raises:
        InputError: one name for both, files beside arrays, other classes, or fewer groups in a set than folds.
    """
    names = tuple(map(str, names))
    if len(names) != 2 or names[0] == names[1]:
        raise InputError(f"names: received {names}; accepted are two that differ.")
    for name, samples in zip(names, (first, second), strict=True):
        if not len(samples):
            raise InputError(f"{name}: received no images.")
    sizes = [
        samples.images.shape[1:] if isinstance(samples.images, np.ndarray) else None for samples in (first, second)
    ]
    if sizes[0] != sizes[1]:
        raise InputError("second: received files beside arrays, or arrays of another size; accepted is what first is.")
    labelled = first.labels is not None and second.labels is not None
    if labelled and first.class_names != second.class_names:
        raise InputError(
            f"second: its classes are {list(second.class_names)}, those of first {list(first.class_names)}."
        )
    both = _together(first, second, names)
    found = cross_validate(network, both, folds=folds, seeds=(seed,), weights_folder=weights_folder, store=store)
    features = network.features(both, seed=seed, weights_folder=weights_folder, store=store)
    n = len(first)
    neighbours = min(NEIGHBOURS, max(1, n // 10))
    known = fit_familiarity(features[:n], first.groups, neighbours=neighbours)
    classes = np.full(len(both), "", dtype=object)
    shares = None
    if labelled:
        classes = np.array(first.class_names, dtype=object)[np.concatenate([first.known_labels, second.known_labels])]
        counts = {name: samples.class_counts() for name, samples in zip(names, (first, second), strict=True)}
        shares = pd.DataFrame(counts).rename_axis("class") / [len(first), len(second)]
    measured = {name: _measured(samples, network) for name, samples in zip(names, (first, second), strict=True)}
    told = Shift(
        names,
        shares,
        pd.DataFrame(measured).T.rename_axis("set"),
        found.predictions[0],
        classes,
        known.share_as_far(features[n:]),
    )
    say(f"shift: {names[0]} and {names[1]} are told apart with ROC AUC {told.table()['roc_auc'].iloc[0]:.3f}")
    return told


def _together(first: Samples, second: Samples, names: tuple[str, ...]) -> Samples:
    """Both as one, the set as the class. A group of both sets stays one: a patient of both is held out of both."""
    if isinstance(first.images, np.ndarray):
        images = np.concatenate([first.images, np.asarray(second.images)])
    else:
        images = (*first.images, *second.images)
    groups = None
    if first.groups is not None or second.groups is not None:
        groups = np.concatenate([_groups(samples, name) for samples, name in zip((first, second), names, strict=True)])
    ids = [
        f"{name}/{each}" for samples, name in zip((first, second), names, strict=True) for each in samples.sample_ids
    ]
    labels = np.repeat([0, 1], [len(first), len(second)])
    return Samples(images=images, labels=labels, class_names=names, groups=groups, sample_ids=ids)


def _groups(samples: Samples, name: str) -> np.ndarray:
    if samples.groups is not None:
        return samples.groups
    return np.array([f"{name} {each}" for each in samples.sample_ids], dtype=object)


def _measured(samples: Samples, network: Extractor) -> dict[str, float]:
    heights, widths = np.array([look.size for look in INDEX.looks(samples)]).T
    seen = Part(samples, network.image_size, resize=network.resize)
    means, deviations = [], []
    for batch in seen.stream(np.arange(len(samples))):
        grey = np.asarray(batch, np.float32) @ _GREY
        means += [*grey.mean(axis=(1, 2))]
        deviations += [*grey.std(axis=(1, 2))]
    return {
        "images": len(samples),
        "groups": len(samples) if samples.groups is None else len(set(samples.groups)),
        "width": float(np.median(widths)),
        "height": float(np.median(heights)),
        "level": float(np.mean(means)),
        "contrast": float(np.mean(deviations)),
    }
