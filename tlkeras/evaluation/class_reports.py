"""Precision, recall and F1 of every class, cell by cell."""

from __future__ import annotations

import pandas as pd

from tlkeras.evaluation.tables import NOT_DEFINED, check_scores, mean_and_spread

FIGURES = {"precision": "precision", "recall": "recall", "f1": "F1"}


def class_reports_table(scores: pd.DataFrame, *, part: str) -> pd.DataFrame:
    """What `metrics.classification_report_table` says of every cell, for the eye: "0.876 ± 0.010", means over seeds.

    Args:
        scores: tidy, of one protocol, with `precision_<class>`, `recall_<class>` and `f1_<class>`; see
            `evaluation.tables`.
        part: the part whose scores are shown.

    Returns:
        str, index (method, backbone, class), columns precision, recall, F1. A figure that the samples leave undefined
        says so.
    """
    check_scores(scores)
    chosen = scores[scores["part"] == part].astype({"value": float})
    rows, index = [], []
    for cell, of_cell in chosen.groupby(["method", "backbone"], sort=False):
        by_metric = dict(iter(of_cell.groupby("metric", sort=False)["value"]))
        names = [metric.removeprefix("recall_") for metric in by_metric if metric.startswith("recall_")]
        for name in [*names, "macro"]:
            metrics = [f"macro_{figure}" if name == "macro" else f"{figure}_{name}" for figure in FIGURES]
            rows.append([_words(by_metric[metric]) for metric in metrics])
            index.append((*cell, "mean over the classes" if name == "macro" else name))
    return pd.DataFrame(
        rows,
        index=pd.MultiIndex.from_tuples(index, names=["method", "backbone", "class"]),
        columns=list(FIGURES.values()),
    )


def _words(values: pd.Series) -> str:
    return NOT_DEFINED if values.isna().any() else mean_and_spread(values, ".3f")
