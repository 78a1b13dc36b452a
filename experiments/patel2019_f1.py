"""F1 with a column for each method, as Patel (2019) tabulates it: the table of results of both its data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tlkeras.evaluation.blocks import Block, Heading, Table, Text
from tlkeras.evaluation.printed_tables import Cell, Printed
from tlkeras.evaluation.tables import (
    BASELINE,
    NOT_RUN,
    apart_from,
    by_cell,
    check_scores,
    figure_columns,
    format_figures,
    over_seeds,
)
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.finished_run import FinishedRun
from tlkeras.replication.part_sections import counted, results_figure
from tlkeras.replication.settings import recipe_of

DOCUMENT = "vgg16"  # its one network
# In single-label classification every error is one false positive and one false negative, so micro F1 is accuracy.
AVERAGES = {"micro_f1": "micro average", "macro_f1": "macro average"}
_METRIC_OF = {"micro_f1": "accuracy"}


def f1_of_classes(run: FinishedRun, part: str, *, titles: Mapping[str, str]) -> list[Block]:
    """The section of the table of F1, and its averages as bars; f1.csv.

    Args:
        run: the finished run.
        part: the test part.
        titles: {method: title} of the columns; other networks than the document's stand beside it, and are named so.
    """
    table = f1_table(
        run.scores, run.plan.reported, columns=f1_columns(run, titles), class_names=run.class_names, part=part
    )
    bars = averages_table(table).rename(lambda title: title.replace(" (", "\n(", 1).replace(" for ", "\nfor "))
    return [
        Heading(f"F1 on {part} ({counted(run, part)})"),
        Table(format_f1_table(table)),
        Text(
            f"The document's network is {DOCUMENT}; `A for B` is network A standing in for B. The micro average of F1 "
            "is the accuracy. A class that was never predicted has an F1 of 0."
        ),
        results_figure(run, part, "F1", table, bars, partly="not defined"),
    ]


def f1_columns(run: FinishedRun, titles: Mapping[str, str]) -> dict[str, tuple[Cell, Cell]]:
    """The columns of the table: {title, with network and image size: (our cell, the document's beside it)}."""
    sizes = {
        (key.method, key.backbone): "x".join(map(str, recipe_of(cell).image_size)) for key, cell in run.cells.items()
    }
    columns: dict[str, tuple[Cell, Cell]] = {}
    for method, title in titles.items():
        ran = [cell for cell in run.plan.protocol.cells if cell[0] == method and cell in sizes]
        published = (method, PIXELS if (method, PIXELS) in run.plan.protocol.cells else DOCUMENT)
        for cell in ran or [published]:
            network = {PIXELS: "", DOCUMENT: DOCUMENT}.get(cell[1], f"{cell[1]} for {DOCUMENT}")
            words = [word for word in (network, sizes.get(cell)) if word]
            columns[f"{title} ({', '.join(words)})" if words else title] = (cell, published)
    columns[BASELINE[0]] = BASELINE, BASELINE
    return columns


def f1_table(
    scores: pd.DataFrame,
    printed: Printed,
    *,
    columns: Mapping[str, tuple[Cell, Cell]],
    class_names: Sequence[str],
    part: str = "test",
) -> pd.DataFrame:
    """Our F1 beside the document's, one row per class, then micro and macro average.

    Args:
        scores: tidy, of one protocol; the metrics "f1_<class>", "accuracy" (which is micro F1) and "macro_f1"; see
            `evaluation.tables`.
        printed: {((method, backbone), part, "f1_<class>" | "micro_f1" | "macro_f1"): the document's value}.
        columns: {title: (our cell, the document's cell it stands beside)}, a cell being (method, backbone).
        class_names: the rows, in this order.
        part: the part whose scores are shown.

    Returns:
        float64 in 0..1, index "F1", columns (method, figure) with the figures ours (mean over seeds), sd, low, high and
        published. What was not run, printed or defined is NaN.

    Raises:
        InputError: a column of `scores` is missing, or a score is there twice.
    """
    check_scores(scores)
    of_cells = by_cell(scores[scores["part"] == part], "method", "backbone")

    def figures(ours: Cell, theirs: Cell, metric: str) -> list[float]:
        rows = of_cells.get(ours, {}).get(_METRIC_OF.get(metric, metric))
        return [*over_seeds(rows), printed.get((theirs, part, metric), np.nan)]

    metrics = {name: f"f1_{name}" for name in class_names}
    metrics |= {apart_from(name, class_names): metric for metric, name in AVERAGES.items()}
    rows = {name: [figures(*cells, metric) for cells in columns.values()] for name, metric in metrics.items()}
    return figure_columns(rows, "F1", list(columns))


def format_f1_table(table: pd.DataFrame) -> pd.DataFrame:
    """`f1_table` for the eye: for each row what was printed, with its two digits, and below it ours, with three.

    A column without a run says so; a class that our test part does not hold is "not defined".
    """
    rows, index = [], []
    for name in table.index:
        figures = {column: table.loc[name, column] for column in table.columns.unique("method")}
        printed = [_two_digits(of_column["published"]) for of_column in figures.values()]
        if any(printed):
            rows.append(printed)
            index.append((name, "published"))
        rows.append([_ours_or_not_run(of_column, table[column]) for column, of_column in figures.items()])
        index.append((name, "ours"))
    return pd.DataFrame(
        rows, index=pd.MultiIndex.from_tuples(index, names=["F1", ""]), columns=table.columns.unique("method")
    )


def averages_table(table: pd.DataFrame) -> pd.DataFrame:
    """The averages of `f1_table` in per cent, one row per column of it: what `table_plots.draw_accuracy_bars` draws."""
    averages = 100 * table.iloc[-len(AVERAGES) :]
    rows = {column: averages[column].to_numpy() for column in table.columns.unique("method")}
    return figure_columns(rows, "column", list(AVERAGES.values()))


def _two_digits(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def _ours_or_not_run(figures: pd.Series, column: pd.Series | pd.DataFrame) -> str:
    return NOT_RUN if column["ours"].isna().all() else format_figures(figures, ".3f")
