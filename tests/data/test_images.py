from __future__ import annotations

import io
import os
import re
import time

import cv2
import numpy as np
import pytest
import tensorflow as tf
from corpus import BAD, COLOURS, FILES, GREY, LOSSY, ORIENTATIONS, H, W, exif, pillow
from PIL import Image, ImageOps

from tlkeras.data.arrays import from_arrays
from tlkeras.data.images import (
    MAX_PIXELS,
    decode_and_resize,
    encode_path,
    read_image,
    read_pixels,
    resize_pixels,
)
from tlkeras.data.pipeline import decode_all, pixel_batches
from tlkeras.data.readable import unreadable
from tlkeras.errors import InputError
from tlkeras.schema import Samples

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
    frame = unreadable(samples_of([path]))
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


def test_an_image_in_memory_is_resized_as_training_sees_it():
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 30, 3), dtype=np.uint8)
    seen = decode_all(from_arrays(images, ["a", "b", "a"]), (16, 20))
    for row, image in enumerate(images):
        pixels = read_pixels(image, (16, 20))
        assert pixels.dtype == np.float32
        np.testing.assert_array_equal(pixels, seen[row])
        np.testing.assert_array_equal(read_pixels(image.astype(float), None), image)
    with pytest.raises(InputError, match=r"received floats in 0\.0\.\.1\.0"):
        read_pixels(images[0] / 255, (16, 20))
    with pytest.raises(InputError, match=r"images: received shape \(1, 40, 30, 4\)"):
        read_pixels(np.zeros((40, 30, 4), np.uint8), None)


@pytest.mark.parametrize("image_size", SIZES)
def test_training_prediction_and_read_pixels_see_the_same_pixels(folder, image_size):
    paths = [folder / name for name in (*FILES, *ORIENTATIONS)]
    read = np.stack([read_pixels(path, image_size) for path in paths])
    decoded = decode_all(samples_of(paths), image_size)
    streamed = np.concatenate([batch.numpy() for batch in pixel_batches(samples_of(paths), image_size, 7)])
    from_tensors = np.stack([read_image(encode_path(path), image_size) for path in paths])
    in_graph = tf.function(lambda contents: decode_and_resize(contents, image_size))
    from_bytes = np.stack([in_graph(tf.constant(path.read_bytes())) for path in paths])
    for pixels in (decoded, streamed, from_tensors, from_bytes):
        np.testing.assert_array_equal(pixels, read)
    assert np.array_equal(read, np.rint(read))
    assert unreadable(samples_of(paths)).empty


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
    np.testing.assert_array_equal(decode_all(samples, (9, 9))[0], read_pixels(path, (9, 9)))
    assert unreadable(samples).empty


def test_relative_paths_that_look_remote(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gs:").mkdir()
    (tmp_path / "gs:" / "a.png").write_bytes(FILES["png"][0])
    np.testing.assert_array_equal(decode_all(samples_of(["gs://a.png"]), (H, W))[0], COLOURS)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow says more about some damaged TIFF files
@pytest.mark.parametrize("expected", BAD)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path, expected):
    path = tmp_path / "a.jpg"
    path.write_bytes(BAD[expected])
    start = time.perf_counter()
    assert expected.split(":")[0] in reason(path)
    with pytest.raises(InputError, match=r"a\.jpg"):
        read_pixels(path, (8, 8))
    assert time.perf_counter() - start < 2


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_dataset_stops_at_every_file_that_the_check_finds(tmp_path):
    in_graph = tf.function(lambda contents: decode_and_resize(contents, (8, 8)))
    for name, contents in BAD.items():
        with pytest.raises(tf.errors.OpError):
            in_graph(tf.constant(contents))
        (tmp_path / name.replace(" ", "_")).write_bytes(contents)
    with pytest.raises(InputError, match=f"{len(BAD)} of {len(BAD)} image files cannot be read"):
        decode_all(samples_of(sorted(tmp_path.iterdir())), (8, 8))


def test_a_missing_file_a_folder_and_a_closed_file(tmp_path):
    assert reason(tmp_path / "absent.jpg") == "missing"
    (tmp_path / "folder.jpg").mkdir()
    assert reason(tmp_path / "folder.jpg") == "a folder"
    (tmp_path / "file").write_bytes(b"")
    assert "Not a directory" in reason(tmp_path / "file" / "below.jpg")


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
            decode_all(samples_of([tmp_path / "a"]), (8, 8))
    else:
        decode_all(samples_of([tmp_path / "a"]), (8, 8))


@pytest.mark.parametrize("image_size", [224, (224,), (0, 5), (2.5, 3), (1, 2, 3), "ab"])
def test_a_wrong_image_size_is_refused(folder, image_size):
    with pytest.raises(InputError, match="height, width"):
        read_pixels(folder / "png", image_size)
