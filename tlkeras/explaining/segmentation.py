"""Regions of an image (superpixels), numbered as lime needs them: 0..n-1 without gaps."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from skimage.segmentation import felzenszwalb, quickshift, slic
from sklearn.cluster import AgglomerativeClustering

from tlkeras.checks import check_whole
from tlkeras.errors import InputError

SEGMENTATIONS = ("slic", "quickshift", "felzenszwalb")


def segment(image: np.ndarray, *, segmentation: str | np.ndarray = "slic", n_segments: int = 10) -> np.ndarray:
    """Divides an image into regions. The same image and arguments give the same regions.

    Args:
        image: uint8 (H, W, 3), RGB.
        segmentation: "slic", "quickshift" or "felzenszwalb" (what scikit-image calls so), or regions of your own as
            integers (H, W), any numbers, which are replaced by 0..n-1 in ascending order.
        n_segments: about how many regions slic makes, and the most that quickshift and felzenszwalb keep (further
            ones are merged with a neighbour, step by step those whose union varies least in colour). Regions of your
            own are all kept.

    Returns:
        int64 (H, W), region numbers 0..n-1 without gaps, n at least 2.

    Raises:
        InputError: an unknown name, regions of another shape or type, fewer than two asked for, or a single region.
    """
    n_segments = check_whole("n_segments", n_segments, 2, also=" (regions)")
    if not isinstance(segmentation, str):
        return _own_regions(image, segmentation)
    if segmentation == "slic":
        # The defaults (compactness 10, no blur) fall to 1 to 3 regions on grass and gravel; these give 6 to 10 of 10.
        regions = slic(image, n_segments=n_segments, compactness=20, sigma=1)
    elif segmentation == "quickshift":
        regions = quickshift(image, kernel_size=4, max_dist=200, ratio=0.2)
    elif segmentation == "felzenszwalb":
        regions = felzenszwalb(image, scale=100, sigma=0.5, min_size=50)
    else:
        raise InputError(
            f"segmentation: received {segmentation!r}; accepted are {', '.join(SEGMENTATIONS)}, or an integer array "
            "(H, W) of your own regions."
        )
    regions = _renumber(regions)
    if segmentation != "slic" and regions.max() >= n_segments:
        regions = _merge(image, regions, n_segments)
    if regions.max() < 1:
        height, width = regions.shape
        others = " or ".join(name for name in SEGMENTATIONS if name != segmentation)
        raise InputError(
            f"segmentation: {segmentation} finds a single region in this image of {height}x{width} pixels, so there is "
            f"nothing to compare. Take {'a larger n_segments, ' if segmentation == 'slic' else ''}{others}, or give "
            f"regions of your own as an integer array ({height}, {width})."
        )
    return regions


def _own_regions(image: np.ndarray, regions: np.ndarray) -> np.ndarray:
    try:
        regions = np.asarray(regions)
    except ValueError:  # lists of unequal lengths
        regions = np.array(None)
    height, width = image.shape[:2]
    if regions.shape != (height, width) or not np.issubdtype(regions.dtype, np.integer):
        raise InputError(
            f"segmentation: received dtype {regions.dtype}, shape {regions.shape}; accepted are "
            f"{', '.join(SEGMENTATIONS)}, or your own regions as integers of shape ({height}, {width}), the image's."
        )
    regions = _renumber(regions)
    if regions.max() < 1:
        raise InputError("segmentation: these regions are all one, so there is nothing to compare; give at least two.")
    return regions


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
