"""From finished cells to scores, table and figures. Reads the run folder only: no training, no TensorFlow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.evaluation.f1 import averages_table, f1_table
from tlkeras.evaluation.metrics import classification_report_table, confusion_table, score
from tlkeras.evaluation.plots import (
    draw_accuracy_bars,
    draw_accuracy_lines,
    draw_class_counts,
    draw_confusion,
    draw_training_curves,
    new_figure,
    new_grid,
    save_figure,
)
from tlkeras.evaluation.statistics import accuracy_interval
from tlkeras.evaluation.tables import (
    accuracy_table,
    grid_bars_table,
    test_parts,
)
from tlkeras.experiment import PIXELS
from tlkeras.files import read_json, write_csv, write_json, write_text
from tlkeras.page import build_page
from tlkeras.runs import CellKey, RunFolder
from tlkeras.schema import InputError, MissingInputError
from tlkeras.settings import is_network

if TYPE_CHECKING:
    from tlkeras.experiment import Experiment, Protocol


def report_experiment(experiment: Experiment, folder: RunFolder, protocol: str) -> pd.DataFrame:
    """Writes scores.csv, the table of accuracy or F1 as .csv, table.md and the figures of one protocol; returns that
    table.

    Raises:
        MissingInputError: the folder holds no finished cell.
    """
    declared = experiment.protocols[protocol]
    keys = sorted(folder.finished(), key=lambda key: _declared_order(key, declared))
    if not keys:
        others = [name for name in experiment.protocols if RunFolder(folder.root.parent / name).finished()]
        raise MissingInputError(
            f"{folder.root} holds no finished cell; run the experiment first, without --report-only."
            + (f" There are some of --protocol {' and '.join(others)}." if others else "")
        )
    first = folder.settings_of(keys[0])
    folder.require_same({name: first[name] for name in ("data", "split", "smoke", "skip_unreadable")})
    cells = {key: _read_cell(folder, key) for key in keys}
    for key, cell in cells.items():
        folder.require_same_recipe(key, cell["settings"]["recipe"])
    scores = pd.concat(
        [_cell_scores(folder, key, cell, protocol, experiment.positive_class) for key, cell in cells.items()],
        ignore_index=True,
    )
    write_csv(scores, folder.root / "scores.csv")
    shows_f1 = experiment.shows_f1(protocol)
    tables = {
        part: _f1_table(experiment, declared, cells, scores, part)
        if shows_f1
        else _accuracy_table(experiment, protocol, keys, scores, part)
        for part in test_parts(scores)
    }
    for part, table in tables.items():
        suffix = "" if len(tables) == 1 else f"_{part}"
        write_csv(_flat(table), folder.root / f"{'f1' if shows_f1 else 'accuracy'}{suffix}.csv")
        _draw_bars(declared, table, folder, suffix, shows_f1)
    _draw_class_counts(folder, cells)
    _draw_histories(folder, keys, experiment.compared)
    for key in keys:
        _write_errors(folder, key)
    _write_environments(folder, cells)
    write_text(folder.root / "table.md", build_page(experiment, protocol, cells=cells, scores=scores, tables=tables))
    return next(iter(tables.values()))


def _accuracy_table(
    experiment: Experiment, protocol: str, keys: list[CellKey], scores: pd.DataFrame, part: str
) -> pd.DataFrame:
    declared = experiment.protocols[protocol]
    # What the document reports stays, as "not run", beside the rows that were run.
    published = {backbone for (method, backbone), _, _ in experiment.reported if method in declared.methods}
    rows = {key.backbone for key in keys} | published
    return accuracy_table(
        scores,
        experiment.reported,
        protocol=protocol,
        methods=list(declared.methods),
        backbones=[backbone for backbone in _rows(declared) if backbone in rows],
        part=part,
    )


def _f1_table(
    experiment: Experiment, declared: Protocol, cells: dict[CellKey, dict], scores: pd.DataFrame, part: str
) -> pd.DataFrame:
    sizes = {
        (key.method, key.backbone): "x".join(map(str, cell["settings"]["recipe"]["image_size"]))
        for key, cell in cells.items()
    }
    (documents,) = experiment.default_backbones
    columns = {}
    for method, title in experiment.f1_columns.items():
        run = [cell for cell in declared.cells if cell[0] == method and cell in sizes]
        published = (method, PIXELS if (method, PIXELS) in declared.cells else documents)
        for cell in run or [published]:
            network = {PIXELS: "", documents: documents}.get(cell[1], f"{cell[1]} for {documents}")
            words = [word for word in (network, sizes.get(cell)) if word]
            columns[f"{title} ({', '.join(words)})" if words else title] = (cell, published)
    class_names = list(next(iter(cells.values()))["facts"]["images"]["train"])
    return f1_table(scores, experiment.reported, columns=columns, class_names=class_names, part=part)


def _declared_order(key: CellKey, declared: Protocol) -> tuple[int, int, int]:
    if (key.method, key.backbone) not in declared.cells:
        raise InputError(f"{key}: the protocol declares no such cell. Remove its folder, or name another with --out.")
    return _rows(declared).index(key.backbone), declared.methods.index(key.method), key.seed


def _rows(declared: Protocol) -> list[str]:
    return [PIXELS, *declared.backbones]


def _cell_scores(
    folder: RunFolder, key: CellKey, cell: dict, protocol: str, positive_class: str | None
) -> pd.DataFrame:
    facts = cell["facts"]
    figures = {"model": {"seconds": facts["seconds"]["fit"], "peak_mb": facts["peak_mb"]}}  # None: not measured
    if is_network(cell["settings"]["recipe"]):
        learning = pd.read_csv(folder.cell(key) / "layers.csv")["trainable_parameters_phase_1"].sum()
        figures["model"] |= {"parameters": facts["parameters"], "trainable_parameters": learning}
        figures["train"] = _training_figures(folder, key, cell)
    for part, predictions in folder.read_predictions(key).items():
        low, high = accuracy_interval(predictions)
        figures[part] = {**score(predictions, positive_class), "accuracy_low": low, "accuracy_high": high}
        figures[part]["majority_class"] = max(predictions.samples.class_counts().values()) / len(predictions)
        f1 = classification_report_table(predictions)["f1"].drop("macro")
        figures[part] |= {f"f1_{name}": value for name, value in f1.items()}
    rows = [
        (protocol, key.method, key.backbone, part, key.seed, metric, value)
        for part, of_part in figures.items()
        for metric, value in of_part.items()
    ]
    return pd.DataFrame(rows, columns=["protocol", "method", "backbone", "part", "seed", "metric", "value"])


def _training_figures(folder: RunFolder, key: CellKey, cell: dict) -> dict[str, float]:
    history = pd.read_csv(folder.cell(key) / "history.csv")
    if "kept" not in history:
        raise InputError(f"{folder.cell(key)} was made by an earlier version of tlkeras; remove it, and run it again.")
    kept = history.index[history["kept"]][0]
    return {
        **history.loc[kept, ["accuracy", "loss"]].to_dict(),
        "epochs": len(history),
        "epochs_allowed": sum(phase["epochs"] for phase in cell["settings"]["recipe"]["phases"]),
        "kept_epoch": kept + 1,
    }


def _read_cell(folder: RunFolder, key: CellKey) -> dict:
    return read_json(folder.cell(key) / "cell.json")


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    flat = table.copy()
    flat.columns = [f"{column} {figure}" for column, figure in table.columns]
    return flat.reset_index()


def _draw_bars(declared: Protocol, table: pd.DataFrame, folder: RunFolder, suffix: str, shows_f1: bool) -> None:
    ylabel = "accuracy, %"
    if shows_f1:
        ylabel = "F1, %"
        table = averages_table(table).rename(lambda title: title.replace(" (", "\n(", 1).replace(" for ", "\nfor "))
    elif declared.grid and len(table) == 1:
        table = grid_bars_table(table, declared.grid)
    figure, ax = new_figure(max(7.0, 1.1 * len(table) + 3.0), 4.6)
    draw_accuracy_bars(table, ax, ylabel=ylabel, partly="not defined" if shows_f1 else "not run")
    save_figure(figure, folder.root / f"{'f1' if shows_f1 else 'accuracy'}_bars{suffix}.png")


def _draw_class_counts(folder: RunFolder, cells: dict[CellKey, dict]) -> None:
    key, cell = next(iter(cells.items()))
    counts = pd.DataFrame(cell["facts"]["images"])
    figure, ax = new_figure(max(5.0, 1.0 * len(counts) + 2.5), 4.0)
    draw_class_counts(counts, ax)
    ax.set_title(f"images per class and part, seed {key.seed} (n = {counts.to_numpy().sum():,})", fontsize=10)
    save_figure(figure, folder.root / "class_counts.png")


def _draw_histories(folder: RunFolder, keys: list[CellKey], compared: dict[str, str]) -> None:
    files = {key: folder.cell(key) / "history.csv" for key in keys}
    histories = {key: pd.read_csv(file) for key, file in files.items() if file.is_file()}
    for key, history in histories.items():
        figure, axes = new_grid(1, 2, side=4.4)
        draw_training_curves(history, axes[0])
        figure.suptitle(f"{key.method}, {key.backbone}, seed {key.seed}", fontsize=10)
        save_figure(figure, folder.cell(key) / "curves.png")
    by_seed: dict[str, dict[int, dict[str, pd.DataFrame]]] = {}
    for key, history in histories.items():
        by_seed.setdefault(key.backbone, {}).setdefault(key.seed, {})[key.method] = history
    for backbone, seeds in by_seed.items():
        first = min(seeds)
        with_val = {method: log for method, log in seeds[first].items() if log["val_accuracy"].notna().any()}
        if with_val:
            _draw_lines(folder, with_val, "validation", backbone, first)
        with_both = [seed for seed, logs in seeds.items() if compared and set(compared) <= set(logs)]
        if with_both:
            logs = seeds[min(with_both)]
            both = {label: logs[method] for method, label in compared.items()}
            _draw_lines(folder, both, "training", backbone, min(with_both))


def _draw_lines(folder: RunFolder, logs: dict[str, pd.DataFrame], part: str, backbone: str, seed: int) -> None:
    figure, ax = new_figure(6.8, 4.2)
    draw_accuracy_lines(logs, ax, part=part)
    ax.set_title(f"{backbone}, seed {seed}")
    save_figure(figure, folder.root / f"{part}_accuracy_{backbone}.png")


def _write_errors(folder: RunFolder, key: CellKey) -> None:
    for part, predictions in folder.read_predictions(key).items():
        if part != "val":
            report = classification_report_table(predictions)
            write_csv(report.reset_index(), folder.cell(key) / f"report_{part}.csv")
            figure, axes = new_grid(1, 2, side=4.6)
            draw_confusion(confusion_table(predictions), axes[0, 0])
            draw_confusion(confusion_table(predictions, normalize=True), axes[0, 1])
            axes[0, 0].set_title("images")
            axes[0, 1].set_title("share of the actual class, %")
            figure.suptitle(f"{key.method}, {key.backbone}, seed {key.seed}, {part}", fontsize=10)
            save_figure(figure, folder.cell(key) / f"confusion_{part}.png")


def _write_environments(folder: RunFolder, cells: dict[CellKey, dict]) -> None:
    """environment.json: each environment that cells were made in, and which."""
    environments = {}
    for key, cell in cells.items():
        found = {"device": cell["facts"]["device"], **cell["facts"]["environment"]}
        environments.setdefault(json.dumps(found), (found, []))[1].append(str(key))
    write_json(folder.root / "environment.json", [{**found, "cells": cells} for found, cells in environments.values()])
