"""From a file to pixels: the one decode-and-resize function, and the check of what it cannot read.

Training, prediction and `read_pixels` call the same TensorFlow ops, so they see the same pixels bit for bit. Plain JPEG
and PNG files stay inside TensorFlow; the rest goes through a slower decoder in Python.

A plain JPEG much larger than asked is decoded at the smallest scale of 1/2, 1/4 and 1/8 that leaves both sides at least
twice the asked ones, so that the antialiased resize still filters. For 128x128, photographs of 4000x3000 take half to
three quarters of the CPU time (the entropy coding is undone in full) and lie 0.2 to 0.5 grey levels in the mean, 5 at
most, from the same files decoded whole; one of exactly 2048x2048, where the resize filters least, 0.8 and 12.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from tlkeras.backend import tf
from tlkeras.checks import check_image_size, check_whole
from tlkeras.data.arrays import as_pixels
from tlkeras.data.file_bytes import Unreadable, as_path, read_bytes, unfit_to_read
from tlkeras.data.levels import N_FIELDS, Levels, of_set
from tlkeras.data.python_decoder import MAX_PIXELS, decode_or_nothing, decode_with_depth
from tlkeras.errors import InputError
from tlkeras.schema import Samples

if TYPE_CHECKING:
    import pandas as pd

# Raise it when the pixels of some file change: what was computed from them is then computed again.
DECODER = 3

_JPEG_SIGNATURE = b"\xff\xd8\xff"

# \C is RE2's "any byte". 8 bits per channel, grey or RGB, each side below 0x2000 = 8192 pixels.
_PLAIN_PNG = r"\CPNG\r\n\x1a\n\x00\x00\x00\rIHDR(\x00\x00[\x00-\x1f]\C){2}\x08[\x00\x02]\C*"
# Transparency beside the pixels, or an orientation other than upright, in either byte order. That these bytes occur by
# chance costs time, not correctness: the slow decoder reads every file.
_TRANSPARENT_OR_TURNED = (
    r"\C*(tRNS|eXIf|Raw profile type exif|tiff:Orientation(=\"|>)[2-8]|Exif\x00\x00\C*"
    r"(\x12\x01\C\x00\x01\x00\x00\x00[\x02-\x08]|\x01\x12\x00\C\x00\x00\x00\x01\C{0,3}[\x02-\x08]))\C*"
)
_RATIOS = (1, 2, 4, 8)  # at which libjpeg decodes
_SLOW, _PNG, _JPEG = 0, 1, 2  # _JPEG + i decodes at _RATIOS[i]


def read_pixels(image: str | os.PathLike | np.ndarray, image_size: tuple[int, int] | None) -> np.ndarray:
    """One image as pixels, the very ones that training and prediction see.

    Args:
        image: a JPEG, PNG, BMP, GIF (first frame), TIFF (first page) or WebP (first frame) file; or pixels that are in
            memory, one image (H, W, 3) of those that `from_arrays` takes.
        image_size: (height, width) to resize to; the aspect ratio is not kept. A JPEG with at least four times these
            sides is decoded at a reduced scale first, never below twice the sides. None keeps the size of the file.

    Returns:
        float32 (H, W, 3), RGB, whole values in [0, 255]: transparency is laid on white, the EXIF orientation is
        applied, grey is repeated, and 16 bits are scaled to 8: by the range that the file declares (sBIT,
        MaxSampleValue), else by the fewest of 8, 10, 12, 14 and 16 bits that hold its largest value.

    Raises:
        InputError: names the file and why it cannot be read, or what the array is and is not.
    """
    image_size = None if image_size is None else check_image_size(image_size)
    if isinstance(image, np.ndarray):
        pixels = as_pixels(image[np.newaxis])[0]
        with tf.device("CPU:0"):
            return np.asarray(pixels if image_size is None else resize_pixels(pixels, image_size), np.float32)
    path = as_path("image", image)
    try:
        with tf.device("CPU:0"):  # where tf.data runs the same ops
            pixels, sides, _ = _decode_or_explain(read_bytes(path), image_size)
            if image_size is not None:
                pixels = resize_pixels(pixels, image_size, sides)
    except Unreadable as error:
        reason = f"{path!r} cannot be read: {error}. Replace the file or leave it out."
        raise InputError(reason) from None  # what TensorFlow and Pillow said is in the reason
    return pixels.numpy().astype(np.float32)


def read_image(path: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """uint8 (H, W, 3) of the file at `path` (a string scalar made by `encode_path`); for `tf.data` and eager calls."""
    return decode_and_resize(tf.io.read_file(path), image_size)


def read_measured(path: tf.Tensor, image_size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """`read_image`, and int64 (5,), the fields of its `Levels` as they were decoded, before the resize."""
    pixels, sides, depth = _decode(tf.io.read_file(path), image_size)
    return resize_pixels(pixels, image_size, sides), measure(pixels, depth)


def measure(pixels: tf.Tensor, depth: tf.Tensor | int = 0) -> tf.Tensor:
    """int64 (5,), the fields of the `Levels` of uint8 (h, w, 3)."""
    return tf.ensure_shape(tf.numpy_function(_fields, [pixels, depth], tf.int64, stateful=False), [N_FIELDS])


def _fields(pixels: np.ndarray, depth: int) -> np.ndarray:
    if not pixels.size:  # of an unreadable file, which the resize refuses; an exception here would be printed
        return np.zeros(N_FIELDS, np.int64)
    return np.array(astuple(Levels.of(pixels, depth)), np.int64)


def decode_and_resize(contents: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """uint8 (H, W, 3), RGB, from the bytes of an image file (a string scalar); the same eagerly and in a graph."""
    pixels, sides, _ = _decode(contents, image_size)
    return resize_pixels(pixels, image_size, sides)


def resize_pixels(
    images: tf.Tensor | np.ndarray, image_size: tuple[int, int], sides: tf.Tensor | None = None
) -> tf.Tensor:
    """Bilinear, antialiased, rounded to the nearest level.

    Args:
        images: uint8 (h, w, 3) or (n, h, w, 3).
        image_size: (height, width).
        sides: float32 (2,), how much of h and w the image covers, from the top left; None where it covers all.

    Returns:
        uint8 (H, W, 3) or (n, H, W, 3); images that already have this size come back unchanged.
    """
    images = tf.convert_to_tensor(images)
    if sides is None:
        sides = _sides(images)

    def resized() -> tf.Tensor:
        levels = tf.raw_ops.ScaleAndTranslate(  # what tf.image.resize calls, which cannot be told the sides
            images=images if images.shape.rank == 4 else images[tf.newaxis],
            size=image_size,
            scale=tf.constant(image_size, tf.float32) / sides,
            translation=tf.zeros(2),
            kernel_type="triangle",
            antialias=True,
        )
        levels = tf.saturate_cast(tf.round(levels), tf.uint8)
        return levels if images.shape.rank == 4 else levels[0]

    fits = tf.reduce_all(tf.shape(images)[-3:-1] == tf.constant(image_size))
    pixels = tf.cond(fits, lambda: images, resized)
    return tf.ensure_shape(pixels, [*images.shape[:-3], *image_size, 3])


def encode_path(path: str | os.PathLike) -> bytes:
    """The path as TensorFlow takes it: any name that the file system allows, also bytes that are not UTF-8."""
    # Absolute, because TensorFlow takes "name://rest" for a remote file system; abspath folds the double slash.
    return os.fsencode(os.path.abspath(path))


def check_images(samples: Samples, *, workers: int | None = None, progress: bool = True) -> pd.DataFrame:
    """Every image that cannot be read, or that tells (almost) nothing, found by reading all of them once with the
    decoder that training uses.

    Args:
        samples: n images, files or an array.
        workers: threads; None takes one per core.
        progress: whether long checks show a bar.

    Returns:
        Columns row (of `samples`), path (in an array the sample_id), reason, readable; no rows where there is nothing
        to tell. Not readable: missing, a folder, a pipe, no permission, empty file, not an image, truncated, damaged,
        absurd dimensions, transparent everywhere. Readable, and to be looked at: one colour, a handful of levels, a
        sliver of the range; and every image where the set as a whole has less than half of the range, or 16-bit files
        of it were read by different ranges.
    """
    import pandas as pd

    in_memory = isinstance(samples.images, np.ndarray)
    names = samples.sample_ids if in_memory else samples.images
    workers = os.cpu_count() if workers is None else check_whole("workers", workers, 1, also=", or None")
    with ThreadPoolExecutor(workers) as pool:
        silent = not progress or len(names) < 500
        found = pool.map(Levels.of if in_memory else _levels_or_reason, samples.images)
        found = list(tqdm(found, total=len(names), desc="checking images", disable=silent or None))
    of_all = " ".join(of_set([each for each in found if isinstance(each, Levels)]))
    rows = [
        (row, name, *((each.words() or of_all, True) if isinstance(each, Levels) else (each, False)))
        for row, (name, each) in enumerate(zip(names, found, strict=True))
    ]
    return pd.DataFrame([row for row in rows if row[2]], columns=["row", "path", "reason", "readable"])


def unreadable(samples: Samples, *, progress: bool = True) -> pd.DataFrame:
    """Those of `check_images` that cannot be read: columns row, path, reason."""
    found = check_images(samples, progress=progress)
    return found.loc[~found["readable"].astype(bool), ["row", "path", "reason"]].reset_index(drop=True)


def require_readable(samples: Samples, *, progress: bool = True) -> None:
    """Raises InputError where files cannot be read, naming the first 20 with their reasons."""
    bad = unreadable(samples, progress=progress)
    if len(bad):
        raise _refusal(bad["path"], bad["reason"], len(samples))


def require_files(samples: Samples) -> None:
    """Raises InputError for pipes, devices, folders and absurdly large files, on which TensorFlow would wait for ever.

    Only the file system is asked: what is missing, or not an image, shows when it is read.
    """
    if isinstance(samples.images, np.ndarray):
        return
    unfit = {path: reason for path in samples.images if (reason := unfit_to_read(path))}
    if unfit:
        raise _refusal(list(unfit), list(unfit.values()), len(samples))


def _refusal(paths: Sequence[str], reasons: Sequence[str], n: int) -> InputError:
    shown = [f"  {path!r}: {reason}" for path, reason in zip(paths[:20], reasons[:20], strict=True)]
    if len(paths) > len(shown):
        shown.append(f"  and {len(paths) - len(shown)} more")
    return InputError(
        f"{len(paths)} of {n} image files cannot be read:\n"
        + "\n".join(shown)
        + "\nReplace these files, or leave them out: --skip-unreadable in an experiment, in your own code "
        "samples.take of the rows that tl.check_images(samples) does not list as not readable."
    )


def _levels_or_reason(path: str) -> Levels | str:
    try:
        with tf.device("CPU:0"):
            pixels, _, depth = _decode_or_explain(read_bytes(path))
    except Unreadable as error:
        return str(error)
    return Levels.of(pixels.numpy(), depth)


def _decode_or_explain(contents: bytes, image_size: tuple[int, int] | None = None) -> tuple[tf.Tensor, tf.Tensor, int]:
    """As `_decode`, where TensorFlow meets no exception of ours: it would print its traceback."""
    tensor = tf.constant(contents)
    try:
        chosen = int(_choose_decoder(tensor, image_size))
        if chosen != _SLOW:
            pixels, sides, _ = _decoders(tensor)[chosen]()
            return pixels, sides, 0
    except tf.errors.OpError as error:
        decode_with_depth(contents)  # knows the reasons, and raises the one that holds
        raise Unreadable("truncated or damaged") from error
    pixels, depth = decode_with_depth(contents)
    pixels = tf.constant(pixels)
    return pixels, _sides(pixels), depth


def _decode(contents: tf.Tensor, image_size: tuple[int, int] | None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """uint8 (h, w, 3), at a scale that suffices for `image_size` (None: full scale), the sides of what it shows, and
    the depth of `Levels`."""
    return tf.switch_case(_choose_decoder(contents, image_size), _decoders(contents))


def _decoders(contents: tf.Tensor) -> dict[int, Callable[[], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]]:
    """What `_choose_decoder` chooses among."""

    def jpeg(ratio: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # The default DCT is a faster, inexact one; this one agrees with Pillow and OpenCV to the bit.
        pixels = tf.io.decode_jpeg(contents, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")
        # Of sides that the ratio does not divide, the last pixel shows a part only. Taken for a whole one, it stretches
        # the image by up to half a pixel of the result.
        sides = tf.cast(tf.image.extract_jpeg_shape(contents)[:2], tf.float32) / ratio
        return pixels, sides, tf.constant(0, tf.int64)

    def png() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        pixels = tf.io.decode_png(contents, channels=3)
        return pixels, _sides(pixels), tf.constant(0, tf.int64)

    def slow() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # Declared free of side effects, or deterministic ops would keep tf.data from running it in parallel. Of no
        # pixels nothing can be resized, so an unreadable file ends in TensorFlow's error here as in the other decoders.
        pixels, depth = tf.numpy_function(
            decode_or_nothing, [tf.io.decode_raw(contents, tf.uint8)], (tf.uint8, tf.int64), stateful=False
        )
        pixels = tf.ensure_shape(pixels, [None, None, 3])
        return pixels, _sides(pixels), tf.ensure_shape(depth, [])

    return {_SLOW: slow, _PNG: png} | {_JPEG + i: partial(jpeg, ratio) for i, ratio in enumerate(_RATIOS)}


def _sides(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.shape(images)[-3:-1], tf.float32)


def _choose_decoder(contents: tf.Tensor, image_size: tuple[int, int] | None) -> tf.Tensor:
    def jpeg() -> tf.Tensor:
        sides = tf.image.extract_jpeg_shape(contents, tf.int64)[:2]
        step = 0
        if image_size is not None:
            spare = tf.reduce_min(sides // [2 * n for n in image_size])
            step = tf.math.count_nonzero(spare >= _RATIOS[1:], dtype=tf.int32)
        return tf.where(tf.reduce_prod(sides) <= MAX_PIXELS, _JPEG + step, _SLOW)

    upright = ~tf.strings.regex_full_match(contents, _TRANSPARENT_OR_TURNED)
    is_jpeg = tf.strings.substr(contents, 0, len(_JPEG_SIGNATURE)) == _JPEG_SIGNATURE
    is_png = tf.strings.regex_full_match(contents, _PLAIN_PNG)
    return tf.cond(is_jpeg & upright, jpeg, lambda: tf.where(is_png & upright, _PNG, _SLOW))
