"""Whether an image is like those a network knows: its distance to them, in the network's own features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tlkeras.checks import check_whole
from tlkeras.errors import InputError

NEIGHBOURS = 10


@dataclass(frozen=True, eq=False)
class Familiarity:
    """Features of known images, and how far apart these lie among themselves; see `fit_familiarity`.

    Attributes:
        known: float32 (n, d), each of length 1.
        own: float64 (n,), sorted: the distance of each known image to the k-th nearest of the others, in 0..2.
        neighbours: k.
    """

    known: np.ndarray = field(repr=False)
    own: np.ndarray = field(repr=False)
    neighbours: int

    def distances(self, features: np.ndarray) -> np.ndarray:
        """The distance of each image to the k-th nearest known one: float64 (m,), 0..2.

        Args:
            features: (m, d), of the same network.

        Raises:
            InputError: features of another shape.
        """
        features = np.asarray(features)
        if features.ndim != 2 or features.shape[1] != self.known.shape[1]:
            raise InputError(f"features: received shape {features.shape}; accepted is (m, {self.known.shape[1]}).")
        return _kth_distances(self.known, _of_length_1(features), self.neighbours)

    def share_as_far(self, features: np.ndarray) -> np.ndarray:
        """The share of the known images that lie as far from the others as each image does: float64 (m,), 0..1.

        An image that is one of their kind is as likely to have a low share as a high one (a p-value: below 0.01 one
        in a hundred of them lies). It says that an image is unlike the known ones, not why; an image may be like them
        and still be answered wrong.
        """
        return 1 - np.searchsorted(self.own, self.distances(features), side="left") / len(self.own)


def fit_familiarity(
    features: np.ndarray, groups: Sequence[str] | np.ndarray | None = None, *, neighbours: int = NEIGHBOURS
) -> Familiarity:
    """What `Familiarity` knows: features of the images that were learnt from.

    Features are brought to length 1, and the distance to the k-th nearest of them tells (Sun, Ming, Zhu & Li,
    Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022).

    Args:
        features: (n, d), of training images: `classifier.features(train)` or `tl.Extractor(...).features(train)`.
        groups: of each, e.g. `train.groups`; a known image is then compared with those of other patients alone, as a
            new one will be.
        neighbours: k, below the number of images of other groups.

    Raises:
        InputError: features that are not (n, d), groups that do not fit, or too few images.
    """
    features = np.asarray(features)
    if features.ndim != 2 or not np.isfinite(features).all():
        raise InputError(f"features: received shape {features.shape}; accepted are finite numbers (n, d).")
    neighbours = check_whole("neighbours", neighbours, 1)
    names = np.arange(len(features))
    if groups is not None:
        # An image of unknown group is one of its own.
        known = [
            f"{row} alone" if name is None or name != name or name == "" else f"group {name}"
            for row, name in enumerate(groups)
        ]
        names = np.unique(known, return_inverse=True)[1]
    if len(names) != len(features):
        raise InputError(f"groups: received {len(names)} for {len(features)} images; accepted is one for each.")
    most = int(np.bincount(names).max()) if len(names) else 0
    if len(features) - most < neighbours:
        raise InputError(
            f"features: received {len(features)} images, up to {most} of one group; {neighbours} neighbours of another "
            "group need more. Take fewer neighbours."
        )
    known = _of_length_1(features)
    # The nearest of any group, as many that k of another one are among them.
    distances, rows = _nearest(known, known, neighbours + most)
    foreign = names[rows] != names[:, None]
    place = (np.cumsum(foreign, axis=1) == neighbours).argmax(axis=1)
    return Familiarity(known, np.sort(distances[np.arange(len(known)), place]), neighbours)


def _of_length_1(features: np.ndarray) -> np.ndarray:
    features = features.astype(np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _kth_distances(known: np.ndarray, features: np.ndarray, k: int) -> np.ndarray:
    return _nearest(known, features, k)[0][:, -1]


def _nearest(known: np.ndarray, features: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.neighbors import NearestNeighbors

    distances, rows = (
        NearestNeighbors(n_neighbors=min(k, len(known)), algorithm="brute").fit(known).kneighbors(features)
    )
    return distances.astype(np.float64), rows
