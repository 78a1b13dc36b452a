from __future__ import annotations

import numpy as np
import pytest

from tlkeras.errors import InputError
from tlkeras.reviewing.familiarity import fit_familiarity


def around(center, n, seed):
    return np.random.default_rng(seed).normal(0, 0.3, (n, 8)) + center


ONE, OTHER = np.eye(8)[0], np.eye(8)[1]


def test_the_distance_is_that_to_the_kth_nearest_of_length_1():
    known, new = around(ONE, 50, 0), around(ONE, 7, 1)
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    expected = np.sort(np.linalg.norm(unit(new)[:, None] - unit(known)[None], axis=2), axis=1)[:, 4]
    found = fit_familiarity(known, neighbours=5)
    np.testing.assert_allclose(found.distances(new), expected, atol=1e-5)
    np.testing.assert_allclose(found.distances(17 * new), expected, atol=1e-5)


def test_images_of_the_same_kind_have_shares_as_a_p_value_has_and_others_have_low_ones():
    found = fit_familiarity(around(ONE, 2000, 0))
    same, others = found.share_as_far(around(ONE, 1000, 1)), found.share_as_far(around(OTHER, 200, 2))
    for level in (0.05, 0.2, 0.5):
        assert np.mean(same <= level) == pytest.approx(level, abs=0.04)
    assert np.mean(others <= 0.01) > 0.8


def test_a_known_image_is_compared_with_those_of_other_patients():
    centers = np.random.default_rng(0).normal(0, 1, (40, 8))
    known = np.repeat(centers, 5, axis=0) + np.random.default_rng(1).normal(0, 0.01, (200, 8))
    patients = np.repeat(np.arange(40), 5).astype(str)
    alone, grouped = fit_familiarity(known, neighbours=3), fit_familiarity(known, patients, neighbours=3)
    assert np.median(alone.own) < 0.05 < 0.3 < np.median(grouped.own)
    new = np.random.default_rng(2).normal(0, 1, (300, 8))  # of new patients
    assert np.mean(grouped.share_as_far(new) <= 0.1) < 0.25
    assert np.mean(alone.share_as_far(new) <= 0.1) > 0.9


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"\(3,\)"):
        fit_familiarity(np.zeros(3))
    with pytest.raises(InputError, match="2 for 20"):
        fit_familiarity(around(ONE, 20, 0), ["a", "b"])
    with pytest.raises(InputError, match="Take fewer"):
        fit_familiarity(around(ONE, 12, 0), ["a"] * 6 + ["b"] * 6)
    with pytest.raises(InputError, match=r"\(m, 8\)"):
        fit_familiarity(around(ONE, 20, 0)).distances(np.zeros((2, 7)))


def test_images_of_unknown_groups_are_each_one_of_their_own():
    known = around(ONE, 60, 0)
    alone = fit_familiarity(known, neighbours=5)
    for unknown in ([None] * 60, [""] * 60, [float("nan")] * 60):
        np.testing.assert_array_equal(fit_familiarity(known, unknown, neighbours=5).own, alone.own)
