"""How a grid is run: its cells spread by joblib, their answers ranked, the best setting fitted on all images."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from tlkeras.checks import check_whole
from tlkeras.data.digests import unsealed
from tlkeras.data.image_index import INDEX
from tlkeras.errors import DivergedError, InputError
from tlkeras.evaluation.grid_search import (
    OF_CLASSES,
    SETTING_PREFIX,
    fold_results,
    metric_in_words,
    probability_column,
    ranking_table,
    with_wrong_answers,
)
from tlkeras.evaluation.weighted_scores import weighted_scores
from tlkeras.machine import available_memory
from tlkeras.progress import say
from tlkeras.schema import Samples, Splits
from tlkeras.seeds import derive_seed
from tlkeras.training.checks import samples_to_fit
from tlkeras.training.feature_store import FeatureStore, open_store
from tlkeras.training.grid_cell import GridCell, run_cell
from tlkeras.training.recipe import Recipe, describe_in_words
from tlkeras.training.search import Search, last_epochs, to_epochs, with_setting
from tlkeras.training.searched_classifier import SearchedClassifier


def fit_search(
    search: Search,
    train: Samples | tuple[np.ndarray, np.ndarray],
    val: Samples | tuple[np.ndarray, np.ndarray] | None,
    *,
    seed: int,
    weights_folder: str | None = None,
    store: FeatureStore | str | os.PathLike | bool = True,
    memory_budget: str | int | None = None,
    folder: str | os.PathLike | None = None,
    checkpoint: str | os.PathLike | None = None,
) -> SearchedClassifier:
    """See `Search.fit`."""
    seed = check_whole("seed", seed)
    train, _ = samples_to_fit(train, val)
    start = time.perf_counter()
    recipe, metric = search.recipe, search.ranked_by
    if recipe.network is not None:
        from tlkeras.models.weights import find_weights

        recipe = recipe.starting_from(
            find_weights(recipe.network.backbone, recipe.network.weights, folder=weights_folder)
        )
    known = {"weights_folder": weights_folder, "memory_budget": memory_budget}
    options = {name: value for name, value in known.items() if name in recipe.fit_options}
    opened = open_store(store)
    place = None if opened is None else (opened.folder, opened.limit)
    folds = search.folds.folds(train, seed=seed)
    _check_folds(folds, metric)
    runs, n_folds = _shared_runs(recipe, search), len(folds)
    source_of = [] if folder is None else INDEX.digests(train)
    shared = options
    if "memory_budget" in options and memory_budget is None:
        shared = options | {"memory_budget": available_memory() // 2 // joblib.effective_n_jobs(None)}
    place_of_kept = None if folder is None else Path(folder).expanduser().absolute()
    cells = []
    for fold, splits in enumerate(folds):
        held_out = np.isin(train.sample_ids, splits.test.sample_ids)
        digest = None if folder is None else _digest(train, held_out, source_of)
        cells += [
            GridCell(
                recipe=run,
                answers=answers,
                fold=fold,
                seed=derive_seed(seed, "fold", fold),
                samples=train,
                held_out=held_out,
                images=digest,
                options=shared,
                store=place,
                folder=place_of_kept,
            )
            for run, answers in runs
        ]
    del folds
    say(
        f"grid: {len(search.settings)} settings x {n_folds} folds, {len(cells)} trainings on {len(train):,} images "
        + ("(one to the most epochs answers for fewer)" if len(runs) < len(search.settings) else "")
    )
    answers: dict[tuple[int, int], np.ndarray] = {}
    n_kept = 0
    for number, (cell, found, seconds) in enumerate(_finished(cells), start=1):
        words = []
        for setting, probs in found.items():
            answers[setting, cell.fold] = probs
            value = _figure(train.known_labels[cell.held_out], probs, train.class_names, metric)
            words.append(f"{_words(search.settings[setting])}: {value:.3f}")
        n_kept += seconds is None
        took = "kept" if seconds is None else f"{seconds:.1f} s"
        say(f"  {number:>3}/{len(cells)}  fold {cell.fold + 1}, {took}: {'; '.join(words)}")
    if all(np.isnan(probs).all() for probs in answers.values()):
        raise DivergedError(
            "Search.grid: the loss of every setting is no longer a number, in every fold. Lower the learning rates."
        )
    held_out = {cell.fold: cell.held_out for cell in cells}
    out_of_fold = _out_of_fold(train, held_out, answers, len(search.settings), metric)
    settings = search.settings_in_table
    ranking = ranking_table(fold_results(out_of_fold, settings, metric), tuple(search.grid), metric)
    chosen = tuple(ranking.iloc[0][list(search.grid)])
    best = next(
        setting for setting, plain in zip(search.settings, settings, strict=True) if tuple(plain.values()) == chosen
    )
    spent = time.perf_counter() - start
    tied = int((ranking["rank"] == ranking["rank"].iloc[0]).sum())
    say(
        f"best: {_words(best)}, mean {metric_in_words(metric)} {ranking['mean'].iloc[0]:.4f} over {n_folds} folds"
        + (f"; {tied} settings tie, the one with fewest epochs, then the lower rate, is taken" if tied > 1 else "")
        + f"; the grid took {spent:.1f} s"
    )
    winner = with_setting(recipe, best)
    if "store" in recipe.fit_options:
        options["store"] = False if opened is None else opened
    if "checkpoint" in recipe.fit_options:
        options["checkpoint"] = checkpoint
    classifier = winner.fit(train, seed=seed, **options)
    # The weights as they were named, not where they lay on this machine.
    recipe = with_setting(search.recipe, best)
    return SearchedClassifier(classifier, best, recipe, ranking, out_of_fold, spent, len(cells), n_kept)


def _shared_runs(recipe: Recipe, search: Search) -> list[tuple[Recipe, dict[int, int | None]]]:
    """The trainings of one fold, and which settings each answers: {setting number: epochs}."""
    runs: dict[str, tuple[Recipe, dict[int, int | None]]] = {}
    for number, setting in enumerate(search.settings):
        wanted = with_setting(recipe, setting)
        epochs = last_epochs(wanted)
        alike = wanted.describe()
        if epochs is not None:
            del alike["phases"][-1]["epochs"]
        _, answers = runs.setdefault(json.dumps(alike, sort_keys=True), (wanted, {}))
        answers[number] = epochs
    shared = []
    for run, answers in runs.values():
        asked = [epochs for epochs in answers.values() if epochs is not None]
        shared.append((to_epochs(run, max(asked)) if asked else run, answers))
    return shared


def _check_folds(folds: list[Splits], metric: str) -> None:
    """Refuses folds that lack a class where it is to be learnt or judged by, before anything is trained."""
    for number, splits in enumerate(folds, start=1):
        absent = [name for name, count in splits.test.class_counts().items() if count == 0]
        if absent and metric not in ("accuracy", "log_loss"):
            raise InputError(
                f"train: fold {number} of {len(folds)} holds out no image of {', '.join(absent)}, which leaves "
                f"Search.metric={metric!r} undefined. Take fewer folds, add images (of other groups, where groups are "
                "respected), leave the class out, or rank by accuracy."
            )
        missing = [name for name, count in splits.train.class_counts().items() if count == 0]
        if missing:
            raise InputError(
                f"train: without fold {number} of {len(folds)} there is no training image of {', '.join(missing)}. Add "
                "some (of other groups, where groups are respected), or leave the class out."
            )


def _digest(samples: Samples, held_out: np.ndarray, sources: list[bytes]) -> str:
    found = hashlib.sha256()
    for source, label, out in zip(sources, samples.known_labels, held_out, strict=True):
        found.update(f"{label} {out} {source.hex()}\n".encode())
    return found.hexdigest()


def _figure(labels: np.ndarray, probs: np.ndarray, class_names: tuple[str, ...], metric: str) -> float:
    found = weighted_scores(
        labels, with_wrong_answers(labels, probs), class_names, np.ones(len(labels)), metrics=metric
    )
    return found[metric].item()


def _finished(cells: list[GridCell]) -> Iterator[tuple[GridCell, dict[int, np.ndarray], float | None]]:
    """Each cell with its answers as it gets finished, those that were kept first (their seconds are None)."""
    todo = []
    for number, cell in enumerate(cells):
        kept = None if cell.file is None or not cell.file.is_file() else _read_answers(cell, cell.file)
        if kept is None:
            todo.append(number)
        else:
            yield cell, dict(zip(cell.by_epochs(), kept, strict=True)), None
    # One cell at a time, so that each is told as soon as it is finished.
    try:
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
    except ValueError:  # Ray's pool gives all results at once
        parallel = joblib.Parallel(batch_size=1)
    answered = parallel(joblib.delayed(_numbered)(number, cells[number]) for number in todo)
    try:
        for number, answers, seconds in answered:
            yield cells[number], answers, seconds
    except BrokenProcessPool as error:
        raise InputError(
            "a process that ran a cell of the grid was killed, most often because the memory was full. Run fewer at a "
            "time (--jobs, or n_jobs of joblib.parallel_config), or smaller batches; of a run folder, the cells that "
            "are finished are kept."
        ) from error


def _read_answers(cell: GridCell, file: Path) -> np.ndarray:
    """float32 (settings, n, k), as `run_cell` kept them."""
    expected = (len(cell.answers), int(cell.held_out.sum()), len(cell.samples.class_names))
    contents = unsealed(file.read_bytes())
    if contents is None:
        raise InputError(f"{file} is damaged; remove it, and its training is run again.")
    kept = np.load(io.BytesIO(contents), allow_pickle=False)
    if kept.shape != expected:
        raise InputError(f"{file} is not what a grid keeps; remove it, and its training is run again.")
    return kept


def _numbered(number: int, cell: GridCell) -> tuple[int, dict[int, np.ndarray], float]:
    return number, *run_cell(cell)


def _out_of_fold(
    train: Samples,
    held_out: dict[int, np.ndarray],
    answers: dict[tuple[int, int], np.ndarray],
    n_settings: int,
    metric: str,
) -> pd.DataFrame:
    """See `evaluation.grid_search.fold_results`; probabilities are kept where the metric needs them."""
    frames = []
    for fold, rows in held_out.items():
        test = train.take(np.flatnonzero(rows))
        names = np.array([*test.class_names, ""], dtype=object)  # the last one stands for no answer
        columns = {
            "sample_id": test.sample_ids,
            "group": "" if test.groups is None else test.groups,
            "fold": fold,
            "label": names[test.labels],
        }
        for n in range(n_settings):
            probs = answers[n, fold]
            columns[f"{SETTING_PREFIX}{n}"] = names[np.where(np.isnan(probs).any(axis=1), -1, probs.argmax(axis=1))]
            if metric not in OF_CLASSES:
                columns |= {probability_column(n, name): probs[:, k] for k, name in enumerate(test.class_names)}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _words(setting: dict[str, Any]) -> str:
    return ", ".join(f"{name} {describe_in_words(value)}" for name, value in setting.items())
