"""Copies and near copies: images whose features lie next to each other, turned, mirrored, cut out or recoloured too."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tlkeras.backend import keras
from tlkeras.checks import real
from tlkeras.data.splits import join_groups, joined_groups
from tlkeras.errors import InputError
from tlkeras.models.backbones import backbone_layers
from tlkeras.models.layers import with_positions
from tlkeras.progress import say
from tlkeras.schema import Samples
from tlkeras.seeds import generator
from tlkeras.training.extractor import Extractor
from tlkeras.training.feature_classifier import network_features
from tlkeras.training.feature_store import FeatureStore

if TYPE_CHECKING:
    from sklearn.decomposition import PCA

NETWORK = Extractor("mobilenetv2_050", image_size=(224, 224))
NEIGHBOURS = 20  # of each image, among which pairs are looked for
CROWD = 10  # of them, whose mean similarity says how crowded it is around an image
MOST_DIRECTIONS = 256
RESOLUTIONS = 4
COARSE = 2  # resolutions, the lowest, that count wholly
# What the others count: fine marks tell images of one thing from those of a kind, and colours and edges of a file that
# was saved again move them. Chosen by the half of HAM10000's lesions that draws the threshold.
FINE = 1 / 3
MIDDLE = 0.9  # of an image's sides, its middle
# What a view takes from similarity: photographs of one thing mostly have one orientation, so that of turns more wrong
# pairs come than right ones; copies, whose cosine is nearly 1, bear it.
VIEWED = 0.3
DEAD = 1e-6  # of the largest variance
IMAGES_PER_DIRECTION = 8  # with fewer, whitening makes all images equally far apart
LEAST_PAIRS = 40  # of one group, in the half of the groups that draws the threshold
# Where no groups tell: drawn as below on HAM10000's lesions; see assets/benchmark/look_alikes.md.
THRESHOLD = 0.3


@dataclass(frozen=True)
class Judged:
    """What a threshold comes to on the half of the groups that did not draw it.

    Attributes:
        precision: the share of the pairs found that are of one group, 0..1.
        recall: the share of the pairs of one group that are found, 0..1.
        pairs: how many pairs of one group there are in that half.
    """

    precision: float
    recall: float
    pairs: int


@dataclass(frozen=True, eq=False)
class LookAlikes:
    """What `look_alikes` found.

    Attributes:
        pairs: one row per pair, the most alike first: columns row_a and row_b (int64, in the samples, the smaller
            first), sample_id_a, sample_id_b, similarity, same_group (bool; False where no groups are known).
        threshold: the least similarity of a pair.
        judged: what that comes to where groups are known; None where too few groups have several images.
        drawn: whether it was drawn on these groups; else it was given, or is the one that came with the package, drawn
            on HAM10000's lesions: of too few groups, or where none has the precision that was asked for.
        samples: the n images.
    """

    pairs: pd.DataFrame
    threshold: float
    judged: Judged | None
    drawn: bool
    samples: Samples = field(repr=False)

    def joined(self) -> Samples:
        """The samples with groups that hold all images of a pair, for a split that keeps them on one side.

        A chain of pairs becomes one group: look at the pairs before, for of ten found one may be no pair.
        """
        alike = self.pairs[["row_a", "row_b"]].to_numpy()
        return replace(self.samples, groups=join_groups(self.samples, alike))


def look_alikes(
    samples: Samples,
    network: str | Extractor = NETWORK,
    *,
    precision: float = 0.9,
    threshold: float | None = None,
    seed: int = 0,
    weights_folder: str | None = None,
    store: FeatureStore | str | os.PathLike | bool = True,
) -> LookAlikes:
    """Pairs of images that show the same thing, by a network's features.

    Features are the channels' means over the last map of each of the network's four lowest resolutions, the two higher
    ones at a third. Resolution by resolution they are whitened (principal components of equal variance: Jégou & Chum,
    ECCV 2012), so that what all images have in common counts for nothing. Similar are two images that are nearer to
    each other than to the 10 nearest of either: twice their cosine, less both means (Conneau et al., ICLR 2018, section
    2.3). Each image, its seven other turns and mirror images, and its middle (nine tenths of its sides) are compared
    with all others as they are, and pairs are looked for among the 20 nearest of each; such a view takes 0.3 from the
    similarity. What it finds and what it misses: assets/benchmark/look_alikes.md. Of 100,000 images of MobileNetV2's
    half width the features of one view take 0.7 GB of memory, of which there are up to three at a time.

    Args:
        samples: n images, all that are to be split.
        network: a name of `tl.BACKBONES` at its native size, or an Extractor, whose classifier is not used; square
            images.
        precision: where groups are known, the threshold is drawn on half of them so that this share of the pairs found
            is of one group (0..1), and judged on the other half.
        threshold: takes this one in its place.
        seed: which half.
        weights_folder: as in `Extractor.fit`.
        store: likewise.

    Raises:
        InputError: fewer than 16 images, images that are not square, or what `Extractor.fit` refuses.
    """
    precision = real(above=0, below=1).also(", such as 0.9").check("precision", precision)
    if threshold is not None:
        threshold = real(above=-2, most=2).also(", such as 0.4").check("threshold", threshold)
    extractor = Extractor(network, image_size=None) if isinstance(network, str) else network
    if not isinstance(extractor, Extractor):
        raise InputError(f"network: received {type(network).__name__}; accepted is a name, or a tl.Extractor.")
    if len(samples) < 2 * IMAGES_PER_DIRECTION:
        raise InputError(f"samples: received {len(samples)}; similarity is told from {2 * IMAGES_PER_DIRECTION} on.")
    source = network_features(extractor, seed=seed, weights_folder=weights_folder, store=store)
    networks, widths = networks_of_views(source.network)
    features = (replace(source, network=network).of(samples) for network in networks)
    rows, similarity = nearest_pairs(features, widths)
    groups = None if samples.groups is None else joined_groups(samples)
    same = np.zeros(len(rows), bool) if groups is None else groups[rows[:, 0]] == groups[rows[:, 1]]
    judged, drawn = None, False
    if groups is not None:
        halves = _Halves.of(groups, rows, similarity, same, seed)
        if threshold is None and (found := halves.threshold(precision)) is not None:
            threshold, drawn = found, True
        judged = halves.judge(THRESHOLD if threshold is None else threshold)
    if threshold is None:
        threshold = THRESHOLD
    found = np.flatnonzero(similarity >= threshold)
    found = found[np.argsort(-similarity[found], kind="stable")]
    pairs = pd.DataFrame(
        {
            "row_a": rows[found, 0],
            "row_b": rows[found, 1],
            "sample_id_a": samples.sample_ids[rows[found, 0]],
            "sample_id_b": samples.sample_ids[rows[found, 1]],
            "similarity": similarity[found],
            "same_group": same[found],
        }
    )
    whose = "drawn on half of the groups" if drawn else "not drawn on these images"
    say(f"look-alikes: {len(pairs):,} pairs of {len(samples):,} images, similarity at least {threshold:.3f}, {whose}")
    return LookAlikes(pairs, float(threshold), judged, drawn, samples)


def networks_of_views(encoder: keras.Model) -> tuple[list[keras.Model], tuple[int, ...]]:
    """The means of each channel over the last map of the four lowest resolutions, of the image and of its views.

    Args:
        encoder: a flat network over square pixels.

    Returns:
        keras.Models, float32 (B, H, W, 3) -> (B, d), of the image as it is, its seven other turns and mirror images,
        and its middle; and how many of the d features each resolution has, the highest resolution first.

    Raises:
        InputError: its images are not square, or no layer has positions.
    """
    height, width = encoder.input_shape[1:3]
    if height != width:
        raise InputError(f"network: received image_size ({height}, {width}); accepted are square ones, for turns.")
    last: dict[int, keras.layers.Layer] = {}
    for layer in with_positions(backbone_layers(encoder)):
        # A frame of zeros, which a convolution asks for, is no map of another resolution.
        if layer.output.shape[1] < height and not isinstance(layer, keras.layers.ZeroPadding2D):
            last[layer.output.shape[1]] = layer
    # Where a resolution was left for good: sizes between, as of a convolution without a frame, come back to none.
    maps = [last[side] for side in sorted(last, reverse=True)][-RESOLUTIONS:]
    if not maps:
        raise InputError("network: none of its layers has positions, whose means would tell; take another network.")
    means = [keras.layers.GlobalAveragePooling2D(dtype="float32")(layer.output) for layer in maps]
    widths = tuple(int(mean.shape[-1]) for mean in means)
    joined = keras.layers.Concatenate(dtype="float32")(means) if len(means) > 1 else means[0]
    network = keras.Model(encoder.input, joined, name=encoder.name)
    pixels = keras.Input((height, width, 3), name="pixels")
    views = [keras.Model(pixels, network(view), name=f"{encoder.name}_of_view") for view in _views(pixels)]
    return [network, *views], widths


def _views(pixels: keras.KerasTensor) -> list[keras.KerasTensor]:
    """The seven other turns and mirror images, and the middle, of square images."""
    ops, side = keras.ops, pixels.shape[1]
    across = ops.transpose(pixels, (0, 2, 1, 3))
    flipped = [ops.flip(each, axes) for each in (pixels, across) for axes in ((1,), (2,), (1, 2))]
    edge = max(1, round(side * (1 - MIDDLE) / 2))
    middle = ops.image.resize(pixels[:, edge:-edge, edge:-edge], (side, side), interpolation="bilinear")
    return [across, *flipped, middle]


def nearest_pairs(features: Iterable[np.ndarray], widths: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Every image with its 20 nearest, and those of its views.

    Args:
        features: of the image as it is and of each view float32 (n, d), n at least 16; one is asked for at a time.
        widths: how many of the d features, one after the other, are whitened together.

    Returns:
        int64 (m, 2), rows, the smaller first, each pair once, in ascending order; float64 (m,), similarity in -4..2,
        see `look_alikes`.
    """
    from sklearn.neighbors import NearestNeighbors

    views = iter(features)
    as_it_is = next(views)
    n, ends = len(as_it_is), np.cumsum(widths)[:-1]
    whitenings = [_Whitening.of(block) for block in np.split(as_it_is, ends, axis=1)]
    white = _whitened(as_it_is, whitenings, ends)
    k = min(NEIGHBOURS, n - 1)
    index = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(white)
    first, crowded = np.repeat(np.arange(n), k), np.zeros(n)
    pairs, similarity = np.empty((0, 2), np.int64), np.empty(0)
    for number, seen in enumerate(chain([white], (_whitened(view, whitenings, ends) for view in views))):
        distances, rows = index.kneighbors(seen)
        # Where it is not among them, the farthest stands in the place of the image itself.
        own = rows == np.arange(n)[:, None]
        own[~own.any(axis=1), -1] = True
        cosine = 1 - distances[~own].astype(np.float64) ** 2 / 2
        if number == 0:
            crowded = cosine.reshape(n, k)[:, :CROWD].mean(axis=1)
        second = rows[~own]
        found = 2 * cosine - (VIEWED if number else 0) - crowded[first] - crowded[second]
        pairs = np.concatenate([pairs, np.sort(np.stack([first, second], axis=1), axis=1)])
        similarity = np.concatenate([similarity, found])
        order = np.lexsort((-similarity, pairs[:, 1], pairs[:, 0]))  # of a pair that was found twice the more similar
        pairs, once = np.unique(pairs[order], axis=0, return_index=True)
        similarity = similarity[order][once]
    return pairs.astype(np.int64), similarity


@dataclass(frozen=True, eq=False)
class _Whitening:
    """The principal components of the images as they are, and the standard deviation of each."""

    components: PCA
    deviations: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> _Whitening:
        from sklearn.decomposition import PCA

        n, d = features.shape
        directions = min(MOST_DIRECTIONS, d, n // IMAGES_PER_DIRECTION)
        found = PCA(directions, svd_solver="covariance_eigh" if d <= 4096 else "randomized", random_state=0)
        found.fit(features)
        variance = found.explained_variance_
        # Directions in which images hardly differ, as of channels that are never on, would be nothing but noise.
        return cls(found, np.sqrt(variance + DEAD * variance[0]))


def _whitened(features: np.ndarray, whitenings: Sequence[_Whitening], ends: np.ndarray) -> np.ndarray:
    """Each block whitened and brought to a length by what it counts, all of them together to length 1: float32 (n,
    directions)."""
    counts = np.where(np.arange(len(whitenings)) < len(whitenings) - COARSE, FINE, 1.0)
    blocks = []
    for block, whitening, count in zip(np.split(features, ends, axis=1), whitenings, counts, strict=True):
        white = whitening.components.transform(block) / whitening.deviations
        blocks.append(white * np.sqrt(count) / np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-12))
    return (np.concatenate(blocks, axis=1) / np.sqrt(counts.sum())).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Halves:
    """Pairs that were found, and two halves of the groups: one draws a threshold, the other judges it.

    Attributes:
        similarity: of each pair, falling.
        right: whether it is of one group.
        in_first: how much of it counts in the half that draws: a pair of two groups is one that was found wrongly for
            both, and half of it counts on each one's side.
        n_pairs: pairs of one group there are in the half that draws, and in the other.
    """

    similarity: np.ndarray
    right: np.ndarray
    in_first: np.ndarray
    n_pairs: tuple[int, int]

    @classmethod
    def of(cls, groups: np.ndarray, rows: np.ndarray, similarity: np.ndarray, same: np.ndarray, seed: int) -> _Halves:
        names, of_image, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        first = np.zeros(len(names), bool)
        first[generator(seed, "look_alikes").permutation(len(names))[: len(names) // 2]] = True
        pairs, order = sizes * (sizes - 1) // 2, np.argsort(-similarity, kind="stable")
        n_pairs = int(pairs[first].sum()), int(pairs[~first].sum())
        return cls(similarity[order], same[order], first[of_image[rows]].mean(axis=1)[order], n_pairs)

    def threshold(self, precision: float) -> float | None:
        """The least similarity at which the first half has the precision; None where that is never so, or where it has
        too few pairs of one group."""
        found = np.cumsum(self.in_first)
        right = np.cumsum(self.right * self.in_first)
        reached = np.flatnonzero((right >= precision * found) & (found >= LEAST_PAIRS))
        if min(self.n_pairs) < LEAST_PAIRS or not len(reached):
            return None
        return float(self.similarity[reached[-1]])

    def judge(self, threshold: float) -> Judged | None:
        """What a threshold comes to on the second half; None where that has too few pairs of one group."""
        if min(self.n_pairs) < LEAST_PAIRS:
            return None
        chosen, outside = self.similarity >= threshold, 1 - self.in_first
        n_found, n_right = outside[chosen].sum(), (self.right * outside)[chosen].sum()
        precision = float(n_right / n_found) if n_found else float("nan")
        return Judged(precision, float(n_right / self.n_pairs[1]), self.n_pairs[1])
