"""From the predictions of finished cells to tidy scores, and to what is told of several cells together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tlkeras.errors import InputError
from tlkeras.evaluation.calibration import at_adjustment, at_temperature, fit_adjustment, fit_temperature
from tlkeras.evaluation.intervals import seed_intervals
from tlkeras.evaluation.metrics import baseline, confusion_table
from tlkeras.evaluation.paired import holm, paired
from tlkeras.evaluation.tables import (
    ADJUSTED,
    AFTER_SCALING,
    BASELINE,
    RANKING_AND_THRESHOLD,
    SCALED,
    SCORES,
    Measurement,
)
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.run_folder import CellKey
from tlkeras.replication.settings import training_of
from tlkeras.schema import NOT_TESTS, Predictions

if TYPE_CHECKING:
    from tlkeras.evaluation.calibration import Adjustment
    from tlkeras.replication.experiment import Plan
    from tlkeras.replication.run_folder import RunFolder
    from tlkeras.training.tuner import Tuner

Predicted = Mapping[CellKey, Mapping[str, Predictions]]  # {cell: {part: its predictions}}
AT_THRESHOLD = ("accuracy", "balanced_accuracy")
FEW_CELLS = 6  # with more, every two would be too many: Holm's correction asks more of each


def score_cells(plan: Plan, folder: RunFolder, cells: Mapping[CellKey, dict], predicted: Predicted) -> pd.DataFrame:
    """Every figure of every cell and of the baseline, with intervals, as scores.csv holds them.

    Args:
        plan: what was run.
        folder: its run folder.
        cells: {key: what cell.json holds} of the finished cells.
        predicted: their predictions.

    Returns:
        Columns `tables.SCORES`. Part "model" holds seconds, peak_mb and parameters, part "train" the training log in
        the epoch that was kept, part "val" the temperature and, of two classes, the threshold fitted there, the test
        parts what they change.
    """
    positive = plan.positive_class
    rows: list[tuple] = []
    for cell, of_seeds in seeds_of_cells(predicted).items():
        keys = {key.seed: key for key in cells if (key.method, key.backbone) == cell}
        figures = {seed: _training_figures(folder, key, cells[key]) for seed, key in keys.items()}
        for part, of_part in _by_part(of_seeds).items():
            counts = [metric for _, of, metric in plan.experiment.reported if of == part]
            for seed, found in _measured(of_part, positive).items():
                found |= _values(_confused(of_part[seed], counts))
                # Of training images, what was predicted stands before what the log of the training says.
                figures[seed][part] = figures[seed].get(part, {}) | found
        for seed, parts in _after_validation(of_seeds, positive).items():
            for part, found in parts.items():
                figures[seed][part] |= found
        for seed in of_seeds:
            rows += _rows(plan.name, cell, seed, figures[seed])
    seeds = {key.seed: key for key in reversed(list(cells))}
    commonest: dict[str, dict[int, Predictions]] = {}
    for seed, key in sorted(seeds.items()):
        counts = cells[key]["facts"]["images"]["train"]
        for part, of_part in predicted[key].items():
            if part not in NOT_TESTS:
                commonest.setdefault(part, {})[seed] = baseline(counts, of_part)
    for part, of_part in commonest.items():
        for seed, found in _measured(of_part, positive).items():
            rows += _rows(plan.name, BASELINE, seed, {part: found})
    return pd.DataFrame(rows, columns=list(SCORES))


def seeds_of_cells(predicted: Predicted) -> dict[tuple[str, str], dict[int, Mapping[str, Predictions]]]:
    """{(method, backbone): {seed: {part: predictions}}}, in the order given."""
    found: dict[tuple[str, str], dict[int, Mapping[str, Predictions]]] = {}
    for key, parts in predicted.items():
        found.setdefault((key.method, key.backbone), {})[key.seed] = parts
    return found


def _by_part(of_seeds: Mapping[int, Mapping[str, Predictions]]) -> dict[str, dict[int, Predictions]]:
    """{part: {seed: predictions}}."""
    found: dict[str, dict[int, Predictions]] = {}
    for seed, parts in of_seeds.items():
        for part, predictions in parts.items():
            found.setdefault(part, {})[seed] = predictions
    return found


def pair_cells(predicted: Predicted, part: str) -> pd.DataFrame | None:
    """The paired differences between cells on one part in the figures `RANKING_AND_THRESHOLD`, Holm's correction over
    the pairs of each; see `pair_up`. Accuracy with validation's line is left out where not all seeds have one.

    Compared are every two of up to `FEW_CELLS` cells; of more, the methods of each backbone, the backbones of each
    method, and methods on pixels with all others. None where there is nothing to compare.
    """
    cells = {cell: of_seeds for cell, of_seeds in seeds_of_cells(predicted).items() if part in _by_part(of_seeds)}
    as_they_are = {cell: _by_part(of_seeds)[part] for cell, of_seeds in cells.items()}
    adjusted = {cell: _adjusted(of_seeds, part, _adjustments(of_seeds)) for cell, of_seeds in cells.items()}
    few = len(cells) <= FEW_CELLS
    rows, kept = [], {}
    for pair in combinations(cells, 2):
        (first_method, first), (second_method, second) = pair
        if not (few or first == second or first_method == second_method or PIXELS in (first, second)):
            continue
        names = [", ".join(cell) for cell in pair]
        for metric in RANKING_AND_THRESHOLD:
            base = metric.removesuffix(ADJUSTED)
            chosen = adjusted if base != metric else as_they_are
            if any(set(chosen[cell]) != set(as_they_are[cell]) for cell in pair):
                continue  # figures over other seeds are of other trainings
            of_first, of_second = ((name, chosen[cell]) for name, cell in zip(names, pair, strict=True))
            table = pair_up(of_first, of_second, (base,), kept)
            if table is not None:
                rows.append(table.assign(metric=metric))
    if not rows:
        return None
    table = pd.concat(rows, ignore_index=True)
    return pd.concat([holm(of_metric) for _, of_metric in table.groupby("metric", sort=False)]).sort_index()


def pair_up(
    first: tuple[str, Mapping[int, Predictions]],
    second: tuple[str, Mapping[int, Predictions]],
    metrics: Sequence[str],
    kept: dict | None = None,
) -> pd.DataFrame | None:
    """`paired.paired` of two methods over the seeds they have in common; None where there are none.

    Args:
        first: a method's name, and {seed: its predictions of one part}.
        second: the other's.
        metrics: figures of `metrics.score`.
        kept: what calls share, see `paired.paired`.

    Returns:
        One row per metric: columns first_method, second_method, seeds ("0, 1"), metric and those of `paired`.
    """
    (first_name, of_first), (second_name, of_second) = first, second
    seeds = sorted(set(of_first) & set(of_second))
    if not seeds:
        return None
    table = paired([of_first[seed] for seed in seeds], [of_second[seed] for seed in seeds], metrics=metrics, kept=kept)
    names = {"first_method": first_name, "second_method": second_name, "seeds": ", ".join(map(str, seeds))}
    table = table.reset_index().assign(**names)
    return table[[*names, *table.columns.drop([*names])]]


def _rows(
    protocol: str, cell: tuple[str, str], seed: int, figures: Mapping[str, Mapping[str, Measurement]]
) -> list[tuple]:
    return [
        (protocol, *cell, part, seed, metric, *found)
        for part, of_part in figures.items()
        for metric, found in of_part.items()
    ]


def _measured(
    of_seeds: Mapping[int, Predictions],
    positive_class: str | None,
    metrics: Sequence[str] | None = None,
    behind: str = "",
) -> dict[int, dict[str, Measurement]]:
    """{seed: {metric: ...}}, with `behind` behind the metrics' names."""
    names = next(iter(of_seeds.values())).samples.class_names
    # The data set may be one of the user's own, with other classes.
    positive = positive_class if positive_class in names and len(names) == 2 else None
    *each, together = seed_intervals(list(of_seeds.values()), positive_class=positive, metrics=metrics)
    n_seeds = len(of_seeds)
    found: dict[int, dict[str, Measurement]] = {}
    for (seed, predictions), table in zip(of_seeds.items(), each, strict=True):
        found[seed] = {"n": Measurement(float(len(predictions)))} if metrics is None else {}
        for metric, *figures in table.itertuples(name=None):
            of_mean = (n_seeds, *together.loc[metric, ["low", "high"]]) if n_seeds > 1 else ()
            found[seed][f"{metric}{behind}"] = Measurement(*figures, *of_mean)
    return found


def _after_validation(
    of_seeds: Mapping[int, Mapping[str, Predictions]], positive_class: str | None
) -> dict[int, dict[str, dict[str, Measurement]]]:
    """{seed: {part: {metric: ...}}}: what a temperature, and another line between the classes, both fitted to the
    validation images, make of the test parts; nothing for seeds without such images."""
    figures: dict[int, dict[str, dict[str, Measurement]]] = {}
    adjustments = _adjustments(of_seeds)
    scaled: dict[str, dict[int, Predictions]] = {}
    for seed, parts in of_seeds.items():
        if "val" not in parts:
            continue
        temperature, adjustment = fit_temperature(parts["val"]), adjustments.get(seed)
        on_val = {"temperature": Measurement(temperature)}
        names = parts["val"].samples.class_names
        if len(names) == 2:
            label = names.index(positive_class) if positive_class in names else 1
            on_val["threshold"] = Measurement(np.nan if adjustment is None else adjustment.threshold(label))
        figures[seed] = {"val": on_val}
        for part in _tests(parts):
            undefined = [f"{metric}{AFTER_SCALING}" for metric in SCALED]
            undefined += [f"{metric}{ADJUSTED}" for metric in AT_THRESHOLD]
            figures[seed][part] = dict.fromkeys(undefined, Measurement(np.nan))
            if np.isfinite(temperature):
                scaled.setdefault(part, {})[seed] = at_temperature(parts[part], temperature)
    for part, of_part in scaled.items():
        for seed, found in _measured(of_part, None, SCALED, AFTER_SCALING).items():
            figures[seed][part] |= found
    for part in dict.fromkeys(part for of_seed in figures.values() for part in _tests(of_seed)):
        adjusted = _adjusted(of_seeds, part, adjustments)
        for seed, found in _measured(adjusted, None, AT_THRESHOLD, ADJUSTED).items() if adjusted else ():
            figures[seed][part] |= found
    return figures


def _tests(parts: Iterable[str]) -> list[str]:
    return [part for part in parts if part not in NOT_TESTS]


def _adjustments(of_seeds: Mapping[int, Mapping[str, Predictions]]) -> dict[int, Adjustment]:
    """{seed: the line that its validation images set}, of seeds that have one."""
    fitted = {seed: fit_adjustment(parts["val"]) for seed, parts in of_seeds.items() if "val" in parts}
    return {seed: adjustment for seed, adjustment in fitted.items() if adjustment is not None}


def _adjusted(
    of_seeds: Mapping[int, Mapping[str, Predictions]], part: str, adjustments: Mapping[int, Adjustment]
) -> dict[int, Predictions]:
    """{seed: its predictions of a part with the line that its validation images set}, of seeds that have both."""
    return {
        seed: at_adjustment(of_seeds[seed][part], adjustment)
        for seed, adjustment in adjustments.items()
        if part in of_seeds[seed]
    }


def _confused(predictions: Predictions, reported: Iterable[str]) -> dict[str, int]:
    """The counts `confused_<actual>_as_<predicted>` that the document prints, <actual> a class or "others"."""
    names, table = predictions.samples.class_names, confusion_table(predictions).to_numpy()
    counts = {
        f"confused_{actual}_as_{predicted}": int(table[i, j])
        for i, actual in enumerate(names)
        for j, predicted in enumerate(names)
    }
    counts |= {f"confused_others_as_{name}": int(table[:, j].sum() - table[j, j]) for j, name in enumerate(names)}
    return {name: count for name, count in counts.items() if name in reported}


def _training_figures(folder: RunFolder, key: CellKey, cell: dict) -> dict[str, dict[str, Measurement]]:
    """Of parts "model" and "train": what the cell took, and how its training ended."""
    facts, training = cell["facts"], training_of(cell)
    model = {"seconds": facts["seconds"]["fit"], "peak_mb": facts["peak_mb"]}  # None: not measured
    if training is None:
        return {"model": _values(model)}
    learning = folder.read_table(key, "layers.csv")["trainable_parameters_phase_1"].sum()
    model |= {"parameters": facts["parameters"], "trainable_parameters": learning}
    history = folder.read_table(key, "history.csv")
    if "kept" not in history:
        raise InputError(f"{folder.cell(key)} was made by an earlier version of tlkeras; remove it, and run it again.")
    kept = history.index[history["kept"]][0]
    train = {
        **history.loc[kept, ["accuracy", "loss"]].to_dict(),
        "epochs": len(history),
        "epochs_allowed": sum(phase.epochs for phase in _as_trained(training, facts).phases),
        "kept_epoch": kept + 1,
    }
    return {"model": _values(model), "train": _values(train)}


def _as_trained(training: Tuner, facts: Mapping) -> Tuner:
    """With the epochs that `Phase.least_steps` made of the training images; cells of earlier versions have none."""
    counts = facts.get("images", {}).get("train")
    return training if counts is None else training.with_enough_steps([*counts.values()])


def _values(figures: Mapping[str, float | None]) -> dict[str, Measurement]:
    return {metric: Measurement(value) for metric, value in figures.items()}
