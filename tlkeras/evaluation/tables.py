"""The tables a reader sees, made from tidy scores: one row per protocol, method, backbone, part, seed and metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tlkeras.schema import InputError

KEYS = ("protocol", "method", "backbone", "part", "seed", "metric")
FIGURES = ("ours", "sd", "low", "high", "published")
NOT_RUN = "not run"


def accuracy_table(
    scores: pd.DataFrame,
    reported: Mapping[tuple[tuple[str, str], str, str], float],
    *,
    protocol: str,
    methods: Sequence[str],
    backbones: Sequence[str],
    part: str = "test",
) -> pd.DataFrame:
    """Our accuracy beside the published one, in %, one row per backbone.

    Args:
        scores: tidy, with the columns protocol, method, backbone, part, seed, metric, value; the metrics "accuracy"
            and, where an interval was made, "accuracy_low" and "accuracy_high", all 0..1.
        reported: {((method, backbone), part, "accuracy"): published value in %}.
        protocol: the one whose scores are shown.
        methods: the columns, in this order, whether they were run or not.
        backbones: the rows, likewise.
        part: the part whose scores are shown.

    Returns:
        float64, index "backbone", columns (method, figure) with the figures ours (mean over seeds), sd (over seeds,
        n - 1; NaN with one seed), low, high (means over seeds) and published. What was not run or not published is NaN.

    Raises:
        InputError: a column is missing, or a score is there twice.
    """
    _check_scores(scores)
    chosen = scores[(scores["protocol"] == protocol) & (scores["part"] == part)]
    over_seeds = chosen.astype({"value": float}).groupby(["method", "backbone", "metric"])["value"]
    mean, spread = over_seeds.mean().mul(100).to_dict(), over_seeds.std().mul(100).to_dict()

    def figures(method: str, backbone: str) -> list[float]:
        return [
            mean.get((method, backbone, "accuracy"), np.nan),
            spread.get((method, backbone, "accuracy"), np.nan),
            mean.get((method, backbone, "accuracy_low"), np.nan),
            mean.get((method, backbone, "accuracy_high"), np.nan),
            reported.get(((method, backbone), part, "accuracy"), np.nan),
        ]

    return pd.DataFrame(
        [[value for method in methods for value in figures(method, backbone)] for backbone in backbones],
        index=pd.Index(backbones, name="backbone"),
        columns=pd.MultiIndex.from_product([methods, FIGURES], names=["method", "figure"]),
        dtype=np.float64,
    )


def format_accuracy_table(table: pd.DataFrame) -> pd.DataFrame:
    """`accuracy_table` for the eye: "91.3 ± 0.4 [88.9, 93.4]" in one column per method, then what was published.

    A cell without a run says so; a published column is there only where a value was published.
    """
    columns = {}
    for method in table.columns.unique("method"):
        figures = table[method]
        columns[method] = [_format_ours(row) for _, row in figures.iterrows()]
        if figures["published"].notna().any():
            # The digits that were printed, none added, none rounded away.
            columns[f"{method} published"] = ["" if np.isnan(value) else f"{value:g}" for value in figures["published"]]
    return pd.DataFrame(columns, index=table.index)


def grid_table(
    scores: pd.DataFrame, grid: Mapping[str, tuple[str, str]], *, backbone: str, part: str = "test"
) -> pd.DataFrame:
    """Accuracy in % of methods that are the cells of a two-way table: "91.3 ± 0.4", one backbone, means over seeds.

    Args:
        scores: tidy, of one protocol; see `accuracy_table`.
        grid: {method: (row, column)}.
        backbone: the one shown.
        part: the part whose scores are shown.
    """
    _check_scores(scores)
    chosen = scores[(scores["backbone"] == backbone) & (scores["part"] == part) & (scores["metric"] == "accuracy")]
    percent = 100 * chosen.set_index("method")["value"]
    rows, columns = (list(dict.fromkeys(place[axis] for place in grid.values())) for axis in (0, 1))
    table = pd.DataFrame(NOT_RUN, index=pd.Index(rows, name=f"accuracy on {part}, %"), columns=columns)
    for method, place in grid.items():
        values = percent[percent.index == method]
        if len(values):
            table.loc[place] = f"{values.mean():.1f}" + (f" ± {values.std():.1f}" if len(values) > 1 else "")
    return table


def to_markdown(frame: pd.DataFrame) -> str:
    """A GitHub pipe table with its columns aligned: numbers right, floats with three decimals, NaN empty.

    The index comes first under its name; levels of column names are joined by a space.
    """
    index = frame.index.to_frame(index=False)
    index.columns = [name or "" for name in frame.index.names]
    body = frame.reset_index(drop=True)
    columns = [part.iloc[:, i] for part in (index, body) for i in range(part.shape[1])]
    lines = []
    for column in columns:
        numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        name = " ".join(map(str, column.name)) if isinstance(column.name, tuple) else str(column.name)
        cells = [_escape(name), *(_escape(_format_cell(value)) for value in column)]
        width = max(3, *map(len, cells))
        rule = "-" * (width - 1) + ":" if numeric else "-" * width
        cells = [cell.rjust(width) if numeric else cell.ljust(width) for cell in cells]
        lines.append([cells[0], rule, *cells[1:]])
    return "".join(f"| {' | '.join(row)} |\n" for row in zip(*lines, strict=True))


def _check_scores(scores: pd.DataFrame) -> None:
    missing = [column for column in (*KEYS, "value") if column not in scores.columns]
    if missing:
        raise InputError(f"scores: the columns {missing} are missing; received {list(scores.columns)}.")
    twice = scores[scores.duplicated(list(KEYS))]
    if len(twice):
        first = dict(twice.iloc[0][list(KEYS)])
        raise InputError(f"scores: {len(twice)} rows are there twice, the first {first}; keep one of each.")


def _format_ours(figures: pd.Series) -> str:
    if np.isnan(figures["ours"]):
        return NOT_RUN
    text = f"{figures['ours']:.1f}"
    if not np.isnan(figures["sd"]):
        text += f" ± {figures['sd']:.1f}"
    if not np.isnan(figures["low"]):
        text += f" [{figures['low']:.1f}, {figures['high']:.1f}]"
    return text


def _format_cell(value: object) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
