"""Settings of a search, ranked by the mean of a figure over folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tlkeras.errors import InputError
from tlkeras.evaluation.tables import METRICS, NOT_DEFINED, NOT_RUN, format_figures

FIGURES = ("mean", "sd", "low", "high", "groups", "folds", "rank", "best")
# What costs less comes first among equals.
FIRST_AMONG_EQUALS = ("epochs", "learning_rate")  # or "phase_2.epochs"
SAME_MEAN = 1e-9


def ranking_table(results: pd.DataFrame, fields: Sequence[str], metric: str = "accuracy") -> pd.DataFrame:
    """One row per setting, the best first: of the least mean where the metric is a loss, else of the largest.

    Equal means share a rank, and the next rank counts them all: 1, 1, 1, 4. Means are equal to 1e-9; those of accuracy
    are equal that lie less than half an image apart: where folds differ by an image in size, as many right answers give
    means that differ in the seventh digit. Among equals fewer epochs come first, then the lower learning rate, then
    what comes first in `results`. A setting whose mean is undefined, for a fold has no figure, comes last.

    Args:
        results: one row per setting and fold: the `fields`, fold, the metric (a loss, or a score in 0..1) and, the same
            in every row of a setting, <metric>_low, <metric>_high and groups where an interval was made; n (images),
            where it is known (without it means of accuracy are equal to 1e-9 too). Other columns are left alone.
        fields: the columns that were varied; a name may have its part before a dot, "phase_2.learning_rate".
        metric: what is ranked by, the column's name.

    Returns:
        The fields; mean and sd (over folds, n - 1; NaN with one fold), low, high, groups, float64; folds and rank,
        int64; best, bool, true in the first row alone, and nowhere where its mean is undefined. Index 0..settings-1.

    Raises:
        InputError: a column is missing, a fold is there twice or not for every setting, a score is outside 0..1, or an
            interval differs within a setting.
    """
    fields = _checked(results, fields, metric)
    grouped = results.groupby(fields, sort=False, dropna=False)
    values, low, high = grouped[metric], f"{metric}_low", f"{metric}_high"
    table = pd.DataFrame(
        {
            # A fold without a value leaves the mean undefined: a mean over fewer folds is another figure.
            "mean": values.agg(lambda found: found.astype(float).mean(skipna=False)),
            "sd": values.agg(lambda found: found.astype(float).std(skipna=False)),
            "low": grouped[low].first() if low in results else np.nan,
            "high": grouped[high].first() if high in results else np.nan,
            "groups": grouped["groups"].first() if "groups" in results else np.nan,
            "folds": grouped["fold"].nunique(),
        }
    ).reset_index()
    table["given"] = range(len(table))
    rising = lower_is_better(metric)
    table = table.sort_values("mean", ascending=rising, kind="stable", na_position="last", ignore_index=True)
    counted = metric == "accuracy" and "n" in results
    same = 0.5 / grouped["n"].sum().max() if counted else SAME_MEAN
    table["rank"] = _ranks(table["mean"].to_numpy(), same)
    first = [field for name in FIRST_AMONG_EQUALS for field in fields if field.split(".")[-1] == name]
    table = table.sort_values(["rank", *first, "given"], kind="stable", ignore_index=True, key=_comparable)
    table["best"] = (table.index == 0) & table["mean"].notna()
    return table.astype({"low": np.float64, "high": np.float64, "groups": np.float64, "folds": np.int64})[
        [*fields, *FIGURES]
    ]


def format_ranking_table(
    table: pd.DataFrame, published: Mapping[tuple, float] | None = None, metric: str = "accuracy"
) -> pd.DataFrame:
    """`ranking_table` for the eye: rank ("1=" where it is shared), fields, mean over folds "0.996 ± 0.004 [...]".

    Args:
        table: as `ranking_table` makes it.
        published: {(values of the fields, in the order of the table's columns): mean score 0..1}, or None; one that was
            not run gets a row at the end.
        metric: what it is ranked by.

    Returns:
        str, index "rank"; the fields in words, the mean and, where given, what was published.
    """
    fields = [column for column in table.columns if column not in FIGURES]
    left = dict(published or {})
    for setting in left:
        if not isinstance(setting, tuple) or len(setting) != len(fields):
            raise InputError(f"published: received the key {setting!r}; accepted are tuples ({', '.join(fields)}).")
    shared = table["rank"].duplicated(keep=False)
    rows, ranks = [], []
    for i, row in table.iterrows():
        setting = tuple(None if is_none(row[field]) else row[field] for field in fields)
        figures = row[["mean", "sd", "low", "high"]].rename({"mean": "ours"}).astype(float)
        text = NOT_DEFINED if np.isnan(figures["ours"]) else format_figures(figures, ".3f")
        rows.append([*map(value_in_words, setting), text, _printed(left.pop(setting, None))])
        ranks.append(f"{row['rank']}{'=' if shared[i] else ''}{' (chosen)' if row['best'] else ''}")
    for setting, score in left.items():
        rows.append([*map(value_in_words, setting), NOT_RUN, _printed(score)])
        ranks.append("")
    columns = [*(field_in_words(field) for field in fields), f"mean {metric_in_words(metric)} over folds", "published"]
    formatted = pd.DataFrame(rows, index=pd.Index(ranks, name="rank"), columns=columns, dtype=object)
    return formatted if published else formatted.drop(columns="published")


def lower_is_better(metric: str) -> bool:
    """Whether the least value of a figure is the best."""
    return metric.endswith("_loss")


def metric_in_words(metric: str) -> str:
    """What a reader calls a metric: "balanced accuracy"."""
    return METRICS[metric][0].removesuffix(", %")


def field_in_words(field: str) -> str:
    """What a reader calls a field: "phase 2 learning rate" for phase_2.learning_rate."""
    return field.replace("_", " ").replace(".", " ")


def value_in_words(value: object) -> str:
    """What a reader is shown of a setting: 0.0001, 5, adam, none."""
    if is_none(value):
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def is_none(value: object) -> bool:
    """Whether a setting is None, which pandas holds as NaN."""
    return value is None or (isinstance(value, float) and np.isnan(value))


def _comparable(column: pd.Series) -> pd.Series:
    """The values of a field as what can be sorted: a stage, several of them and "all" stand in one column."""
    return column if pd.api.types.is_numeric_dtype(column) else column.map(str)


def _ranks(means: np.ndarray, same: float) -> np.ndarray:
    """Ranks of sorted `means`, undefined ones last; those within `same` of the first of a run share its rank."""
    ranks = np.ones(len(means), np.int64)
    start = 0  # of the run of equals
    for i in range(1, len(means)):
        both_undefined = np.isnan(means[i]) and np.isnan(means[start])
        if not (both_undefined or abs(means[start] - means[i]) <= same):
            start = i
        ranks[i] = start + 1
    return ranks


def _checked(results: pd.DataFrame, fields: Sequence[str], metric: str) -> list[str]:
    fields = list(fields)
    if not fields or set(fields) & {*FIGURES, "fold", metric}:
        raise InputError(f"fields: received {fields}; accepted are the columns that were varied, at least one.")
    missing = [column for column in (*fields, "fold", metric) if column not in results.columns]
    if missing or not len(results):
        raise InputError(
            f"results: received {len(results)} rows with the columns {list(results.columns)}; accepted are rows with "
            f"{[*fields, 'fold', metric]}, at least one."
        )
    twice = results[results.duplicated([*fields, "fold"])]
    if len(twice):
        first = dict(twice.iloc[0][[*fields, "fold"]])
        raise InputError(f"results: {len(twice)} folds are there twice, the first {first}; keep one of each.")
    values = results[metric].astype(float)
    if not values.dropna().between(0, np.inf if lower_is_better(metric) else 1).all():
        raise InputError(
            f"results: {metric} holds {values.min():g}..{values.max():g}; accepted are shares, 0..1, not per cent, and "
            "losses from 0 on."
        )
    grouped = results.groupby(fields, sort=False, dropna=False)
    n_folds = results["fold"].nunique()
    for setting, of_setting in grouped["fold"]:
        if len(of_setting) != n_folds:
            raise InputError(
                f"results: the setting {dict(zip(fields, setting, strict=True))} has {len(of_setting)} of {n_folds} "
                "folds; accepted are the same folds for every setting, or their means do not compare. Finish it first."
            )
    for end in (f"{metric}_low", f"{metric}_high"):
        if end in results and (grouped[end].nunique(dropna=False) > 1).any():
            raise InputError(f"results: {end} differs within a setting; accepted is one interval for each setting.")
    return fields


def _printed(score: float | None) -> str:
    return "" if score is None else max(f"{score:g}", f"{score:.3f}", key=len)
