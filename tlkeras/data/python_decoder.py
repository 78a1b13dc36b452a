"""From the bytes of an image file to pixels in Python, by Pillow and OpenCV: for what TensorFlow does not decode.

Which value of a 16-bit file is white? Of X-rays and microscopes it is often that of 10, 12 or 14 bits. A file may
declare it, a PNG by its chunk sBIT, a TIFF by its tag MaxSampleValue. Most don't, and then the largest value decides,
of this one file: white is the largest value of 8, 10, 12, 14 or 16 bits, the fewest that hold it. A file whose values
have visibly been scaled up to all 16 bits stays at 16, however dark it is.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from tlkeras.data.file_contents import Unreadable

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile
    from PIL.TiffImagePlugin import TiffImageFile

MAX_PIXELS = 8192 * 8192  # 64 megapixels; a larger header is a mistake or a decompression bomb
# A JPEG cannot have more. A resize holds (asked height x given width) pixels in float32 between its two passes, so a
# narrow band of few pixels could take more memory than an image of 64 megapixels.
MAX_SIDE = 65_535

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR_CONFIGURATION, _SAMPLE_FORMAT = 274, 258, 262, 284, 339
_SAMPLES_PER_PIXEL = 277
_MAX_SAMPLE_VALUE = 281
_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap the sides
_FULL = 16  # bits
_USUAL = (8, 10, 12, 14, _FULL)  # the depths of sensors
_SCALED_FROM = (8, 10, 12)
_PNG_SIGNATURE = 8  # bytes
_CHUNK_HEAD = 8  # length and kind
_CHUNK_CHECK = 4
_STRIPE = 2**20  # pixels that are float32 at a time
_KINDS = "8 or 16 bits per channel are, as unsigned whole numbers; floating point has no known range"


def decode_slowly(contents: bytes) -> np.ndarray:
    """The pixels of any accepted file; the header is judged before they are decoded.

    Returns:
        uint8 (h, w, 3), RGB, upright: 16 bits scaled to 8 (by its `BitDepth`), transparency laid on white,
        grey repeated.

    Raises:
        Unreadable: the bytes are no such image, or not a whole one, or one that is transparent everywhere.
    """
    return decode_with_depth(contents)[0]


def decode_with_depth(contents: bytes) -> tuple[np.ndarray, int]:
    """`decode_slowly`, and for how many bits the largest value of a 16-bit file was taken; 0 of 8 bits, and where the
    file declares its range."""
    if not contents:
        raise Unreadable("empty file")
    try:
        image = _open(contents)
        deep_colour = _has_deep_colour(image)
        image.load()
        orientation = image.getexif().get(_ORIENTATION, 1)
        levels = _levels(image, contents, deep_colour)
        depth = _depth(image, contents, levels)
        if image.format == "TIFF" and depth is not None and _tags(image).get(_PHOTOMETRIC) == 0:  # white is zero
            levels = depth.white - levels
        pixels = _lay_on_white(levels, 255 if depth is None else depth.white)
        guessed = 0 if depth is None or depth.declared else depth.bits
        return np.ascontiguousarray(_turn_upright(pixels, orientation)), guessed
    except Unreadable:
        raise
    except Exception as error:  # on damaged files Pillow raises nearly anything: OSError, SyntaxError, struct.error ...
        raise _damage(error) from error


def decode_or_nothing(contents: np.ndarray) -> np.ndarray:
    """`decode_slowly` for a TensorFlow graph: uint8 (n,) to uint8 (h, w, 3), (0, 0, 3) where it cannot be read.

    TensorFlow prints the traceback of every exception that it meets in Python.
    """
    try:
        return decode_slowly(contents.tobytes())
    except Unreadable:
        return np.zeros((0, 0, 3), np.uint8)


def _levels(image: Image.Image, contents: bytes, deep_colour: bool) -> np.ndarray:
    """uint8 or uint16 (h, w, channels), as stored: grey, or RGB, and alpha behind it where there is one."""
    if image.mode.startswith("I"):
        return _deep_grey(image)
    if deep_colour:
        return _read_deep_colour(np.frombuffer(contents, np.uint8))
    # Not with OpenCV, which loses the transparency of palettes and the colours of CMYK.
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def _open(contents: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(contents), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unreadable(f"absurd dimensions (more than {MAX_PIXELS / 1e6:.0f} million pixels)") from error
    except UnidentifiedImageError as error:
        if contents.startswith(_SIGNATURES):
            raise Unreadable(f"truncated, or a damaged header, or of a kind that is not read ({_KINDS})") from error
        raise Unreadable(f"not an image ({', '.join(FORMATS)} are read)") from error
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise Unreadable(
            f"absurd dimensions ({image.width}x{image.height}; at most {MAX_PIXELS / 1e6:.0f} million pixels are read, "
            f"and sides of at most {MAX_SIDE:,})"
        )
    if image.format == "TIFF":
        depth = max(_tags(image).get(_BITS_PER_SAMPLE, (1,)))
        unsigned = set(_tags(image).get(_SAMPLE_FORMAT, (1,))) == {1}
        separate_planes = _tags(image).get(_PLANAR_CONFIGURATION) == 2
        if depth not in (1, 2, 4, 8, 16) or not unsigned:
            raise Unreadable(f"of a kind that is not read ({_KINDS})")
        if separate_planes and depth == 16 and _tags(image).get(_SAMPLES_PER_PIXEL, 1) > 1:
            raise Unreadable(
                "a planar TIFF of 16 bits (each channel in a plane of its own), which is not read; save it with the "
                "channels of a pixel side by side (PlanarConfiguration 1)"
            )
    return image


def _tags(image: Image.Image) -> Mapping[int, Any]:
    """Those of a TIFF, by their numbers."""
    return cast("TiffImageFile", image).tag_v2


def _damage(error: Exception) -> Unreadable:
    if isinstance(error, MemoryError):
        return Unreadable("too large for the memory that is free")
    return Unreadable("truncated" if "truncated" in str(error).lower() else f"truncated or damaged ({error})")


def _has_deep_colour(image: Image.Image) -> bool:
    if image.format not in ("PNG", "TIFF"):
        return False
    arguments: Any = cast("ImageFile", image).tile[0][3]
    raw_mode = arguments if isinstance(arguments, str) else arguments[0]
    return raw_mode.startswith(("RGB;16", "RGBA;16", "LA;16"))


def _read_deep_colour(contents: np.ndarray) -> np.ndarray:
    levels = cv2.imdecode(contents, cv2.IMREAD_UNCHANGED)  # Pillow would keep the high byte only
    if levels is None or levels.dtype != np.uint16:
        raise Unreadable("truncated or damaged")
    return cv2.cvtColor(levels, cv2.COLOR_BGR2RGB if levels.shape[-1] == 3 else cv2.COLOR_BGRA2RGBA)


def _deep_grey(image: Image.Image) -> np.ndarray:
    grey = np.asarray(image).astype(np.uint16)[..., np.newaxis]  # convert("RGB") would clip, not scale
    if "transparency" not in image.info:
        return grey
    opaque = np.where(grey == image.info["transparency"], 0, 65535).astype(np.uint16)
    return np.concatenate([grey, opaque], axis=-1)


def _depth(image: Image.Image, contents: bytes, levels: np.ndarray) -> BitDepth | None:
    """What white is among the colours of `levels`; None of 8 bits."""
    if levels.dtype == np.uint8:
        return None
    colours = levels[..., :1] if levels.shape[-1] < 3 else levels[..., :3]
    if image.format == "PNG":
        return depth_of_png(colours, contents)
    largest = _tags(image).get(_MAX_SAMPLE_VALUE)  # one per channel
    return depth_of_tiff(colours, max(largest) if isinstance(largest, tuple) else largest)


def _lay_on_white(levels: np.ndarray, white: int) -> np.ndarray:
    """uint8 (h, w, 3) from levels (h, w, channels) of which `white` is the largest colour."""
    height, width, n_channels = levels.shape
    if levels.dtype == np.uint8 and n_channels == 3:
        return levels
    opaque = 0
    if n_channels in (2, 4):
        most = int(levels[..., -1].max())
        if not most:
            raise Unreadable(
                "transparent everywhere: its alpha is 0 in every pixel, so that nothing of it shows. If its colours "
                "count, save it without the alpha channel"
            )
        # Opaque is the white of the colours, or of all 16 bits where alpha goes beyond that.
        opaque = max(white, 0 if most <= white else np.iinfo(levels.dtype).max)
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIPE // width)
    for start in range(0, height, rows):
        stripe = levels[start : start + rows]
        shares = stripe[..., : n_channels - (opaque > 0)].astype(np.float32) / white
        if opaque:
            alpha = stripe[..., -1:].astype(np.float32) / opaque
            shares = shares * alpha + (1 - alpha)
        pixels[start : start + rows] = np.rint(255 * shares)
    return pixels


def _turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes the EXIF orientation: 2 to 4 mirror and turn in place, 5 to 8 swap the sides as well."""
    if orientation in _SIDEWAYS:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


@dataclass(frozen=True)
class BitDepth:
    """How many bits white takes in a 16-bit file.

    Attributes:
        bits: 1 to 16; white is 2**bits - 1.
        declared: whether the file says so; else its largest value does.
    """

    bits: int
    declared: bool

    @property
    def white(self) -> int:
        """The value that becomes 255."""
        return 2**self.bits - 1


def depth_of_png(colours: np.ndarray, contents: bytes) -> BitDepth:
    """Of a PNG's colours, uint16 (h, w, 1 or 3), and the bytes of its file.

    The standard wants values of n significant bits scaled up to 16, and then white is 65535. Many files hold them as
    they are: those whose largest value is one of n bits, and that were not scaled up.
    """
    significant = _significant_bits(contents)[: colours.shape[-1]]
    if not significant or not 0 < min(significant) <= max(significant) <= _FULL:
        return depth_of_values(colours)
    bits = max(significant)
    as_they_are = int(colours.max()) < 2**bits and not _is_scaled_up(colours, bits)
    return BitDepth(bits if as_they_are else _FULL, declared=True)


def depth_of_tiff(colours: np.ndarray, largest: int | None) -> BitDepth:
    """Of a TIFF's colours as stored, uint16 (h, w, 1 or 3), and its MaxSampleValue.

    Some programs write the largest value of this image there, so it is taken to the end of its bits: 3127 declares 12.
    A tag that the values contradict says nothing.
    """
    if largest is None or not max(1, int(colours.max())) <= largest < 2**_FULL:
        return depth_of_values(colours)
    return BitDepth(int(largest).bit_length(), declared=True)


def depth_of_values(colours: np.ndarray) -> BitDepth:
    """Of values, uint16, where nothing is declared."""
    needed = int(colours.max()).bit_length()
    bits = next(bits for bits in _USUAL if bits >= needed)
    if bits < _FULL and any(_is_scaled_up(colours, source) for source in _SCALED_FROM):
        bits = _FULL
    return BitDepth(bits, declared=False)


def _is_scaled_up(values: np.ndarray, bits: int) -> bool:
    """Whether all values are ones of `bits` bits scaled to 16: shifted, repeated in the bits below, or multiplied."""
    shift = _FULL - bits
    if not shift:
        return True
    sources = np.arange(2**bits, dtype=np.int64)
    shifted = sources << shift
    repeated = shifted | (shifted >> bits)
    multiplied = np.rint(sources * ((2**_FULL - 1) / (2**bits - 1))).astype(np.int64)
    present = np.zeros(2**_FULL, bool)
    for row in values:  # an index of all at once would be eight bytes per value
        present[row] = True
    return any(np.isin(np.flatnonzero(present), scaled).all() for scaled in (shifted, repeated, multiplied))


def _significant_bits(contents: bytes) -> tuple[int, ...]:
    """What a PNG's sBIT says of each channel, empty where there is none before the pixels."""
    start = _PNG_SIGNATURE
    while start + _CHUNK_HEAD <= len(contents):
        length, kind = struct.unpack_from(">I4s", contents, start)
        start += _CHUNK_HEAD
        if kind == b"sBIT":
            return tuple(contents[start : start + min(length, 4)])
        if kind == b"IDAT":
            break
        start += length + _CHUNK_CHECK
    return ()
