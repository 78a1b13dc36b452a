"""From samples to batches of raw pixels, decoded once into an array or streamed from the disk, or of features."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from tlkeras.backend import tf
from tlkeras.checks import check_image_size
from tlkeras.data.digests import file_digest
from tlkeras.data.images import decode_and_resize, encode_path, read_image, resize_pixels
from tlkeras.data.readable import require_files, require_readable
from tlkeras.errors import InputError
from tlkeras.files import scratch_file
from tlkeras.machine import format_size, n_cores
from tlkeras.progress import bar
from tlkeras.schema import Samples

T = TypeVar("T")

_CHUNK = 64  # images handed over at a time while decoding
_ALIGNMENT = 64  # bytes; TensorFlow computes on no memory that begins elsewhere
_DECODED_AHEAD = 64 * 10**6  # bytes of images decoded in advance: while the network that takes them is compiled
_LEAVE_ALONE = "Start again, and leave the images alone meanwhile."
_AHEAD = 2  # batches made while the last one is computed


def decode_all(
    samples: Samples,
    image_size: tuple[int, int],
    *,
    resize: str = "squash",
    scratch: str | os.PathLike | None = None,
    digests: Sequence[bytes] | None = None,
) -> np.ndarray:
    """All samples as pixels, decoded once.

    Args:
        samples: n images, files or an array.
        image_size: (height, width).
        resize: as in `read_pixels`.
        scratch: None holds them in memory. A folder takes them to a nameless file there, mapped into memory: for more
            pixels than memory; the file goes when nobody holds the array any more.
        digests: see `decoded_batches`.

    Returns:
        uint8 (n, H, W, 3), RGB; row i belongs to sample i. Aligned, so that `cpu_tensor` needs no copy.

    Raises:
        InputError: lists the files that cannot be read, with the reasons, or those that changed.
    """
    shape = (len(samples), *check_image_size(image_size), 3)
    pixels = _aligned(shape) if scratch is None else _mapped(shape, scratch)
    start = 0
    for chunk in with_bar(decoded_batches(samples, image_size, _CHUNK, resize=resize, digests=digests), len(samples)):
        pixels[start : start + len(chunk)] = chunk
        start += len(chunk)
    return pixels


def with_bar(batches: Iterable[T], n: int) -> Iterator[T]:
    """The batches of `n` images as they come, under a bar."""
    with bar("reading images", n, "image") as steps:
        for batch in batches:
            yield batch
            first: Any = batch[0] if isinstance(batch, tuple) else batch
            steps.update(len(first))


def decoded_batches(
    samples: Samples,
    image_size: tuple[int, int],
    batch_size: int,
    *,
    resize: str = "squash",
    rows: np.ndarray | None = None,
    digests: Sequence[bytes] | None = None,
) -> Iterator[np.ndarray]:
    """The samples in order, or those of `rows` (m,), read as they are asked for.

    Args:
        samples: n images.
        image_size: (height, width).
        batch_size: b.
        resize: as in `read_pixels`.
        rows: int (m,), which samples; None takes all.
        digests: n, of the files as they were found (`ImageIndex.digests`): what is known of these bytes must not be
            taken for known of others. None decodes whatever is there.

    Yields:
        uint8 (b, H, W, 3), RGB, the last batch smaller.

    Raises:
        InputError: lists the files that cannot be read, with the reasons, or those that are not those of `digests`.
    """
    rows = np.arange(len(samples)) if rows is None else rows
    if isinstance(samples.images, np.ndarray):
        image_size = check_image_size(image_size)
        for start in range(0, len(rows), batch_size):
            with tf.device("CPU:0"):
                some = samples.images[rows[start : start + batch_size]]
                yield resize_pixels(some, image_size, resize=resize).numpy()
        return
    samples = samples.take(rows)
    ahead = _DECODED_AHEAD // (batch_size * math.prod(check_image_size(image_size)) * 3)
    digests = None if digests is None else [digests[row] for row in rows]
    batches = _ahead(_decoded(samples, image_size, digests, resize).batch(batch_size), max(ahead, _AHEAD))
    done = 0
    for batch in _named(samples, batches):
        batch, changed = (batch, []) if digests is None else (batch[0], np.flatnonzero(batch[1]))
        if len(changed):
            names = [samples.images[done + i] for i in changed]
            raise InputError(f"{', '.join(map(repr, names))} changed while they were read. {_LEAVE_ALONE}")
        yield batch.numpy()
        done += len(batch)


def _named(samples: Samples, batches: tf.data.Dataset) -> Iterator:
    """The batches; where one fails, `naming_files`."""
    left = iter(batches)
    while (batch := naming_files(samples, lambda: next(left, None))) is not None:
        yield batch


def naming_files(samples: Samples, read: Callable[[], T]) -> T:
    """`read()`; where TensorFlow fails in it, all samples are read once more to tell which cannot be.

    Raises:
        InputError: lists these files with the reasons, without TensorFlow's traceback; any other failure is as it was.
    """
    try:
        return read()
    except tf.errors.OpError as error:
        failure = error
    require_readable(samples)  # out here, so that its list is not chained to TensorFlow's traceback
    if isinstance(failure, tf.errors.NotFoundError | tf.errors.PermissionDeniedError):
        lost = [path for path in samples.images if os.fsdecode(encode_path(path)) in failure.message]
        raise InputError(f"{', '.join(map(repr, lost)) or 'an image'} could not be read, and now can. {_LEAVE_ALONE}")
    raise failure


def pixel_batches(
    samples: Samples, image_size: tuple[int, int], batch_size: int, resize: str = "squash"
) -> tf.data.Dataset:
    """The samples in order, read from the disk as they are asked for: float32 (b, H, W, 3) in [0, 255], RGB.

    Every sample is in; the last batch may be smaller. The pixels are those of `decode_all` and `read_pixels`, bit for
    bit. A file that cannot be read stops the iteration; `naming_files(samples, ...)` around it says which and why.
    """
    images = _decoded(samples, check_image_size(image_size), resize=resize)
    batches = images.batch(batch_size)
    return _ahead(batches.map(lambda batch: tf.cast(batch, tf.float32)))


def cpu_tensor(array: np.ndarray | tf.Tensor) -> tf.Tensor:
    """The array as a tensor in main memory, sharing its memory where it can: nobody may write to it afterwards."""
    shared = isinstance(array, np.ndarray) and array.flags.writeable and array.flags.c_contiguous and array.size
    if shared and array.ctypes.data % _ALIGNMENT == 0:
        return tf.experimental.dlpack.from_dlpack(np.asarray(array).__dlpack__())
    with tf.device("CPU:0"):
        return tf.convert_to_tensor(array)


def epoch_batches(
    inputs: np.ndarray | tf.Tensor,
    order: np.ndarray,
    *,
    rows: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    batch_size: int,
    even_out: bool = False,
    warp: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    example_seeds: np.ndarray | None = None,
    mix: Callable | None = None,
) -> tf.data.Dataset:
    """One epoch over samples whose inputs lie in memory, or are mapped into it, in a given order.

    No sample is dropped: the last batch may be smaller.

    Args:
        inputs: pixels, uint8 (n, H, W, 3), or features (r, ...); an array or `cpu_tensor` of one.
        order: int (m,); position i of the epoch shows sample order[i], and repeats are allowed.
        rows: int (m,): where in `inputs` position i finds its sample; None where sample and row are the same number.
        labels: (n, ...), one per sample.
        weights: float (n,), one per sample; they need labels.
        batch_size: b.
        even_out: share the samples of a last batch of b / 4 or fewer, and of the one before, in halves.
        warp: (float32 (b, H, W, 3), int32 (b, 2)) -> float32 (b, H, W, 3): augments a batch, given a seed per image.
        example_seeds: int32 (m, 2), the seed of position i; `warp` needs them.
        mix: (images, float32 (b, k), int32 (b, 2)) -> images and labels: mixes the images of a batch, after `warp`.

    Returns:
        Batches of float32 inputs (b, ...), of (inputs, labels), or of (inputs, labels, weights).

    Raises:
        InputError: where the lengths do not fit together, or `order` or `rows` point outside.
    """
    order = np.asarray(order)
    rows = None if rows is None else np.asarray(rows)
    _check_epoch(len(inputs), order, rows, labels, weights, warp, example_seeds)
    order = order.astype(np.int64)
    rows = order if rows is None else rows.astype(np.int64)
    inputs = cpu_tensor(inputs)
    columns: Any = {"row": rows}  # whose type in TensorFlow names tensors, and no arrays
    columns |= {} if labels is None else {"label": np.asarray(labels)[order]}
    columns |= {} if weights is None else {"weight": np.asarray(weights, dtype=np.float32)[order]}
    columns |= {} if warp is None else {"seed": np.asarray(example_seeds, dtype=np.int32)}

    def gather(batch: dict[str, tf.Tensor]):
        images = tf.cast(tf.gather(inputs, batch["row"]), tf.float32)
        if warp is not None:
            images = warp(images, batch["seed"])
        if mix is not None:
            images, batch["label"] = mix(images, batch["label"], batch["seed"])
        targets = [batch[name] for name in ("label", "weight") if name in batch]
        return (images, *targets) if targets else images

    samples = tf.data.Dataset.from_tensor_slices(columns)
    batches, left = samples.batch(batch_size), len(order) % batch_size
    if even_out and 0 < left <= max(1, batch_size // 4) and len(order) > batch_size:
        shared = batch_size + left  # by the last two
        whole = len(order) - shared
        batches = samples.take(whole).batch(batch_size).concatenate(samples.skip(whole).batch(math.ceil(shared / 2)))
    return _ahead(batches.map(gather, num_parallel_calls=_AHEAD, deterministic=True))


def _ahead(batches: tf.data.Dataset, number: int = _AHEAD) -> tf.data.Dataset:
    """The batches, a few made in advance."""
    options = tf.data.Options()
    # The tuning thread sleeps for 10 ms, then twice as long each time, and whoever ends the iteration waits for it: an
    # epoch of 26 s took 41 (TensorFlow 2.21). Our numbers are fixed, there is nothing to tune.
    options.autotune.enabled = False
    # Rewriting the graph copies every tensor it holds, so all pixels or features, at the start of every epoch.
    options.experimental_optimization.apply_default_optimizations = False
    return batches.prefetch(number).with_options(options)


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    size = math.prod(shape)
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size].reshape(shape)


def _mapped(shape: tuple[int, ...], folder: str | os.PathLike) -> np.ndarray:
    if not math.prod(shape):
        return np.empty(shape, np.uint8)
    try:
        with scratch_file(folder, math.prod(shape)) as file:  # the mapping keeps it
            return np.memmap(file, np.uint8, mode="r+", shape=shape)
    except OSError as error:
        raise InputError(
            f"decoded images take {format_size(math.prod(shape))}, more than the memory budget, and cannot go to a "
            f"file in {os.fspath(folder)}: {error}. Free some room there, or raise the budget (--memory-budget)."
        ) from error


def _decoded(
    samples: Samples, image_size: tuple[int, int], digests: Sequence[bytes] | None = None, resize: str = "squash"
) -> tf.data.Dataset:
    """uint8 (H, W, 3) per sample, in order; with the digests of files, and whether the very bytes that were decoded had
    another one."""
    if isinstance(samples.images, np.ndarray):
        pixels = cpu_tensor(samples.images)

        def resized(row: tf.Tensor):
            return resize_pixels(pixels[row], image_size, resize=resize)

        return tf.data.Dataset.range(len(samples)).map(resized, num_parallel_calls=n_cores(), deterministic=True)
    require_files(samples)
    paths = tf.constant([encode_path(path) for path in samples.images], dtype=tf.string)
    dataset = tf.data.Dataset.from_tensor_slices(paths)
    read: Callable = partial(read_image, image_size=image_size, resize=resize)
    if digests is not None:
        dataset = tf.data.Dataset.zip(dataset, tf.data.Dataset.from_tensor_slices(tf.constant(digests, tf.string)))

        def read_compared(path: tf.Tensor, digest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            contents = tf.io.read_file(path)
            # Declared free of side effects, or deterministic ops would keep tf.data from running it in parallel.
            changed = tf.numpy_function(_is_other, [contents, digest], tf.bool, stateful=False)
            return decode_and_resize(contents, image_size, resize), tf.ensure_shape(changed, [])

        read = read_compared

    return dataset.map(read, num_parallel_calls=n_cores(), deterministic=True)


def _is_other(contents: bytes, digest: bytes) -> bool:
    return file_digest(contents) != digest


def _check_epoch(n, order, rows, labels, weights, warp, example_seeds) -> None:
    n_samples = n
    if rows is not None:  # samples and inputs are counted apart
        n_samples = max(order, default=-1) + 1 if labels is None else len(labels)
    for name, numbers, limit in (("order", order, n_samples), ("rows", order if rows is None else rows, n)):
        whole = numbers.ndim == 1 and (not len(numbers) or np.issubdtype(numbers.dtype, np.integer))
        if not whole or (len(numbers) and not (numbers.min() >= 0 and numbers.max() < limit)):
            raise InputError(
                f"{name}: accepted are row numbers (m,) in 0..{limit - 1}; received {numbers.dtype} of shape "
                f"{numbers.shape}, {numbers}."
            )
    if rows is not None and len(rows) != len(order):
        raise InputError(f"rows: received {len(rows)} for an order of {len(order)}; each position needs exactly one.")
    for name, values in (("labels", labels), ("weights", weights)):
        if values is not None and len(values) != n_samples:
            raise InputError(
                f"{name}: received {len(values)} rows for {n_samples} images; each image needs exactly one."
            )
    if weights is not None and labels is None:
        raise InputError("weights: received without labels; give labels too, or leave the weights out.")
    if (warp is None) != (example_seeds is None):
        raise InputError("warp and example_seeds: received one without the other; give both or none.")
    if example_seeds is not None and np.shape(example_seeds) != (len(order), 2):
        raise InputError(f"example_seeds: received shape {np.shape(example_seeds)}; accepted is {(len(order), 2)}.")
