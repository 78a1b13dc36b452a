"""Tidy scores, cell by cell, and how a figure is written for the eye.

Scores hold one row per protocol, method, backbone, part, seed and metric, with the metric's value and, where an
interval was made, its ends low and high and the groups it is over. Where a cell has several seeds, each row has their
number, seeds, and the ends seeds_low and seeds_high of the interval of their mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tlkeras.errors import InputError
from tlkeras.schema import NOT_TESTS

KEYS = ("protocol", "method", "backbone", "part", "seed", "metric")


class Measurement(NamedTuple):
    """What scores hold of one figure beside `KEYS`; NaN where no interval was made, or where there is one seed."""

    value: float | None  # None: not measured
    low: float = np.nan
    high: float = np.nan
    groups: float = np.nan
    seeds: float = np.nan
    seeds_low: float = np.nan
    seeds_high: float = np.nan


MEASURED = Measurement._fields
SCORES = (*KEYS, *MEASURED)
OURS = ("ours", "sd", "low", "high")
FIGURES = (*OURS, "published")
NOT_RUN = "not run"
NOT_DEFINED = "not defined"
# What stands in a column: its title, the factor on the score, the format.
METRICS = {
    "accuracy": ("accuracy, %", 100, ".1f"),
    "accuracy_adjusted": ("accuracy, adjusted, %", 100, ".1f"),
    "balanced_accuracy_adjusted": ("balanced accuracy, adjusted, %", 100, ".1f"),
    "balanced_accuracy": ("balanced accuracy, %", 100, ".1f"),
    "macro_f1": ("macro F1", 1, ".3f"),
    "weighted_f1": ("weighted F1", 1, ".3f"),
    "matthews": ("Matthews", 1, ".3f"),
    "kappa": ("kappa", 1, ".3f"),
    "roc_auc": ("ROC AUC", 1, ".3f"),
    "average_precision": ("average precision", 1, ".3f"),
    "log_loss": ("log loss", 1, ".3f"),
    "balanced_log_loss": ("balanced log loss", 1, ".3f"),
    "brier": ("Brier", 1, ".3f"),
    "ece": ("ECE", 1, ".3f"),
    "ece_by_chance": ("ECE by chance", 1, ".3f"),
    "threshold": ("threshold", 1, ".3f"),
    "temperature": ("temperature", 1, ".2f"),
    "loss": ("loss", 1, ".3f"),
    "trainable_parameters": ("trainable parameters, phase 1", 1, ",.0f"),
    "parameters": ("parameters", 1, ",.0f"),
    "epochs": ("epochs until the stop", 1, ".0f"),
    "epochs_allowed": ("at most", 1, ".0f"),
    "kept_epoch": ("epoch kept", 1, ".0f"),
    "seconds": ("run time, s", 1, ".0f"),
    "peak_mb": ("peak memory, MB", 1, ".0f"),
}
DECISIONS = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "matthews", "kappa")
PROBABILITIES = ("roc_auc", "average_precision", "log_loss", "brier", "ece", "ece_by_chance")
SCALED = ("log_loss", "brier", "ece")  # what a temperature changes
AFTER_SCALING = "_after"  # behind a metric's name: with the temperature that was fitted to the validation images
ADJUSTED = "_adjusted"  # behind a metric's name: with the line between the classes that validation images set
RANKING_AND_THRESHOLD = ("accuracy", f"accuracy{ADJUSTED}", "roc_auc")  # what tells the two apart
# The cell that stands for no method at all: for every image the shares that the classes have among the training images.
BASELINE = ("majority class", "none")
COUNTED = ("parameters", "trainable_parameters", "epochs_allowed")  # not measured: without spread


def by_cell(scores: pd.DataFrame, *keys: str) -> dict[tuple, dict[str, pd.DataFrame]]:
    """{cell: {metric: its rows, one for each seed, with the columns `MEASURED`}}, in the order of `scores`.

    Args:
        scores: tidy, with the columns `KEYS` and value; of the other measured columns those that are missing are NaN.
        keys: the columns that tell one cell from another.
    """
    numbers = scores.reindex(columns=[*scores.columns.union(list(MEASURED), sort=False)])
    numbers = numbers.astype(dict.fromkeys(MEASURED, float))
    return {
        cell: {str(metric): rows for metric, rows in of_cell.groupby("metric", sort=False)}
        for cell, of_cell in numbers.groupby(list(keys), sort=False)
    }


def over_seeds(rows: pd.DataFrame | None, factor: float = 1) -> tuple[float, float, float, float]:
    """(mean, standard deviation n - 1, low, high) over the seeds of one metric; the ends are those of the mean.

    NaN where there is nothing, or where one seed leaves it undefined: a mean over fewer seeds is another figure. The
    ends are NaN, too, where the rows are not of all the seeds that the interval was made over.
    """
    if rows is None:
        return np.nan, np.nan, np.nan, np.nan
    values = factor * rows["value"]
    several = len(rows) > 1
    low, high = (
        factor * rows[column].iloc[0] for column in (("seeds_low", "seeds_high") if several else ("low", "high"))
    )
    if several and (rows["seeds"] != len(rows)).any():
        low = high = np.nan
    return values.mean(skipna=False), values.std(skipna=False), low, high


def measured(
    figures: Mapping[str, pd.DataFrame], metric: str, *, factor: float | None = None, form: str | None = None
) -> str:
    """One metric of a cell for the eye: "70.9 ± 1.2 [68.7, 73.0]", mean and standard deviation over seeds, then the
    interval where one was made; "not defined" says so.

    Args:
        figures: {metric: rows} of one cell; see `by_cell`.
        metric: the one shown.
        factor: what the value is multiplied by; None takes that of `METRICS`, or 1.
        form: the format of each number; None takes that of `METRICS`, or three decimals.
    """
    _, usual_factor, usual_form = METRICS.get(metric, (metric, 1, ".3f"))
    ours = over_seeds(figures.get(metric), usual_factor if factor is None else factor)
    return format_figures(pd.Series(ours, OURS), form or usual_form)


def measured_or_counted(figures: Mapping[str, pd.DataFrame], metric: str) -> str:
    """`measured`, of what is counted and the same for all seeds the count; nothing where a seed lacks it."""
    if metric not in figures or figures[metric]["value"].isna().any():
        return ""
    counts = figures[metric]["value"]
    counted = metric in COUNTED and counts.nunique() == 1
    return f"{counts.iloc[0]:{METRICS[metric][2]}}" if counted else measured(figures, metric)


def cell_rows(rows: Mapping[tuple, Mapping[str, object] | Sequence[object]], keys: Sequence[str]) -> pd.DataFrame:
    """A table with a row for each cell, as `by_cell` tells them apart.

    Args:
        rows: {cell: {column: value}}.
        keys: what the parts of a cell are called: the names of the index.
    """
    return pd.DataFrame(list(rows.values()), index=pd.MultiIndex.from_tuples(list(rows), names=list(keys)))


def figure_columns(rows: Mapping[str, Sequence[Sequence[float]]], index: str, columns: Sequence[str]) -> pd.DataFrame:
    """A table of float64 with the columns (method, figure), the figures being `FIGURES`.

    Args:
        rows: {row: for each of `columns` its figures}.
        index: what the rows are: the name of the index.
        columns: the methods, or what stands in their place.
    """
    return pd.DataFrame(
        [np.ravel(row) for row in rows.values()],
        index=pd.Index(list(rows), name=index),
        columns=pd.MultiIndex.from_product([columns, FIGURES], names=["method", "figure"]),
        dtype=np.float64,
    )


def rows_and_columns(places: Mapping[str, tuple[str, str]]) -> tuple[list[str], list[str]]:
    """The labels of a two-way table's rows and columns, in the order in which `places`, {method: (row, column)}, name
    them."""
    rows, columns = (list(dict.fromkeys(place[axis] for place in places.values())) for axis in (0, 1))
    return rows, columns


def format_interval(figures: pd.Series, form: str, factor: float = 1) -> str:
    """ "91.3 [88.9, 93.4]" of value, low and high, `factor` times each in the format `form`, without what is NaN."""
    value, low, high = factor * figures[["value", "low", "high"]].astype(float)
    return format_figures(pd.Series((value, np.nan, low, high), OURS), form)


def apart_from(average: str, class_names: Iterable[str]) -> str:
    """What a row of a table of classes is called that is no class: `average`, with more words where a class has it."""
    while average in class_names:
        average += " average"
    return average


def test_parts(scores: pd.DataFrame) -> list[str]:
    """The names of the test parts that tidy scores hold."""
    return sorted(set(scores["part"]) - {*NOT_TESTS, "model"})


def counts_in_words(counts: Iterable[float]) -> str:
    """ "428", or each count where seeds differ, "1,494 or 1,495"; what is NaN is left out."""
    return " or ".join(f"{count:,.0f}" for count in sorted({count for count in counts if not np.isnan(count)}))


def check_scores(scores: pd.DataFrame) -> None:
    """Refuses scores that lack a column, or hold a score twice."""
    missing = [column for column in (*KEYS, "value") if column not in scores.columns]
    if missing:
        raise InputError(f"scores: the columns {missing} are missing; received {list(scores.columns)}.")
    twice = scores[scores.duplicated(list(KEYS))]
    if len(twice):
        first = dict(twice.iloc[0][list(KEYS)])
        raise InputError(f"scores: {len(twice)} rows are there twice, the first {first}; keep one of each.")


def as_printed(value: float | None, metric: str) -> str:
    """The digits of a printed figure, none added, none rounded away."""
    if value is None:
        return ""
    if metric in COUNTED:
        return f"{value:,}"
    return max(f"{value:g}", f"{value:{METRICS[metric][2]}}", key=len)


def format_figures(figures: pd.Series, form: str) -> str:
    """Ours of the FIGURES, each in the format `form`: "91.3 ± 0.4 [88.9, 93.4]", without what is NaN."""
    if np.isnan(figures["ours"]):
        return NOT_DEFINED
    text = f"{figures['ours']:{form}}"
    if not np.isnan(figures["sd"]):
        text += f" ± {figures['sd']:{form}}"
    if not np.isnan(figures["low"]):
        text += f" [{figures['low']:{form}}, {figures['high']:{form}}]"
    return text
