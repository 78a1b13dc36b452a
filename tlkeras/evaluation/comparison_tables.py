"""One method beside another, and one protocol beside another, for the eye."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tlkeras.evaluation.tables import (
    ADJUSTED,
    METRICS,
    NOT_DEFINED,
    OURS,
    by_cell,
    cell_rows,
    check_scores,
    format_figures,
    measured,
    over_seeds,
)


def difference_table(
    scores: pd.DataFrame, protocols: tuple[str, str], differences: Mapping[tuple[str, str], str], *, part: str = "test"
) -> pd.DataFrame:
    """What the second protocol changes against the first, one line per cell run under both, for the eye.

    Args:
        scores: tidy, of both protocols; see `tables`.
        protocols: the two names.
        differences: {(method, backbone): what differs between the two, in words}; only these cells are shown.
        part: the part whose scores are shown.

    Returns:
        str, index (method, backbone): seeds and accuracy of both, with its interval, the differences (second minus
        first; means over seeds, points are per cent) and what differs. Where the splits differ
        the test images are others, and the difference has the uncertainty of both.
    """
    check_scores(scores)
    chosen = scores[scores["part"] == part]
    of_cells = by_cell(chosen, "method", "backbone", "protocol")
    seeds = chosen.groupby(["method", "backbone", "protocol"])["seed"].nunique().to_dict()
    steps = {
        "accuracy": ("accuracy, points", 100, "+.1f"),
        "balanced_accuracy": ("balanced accuracy, points", 100, "+.1f"),
        "macro_f1": ("macro F1", 1, "+.3f"),
        "roc_auc": ("ROC AUC", 1, "+.3f"),
    }

    rows = {}
    for cell, words in differences.items():
        before, after = (of_cells[*cell, protocol] for protocol in protocols)
        row = {"seeds": " / ".join(str(seeds[*cell, protocol]) for protocol in protocols)}
        row |= {f"accuracy, %, {p}": measured(of_cells[*cell, p], "accuracy") for p in protocols}
        for metric, (title, factor, form) in steps.items():
            step = factor * (over_seeds(after.get(metric))[0] - over_seeds(before.get(metric))[0])
            row[f"{title}, {protocols[1]} minus {protocols[0]}"] = NOT_DEFINED if np.isnan(step) else f"{step:{form}}"
        rows[cell] = row | {"what differs": words}
    return cell_rows(rows, ["method", "backbone"])


def paired_figures_table(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `paired.paired` in several figures, a line per pair, and what its difference in accuracy comes from.

    Args:
        table: columns first_method, second_method, seeds, metric (accuracy, the same with `tables.ADJUSTED` behind,
            where there were validation images, and roc_auc), those of `paired`, and p_holm.

    Returns:
        str, index (first method, second method), columns seeds, groups, each figure's difference with its interval and
        p after Holm's correction, and the words of `comes_from`.
    """
    had = [metric for metric in METRICS if metric in set(table["metric"])]
    rows = {}
    for pair, of_pair in table.groupby(["first_method", "second_method"], sort=False):
        of_pair = of_pair.set_index("metric")
        row = {"seeds": of_pair["seeds"].iloc[0], "groups": f"{of_pair['groups'].iloc[0]:,.0f}"}
        for metric in had:
            title, factor, form = METRICS[metric]
            there = metric in of_pair.index
            figures: Any = of_pair.loc[metric] if there else None
            row[title] = _step(figures, factor, form) if there else ""
            row[f"p, Holm, {title.removesuffix(', %')}"] = _probability(figures["p_holm"]) if there else ""
        rows[pair] = row | {"comes from": comes_from(of_pair)}
    return cell_rows(rows, ["first method", "second method"])


def comes_from(of_pair: pd.DataFrame, level: float = 0.05) -> str:
    """What a difference in accuracy comes from, in words.

    From the threshold, where less than half of it is left once validation images set both methods' thresholds; from the
    ranking, where more is left and ROC AUC differs the same way. Whether ROC AUC differs is said in any case.

    Args:
        of_pair: index "metric" with accuracy, roc_auc and, where there were validation images, accuracy with
            `tables.ADJUSTED` behind; columns difference and p_holm.
        level: a difference is shown where its p_holm is at most that.
    """
    difference, p = of_pair["difference"], of_pair["p_holm"]
    if not np.isfinite(p.get("accuracy", np.nan)) or not np.isfinite(p.get("roc_auc", np.nan)):
        return "not tested"
    ranking = p["roc_auc"] <= level
    same_way = difference["accuracy"] * difference["roc_auc"] > 0
    if p["accuracy"] > level:
        return "no difference in accuracy is shown, but one in ranking" if ranking else "no difference is shown"
    if f"accuracy{ADJUSTED}" not in difference:
        if not ranking:
            return "no difference in ranking is shown"
        return "the ranking, as far as is known" if same_way else "the threshold, against the ranking"
    if abs(difference["accuracy"]) < 2 * difference[f"accuracy{ADJUSTED}"] * np.sign(difference["accuracy"]):
        return "the ranking" if ranking and same_way else "the threshold, also as validation sets it"
    if not ranking:
        return "the threshold"
    return "the threshold; the ranking differs, too" if same_way else "the threshold, against the ranking"


def format_paired_table(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `paired.paired`, with p_holm, for the eye: "+2.1 [+0.4, +3.9]", p to three decimals.

    Args:
        table: columns first_method, second_method, metric, those of `paired`, p_holm, and part where there are several.

    Returns:
        str, index (first method, second method, part, figure), columns seeds, where they are told, both figures, their
        difference with its interval, p, McNemar's p where it applies to a row, and p after Holm's correction. What is
        not defined says so.
    """
    rows = []
    for _, row in table.iterrows():
        _, factor, form = METRICS.get(row["metric"], ("", 1, ".3f"))
        rows.append(
            ({"seeds": row["seeds"]} if "seeds" in table else {})
            | {
                "first": _number(factor * row["first"], form),
                "second": _number(factor * row["second"], form),
                "difference": _step(row, factor, form),
                "p": _probability(row["p"]),
                "p, McNemar": _probability(row["mcnemar_p"], ""),
                "p, Holm": _probability(row["p_holm"]),
            }
        )
    titles = {"first_method": "first method", "second_method": "second method", "part": "part", "metric": "figure"}
    keys = table[[name for name in titles if name in table]].rename(columns=titles)
    keys["figure"] = [METRICS.get(metric, (metric.replace("_", " "),))[0] for metric in keys["figure"]]
    shown = pd.DataFrame(rows, index=pd.MultiIndex.from_frame(keys))
    return shown if table["mcnemar_p"].notna().any() else shown.drop(columns="p, McNemar")


def _step(figures: pd.Series, factor: float, form: str) -> str:
    """A difference with its interval, "+2.1 [+0.4, +3.9]"."""
    step = pd.Series([figures["difference"], np.nan, figures["low"], figures["high"]], OURS, dtype=float)
    return format_figures(step * factor, f"+z{form}")


def _number(value: float, form: str) -> str:
    return NOT_DEFINED if np.isnan(value) else f"{value:{form}}"


def _probability(p: float, missing: str = NOT_DEFINED) -> str:
    if np.isnan(p):
        return missing
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
