"""Whom a classifier fails: its figures by sex, age, site or any other column, and whether chance makes such gaps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from tlkeras.checks import check_rising, check_whole
from tlkeras.errors import InputError
from tlkeras.evaluation.intervals import FEW_GROUPS, WITHOUT_INTERVAL, intervals
from tlkeras.evaluation.metrics import check_scorable
from tlkeras.evaluation.paired import holm
from tlkeras.evaluation.resampling import ROUNDING, figures_under, in_chunks, unit_names
from tlkeras.schema import Predictions
from tlkeras.seeds import generator

FIGURES = ("accuracy", "balanced_accuracy", "roc_auc")
UNKNOWN = "unknown"
MOST_VALUES = 10  # of a column of numbers; more of them are put into bands
_QUARTERS = (0.25, 0.5, 0.75)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?=$| )")


def subgroups(
    predictions: Predictions,
    by: str | Iterable[str],
    *,
    metrics: Iterable[str] = FIGURES,
    positive_class: str | None = None,
    bands: Mapping[str, Sequence[float]] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """The figures of `tl.score` in every subgroup of a column of the samples' metadata.

    None is left out: images without a value are the subgroup "unknown", and of small ones the number of groups
    (patients, lesions) says how little they tell. Classes that a subgroup lacks make its figures undefined (NaN), as in
    `tl.score`. Accuracy moves with the classes that a subgroup has; recall, specificity and ROC AUC do so less.

    Args:
        predictions: labelled, of samples that have metadata.
        by: columns of it, such as "sex".
        metrics: figures of `tl.score`.
        positive_class: see there.
        bands: {column of numbers: where its bands begin, but for the first}, e.g. {"age": [40, 60, 80]}. Without, a
            column with more than 10 values is cut at its quartiles.
        level: of the intervals, as in `tl.intervals`.
        seed: likewise.

    Returns:
        One row per column, subgroup and metric, as its columns column, subgroup, images, groups (int64), metric, and
        value, low and high (float64).

    Raises:
        InputError: what `tl.score` refuses, samples without metadata, or a column that is not there.
    """
    check_scorable(predictions)
    metrics, rows = _listed(metrics), []
    for column, members in memberships(predictions.samples.metadata, by, bands).items():
        for subgroup in members.cat.categories:
            chosen = np.flatnonzero((members == subgroup).to_numpy())
            part = Predictions(predictions.samples.take(chosen), predictions.probs[chosen])
            n_groups = len(set(unit_names(part)))
            found = intervals(part, positive_class=positive_class, metrics=metrics, level=level, seed=seed)
            rows += [
                (column, subgroup, len(part), n_groups, metric, *figures)
                for metric, *figures in found[["value", "low", "high"]].itertuples(name=None)
            ]
    columns = ["column", "subgroup", "images", "groups", "metric", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def subgroup_gaps(
    predictions: Predictions,
    by: str | Iterable[str],
    *,
    metrics: Iterable[str] = FIGURES,
    positive_class: str | None = None,
    bands: Mapping[str, Sequence[float]] | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """The largest gap between two subgroups of each column, and how often chance makes one as large.

    p is that of a permutation test: if it did not matter which subgroup one belongs to, groups (patients, lesions)
    could change places, whole; p is how often the largest gap is then at least as large. As the largest of all pairs is
    taken each time, the number of pairs is accounted for, and p_holm accounts for the number of rows. Only subgroups of
    at least 20 groups take part (a group whose images are of several subgroups counts as one in each): of smaller ones
    any gap may come, and `subgroups` shows them.

    Args:
        predictions: as in `subgroups`.
        by: likewise.
        metrics: likewise.
        positive_class: likewise.
        bands: likewise.
        permutations: how many are drawn.
        seed: p is a function of it.

    Returns:
        One row per column and metric: columns column, metric, lowest and highest (names of subgroups), their figures
        low_value and high_value, gap, p, p_holm (Holm 1979, over all rows), subgroups and left_out (how many took part,
        and how many did not). NaN where fewer than two took part, or one of them has no such figure.

    Raises:
        InputError: what `subgroups` refuses, or `permutations` below 1.
    """
    check_scorable(predictions)
    permutations, wanted = check_whole("permutations", permutations, 1), _listed(metrics)
    for metric in wanted:
        if metric in WITHOUT_INTERVAL:
            raise InputError(f"metrics: received {metric!r}, of which a gap says nothing.")
    rows = []
    for column, members in memberships(predictions.samples.metadata, by, bands).items():
        units = unit_names(predictions)
        n_groups = {name: len(set(units[(members == name).to_numpy()])) for name in members.cat.categories}
        large = [name for name, n in n_groups.items() if n >= FEW_GROUPS]
        n_small = len(n_groups) - len(large)
        chosen = np.flatnonzero(members.isin(large).to_numpy())
        part = Predictions(predictions.samples.take(chosen), predictions.probs[chosen])
        codes = members.iloc[chosen].cat.set_categories(large).cat.codes.to_numpy()
        rng = generator(seed, "subgroups", column)
        values = _figures(part, codes[None], len(large), wanted, positive_class)[:, :, 0] if large else None
        gaps = _largest_gaps(part, units[chosen], codes, len(large), wanted, positive_class, permutations, rng)
        for number, metric in enumerate(wanted):
            of_metric = None if values is None else values[number]
            if of_metric is None or len(large) < 2 or np.isnan(of_metric).any():
                rows.append((column, metric, "", "", *[np.nan] * 4, len(large), n_small))
                continue
            low, high = int(of_metric.argmin()), int(of_metric.argmax())
            gap = of_metric[high] - of_metric[low]
            as_large = np.isnan(gaps[number]) | (gaps[number] >= gap - ROUNDING)
            p = (1 + as_large.sum()) / (permutations + 1)
            rows.append(
                (column, metric, large[low], large[high], of_metric[low], of_metric[high], gap, p, len(large), n_small)
            )
    columns = ["column", "metric", "lowest", "highest", "low_value", "high_value", "gap", "p", "subgroups", "left_out"]
    table = holm(pd.DataFrame(rows, columns=columns))
    return table[[*columns[:8], "p_holm", *columns[8:]]]


def memberships(
    metadata: pd.DataFrame | None, by: str | Iterable[str], bands: Mapping[str, Sequence[float]] | None = None
) -> dict[str, pd.Series]:
    """{column: the subgroup of every row}, categories in order, those without rows left out; see `subgroups`.

    Raises:
        InputError: a column that is not there, or bands that are none of numbers that rise.
    """
    columns, known = _listed(by), [] if metadata is None else list(metadata.columns)
    for column in (*columns, *(bands or ())):
        if metadata is None or column not in known:
            raise InputError(
                f"by: received {column!r}; the samples' metadata has {', '.join(map(str, known)) or 'no columns'}. "
                "tl.from_csv and tl.from_dataframe keep the columns that they are not told the use of."
            )
    if metadata is None:
        return {}
    return {column: _named(metadata[column], (bands or {}).get(column), column) for column in columns}


def _listed(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _named(values: pd.Series, bands: Sequence[float] | None, column: str) -> pd.Series:
    """The names of the subgroups of one column."""
    values = values.reset_index(drop=True)
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if bands is not None:
        edges = check_rising(f"bands of {column}", bands)
        if not numeric:
            raise InputError(f"bands: received some of {column!r}, whose values are no numbers.")
    elif numeric and values.nunique() > MOST_VALUES:
        edges = tuple(sorted(set(values.astype(np.float64).quantile(_QUARTERS))))
    else:
        told = values.map(lambda value: f"{value:g}" if numeric else str(value)).astype(object)
        texts = told.where(values.notna() & (told != ""), UNKNOWN)
        return pd.Series(pd.Categorical(texts, categories=sorted(set(texts), key=_order)))
    numbers = values.astype(np.float64)
    told = [f"{edge:g}" for edge in edges]
    if len(set(told)) < len(told):
        told = [repr(float(edge)) for edge in edges]
    names = [f"below {told[0]}", *(f"{a} to below {b}" for a, b in pairwise(told)), f"{told[-1]} and above", UNKNOWN]
    place = np.where(numbers.isna(), len(edges) + 1, np.searchsorted(edges, numbers.fillna(edges[0]), side="right"))
    return pd.Series(pd.Categorical(np.array(names, dtype=object)[place], names)).cat.remove_unused_categories()


def _order(name: str) -> tuple[int, float, str]:
    """Bands and numbers by their beginning, other names by the alphabet, those that are unknown last."""
    if name == UNKNOWN:
        return 2, 0.0, ""
    found = _NUMBER.match(name)
    if name.startswith("below ") and _NUMBER.match(name.removeprefix("below ")):
        return 0, -np.inf, name
    return (0, float(found[0]), name) if found else (1, 0.0, name)


def _figures(
    part: Predictions, codes: np.ndarray, n_subgroups: int, metrics: Sequence[str], positive_class: str | None
) -> np.ndarray:
    """The figures of every subgroup under each row of codes, int (draws, n): float64 (metrics, subgroups, draws)."""
    return np.stack(
        [figures_under(part, codes == number, positive_class, metrics) for number in range(n_subgroups)], axis=1
    )


def _largest_gaps(
    part: Predictions,
    units: np.ndarray,
    codes: np.ndarray,
    n_subgroups: int,
    metrics: Sequence[str],
    positive_class: str | None,
    permutations: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The largest gap where groups have changed places, float64 (metrics, permutations)."""
    if n_subgroups < 2:
        return np.full((len(metrics), permutations), np.nan)
    # A group in several subgroups is one in each, and keeps its images in each together.
    piece, pieces = pd.factorize(pd.MultiIndex.from_arrays([units, codes]))
    of_piece = np.array([code for _, code in pieces])
    found = []
    for at_once in in_chunks(permutations, 2 * len(codes)):
        changed = np.stack([rng.permutation(of_piece) for _ in at_once])
        values = _figures(part, changed[:, piece], n_subgroups, metrics, positive_class)
        found.append(values.max(axis=1) - values.min(axis=1))  # NaN where one is
    return np.concatenate(found, axis=1)
