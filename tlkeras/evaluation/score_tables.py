"""What was measured of each cell, for the eye: a row per cell, or methods as rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tlkeras.evaluation.tables import (
    ADJUSTED,
    AFTER_SCALING,
    DECISIONS,
    METRICS,
    NOT_RUN,
    OURS,
    SCALED,
    by_cell,
    cell_rows,
    check_scores,
    format_figures,
    measured,
    measured_or_counted,
    over_seeds,
    rows_and_columns,
)

AT_THRESHOLDS = (
    "threshold",
    "accuracy",
    f"accuracy{ADJUSTED}",
    "balanced_accuracy",
    f"balanced_accuracy{ADJUSTED}",
    "roc_auc",
)


def metrics_table(scores: pd.DataFrame, *, part: str = "test", metrics: Sequence[str] = DECISIONS) -> pd.DataFrame:
    """Several metrics of each cell, each as `tables.measured` writes it, in the order of `scores`, without those that
    no cell has.

    Args:
        scores: tidy, of one or more protocols; see `tables`.
        part: the part whose scores are shown.
        metrics: names in `tables.METRICS`.

    Returns:
        str, index (protocol, method, backbone), columns seeds and the titles of the metrics.
    """
    check_scores(scores)
    chosen = scores[scores["part"] == part]
    of_cells = by_cell(chosen, "protocol", "method", "backbone")
    seeds = chosen.groupby(["protocol", "method", "backbone"])["seed"].nunique()
    had = [metric for metric in metrics if any(metric in figures for figures in of_cells.values())]
    rows = {
        cell: {"seeds": str(seeds[cell])}
        | {METRICS[metric][0]: measured(figures, metric) if metric in figures else "" for metric in had}
        for cell, figures in of_cells.items()
    }
    return cell_rows(rows, ["protocol", "method", "backbone"])


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
    return cell_rows(rows, ["method", "backbone"]) if rows else None


def threshold_table(scores: pd.DataFrame, *, part: str) -> pd.DataFrame | None:
    """What each cell gets right as it is, with the threshold (of several classes the priors) that validation images
    set, and at every threshold (ROC AUC).

    Args:
        scores: tidy, of one protocol; part "val" holds threshold where there are two classes, `part` the metrics
            accuracy, balanced_accuracy, the same with `tables.ADJUSTED` behind, and roc_auc.
        part: the test part whose scores are shown.

    Returns:
        float64, index (method, backbone), columns (metric, figure) with `tables.OURS`; None where no cell was adjusted.
    """
    check_scores(scores)
    of_cells = by_cell(scores, "method", "backbone", "part")
    adjusted = {cell[:2]: of for cell, of in of_cells.items() if cell[2] == part and f"accuracy{ADJUSTED}" in of}
    if not adjusted:
        return None
    # The threshold itself is a figure of the validation images.
    found = {cell: of | _only("threshold", of_cells.get((*cell, "val"), {})) for cell, of in adjusted.items()}
    metrics = [m for m in AT_THRESHOLDS if m != "threshold" or any(m in figures for figures in found.values())]
    rows = [[value for metric in metrics for value in over_seeds(of.get(metric))] for of in found.values()]
    return pd.DataFrame(
        rows,
        index=pd.MultiIndex.from_tuples(found, names=["method", "backbone"]),
        columns=pd.MultiIndex.from_product([metrics, OURS], names=["metric", "figure"]),
        dtype=np.float64,
    )


def format_threshold_table(table: pd.DataFrame) -> pd.DataFrame:
    """`threshold_table` for the eye, each figure as `tables.measured` writes it, under its title."""
    columns = {}
    for metric in table.columns.unique("metric"):
        title, factor, form = METRICS[metric]
        columns[title] = [format_figures(factor * row, form) for _, row in table[metric].iterrows()]
    return pd.DataFrame(columns, index=table.index)


def epochs_table(scores: pd.DataFrame) -> pd.DataFrame:
    """How long each network trained until it stopped, for the eye: means over seeds, in the order of `scores`.

    Args:
        scores: tidy, of one protocol; part "train" holds epochs, epochs_allowed and kept_epoch, counted over all
            phases, and accuracy in the epoch that was kept, part "val" accuracy.

    Returns:
        str, index (method, backbone), columns seeds, the epochs, the accuracies.
    """
    check_scores(scores)
    columns = [("train", metric) for metric in ("epochs", "epochs_allowed", "kept_epoch", "accuracy")]
    columns.append(("val", "accuracy"))
    titles = [f"{part} accuracy, %" if metric == "accuracy" else METRICS[metric][0] for part, metric in columns]
    rows = {}
    of_cells = by_cell(scores, "method", "backbone", "part")
    for cell in dict.fromkeys(cell[:2] for cell in of_cells):
        of_parts = {part: of_cells.get((*cell, part), {}) for part in ("train", "val")}
        if "epochs" in of_parts["train"]:
            rows[cell] = {"seeds": str(of_parts["train"]["epochs"]["seed"].nunique())}
            rows[cell] |= {
                title: measured_or_counted(of_parts[p], m) for title, (p, m) in zip(titles, columns, strict=True)
            }
    return cell_rows(rows, ["method", "backbone"])


def two_way_table(
    scores: pd.DataFrame, places: Mapping[str, tuple[str, str]], *, backbone: str, part: str = "test"
) -> pd.DataFrame:
    """Accuracy in % of methods that are the cells of a two-way table: "91.3 ± 0.4 [88.9, 93.4]", one backbone.

    Args:
        scores: tidy, of one protocol; see `tables`.
        places: {method: (row, column)}.
        backbone: the one shown.
        part: the part whose scores are shown.
    """
    check_scores(scores)
    of_methods = by_cell(scores[(scores["backbone"] == backbone) & (scores["part"] == part)], "method")
    rows, columns = rows_and_columns(places)
    table = pd.DataFrame(NOT_RUN, index=pd.Index(rows, name=f"accuracy on {part}, %"), columns=columns)
    for method, place in places.items():
        if (method,) in of_methods:
            table.loc[place] = measured(of_methods[method,], "accuracy")
    return table


def _only(metric: str, figures: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {metric: figures[metric]} if metric in figures else {}
