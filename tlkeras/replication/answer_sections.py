"""The sections of a page that tell what a test part's predictions are good for, and whom they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tlkeras.errors import InputError
from tlkeras.evaluation.answer_plots import decisions_figure, draw_subgroups
from tlkeras.evaluation.blocks import Block, Figure, Folded, Heading, Table, Text
from tlkeras.evaluation.calibration import at_adjustment
from tlkeras.evaluation.conformal import coverage_table, prediction_sets
from tlkeras.evaluation.decisions import fit_threshold, risk_coverage
from tlkeras.evaluation.group_pooling import pool_groups
from tlkeras.evaluation.intervals import FEW_GROUPS, intervals
from tlkeras.evaluation.metrics import score
from tlkeras.evaluation.plots import new_grid, save_figure
from tlkeras.evaluation.resampling import unit_names
from tlkeras.evaluation.subgroups import FIGURES, subgroup_gaps, subgroups
from tlkeras.evaluation.tables import METRICS, NOT_DEFINED, format_interval
from tlkeras.files import write_csv
from tlkeras.replication.kept_columns import with_columns
from tlkeras.replication.scoring import seeds_of_cells

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlkeras.replication.finished_run import FinishedRun
    from tlkeras.replication.run_folder import CellKey
    from tlkeras.schema import Predictions

SENSITIVITY = 0.95
COVERAGE = 0.9
ANSWERED = 0.8
MOST_LINES = 6  # in one figure
_THRESHOLD = (
    "`threshold`: the probability of {positive} from which an image is called so, the highest at which {wanted:.0%} of "
    "the validation images of {positive} are found; `sensitivity` and `specificity`: what it comes to here. "
)
_SETS = (
    "`in the set`: how often the true class is in a set of classes that shall hold it for {coverage:.0%} of the "
    "images of every class (split conformal prediction, class by class, Vovk 2013); `least`: of the class where "
    "that is rarest. What is missing comes of images that are not drawn as the validation images are, of few of "
    "these, or of an epoch that they chose. `in one`: classes in a set, mean. "
)
_RISK = "`wrong of the surest`: errors among the {answered:.0%} of the images that the classifier is surest of."
_FIGURE = (
    "Net benefit (Vickers & Elkin 2006): cases found per image, less false alarms at the price that the threshold "
    "puts on them; a classifier is of use where it lies above both grey lines. It presumes that probabilities "
    "mean what they say. "
)
_GROUPS = "One answer for each group"
_POOLED = (
    "Of each group (patient, lesion) the mean probability of its images (`tl.pool_groups`). The tables above count "
    "images, this one groups: who has many images weighs no more than who has one."
)
_SUBGROUPS = (
    "{cell}, seed {seed}: of the cells the one with the best balanced accuracy on validation images. Hollow: "
    "fewer than {few} groups (patients, lesions), of which an interval says little. Accuracy moves with the "
    "classes that a subgroup has; balanced accuracy and ROC AUC do so less, and are not defined where a class is "
    "missing. `gap`: the largest between two subgroups of at least {few} groups; p by letting whole groups change "
    "their subgroup (999 permutations), the largest gap each time, corrected by Holm's method over the rows. A "
    "gap does not say why: images, prevalence and how labels were made may differ, too."
)


def decisions(run: FinishedRun, part: str) -> list[Block]:
    """Thresholds for a wanted sensitivity, prediction sets, errors among the surest images; decisions.png."""
    positive = _positive(run)
    cells = {
        cell: {seed: parts for seed, parts in of_seeds.items() if part in parts}
        for cell, of_seeds in seeds_of_cells(run.predicted).items()
    }
    cells = {cell: of_seeds for cell, of_seeds in cells.items() if of_seeds}
    rows = {cell: _decided(list(of_seeds.values()), part, positive) for cell, of_seeds in cells.items()}
    table = pd.DataFrame(list(rows.values()), index=pd.MultiIndex.from_tuples(rows, names=["method", "backbone"]))
    shown = _best(run, list(cells))
    parts = {", ".join(cell): [each[part] for each in cells[cell].values()] for cell in shown}
    file = save_figure(decisions_figure(parts, positive), run.file("decisions.png", part))
    words = _THRESHOLD.format(positive=positive, wanted=SENSITIVITY) if positive and "threshold" in table else ""
    words += _SETS.format(coverage=COVERAGE) if "in the set, %" in table else ""
    words += _RISK.format(answered=ANSWERED)
    left = len(cells) - len(shown)
    lines = f" Drawn are the {len(shown)} with the best balanced accuracy on validation images." if left else ""
    what = "net benefit over thresholds, and errors" if positive else "errors"
    return [
        Heading("Decisions", level=3),
        Table(table.fillna("")),
        Figure(file, f"{what} over the share of images that is answered, on {part}"),
        Text((_FIGURE if positive else "") + words + lines),
    ]


def of_groups(run: FinishedRun, part: str) -> list[Block]:
    """The figures of one answer for each group; nothing where no group has several images of the part."""
    rows, metrics = {}, ("accuracy", "balanced_accuracy", "roc_auc")
    for cell, of_seeds in seeds_of_cells(run.predicted).items():
        tests = [parts[part] for parts in of_seeds.values() if part in parts]
        if not tests or len(set(unit_names(tests[0]))) == len(tests[0]):
            continue
        try:
            pooled = [pool_groups(test) for test in tests]
        except InputError as error:  # of a group with images of several classes
            return [Heading(_GROUPS, level=3), Text(f"Not answered: {error}")]
        found = intervals(pooled, positive_class=_positive(run), metrics=metrics)
        rows[cell] = {"groups": f"{found['groups'].iloc[0]:,.0f}"}
        for metric, figures in zip(metrics, found.to_dict("records"), strict=True):
            title, factor, form = METRICS[metric]
            name, *unit = title.split(", ")
            rows[cell][", ".join([f"{name} of groups", *unit])] = format_interval(pd.Series(figures), form, factor)
    if not rows:
        return []
    table = pd.DataFrame(list(rows.values()), index=pd.MultiIndex.from_tuples(rows, names=["method", "backbone"]))
    return [Heading(_GROUPS, level=3), Table(table), Text(_POOLED)]


def whom_it_fails(run: FinishedRun, part: str) -> list[Block]:
    """The figures of every subgroup that the experiment names, and the largest gaps: subgroups.png, subgroups.csv."""
    names = run.subgroup_columns
    if run.columns is None or not names:
        return []
    key = best_of(run, part)
    predictions = with_columns(run.predicted[key][part], run.columns[names])
    asked = {"metrics": FIGURES, "positive_class": _positive(run)}
    table = subgroups(predictions, names, **asked)
    write_csv(table, run.file("subgroups.csv", part))
    gaps = subgroup_gaps(predictions, names, **asked)
    n_rows = len(table) // len(FIGURES)
    figure, axes = new_grid(1, len(FIGURES), side=3.4)
    figure.set_size_inches(11.0, 0.26 * n_rows + 1.2)
    whole = score(predictions, asked["positive_class"], FIGURES)
    draw_subgroups(
        table,
        axes[0],
        overall={str(metric): value for metric, value in whole.items()},
    )
    file = save_figure(figure, run.file("subgroups.png", part))
    words = _SUBGROUPS.format(cell=f"{key.method}, {key.backbone}", seed=key.seed, few=FEW_GROUPS)
    return [
        Heading("Whom it fails", level=3),
        Figure(file, f"accuracy, balanced accuracy and ROC AUC of every subgroup of {part}, with intervals"),
        Table(_format_gaps(gaps)),
        Text(words),
        Folded("Every subgroup", (Table(_format_subgroups(table)),)),
    ]


def _positive(run: FinishedRun) -> str | None:
    positive, names = run.plan.positive_class, run.class_names
    return positive if positive in names and len(names) == 2 else None


def _decided(of_seeds: list[Mapping[str, Predictions]], part: str, positive: str | None) -> dict[str, str]:
    """One row of the table, of a cell's seeds."""
    tests, row = [parts[part] for parts in of_seeds], {}
    if all("val" in parts for parts in of_seeds):
        vals = [parts["val"] for parts in of_seeds]
        if positive and all(np.unique(val.samples.known_labels).size == 2 for val in vals):
            chosen = [fit_threshold(val, positive, sensitivity=SENSITIVITY) for val in vals]
            label = tests[0].samples.class_names.index(positive)
            row["threshold"] = f"{np.mean([each.threshold(label) for each in chosen]):.3f}"
            decided = [at_adjustment(test, each) for test, each in zip(tests, chosen, strict=True)]
            found = intervals(decided, positive_class=positive, metrics=["sensitivity", "specificity"])
            row |= {f"{metric}, %": format_interval(found.loc[metric], ".1f", 100) for metric in found.index}
        sets = [prediction_sets(val, test, coverage=COVERAGE) for val, test in zip(vals, tests, strict=True)]
        table = coverage_table(sets)
        of_classes = table.iloc[:-1]["coverage"].dropna()
        everything = table.iloc[-1].rename({"coverage": "value"})
        row["in the set, %"] = format_interval(everything, ".1f", 100)
        if len(of_classes):
            row["least, %"] = f"{100 * of_classes.min():.1f} ({of_classes.idxmin()})"
        row["in one"] = f"{everything['size']:.2f}"
    risk = risk_coverage(tests, coverages=[ANSWERED]).iloc[0].rename({"risk": "value"})
    row["wrong of the surest, %"] = format_interval(risk, ".1f", 100)
    return row


def best_of(run: FinishedRun, part: str) -> CellKey:
    """Of the cells that predicted a part the one with the best balanced accuracy on validation, its first seed."""
    keys = [key for key in run.predicted if part in run.predicted[key]]
    (cell,) = _best(run, list(dict.fromkeys((key.method, key.backbone) for key in keys)), 1)
    return next(key for key in keys if (key.method, key.backbone) == cell)


def _best(run: FinishedRun, cells: list[tuple[str, str]], most: int = MOST_LINES) -> list[tuple[str, str]]:
    """Up to so many of the cells, as they stand on the page: those with the best balanced accuracy on validation."""
    if len(cells) <= most:
        return cells
    on_val = run.scores[(run.scores["part"] == "val") & (run.scores["metric"] == "balanced_accuracy")]
    mean = on_val.groupby(["method", "backbone"])["value"].mean()
    known = {cell: mean.get(cell, np.nan) for cell in cells}
    ranked = sorted(cells, key=lambda cell: np.inf if np.isnan(known[cell]) else -known[cell])
    return [cell for cell in cells if cell in ranked[:most]]


def _format_gaps(gaps: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for row in gaps.to_dict("records"):
        title, factor, form = METRICS[row["metric"]]
        known = not np.isnan(row["gap"])
        low, high, gap = (f"{factor * row[name]:{form}}" for name in ("low_value", "high_value", "gap"))
        rows.append(
            {
                "column": row["column"],
                "figure": title,
                "lowest": f"{row['lowest']}: {low}" if known else NOT_DEFINED,
                "highest": f"{row['highest']}: {high}" if known else NOT_DEFINED,
                "gap": gap if known else "",
                "p, Holm": f"{row['p_holm']:.3f}" if known else "",
                "left out": str(row["left_out"]),
            }
        )
    return pd.DataFrame(rows).set_index("column")


def _format_subgroups(table: pd.DataFrame) -> pd.DataFrame:
    keys = ["column", "subgroup", "images", "groups"]
    rows = {}
    for row in table.to_dict("records"):
        title, factor, form = METRICS[row["metric"]]
        rows.setdefault(tuple(row[key] for key in keys), {})[title] = format_interval(pd.Series(row), form, factor)
    return pd.DataFrame(list(rows.values()), index=pd.MultiIndex.from_tuples(rows, names=keys))
