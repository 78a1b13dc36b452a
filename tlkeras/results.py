"""From finished cells to scores, table and figures. Reads the run folder only: no training, no TensorFlow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.evaluation.metrics import classification_report_table, confusion_table, score
from tlkeras.evaluation.plots import (
    draw_accuracy_bars,
    draw_confusion,
    draw_validation_accuracy,
    new_figure,
    save_figure,
)
from tlkeras.evaluation.statistics import accuracy_interval
from tlkeras.evaluation.tables import accuracy_table, format_accuracy_table, grid_table, to_markdown
from tlkeras.files import read_json, write_json, write_text
from tlkeras.runs import CellKey, RunFolder, write_csv
from tlkeras.schema import MissingInputError

if TYPE_CHECKING:
    from tlkeras.experiment import Experiment


def report_experiment(experiment: Experiment, folder: RunFolder, protocol: str) -> pd.DataFrame:
    """Writes scores.csv, accuracy.csv, table.md and the figures of one protocol; returns the accuracy table.

    Raises:
        MissingInputError: the folder holds no finished cell.
    """
    keys = folder.finished()
    if not keys:
        raise MissingInputError(
            f"{folder.root} holds no finished cell; run the experiment first, without --report-only."
        )
    first = folder.settings_of(keys[0])
    folder.require_same({name: first[name] for name in ("data", "split", "smoke", "skip_unreadable")})
    scores = pd.concat(
        [_cell_scores(folder, key, protocol, experiment.positive_class) for key in keys], ignore_index=True
    )
    declared = experiment.protocols[protocol]
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
        for part in sorted(set(scores["part"]) - {"val"})
    }
    write_csv(scores, folder.root / "scores.csv")
    for part, table in tables.items():
        suffix = "" if len(tables) == 1 else f"_{part}"
        write_csv(_flat(table), folder.root / f"accuracy{suffix}.csv")
        _draw_bars(table, folder, suffix)
    _draw_histories(folder, sorted(keys, key=lambda key: declared.methods.index(key.method)))
    for key in keys:
        _write_errors(folder, key)
    _write_environments(folder, keys)
    write_text(folder.root / "table.md", _page(experiment, folder, protocol, keys, scores, tables))
    return next(iter(tables.values()))


def _cell_scores(folder: RunFolder, key: CellKey, protocol: str, positive_class: str | None) -> pd.DataFrame:
    rows = []
    for part, predictions in folder.read_predictions(key).items():
        low, high = accuracy_interval(predictions)
        figures = {**score(predictions, positive_class), "accuracy_low": low, "accuracy_high": high}
        figures["majority_class"] = max(predictions.samples.class_counts().values()) / len(predictions)
        for metric, value in figures.items():
            row = (protocol, key.method, key.backbone, part, key.seed, metric, value)
            rows.append(
                dict(zip(("protocol", "method", "backbone", "part", "seed", "metric", "value"), row, strict=True))
            )
    return pd.DataFrame(rows)


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
    with_val = {key: history for key, history in histories.items() if history["val_accuracy"].notna().any()}
    for key, history in with_val.items():
        figure, ax = new_figure(6.4, 4.0)
        draw_validation_accuracy({f"{key.method}, {key.backbone}": history}, ax)
        save_figure(figure, folder.cell(key) / "validation_accuracy.png")
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
            figure, ax = new_figure(4.8, 4.2)
            draw_confusion(confusion_table(predictions), ax)
            ax.set_title(f"{key.method}, {key.backbone}, {part}")
            save_figure(figure, folder.cell(key) / f"confusion_{part}.png")


def _page(experiment, folder, protocol, keys, scores, tables) -> str:
    settings, declared = folder.settings_of(keys[0]), experiment.protocols[protocol]
    seeds = sorted({key.seed for key in keys})
    lines = [
        f"# {experiment.name}: protocol {protocol}",
        "",
        f"{experiment.paper.authors}, {experiment.paper.title}",
        "",
    ]
    if settings["smoke"]:
        lines += [
            "**A smoke run: a handful of images, one epoch, random weights. It says that the code runs, no more.**",
            "",
        ]
    for part, table in tables.items():
        counts = scores[(scores["part"] == part) & (scores["metric"] == "n")]["value"]
        baseline = scores[(scores["part"] == part) & (scores["metric"] == "majority_class")]["value"].iloc[0]
        lines += [f"## Accuracy on {part} ({int(counts.iloc[0])} images), per cent", ""]
        lines += [to_markdown(format_accuracy_table(table))]
        lines += [f"Always answering the commonest class gives {100 * baseline:.1f}.", ""]
        for backbone in dict.fromkeys(key.backbone for key in keys) if declared.grid else ():
            grid = grid_table(scores, declared.grid, backbone=backbone, part=part)
            lines += [f"### {backbone}", "", to_markdown(grid)]
    lines += [
        "In brackets: 95 % percentile bootstrap interval over the test images, drawn by patient or lesion where "
        f"these are known; the mean over seeds where there are several. Seeds: {', '.join(map(str, seeds))}. "
        "`not run` says so; nothing is filled in.",
        "",
        "## What differs from the document",
        "",
        *[f"- {line}" for line in declared.deviations],
        *[f"- {line}" for line in _weights_notes(folder, keys)],
        "",
        "## Stated by the document",
        "",
        *[f"- {line}" for line in experiment.stated],
        "",
        "## Assumed, for the document does not say",
        "",
        *[f"- {line}" for line in experiment.assumed],
        "",
        "## Made with",
        "",
        f"    {_command(experiment, protocol, keys, settings)}",
        "",
        to_markdown(_cost_table(folder, keys)),
    ]
    return "\n".join(lines)


def _command(experiment: Experiment, protocol: str, keys: list[CellKey], settings: dict) -> str:
    """The one command that makes these cells, DATA and WEIGHTS in place of folders, however many made them."""
    named = {"--backbones": "backbone", "--methods": "method", "--seeds": "seed"}
    words = [f"python experiments/{experiment.name}.py --data DATA --weights WEIGHTS --protocol {protocol}"]
    for option, field in named.items():
        words += [option, *dict.fromkeys(str(getattr(key, field)) for key in keys)]
    words += ["--smoke"] * settings["smoke"] + ["--skip-unreadable"] * settings["skip_unreadable"]
    return " ".join(words)


def _write_environments(folder: RunFolder, keys: list[CellKey]) -> None:
    """environment.json: each environment that cells were made in, and which."""
    environments = {}
    for key in keys:
        facts = _facts(folder, key)
        found = {"device": facts["device"], **facts["environment"]}
        environments.setdefault(json.dumps(found), (found, []))[1].append(str(key))
    write_json(folder.root / "environment.json", [{**found, "cells": cells} for found, cells in environments.values()])


def _facts(folder: RunFolder, key: CellKey) -> dict:
    return read_json(folder.cell(key) / "cell.json")["facts"]


def _weights_notes(folder: RunFolder, keys: list[CellKey]) -> list[str]:
    notes = {}
    for key in keys:
        weights = _facts(folder, key)["weights"]
        if weights is not None and weights["note"]:
            notes[f"{key.backbone}: {weights['path']}: {weights['note']}"] = None
    return list(notes)


def _cost_table(folder: RunFolder, keys: list[CellKey]) -> pd.DataFrame:
    rows = []
    for key in keys:
        facts = _facts(folder, key)
        rows.append(
            {
                "backbone": key.backbone,
                "method": key.method,
                "seed": key.seed,
                "seconds": f"{facts['seconds']['all']:.0f}",
                "process peak, MB": facts["process_peak_mb"],
                "parameters": f"{facts['parameters']:,}",
            }
        )
    return pd.DataFrame(rows).set_index("backbone")
