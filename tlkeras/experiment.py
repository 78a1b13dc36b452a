"""An experiment: what a document did, declared once; running its cells; reporting them from the run folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.data.datasets import DATASETS, load_dataset
from tlkeras.files import locked, write_csv, write_json
from tlkeras.machine import peak_memory_mb, reset_peak_memory
from tlkeras.models.backbones import get_backbone
from tlkeras.runs import CellKey, RunFolder, describe, environment
from tlkeras.schema import InputError, Samples, Splits
from tlkeras.seeds import generator

if TYPE_CHECKING:
    from tlkeras.training.tuner import Tuner

SMOKE_SIDE = 32  # pixels; networks that need more get their smallest
SMOKE_PER_CLASS = 6  # images of each class in each part
SHEET = (3, 4)  # rows and columns of the sheet of test images


@dataclass(frozen=True)
class Paper:
    """The document an experiment replicates."""

    title: str
    authors: str
    venue: str


@dataclass(frozen=True)
class Protocol:
    """One way to carry the experiment out.

    Attributes:
        split: an object with `split(samples, seed=...) -> Splits`.
        cells: {(method, backbone): recipe}.
        deviations: what differs from the document, in words.
        assumed: settings the document does not give, where they are this protocol's alone.
        grid: {method: (row label, column label)} where the methods are the cells of a two-way table, or None.
    """

    split: object
    cells: dict[tuple[str, str], Tuner]
    deviations: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    grid: dict[str, tuple[str, str]] | None = None

    def __post_init__(self):
        missing = [(m, b) for m in self.methods for b in self.backbones if (m, b) not in self.cells]
        if missing:
            raise InputError(f"Protocol.cells: every method needs a recipe for every backbone; missing: {missing}.")

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in the order they were declared."""
        return tuple(dict.fromkeys(method for method, _ in self.cells))

    @property
    def backbones(self) -> tuple[str, ...]:
        """The backbones, in the order they were declared."""
        return tuple(dict.fromkeys(backbone for _, backbone in self.cells))


@dataclass(frozen=True)
class Experiment:
    """A replication, declared.

    Attributes:
        name: as in `experiments/<name>.py` and `assets/<name>/`.
        paper: the document.
        dataset: a name of `tl.DATASETS`.
        protocols: {name: Protocol}; the first is the default.
        reported: {((method, backbone), part, metric): value} as printed in the document, accuracy in per cent; "train"
            and "model" are parts too, see `evaluation.tables.results_table`.
        default_backbones: what runs when none is named.
        smoke_backbones: what a smoke run takes when none is named: small ones.
        positive_class: the class that sensitivity and precision speak of, or None.
        stated: settings the document gives.
        assumed: settings it does not give, and what was taken.
        names: {(method, backbone): what the document calls it}.
        printed: {(method, backbone): {column: text}}, the words of its table of results, for the columns hidden layers,
            regularization and epochs.
        common: {setting: value} as the document prints them for all its trainings; the settings of `tlkeras.page`.
        explore: writes figures and numbers about the data, from the samples into a folder; the option --eda.
    """

    name: str
    paper: Paper
    dataset: str
    protocols: dict[str, Protocol]
    reported: dict[tuple[tuple[str, str], str, str], float]
    default_backbones: tuple[str, ...]
    smoke_backbones: tuple[str, ...]
    positive_class: str | None = None
    stated: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    printed: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    common: dict[str, str] = field(default_factory=dict)
    explore: Callable[[Samples, Path], object] | None = None


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
    precision: str | None = None  # in place of the recipes' own
    store: Path | bool = True  # see Tuner.fit
    memory_budget: str | None = None


@dataclass(frozen=True)
class _Cell:
    key: CellKey
    recipe: Tuner
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
        plan = _plan(protocol, options, shared)
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


def _plan(protocol: Protocol, options: RunOptions, shared: dict) -> list[_Cell]:
    """The cells in the order they run, their weights files found: a missing one is known before anything is trained."""
    from tlkeras.models.weights import find_weights
    from tlkeras.training.tuner import require_trainable_batch_norm

    plan = []
    for seed in options.seeds:
        for backbone in options.backbones:
            for method in options.methods:
                recipe = protocol.cells[method, backbone]
                if options.smoke:
                    recipe = _tiny(recipe)
                if options.precision is not None:
                    recipe = replace(recipe, precision=options.precision)
                weights = find_weights(recipe.backbone, recipe.weights, folder=options.weights)
                require_trainable_batch_norm(weights, recipe.phases)
                sha256 = None if weights is None else weights.sha256
                settings = {"recipe": describe(recipe), "weights_sha256": sha256, **shared}
                plan.append(_Cell(CellKey(backbone, method, seed), recipe, settings))
    return plan


def _run_cell(folder: RunFolder, cell: _Cell, splits: Splits, options: RunOptions) -> None:
    import pandas as pd

    from tlkeras.training.loop import device_name

    for note in splits.notes:
        print(f"split: {note}")
    target = folder.cell(cell.key)
    # What an earlier, unfinished or removed run of this cell left is not this one's.
    shutil.rmtree(target, ignore_errors=True)
    start = time.perf_counter()
    reset_peak_memory()
    classifier = cell.recipe.fit(
        splits.train,
        splits.val,
        seed=cell.key.seed,
        weights_folder=options.weights,
        store=options.store,
        memory_budget=options.memory_budget,
    )
    trained = time.perf_counter() - start
    scored = {part: classifier.predict(samples) for part, samples in splits.parts().items() if part != "train"}
    write_csv(pd.concat([p.to_frame(part) for part, p in scored.items()]), target / "predictions.csv")
    write_csv(classifier.history, target / "history.csv")
    write_csv(classifier.layers, target / "layers.csv")
    for part in splits.tests:
        _draw_sheet(scored[part], cell, target / f"sheet_{part}.png")
    classifier.save(target)
    facts = {
        "seconds": {"fit": round(trained, 1), "all": round(time.perf_counter() - start, 1)},
        "peak_mb": peak_memory_mb(),
        "parameters": classifier.model.count_params(),
        "images": {part: samples.class_counts() for part, samples in splits.parts().items()},
        "split_notes": list(splits.notes),
        "weights": None if classifier.weights is None else classifier.weights.describe(),
        "precision": asdict(classifier.precision),
        "device": device_name(),
        "environment": environment(),
    }
    folder.write_cell(cell.key, cell.settings, facts)
    accuracy = {part: f"{predictions.correct.mean():.4f}" for part, predictions in scored.items()}
    print(f"accuracy {accuracy}, {facts['seconds']['all']:.0f} s, peak {facts['peak_mb']} MB", flush=True)


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


def _tiny(recipe: Tuner) -> Tuner:
    side = max(SMOKE_SIDE, get_backbone(recipe.backbone).min_size)
    phases = tuple(replace(phase, epochs=1) for phase in recipe.phases)
    return replace(recipe, weights=None, image_size=(side, side), phases=phases)


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
        "assumed": list(experiment.assumed),
    }


def choose(name: str, wanted: Sequence[str] | None, known: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """The options a user named, checked against those there are, in the user's order without repeats."""
    for value in wanted or ():
        if value not in known:
            raise InputError(f"{name}: received {value!r}; accepted: {', '.join(known)}.")
    return tuple(dict.fromkeys(wanted or default))
