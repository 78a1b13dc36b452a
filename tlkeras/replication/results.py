"""From finished cells to scores, table and figures. Reads the run folder only: no training, no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tlkeras.errors import InputError, MissingInputError
from tlkeras.evaluation.blocks import page_as_markdown
from tlkeras.evaluation.report import report_html
from tlkeras.files import write_csv, write_json, write_text
from tlkeras.replication.auditing import read_audits
from tlkeras.replication.cell_pages import write_curves, write_errors, write_model_cards
from tlkeras.replication.common_page import PAGE
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.finished_run import FinishedRun
from tlkeras.replication.kept_columns import read_columns
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.scoring import score_cells
from tlkeras.replication.search_report import write_rankings

if TYPE_CHECKING:
    from tlkeras.replication.experiment import Plan, Protocol


def report_experiment(plan: Plan, folder: RunFolder) -> FinishedRun:
    """Writes scores.csv, table.md, report.html, what they show as tables and figures, and the model cards of a plan;
    returns what they tell of.

    Raises:
        MissingInputError: the folder holds no finished cell.
        InputError: it holds cells of other settings than one another's, or of none that the protocol declares.
    """
    run = _read_run(plan, folder)
    write_csv(run.scores, folder.root / "scores.csv")
    write_curves(run)
    write_errors(run)
    _write_environments(folder, run.cells)
    page = PAGE if plan.experiment.page is None else plan.experiment.page(plan, PAGE)
    table, report = page.build(run, run.parts)
    write_text(folder.root / "table.md", page_as_markdown(table, folder.root))
    write_text(folder.root / "report.html", report_html(report, title=plan.title))
    write_model_cards(run)
    return run


def _read_run(plan: Plan, folder: RunFolder) -> FinishedRun:
    keys = sorted(folder.finished(), key=lambda key: _declared_order(key, plan.protocol))
    if not keys:
        others = [name for name in plan.experiment.protocols if RunFolder(folder.root.parent / name).finished()]
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
    return FinishedRun(
        plan=plan,
        folder=folder,
        cells=cells,
        predicted=predicted,
        scores=score_cells(plan, folder, cells, predicted),
        rankings=write_rankings(folder, cells),
        audits=read_audits(folder),
        columns=read_columns(folder),
    )


def _declared_order(key: CellKey, declared: Protocol) -> tuple[int, int, int]:
    if (key.method, key.backbone) not in declared.cells:
        raise InputError(f"{key}: the protocol declares no such cell. Remove its folder, or name another with --out.")
    backbones = [PIXELS, *declared.backbones]
    return backbones.index(key.backbone), declared.methods.index(key.method), key.seed


def _write_environments(folder: RunFolder, cells: Mapping[CellKey, dict]) -> None:
    """environment.json: each environment that cells were made in, and which."""
    environments = {}
    for key, cell in cells.items():
        found = {"device": cell["facts"]["device"], **cell["facts"]["environment"]}
        environments.setdefault(json.dumps(found), (found, []))[1].append(str(key))
    write_json(folder.root / "environment.json", [{**found, "cells": cells} for found, cells in environments.values()])
