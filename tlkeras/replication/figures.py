"""The sections of report.html that show figures of several cells together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.evaluation.blocks import Block, Figure, Heading
from tlkeras.evaluation.plots import draw_accuracy_lines, draw_class_counts, new_figure, save_figure
from tlkeras.user_text import in_figure

if TYPE_CHECKING:
    from tlkeras.replication.finished_run import FinishedRun
    from tlkeras.replication.run_folder import RunFolder


def class_counts(run: FinishedRun) -> list[Block]:
    """class_counts.png: images per class and part, of the first seed's split."""
    key, cell = next(iter(run.cells.items()))
    counts = pd.DataFrame(cell["facts"]["images"])
    figure, ax = new_figure(max(5.0, 1.0 * len(counts) + 2.5), 4.0)
    draw_class_counts(counts, ax)
    ax.set_title(f"images per class and part, seed {key.seed} (n = {counts.to_numpy().sum():,})", fontsize=10)
    file = save_figure(figure, run.folder.root / "class_counts.png")
    return [Heading("Figures"), Figure(file, "images per class and part, as bars")]


def accuracy_lines(run: FinishedRun) -> list[Block]:
    """validation_accuracy_<backbone>.png, a line for each method of a network, and training_accuracy_<backbone>.png of
    the two methods that `Experiment.compared` names."""
    compared, blocks = run.plan.experiment.compared, []
    by_seed: dict[str, dict[int, dict[str, pd.DataFrame]]] = {}
    for key, history in run.histories.items():
        by_seed.setdefault(key.backbone, {}).setdefault(key.seed, {})[key.method] = history
    for backbone, seeds in by_seed.items():
        first = min(seeds)
        with_val = {method: log for method, log in seeds[first].items() if log["val_accuracy"].notna().any()}
        if with_val:
            blocks.append(_draw_lines(run.folder, with_val, "validation", backbone, first))
        with_both = [seed for seed, logs in seeds.items() if compared and set(compared) <= set(logs)]
        if with_both:
            logs = seeds[min(with_both)]
            both = {label: logs[method] for method, label in compared.items()}
            blocks.append(_draw_lines(run.folder, both, "training", backbone, min(with_both)))
    return blocks


def _draw_lines(folder: RunFolder, logs: Mapping[str, pd.DataFrame], part: str, backbone: str, seed: int) -> Figure:
    figure, ax = new_figure(6.8, 4.2)
    draw_accuracy_lines(logs, ax, part=part)
    ax.set_title(in_figure(f"{backbone}, seed {seed}"))
    file = save_figure(figure, folder.root / f"{part}_accuracy_{backbone}.png")
    return Figure(file, f"{part} accuracy of {backbone}, epoch by epoch, one line for each method")


def activation_figures(run: FinishedRun) -> list[Block]:
    """What --activations has drawn of the networks that were run."""
    return [
        Figure(file, f"what one layer of {backbone} makes of one test image, in two networks")
        for backbone in dict.fromkeys(key.backbone for key in run.predicted)
        for file in sorted(run.folder.root.glob(f"activations_{backbone}_seed*.png"))
    ]
