"""From finished cells to scores, table and figures. Reads the run folder only: no training, no TensorFlow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.evaluation.metrics import classification_report_table, confusion_table, score
from tlkeras.evaluation.plots import (
    draw_accuracy_bars,
    draw_confusion,
    draw_training_curves,
    draw_validation_accuracy,
    new_figure,
    new_grid,
    save_figure,
)
from tlkeras.evaluation.statistics import accuracy_interval
from tlkeras.evaluation.tables import accuracy_table, metrics_table, to_markdown
from tlkeras.files import read_json, write_csv, write_json, write_text
from tlkeras.page import build_page
from tlkeras.runs import CellKey, RunFolder
from tlkeras.schema import InputError, MissingInputError

if TYPE_CHECKING:
    from pathlib import Path

    from tlkeras.experiment import Experiment, Protocol


def report_experiment(experiment: Experiment, folder: RunFolder, protocol: str) -> pd.DataFrame:
    """Writes scores.csv, accuracy.csv, table.md and the figures of one protocol; returns the accuracy table.

    Raises:
        MissingInputError: the folder holds no finished cell.
    """
    declared = experiment.protocols[protocol]
    keys = sorted(folder.finished(), key=lambda key: _declared_order(key, declared))
    if not keys:
        raise MissingInputError(
            f"{folder.root} holds no finished cell; run the experiment first, without --report-only."
        )
    first = folder.settings_of(keys[0])
    folder.require_same({name: first[name] for name in ("data", "split", "smoke", "skip_unreadable")})
    scores = pd.concat(
        [_cell_scores(folder, key, protocol, experiment.positive_class) for key in keys], ignore_index=True
    )
    # What the document reports stays, as "not run", beside the rows that were run.
    published = {backbone for (method, backbone), _, _ in experiment.reported if method in declared.methods}
    rows = {key.backbone for key in keys} | published
    backbones = [backbone for backbone in declared.backbones if backbone in rows]
    tables = {
        part: accuracy_table(
            scores,
            experiment.reported,
            protocol=protocol,
            methods=list(declared.methods),
            backbones=backbones,
            part=part,
        )
        for part in _test_parts(scores)
    }
    write_csv(scores, folder.root / "scores.csv")
    for part, table in tables.items():
        suffix = "" if len(tables) == 1 else f"_{part}"
        write_csv(_flat(table), folder.root / f"accuracy{suffix}.csv")
        _draw_bars(table, folder, suffix)
    _draw_histories(folder, keys)
    for key in keys:
        _write_errors(folder, key)
    cells = {key: _read_cell(folder, key) for key in keys}
    _write_environments(folder, cells)
    write_text(folder.root / "table.md", build_page(experiment, protocol, cells=cells, scores=scores, tables=tables))
    return next(iter(tables.values()))


def compare_protocols(experiment: Experiment, out: Path) -> Path:
    """Writes <out>/protocols.md: the test scores of every protocol that has been reported there, side by side."""
    folders = [RunFolder(out / name) for name in experiment.protocols if (out / name / "scores.csv").is_file()]
    scores = pd.concat([pd.read_csv(folder.root / "scores.csv") for folder in folders], ignore_index=True)
    smoke = [folder.root.name for folder in folders if folder.settings_of(folder.finished()[0])["smoke"]]
    lines = [f"# {experiment.name}: all protocols", ""]
    lines += [f"**Smoke runs, which say no more than that the code runs: {', '.join(smoke)}.**", ""] if smoke else []
    for part in _test_parts(scores):
        lines += [f"## On {part}", "", to_markdown(metrics_table(scores, part=part))]
    lines += ["Protocols whose splits differ have different test images. Each protocol's table.md says what it does."]
    return write_text(out / "protocols.md", "\n".join(lines) + "\n")


def _test_parts(scores: pd.DataFrame) -> list[str]:
    return sorted(set(scores["part"]) - {"train", "val", "model"})


def _declared_order(key: CellKey, declared: Protocol) -> tuple[int, int, int]:
    if (key.method, key.backbone) not in declared.cells:
        raise InputError(f"{key}: the protocol declares no such cell. Remove its folder, or name another with --out.")
    return declared.backbones.index(key.backbone), declared.methods.index(key.method), key.seed


def _cell_scores(folder: RunFolder, key: CellKey, protocol: str, positive_class: str | None) -> pd.DataFrame:
    figures = {"model": _model_figures(folder, key), "train": _training_figures(folder, key)}
    for part, predictions in folder.read_predictions(key).items():
        low, high = accuracy_interval(predictions)
        figures[part] = {**score(predictions, positive_class), "accuracy_low": low, "accuracy_high": high}
        figures[part]["majority_class"] = max(predictions.samples.class_counts().values()) / len(predictions)
    rows = [
        (protocol, key.method, key.backbone, part, key.seed, metric, value)
        for part, of_part in figures.items()
        for metric, value in of_part.items()
    ]
    return pd.DataFrame(rows, columns=["protocol", "method", "backbone", "part", "seed", "metric", "value"])


def _model_figures(folder: RunFolder, key: CellKey) -> dict[str, float]:
    facts, layers = _read_cell(folder, key)["facts"], pd.read_csv(folder.cell(key) / "layers.csv")
    return {
        "parameters": facts["parameters"],
        "trainable_parameters": layers["trainable_parameters_phase_1"].sum(),
        "seconds": facts["seconds"]["fit"],
        "peak_mb": facts["peak_mb"],  # None where it was not measured
    }


def _training_figures(folder: RunFolder, key: CellKey) -> dict[str, float]:
    history = pd.read_csv(folder.cell(key) / "history.csv")
    if "kept" not in history:
        raise InputError(f"{folder.cell(key)} was made by an earlier version of tlkeras; remove it, and run it again.")
    return history.loc[history["kept"], ["accuracy", "loss"]].iloc[0].to_dict()


def _read_cell(folder: RunFolder, key: CellKey) -> dict:
    return read_json(folder.cell(key) / "cell.json")


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    flat = table.copy()
    flat.columns = [f"{method} {figure}" for method, figure in table.columns]
    return flat.rename_axis("backbone").reset_index()


def _draw_bars(table: pd.DataFrame, folder: RunFolder, suffix: str) -> None:
    figure, ax = new_figure(max(7.0, 1.1 * len(table) + 3.0), 4.6)
    draw_accuracy_bars(table, ax)
    save_figure(figure, folder.root / f"accuracy_bars{suffix}.png")


def _draw_histories(folder: RunFolder, keys: list[CellKey]) -> None:
    histories = {key: pd.read_csv(folder.cell(key) / "history.csv") for key in keys}
    for key, history in histories.items():
        figure, axes = new_grid(1, 2, side=4.4)
        draw_training_curves(history, axes[0])
        figure.suptitle(f"{key.method}, {key.backbone}, seed {key.seed}", fontsize=10)
        save_figure(figure, folder.cell(key) / "curves.png")
    with_val = {key: history for key, history in histories.items() if history["val_accuracy"].notna().any()}
    for backbone in dict.fromkeys(key.backbone for key in with_val):
        first_seed = min(key.seed for key in with_val if key.backbone == backbone)
        of_backbone = {k.method: h for k, h in with_val.items() if k.backbone == backbone and k.seed == first_seed}
        figure, ax = new_figure(6.8, 4.2)
        draw_validation_accuracy(of_backbone, ax)
        ax.set_title(f"{backbone}, seed {first_seed}")
        save_figure(figure, folder.root / f"validation_accuracy_{backbone}.png")


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
