"""From samples to batches of raw pixels: decoded once into an array, or streamed from disk, by the one function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tlkeras.data.images import encode_path, read_image, require_readable, resize_pixels
from tlkeras.machine import n_cores
from tlkeras.schema import InputError, Samples, check_image_size

_CHUNK = 64  # images handed over at a time while decoding
_AHEAD = 2  # batches made while the last one is computed


def decode_all(samples: Samples, image_size: tuple[int, int], *, progress: bool = True) -> np.ndarray:
    """All samples as pixels in memory.

    Args:
        samples: n images, files or an array.
        image_size: (height, width).
        progress: whether long work shows a bar.

    Returns:
        uint8 (n, H, W, 3), RGB; row i belongs to sample i.

    Raises:
        InputError: lists the files that cannot be read, with the reasons.
    """
    height, width = check_image_size(image_size)
    pixels = np.empty((len(samples), height, width, 3), np.uint8)
    try:
        _fill(pixels, samples, progress)
    except tf.errors.OpError as error:
        failure = error
    else:
        return pixels
    require_readable(samples, progress=progress)  # out here, so that its list is not chained to TensorFlow's traceback
    raise failure


def pixel_batches(samples: Samples, image_size: tuple[int, int], batch_size: int) -> tf.data.Dataset:
    """The samples in order, read from the disk as they are asked for: float32 (b, H, W, 3) in [0, 255], RGB.

    Every sample is in; the last batch may be smaller. The pixels are those of `decode_all` and `read_pixels`, bit for
    bit. A file that cannot be read stops the iteration: `require_readable(samples)` before says which and why.
    """
    images = _decoded(samples, check_image_size(image_size))
    batches = images.batch(batch_size)
    return _ahead(batches.map(lambda batch: tf.cast(batch, tf.float32)))


def cpu_tensor(pixels: np.ndarray | tf.Tensor) -> tf.Tensor:
    """The array as a tensor in main memory: made once, it spares `epoch_batches` a copy of all pixels per epoch."""
    with tf.device("CPU:0"):
        return tf.convert_to_tensor(pixels)


def epoch_batches(
    pixels: np.ndarray | tf.Tensor,
    order: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    batch_size: int,
    warp: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    example_seeds: np.ndarray | None = None,
) -> tf.data.Dataset:
    """One epoch over pixels in memory, in a given order. No sample is dropped: the last batch may be smaller.

    Args:
        pixels: uint8 (n, H, W, 3), an array or `cpu_tensor` of one.
        order: int (m,); position i of the epoch shows row order[i] of `pixels`, and repeats are allowed.
        labels: (n, ...), row by row with `pixels`.
        weights: float (n,), row by row with `pixels`; they need labels.
        batch_size: b.
        warp: (float32 (b, H, W, 3), int32 (b, 2)) -> float32 (b, H, W, 3): augments a batch, given a seed per image.
        example_seeds: int32 (m, 2), the seed of position i; `warp` needs them.

    Returns:
        Batches of float32 pixels (b, H, W, 3), of (pixels, labels), or of (pixels, labels, weights).

    Raises:
        InputError: where the lengths do not fit together, or `order` points outside of `pixels`.
    """
    order = np.asarray(order, dtype=np.int64)
    _check_epoch(len(pixels), order, labels, weights, warp, example_seeds)
    pixels = cpu_tensor(pixels)
    columns = {"row": order}
    columns |= {} if labels is None else {"label": np.asarray(labels)[order]}
    columns |= {} if weights is None else {"weight": np.asarray(weights, dtype=np.float32)[order]}
    columns |= {} if warp is None else {"seed": np.asarray(example_seeds, dtype=np.int32)}

    def gather(batch: dict[str, tf.Tensor]):
        images = tf.cast(tf.gather(pixels, batch["row"]), tf.float32)
        if warp is not None:
            images = warp(images, batch["seed"])
        targets = [batch[name] for name in ("label", "weight") if name in batch]
        return (images, *targets) if targets else images

    batches = tf.data.Dataset.from_tensor_slices(columns).batch(batch_size)
    return _ahead(batches.map(gather, num_parallel_calls=_AHEAD, deterministic=True))


def _ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The batches, a few made in advance."""
    options = tf.data.Options()
    # The tuning thread sleeps for 10 ms, then twice as long each time, and whoever ends the iteration waits for it: an
    # epoch of 26 s took 41 (TensorFlow 2.21). Our numbers are fixed, there is nothing to tune.
    options.autotune.enabled = False
    return batches.prefetch(_AHEAD).with_options(options)


def _fill(pixels: np.ndarray, samples: Samples, progress: bool) -> None:
    chunks = _decoded(samples, pixels.shape[1:3]).batch(_CHUNK)
    silent = not progress or len(samples) < 500
    start = 0
    with tqdm(total=len(samples), desc="reading images", unit="image", disable=silent or None) as bar:
        for chunk in _ahead(chunks):
            pixels[start : start + len(chunk)] = chunk.numpy()
            start += len(chunk)
            bar.update(len(chunk))


def _decoded(samples: Samples, image_size: tuple[int, int]) -> tf.data.Dataset:
    """uint8 (H, W, 3) per sample, in order."""
    if isinstance(samples.images, np.ndarray):
        pixels = cpu_tensor(samples.images)
        return tf.data.Dataset.range(len(samples)).map(
            lambda row: resize_pixels(pixels[row], image_size), num_parallel_calls=n_cores(), deterministic=True
        )
    paths = tf.constant([encode_path(path) for path in samples.images], dtype=tf.string)
    return tf.data.Dataset.from_tensor_slices(paths).map(
        lambda path: read_image(path, image_size), num_parallel_calls=n_cores(), deterministic=True
    )


def _check_epoch(n, order, labels, weights, warp, example_seeds) -> None:
    if order.ndim != 1 or (len(order) and not (order.min() >= 0 and order.max() < n)):
        raise InputError(f"order: accepted are row numbers (m,) in 0..{n - 1}; received shape {order.shape}, {order}.")
    for name, values in (("labels", labels), ("weights", weights)):
        if values is not None and len(values) != n:
            raise InputError(f"{name}: received {len(values)} rows for {n} images; each image needs exactly one.")
    if weights is not None and labels is None:
        raise InputError("weights: received without labels; give labels too, or leave the weights out.")
    if (warp is None) != (example_seeds is None):
        raise InputError("warp and example_seeds: received one without the other; give both or none.")
    if example_seeds is not None and np.shape(example_seeds) != (len(order), 2):
        raise InputError(f"example_seeds: received shape {np.shape(example_seeds)}; accepted is {(len(order), 2)}.")
