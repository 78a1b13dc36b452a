"""Which value of a 16-bit file is white; values are written by hand, so that what must come out can be read off."""

import struct
import tracemalloc

import numpy as np
import pytest
from corpus import FILES, opencv, pillow, png, tiff

from tlkeras.data.images import read_pixels
from tlkeras.data.python_decoder import BitDepth, decode_slowly, depth_of_png, depth_of_tiff, depth_of_values

RAMP_12 = np.arange(4096, dtype=np.uint16).reshape(64, 64)  # every value of 12 bits
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def grey(*values):
    return np.array(values, np.uint16).reshape(1, -1, 1)


def declaring(*bits):
    return png(np.zeros((1, 1), np.uint16), 0, (b"sBIT", bytes(bits)))


def read(tmp_path, contents):
    (tmp_path / "a").write_bytes(contents)
    return read_pixels(tmp_path / "a", None)


@pytest.mark.parametrize(
    ("largest", "bits"),
    [
        (1, 8),
        (255, 8),
        (256, 10),
        (1023, 10),
        (1024, 12),
        (4095, 12),
        (4096, 14),
        (16383, 14),
        (16384, 16),
        (2**16 - 1, 16),
    ],
)
def test_the_fewest_usual_bits_that_hold_the_largest_value(largest, bits):
    assert depth_of_values(grey(0, 1, largest)) == BitDepth(bits, declared=False)
    assert BitDepth(bits, declared=False).white == 2**bits - 1


@pytest.mark.parametrize(
    "values",
    [
        np.arange(0, 40) * 257,  # 8 bits, repeated: white would be 65535
        np.arange(0, 40) * 256,  # 8 bits, shifted
        np.arange(0, 900) * 16,  # 12 bits, shifted
        np.rint(np.arange(0, 200) * 65535 / 1023),  # 10 bits, multiplied
        [0],
    ],
)
def test_a_dark_image_that_was_scaled_up_stays_at_sixteen_bits(values):
    assert depth_of_values(grey(*values)).bits == 16


@pytest.mark.parametrize("kind", ["png", "tiff", "png rgb", "tiff rgb"])
def test_every_value_of_twelve_bits_keeps_its_place(tmp_path, kind):
    pixels = np.dstack([RAMP_12] * 3) if "rgb" in kind else RAMP_12
    contents = (
        opencv(pixels, ".png") if "png" in kind else tiff(pixels, photometric="rgb" if "rgb" in kind else "minisblack")
    )
    expected = np.rint(255 * RAMP_12.astype(np.float32) / 4095)
    np.testing.assert_array_equal(read(tmp_path, contents), np.dstack([expected] * 3))
    assert len(np.unique(expected)) == 256


def test_white_is_zero_counts_down_from_the_white_of_the_depth(tmp_path):
    expected = np.rint(255 * (4095 - RAMP_12).astype(np.float32) / 4095)
    np.testing.assert_array_equal(read(tmp_path, tiff(RAMP_12, photometric="miniswhite"))[..., 0], expected)


def test_a_png_that_declares_its_bits_is_read_by_them_however_dark():
    dark = grey(0, 7, 900)  # alone, 10 bits
    assert depth_of_png(dark, declaring(12)) == BitDepth(12, declared=True)
    assert depth_of_png(np.dstack([dark] * 3), declaring(11, 12, 12)).bits == 12
    # As the standard has it: scaled up to 16 bits, so that white is 65535.
    assert depth_of_png(grey(0, 7 * 16, 900 * 16), declaring(12)).bits == 16
    assert depth_of_png(grey(0, 16, 32), declaring(12)).bits == 16
    assert depth_of_png(grey(0, 7, 65535), declaring(12)).bits == 16


@pytest.mark.parametrize(
    "contents", [declaring(0), declaring(17), SIGNATURE, SIGNATURE + struct.pack(">I4s", 9, b"xxxx")]
)
def test_a_png_that_declares_nothing_sensible_is_read_by_its_values(contents):
    assert depth_of_png(grey(0, 7, 900), contents) == BitDepth(10, declared=False)


@pytest.mark.parametrize(
    ("largest", "depth"),
    [
        (4095, BitDepth(12, True)),
        (3127, BitDepth(12, True)),  # the largest value of this image, some write
        (16383, BitDepth(14, True)),
        (65535, BitDepth(16, True)),
        (899, BitDepth(10, False)),  # the values say otherwise
        (0, BitDepth(10, False)),
        (None, BitDepth(10, False)),
    ],
)
def test_max_sample_value_of_a_tiff(tmp_path, largest, depth):
    assert depth_of_tiff(grey(0, 7, 900), largest) == depth
    if largest:
        contents = tiff(grey(0, 7, 900)[..., 0], photometric="minisblack", extratags=[(281, "H", 1, largest, True)])
        expected = np.rint(255 * np.array([0, 7, 900], np.float32) / depth.white)
        assert read(tmp_path, contents)[0, :, 0].tolist() == expected.tolist()


@pytest.mark.parametrize(("alpha", "shown"), [(65535, 50), (4095, 50), (0, 255)])
def test_opaque_is_all_sixteen_bits_or_the_white_of_the_colours(tmp_path, alpha, shown):
    colours = np.dstack([grey(800, 4095)] * 3)  # 800/4095 = 49.8/255
    pixels = np.dstack([colours, np.array([[alpha, max(alpha, 4095)]], np.uint16)])
    assert read(tmp_path, opencv(pixels, ".png"))[0, 0].tolist() == [shown] * 3


@pytest.mark.parametrize("name", [name for name in FILES if "16" in name and "12" not in name])
def test_files_of_the_whole_range_are_read_as_before(tmp_path, name):
    contents, expected, tolerance = FILES[name]
    np.testing.assert_allclose(read(tmp_path, contents), expected, atol=tolerance)


@pytest.mark.parametrize(
    ("kind", "bytes_per_pixel"), [("png rgba", 24), ("png rgba 16", 32), ("png grey 16", 16), ("tiff rgba", 24)]
)
def test_a_large_image_is_never_whole_in_float32(kind, bytes_per_pixel):
    """8-bit RGBA takes 4 bytes per pixel as stored, and float32 colours beside an alpha would take 28 more."""
    side = 2048
    pixels = np.full((side, side, 4), 77, np.uint16 if "16" in kind else np.uint8)
    pixels[0, 0] = 30_000 if "16" in kind else 200
    pixels = pixels[..., 0] if "grey" in kind else pixels
    suffix = "." + kind.split()[0]
    contents = (
        tiff(pixels, photometric="rgb", extrasamples=["unassalpha"]) if suffix == ".tiff" else opencv(pixels, suffix)
    )
    tracemalloc.start()
    decode_slowly(contents)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < bytes_per_pixel * side**2


@pytest.mark.parametrize("levels", [1, 17, 256])
def test_eight_bits_are_never_scaled(tmp_path, levels):
    pixels = (np.arange(4096) % levels).astype(np.uint8).reshape(64, 64)
    for contents in (pillow(pixels, "PNG"), png(pixels, 0, (b"sBIT", b"\x04")), pillow(pixels, "TIFF")):
        np.testing.assert_array_equal(read(tmp_path, contents), np.dstack([pixels] * 3))
