"""Image files of every kind: those that are read, with the pixels they show, and those that are refused."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image

H, W = 48, 64
RED, GREEN, BLUE, GREY = (230, 20, 30), (20, 200, 40), (30, 40, 220), (128, 128, 128)
LOSSY = 16  # levels; chroma is subsampled


def quadrants(top_left, top_right, bottom_left, bottom_right, dtype=np.uint8) -> np.ndarray:
    image = np.empty((H, W, np.size(top_left)), dtype)
    image[: H // 2, : W // 2], image[: H // 2, W // 2 :] = top_left, top_right
    image[H // 2 :, : W // 2], image[H // 2 :, W // 2 :] = bottom_left, bottom_right
    return image.squeeze()


COLOURS = quadrants(RED, GREEN, BLUE, GREY)
GREYS = quadrants(0, 80, 160, 255)
GREYS_RGB = np.repeat(GREYS[..., np.newaxis], 3, axis=-1)
# Half-transparent, transparent with a hidden colour, opaque, opaque.
RGBA = np.dstack([COLOURS, quadrants(51, 0, 255, 255)])
WHITENED = quadrants((250, 208, 210), (255, 255, 255), BLUE, GREY)  # 255 - (255 - red) * 51 / 255
GREYS_16 = quadrants(0, 1000, 40000, 65535, np.uint16)
GREYS_16_RGB = np.repeat(quadrants(0, 4, 156, 255)[..., np.newaxis], 3, axis=-1)  # 1000/257 = 3.9, 40000/257 = 155.6
# 12 bits in 16, as X-rays are: 4095 is white. 800/4095 = 49.8/255, 2000/4095 = 124.5/255.
GREYS_12 = quadrants(0, 800, 2000, 4095, np.uint16)
GREYS_12_RGB = np.repeat(quadrants(0, 50, 125, 255)[..., np.newaxis], 3, axis=-1)
COLOURS_16 = COLOURS.astype(np.uint16) * 257 + 100
RGBA_16 = np.dstack([COLOURS_16 - 100, quadrants(51 * 257, 0, 65535, 65535, np.uint16)])


def pillow(pixels: np.ndarray | Image.Image, file_format: str, mode: str | None = None, **options) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, file_format, **options)
    return file.getvalue()


def opencv(pixels: np.ndarray, suffix: str) -> bytes:
    order = {2: lambda x: x, 3: lambda x: x[..., [2, 1, 0] if x.shape[-1] == 3 else [2, 1, 0, 3]]}[pixels.ndim]
    return cv2.imencode(suffix, order(pixels))[1].tobytes()


def tiff(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def png(pixels: np.ndarray, colour_type: int, *chunks: tuple[bytes, bytes], says: tuple[int, int] = ()) -> bytes:
    height, width = says or pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(pixels.dtype.newbyteorder(">")).tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def exif(orientation: int, endian: str = "<") -> bytes:
    tags = Image.Exif()
    tags.endian = endian
    tags[0x0112] = orientation
    return tags.tobytes()


def enlarged(image: np.ndarray | Image.Image) -> Image.Image:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    return image.resize((571, 429), Image.Resampling.NEAREST)  # 4 times 2H and 2W are 384 and 512


def cmyk() -> Image.Image:
    return Image.fromarray(COLOURS).convert("CMYK")


def palette(transparent: bool) -> bytes:
    image = Image.fromarray(COLOURS).quantize(4)
    hidden = image.getpixel((W - 1, 0))  # the green quadrant
    return pillow(image, "PNG", **({"transparency": hidden} if transparent else {}))


def frames(file_format: str, **options) -> bytes:
    second = Image.fromarray(255 - COLOURS)
    return pillow(COLOURS, file_format, save_all=True, append_images=[second], **options)


GREEN_HIDDEN = quadrants(RED, (255, 255, 255), BLUE, GREY)

# name: (bytes of the file, the pixels it shows, tolerance in levels)
FILES = {
    "jpeg": (pillow(COLOURS, "JPEG", quality=95), COLOURS, LOSSY),
    "jpeg progressive": (pillow(COLOURS, "JPEG", quality=95, progressive=True), COLOURS, LOSSY),
    "jpeg grey": (pillow(GREYS, "JPEG", quality=95), GREYS_RGB, LOSSY),
    "jpeg cmyk": (pillow(cmyk(), "JPEG", quality=95), COLOURS, LOSSY),
    "jpeg upright exif": (pillow(COLOURS, "JPEG", quality=95, exif=exif(1)), COLOURS, LOSSY),
    "jpeg trailing bytes": (pillow(COLOURS, "JPEG", quality=95) + b"\0" * 99, COLOURS, LOSSY),
    "jpeg large": (pillow(enlarged(COLOURS), "JPEG", quality=95), COLOURS, LOSSY),
    "jpeg large progressive": (pillow(enlarged(COLOURS), "JPEG", quality=95, progressive=True), COLOURS, LOSSY),
    "jpeg large grey": (pillow(enlarged(GREYS), "JPEG", quality=95), GREYS_RGB, LOSSY),
    "jpeg large cmyk": (pillow(enlarged(cmyk()), "JPEG", quality=95), COLOURS, LOSSY),
    "png": (pillow(COLOURS, "PNG"), COLOURS, 0),
    "png grey": (pillow(GREYS, "PNG"), GREYS_RGB, 0),
    "png bilevel": (pillow(GREYS > 100, "PNG"), np.where(GREYS_RGB > 100, 255, 0), 0),
    "png palette": (palette(transparent=False), COLOURS, 0),
    "png palette transparent": (palette(transparent=True), GREEN_HIDDEN, 0),
    "png rgba": (pillow(RGBA, "PNG"), WHITENED, 0),
    "png grey alpha": (pillow(RGBA, "PNG", "LA"), None, 0),
    "png rgb with a transparent colour": (png(COLOURS, 2, (b"tRNS", struct.pack(">3H", *GREEN))), GREEN_HIDDEN, 0),
    "png grey 16": (pillow(GREYS_16, "PNG"), GREYS_16_RGB, 0),
    "png grey 16 with a transparent level": (
        png(GREYS_16, 0, (b"tRNS", struct.pack(">H", 1000))),
        np.where(GREYS_16_RGB == 4, 255, GREYS_16_RGB),
        0,
    ),
    "png grey 12 in 16": (pillow(GREYS_12, "PNG"), GREYS_12_RGB, 0),
    "png grey 12 in 16, declared": (png(GREYS_12, 0, (b"sBIT", b"\x0c")), GREYS_12_RGB, 0),
    "png rgb 12 in 16": (png(np.dstack([GREYS_12] * 3), 2), GREYS_12_RGB, 0),
    "png rgb 16": (opencv(COLOURS_16, ".png"), COLOURS, 0),
    "png rgba 16": (opencv(RGBA_16, ".png"), WHITENED, 0),
    "png turned": (pillow(np.rot90(COLOURS), "PNG", exif=exif(6)), COLOURS, 0),
    "bmp": (pillow(COLOURS, "BMP"), COLOURS, 0),
    "bmp grey": (pillow(GREYS, "BMP"), GREYS_RGB, 0),
    "gif": (pillow(COLOURS, "GIF"), COLOURS, 0),
    "gif animated": (frames("GIF"), COLOURS, 0),
    "gif transparent": (pillow(Image.fromarray(RGBA), "GIF"), None, 0),
    "tiff": (pillow(COLOURS, "TIFF"), COLOURS, 0),
    "tiff lzw": (pillow(COLOURS, "TIFF", compression="tiff_lzw"), COLOURS, 0),
    "tiff grey": (pillow(GREYS, "TIFF"), GREYS_RGB, 0),
    "tiff grey, white is zero": (tiff(255 - GREYS, photometric="miniswhite"), GREYS_RGB, 0),
    "tiff rgba": (pillow(RGBA, "TIFF"), WHITENED, 0),
    "tiff cmyk": (pillow(cmyk(), "TIFF"), COLOURS, 1),
    "tiff grey 16": (tiff(GREYS_16, photometric="minisblack"), GREYS_16_RGB, 0),
    "tiff grey 16 big-endian": (tiff(GREYS_16, photometric="minisblack", byteorder=">"), GREYS_16_RGB, 0),
    "tiff grey 16, white is zero": (tiff(65535 - GREYS_16, photometric="miniswhite"), GREYS_16_RGB, 0),
    "tiff grey 12 in 16": (tiff(GREYS_12, photometric="minisblack"), GREYS_12_RGB, 0),
    "tiff grey 12 in 16, white is zero": (tiff(4095 - GREYS_12, photometric="miniswhite"), GREYS_12_RGB, 0),
    "tiff rgb 16": (tiff(COLOURS_16, photometric="rgb"), COLOURS, 0),
    "tiff rgb 16 big-endian": (tiff(COLOURS_16, photometric="rgb", byteorder=">"), COLOURS, 0),
    "tiff rgba 16": (tiff(RGBA_16, photometric="rgb", extrasamples=["unassalpha"]), WHITENED, 0),
    "tiff turned": (pillow(np.rot90(COLOURS), "TIFF", tiffinfo={274: 6}), COLOURS, 0),
    "tiff planes": (tiff(np.moveaxis(COLOURS, -1, 0), photometric="rgb", planarconfig="separate"), COLOURS, 0),
    "png animated": (frames("PNG"), COLOURS, 0),
    "webp": (pillow(COLOURS, "WEBP", quality=95), COLOURS, LOSSY),
    "webp lossless rgba": (pillow(RGBA, "WEBP", lossless=True), WHITENED, 0),
    "webp animated": (frames("WEBP", lossless=True), COLOURS, 0),
}
FILES["png grey alpha"] = (
    pillow(Image.fromarray(np.dstack([GREYS, RGBA[..., 3]])), "PNG"),
    quadrants((204, 204, 204), (255, 255, 255), (160, 160, 160), (255, 255, 255)),
    0,
)
FILES["gif transparent"] = (
    pillow(Image.fromarray(np.dstack([COLOURS, quadrants(255, 0, 255, 255)])), "GIF"),
    GREEN_HIDDEN,
    1,
)
ORIENTATIONS = {f"jpeg orientation {n}{e}": (n, e) for n in range(1, 9) for e in "<>"}


def zipped() -> bytes:
    """Ten megabytes of zeros in ten kilobytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(10**7))
    return file.getvalue()


def webp_of_canvas(side: int) -> bytes:
    contents = FILES["webp animated"][0]
    assert contents[12:16] == b"VP8X"
    return contents[:24] + 2 * struct.pack("<I", side - 1)[:3] + contents[30:]


JPEG_60000 = FILES["jpeg"][0].replace(struct.pack(">HH", H, W), struct.pack(">HH", 60_000, 60_000), 1)
JPEG_8200 = FILES["jpeg"][0].replace(struct.pack(">HH", H, W), struct.pack(">HH", 8_200, 8_200), 1)
NO_SIDE = FILES["jpeg"][0].replace(struct.pack(">HH", H, W), struct.pack(">HH", 0, W), 1)
BAD = {
    "empty file": b"",
    "truncated": FILES["jpeg"][0][:-500],
    "truncated: no end of image": FILES["jpeg"][0][:-2],
    "truncated: half an end of image": FILES["jpeg"][0][:-1],
    "truncated: large jpeg": FILES["jpeg large"][0][:-500],
    "truncated: large jpeg, no end of image": FILES["jpeg large"][0][:-2],
    "truncated: large progressive jpeg": FILES["jpeg large progressive"][0][:-500],
    "truncated: png": FILES["png"][0][:-40],
    "truncated: png without its end": FILES["png"][0][:-12],
    "truncated: turned jpeg": pillow(COLOURS, "JPEG", exif=exif(6))[:-2],
    "truncated: tiff": FILES["tiff"][0][: H * W],
    "truncated: tiff 16": FILES["tiff rgb 16"][0][:-50],
    "truncated: bmp": FILES["bmp"][0][:-50],
    "truncated: webp": FILES["webp"][0][:-50],
    "truncated: gif": FILES["gif"][0][:-90],
    "truncated: png 16": FILES["png rgb 16"][0][:-40],
    "truncated: first three bytes": FILES["jpeg"][0][:3],
    "truncated: png signature": FILES["png"][0][:20],
    "not an image": b"<!DOCTYPE html><title>404</title>",
    "not an image: leading newline": b"\n" + FILES["jpeg"][0],
    "not an image: zeros": b"\0" * 1000,
    "absurd dimensions: png": png(COLOURS, 2, says=(30_000, 30_000)),
    "absurd dimensions: png just above": png(COLOURS, 2, says=(8_192, 8_193)),
    "absurd dimensions: gif": FILES["gif"][0][:6] + struct.pack("<HH", 60_000, 60_000) + FILES["gif"][0][10:],
    "absurd dimensions: jpeg": JPEG_60000,
    "absurd dimensions: jpeg just above": JPEG_8200,
    "of a kind that is not read: float": tiff(GREYS.astype(np.float32), photometric="minisblack"),
    "of a kind that is not read: float rgb": tiff(COLOURS.astype(np.float32), photometric="rgb"),
    "of a kind that is not read: signed": tiff(GREYS.astype(np.int16), photometric="minisblack"),
    "of a kind that is not read: 32 bits": tiff(GREYS.astype(np.uint32), photometric="minisblack"),
    "damaged": NO_SIDE,
    "transparent everywhere: png": pillow(np.dstack([COLOURS, np.zeros((H, W), np.uint8)]), "PNG"),
    "transparent everywhere: png 16": opencv(np.dstack([COLOURS_16, np.zeros((H, W), np.uint16)]), ".png"),
    "transparent everywhere: one transparent colour": png(
        np.full((H, W, 3), GREEN, np.uint8), 2, (b"tRNS", struct.pack(">3H", *GREEN))
    ),
    "transparent everywhere: tiff": tiff(
        np.dstack([COLOURS, np.zeros((H, W), np.uint8)]), photometric="rgb", extrasamples=["unassalpha"]
    ),
    "transparent everywhere: webp": pillow(
        np.dstack([COLOURS, np.zeros((H, W), np.uint8)]), "WEBP", lossless=True, exact=True
    ),
    "absurd dimensions: png of one row": png(np.zeros((1, 4_000_000), np.uint8), 0),
    "absurd dimensions: tiff of one column": tiff(np.zeros((70_000, 1), np.uint8), compression="zlib"),
    "not an image: pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<</Type/Catalog>>\nendobj\n%%EOF",
    "not an image: text": "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.\n".encode() * 9,
    "not an image: zip bomb": zipped(),
    "not an image: gzip": gzip.compress(FILES["jpeg"][0]),
    "not an image: svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "truncated or damaged: bomb of text in a png": png(
        RGBA.astype(np.uint8), 6, (b"zTXt", b"k\0\0" + zlib.compress(bytes(10**7)))
    ),
    "not an image: jpeg 2000": pillow(COLOURS, "JPEG2000"),
    "not an image: icon": pillow(COLOURS, "ICO"),
    "absurd dimensions: tiff": FILES["tiff"][0]
    .replace(struct.pack("<HHII", 256, 4, 1, W), struct.pack("<HHII", 256, 4, 1, 60_000))
    .replace(struct.pack("<HHII", 257, 4, 1, H), struct.pack("<HHII", 257, 4, 1, 60_000)),
    "absurd dimensions: bmp": FILES["bmp"][0][:18] + struct.pack("<ii", 60_000, 60_000) + FILES["bmp"][0][26:],
    "absurd dimensions: webp": webp_of_canvas(16_384),
}
# Sides that no photograph has; accepted all the same.
SIDES = {"1x1": (1, 1), "1x10000": (1, 10_000), "10000x1": (10_000, 1), "8192x1": (8_192, 1)}
