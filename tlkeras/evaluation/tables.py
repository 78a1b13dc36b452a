"""The tables a reader sees, made from tidy scores: one row per protocol, method, backbone, part, seed and metric, with
the metric's value and, where an interval was made, its ends low and high and the groups it is over. Where a cell has
several seeds, each row has their number, seeds, and the ends seeds_low and seeds_high of the interval of their mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from tlkeras.errors import InputError
from tlkeras.schema import NOT_TESTS
from tlkeras.user_text import in_markdown_cell

KEYS = ("protocol", "method", "backbone", "part", "seed", "metric")
MEASURED = ("value", "low", "high", "groups", "seeds", "seeds_low", "seeds_high")
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
# The cell that stands for no method at all: for every image the shares that the classes have among the training images.
BASELINE = ("majority class", "none")
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
        scores: tidy, with the columns protocol, method, backbone, part, seed, metric, value and, where intervals were
            made, low and high; accuracy in 0..1.
        reported: {((method, backbone), part, "accuracy"): published value in %}.
        protocol: the one whose scores are shown.
        methods: the columns, in this order, whether they were run or not.
        backbones: the rows, likewise.
        part: the part whose scores are shown.

    Returns:
        float64, index "backbone", columns (method, figure) with the figures ours (mean over seeds), sd (over seeds,
        n - 1; NaN with one seed), low, high (of the mean) and published. What was not run or not published is NaN.

    Raises:
        InputError: a column is missing, or a score is there twice.
    """
    check_scores(scores)
    of_cells = by_cell(scores[(scores["protocol"] == protocol) & (scores["part"] == part)], "method", "backbone")

    def figures(method: str, backbone: str) -> list[float]:
        published = reported.get(((method, backbone), part, "accuracy"), np.nan)
        return [*over_seeds(of_cells.get((method, backbone), {}).get("accuracy"), factor=100), published]

    return pd.DataFrame(
        [[value for method in methods for value in figures(method, backbone)] for backbone in backbones],
        index=pd.Index(backbones, name="backbone"),
        columns=pd.MultiIndex.from_product([methods, FIGURES], names=["method", "figure"]),
        dtype=np.float64,
    )


def format_accuracy_table(table: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """`accuracy_table` for the eye: "91.3 ± 0.4 [88.9, 93.4]" in one column per method, then what was published, and
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


def metrics_table(scores: pd.DataFrame, *, part: str = "test", metrics: Sequence[str] = DECISIONS) -> pd.DataFrame:
    """Several metrics of each cell for the eye, each as `measured` writes it, in the order of `scores`; without those
    that no cell has.

    Args:
        scores: tidy, of one or more protocols; see `accuracy_table`.
        part: the part whose scores are shown.
        metrics: names in `METRICS`.

    Returns:
        str, index (protocol, method, backbone), columns seeds and the titles of the metrics.
    """
    check_scores(scores)
    chosen = scores[scores["part"] == part]
    of_cells = by_cell(chosen, "protocol", "method", "backbone")
    seeds = chosen.groupby(["protocol", "method", "backbone"])["seed"].nunique()
    had = [metric for metric in metrics if any(metric in figures for figures in of_cells.values())]
    rows = [
        {"seeds": str(seeds[cell])}
        | {METRICS[metric][0]: measured(figures, metric) if metric in figures else "" for metric in had}
        for cell, figures in of_cells.items()
    ]
    return pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(of_cells, names=["protocol", "method", "backbone"]))


def by_cell(scores: pd.DataFrame, *keys: str) -> dict[tuple, dict[str, pd.DataFrame]]:
    """{cell: {metric: its rows, one for each seed, with the columns `MEASURED`}}, in the order of `scores`.

    Args:
        scores: tidy; see `accuracy_table`. Of the measured columns but value, those that are missing are NaN.
        keys: the columns that tell one cell from another.
    """
    numbers = scores.reindex(columns=[*scores.columns.union(list(MEASURED), sort=False)])
    numbers = numbers.astype(dict.fromkeys(MEASURED, float))
    return {
        cell: dict(iter(of_cell.groupby("metric", sort=False)))
        for cell, of_cell in numbers.groupby(list(keys), sort=False)
    }


def over_seeds(rows: pd.DataFrame | None, factor: float = 1) -> tuple[float, float, float, float]:
    """(mean, standard deviation n - 1, low, high) over the seeds of one metric; the ends are those of the mean.

    NaN where there is nothing, or where one seed leaves it undefined: a mean over fewer seeds is another figure. The
    ends are NaN, too, where the rows are not of all the seeds that the interval was made over.
    """
    if rows is None:
        return (np.nan,) * 4
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
    chosen = scores[scores["part"] == part]
    of_cells = by_cell(chosen, "method", "backbone", "protocol")
    seeds = chosen.groupby(["method", "backbone", "protocol"])["seed"].nunique().to_dict()
    steps = {
        "accuracy": ("accuracy, points", 100, "+.1f"),
        "balanced_accuracy": ("balanced accuracy, points", 100, "+.1f"),
        "macro_f1": ("macro F1", 1, "+.3f"),
        "roc_auc": ("ROC AUC", 1, "+.3f"),
    }

    rows = []
    for cell, words in differences.items():
        before, after = (of_cells[*cell, protocol] for protocol in protocols)
        row = {"seeds": " / ".join(str(seeds[*cell, protocol]) for protocol in protocols)}
        row |= {f"accuracy, %, {p}": measured(of_cells[*cell, p], "accuracy") for p in protocols}
        for metric, (title, factor, form) in steps.items():
            step = factor * (over_seeds(after.get(metric))[0] - over_seeds(before.get(metric))[0])
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
        cells = [in_markdown_cell(name), *(in_markdown_cell(format_cell(value)) for value in column)]
        width = max(3, *map(len, cells))
        rule = "-" * (width - 1) + ":" if numeric else "-" * width
        cells = [cell.rjust(width) if numeric else cell.ljust(width) for cell in cells]
        lines.append([cells[0], rule, *cells[1:]])
    return "".join(f"| {' | '.join(row)} |\n" for row in zip(*lines, strict=True))


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
    """The digits of a published figure, none added, none rounded away."""
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


def format_cell(value: object) -> str:
    """A value as tables show it: floats with three decimals, NaN and None empty, anything else as it is."""
    if pd.isna(value):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
