"""From the predictions of finished cells to tidy scores, and to what is told of several cells together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tlkeras.evaluation.calibration import at_temperature, fit_temperature
from tlkeras.evaluation.metrics import confusion_table
from tlkeras.evaluation.statistics import baseline, bootstrap, holm, paired
from tlkeras.evaluation.tables import AFTER_SCALING, BASELINE, SCALED, SCORES
from tlkeras.experiment import PIXELS
from tlkeras.schema import NOT_TESTS, InputError
from tlkeras.settings import training_of

if TYPE_CHECKING:
    from tlkeras.experiment import Experiment
    from tlkeras.runs import CellKey, RunFolder
    from tlkeras.schema import Predictions

Predicted = Mapping["CellKey", Mapping[str, "Predictions"]]  # {cell: {part: its predictions}}
FEW_CELLS = 6  # with more, every two would be too many: Holm's correction asks more of each


def score_cells(
    experiment: Experiment, protocol: str, folder: RunFolder, cells: Mapping[CellKey, dict], predicted: Predicted
) -> pd.DataFrame:
    """Every figure of every cell and of the baseline, with intervals, as scores.csv holds them.

    Args:
        experiment: the declaration.
        protocol: its protocol.
        folder: the protocol's run folder.
        cells: {key: what cell.json holds} of the finished cells.
        predicted: their predictions.

    Returns:
        Columns `tables.SCORES`. Part "model" holds seconds, peak_mb and parameters, part "train" the training log in
        the epoch that was kept, part "val" the temperature fitted there, the test parts what it changes.
    """
    positive = experiment.positive_class_of(protocol)
    rows: list[tuple] = []
    for key, cell in cells.items():
        figures = _training_figures(folder, key, cell)
        for part, predictions in predicted[key].items():
            found = _measured(predictions, positive)
            counts = _confused(predictions, [metric for _, of, metric in experiment.reported if of == part])
            # Of training images, what was predicted stands before what the log of the training says.
            figures[part] = figures.get(part, {}) | found | _values(counts)
        for part, found in _scaled(predicted[key]).items():
            figures[part] |= found
        rows += _rows(protocol, (key.method, key.backbone), key.seed, figures)
    seeds = {key.seed: key for key in reversed(cells)}
    for seed, key in sorted(seeds.items()):
        counts = cells[key]["facts"]["images"]["train"]
        tests = {part: of_part for part, of_part in predicted[key].items() if part not in NOT_TESTS}
        figures = {part: _measured(baseline(counts, of_part), positive) for part, of_part in tests.items()}
        rows += _rows(protocol, BASELINE, seed, figures)
    return pd.DataFrame(rows, columns=list(SCORES))


def pair_cells(predicted: Predicted, part: str) -> pd.DataFrame | None:
    """The paired differences in accuracy between cells on one part, Holm's correction over them; see `pair_up`.

    Compared are every two of up to `FEW_CELLS` cells; of more, the methods of each backbone, the backbones of each
    method, and methods on pixels with all others. None where there is nothing to compare.
    """
    cells: dict[tuple[str, str], dict[int, Predictions]] = {}
    for key, parts in predicted.items():
        if part in parts:
            cells.setdefault((key.backbone, key.method), {})[key.seed] = parts[part]
    few = len(cells) <= FEW_CELLS
    rows = [
        pair_up(*((f"{method}, {backbone}", cells[backbone, method]) for backbone, method in pair), ("accuracy",))
        for pair in combinations(cells, 2)
        if few or pair[0][0] == pair[1][0] or pair[0][1] == pair[1][1] or PIXELS in (pair[0][0], pair[1][0])
    ]
    rows = [table for table in rows if table is not None]
    return holm(pd.concat(rows, ignore_index=True)) if rows else None


def pair_up(
    first: tuple[str, Mapping[int, Predictions]], second: tuple[str, Mapping[int, Predictions]], metrics: Sequence[str]
) -> pd.DataFrame | None:
    """`statistics.paired` of two methods over the seeds they have in common; None where there are none.

    Args:
        first: a method's name, and {seed: its predictions of one part}.
        second: the other's.
        metrics: figures of `metrics.score`.

    Returns:
        One row per metric: columns first_method, second_method, seeds ("0, 1"), metric and those of `paired`.
    """
    (first_name, of_first), (second_name, of_second) = first, second
    seeds = sorted(set(of_first) & set(of_second))
    if not seeds:
        return None
    table = paired([of_first[seed] for seed in seeds], [of_second[seed] for seed in seeds], metrics=metrics)
    names = {"first_method": first_name, "second_method": second_name, "seeds": ", ".join(map(str, seeds))}
    table = table.reset_index().assign(**names)
    return table[[*names, *table.columns.drop([*names])]]


def _rows(protocol: str, cell: tuple[str, str], seed: int, figures: Mapping[str, Mapping[str, tuple]]) -> list[tuple]:
    return [
        (protocol, *cell, part, seed, metric, *(*found, None, None)[:3])
        for part, of_part in figures.items()
        for metric, found in of_part.items()
    ]


def _measured(predictions: Predictions, positive_class: str | None) -> dict[str, tuple]:
    """{metric: (value, low, high)}."""
    names = predictions.samples.class_names
    # The data set may be one of the user's own, with other classes.
    positive = positive_class if positive_class in names and len(names) == 2 else None
    table = bootstrap(predictions, positive_class=positive)
    return {"n": (float(len(predictions)),)} | {row[0]: row[1:] for row in table.itertuples(name=None)}


def _scaled(parts: Mapping[str, Predictions]) -> dict[str, dict[str, tuple]]:
    """What a temperature fitted to the validation images makes of the test parts; nothing without such images."""
    tests = [part for part in parts if part not in NOT_TESTS]
    if "val" not in parts:
        return {}
    temperature = fit_temperature(parts["val"])
    figures = {"val": {"temperature": (temperature,)}}
    for part in tests:
        if np.isfinite(temperature):
            table = bootstrap(at_temperature(parts[part], temperature), metrics=SCALED)
        else:
            table = pd.DataFrame(np.nan, index=SCALED, columns=["value", "low", "high"])
        figures[part] = {f"{row[0]}{AFTER_SCALING}": row[1:] for row in table.itertuples(name=None)}
    return figures


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


def _training_figures(folder: RunFolder, key: CellKey, cell: dict) -> dict[str, dict[str, tuple]]:
    """Of parts "model" and "train": what the cell took, and how its training ended."""
    facts, training = cell["facts"], training_of(cell)
    model = {"seconds": facts["seconds"]["fit"], "peak_mb": facts["peak_mb"]}  # None: not measured
    if training is None:
        return {"model": _values(model)}
    learning = pd.read_csv(folder.cell(key) / "layers.csv")["trainable_parameters_phase_1"].sum()
    model |= {"parameters": facts["parameters"], "trainable_parameters": learning}
    history = pd.read_csv(folder.cell(key) / "history.csv")
    if "kept" not in history:
        raise InputError(f"{folder.cell(key)} was made by an earlier version of tlkeras; remove it, and run it again.")
    kept = history.index[history["kept"]][0]
    train = {
        **history.loc[kept, ["accuracy", "loss"]].to_dict(),
        "epochs": len(history),
        "epochs_allowed": sum(phase["epochs"] for phase in training["phases"]),
        "kept_epoch": kept + 1,
    }
    return {"model": _values(model), "train": _values(train)}


def _values(figures: Mapping[str, float | None]) -> dict[str, tuple]:
    return {metric: (value,) for metric, value in figures.items()}
