from __future__ import annotations

import io
import os
import re
import struct
import time
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import Image, ImageOps

from tlkeras.data.images import (
    MAX_PIXELS,
    check_images,
    decode_and_resize,
    encode_path,
    read_image,
    read_pixels,
    require_readable,
    resize_pixels,
)
from tlkeras.data.pipeline import decode_all, pixel_batches
from tlkeras.schema import InputError, Samples

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
    "tiff rgb 16": (tiff(COLOURS_16, photometric="rgb"), COLOURS, 0),
    "tiff rgb 16 big-endian": (tiff(COLOURS_16, photometric="rgb", byteorder=">"), COLOURS, 0),
    "tiff rgba 16": (tiff(RGBA_16, photometric="rgb", extrasamples=["unassalpha"]), WHITENED, 0),
    "tiff turned": (pillow(np.rot90(COLOURS), "TIFF", tiffinfo={274: 6}), COLOURS, 0),
    "tiff planes": (tiff(np.moveaxis(COLOURS, -1, 0), photometric="rgb", planarconfig="separate"), COLOURS, 0),
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
SIZES = [(H, W), (24, 20), (12, 16), (1, 1), (100, 77)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formats")
    for name, (contents, _, _) in FILES.items():
        (folder / name).write_bytes(contents)
    for name, (orientation, endian) in ORIENTATIONS.items():
        (folder / name).write_bytes(pillow(COLOURS, "JPEG", quality=95, exif=exif(orientation, endian)))
    return folder


def samples_of(paths) -> Samples:
    return Samples(images=tuple(os.fspath(path) for path in paths), labels=None, class_names=("a", "b"))


def reason(path) -> str:
    frame = check_images(samples_of([path]), progress=False)
    assert list(frame.columns) == ["row", "path", "reason"]
    return frame["reason"].item() if len(frame) else ""


@pytest.mark.parametrize("name", FILES)
def test_every_format_shows_its_colours(folder, name):
    _, expected, tolerance = FILES[name]
    pixels = read_pixels(folder / name, (H, W))
    assert (pixels.dtype, pixels.shape) == (np.float32, (H, W, 3))
    centres = np.s_[H // 4 :: H // 2, W // 4 :: W // 2]
    where = centres if tolerance == LOSSY else np.s_[:, :]
    np.testing.assert_allclose(pixels[where], expected[where], atol=tolerance)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_exif_orientation_is_that_of_pillow(folder, name):
    expected = np.asarray(ImageOps.exif_transpose(Image.open(folder / name)))
    np.testing.assert_array_equal(read_pixels(folder / name, expected.shape[:2]), expected)


def test_orientation_in_xmp_is_applied(tmp_path):
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    (tmp_path / "a.jpg").write_bytes(pillow(COLOURS, "JPEG", quality=95, xmp=xmp))
    np.testing.assert_allclose(read_pixels(tmp_path / "a.jpg", (H, W))[5, 5], GREY, atol=LOSSY)


def test_orientation_after_a_large_colour_profile_is_found(tmp_path):
    (tmp_path / "a.jpg").write_bytes(pillow(COLOURS, "JPEG", icc_profile=b"\x55" * 200_000, exif=exif(3)))
    np.testing.assert_allclose(read_pixels(tmp_path / "a.jpg", (H, W))[5, 5], GREY, atol=LOSSY)


@pytest.mark.parametrize("image_size", SIZES)
def test_training_prediction_and_read_pixels_see_the_same_pixels(folder, image_size):
    paths = [folder / name for name in (*FILES, *ORIENTATIONS)]
    read = np.stack([read_pixels(path, image_size) for path in paths])
    decoded = decode_all(samples_of(paths), image_size, progress=False)
    streamed = np.concatenate([batch.numpy() for batch in pixel_batches(samples_of(paths), image_size, 7)])
    from_tensors = np.stack([read_image(encode_path(path), image_size) for path in paths])
    in_graph = tf.function(lambda contents: decode_and_resize(contents, image_size))
    from_bytes = np.stack([in_graph(tf.constant(path.read_bytes())) for path in paths])
    for pixels in (decoded, streamed, from_tensors, from_bytes):
        np.testing.assert_array_equal(pixels, read)
    assert np.array_equal(read, np.rint(read))
    assert check_images(samples_of(paths), progress=False).empty


def test_pixels_of_the_right_size_are_not_touched(folder):
    noise = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
    assert resize_pixels(noise, (H, W)).numpy().tobytes() == noise.tobytes()


def test_resize_averages_what_it_shrinks():
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    one = resize_pixels(stripes, (1, 1))
    assert (one.dtype, one.shape) == (tf.uint8, (1, 1, 3))
    np.testing.assert_allclose(one, 100, atol=5)
    batch = resize_pixels(np.stack([stripes, stripes // 2]), (4, 4))
    np.testing.assert_array_equal(batch[1], resize_pixels(stripes // 2, (4, 4)))


def test_resize_rounds_to_the_nearest_level():
    pair = np.array([0, 255], np.uint8)[np.newaxis, :, np.newaxis].repeat(3, axis=-1)
    np.testing.assert_array_equal(resize_pixels(pair, (1, 1)), 128)  # of 127.5


def test_resize_agrees_with_pillow():
    smooth = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8), (0, 0), 3)
    expected = Image.fromarray(smooth).resize((50, 40), Image.Resampling.BILINEAR)
    difference = np.abs(resize_pixels(smooth, (40, 50)).numpy().astype(int) - np.asarray(expected))
    assert difference.max() <= 1


def detailed_jpeg(sides: tuple[int, int], detail: int) -> bytes:
    height, width = sides
    levels = np.random.default_rng(0).integers(0, 256, (height // detail, width // detail, 3), dtype=np.uint8)
    return pillow(Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC), "JPEG", quality=95)


def by_pillow(contents: bytes, image_size: tuple[int, int], ratio: int) -> np.ndarray:
    image = Image.open(io.BytesIO(contents))
    width, height = image.size
    image.draft("RGB", (width // ratio, height // ratio))
    assert image.size == (-(-width // ratio), -(-height // ratio))
    box = (0, 0, width / ratio, height / ratio)
    return np.asarray(image.resize(image_size[::-1], Image.Resampling.BILINEAR, box)).astype(int)


@pytest.mark.parametrize(
    ("ratio", "sides"),
    [  # twice 10x12 at the ratio, one pixel less on either side; odd; landscape; portrait
        *[(2, (40, 48)), (1, (39, 48)), (1, (40, 47)), (2, (41, 49)), (1, (39, 500)), (1, (500, 47))],
        *[(4, (80, 96)), (2, (79, 96)), (2, (80, 95)), (4, (83, 99)), (2, (79, 500)), (2, (500, 95))],
        *[(8, (160, 192)), (4, (159, 192)), (4, (160, 191)), (8, (161, 193)), (8, (167, 999)), (8, (999, 199))],
    ],
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_leaves_twice_the_asked_sides(tmp_path, ratio, sides):
    (tmp_path / "a").write_bytes(contents := detailed_jpeg(sides, detail=3))
    pixels = read_pixels(tmp_path / "a", (10, 12))
    difference = {r: np.abs(pixels - by_pillow(contents, (10, 12), r)).mean() for r in (1, 2, 4, 8)}
    assert min(difference, key=difference.get) == ratio
    assert difference[ratio] < 0.25  # both round


@pytest.mark.parametrize("sides", [(1200, 1600), (1025, 2055), (2049, 1031)])
def test_a_much_larger_jpeg_agrees_with_its_full_decode(tmp_path, sides):
    (tmp_path / "a").write_bytes(contents := detailed_jpeg(sides, detail=8))
    difference = np.abs(read_pixels(tmp_path / "a", (64, 64)) - by_pillow(contents, (64, 64), ratio=1))
    assert difference.mean() < 1.5
    assert difference.max() <= 16


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_plain_files_are_decoded_as_pillow_does(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    (tmp_path / "a").write_bytes(pillow(noise, kind))
    np.testing.assert_array_equal(read_pixels(tmp_path / "a", (90, 70)), np.asarray(Image.open(tmp_path / "a")))


@pytest.mark.parametrize(
    "name", ["a b.jpg", "Grüße 🫁.jpg", "new\nline.jpg", b"\xff\xfe not utf-8.jpg", "a:", "%s.jpg"]
)
def test_any_name_the_file_system_allows(tmp_path, name):
    path = os.path.join(os.fspath(tmp_path), os.fsdecode(name))
    contents = FILES["jpeg"][0]
    with open(path, "wb") as file:
        file.write(contents)
    samples = samples_of([path])
    np.testing.assert_array_equal(decode_all(samples, (9, 9), progress=False)[0], read_pixels(path, (9, 9)))
    assert check_images(samples, progress=False).empty


def test_relative_paths_that_look_remote(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gs:").mkdir()
    (tmp_path / "gs:" / "a.png").write_bytes(FILES["png"][0])
    np.testing.assert_array_equal(decode_all(samples_of(["gs://a.png"]), (H, W))[0], COLOURS)


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
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow says more about some damaged TIFF files
@pytest.mark.parametrize("expected", BAD)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path, expected):
    path = tmp_path / "a.jpg"
    path.write_bytes(BAD[expected])
    start = time.perf_counter()
    assert expected.split(":")[0] in reason(path)
    with pytest.raises(InputError, match=r"a\.jpg"):
        read_pixels(path, (8, 8))
    with pytest.raises(InputError, match=r"a\.jpg"):
        decode_all(samples_of([path]), (8, 8), progress=False)
    assert time.perf_counter() - start < 2


def test_a_missing_file_a_folder_and_a_closed_file(tmp_path):
    assert reason(tmp_path / "absent.jpg") == "missing"
    (tmp_path / "folder.jpg").mkdir()
    assert reason(tmp_path / "folder.jpg") == "a folder"
    (tmp_path / "file").write_bytes(b"")
    assert "Not a directory" in reason(tmp_path / "file" / "below.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission(tmp_path):
    (tmp_path / "a.jpg").write_bytes(FILES["jpeg"][0])
    (tmp_path / "a.jpg").chmod(0)
    assert "permission" in reason(tmp_path / "a.jpg")


def test_the_largest_accepted_image_is_64_megapixels():
    assert MAX_PIXELS == 64 * 2**20


@pytest.mark.parametrize("cut", [0.02, 0.3, 0.6, 0.97])
@pytest.mark.parametrize("kind", [name for name in FILES if "trailing" not in name])
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_check_passes_exactly_what_the_decoder_reads(tmp_path, kind, cut):
    contents = FILES[kind][0]
    (tmp_path / "a").write_bytes(contents[: int(cut * len(contents))])
    found = reason(tmp_path / "a")
    if found:
        with pytest.raises(InputError, match=re.escape(found)):
            decode_all(samples_of([tmp_path / "a"]), (8, 8), progress=False)
    else:
        decode_all(samples_of([tmp_path / "a"]), (8, 8), progress=False)


def test_check_images_names_rows_in_order(folder, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    paths = [folder / "png", tmp_path / "absent", folder / "jpeg", tmp_path / "empty.png"]
    frame = check_images(samples_of(paths), workers=2, progress=False)
    assert frame.to_dict("list") == {
        "row": [1, 3],
        "path": [os.fspath(tmp_path / "absent"), os.fspath(tmp_path / "empty.png")],
        "reason": ["missing", "empty file"],
    }


def test_pixels_in_an_array_are_readable():
    samples = Samples(images=np.zeros((3, 4, 4, 3), np.uint8), labels=None, class_names=("a",))
    assert check_images(samples).empty
    require_readable(samples)


def test_require_readable_lists_twenty_files_and_the_remedy(tmp_path):
    paths = [tmp_path / f"absent {i:02d}.jpg" for i in range(23)]
    with pytest.raises(InputError, match="23 of 23") as caught:
        require_readable(samples_of(paths))
    message = str(caught.value)
    assert "absent 19" in message
    assert "absent 20" not in message
    assert "and 3 more" in message
    assert "--skip-unreadable" in message


@pytest.mark.parametrize("image_size", [224, (224,), (0, 5), (2.5, 3), (1, 2, 3), "ab"])
def test_a_wrong_image_size_is_refused(folder, image_size):
    with pytest.raises(InputError, match="height, width"):
        read_pixels(folder / "png", image_size)
