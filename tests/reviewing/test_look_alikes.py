from __future__ import annotations

import keras
import numpy as np
import pytest
from tiny import TINY

import tlkeras as tl
from tlkeras.models.classifier import build_encoder
from tlkeras.reviewing.look_alikes import look_alikes, nearest_pairs, networks_of_views

EXTRACTOR = tl.Extractor(TINY, weights=None, image_size=(32, 32))


def textures(n, seed=0):
    """Images of 32x32 of blocks, each another one."""
    blocks = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    return blocks.repeat(8, axis=1).repeat(8, axis=2)


def test_the_features_of_turns_are_those_of_turned_images():
    networks, widths = networks_of_views(build_encoder(TINY, image_size=(32, 32), seed=0))
    assert widths == (4, 8)  # the last maps of 16x16 and of 8x8
    image = textures(1)[0].astype(np.float32)
    copies = np.stack([np.rot90(view, k) for view in (image, image[:, ::-1]) for k in range(4)])
    *turns, middle = networks
    features = np.concatenate([np.asarray(network.predict_on_batch(copies[:1])) for network in turns])
    plain = build_encoder(TINY, image_size=(32, 32), seed=0)
    maps = keras.Model(plain.input, [plain.get_layer(name).output for name in ("add2", "relu3")])
    means = np.concatenate([np.asarray(each).mean(axis=(1, 2)) for each in maps.predict_on_batch(copies)], axis=1)
    np.testing.assert_allclose(features[0], means[0], rtol=1e-4)
    apart = np.abs(features[:, None] - means[None]).max(axis=2)
    assert sorted(apart.argmin(axis=1)) == list(range(8))  # each of the eight once
    assert apart.min(axis=1).max() < 1e-3
    cut = np.asarray(keras.ops.image.resize(image[None, 2:30, 2:30], (32, 32)))  # 1.6 pixels of either side
    np.testing.assert_allclose(middle.predict_on_batch(image[None]), networks[0].predict_on_batch(cut), rtol=1e-3)


def test_the_two_lowest_resolutions_count_three_times_as_much():
    rng = np.random.default_rng(0)
    blocks = rng.normal(0, 1, (3, 64, 4)).astype(np.float32)
    together = nearest_pairs(iter([np.concatenate([*blocks], axis=1)]), [4, 4, 4])
    white = []
    for block, count in zip(blocks, (1, 3, 3), strict=True):
        centred = block - block.mean(0)
        _, scale, axes = np.linalg.svd(centred, full_matrices=False)
        unit = centred @ axes.T / scale
        white.append(np.sqrt(count / 7) * unit / np.linalg.norm(unit, axis=1, keepdims=True))
    cosine = np.concatenate(white, axis=1) @ np.concatenate(white, axis=1).T - 9 * np.eye(64)
    crowded = np.sort(cosine, axis=1)[:, -10:].mean(axis=1)
    first, second = together[0].T
    expected = 2 * cosine[first, second] - crowded[first] - crowded[second]
    np.testing.assert_allclose(together[1], expected, atol=1e-4)


def test_similarity_by_hand():
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (60, 2, 5)).astype(np.float32)
    rows, similarity = nearest_pairs(iter([features[:, 0], features[:, 1]]), [5])
    centre = features[:, 0].mean(0)
    _, scale, axes = np.linalg.svd(features[:, 0] - centre, full_matrices=False)
    white = (features - centre) @ axes.T / scale
    white /= np.linalg.norm(white, axis=2, keepdims=True)
    cosines = [white[:, turn] @ white[:, 0].T - 9 * np.eye(60) for turn in range(2)]
    crowded = np.sort(cosines[0], axis=1)[:, -10:].mean(axis=1)
    apart = crowded[:, None] + crowded[None]
    nearest = {}
    for turn, cosine in enumerate(cosines):
        for i in range(60):
            for j in np.argsort(-cosine[i])[:20]:
                pair = tuple(sorted((i, int(j))))
                nearest[pair] = max(nearest.get(pair, -9), 2 * cosine[i, j] - 0.3 * turn - apart[i, j])
    assert [tuple(row) for row in rows.tolist()] == sorted(nearest)
    np.testing.assert_allclose(similarity, [nearest[pair] for pair in sorted(nearest)], atol=1e-4)


def test_turned_and_mirrored_copies_are_found_and_groups_join_them():
    images = textures(80)
    copies = [np.rot90(images[0], 1), np.rot90(images[1], 3), images[2][:, ::-1]]
    samples = tl.from_arrays(np.concatenate([images, np.stack(copies).astype(np.uint8)]), np.arange(83) % 2)
    found = look_alikes(samples, EXTRACTOR, threshold=0.0)
    pairs = {tuple(pair) for pair in found.pairs[["row_a", "row_b"]].to_numpy().tolist()}
    assert pairs >= {(0, 80), (1, 81), (2, 82)}
    assert found.judged is None
    assert not found.pairs["same_group"].any()
    groups = found.joined().groups
    assert groups[0] == groups[80]


@pytest.mark.slow
def test_the_threshold_is_drawn_on_half_of_the_groups_and_judged_on_the_other():
    rng = np.random.default_rng(3)
    images = textures(200, seed=1).astype(int)
    again = np.clip(images + rng.integers(-20, 20, images.shape), 0, 255)
    pixels = np.concatenate([images, again]).astype(np.uint8)
    groups = np.tile(np.arange(200), 2).astype(str)
    samples = tl.from_arrays(pixels, np.arange(400) % 2, groups=groups)
    found = look_alikes(samples, EXTRACTOR, precision=0.9)
    assert found.judged.pairs == 100
    assert found.judged.precision > 0.75
    assert found.judged.recall > 0.3
    right = found.pairs["same_group"]
    assert right.mean() > 0.8
    assert (samples.groups[found.pairs["row_a"]] == samples.groups[found.pairs["row_b"]]).tolist() == right.tolist()
    assert look_alikes(samples, EXTRACTOR).pairs.equals(found.pairs)


def test_what_cannot_be_compared_is_refused():
    samples = tl.from_arrays(textures(20), np.arange(20) % 2)
    with pytest.raises(tl.InputError, match="received 10"):
        look_alikes(samples.take(range(10)), EXTRACTOR)
    with pytest.raises(tl.InputError, match=r"\(32, 40\)"):
        look_alikes(samples, tl.Extractor(TINY, weights=None, image_size=(32, 40)))
    with pytest.raises(tl.InputError, match="precision: received 90"):
        look_alikes(samples, EXTRACTOR, precision=90)
