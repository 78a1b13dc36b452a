import cv2
import numpy as np
import pytest

from tlkeras.data.perceptual_hash import N_BITS, NEAR, STRUCTURED, near_pairs, perceptual_hashes
from tlkeras.errors import InputError


def scene(seed, height=64, width=64):
    """Something with structure at low frequencies: a coarse random pattern, drawn large."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def bits(*images):
    return perceptual_hashes(np.stack(images))


def distance(one, other):
    first, second = bits(one, other)
    return int((first != second).sum())


def test_a_single_frequency_is_the_only_bit_above_the_median():
    # Every other coefficient of cos(pi (2 x + 1) k / 128) is 0, and so is their median.
    for down, across in ((0, 1), (3, 0), (15, 15), (2, 7)):
        y, x = np.mgrid[:64, :64]
        wave = np.cos(np.pi * (2 * y + 1) * down / 128) * np.cos(np.pi * (2 * x + 1) * across / 128)
        coefficients = perceptual_hashes(np.repeat((127.5 + 127.5 * wave)[None, ..., None], 3, axis=-1))[0]
        assert np.flatnonzero(coefficients).tolist() == [16 * down + across - 1]


def test_half_of_the_bits_are_set_and_an_image_of_one_colour_has_none():
    hashes = bits(scene(0), scene(1), np.full((64, 64, 3), 93, np.uint8))
    assert hashes.shape == (3, N_BITS)
    assert hashes.dtype == bool
    assert all(hashes[:2].sum(axis=1) > N_BITS // 2 - 10)
    assert all(hashes[:2].sum(axis=1) <= N_BITS // 2)  # fewer where several are the median
    assert not hashes[2].any()
    assert perceptual_hashes(np.empty((0, 64, 64, 3), np.uint8)).shape == (0, N_BITS)


def test_copies_are_near_and_other_images_are_not():
    image = scene(0, 256, 300)
    small = lambda pixels: cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA)  # noqa: E731
    saved = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR)
    brighter = np.clip(image * 0.7 + 40, 0, 255).astype(np.uint8)
    assert distance(small(image), small(saved)) <= NEAR
    assert distance(small(image), small(brighter)) <= NEAR
    assert distance(small(image), small(scene(1, 256, 300))) > 2 * NEAR
    assert distance(small(image), small(image[:, ::-1].copy())) > 2 * NEAR  # as the module says


def test_another_size_is_refused():
    with pytest.raises(InputError, match=r"pixels: received shape \(1, 32, 64, 3\); accepted is \(n, 64, 64, 3\)"):
        perceptual_hashes(np.zeros((1, 32, 64, 3), np.uint8))


def random_hashes(n, seed=0):
    """Some within a few bits of others, in all orders; some without structure."""
    rng = np.random.default_rng(seed)
    hashes = rng.random((max(n // 4, 1), N_BITS)) < 0.5
    hashes = hashes[rng.integers(0, len(hashes), n)] ^ (rng.random((n, N_BITS)) < rng.random((n, 1)) * 0.15)
    hashes[:: max(n // 5, 1)] = rng.random(N_BITS) < 0.1
    return hashes


@pytest.mark.parametrize("block", [7, 64, 4096])
def test_pairs_are_those_of_a_plain_comparison(monkeypatch, block):
    monkeypatch.setattr("tlkeras.data.perceptual_hash._BLOCK", block)
    hashes = random_hashes(64)
    structured = hashes.sum(axis=1) >= STRUCTURED
    assert 0 < structured.sum() < 64
    expected = {
        (i, j): int((hashes[i] != hashes[j]).sum())
        for i in range(64)
        for j in range(i + 1, 64)
        if structured[i] and structured[j] and (hashes[i] != hashes[j]).sum() <= NEAR
    }
    pairs, distances, complete = near_pairs(hashes)
    assert len(expected) > 10
    assert dict(zip(map(tuple, pairs.tolist()), distances.tolist(), strict=True)) == expected
    assert pairs.tolist() == sorted(pairs.tolist())
    assert complete


def test_the_line_is_drawn_at_the_bit():
    hashes = np.zeros((2, N_BITS), bool)
    hashes[:, :100] = True
    hashes[1, 10:15] = False
    assert near_pairs(hashes, 5)[1].tolist() == [5]
    assert near_pairs(hashes, 4)[1].tolist() == []


def test_a_limit_stops_the_search_and_says_so():
    hashes = np.repeat(random_hashes(1, seed=1) | True, 10, axis=0)
    pairs, distances, complete = near_pairs(hashes, limit=12)
    assert (len(pairs), len(distances), complete) == (12, 12, False)
    assert [len(part) for part in near_pairs(hashes, limit=45)[:2]] == [45, 45]
    assert near_pairs(hashes, limit=45)[2]


def test_nothing_is_near_nothing():
    pairs, distances, complete = near_pairs(np.empty((0, N_BITS), bool))
    assert (pairs.shape, distances.shape, complete) == ((0, 2), (0,), True)
