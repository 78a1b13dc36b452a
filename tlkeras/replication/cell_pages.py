"""What is made of every single cell: its figures, its errors, its model's card, and its section of report.html."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.evaluation.blocks import Block, Bullets, Figure, Folded, Heading, Table, Text, page_as_markdown
from tlkeras.evaluation.calibration import at_temperature, fit_temperature
from tlkeras.evaluation.curve_plots import draw_precision_recall, draw_reliability, draw_roc, draw_training_curves
from tlkeras.evaluation.metrics import classification_report_table, confused_pairs, confusion_table, largest_losses
from tlkeras.evaluation.model_card import model_card
from tlkeras.evaluation.plots import new_grid, save_figure
from tlkeras.evaluation.table_plots import draw_confusion
from tlkeras.files import write_csv, write_text
from tlkeras.models.saved import CARD, MODEL, MODEL_CARD, read_card
from tlkeras.replication.settings import recipe_of
from tlkeras.schema import NOT_TESTS
from tlkeras.user_text import in_figure

if TYPE_CHECKING:
    from tlkeras.replication.finished_run import FinishedRun
    from tlkeras.replication.run_folder import CellKey, RunFolder
    from tlkeras.schema import Predictions

N_PAIRS = 5  # confusions told
N_LOSSES = 8  # images told
SMOKE = "**A smoke run: a handful of images, one epoch, random weights. It says that the code runs, no more.**"
# Not in a published folder, for they show images of the data set.
_IMAGES = {
    "hardest": "the test images with the largest loss, with their class and what was predicted",
    "sheet": "test images with their class and what was predicted",
    "explanations": "one test image of each class, with the regions LIME and Grad-CAM find",
}


def every_cell(run: FinishedRun) -> list[Block]:
    """One folded section for each cell, of the figures in its folder and its errors."""
    cells = [Folded(str(key), tuple(_cell_blocks(run.folder, key, parts))) for key, parts in run.predicted.items()]
    return [Heading("Every cell"), *cells]


def _cell_blocks(folder: RunFolder, key: CellKey, parts: Mapping[str, Predictions]) -> list[Block]:
    place, blocks = folder.cell(key), []
    for name, alt in (
        ("curves", "loss and accuracy of training and validation, epoch by epoch"),
        ("grid", "mean accuracy over the folds, for every pair of settings"),
    ):
        if (place / f"{name}.png").is_file():
            blocks.append(Figure(place / f"{name}.png", alt))
    for part, predictions in parts.items():
        if part in NOT_TESTS:
            continue
        blocks += [
            Heading(f"{key} on {part}", level=3),
            Figure(place / f"confusion_{part}.png", f"confusion matrix on {part}, in images and in shares"),
            Figure(
                place / f"probabilities_{part}.png",
                f"ROC curves, precision-recall curves and reliability diagram on {part}",
            ),
            *_error_blocks(predictions),
        ]
        for name, alt in _IMAGES.items():
            if (place / f"{name}_{part}.png").is_file():
                folder.require_whole(key, f"{name}_{part}.png")
                blocks.append(Figure(place / f"{name}_{part}.png", alt, f"{alt[0].upper()}{alt[1:]}."))
    return blocks


def _error_blocks(predictions: Predictions) -> list[Block]:
    pairs = confused_pairs(predictions, n=N_PAIRS)
    if not len(pairs):
        return [Text("Every image was predicted right.")]
    losses = largest_losses(predictions, n=N_LOSSES).drop(columns="row").set_index("sample_id")
    losses = losses.rename(columns={"probability": "probability of its class"})
    return [
        Text("Classes most often confused:"),
        Table(pairs.set_index("actual")),
        Text("Images with the largest loss:"),
        Table(losses),
    ]


def write_curves(run: FinishedRun) -> None:
    """curves.png of each training."""
    for key, history in run.histories.items():
        figure, axes = new_grid(1, 2, side=4.4)
        draw_training_curves(history, axes[0])
        figure.suptitle(in_figure(f"{key.method}, {key.backbone}, seed {key.seed}"), fontsize=10)
        save_figure(figure, run.folder.cell(key) / "curves.png")


def write_errors(run: FinishedRun) -> None:
    """report_<part>.csv, confusion_<part>.png and probabilities_<part>.png (ROC, precision and recall, reliability) of
    each cell, for every part but the validation images, to which a temperature is fitted where they were predicted."""
    positive = run.plan.positive_class
    for key, parts in run.predicted.items():
        temperature = fit_temperature(parts["val"]) if "val" in parts else np.nan
        for part, predictions in parts.items():
            if part != "val":
                _write_errors(run.folder, key, part, predictions, temperature, positive)


def _write_errors(
    folder: RunFolder, key: CellKey, part: str, predictions: Predictions, temperature: float, positive: str | None
) -> None:
    report = classification_report_table(predictions)
    write_csv(report.reset_index(), folder.cell(key) / f"report_{part}.csv")
    title = in_figure(f"{key.method}, {key.backbone}, seed {key.seed}, {part}")
    figure, axes = new_grid(1, 2, side=4.6)
    draw_confusion(confusion_table(predictions), axes[0, 0])
    draw_confusion(confusion_table(predictions, normalize=True), axes[0, 1])
    axes[0, 0].set_title("images")
    axes[0, 1].set_title("share of the actual class, %")
    figure.suptitle(title, fontsize=10)
    save_figure(figure, folder.cell(key) / f"confusion_{part}.png")
    figure, axes = new_grid(1, 3, side=4.2)
    of_class = positive if positive in predictions.samples.class_names else None
    draw_roc(predictions, axes[0, 0], positive_class=of_class)
    draw_precision_recall(predictions, axes[0, 1], positive_class=of_class)
    scaled = at_temperature(predictions, temperature) if np.isfinite(temperature) else None
    draw_reliability(predictions, axes[0, 2], scaled=scaled)
    figure.suptitle(title, fontsize=10)
    save_figure(figure, folder.cell(key) / f"probabilities_{part}.png")


def write_model_cards(run: FinishedRun) -> None:
    """model_card.md beside the model of every cell that has kept one; trees and published folders have none."""
    plan, folder, audits = run.plan, run.folder, run.audits
    for key, cell in run.cells.items():
        place = folder.cell(key)
        if not ((place / MODEL).is_file() and (place / CARD).is_file()):
            continue
        folder.require_whole(key, CARD)
        used = recipe_of(cell).image_size
        findings = audits[key.seed].findings(used) if key.seed in audits else ()
        learnt = cell["facts"]["images"]["train"]
        counts = ", ".join(f"{count:,} {name}" for name, count in learnt.items())
        card = model_card(
            read_card(place).describe(),
            name=f"{plan.experiment.name}, {plan.name}, {key}",
            data=[
                Text(plan.credit),
                Text(f"It learnt from {sum(learnt.values()):,} images: {counts}."),
                *([Text("The audit of its split:"), Bullets(tuple(findings))] if findings else []),
            ],
            tested={part: of_part for part, of_part in run.predicted[key].items() if part not in NOT_TESTS},
            limits=[SMOKE] if cell["settings"]["smoke"] else [],
        )
        write_text(place / MODEL_CARD, page_as_markdown(card, place))
