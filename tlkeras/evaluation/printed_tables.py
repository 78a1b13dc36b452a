"""Tables as documents print them, ours beside theirs: accuracy with a column per method, what is told of each training.
The columns that hold the document's figures are called "published"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tlkeras.evaluation.tables import (
    BASELINE,
    FIGURES,
    METRICS,
    NOT_RUN,
    as_printed,
    by_cell,
    check_scores,
    figure_columns,
    format_figures,
    measured_or_counted,
    over_seeds,
    rows_and_columns,
)

Cell = tuple[str, str]
Printed = Mapping[tuple[Cell, str, str], float]


def accuracy_table(
    scores: pd.DataFrame,
    printed: Printed,
    *,
    protocol: str,
    methods: Sequence[str],
    backbones: Sequence[str],
    part: str = "test",
) -> pd.DataFrame:
    """Our accuracy beside the document's, in %, one row per backbone.

    Args:
        scores: tidy, with the columns protocol, method, backbone, part, seed, metric, value and, where intervals were
            made, low and high; accuracy in 0..1.
        printed: {((method, backbone), part, "accuracy"): the document's value in %}.
        protocol: the one whose scores are shown.
        methods: the columns, in this order, whether they were run or not.
        backbones: the rows, likewise.
        part: the part whose scores are shown.

    Returns:
        float64, index "backbone", columns (method, figure) with the figures ours (mean over seeds), sd (over seeds,
        n - 1; NaN with one seed), low, high (of the mean) and published. What was not run or not printed is NaN.

    Raises:
        InputError: a column is missing, or a score is there twice.
    """
    check_scores(scores)
    of_cells = by_cell(scores[(scores["protocol"] == protocol) & (scores["part"] == part)], "method", "backbone")

    def figures(method: str, backbone: str) -> list[float]:
        theirs = printed.get(((method, backbone), part, "accuracy"), np.nan)
        return [*over_seeds(of_cells.get((method, backbone), {}).get("accuracy"), factor=100), theirs]

    rows = {backbone: [figures(method, backbone) for method in methods] for backbone in backbones}
    return figure_columns(rows, "backbone", methods)


def format_accuracy_table(table: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """`accuracy_table` for the eye: "91.3 ± 0.4 [88.9, 93.4]" in one column per method, then what was printed, and
    ours minus that.

    A cell without a run says so; the other columns are there only where they have a value. `baseline` is what the
    majority class reaches, for a row of its own.
    """
    columns = {}
    for method in table.columns.unique("method"):
        figures = table[method]
        columns[method] = [
            NOT_RUN if np.isnan(row["ours"]) else format_figures(row, ".1f") for _, row in figures.iterrows()
        ]
        if figures["published"].notna().any():
            columns[f"{method} published"] = [
                as_printed(None if np.isnan(value) else value, "accuracy") for value in figures["published"]
            ]
        difference = figures["ours"] - figures["published"]
        if difference.notna().any():
            columns[f"{method} difference"] = ["" if np.isnan(step) else f"{step:+z.1f}" for step in difference]
    shown = pd.DataFrame(columns, index=table.index)
    if baseline is not None:
        shown.loc[BASELINE[0]] = [baseline if column in table.columns.unique("method") else "" for column in columns]
    return shown


def two_way_bars(table: pd.DataFrame, places: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """The one row of `accuracy_table` as a two-way table, for `table_plots.draw_accuracy_bars`; places as
    `score_tables.two_way_table` takes them."""
    rows, columns = rows_and_columns(places)
    of_places = {place: table[method].to_numpy()[0] for method, place in places.items()}
    nothing = [np.nan] * len(FIGURES)
    of_rows = {row: [of_places.get((row, name), nothing) for name in columns] for row in rows}
    return figure_columns(of_rows, "row", columns)


def results_table(
    scores: pd.DataFrame,
    printed: Printed,
    *,
    names: Mapping[tuple[str, str], str],
    test: str = "test",
) -> pd.DataFrame:
    """What a document tells of each training, ours above what was printed, for the eye.

    Args:
        scores: tidy, of one protocol; part "model" holds parameters, trainable_parameters, seconds and peak_mb, part
            "train" accuracy and loss of the epoch that was kept.
        printed: {((method, backbone), part, metric): as printed}, accuracy in %.
        names: {(method, backbone): what the document calls it}.
        test: the test part.

    Returns:
        str, index (name, method, backbone, whose), one column per figure. What was not printed is empty. A cell that
        was printed and not run is there where more than its accuracy was printed, which `accuracy_table` shows.
    """
    check_scores(scores)
    of_cells = by_cell(scores, "method", "backbone", "part")
    figures = [
        ("model", "trainable_parameters"),
        ("model", "parameters"),
        ("train", "accuracy"),
        ("train", "loss"),
        ("val", "accuracy"),
        ("val", "log_loss"),
        (test, "accuracy"),
        (test, "log_loss"),
        ("model", "seconds"),
        ("model", "peak_mb"),
    ]
    titles = [METRICS[m][0] if part == "model" else f"{part} {METRICS[m][0]}" for part, m in figures]
    run = list(dict.fromkeys(zip(scores["method"], scores["backbone"], strict=True)))
    columns_of = {cell: {key[1:] for key in printed if key[0] == cell} for cell, _, _ in printed}
    not_run = [cell for cell, columns in columns_of.items() if cell not in run and columns != {(test, "accuracy")}]
    rows, index = [], []
    for cell in [*run, *not_run]:
        label = (names.get(cell, ""), *cell)
        if cell in run:
            rows.append([measured_or_counted(of_cells.get((*cell, part), {}), metric) for part, metric in figures])
            index.append((*label, "ours"))
        theirs = [as_printed(printed.get((cell, *figure)), figure[1]) for figure in figures]
        if any(theirs):
            rows.append(theirs)
            index.append((*label, "published" if cell in run else "published; not run"))
    return pd.DataFrame(
        rows,
        index=pd.MultiIndex.from_tuples(index, names=["document", "method", "backbone", ""]),
        columns=titles,
    )
