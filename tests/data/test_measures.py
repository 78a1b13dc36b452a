import os

import numpy as np
import pytest
from corpus import COLOURS, FILES, GREYS_12, opencv, pillow
from PIL import Image

import tlkeras as tl
from tlkeras.data.measures import Levels, PixelSizes, levels_of_set, size_words
from tlkeras.errors import InputError
from tlkeras.schema import Samples


def of(*sizes):
    return PixelSizes.of(np.array(sizes).reshape(-1, 2))


# (height, width): areas 1,200, 1,200, 30,000, 30,000, 270,000.
MIXED = of((150, 200), (40, 30), (450, 600), (30, 40), (150, 200))


def test_every_size_is_counted_and_the_smallest_area_comes_first():
    assert list(MIXED.counts.items()) == [((30, 40), 1), ((40, 30), 1), ((150, 200), 2), ((450, 600), 1)]
    assert len(MIXED) == 5
    assert (MIXED.smallest, MIXED.median, MIXED.largest) == ((30, 40), (150, 200), (450, 600))


@pytest.mark.parametrize(
    ("areas", "median"),
    [([7], 7), ([7, 9], 7), ([9, 7, 8], 8), ([1, 2, 3, 4], 2), ([5, 1, 5, 5, 9], 5), ([1, 1, 1, 8, 9], 1)],
)
def test_the_median_is_the_size_of_an_image(areas, median):
    assert of(*((1, area) for area in areas)).median == (1, median)


@pytest.mark.parametrize(
    ("image_size", "enlarged"),
    [
        ((30, 30), {}),
        ((31, 30), {(30, 40): 1}),  # higher than one image alone
        ((30, 31), {(40, 30): 1}),  # wider than another
        ((150, 200), {(30, 40): 1, (40, 30): 1}),
        ((100, 201), {(30, 40): 1, (40, 30): 1, (150, 200): 2}),
        ((450, 601), {(30, 40): 1, (40, 30): 1, (150, 200): 2, (450, 600): 1}),
    ],
)
def test_what_is_lower_or_narrower_is_enlarged(image_size, enlarged):
    assert MIXED.enlarged_to(image_size).counts == enlarged


def test_an_image_size_that_is_none_is_refused():
    with pytest.raises(InputError, match="image_size: received 224"):
        MIXED.enlarged_to(224)


def test_words_are_width_by_height():
    assert size_words((150, 200)) == "200x150"
    assert of((150, 200), (150, 200)).words() == "200x150"
    assert MIXED.words() == "smallest 40x30, median 200x150, largest 600x450"
    assert of().words() == "none"


def test_parts_are_added_up():
    together = PixelSizes.together([of((450, 600), (150, 200)), of(), of((30, 40), (40, 30), (150, 200))])
    assert list(together.counts.items()) == list(MIXED.counts.items())
    assert PixelSizes.together([]).counts == {}


def test_json_names_width_by_height_and_brings_them_back_in_order():
    assert MIXED.as_json() == {"40x30": 1, "30x40": 1, "200x150": 2, "600x450": 1}
    assert list(PixelSizes.from_json(MIXED.as_json()).counts.items()) == list(MIXED.counts.items())


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
    (said,) = levels_of_set(dark)
    assert "All 2 images lie within grey levels 0..99" in said
    assert levels_of_set([*dark, Levels.of(noise(60, 128))]) == ()
    assert levels_of_set([]) == ()


def test_16_bit_files_that_were_read_by_different_ranges_are_told():
    bright = noise(0, 255)
    (said,) = levels_of_set([Levels.of(bright, depth) for depth in (12, 10, 12, 0)])
    assert "1 as 10 bits, 2 as 12 bits" in said
    black = Levels.of(np.zeros((4, 4, 3), np.uint8), 16)
    assert levels_of_set([black, *(Levels.of(bright, depth) for depth in (12, 12, 0))]) == ()


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
    found = tl.check_images(samples)
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
    found = tl.audit(tl.Splits(samples.take([0, 2]), None, {"test": samples.take([1, 3])}))
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
        tl.audit(tl.Splits(tl.from_folders(folder), None, {}))
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
    found = tl.audit(tl.Splits(samples, None, {}))
    assert found.poor.set_index("sample_id").loc["a/two.png", "lacks"] == "2 of 256 levels"
    assert any("1 as 10 bits, 1 as 12 bits" in line for line in found.findings())
