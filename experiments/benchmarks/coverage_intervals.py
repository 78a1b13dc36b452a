"""Intervals of one method and of a mean over seeds, ours and others': how often they hold the true figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from coverage_samples import FIGURES, NAMES, answer, as_predictions, draw_samples, share_in_groups
from scipy import stats

import tlkeras as tl
from tlkeras.evaluation.intervals import ends, ranges_of
from tlkeras.evaluation.resampling import leave_out
from tlkeras.evaluation.weighted_scores import weighted_scores

LEVEL = 0.95
DRAWS = 999
OF_MEANS = ("accuracy", "log_loss")
OF_TRAININGS = np.array([0.9, 1.1, 1.3, 1.5])  # sharpness of trainings that differ by chance, each as likely


def simulate_one(seeds: np.ndarray, n_groups: int, sizes: str, sharp: float, true: dict[str, float]) -> list[dict]:
    """One row per sample and figure: whether each method's interval holds the true figure, and how wide it is."""
    rows = []
    for seed in seeds:
        rng = np.random.default_rng((1, n_groups, seed))
        labels, group, hard = draw_samples(rng, n_groups, sizes)
        predictions = as_predictions(labels, group, answer(labels, hard, share_in_groups(rng, group), sharp=sharp))
        ours = tl.intervals(predictions, metrics=FIGURES)
        left_out = leave_out([predictions], None, FIGURES, rng)
        drawn = figures_of_draws(predictions, group, draw_times(rng, n_groups))
        for i, figure in enumerate(FIGURES):
            value, low, high, _ = ours.loc[[figure]].to_numpy().tolist()[0]
            intervals = {"tlkeras": (low, high)}
            if np.isfinite(low):
                intervals |= others(value, left_out.without[0, i], drawn[i])
            if np.isfinite(low) and figure in OF_MEANS:
                intervals["studentised"] = studentised(predictions, group, figure, rng)
            rows += held({"groups": n_groups, "figure": figure}, intervals, true[figure])
    return rows


def simulate_seeds(seeds: np.ndarray, n_groups: int, n_seeds: int, true: dict[str, float]) -> list[dict]:
    """As `simulate_one`, for the mean over trainings whose sharpness differs by chance, on the same images."""
    rows = []
    for seed in seeds:
        rng = np.random.default_rng((2, n_groups, n_seeds, seed))
        labels, group, hard = draw_samples(rng, n_groups)
        sharpness = OF_TRAININGS[rng.integers(0, len(OF_TRAININGS), n_seeds)]
        parts = [
            as_predictions(labels, group, answer(labels, hard, share_in_groups(rng, group), sharp=sharp))
            for sharp in sharpness
        ]
        left_out = leave_out(parts, None, FIGURES, rng)
        ranges = ranges_of(FIGURES)
        ours = ends(left_out, ranges, LEVEL)
        alone = np.mean([ends(left_out.of_seed(number), ranges, LEVEL) for number in range(n_seeds)], axis=0)
        times = draw_times(rng, n_groups)
        drawn = np.stack([figures_of_draws(part, group, times) for part in parts])  # (seeds, figures, draws)
        of_seeds = draw_times(rng, n_seeds) / n_seeds  # (draws, seeds)
        both = np.einsum("sfd,ds->fd", drawn, of_seeds)
        for i, figure in enumerate(FIGURES):
            quantiles = tuple(np.nanquantile(both[i], [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
            intervals = {"tlkeras": tuple(ours[i]), "mean of ends": tuple(alone[i]), "both drawn": quantiles}
            rows += held({"groups": n_groups, "seeds": n_seeds, "figure": figure}, intervals, true[figure])
    return rows


def others(value: float, without: np.ndarray, drawn: np.ndarray) -> dict[str, tuple[float, float]]:
    """Percentile and BCa intervals of draws, and t times the jackknife's standard error."""
    drawn, tails = drawn[~np.isnan(drawn)], np.array([1 - LEVEL, 1 + LEVEL]) / 2
    n, moved = len(without), without.mean() - without
    bias = stats.norm.ppf(np.clip(((drawn < value).mean() + (drawn <= value).mean()) / 2, 1e-3, 1 - 1e-3))
    skew = (moved**3).sum() / (6 * (moved**2).sum() ** 1.5)
    shifted = bias + stats.norm.ppf(tails)
    reach = stats.t.ppf(tails[1], n - 1) * np.sqrt((n - 1) / n * ((value - without) ** 2).sum())
    return {
        "percentile": tuple(np.quantile(drawn, tails)),
        "BCa": tuple(np.quantile(drawn, stats.norm.cdf(bias + shifted / (1 - skew * shifted)))),
        "cluster t": (value - reach, value + reach),
    }


def studentised(predictions: tl.Predictions, group: np.ndarray, figure: str, rng) -> tuple[float, float]:
    """Bootstrap-t of a mean over images, the sums of groups drawn."""
    labels, probs = predictions.samples.known_labels, predictions.probs
    of_images = predictions.correct if figure == "accuracy" else -np.log(probs[np.arange(len(labels)), labels])
    sums, counts = np.bincount(group, weights=of_images), np.bincount(group)
    n = len(counts)

    def value_and_error(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value = (times @ sums) / (times @ counts)
        squares = (times * (sums - value[:, None] * counts) ** 2).sum(axis=1)
        return value, np.sqrt(n / (n - 1) * squares) / (times @ counts)

    (value,), (error,) = value_and_error(np.ones((1, n)))
    drawn, errors = value_and_error(draw_times(rng, n))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (drawn - value) / errors
    low, high = np.quantile(t[np.isfinite(t)], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return value - high * error, value - low * error


def figures_of_draws(predictions: tl.Predictions, group: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The figures where group g is there times[:, g] times: (figures, draws)."""
    labels = predictions.samples.known_labels
    return np.stack(list(weighted_scores(labels, predictions.probs, NAMES, times[:, group], None, FIGURES).values()))


def draw_times(rng: np.random.Generator, n: int, draws: int = DRAWS) -> np.ndarray:
    """How often each of `n` is drawn when n are drawn with replacement: (draws, n)."""
    return rng.multinomial(n, np.full(n, 1 / n), draws)


def held(of_sample: dict, intervals: dict[str, tuple[float, float]], true: float) -> list[dict]:
    """The rows of one sample: a method each; none of them where one is not defined."""
    if not np.isfinite([end for interval in intervals.values() for end in interval]).all():
        return [of_sample | {"method": "not defined"}]
    return [
        of_sample | {"method": method, "holds": low <= true <= high, "width": high - low}
        for method, (low, high) in intervals.items()
    ]


def covered(rows: pd.DataFrame, keys: list[str], methods: list[str]) -> pd.DataFrame:
    """The share of intervals that hold the true figure, in %, and their mean width."""
    table = {}
    for key, of_key in rows.groupby(keys, sort=False):
        of_methods = of_key.groupby("method")
        counts, found = of_methods.size(), of_methods[["holds", "width"]].mean()
        table[key] = {"samples": int(counts.get("tlkeras", 0)), "not defined": int(counts.get("not defined", 0))} | {
            method: f"{100 * found['holds'][method]:.1f} ({found['width'][method]:.3f})"
            if method in found.index and method in counts
            else ""
            for method in methods
        }
    return pd.DataFrame(list(table.values()), index=pd.MultiIndex.from_tuples(table, names=keys))
