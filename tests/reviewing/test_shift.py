from __future__ import annotations

import numpy as np
import pytest
from tiny import TINY

import tlkeras as tl
from tlkeras.reviewing.shift import shift

NETWORK = tl.Extractor(TINY, "logistic_regression", weights=None, image_size=(32, 32))


def images(n, seed, level=0.0, classes=2, **fields):
    """Two classes told apart by brightness; `level` is added to every image, as another device would."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    pixels = rng.normal(90 + 40 * labels[:, None, None, None] + level, 40, (n, 32, 32, 3))
    return tl.from_arrays(np.clip(pixels, 0, 255).astype(np.uint8), labels, **fields)


@pytest.fixture(scope="module")
def brighter():
    return shift(images(80, 0), images(60, 1, level=30), names=("here", "there"), network=NETWORK)


def test_sets_of_one_kind_are_not_told_apart_and_others_are(brighter):
    same = shift(images(80, 0), images(60, 1), network=NETWORK).table()
    assert same.loc["all", "low"] < 0.5 < same.loc["all", "high"]
    table = brighter.table()
    assert table.loc["all", "roc_auc"] > 0.7
    assert table.loc["all", ["first", "second"]].tolist() == [80, 60]
    # A class at a time its own brightness hides nothing: they are told apart better than together.
    assert (table.loc[["0", "1"], "roc_auc"] > 0.9).all()


def test_what_was_measured_is_that_of_the_images(brighter):
    here = images(80, 0)
    grey = here.images.astype(np.float64) @ [0.299, 0.587, 0.114]
    found = brighter.measured.loc["here"]
    assert found["level"] == pytest.approx(grey.mean(), abs=0.01)
    assert found["contrast"] == pytest.approx(grey.std(axis=(1, 2)).mean(), abs=0.01)
    assert found[["images", "groups", "width", "height"]].tolist() == [80, 80, 32, 32]
    np.testing.assert_allclose(brighter.shares.loc["0"], [0.5, 0.5])


def test_the_images_that_are_least_like_the_first_set_are_named(brighter):
    rows = brighter.least_familiar(5)
    assert brighter.familiar.shape == (60,)
    assert (brighter.familiar[rows] <= np.sort(brighter.familiar)[4]).all()


@pytest.mark.slow
def test_a_patient_of_both_sets_is_held_out_of_both():
    patients = [f"p{number}" for number in range(40)]
    found = shift(images(40, 0, groups=patients), images(40, 1, groups=patients), network=NETWORK)
    assert list(found.told_apart.samples.groups) == 2 * patients
    assert found.measured["groups"].tolist() == [40, 40]


@pytest.mark.slow
def test_sets_without_labels_are_compared_as_they_are():
    unknown = images(40, 1)
    unknown = tl.Samples(unknown.images, None, ())
    found = shift(images(40, 0), unknown, network=NETWORK)
    assert found.shares is None
    assert found.table().index.tolist() == ["all"]


def test_what_cannot_be_compared_is_refused():
    one = images(20, 0)
    with pytest.raises(tl.InputError, match="two that differ"):
        shift(one, one, names=("a", "a"), network=NETWORK)
    with pytest.raises(tl.InputError, match=r"\['0', '1', '2'\]"):
        shift(one, images(21, 0, classes=3), network=NETWORK)
    with pytest.raises(tl.InputError, match="beside arrays"):
        shift(one, tl.Samples(("a.png",), np.array([0]), ("0", "1")), network=NETWORK)
    with pytest.raises(tl.InputError, match="no images"):
        shift(one, one.take([]), network=NETWORK)
