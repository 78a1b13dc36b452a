import numpy as np
import pytest
from cells import answers

import tlkeras as tl


def three(how, **given):
    """Groups a (two images), b (three) and an image without one."""
    predictions = answers([1, 0, 1, 0, 0, 1], [0.9, 0.2, 0.3, 0.4, 0.8, 0.6], groups=["a", "b", "a", "b", "b", ""])
    return tl.pool_groups(predictions, how, **given)


@pytest.mark.parametrize(
    ("how", "of_a", "of_b"),
    [
        ("mean", (0.9 + 0.3) / 2, (0.2 + 0.4 + 0.8) / 3),
        ("max", 0.9 / (0.9 + 0.7), 0.8 / (0.8 + 0.8)),
        ("noisy_or", (1 - 0.1 * 0.7) / ((1 - 0.1 * 0.7) + (1 - 0.9 * 0.3)), None),
    ],
)
def test_one_row_for_each_group_in_the_order_of_their_first_images(how, of_a, of_b):
    pooled = three(how)
    assert pooled.samples.sample_ids.tolist() == ["a", "b", "5.png"]
    assert pooled.samples.labels.tolist() == [1, 0, 1]
    np.testing.assert_allclose(pooled.probs.sum(axis=1), 1, atol=1e-6)
    assert pooled.probs[0, 1] == pytest.approx(of_a, abs=1e-6)
    assert pooled.probs[2, 1] == pytest.approx(0.6, abs=1e-6)
    if of_b is not None:
        assert pooled.probs[1, 1] == pytest.approx(of_b, abs=1e-6)


def test_of_a_positive_class_one_image_is_enough():
    np.testing.assert_allclose(three("max", positive_class="PNEUMONIA").probs[:, 1], [0.9, 0.8, 0.6], atol=1e-6)
    noisy = three("noisy_or", positive_class="PNEUMONIA").probs[:, 1]
    np.testing.assert_allclose(noisy, [1 - 0.1 * 0.7, 1 - 0.8 * 0.6 * 0.2, 0.6], atol=1e-6)


def test_a_probability_of_one_stays_one():
    certain = answers([1, 1], [1.0, 1.0], groups=["a", "a"])
    assert tl.pool_groups(certain, "noisy_or").probs.tolist() == [[0.0, 1.0]]


def test_figures_and_intervals_are_over_groups():
    pooled = three("mean")
    assert tl.score(pooled)[["n", "accuracy"]].tolist() == [3, 1]  # a: 0.6, b: 0.47, the last: 0.6
    assert tl.intervals(pooled, metrics=["accuracy"])["groups"].tolist() == [3]


@pytest.mark.parametrize(
    ("labels", "groups", "given", "said"),
    [
        ([0, 1], ["a", "a"], {}, "group 'a' has images of NORMAL and PNEUMONIA"),
        ([0, 1], None, {}, "no groups"),
        ([0, 1], ["a", "b"], {"how": "median"}, "how: received 'median'"),
        ([0, 1], ["a", "b"], {"positive_class": "FLU"}, "positive_class: received 'FLU'"),
    ],
)
def test_what_cannot_be_pooled_is_refused(labels, groups, given, said):
    with pytest.raises(tl.InputError, match=said):
        tl.pool_groups(answers(labels, [0.5, 0.5], groups=groups), **given)
