"""From finished cells to scores, table and figures. Reads the run folder only: no training, no TensorFlow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.evaluation.f1 import f1_table
from tlkeras.evaluation.metrics import classification_report_table, confusion_table, score
from tlkeras.evaluation.statistics import accuracy_interval
from tlkeras.evaluation.tables import accuracy_table, test_parts
from tlkeras.experiment import PIXELS
from tlkeras.figures import write_bars, write_class_counts, write_embeddings, write_errors, write_histories
from tlkeras.files import read_json, write_csv, write_json, write_text
from tlkeras.page import build_page
from tlkeras.runs import CellKey, RunFolder
from tlkeras.schema import InputError, MissingInputError
from tlkeras.search_report import write_rankings
from tlkeras.settings import image_size_of, training_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlkeras.experiment import Experiment, Protocol
    from tlkeras.schema import Predictions


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
        [_cell_scores(folder, key, cell, protocol, experiment) for key, cell in cells.items()],
        ignore_index=True,
    )
    write_csv(scores, folder.root / "scores.csv")
    shows_f1 = experiment.shows_f1(protocol)
    tables = {
        part: _f1_table(experiment, protocol, cells, scores, part)
        if shows_f1
        else _accuracy_table(experiment, protocol, keys, scores, part)
        for part in test_parts(scores)
    }
    for part, table in tables.items():
        suffix = "" if len(tables) == 1 else f"_{part}"
        write_csv(_flat(table), folder.root / f"{'f1' if shows_f1 else 'accuracy'}{suffix}.csv")
        write_bars(declared, table, folder, suffix, shows_f1)
    write_class_counts(folder, cells)
    write_histories(folder, keys, experiment.compared)
    write_embeddings(
        folder, {key: experiment.embedded[key.method] for key in keys if key.method in experiment.embedded}
    )
    rankings = write_rankings(folder, cells)
    for key in keys:
        write_errors(folder, key)
    _write_environments(folder, cells)
    page = build_page(experiment, protocol, cells=cells, scores=scores, tables=tables, rankings=rankings)
    write_text(folder.root / "table.md", page)
    return next(iter(tables.values()))


def _accuracy_table(
    experiment: Experiment, protocol: str, keys: list[CellKey], scores: pd.DataFrame, part: str
) -> pd.DataFrame:
    declared = experiment.protocols[protocol]
    # What the document reports stays, as "not run", beside the rows that were run.
    reported = experiment.reported_for(protocol)
    published = {cell[1] for cell, _, _ in reported}
    rows = {key.backbone for key in keys} | published
    return accuracy_table(
        scores,
        reported,
        protocol=protocol,
        methods=list(declared.methods),
        backbones=[backbone for backbone in _rows(declared) if backbone in rows],
        part=part,
    )


def _f1_table(
    experiment: Experiment, protocol: str, cells: dict[CellKey, dict], scores: pd.DataFrame, part: str
) -> pd.DataFrame:
    declared = experiment.protocols[protocol]
    sizes = {
        (key.method, key.backbone): "x".join(map(str, image_size_of(cell["settings"]["recipe"])))
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
    reported = experiment.reported_for(protocol)
    return f1_table(scores, reported, columns=columns, class_names=class_names, part=part)


def _declared_order(key: CellKey, declared: Protocol) -> tuple[int, int, int]:
    if (key.method, key.backbone) not in declared.cells:
        raise InputError(f"{key}: the protocol declares no such cell. Remove its folder, or name another with --out.")
    return _rows(declared).index(key.backbone), declared.methods.index(key.method), key.seed


def _rows(declared: Protocol) -> list[str]:
    return [PIXELS, *declared.backbones]


def _cell_scores(folder: RunFolder, key: CellKey, cell: dict, protocol: str, experiment: Experiment) -> pd.DataFrame:
    facts = cell["facts"]
    figures = {"model": {"seconds": facts["seconds"]["fit"], "peak_mb": facts["peak_mb"]}}  # None: not measured
    training = training_of(cell)
    if training is not None:
        learning = pd.read_csv(folder.cell(key) / "layers.csv")["trainable_parameters_phase_1"].sum()
        figures["model"] |= {"parameters": facts["parameters"], "trainable_parameters": learning}
        figures["train"] = _training_figures(folder, key, training)
    for part, predictions in folder.read_predictions(key).items():
        low, high = accuracy_interval(predictions)
        positive = _positive(experiment.positive_class_of(protocol), predictions)
        found = {**score(predictions, positive), "accuracy_low": low, "accuracy_high": high}
        found["majority_class"] = max(predictions.samples.class_counts().values()) / len(predictions)
        report = classification_report_table(predictions)
        for metric in ("precision", "recall"):
            found[f"macro_{metric}"] = report.loc["macro", metric]
        for metric in ("precision", "recall", "f1"):
            found |= {f"{metric}_{name}": value for name, value in report[metric].drop("macro").items()}
        found |= _confused(predictions, [metric for cell, of, metric in experiment.reported if of == part])
        # Of training images, what was predicted stands before what the log of the training says.
        figures[part] = {**figures.get(part, {}), **found}
    rows = [
        (protocol, key.method, key.backbone, part, key.seed, metric, value)
        for part, of_part in figures.items()
        for metric, value in of_part.items()
    ]
    return pd.DataFrame(rows, columns=["protocol", "method", "backbone", "part", "seed", "metric", "value"])


def _positive(declared: str | None, predictions: Predictions) -> str | None:
    """The positive class, where the data set (it may be one of the user's own) has it among two."""
    names = predictions.samples.class_names
    return declared if declared in names and len(names) == 2 else None


def _confused(predictions: Predictions, reported: Iterable[str]) -> dict[str, int]:
    """The counts `confused_<actual>_as_<predicted>` that the document prints, <actual> a class or "others"."""
    table = confusion_table(predictions)
    counts = {
        f"confused_{actual}_as_{predicted}": table.loc[actual, predicted]
        for actual in table.index
        for predicted in table.columns
    }
    counts |= {f"confused_others_as_{name}": table[name].sum() - table.loc[name, name] for name in table.columns}
    return {name: count for name, count in counts.items() if name in reported}


def _training_figures(folder: RunFolder, key: CellKey, training: dict) -> dict[str, float]:
    history = pd.read_csv(folder.cell(key) / "history.csv")
    if "kept" not in history:
        raise InputError(f"{folder.cell(key)} was made by an earlier version of tlkeras; remove it, and run it again.")
    kept = history.index[history["kept"]][0]
    return {
        **history.loc[kept, ["accuracy", "loss"]].to_dict(),
        "epochs": len(history),
        "epochs_allowed": sum(phase["epochs"] for phase in training["phases"]),
        "kept_epoch": kept + 1,
    }


def _read_cell(folder: RunFolder, key: CellKey) -> dict:
    return read_json(folder.cell(key) / "cell.json")


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    flat = table.copy()
    flat.columns = [f"{column} {figure}" for column, figure in table.columns]
    return flat.reset_index()


def _write_environments(folder: RunFolder, cells: dict[CellKey, dict]) -> None:
    """environment.json: each environment that cells were made in, and which."""
    environments = {}
    for key, cell in cells.items():
        found = {"device": cell["facts"]["device"], **cell["facts"]["environment"]}
        environments.setdefault(json.dumps(found), (found, []))[1].append(str(key))
    write_json(folder.root / "environment.json", [{**found, "cells": cells} for found, cells in environments.values()])
