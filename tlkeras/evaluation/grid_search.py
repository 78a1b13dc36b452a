"""From what the settings of a search's grid predicted for images held out, to their figures fold by fold, and ranked by
the mean over the folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tlkeras.errors import InputError
from tlkeras.evaluation.intervals import intervals
from tlkeras.evaluation.tables import METRICS, NOT_DEFINED, NOT_RUN, format_figures
from tlkeras.evaluation.weighted_scores import weighted_scores
from tlkeras.schema import PROBABILITY_PREFIX, Predictions, Samples

SETTING_PREFIX = "setting_"  # out_of_fold.csv holds one column `setting_<number>` per setting
OF_CLASSES = ("accuracy", "balanced_accuracy", "macro_f1")  # figures that need no probabilities
FIGURES = ("mean", "sd", "low", "high", "groups", "folds", "rank", "best")
# What costs less comes first among equals.
FIRST_AMONG_EQUALS = ("epochs", "learning_rate")  # or "phase_2.epochs"
SAME_MEAN = 1e-9


def probability_column(number: int, class_name: str) -> str:
    """The column of out_of_fold.csv that holds what setting `number` gave a class: "setting_3_prob_mel"."""
    return f"{SETTING_PREFIX}{number}_{PROBABILITY_PREFIX}{class_name}"


def fold_results(
    out_of_fold: pd.DataFrame, settings: Sequence[Mapping[str, Any]], metric: str = "accuracy"
) -> pd.DataFrame:
    """A figure of each setting on each held-out fold.

    An image without an answer, because its training was no longer a number, counts as wrong, and as surely wrong.

    Args:
        out_of_fold: one row per image: sample_id, group ("" where unknown), fold, label, and for each setting the
            predicted class, `setting_0`, ..., empty where there is no answer. Where the metric is not one of
            `OF_CLASSES` also the probability of every class, `setting_0_prob_<class>`, ...
        settings: what varied in each, {name: value}, in the order of those columns.
        metric: a figure of `metrics.score`.

    Returns:
        One row per setting and fold: a column per name, fold, n (images), the metric, NaN where the fold leaves it
        undefined, and <metric>_low and <metric>_high of the setting, a 95 % interval over the groups of all
        images, as many as groups says; see `intervals.intervals`.

    Raises:
        InputError: a setting has no column, or not those that the metric needs.
    """
    folds, fold_of = np.unique(out_of_fold["fold"].to_numpy(), return_inverse=True)
    in_fold = np.arange(len(folds))[:, None] == fold_of
    rows = []
    for number, setting in enumerate(settings):
        predictions = _predictions(out_of_fold, number, metric)
        samples = predictions.samples
        found = weighted_scores(samples.known_labels, predictions.probs, samples.class_names, in_fold, metrics=metric)[
            metric
        ]
        _, low, high, groups = intervals(predictions, metrics=(metric,)).loc[metric]
        of_setting = {f"{metric}_low": low, f"{metric}_high": high, "groups": groups}
        rows += [
            {**setting, "fold": fold, "n": n, metric: value} | of_setting
            for fold, n, value in zip(folds, in_fold.sum(axis=1), found, strict=True)
        ]
    return pd.DataFrame(rows)


def with_wrong_answers(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """The probabilities (n, k), with certainty of the class after the true one where a row is no number."""
    wrong = np.eye(probs.shape[1], dtype=probs.dtype)[(labels + 1) % probs.shape[1]]
    return np.where(np.isfinite(probs).all(axis=1, keepdims=True), probs, wrong)


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
    table: pd.DataFrame, printed: Mapping[tuple, float] | None = None, metric: str = "accuracy"
) -> pd.DataFrame:
    """`ranking_table` for the eye: rank ("1=" where it is shared), fields, mean over folds "0.996 ± 0.004 [...]".

    Args:
        table: as `ranking_table` makes it.
        printed: {(values of the fields, in the order of the table's columns): the document's mean score 0..1}, or None;
            one that was not run gets a row at the end.
        metric: what it is ranked by.

    Returns:
        str, index "rank"; the fields in words, the mean and, where given, "published".
    """
    fields = [column for column in table.columns if column not in FIGURES]
    left = dict(printed or {})
    for setting in left:
        if not isinstance(setting, tuple) or len(setting) != len(fields):
            raise InputError(f"printed: received the key {setting!r}; accepted are tuples ({', '.join(fields)}).")
    shared = table["rank"].duplicated(keep=False)
    rows, ranks = [], []
    for (_, row), is_shared in zip(table.iterrows(), shared, strict=True):
        setting = tuple(None if is_none(row[field]) else row[field] for field in fields)
        figures = row[["mean", "sd", "low", "high"]].rename({"mean": "ours"}).astype(float)
        text = NOT_DEFINED if np.isnan(figures["ours"]) else format_figures(figures, ".3f")
        rows.append([*map(value_in_words, setting), text, _printed(left.pop(setting, None))])
        ranks.append(f"{row['rank']}{'=' if is_shared else ''}{' (chosen)' if row['best'] else ''}")
    for setting, score in left.items():
        rows.append([*map(value_in_words, setting), NOT_RUN, _printed(score)])
        ranks.append("")
    columns = [*(field_in_words(field) for field in fields), f"mean {metric_in_words(metric)} over folds", "published"]
    formatted = pd.DataFrame(rows, index=pd.Index(ranks, name="rank"), columns=columns, dtype=object)
    return formatted if printed else formatted.drop(columns="published")


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


def _predictions(out_of_fold: pd.DataFrame, number: int, metric: str) -> Predictions:
    column = f"{SETTING_PREFIX}{number}"
    names = sorted(out_of_fold["label"].unique())
    wanted = [column] if metric in OF_CLASSES else [probability_column(number, name) for name in names]
    missing = [name for name in wanted if name not in out_of_fold]
    if missing:
        raise InputError(f"out_of_fold: there is no column {missing[0]}; run the search again.")
    if metric in OF_CLASSES:
        predicted = out_of_fold[column].fillna("")
        names = sorted({*names, *predicted} - {""})
        probs = (predicted.to_numpy()[:, None] == np.array(names, dtype=object)).astype(np.float32)
        probs[(predicted == "").to_numpy()] = np.nan
    else:
        # An empty cell among numbers may have been read as text.
        probs = out_of_fold[wanted].apply(pd.to_numeric).to_numpy(np.float32)
    labels = np.array([names.index(name) for name in out_of_fold["label"]], dtype=np.int64)
    samples = Samples(
        images=("",) * len(labels),
        labels=labels,
        class_names=names,
        groups=out_of_fold["group"].fillna("").to_numpy(dtype=object),
        sample_ids=out_of_fold["sample_id"].to_numpy(dtype=object),
    )
    return Predictions(samples, with_wrong_answers(labels, probs))


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
