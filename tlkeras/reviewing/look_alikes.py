"""Copies and near copies: images whose features lie next to each other, turned, mirrored, cut out or recoloured too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

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

NETWORK = Extractor("mobilenetv2_050", image_size=(224, 224))
NEIGHBOURS = 20  # of each image, among which pairs are looked for
CROWD = 10  # of them, whose mean similarity says how crowded it is around an image
MOST_DIRECTIONS = 256
RESOLUTIONS = 4
TURNS = 4
# What a turn takes from similarity: photographs of one thing mostly have one orientation, so that of three turns more
# wrong pairs come than right ones; copies, whose cosine is nearly 1, bear it.
TURNED = 0.3
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

    Features are the channels' means over the last map of each of the network's four lowest resolutions: fine marks
    tell two images of one thing from two of a kind. Resolution by resolution they are whitened (principal components of
    equal variance: Jégou & Chum, ECCV 2012), so that what all images have in common counts for nothing. Similar are two
    images that are nearer to each other than to the 10 nearest of either: twice their cosine, less both means (Conneau
    et al., ICLR 2018, section 2.3). Each image and its three quarter turns are compared with all others, and pairs are
    looked for among the 20 nearest of each; a turn takes 0.3 from the similarity. What it finds and what it misses:
    assets/benchmark/look_alikes.md. Of 100,000 images of MobileNetV2's half width the features take 2.8 GB of memory.

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
    network, widths = turned_maps(source.network)
    features = replace(source, network=network).of(samples)
    rows, similarity = nearest_pairs(features.reshape(len(samples), TURNS, sum(widths)), widths)
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


def turned_maps(encoder: keras.Model) -> tuple[keras.Model, tuple[int, ...]]:
    """The means of each channel over the last map of the four lowest resolutions, of the image and its quarter turns.

    Args:
        encoder: a flat network over square pixels, of which the head begins with `encoder`'s last map or none.

    Returns:
        keras.Model, float32 (B, H, W, 3) -> (B, 4 d), the image as it is first; and how many of the d features each
        resolution has, the highest resolution first.

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
    turned = keras.ops.transpose(pixels, (0, 2, 1, 3))
    seen = [pixels, keras.ops.flip(pixels, (1, 2)), keras.ops.flip(turned, 1), keras.ops.flip(turned, 2)]
    together = keras.layers.Concatenate(name="turns", dtype="float32")([network(each) for each in seen])
    return keras.Model(pixels, together, name=f"{encoder.name}_turned"), widths


def nearest_pairs(features: np.ndarray, widths: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Every image with its 20 nearest, and those of its turns.

    Args:
        features: float32 (n, turns, d), n at least 16, the image as it is first.
        widths: how many of the d features, one after the other, are whitened together.

    Returns:
        int64 (m, 2), rows, the smaller first, each pair once, in ascending order; float64 (m,), similarity in -4..2,
        see `look_alikes`.
    """
    from sklearn.neighbors import NearestNeighbors

    n, turns, _ = features.shape
    blocks = np.split(features, np.cumsum(widths)[:-1], axis=2)
    white = np.concatenate([_whitened(block) for block in blocks], axis=2) / np.float32(np.sqrt(len(widths)))
    k = min(NEIGHBOURS, n - 1)
    index = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(white[:, 0])
    second, twice, crowded = [], [], np.zeros(n)
    for turn in range(turns):
        distances, rows = index.kneighbors(white[:, turn])
        # Where it is not among them, the farthest stands in the place of the image itself.
        own = rows == np.arange(n)[:, None]
        own[~own.any(axis=1), -1] = True
        second.append(rows[~own])
        cosine = 1 - distances[~own].astype(np.float64) ** 2 / 2
        twice.append(2 * cosine - (TURNED if turn else 0))
        if turn == 0:
            crowded = cosine.reshape(n, k)[:, :CROWD].mean(axis=1)
    first, second = np.tile(np.repeat(np.arange(n), k), turns), np.concatenate(second)
    similarity = np.concatenate(twice) - crowded[first] - crowded[second]
    pairs = np.sort(np.stack([first, second], axis=1), axis=1)
    order = np.lexsort((-similarity, pairs[:, 1], pairs[:, 0]))  # of a pair that several turns find the most similar
    pairs, once = np.unique(pairs[order], axis=0, return_index=True)
    return pairs.astype(np.int64), similarity[order][once]


def _whitened(features: np.ndarray) -> np.ndarray:
    """The principal components of the images as they are, each of variance 1, of every image and turn brought to length
    1: float32 (n, turns, at most 256)."""
    from sklearn.decomposition import PCA

    n, turns, d = features.shape
    directions = min(MOST_DIRECTIONS, d, n // IMAGES_PER_DIRECTION)
    found = PCA(directions, svd_solver="covariance_eigh" if d <= 4096 else "randomized", random_state=0)
    found.fit(features[:, 0])
    variance = found.explained_variance_
    # Directions in which images hardly differ, as of channels that are never on, would be nothing but noise.
    white = found.transform(features.reshape(n * turns, d)) / np.sqrt(variance + DEAD * variance[0])
    white /= np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-12)
    return white.reshape(n, turns, directions).astype(np.float32)


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
