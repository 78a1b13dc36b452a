"""What is known of a protocol's run when its page is made: the finished cells, their predictions and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tlkeras.evaluation.tables import test_parts
from tlkeras.replication.settings import training_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from tlkeras.data.leakage_findings import Audit
    from tlkeras.replication.experiment import Plan
    from tlkeras.replication.run_folder import CellKey, RunFolder
    from tlkeras.replication.scoring import Predicted
    from tlkeras.training.tuner import Tuner


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """The finished cells of a plan's run folder.

    Attributes:
        plan: what was run.
        folder: where.
        cells: {key: what cell.json holds}, in the order of a page.
        predicted: {key: {part: its predictions}}.
        scores: tidy, all parts; see `evaluation.tables`.
        rankings: {key: ranking_table} of the cells that searched a grid.
        audits: {seed: Audit} of the splits.
        columns: those by which subgroups are told apart, index sample_id; see `kept_columns`.
    """

    plan: Plan
    folder: RunFolder
    cells: Mapping[CellKey, dict]
    predicted: Predicted
    scores: pd.DataFrame
    rankings: Mapping[CellKey, pd.DataFrame] = field(default_factory=dict)
    audits: Mapping[int, Audit] = field(default_factory=dict)
    columns: pd.DataFrame | None = None

    @property
    def settings(self) -> dict:
        """The settings of the first cell: split, smoke and those about the images are those of all cells."""
        return next(iter(self.cells.values()))["settings"]

    @property
    def images(self) -> Mapping[str, Mapping[str, int]]:
        """{part: {class: images}} of the first seed's split."""
        return next(iter(self.cells.values()))["facts"]["images"]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the images."""
        return tuple(self.images["train"])

    @property
    def subgroup_columns(self) -> list[str]:
        """The columns by which figures are told apart: those that the experiment names, of which the folder knows."""
        named = self.plan.experiment.subgroups
        return [] if self.columns is None else [str(column) for column in self.columns if column in named]

    @property
    def parts(self) -> list[str]:
        """The test parts."""
        return test_parts(self.scores)

    @cached_property
    def trained(self) -> dict[CellKey, Tuner]:
        """Of the cells whose network was trained, the recipe of that; see `training_of`."""
        recipes = {key: training_of(cell) for key, cell in self.cells.items()}
        return {key: recipe for key, recipe in recipes.items() if recipe is not None}

    @cached_property
    def histories(self) -> dict[CellKey, pd.DataFrame]:
        """{key: history.csv} of the cells that have one."""
        files = ((key, name) for key in self.cells for name in self.folder.files(key, "history.csv"))
        return {key: self.folder.read_table(key, name) for key, name in files}

    def file(self, name: str, part: str) -> Path:
        """Where a file about one test part lies: "bars.png", or "bars_<part>.png" where there are several parts."""
        stem, ending = name.rsplit(".", 1)
        return self.folder.root / f"{stem}{'' if len(self.parts) == 1 else f'_{part}'}.{ending}"
