"""From the bytes of an image file to pixels in Python, by Pillow and OpenCV: for what TensorFlow does not decode."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from tlkeras.data.file_bytes import Unreadable

MAX_PIXELS = 8192 * 8192  # 64 megapixels; a larger header is a mistake or a decompression bomb

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")
_WIDTH, _HEIGHT = 256, 257
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR_CONFIGURATION, _SAMPLE_FORMAT = 274, 258, 262, 284, 339
_SAMPLES_PER_PIXEL = 277
_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap the sides
# Where a PNG's orientation can stand, before or behind its pixels.
_TURNED_PNG = (b"eXIf", b"Raw profile type exif", b"tiff:Orientation")
_KINDS = "8 or 16 bits per channel are, as unsigned whole numbers; floating point has no known range"


def decode_slowly(contents: bytes) -> np.ndarray:
    """The pixels of any accepted file; the header is judged before they are decoded.

    Returns:
        uint8 (h, w, 3), RGB, upright: 16 bits scaled to 8, transparency laid on white, grey repeated.

    Raises:
        Unreadable: the bytes are no such image, or not a whole one.
    """
    if not contents:
        raise Unreadable("empty file")
    try:
        image = _open(contents)
        deep_colour = _has_deep_colour(image)
        image.load()
        orientation = image.getexif().get(_ORIENTATION, 1)
        return np.ascontiguousarray(_turn_upright(_lay_on_white(_levels(image, contents, deep_colour)), orientation))
    except Unreadable:
        raise
    except Exception as error:  # on damaged files Pillow raises nearly anything: OSError, SyntaxError, struct.error ...
        raise _damage(error) from error


def upright_size(contents: bytes) -> tuple[int, int]:
    """(height, width) of what `decode_slowly` returns, from the header, without decoding.

    Raises:
        Unreadable: no such header; that the pixels behind it are whole is not asked.
    """
    try:
        image = _open(contents)
        # Pillow has swapped a TIFF's sides itself, and decodes a PNG to look for what stands behind its pixels.
        width, height = (image.tag_v2[_WIDTH], image.tag_v2[_HEIGHT]) if image.format == "TIFF" else image.size
        may_be_turned = image.format != "PNG" or any(mark in contents for mark in _TURNED_PNG)
        turned = may_be_turned and image.getexif().get(_ORIENTATION, 1) in _SIDEWAYS
    except Unreadable:
        raise
    except Exception as error:
        raise _damage(error) from error
    return (width, height) if turned else (height, width)


def decode_or_nothing(contents: np.ndarray) -> np.ndarray:
    """`decode_slowly` for a TensorFlow graph: uint8 (n,) to uint8 (h, w, 3), (0, 0, 3) where it cannot be read.

    TensorFlow prints the traceback of every exception that it meets in Python.
    """
    try:
        return decode_slowly(contents.tobytes())
    except Unreadable:
        return np.zeros((0, 0, 3), np.uint8)


def _levels(image: Image.Image, contents: bytes, deep_colour: bool) -> np.ndarray:
    """uint8 or uint16 (h, w, 3 or 4), as stored."""
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
    if image.width * image.height > MAX_PIXELS:
        raise Unreadable(
            f"absurd dimensions ({image.width}x{image.height}; at most {MAX_PIXELS / 1e6:.0f} million pixels are read)"
        )
    if image.format == "TIFF":
        depth = max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))
        unsigned = set(image.tag_v2.get(_SAMPLE_FORMAT, (1,))) == {1}
        separate_planes = image.tag_v2.get(_PLANAR_CONFIGURATION) == 2
        if depth not in (1, 2, 4, 8, 16) or not unsigned:
            raise Unreadable(f"of a kind that is not read ({_KINDS})")
        if separate_planes and depth == 16 and image.tag_v2.get(_SAMPLES_PER_PIXEL, 1) > 1:
            raise Unreadable(
                "a planar TIFF of 16 bits (each channel in a plane of its own), which is not read; save it with the "
                "channels of a pixel side by side (PlanarConfiguration 1)"
            )
    return image


def _damage(error: Exception) -> Unreadable:
    if isinstance(error, MemoryError):
        return Unreadable("too large for the memory that is free")
    return Unreadable("truncated" if "truncated" in str(error).lower() else f"truncated or damaged ({error})")


def _has_deep_colour(image: Image.Image) -> bool:
    if image.format not in ("PNG", "TIFF"):
        return False
    arguments = image.tile[0][3]
    raw_mode = arguments if isinstance(arguments, str) else arguments[0]
    return raw_mode.startswith(("RGB;16", "RGBA;16", "LA;16"))


def _read_deep_colour(contents: np.ndarray) -> np.ndarray:
    levels = cv2.imdecode(contents, cv2.IMREAD_UNCHANGED)  # Pillow would keep the high byte only
    if levels is None or levels.dtype != np.uint16:
        raise Unreadable("truncated or damaged")
    return cv2.cvtColor(levels, cv2.COLOR_BGR2RGB if levels.shape[-1] == 3 else cv2.COLOR_BGRA2RGBA)


def _deep_grey(image: Image.Image) -> np.ndarray:
    grey = np.asarray(image).astype(np.uint16)  # convert("RGB") would clip, not scale
    if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0:  # white is zero
        grey = 65535 - grey
    opaque = np.where(grey == image.info.get("transparency", -1), 0, 65535).astype(np.uint16)
    return np.stack([grey, grey, grey, opaque], axis=-1)


def _lay_on_white(levels: np.ndarray) -> np.ndarray:
    if levels.dtype == np.uint8 and levels.shape[-1] == 3:
        return levels
    shares = levels.astype(np.float32) / np.iinfo(levels.dtype).max
    if shares.shape[-1] == 4:
        alpha = shares[..., 3:]
        shares = shares[..., :3] * alpha + (1 - alpha)
    return np.rint(255 * shares).astype(np.uint8)


def _turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes the EXIF orientation: 2 to 4 mirror and turn in place, 5 to 8 swap the sides as well."""
    if orientation in _SIDEWAYS:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
