from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from tlkeras.errors import InputError
from tlkeras.evaluation.conformal import coverage_table, prediction_sets
from tlkeras.schema import Predictions, Samples


def drawn(n, seed, k=3, shift=0.0, labelled=True):
    """Labels, and a classifier that knows something of them; `shift` moves what it sees of the last class."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(k, n, p=np.arange(1, k + 1) / np.arange(1, k + 1).sum())
    logits = rng.normal(0, 1, (n, k)) + 1.5 * np.eye(k)[labels]
    logits[labels == k - 1, k - 1] -= shift
    samples = Samples(tuple(f"{i}.png" for i in range(n)), labels if labelled else None, tuple("abcd"[:k]))
    return Predictions(samples, softmax(logits, axis=1).astype(np.float32))


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_a_hundred_draws_cover_every_class_as_asked(coverage):
    tables = [
        coverage_table(prediction_sets(drawn(300, seed), drawn(300, 1000 + seed), coverage=coverage))
        for seed in range(100)
    ]
    mean = np.mean([table["coverage"].to_numpy() for table in tables], axis=0)
    assert (mean > coverage - 0.01).all()
    # At most 1 / (n + 1) too much: of the rarest class 50 validation images are there.
    assert (mean < coverage + 0.01 + 1 / 51).all()


def test_the_p_values_of_crepes_decide_alike():
    crepes = pytest.importorskip("crepes")
    val, test = drawn(200, 0), drawn(150, 1)
    sets = prediction_sets(val, test, coverage=0.9)
    for label in range(3):
        of_class = 1 - val.probs[val.samples.labels == label, label]
        known = crepes.ConformalClassifier().fit(of_class)
        p = known.predict_p(1 - test.probs[:, [label]], smoothing=False)[:, 0]
        np.testing.assert_array_equal(sets.members[:, label], p > 0.1 + 1e-9)


def test_what_comes_of_them_by_hand():
    # Of class a the validation images have 0.9, 0.8, 0.7 (a 4th rank is 3 of 4), of class b 0.6.
    files = lambda n: tuple(f"{i}.png" for i in range(n))  # noqa: E731
    val = Predictions(
        Samples(files(4), np.array([0, 0, 0, 1]), ("a", "b")),
        np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]], np.float32),
    )
    test = Predictions(
        Samples(files(3), np.array([0, 0, 1]), ("a", "b")),
        np.array([[0.75, 0.25], [0.5, 0.5], [0.95, 0.05]], np.float32),
    )
    sets = prediction_sets(val, test, coverage=0.7)  # p-values above 0.3: of a from 0.7 on, of b always
    np.testing.assert_array_equal(sets.members, [[True, True], [False, True], [True, True]])
    table = coverage_table(sets)
    assert table.index.tolist() == ["a", "b", "all"]
    np.testing.assert_allclose(table["coverage"], [1 / 2, 1, 2 / 3])
    np.testing.assert_allclose(table["size"], [1.5, 2, 5 / 3])
    np.testing.assert_allclose(table["single"], [1 / 2, 0, 1 / 3])
    assert table["val_images"].tolist() == [3, 1, 4]
    assert table["images"].tolist() == [2, 1, 3]


def test_images_that_are_others_are_covered_less_and_the_table_says_so():
    table = coverage_table(prediction_sets(drawn(2000, 0), drawn(2000, 1, shift=2.0), coverage=0.9))
    assert table.loc["c", "high"] < 0.85
    assert table.loc["a", "low"] < 0.9 < table.loc["a", "high"]


def test_a_class_that_validation_lacks_is_in_every_set():
    val, test = drawn(50, 0), drawn(20, 1)
    rows = np.flatnonzero(val.samples.labels != 0)
    sets = prediction_sets(Predictions(val.samples.take(rows), val.probs[rows]), test)
    assert sets.members[:, 0].all()
    assert sets.calibrated_on["a"] == 0


def test_sets_need_no_labels_and_their_table_does():
    sets = prediction_sets(drawn(100, 0), drawn(10, 1, labelled=False))
    assert sets.members.shape == (10, 3)
    with pytest.raises(InputError, match="no labels"):
        coverage_table(sets)


def test_other_classes_and_shares_are_refused():
    with pytest.raises(InputError, match="classes differ"):
        prediction_sets(drawn(50, 0), drawn(50, 0, k=2))
    with pytest.raises(InputError, match=r"coverage: received 90"):
        prediction_sets(drawn(50, 0), drawn(50, 1), coverage=90)
