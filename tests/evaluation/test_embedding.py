from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from tlkeras.errors import InputError
from tlkeras.evaluation.embedding import embed


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads that wait for each other while other tests run cost more than these few points take."""
    with threadpool_limits(1):
        yield


def blobs(n=60, d=20, distance=10.0, k=3):
    """n rows around k corners, `distance` standard deviations from the origin along an axis of their own."""
    labels = np.arange(n) % k
    return (np.random.default_rng(0).normal(size=(n, d)) + distance * np.eye(k, d)[labels]).astype(np.float32), labels


def test_rows_of_a_class_that_are_close_stay_close():
    features, labels = blobs()
    points = embed(features, seed=0, perplexity=10)
    assert (points.shape, points.dtype) == ((60, 2), np.float32)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).all()
    same = labels[:, None] == labels[None]
    assert distances[same & np.isfinite(distances)].mean() < distances[~same].mean() / 2


def test_the_same_bits_whatever_was_drawn_before():
    features, _ = blobs(d=600)  # of so many columns scikit-learn draws the first components
    np.random.seed(1)
    before = np.random.get_state()
    first = embed(features, seed=3, n_components_first=10)
    for was, now in zip(before, np.random.get_state(), strict=True):
        np.testing.assert_array_equal(was, now)
    np.random.seed(2)
    np.testing.assert_array_equal(embed(features, seed=3, n_components_first=10), first)


def test_the_scale_and_place_of_the_features_do_not_matter():
    features, _ = blobs(n=30)
    points = embed(features, seed=0)
    # A power of two changes no digit of the mantissa.
    np.testing.assert_array_equal(embed(features * np.float32(2.0**90), seed=0), points)
    np.testing.assert_array_equal(embed(features * np.float32(2.0**-90), seed=0), points)


def test_what_the_first_components_do_not_hold_is_not_seen():
    """Two columns tell the classes apart; each of 300 others says a little less, all together much more."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    classes = random.normal(size=(60, 2)) + 12 * np.array([[0, 0], [1, 0], [0, 1]])[labels]
    features = np.hstack([classes, 2 * random.normal(size=(60, 300))])

    def neighbour_is_of_the_class(n_components_first):
        points = embed(features, seed=0, n_components_first=n_components_first)
        distances = np.linalg.norm(points[:, None] - points[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        return (labels[distances.argmin(axis=1)] == labels).mean()

    assert neighbour_is_of_the_class(2) == 1
    assert neighbour_is_of_the_class(60) < 0.95
    # As many as there are: no more than rows.
    np.testing.assert_array_equal(
        embed(features, seed=0, n_components_first=1000), embed(features, seed=0, n_components_first=60)
    )


@pytest.mark.parametrize(("n", "d"), [(5, 1), (5, 2), (6, 300), (9, 1)])
def test_few_rows_and_few_columns_lower_the_perplexity(n, d):
    features = np.random.default_rng(0).normal(size=(n, d))
    points = embed(features, seed=0)
    assert points.shape == (n, 2)
    assert np.isfinite(points).all()
    np.testing.assert_array_equal(points, embed(features, seed=0, perplexity=(n - 1) / 3))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_rows_that_are_all_the_same_are_one_point(value):
    np.testing.assert_array_equal(embed(np.full((12, 7), value, np.float32), seed=0), np.zeros((12, 2)))


def test_repeated_rows_and_dead_columns_are_nothing_special():
    features, _ = blobs(n=40)
    features[:, 5:] = 0
    features[20:] = features[:20]
    points = embed(features, seed=0)
    assert np.isfinite(points).all()
    assert np.ptp(points, axis=0).min() > 1


def test_half_precision_and_whole_numbers_are_taken():
    features = np.random.default_rng(0).integers(0, 100, (20, 6))
    points = embed(features, seed=0)
    np.testing.assert_array_equal(embed(features.astype(np.float16), seed=0), points)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.zeros((4, 3)), "features: received 4 rows; accepted are at least 5"),
        (np.zeros(9), r"features: received shape \(9,\); accepted is \(n, d\)"),
        (np.zeros((9, 2, 2, 8)), r"flatten feature maps before"),
        (np.zeros((9, 0)), r"received shape \(9, 0\)"),
        (np.array([["a", "b"]] * 9), "features: received dtype <U1"),
        (np.diag([0, np.nan, 0, 0, np.inf, 0]), "2 of 6 rows hold NaN or infinity, the first is row 1"),
    ],
)
def test_features_that_cannot_be_placed_are_refused(features, words):
    with pytest.raises(InputError, match=words):
        embed(features, seed=0)


@pytest.mark.parametrize(
    "setting",
    [
        {"n_components_first": 1},
        {"n_components_first": 2.0},
        {"n_components_first": True},
        {"perplexity": 0.5},
        {"perplexity": np.nan},
        {"perplexity": np.inf},
        {"perplexity": "30"},
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting):
    (name,) = setting
    with pytest.raises(InputError, match=rf"^{name}: received"):
        embed(np.eye(9), seed=0, **setting)


def test_scikit_learn_is_loaded_by_the_first_call_only():
    code = "import sys, tlkeras.evaluation.embedding; print({'sklearn', 'tensorflow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
