"""LIME for one image: which regions speak for a label (Ribeiro, Singh & Guestrin, KDD 2016, arXiv:1602.04938).

The weights are those of the lime package. Only the making of perturbed copies is ours: masks are built for a whole
batch at once, and copies that hide the same regions are predicted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from lime.lime_image import LimeImageExplainer
from scipy.sparse import coo_matrix
from skimage.segmentation import felzenszwalb, quickshift, slic
from sklearn.cluster import AgglomerativeClustering

from tlkeras.schema import Explanation, InputError

SEGMENTATIONS = ("slic", "quickshift", "felzenszwalb")


class PixelClassifier(Protocol):
    """What can be explained: uint8 images (n, H, W, 3) in, probabilities (n, k) out, and the names of the k classes."""

    class_names: Sequence[str]

    def predict_pixels(self, images: np.ndarray) -> np.ndarray: ...  # noqa: D102


def explain(
    classifier: PixelClassifier,
    image: np.ndarray,
    *,
    label: int | None = None,
    n_samples: int = 1000,
    seed: int,
    n_segments: int = 10,
    segmentation: str = "slic",
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
        n_segments: about how many regions slic makes, and the most that quickshift and felzenszwalb keep (further
            ones are merged with the neighbour that looks most alike).
        segmentation: "slic", "quickshift" or "felzenszwalb".
        hide: what a hidden region shows: "mean", its own mean colour, or a grey level or RGB colour in 0..255.
        batch_size: copies per call of the classifier.

    Returns:
        Explanation, with lime's weight of every region and lime's r2.

    Raises:
        InputError: an argument out of range, pixels in 0..1, or an image that holds a single region.
    """
    image = _uint8(image)
    if n_samples < 2 or batch_size < 1 or n_segments < 2:
        raise InputError(
            f"received n_samples={n_samples}, batch_size={batch_size}, n_segments={n_segments}; accepted are at least "
            "2 copies, 1 per batch and 2 regions."
        )
    if not 0 <= seed < 2**32:
        raise InputError(f"seed: received {seed}; accepted is a whole number in 0..2**32-1.")
    probs = _predict(classifier, image[None])[0]
    if label is None:
        label = int(probs.argmax())
    elif not isinstance(label, (int, np.integer)) or not 0 <= label < len(probs):
        raise InputError(f"label: received {label!r}; with {len(probs)} classes accepted is 0..{len(probs) - 1}.")
    segments = segment(image, segmentation=segmentation, n_segments=n_segments)
    # A fresh explainer: its random state runs on from image to image.
    fitted = _BatchedExplainer(random_state=seed).explain_instance(
        image,
        lambda images: _predict(classifier, images),
        labels=(label,),
        top_labels=None,
        hide_color=_hide_color(hide),
        num_samples=n_samples,
        batch_size=batch_size,
        segmentation_fn=lambda _: segments,
    )
    weights = np.zeros(segments.max() + 1)
    for region, weight in fitted.local_exp[label]:
        weights[region] = weight
    return Explanation(
        image=image,
        segments=segments,
        weights=weights,
        label=label,
        class_name=classifier.class_names[label],
        probability=float(probs[label]),
        r2=float(fitted.score),
    )


def segment(image: np.ndarray, *, segmentation: str = "slic", n_segments: int = 10) -> np.ndarray:
    """Regions of an image: int64 (H, W), numbered 0..n-1 without gaps, as lime needs them. See `explain`."""
    if segmentation == "slic":
        # The defaults (compactness 10, no blur) fall to 1 to 3 regions on grass and gravel; these give 6 to 10 of 10.
        regions = slic(image, n_segments=n_segments, compactness=20, sigma=1)
    elif segmentation == "quickshift":
        regions = quickshift(image, kernel_size=4, max_dist=200, ratio=0.2)
    elif segmentation == "felzenszwalb":
        regions = felzenszwalb(image, scale=100, sigma=0.5, min_size=50)
    else:
        raise InputError(f"segmentation: received {segmentation!r}; accepted are {', '.join(SEGMENTATIONS)}.")
    regions = _renumber(regions)
    if segmentation != "slic" and regions.max() >= n_segments:
        regions = _merge(image, regions, n_segments)
    if regions.max() < 1:
        raise InputError(
            f"segmentation: {segmentation} finds a single region in this image, so there is nothing to compare. Take "
            f"another one of {', '.join(SEGMENTATIONS)}; with slic, a larger n_segments also helps."
        )
    return regions


class _BatchedExplainer(LimeImageExplainer):
    def data_labels(self, image, fudged_image, segments, classifier_fn, num_samples, batch_size=10):
        n_regions = len(np.unique(segments))
        # The draw lime makes, in the order lime makes it: the same copies for the same seed.
        shown = self.random_state.randint(0, 2, num_samples * n_regions).reshape(num_samples, n_regions)
        shown[0] = 1
        distinct, copy_of = np.unique(shown, axis=0, return_inverse=True)
        probs = [
            classifier_fn(np.where(batch.astype(bool)[:, segments, None], image, fudged_image))  # (b, H, W, 3)
            for batch in (distinct[i : i + batch_size] for i in range(0, len(distinct), batch_size))
        ]
        return shown, np.concatenate(probs)[copy_of.reshape(-1)]


def _uint8(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    received = f"image: received dtype {image.dtype}, shape {image.shape}"
    accepted = "accepted is (H, W, 3), RGB in 0..255, uint8 or float."
    if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise InputError(f"{received}; {accepted}")
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.number) or not (image.min() >= 0 and image.max() <= 255):
        raise InputError(f"{received} with values outside 0..255; {accepted}")
    if np.issubdtype(image.dtype, np.floating) and image.max() <= 1:
        raise InputError(f"{received} with values in 0..{image.max():g}: scaled to 0..1? {accepted} Give 255 * image.")
    return np.rint(image).astype(np.uint8)


def _predict(classifier: PixelClassifier, images: np.ndarray) -> np.ndarray:
    probs = np.asarray(classifier.predict_pixels(images))
    expected = (len(images), len(classifier.class_names))
    if probs.shape != expected:
        raise InputError(
            f"classifier: predict_pixels gave shape {probs.shape}; expected is {expected} (images, classes). "
            "A network with one sigmoid output needs the two columns 1 - p and p."
        )
    return probs


def _hide_color(hide: str | float | tuple[float, float, float]) -> np.ndarray | None:
    if isinstance(hide, str) and hide == "mean":
        return None
    color = np.asarray(hide)
    if (
        color.shape not in ((), (3,))
        or not np.issubdtype(color.dtype, np.number)
        or not ((color >= 0) & (color <= 255)).all()
    ):
        raise InputError(f"hide: received {hide!r}; accepted are 'mean', a grey level or (red, green, blue) in 0..255.")
    return np.rint(color).astype(np.uint8)


def _renumber(regions: np.ndarray) -> np.ndarray:
    return np.unique(regions, return_inverse=True)[1].reshape(regions.shape)


def _merge(image: np.ndarray, regions: np.ndarray, n_segments: int) -> np.ndarray:
    n, flat = regions.max() + 1, regions.reshape(-1)
    size = np.bincount(flat)
    color = np.stack([np.bincount(flat, weights=channel) / size for channel in image.reshape(-1, 3).T], axis=1)
    pairs = np.concatenate(
        [
            np.stack([regions[:-1].reshape(-1), regions[1:].reshape(-1)]),
            np.stack([regions[:, :-1].reshape(-1), regions[:, 1:].reshape(-1)]),
        ],
        axis=1,
    )
    touching = coo_matrix((np.ones(pairs.shape[1]), pairs), shape=(n, n))
    merged = AgglomerativeClustering(n_clusters=n_segments, connectivity=touching + touching.T).fit_predict(color)
    return _renumber(merged[regions])
