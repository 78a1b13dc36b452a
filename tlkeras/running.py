"""Running an experiment: its cells one after the other, each finished one kept in the run folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.carried import carried_weights
from tlkeras.data.datasets import DATASETS, load_dataset
from tlkeras.experiment import EarlierRun, Experiment, Protocol
from tlkeras.files import locked, write_csv, write_json
from tlkeras.machine import peak_memory_mb, reset_peak_memory
from tlkeras.models.backbones import get_backbone
from tlkeras.runs import CellKey, RunFolder, describe, environment
from tlkeras.schema import InputError, Samples, Splits
from tlkeras.seeds import generator
from tlkeras.training.pixel_baseline import PixelBaseline
from tlkeras.training.tuner import Tuner

if TYPE_CHECKING:
    from tlkeras.models.weights import WeightsFile
    from tlkeras.training.tuned_classifier import TunedClassifier

SMOKE_SIDE = 32  # pixels; networks that need more get their smallest
SMOKE_PER_CLASS = 6  # images of each class in each part
SHEET = (3, 4)  # rows and columns of the sheet of test images


@dataclass(frozen=True)
class RunOptions:
    """What the command line chose; see `tlkeras.cli`."""

    data: Path
    out: Path
    protocol: str
    backbones: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    weights: str | None = None
    smoke: bool = False
    skip_unreadable: bool = False
    image_size: tuple[int, int] | None = None  # in place of the recipes' own, as is
    precision: str | None = None
    earlier: Path | None = None  # the run folder of the experiment whose networks are carried on; None: beside `out`
    store: Path | bool = True  # see Tuner.fit
    memory_budget: str | None = None


@dataclass(frozen=True)
class _Cell:
    key: CellKey
    recipe: Tuner | PixelBaseline
    weights: WeightsFile | None  # what the recipe's network starts from, where it is not random
    settings: dict = field(repr=False)


def run_experiment(experiment: Experiment, options: RunOptions) -> RunFolder:
    """Runs every chosen cell that is not finished yet, one after the other; `report_experiment` makes the tables.

    Raises:
        InputError: data or weights that cannot be used, or a cell made with other settings in the same folder.
    """
    protocol = experiment.protocols[options.protocol]
    folder = RunFolder(options.out / options.protocol)
    with locked(folder.root):
        samples = load_dataset(experiment.dataset, options.data, check_counts=not options.smoke)
        if options.smoke:
            samples = _handful(samples)
        shared = {
            "data": _digest(samples),
            "split": describe(protocol.split),
            "smoke": options.smoke,
            "skip_unreadable": options.skip_unreadable,
        }
        folder.require_same(shared)
        plan = _plan(protocol, options, shared, folder)
        for cell in plan:
            folder.require_same_recipe(cell.key, cell.settings["recipe"])
        todo = [cell for cell in plan if not folder.is_finished(cell.key, cell.settings)]
        write_json(folder.root / "config.json", _config(experiment, options))
        if len(todo) < len(plan):
            print(f"{len(plan) - len(todo)} of {len(plan)} cells are finished already and kept")
        if todo:
            _run_cells(folder, todo, protocol, _readable(samples, options, folder), options)
    return folder


def _run_cells(folder: RunFolder, todo: list[_Cell], protocol: Protocol, samples: Samples, options: RunOptions) -> None:
    import keras

    seeds = {cell.key.seed for cell in todo}
    splits = {seed: protocol.split.split(samples, seed=seed) for seed in seeds}
    failed = []
    for number, cell in enumerate(todo, start=1):
        print(f"\n[{number}/{len(todo)}] {options.protocol}: {cell.key}", flush=True)
        try:
            _run_cell(folder, cell, splits[cell.key.seed], options)
        except InputError as error:  # a diverging cell must not keep the others from running
            print(f"not finished: {error}", flush=True)
            failed.append(f"{cell.key}: {error}")
        finally:
            keras.utils.clear_session()  # layer names and graphs of one cell must not reach the next
    if failed:
        raise InputError(
            f"{len(failed)} of {len(todo)} cells did not finish; --report-only shows the others:\n" + "\n".join(failed)
        )


def _plan(protocol: Protocol, options: RunOptions, shared: dict, folder: RunFolder) -> list[_Cell]:
    """The cells in the order they run, their weights files found: a missing one is known before anything is trained."""
    plan = []
    for seed in options.seeds:
        for method, backbone in protocol.chosen(options.methods, options.backbones):
            key = CellKey(backbone, method, seed)
            recipe = _adapted(protocol.cells[method, backbone], options)
            settings = {"recipe": describe(recipe), "weights_sha256": None, **shared}
            weights = None
            if isinstance(recipe, Tuner):
                weights = _find_weights(recipe, key, settings, options, finished=folder.settings_of(key))
                settings["weights_sha256"] = None if weights is None else weights.sha256
            plan.append(_Cell(key, recipe, weights, settings))
    return plan


def _adapted(recipe: Tuner | PixelBaseline, options: RunOptions) -> Tuner | PixelBaseline:
    """The declared recipe with what the command line put in its place."""
    is_network = isinstance(recipe, Tuner)
    if options.smoke:
        side = max(SMOKE_SIDE, get_backbone(recipe.backbone).min_size if is_network else 1)
        recipe = replace(recipe, image_size=(side, side))
    elif options.image_size is not None:
        recipe = replace(recipe, image_size=options.image_size)
    if options.smoke and is_network:
        recipe = replace(recipe, weights=None, phases=tuple(replace(phase, epochs=1) for phase in recipe.phases))
    if options.precision is not None and is_network:
        recipe = replace(recipe, precision=options.precision)
    return recipe


def _find_weights(
    recipe: Tuner, key: CellKey, settings: dict, options: RunOptions, finished: dict | None
) -> WeightsFile | None:
    from tlkeras.models.weights import find_weights
    from tlkeras.training.tuner import require_trainable_batch_norm

    if isinstance(recipe.weights, EarlierRun):
        earlier = options.earlier or options.out.parent / recipe.weights.experiment
        weights = carried_weights(recipe, key, settings, earlier / options.protocol, finished)
    else:
        weights = find_weights(recipe.backbone, recipe.weights, folder=options.weights)
    require_trainable_batch_norm(weights, recipe.phases)
    return weights


def _run_cell(folder: RunFolder, cell: _Cell, splits: Splits, options: RunOptions) -> None:
    import pandas as pd

    for note in splits.notes:
        print(f"split: {note}")
    target = folder.cell(cell.key)
    # What an earlier, unfinished or removed run of this cell left is not this one's.
    shutil.rmtree(target, ignore_errors=True)
    start = time.perf_counter()
    reset_peak_memory()
    is_network = isinstance(cell.recipe, Tuner)
    settings = {}
    if is_network:
        settings = {"weights_folder": options.weights, "store": options.store, "memory_budget": options.memory_budget}
    recipe = replace(cell.recipe, weights=cell.weights) if is_network else cell.recipe
    classifier = recipe.fit(splits.train, splits.val, seed=cell.key.seed, **settings)
    trained = time.perf_counter() - start
    unseen = {part: samples for part, samples in splits.parts().items() if part not in recipe.learns_from}
    scored = {part: classifier.predict(samples) for part, samples in unseen.items()}
    write_csv(pd.concat([p.to_frame(part) for part, p in scored.items()]), target / "predictions.csv")
    for part in splits.tests:
        _draw_sheet(scored[part], cell, target / f"sheet_{part}.png")
    facts = _write_network(classifier, target) if is_network else {"device": "CPU"}
    facts |= {
        "seconds": {"fit": round(trained, 1), "all": round(time.perf_counter() - start, 1)},
        "peak_mb": peak_memory_mb(),
        "images": {part: samples.class_counts() for part, samples in splits.parts().items()},
        "learnt_from": recipe.learns_from,
        "split_notes": list(splits.notes),
        "environment": environment(),
    }
    folder.write_cell(cell.key, cell.settings, facts)
    accuracy = {part: f"{predictions.correct.mean():.4f}" for part, predictions in scored.items()}
    print(f"accuracy {accuracy}, {facts['seconds']['all']:.0f} s, peak {facts['peak_mb']} MB", flush=True)


def _write_network(classifier: TunedClassifier, target: Path) -> dict:
    """Writes what only a trained network has; returns the facts about it."""
    from tlkeras.training.loop import device_name

    write_csv(classifier.history, target / "history.csv")
    write_csv(classifier.layers, target / "layers.csv")
    classifier.save(target)
    return {
        "parameters": classifier.model.count_params(),
        "weights": None if classifier.weights is None else classifier.weights.describe(),
        "precision": asdict(classifier.precision),
        "device": device_name(),
    }


def _draw_sheet(predictions, cell: _Cell, path: Path) -> None:
    from tlkeras.data.images import read_pixels
    from tlkeras.evaluation.plots import draw_predictions_sheet, new_grid, save_figure

    samples, names = predictions.samples, predictions.samples.class_names
    count = min(SHEET[0] * SHEET[1], len(samples))
    rows = np.sort(generator(cell.key.seed, "sheet").choice(len(samples), size=count, replace=False))
    images = [read_pixels(samples.images[row], cell.recipe.image_size) for row in rows]
    figure, axes = new_grid(*SHEET)
    actual, predicted = samples.labels[rows], predictions.predicted[rows]
    draw_predictions_sheet(images, [names[i] for i in actual], [names[i] for i in predicted], axes)
    save_figure(figure, path)


def _readable(samples: Samples, options: RunOptions, folder: RunFolder) -> Samples:
    from tlkeras.data.images import check_images, require_readable

    if not options.skip_unreadable:
        require_readable(samples)
        return samples
    bad = check_images(samples)
    if len(bad):
        listed = bad.assign(path=samples.sample_ids[bad["row"].to_numpy()])
        path = write_csv(listed, folder.root / "unreadable.csv")
        print(f"{len(bad)} of {len(samples)} files cannot be read and are left out; they are listed in {path}")
    return samples.take(np.setdiff1d(np.arange(len(samples)), bad["row"].to_numpy(dtype=np.int64)))


def _handful(samples: Samples) -> Samples:
    parts = samples.parts if samples.parts is not None else np.full(len(samples), "")
    rows = [
        np.flatnonzero((parts == part) & (samples.labels == label))[:SMOKE_PER_CLASS]
        for part in np.unique(parts.astype(str))
        for label in range(len(samples.class_names))
    ]
    return samples.take(np.sort(np.concatenate(rows)))


def _digest(samples: Samples) -> str:
    """One hash of names, sizes, labels, parts and groups: another copy of a data set is another data set."""
    columns = [samples.sample_ids, [os.path.getsize(path) for path in samples.images], samples.labels]
    columns += [column for column in (samples.parts, samples.groups) if column is not None]
    lines = "\n".join("\t".join(map(str, row)) for row in zip(*columns, strict=True))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _config(experiment: Experiment, options: RunOptions) -> dict:
    protocol, row = experiment.protocols[options.protocol], DATASETS[experiment.dataset]
    return {
        "experiment": experiment.name,
        "paper": describe(experiment.paper),
        "dataset": {"name": experiment.dataset, "licence": row.licence, "citation": row.citation},
        "protocol": options.protocol,
        "split": describe(protocol.split),
        "deviations": list(protocol.deviations),
        "stated": list(experiment.stated),
        "assumed": [*experiment.assumed, *protocol.assumed],
    }
