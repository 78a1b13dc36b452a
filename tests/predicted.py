"""Predictions that the tests of evaluation/ share."""

import numpy as np
import pandas as pd
from scipy.special import softmax

from tlkeras.evaluation.metrics import score
from tlkeras.schema import Predictions, Samples


def predictions_of(labels, probs, groups=None, ids=None, class_names=None):
    probs = np.asarray(probs, dtype=np.float32)
    class_names = class_names or tuple("abc"[: probs.shape[1]])
    images = tuple(f"{i}.png" for i in range(len(probs)))
    return Predictions(Samples(images, np.asarray(labels), class_names, groups=groups, sample_ids=ids), probs)


def right_or_wrong(correct, groups=None):
    """Of class a, each with a probability of 0.9 for its class or, where it is wrong, for the other one."""
    correct = np.asarray(correct, dtype=bool)
    labels = np.zeros(len(correct), dtype=np.int64)
    probs = np.where(correct[:, None], [[0.9, 0.1]], [[0.1, 0.9]]).astype(np.float32)
    return Predictions(
        Samples(tuple(f"{i}.png" for i in range(len(correct))), labels, ("a", "b"), groups=groups), probs
    )


def random_predictions(n=200, n_groups=50, seed=0, strength=2.0, k=3):
    """Of random labels and groups, the same for every `strength`."""
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, k, n), rng.integers(0, n_groups, n).astype(str)
    samples = Samples(tuple(f"{i}.png" for i in range(n)), labels, tuple("abcdefg"[:k]), groups=groups)
    rng = np.random.default_rng([seed, int(100 * strength)])
    logits = rng.normal(size=(n, k)) + strength * np.eye(k)[labels]
    return Predictions(samples, softmax(logits, axis=1).astype(np.float32))


def two_methods(n=40, n_groups=8, seed=0, k=3, strengths=(1, 3)):
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, k, n), rng.integers(0, n_groups, n).astype(str)
    return [
        predictions_of(labels, [rng.dirichlet(1 + strength * row) for row in np.eye(k)[labels]], groups)
        for strength in strengths
    ]


def without_each_group(predictions, metrics):
    """The definition, written out: the figures of the other groups' images, for each group."""
    groups = predictions.samples.groups.astype(str)
    rows = [np.flatnonzero(groups != name) for name in np.unique(groups)]
    found = [score(Predictions(predictions.samples.take(r), predictions.probs[r]), metrics=metrics) for r in rows]
    return pd.DataFrame(found)
