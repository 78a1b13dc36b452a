"""Accuracy of methods that are the cells of a two-way table, such as trees by scaling or two causes crossed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tlkeras.evaluation.tables import FIGURES, NOT_RUN, by_cell, check_scores, measured


def grid_table(
    scores: pd.DataFrame, grid: Mapping[str, tuple[str, str]], *, backbone: str, part: str = "test"
) -> pd.DataFrame:
    """Accuracy in % of methods that are the cells of a two-way table: "91.3 ± 0.4 [88.9, 93.4]", one backbone.

    Args:
        scores: tidy, of one protocol; see `accuracy_table`.
        grid: {method: (row, column)}.
        backbone: the one shown.
        part: the part whose scores are shown.
    """
    check_scores(scores)
    of_methods = by_cell(scores[(scores["backbone"] == backbone) & (scores["part"] == part)], "method")
    rows, columns = (list(dict.fromkeys(place[axis] for place in grid.values())) for axis in (0, 1))
    table = pd.DataFrame(NOT_RUN, index=pd.Index(rows, name=f"accuracy on {part}, %"), columns=columns)
    for method, place in grid.items():
        if (method,) in of_methods:
            table.loc[place] = measured(of_methods[method,], "accuracy")
    return table


def grid_bars_table(table: pd.DataFrame, grid: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """The one row of `accuracy_table` as the two-way table of `grid`: a row per row label, a method per column label,
    as `plots.draw_accuracy_bars` draws it."""
    rows, columns = (list(dict.fromkeys(place[axis] for place in grid.values())) for axis in (0, 1))
    two_way = pd.DataFrame(
        np.nan, index=rows, columns=pd.MultiIndex.from_product([columns, FIGURES], names=["method", "figure"])
    )
    for method, (row, column) in grid.items():
        two_way.loc[row, column] = table[method].to_numpy()[0]
    return two_way
