"""Features of samples as one array in memory, for what learns from all of them at once."""

from __future__ import annotations

import math

import numpy as np

from tlkeras.backend import keras
from tlkeras.data.pipeline import with_bar
from tlkeras.errors import InputError
from tlkeras.machine import available_memory, format_size
from tlkeras.schema import Samples
from tlkeras.training.feature_store import BATCH, FeatureStore
from tlkeras.training.feed import KeptFeatures, Part


def features_of(
    network: keras.Model,
    samples: Samples,
    *,
    store: FeatureStore | None,
    dtype: str = "float32",
    resize: str = "squash",
) -> np.ndarray:
    """What a network gives for every sample, in order: float32 (n, d).

    Args:
        network: as `tlkeras.models.classifier.build_encoder` made it.
        samples: n images.
        store: where features are looked for, and kept; None, or one without room, runs the network.
        dtype: they are kept in.
        resize: how images come to the network's size, as in `tl.read_pixels`.

    Raises:
        InputError: files that cannot be read, features that are not finite or take more than the memory that is free.
    """
    if not isinstance(samples, Samples):
        raise InputError(
            f"samples: received {type(samples).__name__}; accepted are tl.Samples, e.g. tl.from_arrays(...)."
        )
    require_memory(len(samples), math.prod(network.output_shape[1:]))
    part = Part(samples, network.input_shape[1:3], resize=resize)
    kept = None if store is None else KeptFeatures(store, [network], dtype)
    if kept is not None and kept.have_room(len(samples)):
        found = kept.of(part.sources, part.stream)
        return found.table[found.rows].astype(np.float32, copy=False)
    batches = with_bar(part.stream(np.arange(len(samples))), len(samples))
    rows = [run_network(network, batch) for batch in batches]
    return np.concatenate([np.empty((0, *network.output_shape[1:]), np.float32), *rows])


def require_memory(n_images: int, n_features: int, copies: int = 1) -> None:
    """Refuses features, float32, that do not fit into the memory that is free so many times."""
    needed, free = 4 * n_images * n_features * copies, available_memory()
    if needed > 0.9 * free:
        raise InputError(
            f"features: {n_images:,} images give {format_size(needed)} of features ({n_features:,} each), and "
            f'{format_size(free)} of memory are free. Take pooling="avg", a later layer, or fewer images.'
        )


def run_network(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """What a network gives for images (b, H, W, 3) in 0..255: float32 (b, d).

    Raises:
        InputError: features that are not finite.
    """
    # One size of batch: TensorFlow prepares itself anew for every other.
    pixels = np.zeros((BATCH, *images.shape[1:]), np.float32)
    pixels[: len(images)] = images
    features = np.asarray(network.predict_on_batch(pixels), np.float32)[: len(images)]
    require_finite(features, network.name)
    return features


def require_finite(features: np.ndarray, name: str) -> None:
    """Refuses features of a network of that name that are no numbers."""
    if not np.isfinite(features).all():
        raise InputError(
            f"features: {name} gives values that are not finite. In half precision a layer overflows: take "
            'precision="bfloat16" or "float32". In float32 the weights are broken.'
        )
