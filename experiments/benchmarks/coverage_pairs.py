"""Paired tests of two methods, ours and others': how often they claim a difference that is there, or is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
from coverage_samples import NAMES, SHARPNESS, answer, as_predictions, draw_samples, share_in_groups

import tlkeras as tl
from tlkeras.evaluation.weighted_scores import weighted_scores

LEVEL = 0.95
PERMUTATIONS = 999
TEMPERATURE = 5.0
BETTER = {"equal": 0.0, "better": 0.5, "far better": 1.5}  # how much sharper the second of two methods is


def simulate_pair(seeds: np.ndarray, n_groups: int, second: str, true: dict[str, float]) -> list[dict]:
    """One row per sample: what each test of two methods says, the second as `BETTER` has it."""
    rows, better = [], BETTER[second]
    for seed in seeds:
        rng = np.random.default_rng((3, n_groups, int(10 * better), seed))
        labels, group, hard = draw_samples(rng, n_groups)
        first = as_predictions(labels, group, answer(labels, hard, share_in_groups(rng, group)))
        own = share_in_groups(rng, group)
        other = as_predictions(labels, group, answer(labels, hard, own, sharp=SHARPNESS + better))
        if len(set(labels)) < len(NAMES):
            continue
        table = tl.paired(
            first, other, metrics=("accuracy", "macro_f1", "roc_auc", "log_loss"), permutations=PERMUTATIONS
        )
        found = {figure: (row["p"], row["low"], row["high"], true[str(figure)]) for figure, row in table.iterrows()}
        cooled = tl.at_temperature(first, TEMPERATURE)
        row = tl.paired(cooled, other, metrics=("roc_auc",), permutations=PERMUTATIONS).loc["roc_auc"]
        found[f"roc_auc, T = {TEMPERATURE:g}"] = (row["p"], row["low"], row["high"], true["roc_auc"])
        for name, one in (("", first), (f", T = {TEMPERATURE:g}", cooled)):
            p = probabilities_exchanged(one, other, group, rng)
            found[f"roc_auc, probabilities exchanged{name}"] = (p, np.nan, np.nan, true["roc_auc"])
        for test, (p, low, high, difference) in found.items():
            row = {"groups": n_groups, "second": second, "test": test, "claims": p <= 1 - LEVEL}
            if np.isfinite(low):
                row |= {"holds": low <= difference <= high, "width": high - low}
                row["disagrees"] = (p <= 1 - LEVEL) != (not low <= 0 <= high)
            rows.append(row)
    return rows


def probabilities_exchanged(first, second, group, rng) -> float:
    """The p of ROC AUC where whole groups change places with their probabilities, not their ranks."""
    labels = first.samples.labels
    changed = rng.integers(0, 2, (PERMUTATIONS, group.max() + 1)).astype(bool)
    changed[0] = False
    changed = changed[:, group]
    stacked, twice = np.concatenate([first.probs, second.probs]), np.tile(labels, 2)
    as_first = np.concatenate([~changed, changed], axis=1)
    areas = [
        weighted_scores(twice, stacked, NAMES, weights, None, ("roc_auc",))["roc_auc"]
        for weights in (as_first, ~as_first)
    ]
    differences = np.abs(areas[1] - areas[0])
    return float((differences >= differences[0] - 1e-12).mean())


def claimed(rows: pd.DataFrame) -> pd.DataFrame:
    """How often, in %, each test claims a difference at 5 %, and its interval holds the true one."""
    table = {}
    for key, of_key in rows.groupby(["test", "groups"], sort=False):
        table[key] = {
            "samples": len(of_key),
            "p at most .05": in_percent(of_key["claims"]),
            "interval holds the true difference": in_percent(of_key["holds"]),
            "mean width": "" if of_key["width"].isna().all() else f"{of_key['width'].mean():.3f}",
            "interval not defined": in_percent(of_key["holds"].isna()),
            "p and interval disagree": in_percent(of_key["disagrees"]),
        }
    index = pd.MultiIndex.from_tuples(table, names=["test", "groups"])
    return pd.DataFrame(list(table.values()), index=index)


def in_percent(found: pd.Series) -> str:
    """The share that is true of those that are known."""
    found = found.dropna().astype(float)
    return f"{100 * found.mean():.1f}" if len(found) else ""
