"""Accuracy, precision, recall and F1 of a network on its training images and on every test part, as Liang (2024)
tabulates them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from tlkeras.evaluation.blocks import Block, Heading, Table
from tlkeras.evaluation.printed_tables import Cell, Printed
from tlkeras.evaluation.tables import NOT_RUN, by_cell, check_scores, counts_in_words, measured
from tlkeras.replication.finished_run import FinishedRun


def every_part(run: FinishedRun, *, titles: Mapping[str, str]) -> list[Block]:
    """The section of a table for each network, a row for each part.

    Args:
        run: the finished run.
        titles: {part: title}, the rows in this order.
    """
    positive, printed = run.plan.positive_class, run.plan.reported
    blocks: list[Block] = []
    for cell in dict.fromkeys(zip(run.scores["method"], run.scores["backbone"], strict=True)):
        table = parts_table(run.scores, cell, titles=titles, positive_class=positive, printed=printed)
        blocks += [Heading(f"{', '.join(cell)}, on every part"), Table(table)]
    return blocks


def parts_table(
    scores: pd.DataFrame, cell: Cell, *, titles: Mapping[str, str], positive_class: str | None, printed: Printed
) -> pd.DataFrame:
    """Our figures of one network, for the eye, the document's in round brackets behind them.

    Args:
        scores: tidy, of one protocol; accuracy, its interval and n; of the positive class precision, sensitivity (or
            recall) and f1, under these names or with `_<positive_class>` behind.
        cell: (method, backbone).
        titles: {part: title}, the rows in this order.
        positive_class: the class that precision, recall and F1 speak of.
        printed: {((method, backbone), part, metric): as printed}, accuracy in per cent, the others 0..1, under the
            same names.

    Returns:
        str, index "Dataset" (the titles); columns images and, as shares "0.914 ± 0.010 [0.893, 0.933] (0.920)", the
        four figures with their intervals and, where there is one, the printed value.

    Raises:
        InputError: a column of `scores` is missing, or a score is there twice.
    """
    check_scores(scores)
    method, backbone = cell
    of_parts = by_cell(scores[(scores["method"] == method) & (scores["backbone"] == backbone)], "part")
    names = {
        "Accuracy": ["accuracy"],
        "Precision": ["precision", f"precision_{positive_class}"],
        "Recall": [f"{name}{end}" for name in ("sensitivity", "recall") for end in ("", f"_{positive_class}")],
        "F1 Score": ["f1", f"f1_{positive_class}"],
    }
    rows, with_theirs = [], {}
    for part in titles:
        figures = of_parts.get((part,), {})
        row = {"images": counts_in_words(figures["n"]["value"]) if "n" in figures else ""}
        for title, metrics in names.items():
            ours = next((metric for metric in metrics if metric in figures), title)
            theirs = next((printed[cell, part, metric] for metric in metrics if (cell, part, metric) in printed), None)
            row[title] = measured(figures, ours, factor=1, form=".3f") if figures else NOT_RUN
            if theirs is not None:
                row[title] += f" ({theirs / (100 if title == 'Accuracy' else 1):.3f})"
                with_theirs[title] = f"{title} (published)"
        rows.append(row)
    table = pd.DataFrame(rows, index=pd.Index(titles.values(), name="Dataset"), dtype=object)
    return table.rename(columns=with_theirs)
