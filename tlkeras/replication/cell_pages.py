"""What the report shows of every cell: its figures, its errors, its explanations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tlkeras.evaluation.blocks import Block, Figure, Folded, Heading, Table, Text
from tlkeras.evaluation.metrics import confused_pairs, largest_losses
from tlkeras.schema import NOT_TESTS

if TYPE_CHECKING:
    from pathlib import Path

    from tlkeras.replication.run_folder import CellKey, RunFolder
    from tlkeras.replication.scoring import Predicted
    from tlkeras.schema import Predictions

N_PAIRS = 5  # confusions told
N_LOSSES = 8  # images told


def cell_blocks(folder: RunFolder, predicted: Predicted, drawn: Mapping[Path, str]) -> list[Block]:
    """One folded section for each cell, after the figures that hold several of them.

    Args:
        folder: a protocol's run folder, its figures written.
        predicted: {cell: {part: its predictions}}.
        drawn: {figure of several cells: what it shows}.
    """
    root = folder.root
    shared = [Figure(root / "class_counts.png", "images per class and part, as bars")]
    shared += [Figure(path, alt) for path, alt in drawn.items()]
    for backbone in dict.fromkeys(key.backbone for key in predicted):
        for file in sorted(root.glob(f"activations_{backbone}_seed*.png")):
            shared.append(Figure(file, f"what one layer of {backbone} makes of one test image, in two networks"))
    cells = [Folded(str(key), tuple(_cell_blocks(folder, key, parts))) for key, parts in predicted.items()]
    return [Heading("Figures"), *shared, Heading("Every cell"), *cells]


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


# Not in a published folder, for they show images of the data set.
_IMAGES = {
    "hardest": "the test images with the largest loss, with their class and what was predicted",
    "sheet": "test images with their class and what was predicted",
    "explanations": "one test image of each class, with the regions LIME and Grad-CAM find",
}


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
