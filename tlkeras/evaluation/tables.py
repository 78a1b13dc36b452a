"""The tables a reader sees, made from tidy scores: one row per protocol, method, backbone, part, seed and metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tlkeras.schema import InputError

KEYS = ("protocol", "method", "backbone", "part", "seed", "metric")
FIGURES = ("ours", "sd", "low", "high", "published")
NOT_RUN = "not run"
NOT_DEFINED = "not defined"
# What stands in a column: its title, the factor on the score, the format.
METRICS = {
    "accuracy": ("accuracy, %", 100, ".1f"),
    "balanced_accuracy": ("balanced accuracy, %", 100, ".1f"),
    "macro_f1": ("macro F1", 1, ".3f"),
    "roc_auc": ("ROC AUC", 1, ".3f"),
    "log_loss": ("log loss", 1, ".3f"),
    "loss": ("loss", 1, ".3f"),
    "trainable_parameters": ("trainable parameters, phase 1", 1, ",.0f"),
    "parameters": ("parameters", 1, ",.0f"),
    "epochs": ("epochs until the stop", 1, ".0f"),
    "epochs_allowed": ("at most", 1, ".0f"),
    "kept_epoch": ("epoch kept", 1, ".0f"),
    "seconds": ("run time, s", 1, ".0f"),
    "peak_mb": ("peak memory, MB", 1, ".0f"),
}

COUNTED = ("parameters", "trainable_parameters", "epochs_allowed")  # not measured: without spread


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
    check_scores(scores)
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
        columns[method] = [
            NOT_RUN if np.isnan(row["ours"]) else format_figures(row, ".1f") for _, row in figures.iterrows()
        ]
        if figures["published"].notna().any():
            columns[f"{method} published"] = [
                as_printed(None if np.isnan(value) else value, "accuracy") for value in figures["published"]
            ]
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
    check_scores(scores)
    chosen = scores[(scores["backbone"] == backbone) & (scores["part"] == part) & (scores["metric"] == "accuracy")]
    percent = 100 * chosen.set_index("method")["value"]
    rows, columns = (list(dict.fromkeys(place[axis] for place in grid.values())) for axis in (0, 1))
    table = pd.DataFrame(NOT_RUN, index=pd.Index(rows, name=f"accuracy on {part}, %"), columns=columns)
    for method, place in grid.items():
        values = percent[percent.index == method]
        if len(values):
            table.loc[place] = mean_and_spread(values, ".1f")
    return table


def grid_bars_table(table: pd.DataFrame, grid: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """The one row of `accuracy_table` as the two-way table of `grid`: a row per row label, a method per column label,
    as `plots.draw_accuracy_bars` draws it."""
    rows, columns = (list(dict.fromkeys(place[axis] for place in grid.values())) for axis in (0, 1))
    two_way = pd.DataFrame(
        np.nan, index=rows, columns=pd.MultiIndex.from_product([columns, FIGURES], names=["method", "figure"])
    )
    for method, (row, column) in grid.items():
        two_way.loc[row, column] = table[method].to_numpy()[0]
    return two_way


def metrics_table(
    scores: pd.DataFrame,
    *,
    part: str = "test",
    metrics: Sequence[str] = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss"),
) -> pd.DataFrame:
    """Several metrics of each cell for the eye: "70.9 ± 1.2 [68.7, 73.0]", means over seeds, in the order of `scores`.

    Args:
        scores: tidy, of one or more protocols; see `accuracy_table`.
        part: the part whose scores are shown.
        metrics: names in `METRICS`; accuracy has its interval behind it.

    Returns:
        str, index (protocol, method, backbone), columns seeds and the titles of the metrics. A metric that the samples
        leave undefined says so.
    """
    check_scores(scores)
    chosen = scores[scores["part"] == part].astype({"value": float})
    rows, index = [], []
    for cell, of_cell in chosen.groupby(["protocol", "method", "backbone"], sort=False):
        by_metric = of_cell.groupby("metric")["value"]
        row = {"seeds": str(of_cell["seed"].nunique())}
        for metric in metrics:
            title, factor, form = METRICS[metric]
            values = factor * by_metric.get_group(metric)
            # One seed without a value leaves the mean undefined: a mean over fewer seeds is another figure.
            row[title] = NOT_DEFINED if values.isna().any() else mean_and_spread(values, form)
            if metric == "accuracy":
                low, high = (factor * by_metric.get_group(f"accuracy_{end}").mean() for end in ("low", "high"))
                row[title] += "" if np.isnan(low) else f" [{low:{form}}, {high:{form}}]"
        rows.append(row)
        index.append(cell)
    return pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(index, names=["protocol", "method", "backbone"]))


def difference_table(
    scores: pd.DataFrame, protocols: tuple[str, str], differences: Mapping[tuple[str, str], str], *, part: str = "test"
) -> pd.DataFrame:
    """What the second protocol changes against the first, one line per cell run under both, for the eye.

    Args:
        scores: tidy, of both protocols; see `accuracy_table`.
        protocols: the two names.
        differences: {(method, backbone): what differs between the two, in words}; only these cells are shown.
        part: the part whose scores are shown.

    Returns:
        str, index (method, backbone): seeds and accuracy of both, with its interval, the differences (second minus
        first; means over seeds, points are per cent) and what differs. Where the splits differ
        the test images are others, and the difference has the uncertainty of both.
    """
    check_scores(scores)
    chosen = scores[scores["part"] == part].astype({"value": float})
    by_figure = chosen.groupby(["method", "backbone", "protocol", "metric"])["value"]
    # A seed without a value leaves the mean undefined: a mean over fewer seeds is another figure.
    mean = by_figure.agg(lambda values: values.mean(skipna=False)).to_dict()
    seeds = chosen.groupby(["method", "backbone", "protocol"])["seed"].nunique().to_dict()
    steps = {
        "accuracy": ("accuracy, points", 100, "+.1f"),
        "balanced_accuracy": ("balanced accuracy, points", 100, "+.1f"),
        "macro_f1": ("macro F1", 1, "+.3f"),
        "roc_auc": ("ROC AUC", 1, "+.3f"),
    }

    def accuracy(cell: tuple[str, str], protocol: str) -> str:
        value, low, high = (100 * mean[*cell, protocol, f"accuracy{end}"] for end in ("", "_low", "_high"))
        return f"{value:.1f}" + ("" if np.isnan(low) else f" [{low:.1f}, {high:.1f}]")

    rows = []
    for cell, words in differences.items():
        row = {"seeds": " / ".join(str(seeds[*cell, protocol]) for protocol in protocols)}
        row |= {f"accuracy, %, {protocol}": accuracy(cell, protocol) for protocol in protocols}
        for metric, (title, factor, form) in steps.items():
            step = factor * (mean[*cell, protocols[1], metric] - mean[*cell, protocols[0], metric])
            row[f"{title}, {protocols[1]} minus {protocols[0]}"] = NOT_DEFINED if np.isnan(step) else f"{step:{form}}"
        rows.append(row | {"what differs": words})
    return pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(differences, names=["method", "backbone"]))


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


def test_parts(scores: pd.DataFrame) -> list[str]:
    """The names of the test parts that tidy scores hold."""
    return sorted(set(scores["part"]) - {"train", "val", "model"})


def check_scores(scores: pd.DataFrame) -> None:
    """Refuses scores that lack a column, or hold a score twice."""
    missing = [column for column in (*KEYS, "value") if column not in scores.columns]
    if missing:
        raise InputError(f"scores: the columns {missing} are missing; received {list(scores.columns)}.")
    twice = scores[scores.duplicated(list(KEYS))]
    if len(twice):
        first = dict(twice.iloc[0][list(KEYS)])
        raise InputError(f"scores: {len(twice)} rows are there twice, the first {first}; keep one of each.")


def mean_and_spread(values: pd.Series, form: str) -> str:
    """The mean over seeds, and their standard deviation where there are several, each in the format `form`."""
    return f"{values.mean():{form}}" + (f" ± {values.std():{form}}" if len(values) > 1 else "")


def as_printed(value: float | None, metric: str) -> str:
    """The digits of a published figure, none added, none rounded away."""
    if value is None:
        return ""
    if metric in COUNTED:
        return f"{value:,}"
    return max(f"{value:g}", f"{value:{METRICS[metric][2]}}", key=len)


def format_figures(figures: pd.Series, form: str) -> str:
    """Ours of the FIGURES, each in the format `form`: "91.3 ± 0.4 [88.9, 93.4]", without what is NaN."""
    text = f"{figures['ours']:{form}}"
    if not np.isnan(figures["sd"]):
        text += f" ± {figures['sd']:{form}}"
    if not np.isnan(figures["low"]):
        text += f" [{figures['low']:{form}}, {figures['high']:{form}}]"
    return text


def _format_cell(value: object) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
