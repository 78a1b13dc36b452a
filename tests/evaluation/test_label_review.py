from __future__ import annotations

import builtins

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import average_precision_score

from tlkeras.errors import InputError
from tlkeras.evaluation.label_review import review_labels
from tlkeras.schema import Predictions, Samples


def held_out(n=600, wrong=0.05, seed=0, k=3):
    """Predictions of the true classes, labels of which some are others, and which those are."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, k, n)
    flipped = rng.random(n) < wrong
    labels = np.where(flipped, (true + 1) % k, true)
    probs = softmax(rng.normal(0, 1, (n, k)) + 4 * np.eye(k)[true], axis=1)
    samples = Samples(
        tuple(f"{i}.png" for i in range(n)), labels, tuple("abcd"[:k]), groups=[f"p{i}" for i in range(n)]
    )
    return Predictions(samples, probs.astype(np.float32)), flipped, true


def test_wrong_labels_come_first_with_the_class_they_should_have():
    pytest.importorskip("cleanlab")
    predictions, flipped, true = held_out()
    table = review_labels(predictions)
    rank = np.empty(600)
    rank[table["row"]] = -np.arange(600)
    assert average_precision_score(flipped, rank) > 0.9
    worst = table.head(20)
    assert flipped[worst["row"]].all()
    assert worst["suggested"].tolist() == ["abc"[label] for label in true[worst["row"]]]
    assert worst["label"].tolist() == ["abc"[label] for label in predictions.samples.labels[worst["row"]]]
    assert worst["group"].tolist() == [f"p{row}" for row in worst["row"]]
    assert table["probability"].is_monotonic_increasing


def test_the_mark_is_cleanlab_s():
    cleanlab = pytest.importorskip("cleanlab")
    predictions, flipped, _ = held_out(seed=1)
    table = review_labels(predictions)
    expected = cleanlab.filter.find_label_issues(predictions.samples.labels, predictions.probs.astype(np.float64))
    marked = np.zeros(600, bool)
    marked[table["row"][table["marked"]]] = True
    np.testing.assert_array_equal(marked, expected)
    assert flipped[marked].mean() > 0.8


def test_seeds_count_by_their_mean_in_whatever_order_their_rows_are():
    pytest.importorskip("cleanlab")
    (one, _, _), (other, _, _) = held_out(60, seed=0), held_out(60, seed=0)
    other = Predictions(other.samples, np.roll(other.probs, 1, axis=1))
    order = np.random.default_rng(0).permutation(60)
    shuffled = Predictions(other.samples.take(order), other.probs[order])
    table = review_labels([one, shuffled]).sort_values("row")
    labels = one.samples.labels
    mean = (one.probs + other.probs)[np.arange(60), labels] / 2
    np.testing.assert_allclose(table["probability"], mean, rtol=1e-6)


def test_a_class_without_images_is_never_marked_and_one_class_neither():
    pytest.importorskip("cleanlab")
    probs = np.array([[0.1, 0.8, 0.1], [0.7, 0.2, 0.1]], np.float32)
    table = review_labels(Predictions(Samples(("a", "b"), np.array([0, 0]), ("x", "y", "z")), probs))
    assert not table["marked"].any()
    assert table["suggested"].tolist() == ["y", "x"]


def test_without_cleanlab_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("cleanlab"):
            raise ImportError("No module named 'cleanlab'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"tlkeras\[review\]"):
        review_labels(held_out(20)[0])
    with pytest.raises(InputError, match="empty list"):
        review_labels([])
