from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tlkeras.errors import InputError
from tlkeras.explaining.segmentation import segment


@pytest.fixture
def quadrants():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:16, :16], image[:16, 16:], image[16:, :16] = (250, 200, 90), (10, 200, 10), (200, 10, 9)
    image[16:, 16:] = 120
    return image


@pytest.mark.parametrize("segmentation", ["slic", "quickshift", "felzenszwalb"])
def test_regions_are_numbered_from_0_without_gaps(quadrants, segmentation):
    regions = segment(quadrants, segmentation=segmentation, n_segments=4)
    assert regions.shape == (32, 32)
    assert regions.dtype == np.int64
    assert np.unique(regions).tolist() == [0, 1, 2, 3]
    assert len(np.unique(regions[[4, 4, 28, 28], [4, 28, 4, 28]])) == 4


def test_merging_joins_neighbours_that_look_alike():
    stripes = np.zeros((40, 40, 3), np.uint8)
    for i, grey in enumerate((0, 60, 200, 250)):
        stripes[:, 10 * i : 10 * i + 10] = grey
    regions = segment(stripes, segmentation="felzenszwalb", n_segments=2)
    assert regions[20, [5, 15, 25, 35]].tolist() == [regions[20, 5]] * 2 + [regions[20, 35]] * 2
    assert regions.max() == 1


@pytest.mark.parametrize("side", [8, 32, 128])
def test_a_uniform_image_is_cut_into_about_ten_by_slic(side):
    regions = segment(np.full((side, side, 3), 90, np.uint8))
    assert 7 <= regions.max() + 1 <= 12
    assert np.unique(regions).tolist() == list(range(regions.max() + 1))


@pytest.mark.parametrize("name", ["grass", "gravel", "brick", "coffee"])
def test_slic_cuts_textures_and_photographs_into_six_to_ten(name):
    pixels = Image.fromarray(getattr(data, name)()).convert("RGB").resize((128, 128), Image.Resampling.LANCZOS)
    assert 6 <= segment(np.asarray(pixels)).max() + 1 <= 10


def test_regions_of_ones_own_are_kept_and_renumbered_in_ascending_order(quadrants):
    own = np.full((32, 32), 70, np.int16)
    own[:5], own[20:, 3] = -1, 300
    regions = segment(quadrants, segmentation=own, n_segments=2)
    assert regions.dtype == np.int64
    np.testing.assert_array_equal(regions, np.select([own == -1, own == 70], [0, 1], 2))


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ("watershed", "received 'watershed'; accepted are slic, quickshift, felzenszwalb, or an integer array"),
        (np.zeros((8, 8), int), r"shape \(8, 8\); .* of shape \(32, 32\)"),
        (np.eye(32), "dtype float64"),
        (np.zeros((32, 32), int), "all one"),
    ],
)
def test_bad_segmentations_are_refused_in_words(quadrants, segmentation, words):
    with pytest.raises(InputError, match=words):
        segment(quadrants, segmentation=segmentation)


@pytest.mark.parametrize("side", [1, 3, 32])
@pytest.mark.parametrize(
    ("segmentation", "advice"), [("quickshift", "slic or felzenszwalb"), ("felzenszwalb", "slic or quickshift")]
)
def test_an_image_of_a_single_region_is_refused_in_words(segmentation, advice, side):
    with pytest.raises(InputError, match=f"{segmentation} finds a single region .* {side}x{side} pixels.* {advice}"):
        segment(np.full((side, side, 3), 90, np.uint8), segmentation=segmentation)


def test_with_slic_a_larger_number_is_what_helps(quadrants):
    with pytest.raises(InputError, match="Take a larger n_segments"):
        segment(np.full((32, 32, 3), 90, np.uint8), n_segments=2)
    with pytest.raises(InputError, match="n_segments: received 1"):
        segment(quadrants, n_segments=1)
