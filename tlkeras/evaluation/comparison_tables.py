"""One figure beside another, for the eye: before and after temperature scaling, one method and the next."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tlkeras.evaluation.tables import (
    AFTER_SCALING,
    METRICS,
    NOT_DEFINED,
    OURS,
    SCALED,
    by_cell,
    check_scores,
    format_figures,
    measured,
)


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
        step = pd.Series([row["difference"], np.nan, row["low"], row["high"]], OURS, dtype=float) * factor
        rows.append(
            ({"seeds": row["seeds"]} if "seeds" in table else {})
            | {
                "first": _number(factor * row["first"], form),
                "second": _number(factor * row["second"], form),
                "difference": format_figures(step, f"+z{form}"),
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


def _number(value: float, form: str) -> str:
    return NOT_DEFINED if np.isnan(value) else f"{value:{form}}"


def _probability(p: float, missing: str = NOT_DEFINED) -> str:
    if np.isnan(p):
        return missing
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
