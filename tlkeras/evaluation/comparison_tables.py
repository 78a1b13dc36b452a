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
    """Accuracy of each cell as it is, with the threshold (of several classes their offsets) that was fitted to the
    validation images, and ROC AUC, which looks at every threshold; for `curve_plots.draw_thresholds`.

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
    """What each cell gets right as it is, with the threshold (of several classes their offsets) that was fitted to the
    validation images, and at every threshold (ROC AUC).

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
    rows = {}
    for (first, second, seeds), of_pair in table.groupby(["first_method", "second_method", "seeds"], sort=False):
        of_pair = of_pair.set_index("metric")
        row = {"seeds": seeds, "groups": f"{of_pair['groups'].iloc[0]:,.0f}"}
        for metric, figures in of_pair.iterrows():
            title, factor, form = METRICS[metric]
            step = (
                pd.Series([figures["difference"], np.nan, figures["low"], figures["high"]], OURS, dtype=float) * factor
            )
            row[title] = format_figures(step, f"+z{form}")
            row[f"p, Holm, {title.removesuffix(', %')}"] = _probability(figures["p_holm"])
        rows[first, second] = row | {"comes from": comes_from(of_pair)}
    index = pd.MultiIndex.from_tuples(rows, names=["first method", "second method"])
    return pd.DataFrame(list(rows.values()), index=index).fillna("")


def comes_from(of_pair: pd.DataFrame, level: float = 0.05) -> str:
    """Whether two methods differ in how they rank the images, in where they draw the line, or in neither, as far as
    tests tell: the columns difference and p_holm of a pair, index "metric"."""
    told = of_pair["p_holm"] <= level  # NaN is not told
    accuracy, ranking = told.get("accuracy", False), told.get("roc_auc", False)
    # Without validation images a difference in accuracy beside one in ranking is taken for that.
    adjusted, turned = told.get(f"accuracy{ADJUSTED}", ranking), False
    if f"accuracy{ADJUSTED}" in told and adjusted:
        turned = of_pair.loc[["accuracy", f"accuracy{ADJUSTED}"], "difference"].prod() < 0
    if not accuracy:
        return "the ranking, which accuracy does not show" if ranking else "no difference is shown"
    if turned:
        return "the threshold: as validation sets it, the other method is ahead"
    if not ranking:
        return "the threshold, also as validation sets it" if adjusted else "the threshold"
    return "the ranking" if adjusted else "the threshold and the ranking"


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
