"""One figure beside another, for the eye: before and after what validation images change, one method and the next."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tlkeras.evaluation.tables import (
    ADJUSTED,
    AFTER_SCALING,
    METRICS,
    NOT_DEFINED,
    OURS,
    SCALED,
    by_cell,
    check_scores,
    format_figures,
    measured,
    over_seeds,
)

RANKING_AND_THRESHOLD = ("accuracy", f"accuracy{ADJUSTED}", "roc_auc")


def calibration_table(scores: pd.DataFrame, *, part: str) -> pd.DataFrame | None:
    """Log loss, Brier score and calibration error of each cell, before and after scaling by its temperature.

    Args:
        scores: tidy, of one protocol; part "val" holds n (the images the temperature was fitted to) and temperature,
            `part` the metrics `tables.SCALED` and the same with `tables.AFTER_SCALING` behind.
        part: the test part whose scores are shown.

    Returns:
        str, index (method, backbone), each figure as `tables.measured` writes it; None where no cell has a temperature.
    """
    check_scores(scores)
    of_cells = by_cell(scores, "method", "backbone", "part")
    rows = {}
    for method, backbone, of_part in of_cells:
        on_val = of_cells.get((method, backbone, "val"), {})
        if of_part != part or "temperature" not in on_val:
            continue
        figures = of_cells[method, backbone, part]
        row = {"val images": measured(on_val, "n", form=",.0f"), "temperature": measured(on_val, "temperature")}
        for metric in SCALED:
            title, factor, form = METRICS[metric]
            row[f"{title} before"] = measured(figures, metric)
            row[f"{title} after"] = measured(figures, f"{metric}{AFTER_SCALING}", factor=factor, form=form)
        rows[method, backbone] = row
    if not rows:
        return None
    return pd.DataFrame(list(rows.values()), index=pd.MultiIndex.from_tuples(rows, names=["method", "backbone"]))


def threshold_figures(scores: pd.DataFrame, *, part: str) -> pd.DataFrame | None:
    """Accuracy of each cell as it is, with the threshold (of several classes the priors) that validation
    images set, and ROC AUC, which looks at every threshold; for `curve_plots.draw_thresholds`.

    Args:
        scores: tidy, of one protocol; see `tables.by_cell`.
        part: the test part whose scores are shown.

    Returns:
        float64, index (method, backbone), columns (metric, figure) with `tables.OURS`; None where no cell was adjusted.
    """
    check_scores(scores)
    of_cells = by_cell(scores[scores["part"] == part], "method", "backbone")
    rows = {
        cell: [value for metric in RANKING_AND_THRESHOLD for value in over_seeds(figures.get(metric))]
        for cell, figures in of_cells.items()
        if f"accuracy{ADJUSTED}" in figures
    }
    if not rows:
        return None
    return pd.DataFrame(
        list(rows.values()),
        index=pd.MultiIndex.from_tuples(rows, names=["method", "backbone"]),
        columns=pd.MultiIndex.from_product([RANKING_AND_THRESHOLD, OURS], names=["metric", "figure"]),
        dtype=np.float64,
    )


def threshold_table(scores: pd.DataFrame, *, part: str) -> pd.DataFrame | None:
    """What each cell gets right as it is, with the threshold (of several classes the priors) that validation
    images set, and at every threshold (ROC AUC).

    Args:
        scores: tidy, of one protocol; part "val" holds threshold where there are two classes, `part` the metrics
            accuracy, balanced_accuracy, the same with `tables.ADJUSTED` behind, and roc_auc.
        part: the test part whose scores are shown.

    Returns:
        str, index (method, backbone), each figure as `tables.measured` writes it; None where no cell was adjusted.
    """
    check_scores(scores)
    of_cells = by_cell(scores, "method", "backbone", "part")
    columns = ("accuracy", f"accuracy{ADJUSTED}", "balanced_accuracy", f"balanced_accuracy{ADJUSTED}", "roc_auc")
    rows = {}
    for method, backbone, of_part in of_cells:
        figures = of_cells[method, backbone, of_part]
        if of_part != part or f"accuracy{ADJUSTED}" not in figures:
            continue
        on_val = of_cells.get((method, backbone, "val"), {})
        row = {METRICS["threshold"][0]: measured(on_val, "threshold")} if "threshold" in on_val else {}
        rows[method, backbone] = row | {METRICS[metric][0]: measured(figures, metric) for metric in columns}
    if not rows:
        return None
    return pd.DataFrame(list(rows.values()), index=pd.MultiIndex.from_tuples(rows, names=["method", "backbone"]))


def paired_figures_table(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `statistics.paired` in several figures, a line per pair, and what its difference in accuracy comes from.

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
            row[title] = _step(of_pair.loc[metric], factor, form) if there else ""
            row[f"p, Holm, {title.removesuffix(', %')}"] = _probability(of_pair.loc[metric, "p_holm"]) if there else ""
        rows[pair] = row | {"comes from": comes_from(of_pair)}
    index = pd.MultiIndex.from_tuples(rows, names=["first method", "second method"])
    return pd.DataFrame(list(rows.values()), index=index)


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
    """Rows of `statistics.paired`, with p_holm, for the eye: "+2.1 [+0.4, +3.9]", p to three decimals.

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
