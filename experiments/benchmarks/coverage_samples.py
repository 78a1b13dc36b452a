"""Simulated test sets of benchmark_coverage.py: images in groups, and methods whose true figures are known."""

from __future__ import annotations

import numpy as np

import tlkeras as tl
from tlkeras.evaluation.weighted_scores import weighted_scores

NAMES = ("NORMAL", "DISEASE")
FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss")
LARGEST = 20  # images of a group
POSITIVE = 0.3
SHARPNESS = 1.2  # how far a method's answers lean to the label
UNEQUAL = 1.2  # the exponent of Pareto's law of sizes


def draw_samples(rng: np.random.Generator, n_groups: int, sizes: str = "even"):
    """Labels and groups of `n_groups` groups, and what makes each image hard, float (n,), shared within groups."""
    if sizes == "unequal":
        counts = np.minimum(np.ceil(3 * rng.pareto(UNEQUAL, n_groups)), 500).clip(1).astype(int)
    else:
        counts = rng.integers(1, LARGEST + 1, n_groups)
    group = np.repeat(np.arange(n_groups), counts)
    labels = (rng.random(n_groups) < POSITIVE).astype(np.int64)[group]
    return labels, group, share_in_groups(rng, group)


def share_in_groups(rng: np.random.Generator, group: np.ndarray) -> np.ndarray:
    """A standard normal number for each image, of whose variance seven tenths are its group's."""
    return np.sqrt(0.7) * rng.normal(size=group.max() + 1)[group] + np.sqrt(0.3) * rng.normal(size=len(group))


def answer(labels, hard, own, *, sharp: float = SHARPNESS) -> np.ndarray:
    """Probabilities (n, 2) of a method: the label, hidden by what is hard for all methods and for this one."""
    lean = sharp * (2 * labels - 1) + 1.3 * (np.sqrt(0.6) * hard + np.sqrt(0.4) * own)
    positive = 1 / (1 + np.exp(-lean))
    return np.stack([1 - positive, positive], axis=1).astype(np.float32)


def as_predictions(labels, group, probs) -> tl.Predictions:
    """The same as tlkeras keeps it."""
    samples = tl.Samples(
        images=tuple(f"{row}.png" for row in range(len(labels))),
        labels=labels,
        class_names=NAMES,
        groups=[f"g{number}" for number in group],
    )
    return tl.Predictions(samples=samples, probs=probs)


def true_figures(*sharpness: float, sizes: str = "even") -> dict[str, float]:
    """The figures of one hundred thousand groups, the mean over methods of these sharpnesses."""
    rng = np.random.default_rng(2026)
    labels, group, hard = draw_samples(rng, 10**5, sizes)
    found = [
        weighted_scores(
            labels, answer(labels, hard, share_in_groups(rng, group), sharp=sharp), NAMES, np.ones(len(labels)), None,
            FIGURES,
        )
        for sharp in sharpness
    ]  # fmt: skip
    return {figure: float(np.mean([values[figure][0] for values in found])) for figure in FIGURES}
