"""The page of one protocol's results: everything a reader has to know, as blocks. table.md and report.html show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.evaluation.blocks import Block, Figure, Heading, Table, Text
from tlkeras.evaluation.intervals import FEW_GROUPS
from tlkeras.evaluation.printed_figures import format_printed_figures_table, parts_table, printed_figures_table
from tlkeras.evaluation.printed_tables import format_accuracy_table, format_f1_table, results_table
from tlkeras.evaluation.score_tables import class_reports_table, epochs_table, metrics_table, two_way_table
from tlkeras.evaluation.tables import (
    BASELINE,
    PROBABILITIES,
    by_cell,
    counts_in_words,
    measured,
    test_parts,
)
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.provenance import data_blocks, provenance_blocks, seeded
from tlkeras.replication.search_report import ranking_blocks
from tlkeras.replication.settings import training_of, training_words

if TYPE_CHECKING:
    from pathlib import Path

    from tlkeras.data.leakage_findings import Audit
    from tlkeras.replication.experiment import Experiment
    from tlkeras.replication.run_folder import CellKey

_PROTOCOLS = {
    "paper": "Protocol paper: as the document has it, what we take for faults included.",
    "corrected": "Protocol corrected: the document's question, with what we take for its faults mended.",
    "stand_in": "Protocol stand_in: the document's method on other data than its own.",
}
SMOKE = "**A smoke run: a handful of images, one epoch, random weights. It says that the code runs, no more.**"
_ECE = (
    "ECE is the calibration error over 15 bins of equally many images. Chance alone moves it away from 0, by `ECE by "
    "chance` where the probabilities are right (images taken for independent: more where a patient has several), so it "
    "has no interval. Brier is the sum over the classes (0 to 2)."
)
MACRO_AUC = "ROC AUC is the macro average: each class against the rest, averaged over the classes."
_TRAINING = (
    "Training accuracy and loss are those of the training log in the epoch that was kept: with dropout, and with class "
    "weights, oversampling or augmentation where they are used. Validation and test are as they are. Peak memory is "
    "the process's."
)
_PREDICTED = (
    "Training accuracy is that of the finished network's predictions for the training images, training loss that of "
    "the training log in the epoch that was kept. Peak memory is the process's."
)
_INTERVALS = (
    "In brackets: 95 % interval over groups (patients or lesions; an image without one counts by itself), as many as "
    "the headings say: Student's t on the logit, from leaving out each group. Where there are several seeds the value "
    "is their mean, ± their standard deviation, and the interval holds both what other groups and what other seeds "
    "would have given; two or three seeds tell little of others, and it is wide. No bracket stands where no group "
    "changes the figure, as where there was no error, or where one group alone holds a class. `not run` and `not "
    "defined` say so; nothing is filled in."
)
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


@dataclass(frozen=True, eq=False)
class Results:
    """What has been made of a protocol's finished cells, for the page to show.

    Attributes:
        cells: {key: what cell.json holds} of the finished cells.
        scores: tidy, all parts; see `evaluation.tables`.
        tables: {test part: f1_table where `experiment.shows_f1`, else accuracy_table}.
        bars: {test part: the PNG of its bar plot}.
        paired: {test part: the paired differences between cells, for the eye}; parts with a single cell have none.
        lines: {test part: the PNG of accuracy at both thresholds beside ROC AUC}.
        thresholds: {test part: accuracy as it is and adjusted on validation, and ROC AUC, for the eye}.
        calibration: {test part: log loss, Brier and ECE before and after temperature scaling, for the eye}.
        rankings: {key: ranking_table} of the cells that searched a grid.
        audits: {seed: Audit} of the splits.
    """

    cells: Mapping[CellKey, dict]
    scores: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    bars: Mapping[str, Path] = field(default_factory=dict)
    paired: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    lines: Mapping[str, Path] = field(default_factory=dict)
    thresholds: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    calibration: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    rankings: Mapping[CellKey, pd.DataFrame] = field(default_factory=dict)
    audits: Mapping[int, Audit] = field(default_factory=dict)


def build_page(experiment: Experiment, protocol: str, results: Results, details: Sequence[Block] = ()) -> list[Block]:
    """The page of one protocol of an experiment; `details` stand between its results and where they come from."""
    cells, scores = results.cells, results.scores
    declared = experiment.protocols[protocol]
    settings = next(iter(cells.values()))["settings"]
    networks = {key: cell for key, cell in cells.items() if training_of(cell) is not None}
    blocks: list[Block] = [
        Heading(f"{experiment.name}: protocol {protocol}", level=1),
    ]
    if experiment.paper is not None:
        blocks.append(Text(f"{experiment.paper.authors}, {experiment.paper.title}"))
    blocks += [Text(_PROTOCOLS[protocol])] if protocol in _PROTOCOLS else []
    blocks += [Text(SMOKE)] if settings["smoke"] else []
    blocks += [Heading("The question"), Text(experiment.question)] if experiment.question else []
    blocks += data_blocks(experiment, protocol, cells, results.audits)
    for part in results.tables:
        blocks += _part_blocks(experiment, protocol, results, part)
    blocks += _reported_blocks(experiment, protocol, scores)
    # Where another data set stands in, the document's figures are of other images.
    blocks += ranking_blocks({} if declared.dataset else experiment.published_grid, cells, results.rankings)
    if any(phase.patience for cell in networks.values() for phase in training_of(cell).phases):
        blocks += [Heading("Epochs until early stop", level=3), Table(epochs_table(_of_networks(scores)))]
    blocks += [Text(_PREDICTED if experiment.scores_training else _TRAINING)] if networks else []
    seeds = ", ".join(map(str, sorted({key.seed for key in cells})))
    return [
        *blocks,
        Text(f"{_INTERVALS} Seeds: {seeds}; {seeded(settings['split'])}."),
        *details,
        *provenance_blocks(experiment, protocol, cells),
    ]


def _part_blocks(experiment: Experiment, protocol: str, results: Results, part: str) -> list[Block]:
    """Everything about one test part."""
    declared, scores, cells = experiment.protocols[protocol], results.scores, results.cells
    table = results.tables[part]
    blocks = _f1_blocks if experiment.shows_f1(protocol) else _accuracy_blocks
    blocks = blocks(experiment, protocol, part, table, scores)
    if part in results.bars:
        blocks += [Figure(results.bars[part], f"{_bars_words(table)} on {part}, as bars with intervals")]
    few = _few_groups(part, scores, list(next(iter(cells.values()))["facts"]["images"]["train"]))
    if few:
        blocks += [Text(_FEW.format(which=few, few=FEW_GROUPS))]
    for backbone in dict.fromkeys(key.backbone for key in cells) if declared.grid else ():
        blocks += [
            Heading("Trees on pixels" if backbone == PIXELS else backbone, level=3),
            Table(two_way_table(scores, declared.grid, backbone=backbone, part=part)),
        ]
    if part in results.thresholds:
        positive = experiment.positive_class_of(protocol)
        names = list(next(iter(cells.values()))["facts"]["images"]["train"])
        how = _TWO.format(positive=positive if positive in names else names[1]) if len(names) == 2 else _SEVERAL
        blocks += [
            Heading("Ranking and threshold", level=3),
            *(Figure(file, f"accuracy at both thresholds and ROC AUC on {part}") for file in _of(results.lines, part)),
            Table(results.thresholds[part]),
            Text(_THRESHOLD.format(how=how) + ("" if len(names) == 2 else f" {MACRO_AUC}")),
        ]
    if part in results.paired:
        blocks += [Heading("Paired differences", level=3), Table(results.paired[part]), Text(_PAIRED)]
    blocks += [
        Heading("Every metric", level=3),
        Table(metrics_table(scores, part=part).droplevel("protocol")),
        Text(_BASELINE),
        Heading("Probabilities", level=3),
        Table(metrics_table(scores, part=part, metrics=PROBABILITIES).droplevel("protocol")),
    ]
    blocks += [Text(_ECE if experiment.positive_class_of(protocol) else f"{_ECE} {MACRO_AUC}")]
    if part in results.calibration:
        blocks += [Heading("Temperature scaling", level=3), Table(results.calibration[part]), Text(_SCALED)]
    networks = {key: cell for key, cell in cells.items() if training_of(cell) is not None}
    if networks:
        trainings = _results(experiment, experiment.reported_for(protocol), networks, _of_networks(scores), part)
        if not any(trainings.index.get_level_values("document")):
            trainings = trainings.droplevel("document")
        blocks += [Heading("Every training", level=3), Table(trainings)]
    return blocks


def _of_networks(scores: pd.DataFrame) -> pd.DataFrame:
    return scores[(scores["backbone"] != PIXELS) & (scores["method"] != BASELINE[0])]


def _f1_blocks(
    experiment: Experiment, protocol: str, part: str, table: pd.DataFrame, scores: pd.DataFrame
) -> list[Block]:
    return [
        Heading(f"F1 on {part} ({_counts(part, scores)})"),
        Table(format_f1_table(table)),
        Text(
            f"The document's network is {' and '.join(experiment.default_backbones)}; `A for B` is network A standing "
            "in for B. The micro average of F1 is the accuracy. A class that was never predicted has an F1 of 0."
        ),
    ]


def _accuracy_blocks(
    experiment: Experiment, protocol: str, part: str, table: pd.DataFrame, scores: pd.DataFrame
) -> list[Block]:
    of_baseline = by_cell(scores[scores["part"] == part], "method", "backbone").get(BASELINE, {})
    declared, shown = experiment.protocols[protocol], format_accuracy_table(table, measured(of_baseline, "accuracy"))
    for method in declared.methods:
        has_recipe = [(method, backbone) in declared.cells or backbone == BASELINE[0] for backbone in shown.index]
        shown[method] = shown[method].where(has_recipe, "–")
    return [Heading(f"Accuracy on {part} ({_counts(part, scores)}), per cent"), Table(shown)]


def _bars_words(table: pd.DataFrame) -> str:
    return "F1" if table.index.name == "F1" else "accuracy"


def _reported_blocks(experiment: Experiment, protocol: str, scores: pd.DataFrame) -> list[Block]:
    """Figures beyond accuracy: per part, where the document's tables are so, and each one that it prints."""
    blocks: list[Block] = []
    reported = experiment.reported_for(protocol)
    if experiment.class_reports:
        for part in test_parts(scores):
            blocks += [Heading(f"Every class, on {part}"), Table(class_reports_table(scores, part=part))]
    positive = experiment.positive_class_of(protocol)
    if experiment.part_titles and f"f1_{positive}" in set(scores["metric"]):
        cells = dict.fromkeys(zip(scores["method"], scores["backbone"], strict=True))
        for method, backbone in cells:
            table = parts_table(
                scores,
                method=method,
                backbone=backbone,
                parts=experiment.part_titles,
                positive_class=positive,
                printed=reported,
            )
            blocks += [Heading(f"{method}, {backbone}, on every part"), Table(table)]
    elif any(metric != "accuracy" for _, _, metric in reported) and not experiment.shows_f1(protocol):
        table = printed_figures_table(scores, reported)
        blocks += [Heading("Every figure of the document"), Table(format_printed_figures_table(table))]
    return blocks


def _counts(part: str, scores: pd.DataFrame) -> str:
    """ "624 images in 428 groups", each seed's where they differ."""
    images = scores.loc[(scores["part"] == part) & (scores["metric"] == "n"), "value"]
    groups = _groups(part, scores)
    return f"{counts_in_words(images)} images" + (f" in {counts_in_words(groups)} groups" if groups else "")


def _of(files: Mapping[str, Path], part: str) -> list[Path]:
    return [files[part]] if part in files else []


def _groups(part: str, scores: pd.DataFrame, metric: str = "accuracy") -> list[float]:
    of_part = scores[(scores["part"] == part) & (scores["metric"] == metric)]
    return sorted(set(of_part["groups"].dropna()))


def _few_groups(part: str, scores: pd.DataFrame, class_names: Sequence[str]) -> str:
    """What of a part rests on fewer than `FEW_GROUPS` groups, in words; nothing where none does."""
    counts = {f"the images of {part} are": _groups(part, scores)}
    counts |= {f"those of {name} are": _groups(part, scores, f"recall_{name}") for name in class_names}
    return ", ".join(
        f"{words} of {counts_in_words(found)}" for words, found in counts.items() if found and min(found) < FEW_GROUPS
    )


def _results(
    experiment: Experiment, reported: Mapping, cells: Mapping[CellKey, dict], scores: pd.DataFrame, part: str
) -> pd.DataFrame:
    # What a cell was made with, not what is declared: a smoke run trains for one epoch.
    recipes = {(key.method, key.backbone): training_of(cell) for key, cell in cells.items()}
    table = results_table(scores, reported, names=experiment.names, test=part)
    for place, column in enumerate(("hidden layers", "regularization", "epochs")):
        words = [
            training_words(recipes[method, backbone])[column]
            if whose == "ours"
            else experiment.printed.get((method, backbone), {}).get(column, "")
            for _, method, backbone, whose in table.index
        ]
        table.insert(place, column, words)
    return table
