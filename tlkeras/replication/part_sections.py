"""The sections of a page that tell of one test part: its tables, what they are compared by, how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.evaluation.blocks import Block, Figure, Heading, Table, Text
from tlkeras.evaluation.comparison_tables import paired_figures_table
from tlkeras.evaluation.intervals import FEW_GROUPS
from tlkeras.evaluation.plots import new_figure, new_grid, save_figure
from tlkeras.evaluation.printed_tables import accuracy_table, format_accuracy_table, results_table, two_way_bars
from tlkeras.evaluation.score_tables import (
    calibration_table,
    format_threshold_table,
    metrics_table,
    threshold_table,
    two_way_table,
)
from tlkeras.evaluation.table_plots import draw_accuracy_bars, draw_thresholds, rows_not_run
from tlkeras.evaluation.tables import BASELINE, PROBABILITIES, by_cell, counts_in_words, measured
from tlkeras.files import write_csv
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.scoring import pair_cells
from tlkeras.replication.settings import training_words

if TYPE_CHECKING:
    from tlkeras.replication.finished_run import FinishedRun

_ECE = (
    "ECE is the calibration error over 15 bins of equally many images. Chance alone moves it away from 0, by `ECE by "
    "chance` where the probabilities are right (images taken for independent: more where a patient has several), so it "
    "has no interval. Brier is the sum over the classes (0 to 2)."
)
MACRO_AUC = "ROC AUC is the macro average: each class against the rest, averaged over the classes."
_BASELINE = (
    "`majority class` answers the commonest class of the training images every time; its probabilities are the shares "
    "of the classes among them."
)
_SCALED = (
    "Temperature: the number that the logits are divided by, fitted to the log loss of the validation images (Guo et "
    "al. 2017), of which a few tell little; it changes no decision. `before` is the network as it is, `after` with "
    "that temperature."
)
_THRESHOLD = (
    "Accuracy asks where a method draws the line, ROC AUC only in which order it puts the images. `adjusted`: {how}, "
    "fitted to the validation images. It is the line for their class shares; where the test part has others (see The "
    "data) it may be worse than the one it replaces, which is so for all methods alike."
)
_TWO = "the probability of {positive} above which an image is called so is not 0.5 but the threshold beside"
_SEVERAL = "the classes' prior probabilities are those of the validation images in place of those that training gave"
_PAIRED = (
    "Second minus first, in points of accuracy and in ROC AUC, on the same test images. p by exchanging the two "
    "methods' answers (for ROC AUC their ranks) of whole patients or lesions (9,999 permutations), then corrected by "
    "Holm's method over the rows of this table, each figure by itself; in brackets 95 % intervals, which leave 0 out "
    "where the uncorrected p is at most .05. `comes from`, of differences with a corrected p of at most .05: the "
    "threshold where less than half of the difference in accuracy is left with validation's line, the ranking where "
    "more is left and ROC AUC differs the same way. All of it is said of these trained classifiers, over the seeds "
    "named: what other seeds would have trained is not in it."
)
_FEW = (
    "**Few groups: {which}. Below {few} such intervals hold the true figure less often than in 95 of 100 samples, and "
    "tests find little.**"
)


def accuracy(run: FinishedRun, part: str) -> list[Block]:
    """The table of results: accuracy of every method on every network, and its bars; accuracy.csv."""
    protocol, reported = run.plan.protocol, run.plan.reported
    # What the document reports stays, as "not run", beside the rows that were run.
    rows = {key.backbone for key in run.cells} | {cell[1] for cell, _, _ in reported}
    table = accuracy_table(
        run.scores,
        reported,
        protocol=run.plan.name,
        methods=list(protocol.methods),
        backbones=[backbone for backbone in (PIXELS, *protocol.backbones) if backbone in rows],
        part=part,
    )
    of_baseline = by_cell(run.scores[run.scores["part"] == part], "method", "backbone").get(BASELINE, {})
    shown = format_accuracy_table(table, measured(of_baseline, "accuracy"))
    for method in protocol.methods:
        has_recipe = [(method, backbone) in protocol.cells or backbone == BASELINE[0] for backbone in shown.index]
        shown[method] = shown[method].where(pd.Series(has_recipe, index=shown.index), "–")
    bars, partly = table, "not run"
    if protocol.grid and len(table) == 1:
        bars = two_way_bars(table, protocol.grid)
    elif any((method, backbone) not in protocol.cells for backbone in table.index for method in protocol.methods):
        partly = ""  # a method without a recipe for this network
    return [
        Heading(f"Accuracy on {part} ({counted(run, part)}), per cent"),
        Table(shown),
        results_figure(run, part, "accuracy", table, bars, partly=partly),
    ]


def results_figure(
    run: FinishedRun, part: str, name: str, table: pd.DataFrame, bars: pd.DataFrame, *, partly: str
) -> Figure:
    """Writes a table of results as <name>.csv and draws it as <name>_bars.png.

    Args:
        run: the finished run.
        part: the test part.
        name: of the metric, as the figure calls it, "accuracy" or "F1"; in lower case it is that of the files.
        table: of columns (column, figure).
        bars: what `table_plots.draw_accuracy_bars` draws.
        partly: what stands where a bar lacks; nothing where it is empty.
    """
    flat = table.copy()
    flat.columns = [f"{column} {figure}" for column, figure in table.columns]
    write_csv(flat.reset_index(), run.file(f"{name.lower()}.csv", part))
    figure, ax = new_figure(max(7.0, 1.1 * (len(bars) - len(rows_not_run(bars))) + 3.0), 4.6)
    draw_accuracy_bars(bars, ax, ylabel=f"{name}, %", partly=partly)
    file = save_figure(figure, run.file(f"{name.lower()}_bars.png", part))
    return Figure(file, f"{name} on {part}, as bars with intervals")


def counted(run: FinishedRun, part: str) -> str:
    """ "624 images in 428 groups", each seed's where they differ."""
    scores = run.scores
    images = scores.loc[(scores["part"] == part) & (scores["metric"] == "n"), "value"]
    groups = _groups(scores, part)
    return f"{counts_in_words(images)} images" + (f" in {counts_in_words(groups)} groups" if groups else "")


def few_groups(run: FinishedRun, part: str) -> list[Block]:
    """What of a part rests on fewer than `FEW_GROUPS` groups, in words; nothing where none does."""
    counts = {f"the images of {part} are": _groups(run.scores, part)}
    counts |= {f"those of {name} are": _groups(run.scores, part, f"recall_{name}") for name in run.class_names}
    few = ", ".join(
        f"{words} of {counts_in_words(found)}" for words, found in counts.items() if found and min(found) < FEW_GROUPS
    )
    return [Text(_FEW.format(which=few, few=FEW_GROUPS))] if few else []


def two_way(run: FinishedRun, part: str) -> list[Block]:
    """A table of rows and columns for every network, where the methods are the cells of one."""
    grid, blocks = run.plan.protocol.grid, []
    if not grid:
        return []
    for backbone in dict.fromkeys(key.backbone for key in run.cells):
        table = two_way_table(run.scores, grid, backbone=backbone, part=part)
        blocks += [Heading("Trees on pixels" if backbone == PIXELS else backbone, level=3), Table(table)]
    return blocks


def ranking_and_threshold(run: FinishedRun, part: str) -> list[Block]:
    """Accuracy as it is and with validation's line, and ROC AUC: thresholds.png, and as a table."""
    table = threshold_table(run.scores, part=part)
    if table is None:  # no cell had validation images
        return []
    figure, axes = new_grid(1, 2, side=4.4)
    figure.set_size_inches(9.5, 0.42 * len(table) + 1.5)
    draw_thresholds(table, axes[0])
    file = save_figure(figure, run.file("thresholds.png", part))
    positive, names = run.plan.positive_class, run.class_names
    two = len(names) == 2
    how = _TWO.format(positive=positive if positive in names else names[1]) if two else _SEVERAL
    return [
        Heading("Ranking and threshold", level=3),
        Figure(file, f"accuracy at both thresholds and ROC AUC on {part}"),
        Table(format_threshold_table(table)),
        Text(_THRESHOLD.format(how=how) + ("" if two else f" {MACRO_AUC}")),
    ]


def paired_differences(run: FinishedRun, part: str) -> list[Block]:
    """The paired differences between cells, and paired.csv; nothing where there is nothing to compare."""
    pairs, file = pair_cells(run.predicted, part), run.file("paired.csv", part)
    if pairs is None:
        file.unlink(missing_ok=True)
        return []
    write_csv(pairs, file)
    return [Heading("Paired differences", level=3), Table(paired_figures_table(pairs)), Text(_PAIRED)]


def every_metric(run: FinishedRun, part: str) -> list[Block]:
    """Every metric of decisions."""
    table = metrics_table(run.scores, part=part).droplevel("protocol")
    return [Heading("Every metric", level=3), Table(table), Text(_BASELINE)]


def probabilities(run: FinishedRun, part: str) -> list[Block]:
    """Every metric of probabilities."""
    table = metrics_table(run.scores, part=part, metrics=PROBABILITIES).droplevel("protocol")
    words = _ECE if run.plan.positive_class else f"{_ECE} {MACRO_AUC}"
    return [Heading("Probabilities", level=3), Table(table), Text(words)]


def calibration(run: FinishedRun, part: str) -> list[Block]:
    """Log loss, Brier and ECE before and after temperature scaling."""
    table = calibration_table(run.scores, part=part)
    return [] if table is None else [Heading("Temperature scaling", level=3), Table(table), Text(_SCALED)]


def every_training(
    run: FinishedRun,
    part: str,
    *,
    names: Mapping[tuple[str, str], str] | None = None,
    printed: Mapping[tuple[str, str], Mapping[str, str]] | None = None,
) -> list[Block]:
    """A row for every trained cell: what it was trained with, what it took, how it ended.

    Args:
        run: the finished run.
        part: the test part.
        names: {(method, backbone): what the document calls it}.
        printed: {(method, backbone): {column: text}}, the words of the document's own table, for the columns hidden
            layers, regularization and epochs.
    """
    if not run.trained:
        return []
    # What a cell was made with, not what is declared: a smoke run trains for one epoch.
    recipes = {(key.method, key.backbone): recipe for key, recipe in run.trained.items()}
    table = results_table(of_networks(run.scores), run.plan.reported, names=names or {}, test=part)
    for place, column in enumerate(("hidden layers", "regularization", "epochs")):
        words = [
            training_words(recipes[method, backbone])[column]
            if whose == "ours"
            else (printed or {}).get((method, backbone), {}).get(column, "")
            for _, method, backbone, whose in table.index
        ]
        table.insert(place, column, words)
    table = table if any(table.index.get_level_values("document")) else table.droplevel("document")
    return [Heading("Every training", level=3), Table(table)]


def of_networks(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores without those of methods on pixels and of the baseline."""
    return scores[(scores["backbone"] != PIXELS) & (scores["method"] != BASELINE[0])]


def _groups(scores: pd.DataFrame, part: str, metric: str = "accuracy") -> list[float]:
    of_part = scores[(scores["part"] == part) & (scores["metric"] == metric)]
    return sorted(set(of_part["groups"].dropna()))
