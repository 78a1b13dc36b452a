"""Explanations of finished cells: one test image of each class by LIME and by Grad-CAM, activations side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tlkeras.data.images import read_pixels
from tlkeras.errors import InputError
from tlkeras.evaluation.image_plots import draw_activations, draw_evidence
from tlkeras.evaluation.plots import new_grid, save_figure
from tlkeras.explaining.activations import activations
from tlkeras.explaining.heatmap import grad_cam
from tlkeras.explaining.lime import explain, perturbed_copies, write_explanation
from tlkeras.files import write_csv
from tlkeras.models.saved import CARD, MODEL
from tlkeras.progress import say
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.schema import NOT_TESTS, Predictions, Samples
from tlkeras.seeds import derive_seed, generator
from tlkeras.training.tuned_classifier import load
from tlkeras.user_text import in_figure, in_file_name

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from tlkeras.training.tuned_classifier import TunedClassifier

N_COPIES = 3  # perturbed copies shown
CREDIT_WIDTH = 120  # characters of a line below a figure


def explain_cells(
    folder: RunFolder,
    keys: Sequence[CellKey],
    *,
    samples: Samples,
    credit: str,
    n_samples: int = 1000,
    n_repeats: int = 5,
) -> None:
    """Writes explanations_<part>.png, explained_<part>.csv and one .npz per class into the folder of each cell.

    Of each class one image that the cell predicts correctly is drawn by the cell's seed; where there is none, the one
    whose right class got the highest probability, and its row says so.

    Args:
        folder: a protocol's run folder.
        keys: the finished cells to explain.
        samples: those they were run on, with the images.
        credit: where the images come from, for the figure.
        n_samples: perturbed copies per explanation.
        n_repeats: seeds the stability is told from.

    Raises:
        InputError: no such cell, or a cell's images are not in the data set.
    """
    if not keys:
        raise InputError(f"{folder.root} holds no finished cell of those named, so there is nothing to explain.")
    image_of = dict(zip(samples.sample_ids, samples.images, strict=True))
    for key in keys:
        say(f"explaining {key}")
        classifier = _load(folder, key)
        for part, predictions in folder.read_predictions(key).items():
            if part in NOT_TESTS:
                continue
            figure, table = _explain_part(
                folder, key, classifier, predictions, image_of, part, n_samples=n_samples, n_repeats=n_repeats
            )
            write_csv(table, folder.cell(key) / f"explained_{part}.csv")
            figure.supxlabel(in_figure(textwrap.fill(f"Images: {credit}", CREDIT_WIDTH)), fontsize=7)
            save_figure(figure, folder.cell(key) / f"explanations_{part}.png")


def compare_activations(
    folder: RunFolder,
    cells: Mapping[CellKey, str],
    *,
    layer: str | None,
    samples: Samples,
    credit: str,
) -> Path:
    """Draws what one layer makes of one test image in several networks, side by side.

    Args:
        folder: a protocol's run folder.
        cells: {finished cell: label}, of one backbone and one seed, which draws the image among the test images.
        layer: the name of a layer; None takes the first convolution.
        samples: those they were run on, with the images.
        credit: where the images come from, for the figure.

    Returns:
        The figure, activations_<backbone>_seed<k>_<layer>.png in `folder`.

    Raises:
        InputError: a layer that is not there, or a cell's images are not in the data set.
    """
    image_of = dict(zip(samples.sample_ids, samples.images, strict=True))
    first = next(iter(cells))
    parts = folder.read_predictions(first)
    test = next(of_part for part, of_part in parts.items() if part not in NOT_TESTS).samples
    number = int(generator(first.seed, "activations").integers(len(test)))
    image = _image_of(folder, first, test.sample_ids[number], image_of)
    figure, axes = new_grid(1, 1 + len(cells), side=3.6)
    for ax, (key, label) in zip(axes[0, 1:], cells.items(), strict=True):
        classifier = _load(folder, key)
        seen = activations(classifier, _read(image, classifier), layer=layer)
        draw_activations(seen, ax)
        ax.set_title(f"{in_figure(label)}\n{ax.get_title()}", fontsize=10)
    axes[0, 0].imshow(seen.image)
    axes[0, 0].set_axis_off()
    shown = f"{test.sample_ids[number]}\n{test.class_names[test.known_labels[number]]}"
    axes[0, 0].set_title(in_figure(shown), fontsize=10)
    figure.supxlabel(in_figure(textwrap.fill(f"Image: {credit}", CREDIT_WIDTH)), fontsize=7)
    name = f"activations_{first.backbone}_seed{first.seed}_{seen.layer}.png"
    return save_figure(figure, folder.root / name)


def _load(folder: RunFolder, key: CellKey) -> TunedClassifier:
    folder.require_whole(key, CARD, MODEL)
    return load(folder.cell(key))


def _read(image: str | np.ndarray, classifier: TunedClassifier) -> np.ndarray:
    """uint8 (H, W, 3): of floats, an image next to black could be one scaled to 0..1."""
    return read_pixels(image, classifier.image_size, classifier.resize).astype(np.uint8)


def _explain_part(
    folder: RunFolder,
    key: CellKey,
    classifier: TunedClassifier,
    predictions: Predictions,
    image_of: dict[str, str],
    part: str,
    **options: Any,
) -> tuple[Figure, pd.DataFrame]:
    names = predictions.samples.class_names
    chosen = {label: _choose(predictions, label, key.seed) for label in range(len(names))}
    chosen = {label: row for label, row in chosen.items() if row is not None}
    figure, axes = new_grid(len(chosen), 4 + N_COPIES, side=1.5)
    rows = []
    for axes_row, (label, row) in zip(axes, chosen.items(), strict=True):
        sample_id = predictions.samples.sample_ids[row]
        image = _read(_image_of(folder, key, sample_id, image_of), classifier)
        seed = derive_seed(key.seed, "explain", label)
        explanation = explain(classifier, image, label=label, seed=seed, **options)
        copies = perturbed_copies(explanation, seed=seed, n=N_COPIES)
        predicted = names[predictions.predicted[row]]
        note = "" if predicted == names[label] else f"predicted {predicted}"
        draw_evidence(explanation, grad_cam(classifier, image, label=label), list(copies), axes_row, note=note)
        file = f"explanation_{part}_{in_file_name(names[label])}.npz"
        write_explanation(explanation, folder.cell(key) / file)
        figures = (explanation.probability, explanation.r2, explanation.stability)
        rows.append((names[label], sample_id, predicted, *figures))
    columns = ["class", "sample_id", "predicted", "probability", "r2", "stability"]
    return figure, pd.DataFrame(rows, columns=columns)


def _image_of(
    folder: RunFolder, key: CellKey, sample_id: str, image_of: Mapping[str, str | np.ndarray]
) -> str | np.ndarray:
    if sample_id not in image_of:
        raise InputError(f"{folder.cell(key)}: its test image {sample_id} is not in the data set given with --data.")
    return image_of[sample_id]


def _choose(predictions: Predictions, label: int, seed: int) -> int | None:
    """The row to explain: a correct one by seed, else the most probable one; None for a class without samples."""
    rows = np.flatnonzero(predictions.samples.labels == label)
    if not len(rows):
        return None
    correct = rows[predictions.correct[rows]]
    if len(correct):
        return int(generator(seed, "explained", label).choice(correct))
    return int(rows[predictions.probs[rows, label].argmax()])
