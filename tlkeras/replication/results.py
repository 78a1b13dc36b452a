"""From finished cells to scores, table and figures. Reads the run folder only: no training, no TensorFlow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.errors import InputError, MissingInputError
from tlkeras.evaluation.blocks import page_as_markdown
from tlkeras.evaluation.comparison_tables import paired_figures_table
from tlkeras.evaluation.printed_tables import accuracy_table, f1_table
from tlkeras.evaluation.report import report_html
from tlkeras.evaluation.score_tables import calibration_table, format_threshold_table, threshold_table
from tlkeras.evaluation.tables import BASELINE, test_parts
from tlkeras.files import write_csv, write_json, write_text
from tlkeras.replication.auditing import read_audits
from tlkeras.replication.cell_pages import cell_blocks
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.figures import (
    write_bars,
    write_class_counts,
    write_embeddings,
    write_errors,
    write_histories,
    write_thresholds,
)
from tlkeras.replication.model_cards import write_model_cards
from tlkeras.replication.page import Results, build_page
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.scoring import pair_cells, score_cells
from tlkeras.replication.search_report import write_rankings
from tlkeras.replication.settings import recipe_of

if TYPE_CHECKING:
    from tlkeras.replication.experiment import Experiment, Protocol


def report_experiment(experiment: Experiment, folder: RunFolder, protocol: str) -> pd.DataFrame:
    """Writes scores.csv, the table of accuracy or F1 as .csv, table.md, report.html, the figures and the model cards
    of one protocol; returns that table.

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
    cells = {key: folder.read_cell(key) for key in keys}
    for key, cell in cells.items():
        folder.require_same_recipe(key, cell["settings"]["recipe"])
    predicted = {key: folder.read_predictions(key) for key in keys}
    scores = score_cells(experiment, protocol, folder, cells, predicted)
    write_csv(scores, folder.root / "scores.csv")
    shows_f1 = experiment.shows_f1(protocol)
    tables = {
        part: _f1_table(experiment, protocol, cells, scores, part)
        if shows_f1
        else _accuracy_table(experiment, protocol, keys, scores, part)
        for part in test_parts(scores)
    }
    bars, lines, paired = {}, {}, {}
    for part, table in tables.items():
        suffix = "" if len(tables) == 1 else f"_{part}"
        write_csv(_flat(table), folder.root / f"{'f1' if shows_f1 else 'accuracy'}{suffix}.csv")
        bars[part] = write_bars(declared, table, folder, suffix, shows_f1)
        drawn_lines = write_thresholds(scores, part, folder, suffix)
        if drawn_lines is not None:
            lines[part] = drawn_lines
        pairs = pair_cells(predicted, part)
        if pairs is None:
            (folder.root / f"paired{suffix}.csv").unlink(missing_ok=True)
        else:
            write_csv(pairs, folder.root / f"paired{suffix}.csv")
            paired[part] = paired_figures_table(pairs)
    write_class_counts(folder, cells)
    drawn = write_histories(folder, keys, experiment.compared)
    embedded = {key: experiment.embedded[key.method] for key in keys if key.method in experiment.embedded}
    drawn |= write_embeddings(folder, embedded)
    rankings = write_rankings(folder, cells)
    for key, parts in predicted.items():
        write_errors(folder, key, parts, experiment.positive_class_of(protocol))
    _write_environments(folder, cells)
    calibration = {part: calibration_table(scores, part=part) for part in tables}
    thresholds = {part: threshold_table(scores, part=part) for part in tables}
    results = Results(
        cells=cells,
        scores=scores,
        tables=tables,
        bars=bars,
        lines=lines,
        paired=paired,
        thresholds={part: format_threshold_table(table) for part, table in thresholds.items() if table is not None},
        calibration={part: table for part, table in calibration.items() if table is not None},
        rankings=rankings,
        audits=read_audits(folder),
    )
    page = build_page(experiment, protocol, results)
    write_text(folder.root / "table.md", page_as_markdown(page, folder.root))
    report = build_page(experiment, protocol, results, details=cell_blocks(folder, predicted, drawn))
    write_text(folder.root / "report.html", report_html(report, title=f"{experiment.name}: protocol {protocol}"))
    write_model_cards(experiment, protocol, folder, cells, predicted, results.audits)
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
    sizes = {(key.method, key.backbone): "x".join(map(str, recipe_of(cell).image_size)) for key, cell in cells.items()}
    (documents,) = experiment.default_backbones
    columns = {}
    for method, title in experiment.f1_columns.items():
        run = [cell for cell in declared.cells if cell[0] == method and cell in sizes]
        published = (method, PIXELS if (method, PIXELS) in declared.cells else documents)
        for cell in run or [published]:
            network = {PIXELS: "", documents: documents}.get(cell[1], f"{cell[1]} for {documents}")
            words = [word for word in (network, sizes.get(cell)) if word]
            columns[f"{title} ({', '.join(words)})" if words else title] = (cell, published)
    columns[BASELINE[0]] = (BASELINE, BASELINE)
    class_names = list(next(iter(cells.values()))["facts"]["images"]["train"])
    reported = experiment.reported_for(protocol)
    return f1_table(scores, reported, columns=columns, class_names=class_names, part=part)


def _declared_order(key: CellKey, declared: Protocol) -> tuple[int, int, int]:
    if (key.method, key.backbone) not in declared.cells:
        raise InputError(f"{key}: the protocol declares no such cell. Remove its folder, or name another with --out.")
    return _rows(declared).index(key.backbone), declared.methods.index(key.method), key.seed


def _rows(declared: Protocol) -> list[str]:
    return [PIXELS, *declared.backbones]


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
