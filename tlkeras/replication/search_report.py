"""What the grids of finished cells found, from the run folder: the ranked settings as a table and a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.evaluation.blocks import Block, Heading, Table, Text
from tlkeras.evaluation.grid_search import fold_results, format_ranking_table, metric_in_words, ranking_table
from tlkeras.evaluation.plots import new_figure, save_figure
from tlkeras.evaluation.table_plots import draw_grid
from tlkeras.files import write_csv
from tlkeras.replication.settings import recipe_of
from tlkeras.training.search import Search
from tlkeras.user_text import in_figure

if TYPE_CHECKING:
    from tlkeras.replication.finished_run import FinishedRun
    from tlkeras.replication.run_folder import CellKey, RunFolder


def write_rankings(folder: RunFolder, cells: Mapping[CellKey, dict]) -> dict[CellKey, pd.DataFrame]:
    """Writes ranking.csv and, for a grid of two names, grid.png of every finished search; returns the rankings.

    Args:
        folder: a protocol's run folder.
        cells: {key: what cell.json holds} of its finished cells.
    """
    found = {}
    for key, cell in cells.items():
        recipe = recipe_of(cell)
        if not isinstance(recipe, Search):
            continue
        fields = list(recipe.grid)
        settings = recipe.settings_in_table
        text = {"sample_id": str, "group": str, "label": str} | {f"setting_{n}": str for n in range(len(settings))}
        predicted = folder.read_table(key, "out_of_fold.csv", dtype=text)
        metric = recipe.ranked_by
        found[key] = ranking_table(fold_results(predicted, settings, metric), fields, metric)
        write_csv(found[key], folder.cell(key) / "ranking.csv")
        if len(fields) == 2:
            figure, ax = new_figure(6.4, 4.2)
            draw_grid(found[key], ax, x=fields[1], y=fields[0], metric=metric)
            ax.set_title(in_figure(f"{key.method}, {key.backbone}, seed {key.seed}"), fontsize=10)
            save_figure(figure, folder.cell(key) / "grid.png")
    return found


def rankings(run: FinishedRun, *, published: Mapping[str, Mapping[tuple, float]] | None = None) -> list[Block]:
    """The ranked settings of every grid, the document's figures beside ours.

    Args:
        run: the finished run.
        published: {method: {values of the grid, in its order: mean accuracy 0..1}}, as the document prints it.
    """
    blocks = []
    for key, ranking in run.rankings.items():
        recipe = Search.from_description(run.cells[key]["settings"]["recipe"])
        metric, folds = recipe.ranked_by, recipe.folds.n_folds
        printed = (published or {}).get(key.method) if metric == "accuracy" else None
        found = run.cells[key]["facts"]["search"]
        words = metric_in_words(metric)
        kept = f", with {found['kept']} of its trainings kept from an earlier start" if found.get("kept") else ""
        blocks += [
            Heading(f"The grid of {key}"),
            Table(format_ranking_table(ranking, printed, metric)),
            Text(
                f"{words[0].upper()}{words[1:]} on held-out folds, mean and standard deviation over {folds} folds of "
                f"the training images, and a 95 % interval over their {ranking['groups'].iloc[0]:,.0f} groups "
                "(patients or lesions). The best setting is fitted again on all of them. Settings whose means are "
                "equal share a rank; the fewest epochs, then the lower rate, go first. The grid took "
                f"{found['seconds']:,.0f} s{kept}."
            ),
        ]
    return blocks
