"""What lies in a folder of runs: a table of cells with their scores, and the paired comparison of two runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tlkeras.errors import InputError, MissingInputError
from tlkeras.evaluation.paired import holm
from tlkeras.evaluation.tables import by_cell, counts_in_words, measured, test_parts
from tlkeras.files import read_csv
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.scoring import pair_up
from tlkeras.schema import NOT_TESTS, Predictions

SHOWN = {"accuracy": "accuracy, %", "balanced_accuracy": "balanced accuracy, %", "macro_f1": "macro F1"}
NOT_REPORTED = "not reported"
COMPARED = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss")


def runs_table(folder: str | os.PathLike) -> pd.DataFrame:
    """The finished cells of every run folder below `folder`, one row for each method, backbone and test part.

    Returns:
        str, index (run, backbone, method, part), columns seeds, figures of scores.csv as `tables.measured` writes them
        and the groups that their intervals are over, of the seeds that are still there; "not reported" where a run's
        tables were not made since a cell was finished, and in a column of that name the seeds that the figures leave
        out.

    Raises:
        MissingInputError: there is no folder, or no finished cell in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise MissingInputError(f"there is no folder {root}; give one that holds run folders: what --out named.")
    roots = sorted({file.parents[3] for file in root.rglob("seed*/cell.json") if len(file.relative_to(root).parts) > 3})
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for run in map(RunFolder, roots):
        name = run.root.relative_to(root).as_posix()
        smoke = " (smoke)" if run.finished() and run.settings_of(run.finished()[0])["smoke"] else ""
        seeds: dict[tuple[str, str], set[int]] = {}
        for key in run.finished():
            seeds.setdefault((key.method, key.backbone), set()).add(key.seed)
        figures = _reported(run)
        for cell, of_cell in seeds.items():
            for part, found in ({of[2]: f for of, f in figures.items() if of[:2] == cell} or {"": {}}).items():
                shown = set(found["accuracy"]["seed"]) if found else of_cell
                words = {title: measured(found, metric) for metric, title in SHOWN.items()}
                words["groups"] = _groups(found)
                rows[name + smoke, *reversed(cell), part] = {
                    "seeds": ", ".join(map(str, sorted(shown))),
                    **(words if found else dict.fromkeys([*SHOWN.values(), "groups"], NOT_REPORTED)),
                    NOT_REPORTED: ", ".join(f"seed {seed}" for seed in sorted(of_cell - shown)),
                }
    if not rows:
        raise MissingInputError(
            f"{root} holds no finished cell, or lies inside a run folder; give the protocol's folder, such as "
            "runs/burugupalli_chest_xray/corrected, or one above."
        )
    index = pd.MultiIndex.from_tuples(rows, names=["run", "backbone", "method", "part"])
    table = pd.DataFrame(list(rows.values()), index=index)
    return table if table[NOT_REPORTED].any() else table.drop(columns=NOT_REPORTED)


def compare_runs(
    first: str | os.PathLike, second: str | os.PathLike, metrics: Sequence[str] = COMPARED
) -> pd.DataFrame:
    """Two runs on the same test images, paired; see `paired.paired`.

    Args:
        first: the folder of a cell (…/seed0), of a method with its seeds, or of a protocol's run.
        second: one of the same kind. Of two protocols' runs the cells they have in common are compared.
        metrics: figures of `metrics.score`.

    Returns:
        One row for each cell, test part and metric: the columns of `scoring.pair_up`, over the seeds that both have,
        part, and p_holm over all rows.

    Raises:
        MissingInputError: no finished cell in a folder.
        InputError: nothing in common, or other test images.
    """
    runs = [_predictions_of(Path(folder)) for folder in (first, second)]
    if all(len(run) == 1 for run in runs):
        pairs = [(next(iter(runs[0])), next(iter(runs[1])))]
    else:
        pairs = [(name, name) for name in runs[0] if name in runs[1]]
    if not pairs:
        raise InputError(
            f"{first} holds {'; '.join(runs[0])}. {second} holds {'; '.join(runs[1])}. No cell is in both. Name the "
            "folders of two methods, each with its seeds, to compare methods."
        )
    rows = []
    for names in pairs:
        of_seeds = [run[name] for run, name in zip(runs, names, strict=True)]
        if not set(of_seeds[0]) & set(of_seeds[1]):
            raise InputError(
                f"{first} and {second}: {' and '.join(names)} have no seed in common ({_few(of_seeds[0])} and "
                f"{_few(of_seeds[1])}), and other seeds may have other test images. Run both with the same --seeds."
            )
        for part in _test_parts({names[0]: of_seeds[0]}):
            both = [
                (name, {seed: parts[part] for seed, parts in of_run.items() if part in parts})
                for name, of_run in zip(names, of_seeds, strict=True)
            ]
            table = pair_up(both[0], both[1], metrics)
            rows += [] if table is None else [table.assign(part=part)]
    if not rows:
        parts = [", ".join(_test_parts(run)) or "none" for run in runs]
        raise InputError(f"{first} has the test parts {parts[0]}, {second} has {parts[1]}: they share none.")
    return holm(pd.concat(rows, ignore_index=True))


def _groups(found: Mapping[str, pd.DataFrame]) -> str:
    """How many groups a part has, of each seed where they differ; nothing where no interval was made."""
    rows = found.get("accuracy")
    return "" if rows is None else counts_in_words(rows["groups"])


def _test_parts(run: Mapping[str, Mapping[int, Mapping[str, Predictions]]]) -> list[str]:
    parts = (part for of_seeds in run.values() for of_parts in of_seeds.values() for part in of_parts)
    return sorted(set(parts) - set(NOT_TESTS))


def _reported(run: RunFolder) -> Mapping[tuple, Mapping[str, pd.DataFrame]]:
    """{(method, backbone, test part): {metric: rows}} of a run's scores.csv; nothing where it was not reported."""
    file, finished = run.root / "scores.csv", set(run.finished())
    if not file.is_file():
        return {}
    scores = read_csv(file)
    cells = [CellKey(*row) for row in scores[["method", "backbone", "seed"]].itertuples(index=False)]
    scores = scores[scores["part"].isin(test_parts(scores)) & np.array([cell in finished for cell in cells], bool)]
    return by_cell(scores, "method", "backbone", "part")


def _predictions_of(folder: Path) -> dict[str, dict[int, dict[str, Predictions]]]:
    """{"method, backbone": {seed: {part: predictions}}} of a cell's, a method's or a protocol's folder."""
    if not folder.is_dir():
        raise MissingInputError(f"there is no folder {folder}; give one that holds a finished cell.")
    root = folder.resolve()
    above = {"cell.json": "../../..", "seed*/cell.json": "../..", "*/*/seed*/cell.json": "."}
    found_at = next((place for pattern, place in above.items() if any(root.glob(pattern))), None)
    if found_at is None:
        raise MissingInputError(f"{folder} holds no finished cell: no cell.json, and no seed0, seed1, ... with one.")
    run = RunFolder(Path(os.path.normpath(root / found_at)))
    keys = [key for key in run.finished() if run.cell(key) == root or root in run.cell(key).parents]
    found: dict[str, dict[int, dict[str, Predictions]]] = {}
    for key in keys:
        found.setdefault(f"{key.method}, {key.backbone}", {})[key.seed] = run.read_predictions(key)
    return found


def _few(seeds: Mapping[int, object]) -> str:
    return ", ".join(f"seed {seed}" for seed in sorted(seeds))
