import os

import numpy as np
import pytest
from corpus import COLOURS, FILES, GREYS_12, opencv, pillow
from PIL import Image

import tlkeras as tl
from tlkeras.data.levels import Levels, of_set
from tlkeras.schema import Samples


def noise(low, high, seed=0, side=24):
    """Grey; every level from low to high, and no other."""
    levels = np.random.default_rng(seed).permutation(np.resize(np.arange(low, high + 1), side**2))
    return np.repeat(levels.reshape(side, side, 1), 3, axis=-1).astype(np.uint8)


def test_levels_are_counted_channel_by_channel():
    assert Levels.of(COLOURS) == Levels(lowest=20, highest=230, span=211, n=4)  # red is 230, 20, 30 and 128
    assert Levels.of(COLOURS[::-1, :, ::-1]) == Levels.of(COLOURS)
    assert Levels.of(noise(0, 255)) == Levels(lowest=0, highest=255, span=256, n=256)
    assert Levels.of(np.full((2, 3, 3), (9, 80, 200), np.uint8), depth=12) == Levels(9, 200, 1, 1, 12)


@pytest.mark.parametrize(
    ("pixels", "lacks"),
    [
        (noise(0, 255), ""),
        (noise(10, 41), ""),
        (noise(10, 40), "31 of 256 levels, all within 10..40"),
        (noise(0, 16), "17 of 256 levels, all within 0..16"),
        (np.full((5, 5, 3), (9, 80, 200), np.uint8), "one colour everywhere"),
        (255 * noise(0, 1), "2 of 256 levels"),
        (12 * noise(0, 19), "20 of 256 levels"),
        (12 * noise(0, 20), ""),
    ],
)
def test_what_an_image_lacks(pixels, lacks):
    assert Levels.of(pixels).words() == lacks


def test_a_set_that_lacks_half_of_the_range_is_told_though_no_image_of_it_is():
    dark = [Levels.of(noise(0, 60)), Levels.of(noise(20, 99))]
    assert all(not each.words() for each in dark)
    (said,) = of_set(dark)
    assert "All 2 images lie within grey levels 0..99" in said
    assert of_set([*dark, Levels.of(noise(60, 128))]) == ()
    assert of_set([]) == ()


def test_16_bit_files_that_were_read_by_different_ranges_are_told():
    bright = noise(0, 255)
    (said,) = of_set([Levels.of(bright, depth) for depth in (12, 10, 12, 0)])
    assert "1 as 10 bits, 2 as 12 bits" in said
    black = Levels.of(np.zeros((4, 4, 3), np.uint8), 16)
    assert of_set([black, *(Levels.of(bright, depth) for depth in (12, 12, 0))]) == ()


@pytest.fixture
def folder(tmp_path):
    """Two photographs, an image of one colour, and a mask of 0 and 1, in two classes."""
    images = {"a/photo": noise(0, 255), "b/photo": noise(0, 255, 1), "a/red": COLOURS * 0 + 7, "b/mask": noise(0, 1)}
    for name, pixels in images.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def test_check_images_names_what_can_be_read_and_tells_nothing(folder):
    samples = tl.from_folders(folder)
    found = tl.check_images(samples, progress=False)
    assert [os.path.relpath(path, folder) for path in found["path"]] == ["a/red.png", "b/mask.png"]
    assert found["reason"].tolist() == ["one colour everywhere", "2 of 256 levels, all within 0..1"]
    assert found["readable"].all()
    in_memory = tl.from_arrays(np.stack([noise(0, 255), noise(0, 1)]), [0, 1])
    assert tl.check_images(in_memory)[["row", "path", "readable"]].to_numpy().tolist() == [[1, "000001", True]]


def test_check_images_names_every_image_of_a_set_that_is_far_below_the_range(tmp_path):
    images = np.stack([noise(0, 60), noise(0, 63)])
    found = tl.check_images(Samples(images, None, ("a", "b")))
    assert found["row"].tolist() == [0, 1]
    assert all("grey levels 0..63" in reason for reason in found["reason"])


def test_the_audit_tells_of_images_and_of_the_set(folder, tmp_path):
    samples = tl.from_folders(folder)
    found = tl.audit(tl.Splits(samples.take([0, 2]), None, {"test": samples.take([1, 3])}), progress=False)
    assert found.n_poor == 2
    assert found.poor.to_dict("records") == [
        {"sample_id": "b/mask.png", "part": "train", "class_name": "b", "lacks": "2 of 256 levels, all within 0..1"},
        {"sample_id": "a/red.png", "part": "test", "class_name": "a", "lacks": "one colour everywhere"},
    ]
    (said,) = (line for line in found.findings() if "tell (almost) nothing" in line)
    assert said.startswith("2 of 4 images")
    assert "a/red.png (one colour everywhere)" in said


def test_the_audit_names_what_cannot_be_read_and_prints_no_traceback(folder, capfd):
    (folder / "a" / "broken.tiff").write_bytes(b"II*\0")
    with pytest.raises(tl.InputError, match=r"broken\.tiff': truncated"):
        tl.audit(tl.Splits(tl.from_folders(folder), None, {}), progress=False)
    assert "Traceback" not in capfd.readouterr().err


def test_the_audit_counts_levels_before_the_resize_and_tells_of_unlike_depths(tmp_path):
    dark = (GREYS_12 // 5).astype(np.uint16)  # 819 at most: read as 10 bits
    for name, contents in {
        "a/deep": opencv(GREYS_12, ".png"),
        "b/dark": opencv(dark, ".png"),
        "a/two": pillow(255 * noise(0, 1, side=90), "PNG"),
        "b/colours": FILES["jpeg"][0],
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.png").write_bytes(contents)
    samples = tl.from_folders(tmp_path)
    found = tl.audit(tl.Splits(samples, None, {}), progress=False)
    assert found.poor.set_index("sample_id").loc["a/two.png", "lacks"] == "2 of 256 levels"
    assert any("1 as 10 bits, 1 as 12 bits" in line for line in found.findings())
