"""Every figure a document prints, beside ours. The columns that hold the document's are called "published"."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from tlkeras.errors import InputError
from tlkeras.evaluation.printed_tables import Printed
from tlkeras.evaluation.tables import (
    COUNTED,
    METRICS,
    NOT_DEFINED,
    NOT_RUN,
    as_printed,
    by_cell,
    check_scores,
    format_figures,
    over_seeds,
)

# One figure under several names: the document's, `metrics.score`'s and the training log's.
SAME = (
    ("recall", "sensitivity"),
    ("log_loss", "loss"),
    ("accuracy", "micro_f1"),
    ("balanced_accuracy", "macro_recall"),
)
WORDS = {"f1": "F1", "micro_f1": "micro F1"}
CONFUSED = re.compile(r"confused_(?P<actual>.+)_as_(?P<predicted>.+)")
COLUMNS = ("published", "ours", "sd", "low", "high", "difference", "seeds")


def printed_figures_table(scores: pd.DataFrame, printed: Printed) -> pd.DataFrame:
    """Each printed figure and ours, one row per figure, in the order of `printed`.

    Args:
        scores: tidy, of one protocol, with the columns protocol, method, backbone, part, seed, metric, value; shares
            0..1.
        printed: {((method, backbone), part, metric): as printed}: accuracy (and balanced accuracy) in per cent, every
            other share in 0..1, `confused_<actual>_as_<predicted>` in images. Where scores lack the name, the other one
            of recall and sensitivity, of loss and log_loss is taken; micro_f1 is accuracy, macro_recall balanced
            accuracy.

    Returns:
        Index (method, backbone, part, figure), figure being the metric; columns published, ours (mean over
        seeds), sd (n - 1; NaN with one seed), low, high (means over seeds of the interval's ends), difference (ours -
        published), float64 in the units of `printed`, and seeds, int64: how many the cell was run with. What was not
        run has no seeds; what was run and lacks the figure (another data set's classes, a class never predicted) has
        NaN beside its seeds.

    Raises:
        InputError: a column of `scores` is missing, a score is there twice, or there are several protocols.
    """
    groups, seeds = _grouped(scores)
    rows, index = [], []
    for (cell, part, metric), theirs in printed.items():
        factor = _factor(metric)
        name = next((name for name in _names(metric) if (*cell, part, name) in groups), metric)
        ours, spread, low, high = over_seeds(groups.get((*cell, part, name)), factor)
        if metric in COUNTED:
            spread = np.nan
        rows.append([theirs, ours, spread, low, high, ours - theirs, seeds.get((*cell, part), 0)])
        index.append((*cell, part, metric))
    places = pd.MultiIndex.from_tuples(index, names=["method", "backbone", "part", "figure"])
    return pd.DataFrame(rows, index=places, columns=COLUMNS, dtype=np.float64).astype({"seeds": np.int64})


def format_printed_figures_table(table: pd.DataFrame) -> pd.DataFrame:
    """`printed_figures_table` for the eye: figures in words; published, ours ("0.951 ± 0.004"), difference ("-0.012").

    A cell without a run is "not run"; one that was run and lacks the figure is "not defined". Printed shares have the
    decimals that the longest of their cell and part needs, two at least: 0.9 beside 0.88 was printed 0.90.
    """
    decimals: dict[tuple, int] = {}
    places: list[tuple] = table.index.tolist()
    for (*cell_and_part, metric), theirs in zip(places, table["published"], strict=True):
        if _is_share(metric):
            key = tuple(cell_and_part)
            decimals[key] = max(2, _decimals(theirs), decimals.get(key, 0))
    rows, index = [], []
    for (*cell_and_part, metric), (_, row) in zip(places, table.iterrows(), strict=True):
        digits = decimals.get(tuple(cell_and_part), 0)
        theirs = _as_printed(row["published"], metric, digits)
        if np.isnan(row["ours"]):
            rows.append([theirs, NOT_DEFINED if row["seeds"] else NOT_RUN, ""])
        else:
            form = _form(metric, digits, row)
            rows.append([theirs, format_figures(row, form), f"{row['difference']:+z{form}}"])
        index.append((*cell_and_part, figure_in_words(metric)))
    told = pd.MultiIndex.from_tuples(index, names=table.index.names)
    return pd.DataFrame(rows, index=told, columns=["published", "ours", "difference"], dtype=object)


def figure_in_words(metric: str) -> str:
    """What a reader calls a metric: "precision, Gland" for precision_Gland, "Tumor called Gland, images"."""
    if metric in METRICS:
        return METRICS[metric][0]
    if metric in WORDS:
        return WORDS[metric]
    if confused := CONFUSED.fullmatch(metric):
        return f"{confused['actual']} called {confused['predicted']}, images"
    figure, _, class_name = metric.partition("_")
    if class_name and figure in ("precision", "recall", "f1"):
        return f"{WORDS.get(figure, figure)}, {class_name}"
    return metric.replace("_", " ")


def _grouped(scores: pd.DataFrame) -> tuple[dict[tuple, pd.DataFrame], dict[tuple, int]]:
    """The rows of each (method, backbone, part, metric), and the number of seeds of each (method, backbone, part)."""
    check_scores(scores)
    protocols = list(dict.fromkeys(scores["protocol"]))
    if len(protocols) > 1:
        raise InputError(f"scores: received the protocols {protocols}; accepted is one. Keep the rows of one.")
    cells = by_cell(scores, "method", "backbone", "part")
    groups = {(*cell, metric): rows for cell, figures in cells.items() for metric, rows in figures.items()}
    seeds: dict[Any, int] = scores.groupby(["method", "backbone", "part"])["seed"].nunique().to_dict()
    return groups, seeds


def _names(metric: str) -> tuple[str, ...]:
    others = next((pair for pair in SAME if metric in pair), ())
    return metric, *(name for name in others if name != metric)


def _factor(metric: str) -> float:
    return METRICS[metric][1] if metric in METRICS else 1


def _is_share(metric: str) -> bool:
    """Whether the figure is printed as a share, 0..1: neither in per cent nor a loss or a count."""
    return metric == "macro_f1" or (metric not in METRICS and not CONFUSED.fullmatch(metric))


def _as_printed(theirs: float, metric: str, digits: int) -> str:
    if _is_share(metric):
        return f"{theirs:.{digits}f}"
    return as_printed(theirs, metric) if metric in METRICS and metric not in COUNTED else f"{theirs:,.0f}"


def _form(metric: str, digits: int, row: pd.Series) -> str:
    if _is_share(metric):
        return f".{max(3, digits)}f"
    if metric in METRICS:
        return METRICS[metric][2]
    return ",.0f" if float(row["ours"]).is_integer() else ",.1f"


def _decimals(value: float) -> int:
    return len(f"{value:.6f}".rstrip("0").partition(".")[2])
