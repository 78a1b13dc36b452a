"""From a file to pixels: the one decode-and-resize function.

Training, prediction and `read_pixels` call the same TensorFlow ops, so they see the same pixels bit for bit. Plain JPEG
and PNG files stay inside TensorFlow; the rest goes through a slower decoder in Python.

A plain JPEG much larger than asked is decoded at the smallest scale of 1/2, 1/4 and 1/8 that leaves both sides at least
twice the asked ones, so that the antialiased resize still filters. For 128x128, photographs of 4000x3000 take half to
three quarters of the CPU time (the entropy coding is undone in full) and lie 0.2 to 0.5 grey levels in the mean, 5 at
most, from the same files decoded whole; one of exactly 2048x2048, where the resize filters least, 0.8 and 12.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from tlkeras.backend import tf
from tlkeras.checks import check_image_size, one_of
from tlkeras.data.arrays import as_pixels
from tlkeras.data.file_contents import Unreadable, as_path, read_bytes
from tlkeras.data.measures import Levels
from tlkeras.data.python_decoder import MAX_PIXELS, decode_or_nothing, decode_with_depth
from tlkeras.errors import InputError
from tlkeras.schema import RESIZINGS, Samples

# Raise it when the pixels of some file change: what was computed from them is then computed again.
DECODER = 3

THUMBNAIL = (160, 160)  # height and width of an image on a sheet of many
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


def read_pixels(
    image: str | os.PathLike | np.ndarray, image_size: tuple[int, int] | None, resize: str = "squash"
) -> np.ndarray:
    """One image as pixels, the very ones that training and prediction see.

    Args:
        image: a JPEG, PNG, BMP, GIF (first frame), TIFF (first page) or WebP (first frame) file; or pixels that are in
            memory, one image (H, W, 3) of those that `from_arrays` takes.
        image_size: (height, width) to resize to. A JPEG with at least four times these sides is decoded at a reduced
            scale first, never below twice the sides. None keeps the size of the file.
        resize: what is done with another aspect ratio: "squash" stretches the image, "crop" cuts out the largest middle
            part of the wanted ratio, "pad" keeps all of it in the middle, with black edges.

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
            return np.asarray(
                pixels if image_size is None else resize_pixels(pixels, image_size, resize=resize), np.float32
            )
    path = as_path("image", image)
    try:
        with tf.device("CPU:0"):  # where tf.data runs the same ops
            pixels, sides, _ = _decode_or_explain(read_bytes(path), image_size)
            if image_size is not None:
                pixels = resize_pixels(pixels, image_size, sides, resize)
    except Unreadable as error:
        reason = f"{path!r} cannot be read: {error}. Replace the file or leave it out."
        raise InputError(reason) from None  # what TensorFlow and Pillow said is in the reason
    return pixels.numpy().astype(np.float32)


def read_image(path: tf.Tensor, image_size: tuple[int, int], resize: str = "squash") -> tf.Tensor:
    """uint8 (H, W, 3) of the file at `path` (a string scalar made by `encode_path`); for `tf.data` and eager calls."""
    return decode_and_resize(tf.io.read_file(path), image_size, resize)


def decode_and_resize(contents: tf.Tensor, image_size: tuple[int, int], resize: str = "squash") -> tf.Tensor:
    """uint8 (H, W, 3), RGB, from the bytes of an image file (a string scalar); the same eagerly and in a graph."""
    pixels, sides = _decode(contents, image_size)
    return resize_pixels(pixels, image_size, sides, resize)


def decode_with_thumbnail(
    contents: bytes, image_size: tuple[int, int] | None
) -> tuple[tuple[np.ndarray, Levels], tuple[np.ndarray | None, Levels]]:
    """The pixels of an image file at native size, uint8 (h, w, 3), and what `decode_and_resize` makes of it for
    `image_size` (None of None); each with the levels that were decoded, before any resize.

    Raises:
        Unreadable: why it cannot be decoded.
    """
    with tf.device("CPU:0"):
        pixels, sides, depth = _decode_or_explain(contents)
        native = pixels.numpy(), Levels.of(pixels.numpy(), depth)
        if image_size is None:
            return native, (None, native[1])
        levels = native[1]
        if contents.startswith(_JPEG_SIGNATURE) and min(sides.numpy() // np.multiply(2, image_size)) >= _RATIOS[1]:
            pixels, sides, depth = _decode_or_explain(contents, image_size)
            levels = Levels.of(pixels.numpy(), depth)
        return native, (resize_pixels(pixels, image_size, sides).numpy(), levels)


def resize_pixels(
    images: tf.Tensor | np.ndarray,
    image_size: tuple[int, int],
    sides: tf.Tensor | None = None,
    resize: str = "squash",
) -> tf.Tensor:
    """Bilinear, antialiased, rounded to the nearest level.

    Args:
        images: uint8 (h, w, 3) or (n, h, w, 3).
        image_size: (height, width).
        sides: float32 (2,), how much of h and w the image covers, from the top left; None where it covers all.
        resize: as in `read_pixels`.

    Returns:
        uint8 (H, W, 3) or (n, H, W, 3); images that already have this size come back unchanged.
    """
    one_of(*RESIZINGS).check("resize", resize)
    images = tf.convert_to_tensor(images)
    if sides is None:
        sides = _sides(images)

    wanted = tf.constant(image_size, tf.float32)
    scale = wanted / sides
    if resize != "squash":
        scale = tf.fill([2], tf.reduce_max(scale) if resize == "crop" else tf.reduce_min(scale))

    def resized() -> tf.Tensor:
        levels = tf.raw_ops.ScaleAndTranslate(  # what tf.image.resize calls, which cannot be told the sides
            images=images if images.shape.rank == 4 else images[tf.newaxis],
            size=image_size,
            scale=scale,
            translation=tf.zeros(2) if resize == "squash" else (wanted - sides * scale) / 2,
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


def _decode_or_explain(contents: bytes, image_size: tuple[int, int] | None = None) -> tuple[tf.Tensor, tf.Tensor, int]:
    """As `_decode`, and the depth of `Levels`, where TensorFlow meets no exception of ours: it would print its
    traceback."""
    tensor = tf.constant(contents)
    try:
        chosen = int(_choose_decoder(tensor, image_size))
        if chosen != _SLOW:
            return *_decoders(tensor)[chosen](), 0
    except tf.errors.OpError as error:
        decode_with_depth(contents)  # knows the reasons, and raises the one that holds
        raise Unreadable("truncated or damaged") from error
    pixels, depth = decode_with_depth(contents)
    pixels = tf.constant(pixels)
    return pixels, _sides(pixels), depth


def _decode(contents: tf.Tensor, image_size: tuple[int, int] | None) -> tuple[tf.Tensor, tf.Tensor]:
    """uint8 (h, w, 3), at a scale that suffices for `image_size` (None: full scale), and the sides of what it shows."""
    return tf.switch_case(_choose_decoder(contents, image_size), _decoders(contents))


def _decoders(contents: tf.Tensor) -> dict[int, Callable[[], tuple[tf.Tensor, tf.Tensor]]]:
    """What `_choose_decoder` chooses among."""

    def jpeg(ratio: int) -> tuple[tf.Tensor, tf.Tensor]:
        # The default DCT is a faster, inexact one; this one agrees with Pillow and OpenCV to the bit.
        pixels = tf.io.decode_jpeg(contents, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")
        # Of sides that the ratio does not divide, the last pixel shows a part only. Taken for a whole one, it stretches
        # the image by up to half a pixel of the result.
        sides = tf.cast(tf.image.extract_jpeg_shape(contents)[:2], tf.float32) / ratio
        return pixels, sides

    def png() -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.io.decode_png(contents, channels=3)
        return pixels, _sides(pixels)

    def slow() -> tuple[tf.Tensor, tf.Tensor]:
        # Declared free of side effects, or deterministic ops would keep tf.data from running it in parallel. Of no
        # pixels nothing can be resized, so an unreadable file ends in TensorFlow's error here as in the other decoders.
        pixels = tf.numpy_function(decode_or_nothing, [tf.io.decode_raw(contents, tf.uint8)], tf.uint8, stateful=False)
        pixels = tf.ensure_shape(pixels, [None, None, 3])
        return pixels, _sides(pixels)

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


def read_thumbnails(samples: Samples, rows: Iterable[int]) -> list[np.ndarray]:
    """Some of the images, float32 (160, 160, 3) in 0..255 each, for a sheet of pictures."""
    return [read_pixels(samples.images[row], THUMBNAIL) for row in rows]
