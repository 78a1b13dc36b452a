import numpy as np
import pytest
import tensorflow as tf

import tlkeras as tl
from tlkeras.data.mixing import build_mix, sample_mixes

IMAGES = np.random.default_rng(0).uniform(0, 255, (5, 12, 10, 3)).astype(np.float32)
LABELS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]


def seeds(n):
    return tf.constant(np.stack([np.full(n, 3), np.arange(n)], axis=1).astype(np.int32))


def drawn(n=2000, size=(12, 10), **fields):
    share, box = tf.function(lambda seeds: sample_mixes(tl.Augmentation(**fields), size, seeds))(seeds(n))
    return share.numpy(), box.numpy()


def test_mixup_mixes_images_and_labels_in_the_same_parts():
    augmentation = tl.Augmentation(mixup=0.4)
    images, labels = build_mix(augmentation)(tf.constant(IMAGES), tf.constant(LABELS), seeds(5))
    share, _ = drawn(5, mixup=0.4)
    for i in range(5):
        np.testing.assert_allclose(
            images[i], IMAGES[i] * (1 - share[i]) + IMAGES[4 - i] * share[i], rtol=1e-4, atol=1e-3
        )
        np.testing.assert_allclose(labels[i], LABELS[i] * (1 - share[i]) + LABELS[4 - i] * share[i], atol=1e-6)


def test_cutmix_pastes_a_box_and_counts_its_pixels():
    images, labels = build_mix(tl.Augmentation(cutmix=1))(tf.constant(IMAGES), tf.constant(LABELS), seeds(5))
    _, boxes = drawn(5, cutmix=1)
    for i, (top, left, bottom, right) in enumerate(boxes):
        expected = IMAGES[i].copy()
        expected[top:bottom, left:right] = IMAGES[4 - i][top:bottom, left:right]
        np.testing.assert_allclose(images[i], expected, rtol=1e-5, atol=1e-3)
        part = (bottom - top) * (right - left) / 120
        np.testing.assert_allclose(labels[i], LABELS[i] * (1 - part) + LABELS[4 - i] * part, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_the_parts_follow_their_distribution(alpha):
    from scipy.stats import beta, kstest

    share, box = drawn(mixup=alpha)
    assert kstest(share, beta(alpha, alpha).cdf).pvalue > 1e-3
    assert not box.any()


def test_boxes_have_the_parts_area_but_where_an_edge_cuts_them_off():
    share, (top, left, bottom, right) = (each.T for each in drawn(size=(200, 200), cutmix=1))
    assert not share.any()
    inside = (top > 0) & (left > 0) & (bottom < 200) & (right < 200)
    sides = np.sqrt(np.random.default_rng(0).uniform(size=2000)) * 200
    assert np.abs((bottom - top) - (right - left))[inside].max() <= 1
    assert (bottom - top).max() <= 200
    assert (bottom - top).mean() < sides.mean()


def test_with_both_half_of_the_images_take_each():
    share, box = drawn(mixup=1, cutmix=1)
    assert ((share > 0) & box.any(axis=1)).sum() == 0
    assert (share > 0).mean() == pytest.approx(0.5, abs=0.03)


def test_mixing_cannot_repeat_itself():
    with pytest.raises(tl.InputError, match=r"Augmentation\.views: received 2, with mixup=0\.2"):
        tl.Augmentation(mixup=0.2, views=2)
