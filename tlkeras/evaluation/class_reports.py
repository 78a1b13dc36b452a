"""Precision, recall and F1 of every class, cell by cell."""

from __future__ import annotations

import pandas as pd

from tlkeras.evaluation.tables import by_cell, check_scores, counts_in_words, measured
from tlkeras.evaluation.weighted_scores import apart_from

FIGURES = {"precision": "precision", "recall": "recall", "f1": "F1"}


def class_reports_table(scores: pd.DataFrame, *, part: str) -> pd.DataFrame:
    """What `metrics.classification_report_table` says of every cell, for the eye, each as `tables.measured` writes it.

    Args:
        scores: tidy, of one protocol, with `precision_<class>`, `recall_<class>` and `f1_<class>`; see
            `evaluation.tables`.
        part: the part whose scores are shown.

    Returns:
        str, index (method, backbone, class), columns groups (those that hold the class), precision, recall, F1. A
        figure that the samples leave undefined says so.
    """
    check_scores(scores)
    rows, index = [], []
    for cell, figures in by_cell(scores[scores["part"] == part], "method", "backbone").items():
        names = [metric.removeprefix("recall_") for metric in figures if metric.startswith("recall_")]
        of_rows = {name: [f"{figure}_{name}" for figure in FIGURES] for name in names}
        of_rows[apart_from("mean over the classes", names)] = [f"macro_{figure}" for figure in FIGURES]
        for name, metrics in of_rows.items():
            shown = [measured(figures, metric, factor=1, form=".3f") for metric in metrics]
            rows.append([counts_in_words(figures[metrics[1]]["groups"]), *shown])
            index.append((*cell, name))
    return pd.DataFrame(
        rows,
        index=pd.MultiIndex.from_tuples(index, names=["method", "backbone", "class"]),
        columns=["groups", *FIGURES.values()],
    )
