"""The page of one protocol's results that every experiment has: everything a reader has to know, section by section.

table.md and report.html show it. The sections of a test part are in `part_sections`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.evaluation.blocks import Block, Figure, Heading, Table, Text
from tlkeras.evaluation.curve_plots import draw_accuracy_lines
from tlkeras.evaluation.plots import new_figure, save_figure
from tlkeras.evaluation.printed_figures import format_printed_figures_table, printed_figures_table
from tlkeras.evaluation.score_tables import epochs_table
from tlkeras.evaluation.table_plots import draw_class_counts
from tlkeras.replication.answer_sections import decisions, of_groups, whom_it_fails
from tlkeras.replication.cell_pages import SMOKE, every_cell
from tlkeras.replication.page import Page
from tlkeras.replication.part_sections import (
    accuracy,
    calibration,
    every_metric,
    every_training,
    few_groups,
    of_networks,
    paired_differences,
    probabilities,
    ranking_and_threshold,
    two_way,
)
from tlkeras.replication.provenance import data_parts, data_source, provenance, seeded
from tlkeras.replication.review_sections import review
from tlkeras.replication.search_report import rankings
from tlkeras.user_text import in_figure

if TYPE_CHECKING:
    from tlkeras.replication.finished_run import FinishedRun
    from tlkeras.replication.run_folder import RunFolder

_PROTOCOLS = {
    "paper": "Protocol paper: as the document has it, what we take for faults included.",
    "corrected": "Protocol corrected: the document's question, with what we take for its faults mended.",
    "stand_in": "Protocol stand_in: the document's method on other data than its own.",
}
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


def title(run: FinishedRun) -> list[Block]:
    """Experiment, protocol and document."""
    paper, name = run.plan.experiment.paper, run.plan.name
    blocks: list[Block] = [Heading(run.plan.title, level=1)]
    blocks += [] if paper is None else [Text(f"{paper.authors}, {paper.title}")]
    blocks += [Text(_PROTOCOLS[name])] if name in _PROTOCOLS else []
    return blocks + ([Text(SMOKE)] if run.settings["smoke"] else [])


def question(run: FinishedRun) -> list[Block]:
    """What is asked, where the experiment says it."""
    asked = run.plan.experiment.question
    return [Heading("The question"), Text(asked)] if asked else []


def every_figure(run: FinishedRun) -> list[Block]:
    """Each figure that the document prints, where it prints more than accuracies, with ours beside it."""
    reported = run.plan.reported
    if all(metric == "accuracy" for _, _, metric in reported):
        return []
    table = printed_figures_table(run.scores, reported)
    return [Heading("Every figure of the document"), Table(format_printed_figures_table(table))]


def early_stops(run: FinishedRun) -> list[Block]:
    """After how many epochs each network stopped, where one could."""
    if not any(phase.patience for recipe in run.trained.values() for phase in recipe.phases):
        return []
    return [Heading("Epochs until early stop", level=3), Table(epochs_table(of_networks(run.scores)))]


def reading(run: FinishedRun) -> list[Block]:
    """How the figures are to be read: those of trainings, intervals, seeds."""
    words = _PREDICTED if run.plan.experiment.scores_training else _TRAINING
    seeds = ", ".join(map(str, sorted({key.seed for key in run.cells})))
    intervals = Text(f"{_INTERVALS} Seeds: {seeds}; {seeded(run.settings['split'])}.")
    return [Text(words), intervals] if run.trained else [intervals]


def class_counts(run: FinishedRun) -> list[Block]:
    """class_counts.png: images per class and part, of the first seed's split."""
    key, counts = next(iter(run.cells)), pd.DataFrame(run.images)
    figure, ax = new_figure(max(5.0, 1.0 * len(counts) + 2.5), 4.0)
    draw_class_counts(counts, ax)
    ax.set_title(f"images per class and part, seed {key.seed} (n = {counts.to_numpy().sum():,})", fontsize=10)
    file = save_figure(figure, run.folder.root / "class_counts.png")
    return [Heading("Figures"), Figure(file, "images per class and part, as bars")]


def accuracy_lines(run: FinishedRun) -> list[Block]:
    """validation_accuracy_<backbone>.png, a line for each method of a network, and training_accuracy_<backbone>.png of
    the two methods that `Experiment.compared` names."""
    compared, blocks = run.plan.experiment.compared, []
    by_seed: dict[str, dict[int, dict[str, pd.DataFrame]]] = {}
    for key, history in run.histories.items():
        by_seed.setdefault(key.backbone, {}).setdefault(key.seed, {})[key.method] = history
    for backbone, seeds in by_seed.items():
        first = min(seeds)
        with_val = {method: log for method, log in seeds[first].items() if log["val_accuracy"].notna().any()}
        if with_val:
            blocks.append(_draw_lines(run.folder, with_val, "validation", backbone, first))
        with_both = [seed for seed, logs in seeds.items() if compared and set(compared) <= set(logs)]
        if with_both:
            logs = seeds[min(with_both)]
            both = {label: logs[method] for method, label in compared.items()}
            blocks.append(_draw_lines(run.folder, both, "training", backbone, min(with_both)))
    return blocks


def _draw_lines(folder: RunFolder, logs: Mapping[str, pd.DataFrame], part: str, backbone: str, seed: int) -> Figure:
    figure, ax = new_figure(6.8, 4.2)
    draw_accuracy_lines(logs, ax, part=part)
    ax.set_title(in_figure(f"{backbone}, seed {seed}"))
    file = save_figure(figure, folder.root / f"{part}_accuracy_{backbone}.png")
    return Figure(file, f"{part} accuracy of {backbone}, epoch by epoch, one line for each method")


def activation_figures(run: FinishedRun) -> list[Block]:
    """What --activations has drawn of the networks that were run."""
    return [
        Figure(file, f"what one layer of {backbone} makes of one test image, in two networks")
        for backbone in dict.fromkeys(key.backbone for key in run.predicted)
        for file in sorted(run.folder.root.glob(f"activations_{backbone}_seed*.png"))
    ]


PAGE = Page(
    head=(title, question, data_source, data_parts),
    of_part=(
        accuracy,
        few_groups,
        two_way,
        ranking_and_threshold,
        paired_differences,
        every_metric,
        probabilities,
        calibration,
        decisions,
        of_groups,
        whom_it_fails,
        every_training,
    ),
    of_all=(every_figure, rankings, early_stops, review, reading),
    details=(class_counts, accuracy_lines, activation_figures, every_cell),
    origin=(provenance,),
)
