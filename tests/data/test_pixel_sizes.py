import numpy as np
import pytest

from tlkeras.data.pixel_sizes import PixelSizes, size_words
from tlkeras.errors import InputError


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
