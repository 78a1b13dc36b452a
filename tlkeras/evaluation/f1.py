"""F1 per class, micro and macro: a column per method, ours below what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tlkeras.evaluation.tables import FIGURES, NOT_RUN, by_cell, check_scores, format_figures, over_seeds
from tlkeras.evaluation.weighted_scores import apart_from

# In single-label classification every error is one false positive and one false negative, so micro F1 is accuracy.
AVERAGES = {"micro_f1": "micro average", "macro_f1": "macro average"}
_METRIC_OF = {"micro_f1": "accuracy"}

Cell = tuple[str, str]


def f1_table(
    scores: pd.DataFrame,
    reported: Mapping[tuple[Cell, str, str], float],
    *,
    columns: Mapping[str, tuple[Cell, Cell]],
    class_names: Sequence[str],
    part: str = "test",
) -> pd.DataFrame:
    """Our F1 beside the published one, one row per class, then micro and macro average.

    Args:
        scores: tidy, of one protocol; the metrics "f1_<class>", "accuracy" (which is micro F1) and "macro_f1"; see
            `evaluation.tables`.
        reported: {((method, backbone), part, "f1_<class>" | "micro_f1" | "macro_f1"): published value}.
        columns: {title: (our cell, the published cell it stands beside)}, a cell being (method, backbone).
        class_names: the rows, in this order.
        part: the part whose scores are shown.

    Returns:
        float64 in 0..1, index "F1", columns (column, figure) with the figures ours (mean over seeds), sd, low, high and
        published. What was not run, published or defined is NaN.

    Raises:
        InputError: a column of `scores` is missing, or a score is there twice.
    """
    check_scores(scores)
    of_cells = by_cell(scores[scores["part"] == part], "method", "backbone")

    def figures(ours: Cell, published: Cell, metric: str) -> list[float]:
        rows = of_cells.get(ours, {}).get(_METRIC_OF.get(metric, metric))
        return [*over_seeds(rows), reported.get((published, part, metric), np.nan)]

    metrics = [*(f"f1_{name}" for name in class_names), *AVERAGES]
    return pd.DataFrame(
        [[value for cells in columns.values() for value in figures(*cells, metric)] for metric in metrics],
        index=pd.Index([*class_names, *(apart_from(name, class_names) for name in AVERAGES.values())], name="F1"),
        columns=pd.MultiIndex.from_product([columns, FIGURES], names=["column", "figure"]),
        dtype=np.float64,
    )


def format_f1_table(table: pd.DataFrame) -> pd.DataFrame:
    """`f1_table` for the eye: for each row what was published, with its two digits, and below it ours, with three.

    A column without a run says so; a class that our test part does not hold is "not defined".
    """
    rows, index = [], []
    for name in table.index:
        figures = {column: table.loc[name, column] for column in table.columns.unique("column")}
        published = [_printed(of_column["published"]) for of_column in figures.values()]
        if any(published):
            rows.append(published)
            index.append((name, "published"))
        rows.append([_ours(of_column, table[column]) for column, of_column in figures.items()])
        index.append((name, "ours"))
    return pd.DataFrame(
        rows, index=pd.MultiIndex.from_tuples(index, names=["F1", ""]), columns=table.columns.unique("column")
    )


def averages_table(table: pd.DataFrame) -> pd.DataFrame:
    """The averages of `f1_table` in per cent, one row per column of it: what `plots.draw_accuracy_bars` draws."""
    averages = 100 * table.iloc[-len(AVERAGES) :]
    rows = [averages[column].to_numpy().ravel() for column in table.columns.unique("column")]
    return pd.DataFrame(
        rows,
        index=pd.Index(table.columns.unique("column"), name="column"),
        columns=pd.MultiIndex.from_product([AVERAGES.values(), FIGURES], names=["method", "figure"]),
    )


def _printed(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def _ours(figures: pd.Series, column: pd.DataFrame) -> str:
    return NOT_RUN if column["ours"].isna().all() else format_figures(figures, ".3f")
