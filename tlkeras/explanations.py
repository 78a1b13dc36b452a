"""Explanations of finished cells: one test image of each class, by LIME and by Grad-CAM, in one sheet per cell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tlkeras.data.datasets import DATASETS, load_dataset
from tlkeras.data.images import read_pixels
from tlkeras.evaluation.explanation_plots import draw_evidence
from tlkeras.evaluation.plots import new_grid, save_figure
from tlkeras.explain.heatmap import grad_cam
from tlkeras.explain.lime import explain, perturbed_copies
from tlkeras.files import write_csv
from tlkeras.runs import CellKey, RunFolder, write_explanation
from tlkeras.schema import InputError, Predictions
from tlkeras.seeds import derive_seed, generator
from tlkeras.training.saved_classifier import load

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tlkeras.training.tuned_classifier import TunedClassifier

N_COPIES = 3  # perturbed copies shown


def explain_cells(
    folder: RunFolder,
    keys: Sequence[CellKey],
    *,
    dataset: str,
    data: str | os.PathLike,
    smoke: bool = False,
    n_samples: int = 1000,
    n_repeats: int = 5,
) -> None:
    """Writes explanations_<part>.png, explained_<part>.csv and one .npz per class into the folder of each cell.

    Of each class one image that the cell predicts correctly is drawn by the cell's seed; where there is none, the one
    whose right class got the highest probability, and its row says so.

    Args:
        folder: a protocol's run folder.
        keys: the finished cells to explain.
        dataset: the name of the data set they were run on.
        data: the folder that holds it.
        smoke: whether the cells come from a smoke run.
        n_samples: perturbed copies per explanation.
        n_repeats: seeds the stability is told from.

    Raises:
        InputError: no such cell, or a cell's images are not in the data set.
    """
    if not keys:
        raise InputError(f"{folder.root} holds no finished cell of those named, so there is nothing to explain.")
    row, samples = DATASETS[dataset], load_dataset(dataset, data, check_counts=not smoke)
    image_of = dict(zip(samples.sample_ids, samples.images, strict=True))
    for key in keys:
        print(f"explaining {key}", flush=True)
        classifier = load(folder.cell(key))
        for part, predictions in folder.read_predictions(key).items():
            if part == "val":
                continue
            figure, table = _explain_part(
                folder, key, classifier, predictions, image_of, part, n_samples=n_samples, n_repeats=n_repeats
            )
            write_csv(table, folder.cell(key) / f"explained_{part}.csv")
            figure.supxlabel(f"Images: {row.title}, {row.licence}.\n{row.citation}", fontsize=7)
            save_figure(figure, folder.cell(key) / f"explanations_{part}.png")


def _explain_part(
    folder: RunFolder,
    key: CellKey,
    classifier: TunedClassifier,
    predictions: Predictions,
    image_of: dict[str, str],
    part: str,
    **options: int,
) -> tuple[Figure, pd.DataFrame]:
    names = predictions.samples.class_names
    chosen = {label: _choose(predictions, label, key.seed) for label in range(len(names))}
    chosen = {label: row for label, row in chosen.items() if row is not None}
    figure, axes = new_grid(len(chosen), 4 + N_COPIES, side=1.5)
    rows = []
    for axes_row, (label, row) in zip(axes, chosen.items(), strict=True):
        sample_id = predictions.samples.sample_ids[row]
        if sample_id not in image_of:
            raise InputError(
                f"{folder.cell(key)}: its test image {sample_id} is not in the data set given with --data."
            )
        image = read_pixels(image_of[sample_id], classifier.image_size)
        seed = derive_seed(key.seed, "explain", label)
        explanation = explain(classifier, image, label=label, seed=seed, **options)
        copies = perturbed_copies(explanation, seed=seed, n=N_COPIES)
        predicted = names[predictions.predicted[row]]
        note = "" if predicted == names[label] else f"predicted {predicted}"
        draw_evidence(explanation, grad_cam(classifier, image, label=label), copies, axes_row, note=note)
        write_explanation(explanation, folder.cell(key) / f"explanation_{part}_{names[label]}.npz")
        figures = (explanation.probability, explanation.r2, explanation.stability)
        rows.append((names[label], sample_id, predicted, *figures))
    columns = ["class", "sample_id", "predicted", "probability", "r2", "stability"]
    return figure, pd.DataFrame(rows, columns=columns)


def _choose(predictions: Predictions, label: int, seed: int) -> int | None:
    """The row to explain: a correct one by seed, else the most probable one; None for a class without samples."""
    rows = np.flatnonzero(predictions.samples.labels == label)
    if not len(rows):
        return None
    correct = rows[predictions.correct[rows]]
    if len(correct):
        return int(generator(seed, "explained", label).choice(correct))
    return int(rows[predictions.probs[rows, label].argmax()])
