"""LIME for one image: which regions speak for a label (Ribeiro, Singh & Guestrin, KDD 2016, arXiv:1602.04938).

The weights are those of the lime package. Only the making of perturbed copies is ours: they are made for a whole batch
at once, and copies that show the same regions are predicted once.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
from lime.lime_image import LimeImageExplainer
from scipy.stats import rankdata

from tlkeras.checks import check_whole
from tlkeras.errors import InputError, MissingInputError
from tlkeras.explaining.pixels import PixelClassifier, check_classifier, predict_probs, uint8_image
from tlkeras.explaining.segmentation import segment
from tlkeras.files import atomic_write
from tlkeras.progress import bar
from tlkeras.schema import Explanation
from tlkeras.seeds import derive_seed

# Decimals at which weights are ranked: a region that does not matter gets 1e-17, and such noise has no order.
SAME_DIGITS = 9
_LARGEST_SEED = 2**32 - 1  # of the generator that lime draws from


def explain(
    classifier: PixelClassifier,
    image: np.ndarray,
    *,
    label: int | None = None,
    n_samples: int = 1000,
    seed: int,
    n_repeats: int = 1,
    n_segments: int = 10,
    segmentation: str | np.ndarray = "slic",
    hide: str | float | tuple[float, float, float] = "mean",
    batch_size: int = 64,
) -> Explanation:
    """Fits a linear model to what the classifier says of copies of the image with random regions hidden.

    Args:
        classifier: anything with `predict_pixels` and `class_names`.
        image: (H, W, 3), RGB, 0..255, uint8 or float (rounded to whole grey levels).
        label: the class to explain; None takes the predicted one.
        n_samples: perturbed copies, the whole image among them.
        seed: lime's `random_state`: the weights are a function of classifier, image, regions and this.
        n_repeats: how many seeds to explain with, to see how far chance moves the weights. Weights and r2 are always
            those of `seed`; the further seeds are `derive_seed(seed, "lime", k)`, k = 1..n_repeats-1.
        n_segments: see `tlkeras.explaining.segmentation.segment`.
        segmentation: "slic", "quickshift" or "felzenszwalb", or your own regions as integers (H, W).
        hide: what a hidden region shows: "mean", its own mean colour, or a grey level or RGB colour in 0..255.
        batch_size: copies per call of the classifier.

    Returns:
        Explanation, with lime's weight of every region and lime's r2. With n_repeats above 1, `stability` is the mean
        Spearman rank correlation of the weights over all pairs of repeats, in -1..1. It is about the order of all
        regions: where one decides and the others hardly matter, it is low although the one is certain. NaN where the
        weights of one repeat are equal to 9 decimals (the classifier does not react to what is hidden).

    Raises:
        InputError: an argument out of range, pixels in 0..1, an image that holds a single region, or a classifier that
            gives anything but one finite probability per image and class.
    """
    check_classifier(classifier)
    image = uint8_image(image)
    n_samples, n_repeats = check_whole("n_samples", n_samples, 2), check_whole("n_repeats", n_repeats, 1)
    batch_size, seed = check_whole("batch_size", batch_size, 1), check_whole("seed", seed, 0, _LARGEST_SEED)
    if label is not None:
        label = check_whole("label", label, 0, len(classifier.class_names) - 1, also=", or None for the predicted one")
    segments = segment(image, segmentation=segmentation, n_segments=n_segments)
    copies = _Copies(image, segments, hide)
    seeds = [seed, *(derive_seed(seed, "lime", k) for k in range(1, n_repeats))]
    shown = np.concatenate([_draw_shown(each, n_samples, copies.n_regions) for each in seeds])
    distinct, copy_of = np.unique(shown, axis=0, return_inverse=True)
    copy_of = copy_of.reshape(-1)
    probs = _predict_copies(classifier, copies, distinct, batch_size)
    whole = probs[copy_of[0]]
    label = int(whole.argmax()) if label is None else label
    fits = [
        _fit(image, segments, each, shown[rows], probs[copy_of[rows]], label)
        for each, rows in zip(seeds, np.split(np.arange(len(shown)), n_repeats), strict=True)
    ]
    weights, r2 = fits[0]
    return Explanation(
        image=image,
        segments=segments,
        weights=weights,
        label=label,
        class_name=classifier.class_names[label],
        probability=float(whole[label]),
        r2=r2,
        stability=None if n_repeats == 1 else _stability(np.stack([weights for weights, _ in fits])),
    )


def perturbed_copies(
    explanation: Explanation, *, seed: int, n: int, hide: str | float | tuple[float, float, float] = "mean"
) -> np.ndarray:
    """The first perturbed copies that an explanation was fitted to, as the classifier saw them.

    Args:
        explanation: from `explain`.
        seed: what `explain` was given.
        n: how many copies, at least 1; beyond the n_samples - 1 of `explain` come those that more samples would add.
        hide: what `explain` was given.

    Returns:
        uint8 (n, H, W, 3), RGB, in the order lime draws them; the whole image, which is always the first, is left out.

    Raises:
        InputError: an argument out of range.
    """
    n, seed = check_whole("n", n, 1), check_whole("seed", seed, 0, _LARGEST_SEED)
    copies = _Copies(explanation.image, explanation.segments, hide)
    return copies.showing(_draw_shown(seed, n + 1, copies.n_regions)[1:])


def _draw_shown(seed: int, n_samples: int, n_regions: int) -> np.ndarray:
    """uint8 (n_samples, n_regions): 1 where a copy shows a region. The same draws, in the same order, as lime's."""
    random_state = np.random.RandomState(seed)
    random_state.randint(0, 1000)  # lime's seed for a segmentation of its own
    shown = random_state.randint(0, 2, n_samples * n_regions).reshape(n_samples, n_regions)
    shown[0] = 1
    return shown.astype(np.uint8)


class _Copies:
    """Copies of one image that show some of its regions."""

    def __init__(self, image: np.ndarray, segments: np.ndarray, hide):
        self.n_regions = int(segments.max()) + 1
        self._shape = image.shape
        self._hidden = _hidden_image(image, segments, hide).reshape(-1)
        # Of two bytes a and b, b ^ ((a ^ b) & mask) is a for mask 255 and b for mask 0: eight times faster than
        # np.where on pixels, whose mask has no channels.
        self._difference = image.reshape(-1) ^ self._hidden
        self._region_of_byte = np.repeat(segments.reshape(-1), 3)

    def showing(self, shown: np.ndarray) -> np.ndarray:
        """uint8 (b, H, W, 3) for `shown`, uint8 (b, n_regions) of 0 and 1."""
        copies = np.take(shown * np.uint8(255), self._region_of_byte, axis=1)
        copies &= self._difference
        copies ^= self._hidden
        return copies.reshape(-1, *self._shape)


class _AnsweredExplainer(LimeImageExplainer):
    """Stock lime, for copies that were drawn and predicted before."""

    def __init__(self, seed: int, shown: np.ndarray, probs: np.ndarray):
        super().__init__(random_state=seed)
        self._answers = shown, probs

    def data_labels(self, *_, **__):
        return self._answers


def _fit(image, segments, seed, shown, probs, label) -> tuple[np.ndarray, float]:
    """Lime's weight of every region, float64 (n_regions,), and its r2."""
    # A fresh explainer: its random state runs on from image to image.
    fitted = _AnsweredExplainer(seed, shown.astype(np.int64), probs).explain_instance(
        image,
        None,
        labels=(label,),
        top_labels=None,
        hide_color=0,  # lime's copies go unused; this spares it the mean colours
        num_samples=len(shown),
        segmentation_fn=lambda _: segments,
    )
    weights = np.zeros(shown.shape[1])
    for region, weight in fitted.local_exp[label]:
        weights[region] = weight
    return weights, float(fitted.score)


def _stability(weights: np.ndarray) -> float:
    """Mean Spearman correlation over all pairs of rows of `weights`, (n_repeats, n_regions)."""
    weights = np.round(weights, SAME_DIGITS)
    if (np.ptp(weights, axis=1) == 0).any():
        return float("nan")
    correlations = np.corrcoef(rankdata(weights, axis=1))
    return float(correlations[np.triu_indices(len(weights), k=1)].mean())


def _predict_copies(classifier, copies: _Copies, shown: np.ndarray, batch_size: int) -> np.ndarray:
    probs = []
    with bar("explaining", len(shown), "image") as steps:
        for start in range(0, len(shown), batch_size):
            images = copies.showing(shown[start : start + batch_size])
            probs.append(predict_probs(classifier, images))
            steps.update(len(images))
    return np.concatenate(probs)


def _hidden_image(image: np.ndarray, segments: np.ndarray, hide) -> np.ndarray:
    """uint8 (H, W, 3): what is seen where a region is hidden."""
    if not (isinstance(hide, str) and hide == "mean"):
        return np.broadcast_to(_hide_color(hide), image.shape).astype(np.uint8)
    flat = segments.reshape(-1)
    size = np.bincount(flat)
    means = np.stack([np.bincount(flat, weights=channel) / size for channel in image.reshape(-1, 3).T], axis=1)
    return means.astype(np.uint8)[segments]  # lime cuts the fraction off as well


def _hide_color(hide) -> np.ndarray:
    try:
        color = np.asarray(hide)
    except ValueError:  # lists of unequal lengths
        color = np.array(None)
    real = np.issubdtype(color.dtype, np.floating) or np.issubdtype(color.dtype, np.integer)
    if color.shape not in ((), (3,)) or not real or not ((color >= 0) & (color <= 255)).all():
        raise InputError(f"hide: received {hide!r}; accepted are 'mean', a grey level or (red, green, blue) in 0..255.")
    return np.trunc(color)  # as lime does


def write_explanation(explanation: Explanation, path: str | os.PathLike) -> Path:
    """Writes an explanation as .npz, so that a report can draw it without the model; without pickled objects."""
    fields = {name: value for name, value in vars(explanation).items() if value is not None}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **fields)
    return Path(path)


def read_explanation(path: str | os.PathLike) -> Explanation:
    """What `write_explanation` wrote.

    Raises:
        InputError: the file is not one of those.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            fields = {name: file[name] if file[name].ndim else file[name].item() for name in file.files}
        return Explanation(**fields)
    except FileNotFoundError as error:
        raise MissingInputError(f"there is no file {path}.") from error
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not an explanation as a run writes it ({error}).") from error
