"""Running an experiment: its cells one after the other, each finished one kept in the run folder."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.errors import DivergedError, InputError, UnwritableError
from tlkeras.files import locked, write_csv, write_json
from tlkeras.machine import environment, peak_memory_mb, reset_peak_memory
from tlkeras.progress import say
from tlkeras.replication.auditing import audit_splits, audited_seeds
from tlkeras.replication.experiment import Experiment
from tlkeras.replication.kept_columns import write_columns
from tlkeras.replication.known_data import KnownData, note_on_contents
from tlkeras.replication.planning import Cell, RunOptions, cells_of
from tlkeras.replication.run_folder import CHECKPOINT, CellKey, RunFolder
from tlkeras.schema import Samples, Splits
from tlkeras.seeds import generator
from tlkeras.training.recipe import describe

if TYPE_CHECKING:
    from tlkeras.replication.experiment import Plan
    from tlkeras.schema import Predictions

SMOKE_PER_CLASS = 6  # images of each class in each part
SHEET = (3, 4)  # rows and columns of the sheet of test images
SEARCH = "search"  # the folder of a cell that keeps the finished cells of its grid
LAST_GOOD = "last_good"  # the folder of a cell whose training diverged: the classifier before that
_OF_UNFINISHED = (SEARCH, CHECKPOINT)  # what a cell that was killed goes on from


def run_experiment(experiment: Experiment, options: RunOptions) -> RunFolder:
    """Runs every chosen cell that is not finished yet, one after the other; `report_experiment` makes the tables.

    Raises:
        InputError: data or weights that cannot be used, or a cell made with other settings in the same folder.
    """
    plan = experiment.under(options.protocol)
    protocol, folder = plan.protocol, RunFolder(options.out / plan.name)
    with locked(folder.root):
        samples = plan.load(options.data, check_counts=not options.smoke)
        if options.smoke:
            samples = _handful(samples)
        chosen = protocol.chosen(options.methods, options.backbones)
        keys = [CellKey(*cell, seed) for seed in options.seeds for cell in chosen]
        is_new = any(folder.settings_or_none(key) is None for key in keys)
        known = KnownData(samples, options.store, decode=is_new, verify=options.verify)
        shared = {
            **known.settings,
            "split": describe(protocol.split),
            "smoke": options.smoke,
            "skip_unreadable": options.skip_unreadable,
        }
        folder.require_same(shared)
        if note := note_on_contents(folder):
            say(note)
        cells = cells_of(plan, options, shared, folder)
        for cell in cells:
            folder.require_same_recipe(cell.key, cell.settings["recipe"])
        todo = [cell for cell in cells if not folder.is_finished(cell.key, cell.settings)]
        for cell in cells:
            if cell not in todo:  # killed between its last file and this
                (folder.cell(cell.key) / CHECKPOINT).unlink(missing_ok=True)
        write_json(folder.root / "config.json", _config(plan))
        write_columns(folder, samples, experiment.subgroups)
        if len(todo) < len(cells):
            say(f"{len(cells) - len(todo)} of {len(cells)} cells are finished already and kept")
        if todo or not set(options.seeds) <= audited_seeds(folder):
            samples = readable_samples(samples, options, folder)
            splits = {seed: protocol.split.split(samples, seed=seed) for seed in options.seeds}
            # A split that is told not to respect groups shows what crosses; any other must have nothing to show.
            strict = getattr(protocol.split, "respect_groups", True)
            image_sizes = dict.fromkeys(cell.recipe.image_size for cell in cells)
            audit_splits(folder, samples, splits, strict=strict, image_sizes=image_sizes)
            _run_cells(plan, folder, todo, splits, options, known)
    return folder


def _run_cells(
    plan: Plan,
    folder: RunFolder,
    todo: list[Cell],
    splits: dict[int, Splits],
    options: RunOptions,
    data: KnownData,
) -> None:
    from tlkeras.backend import keras

    failed = []
    for number, cell in enumerate(todo, start=1):
        say("")
        say(f"[{number}/{len(todo)}] {plan.name}: {cell.key}")
        try:
            _run_cell(plan, folder, cell, splits[cell.key.seed], options, data)
        except UnwritableError:  # nor could the others be kept
            raise
        except InputError as error:  # a diverging cell must not keep the others from running
            say(f"not finished: {error}")
            failed.append(f"{cell.key}: {error}")
        finally:
            keras.utils.clear_session()  # layer names and graphs of one cell must not reach the next
    if failed:
        raise InputError(
            f"{len(failed)} of {len(todo)} cells did not finish; --report-only shows the others:\n" + "\n".join(failed)
        )


def _run_cell(
    plan: Plan,
    folder: RunFolder,
    cell: Cell,
    splits: Splits,
    options: RunOptions,
    data: KnownData,
) -> None:
    import pandas as pd

    from tlkeras.evaluation.metrics import largest_losses
    from tlkeras.training.checkpoint import time_spent

    for note in splits.notes:
        say(f"split: {note}")
    target = folder.cell(cell.key)
    _clear(target)
    start = time.perf_counter()
    reset_peak_memory()
    recipe = cell.recipe.starting_from(cell.weights)
    known = {
        "weights_folder": options.weights,
        "store": options.store,
        "memory_budget": options.memory_budget,
        "folder": target / SEARCH,
        "checkpoint": target / CHECKPOINT,
    }
    chosen = {name: value for name, value in known.items() if name in recipe.fit_options}
    before = time_spent(target / CHECKPOINT)
    try:
        classifier = recipe.fit(splits.train, splits.val, seed=cell.key.seed, **chosen)
    except DivergedError as error:
        (target / CHECKPOINT).unlink(missing_ok=True)  # it would lead there again
        if error.classifier is None:
            raise
        raise DivergedError(f"{error} They are in {error.classifier.save(target / LAST_GOOD)}.") from None
    trained = time.perf_counter() - start
    scored = {
        part: classifier.predict(samples)
        for part, samples in splits.parts().items()
        if part not in recipe.learns_from or (part == "train" and plan.experiment.scores_training)
    }
    write_csv(pd.concat([p.to_frame(part) for part, p in scored.items()]), target / "predictions.csv")
    for part in splits.tests:
        n = min(SHEET[0] * SHEET[1], len(scored[part]))
        drawn = generator(cell.key.seed, "sheet").choice(len(scored[part]), size=n, replace=False)
        _draw_sheet(scored[part], np.sort(drawn), cell, target / f"sheet_{part}.png")
        hardest = largest_losses(scored[part], n=n)["row"].to_numpy()
        _draw_sheet(scored[part], hardest, cell, target / f"hardest_{part}.png")
    facts = classifier.write_run(target)
    if plan.experiment.after_fit is not None:
        plan.experiment.after_fit(cell.key, classifier, splits, target)
    measured = {"fit": trained, "all": time.perf_counter() - start}
    seconds = 0 if before is None else before["seconds"]
    facts |= {
        "seconds": {name: round(seconds + value, 1) for name, value in measured.items()},
        "resumed": before,
        "peak_mb": peak_memory_mb(),
        "images": {part: samples.class_counts() for part, samples in splits.parts().items()},
        "learnt_from": recipe.learns_from,
        "split_notes": list(splits.notes),
        "environment": environment(),
        "script": options.script,
    }
    data.require_unchanged()
    folder.write_cell(cell.key, cell.settings, facts)
    (target / CHECKPOINT).unlink(missing_ok=True)
    peak = "" if facts["peak_mb"] is None else f", peak {facts['peak_mb']} MB"
    accuracy = ", ".join(f"{part} {predictions.correct.mean():.4f}" for part, predictions in scored.items())
    say(f"accuracy {accuracy}; {facts['seconds']['all']:.0f} s{peak}")


def _clear(target: Path) -> None:
    """Removes what an earlier, unfinished or removed run of a cell left: it is not this one's. The finished cells of a
    grid and the checkpoint stay, for each says what it belongs to."""
    for left in target.iterdir() if target.is_dir() else ():
        if left.name not in _OF_UNFINISHED:
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _draw_sheet(predictions: Predictions, rows: np.ndarray, cell: Cell, path: Path) -> None:
    from tlkeras.data.images import read_pixels
    from tlkeras.evaluation.plots import new_grid, save_figure
    from tlkeras.evaluation.sheets import draw_predictions_sheet

    samples, names = predictions.samples, predictions.samples.class_names
    images = [read_pixels(samples.images[row], cell.recipe.image_size, cell.recipe.resize) for row in rows]
    figure, axes = new_grid(*SHEET)
    actual, predicted = samples.known_labels[rows], predictions.predicted[rows]
    draw_predictions_sheet(images, [names[i] for i in actual], [names[i] for i in predicted], axes)
    save_figure(figure, path)


def readable_samples(samples: Samples, options: RunOptions, folder: RunFolder) -> Samples:
    """The samples, without those that cannot be read where --skip-unreadable leaves them out.

    Raises:
        InputError: some cannot be read, and none is to be left out.
    """
    from tlkeras.data.readable import require_readable, unreadable

    if not options.skip_unreadable:
        require_readable(samples)
        return samples
    bad = unreadable(samples)
    if len(bad):
        listed = bad.assign(path=samples.sample_ids[bad["row"].to_numpy()])
        path = write_csv(listed, folder.root / "unreadable.csv")
        say(f"{len(bad)} of {len(samples)} files cannot be read and are left out; they are listed in {path}")
    return samples.take(np.setdiff1d(np.arange(len(samples)), bad["row"].to_numpy(dtype=np.int64)))


def _handful(samples: Samples) -> Samples:
    """A few images of each class in each part, of as many groups as there are, so that they can be split."""
    import pandas as pd

    parts = samples.parts if samples.parts is not None else np.full(len(samples), "")
    rows = []
    for part in np.unique(parts.astype(str)):
        for label in range(len(samples.class_names)):
            of_class = np.flatnonzero((parts == part) & (samples.labels == label))
            if samples.groups is not None:  # the first image of every group before the second of any
                turn = pd.Series(of_class).groupby(samples.groups[of_class].astype(str)).cumcount()
                of_class = of_class[np.argsort(turn, kind="stable")]
            rows.append(of_class[:SMOKE_PER_CLASS])
    return samples.take(np.sort(np.concatenate(rows)))


def _config(plan: Plan) -> dict:
    experiment, protocol, row = plan.experiment, plan.protocol, plan.dataset
    own = {"name": None, "about": experiment.about_data}
    return {
        "experiment": experiment.name,
        "paper": None if experiment.paper is None else describe(experiment.paper),
        "dataset": own if row is None else {"name": row.name, "licence": row.licence, "citation": row.citation},
        "protocol": plan.name,
        "select": describe(protocol.select),
        "split": describe(protocol.split),
        "deviations": list(protocol.deviations),
        "stated": list(experiment.stated),
        "assumed": [*experiment.assumed, *protocol.assumed],
    }
