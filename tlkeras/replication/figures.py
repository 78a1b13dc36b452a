"""The figures of a protocol's finished cells, written into its run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tlkeras.evaluation.calibration import at_temperature, fit_temperature
from tlkeras.evaluation.curve_plots import (
    draw_accuracy_lines,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    draw_training_curves,
)
from tlkeras.evaluation.embedding import embedding_figure
from tlkeras.evaluation.metrics import classification_report_table, confusion_table
from tlkeras.evaluation.plots import new_figure, new_grid, save_figure
from tlkeras.evaluation.printed_tables import averages_table, two_way_bars
from tlkeras.evaluation.score_tables import threshold_table
from tlkeras.evaluation.table_plots import draw_accuracy_bars, draw_class_counts, draw_confusion, draw_thresholds
from tlkeras.files import write_csv
from tlkeras.user_text import in_figure

if TYPE_CHECKING:
    from pathlib import Path

    from tlkeras.replication.experiment import Protocol
    from tlkeras.replication.run_folder import CellKey, RunFolder
    from tlkeras.schema import Predictions


def write_bars(declared: Protocol, table: pd.DataFrame, folder: RunFolder, suffix: str, shows_f1: bool) -> Path:
    """accuracy_bars<suffix>.png or f1_bars<suffix>.png of one part's table: accuracy_table, or f1_table; its path."""
    ylabel, partly = "accuracy, %", "not run"
    if shows_f1:
        ylabel, partly = "F1, %", "not defined"
        table = averages_table(table).rename(lambda title: title.replace(" (", "\n(", 1).replace(" for ", "\nfor "))
    elif declared.grid and len(table) == 1:
        table = two_way_bars(table, declared.grid)
    elif any((method, backbone) not in declared.cells for backbone in table.index for method in declared.methods):
        partly = ""  # a method without a recipe for this network
    figure, ax = new_figure(max(7.0, 1.1 * len(table) + 3.0), 4.6)
    draw_accuracy_bars(table, ax, ylabel=ylabel, partly=partly)
    return save_figure(figure, folder.root / f"{'f1' if shows_f1 else 'accuracy'}_bars{suffix}.png")


def write_thresholds(scores: pd.DataFrame, part: str, folder: RunFolder, suffix: str) -> Path | None:
    """thresholds<suffix>.png: accuracy at both thresholds beside ROC AUC; its path, or None without such cells."""
    table = threshold_table(scores, part=part)
    if table is None:
        return None
    figure, axes = new_grid(1, 2, side=4.4)
    figure.set_size_inches(9.5, 0.42 * len(table) + 1.5)
    draw_thresholds(table, axes[0])
    return save_figure(figure, folder.root / f"thresholds{suffix}.png")


def write_class_counts(folder: RunFolder, cells: Mapping[CellKey, dict]) -> None:
    """class_counts.png: images per class and part, of the first seed's split."""
    key, cell = next(iter(cells.items()))
    counts = pd.DataFrame(cell["facts"]["images"])
    figure, ax = new_figure(max(5.0, 1.0 * len(counts) + 2.5), 4.0)
    draw_class_counts(counts, ax)
    ax.set_title(f"images per class and part, seed {key.seed} (n = {counts.to_numpy().sum():,})", fontsize=10)
    save_figure(figure, folder.root / "class_counts.png")


def write_histories(folder: RunFolder, keys: Sequence[CellKey], compared: Mapping[str, str]) -> dict[Path, str]:
    """curves.png of each training, <part>_accuracy_<backbone>.png of a network's methods together; returns the latter
    and what each shows.

    Args:
        folder: a protocol's run folder.
        keys: its finished cells; those without a training are passed over.
        compared: {method: label} of two methods whose training accuracy is drawn in one figure, or empty.
    """
    histories = {key: folder.read_table(key, name) for key in keys for name in folder.files(key, "history.csv")}
    for key, history in histories.items():
        figure, axes = new_grid(1, 2, side=4.4)
        draw_training_curves(history, axes[0])
        figure.suptitle(in_figure(f"{key.method}, {key.backbone}, seed {key.seed}"), fontsize=10)
        save_figure(figure, folder.cell(key) / "curves.png")
    drawn: dict[Path, str] = {}
    by_seed: dict[str, dict[int, dict[str, pd.DataFrame]]] = {}
    for key, history in histories.items():
        by_seed.setdefault(key.backbone, {}).setdefault(key.seed, {})[key.method] = history
    for backbone, seeds in by_seed.items():
        first = min(seeds)
        with_val = {method: log for method, log in seeds[first].items() if log["val_accuracy"].notna().any()}
        if with_val:
            drawn |= _draw_lines(folder, with_val, "validation", backbone, first)
        with_both = [seed for seed, logs in seeds.items() if compared and set(compared) <= set(logs)]
        if with_both:
            logs = seeds[min(with_both)]
            both = {label: logs[method] for method, label in compared.items()}
            drawn |= _draw_lines(folder, both, "training", backbone, min(with_both))
    return drawn


def write_embeddings(folder: RunFolder, titles: Mapping[CellKey, str]) -> dict[Path, str]:
    """embedding_<part>.png of each seed: where t-SNE puts the test images, by the features of each titled cell; returns
    them and what each shows."""
    drawn: dict[Path, str] = {}
    panels: dict[tuple[int, str], dict[str, pd.DataFrame]] = {}
    for key, title in titles.items():
        for name in folder.files(key, "embedding_*.csv"):
            part = name.removeprefix("embedding_").removesuffix(".csv")
            table = folder.read_table(key, name, dtype=str)
            panels.setdefault((key.seed, part), {})[f"{title} ({key.backbone})"] = table
    for (seed, part), tables in panels.items():
        names = sorted({name for table in tables.values() for name in table["label"]})
        number = {name: label for label, name in enumerate(names)}
        points = {
            title: (table[["x", "y"]].astype(float).to_numpy(), table["label"].map(number).to_numpy())
            for title, table in tables.items()
        }
        suffix = "" if seed == min(key.seed for key in titles) else f"_seed{seed}"
        path = save_figure(embedding_figure(points, names), folder.root / f"embedding_{part}{suffix}.png")
        drawn[path] = f"features of the images of {part} in two dimensions (t-SNE), coloured by class, seed {seed}"
    return drawn


def _draw_lines(
    folder: RunFolder, logs: dict[str, pd.DataFrame], part: str, backbone: str, seed: int
) -> dict[Path, str]:
    figure, ax = new_figure(6.8, 4.2)
    draw_accuracy_lines(logs, ax, part=part)
    ax.set_title(in_figure(f"{backbone}, seed {seed}"))
    path = save_figure(figure, folder.root / f"{part}_accuracy_{backbone}.png")
    return {path: f"{part} accuracy of {backbone}, epoch by epoch, one line for each method"}


def write_errors(folder: RunFolder, key: CellKey, parts: Mapping[str, Predictions], positive: str | None) -> None:
    """report_<part>.csv, confusion_<part>.png and probabilities_<part>.png (ROC, precision and recall, reliability) of
    one cell, for every part but the validation images, to which a temperature is fitted where they were predicted."""
    temperature = fit_temperature(parts["val"]) if "val" in parts else np.nan
    for part, predictions in parts.items():
        if part != "val":
            report = classification_report_table(predictions)
            write_csv(report.reset_index(), folder.cell(key) / f"report_{part}.csv")
            figure, axes = new_grid(1, 2, side=4.6)
            draw_confusion(confusion_table(predictions), axes[0, 0])
            draw_confusion(confusion_table(predictions, normalize=True), axes[0, 1])
            axes[0, 0].set_title("images")
            axes[0, 1].set_title("share of the actual class, %")
            figure.suptitle(in_figure(f"{key.method}, {key.backbone}, seed {key.seed}, {part}"), fontsize=10)
            save_figure(figure, folder.cell(key) / f"confusion_{part}.png")
            figure, axes = new_grid(1, 3, side=4.2)
            of_class = positive if positive in predictions.samples.class_names else None
            draw_roc(predictions, axes[0, 0], positive_class=of_class)
            draw_precision_recall(predictions, axes[0, 1], positive_class=of_class)
            scaled = at_temperature(predictions, temperature) if np.isfinite(temperature) else None
            draw_reliability(predictions, axes[0, 2], scaled=scaled)
            figure.suptitle(in_figure(f"{key.method}, {key.backbone}, seed {key.seed}, {part}"), fontsize=10)
            save_figure(figure, folder.cell(key) / f"probabilities_{part}.png")
