"""What is told of each training beside its accuracy: sizes, losses, times, epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from tlkeras.evaluation.tables import COUNTED, METRICS, as_printed, by_cell, check_scores, measured
from tlkeras.schema import EpochLog


def results_table(
    scores: pd.DataFrame,
    reported: Mapping[tuple[tuple[str, str], str, str], float],
    *,
    names: Mapping[tuple[str, str], str],
    test: str = "test",
) -> pd.DataFrame:
    """What a document tells of each training, ours above what was published, for the eye.

    Args:
        scores: tidy, of one protocol; part "model" holds parameters, trainable_parameters, seconds and peak_mb, part
            "train" accuracy and loss of the epoch that was kept.
        reported: {((method, backbone), part, metric): as printed}, accuracy in %.
        names: {(method, backbone): what the document calls it}.
        test: the test part.

    Returns:
        str, index (name, method, backbone, whose), one column per figure. What was not published is empty. A cell that
        was published and not run is there where more than its accuracy was published, which `accuracy_table` shows.
    """
    check_scores(scores)
    of_cells = by_cell(scores, "method", "backbone", "part")
    figures = [
        ("model", "trainable_parameters"),
        ("model", "parameters"),
        ("train", "accuracy"),
        ("train", "loss"),
        ("val", "accuracy"),
        ("val", "log_loss"),
        (test, "accuracy"),
        (test, "log_loss"),
        ("model", "seconds"),
        ("model", "peak_mb"),
    ]
    titles = [METRICS[m][0] if part == "model" else f"{part} {METRICS[m][0]}" for part, m in figures]
    run = list(dict.fromkeys(zip(scores["method"], scores["backbone"], strict=True)))
    columns_of = {cell: {key[1:] for key in reported if key[0] == cell} for cell, _, _ in reported}
    not_run = [cell for cell, columns in columns_of.items() if cell not in run and columns != {(test, "accuracy")}]
    rows, index = [], []
    for cell in [*run, *not_run]:
        label = (names.get(cell, ""), *cell)
        if cell in run:
            rows.append([_cell_text(of_cells.get((*cell, part), {}), metric) for part, metric in figures])
            index.append((*label, "ours"))
        published = [as_printed(reported.get((cell, *figure)), figure[1]) for figure in figures]
        if any(published):
            rows.append(published)
            index.append((*label, "published" if cell in run else "published; not run"))
    return pd.DataFrame(
        rows,
        index=pd.MultiIndex.from_tuples(index, names=["document", "method", "backbone", ""]),
        columns=titles,
    )


def epochs_table(scores: pd.DataFrame) -> pd.DataFrame:
    """How long each network trained until it stopped, for the eye: means over seeds, in the order of `scores`.

    Args:
        scores: tidy, of one protocol; part "train" holds epochs, epochs_allowed and kept_epoch, counted over all
            phases, and accuracy in the epoch that was kept, part "val" accuracy.

    Returns:
        str, index (method, backbone), columns seeds, the epochs, the accuracies.
    """
    check_scores(scores)
    columns = [("train", metric) for metric in ("epochs", "epochs_allowed", "kept_epoch", "accuracy")]
    columns.append(("val", "accuracy"))
    titles = [f"{part} accuracy, %" if metric == "accuracy" else METRICS[metric][0] for part, metric in columns]
    rows, index = [], []
    of_cells = by_cell(scores, "method", "backbone", "part")
    for cell in dict.fromkeys(cell[:2] for cell in of_cells):
        of_parts = {part: of_cells.get((*cell, part), {}) for part in ("train", "val")}
        if "epochs" in of_parts["train"]:
            seeds = str(of_parts["train"]["epochs"]["seed"].nunique())
            rows.append([seeds, *(_cell_text(of_parts[part], metric) for part, metric in columns)])
            index.append(cell)
    return pd.DataFrame(
        rows, index=pd.MultiIndex.from_tuples(index, names=["method", "backbone"]), columns=["seeds", *titles]
    )


def kept_in_words(epochs: Sequence[EpochLog]) -> str:
    """Which epoch's weights a training ended with, e.g. "phase 1, epoch 3 of 10; no epoch of phase 2 was better".

    Args:
        epochs: in their order; earlier versions marked none as kept, which gives "".
    """
    kept = next((log for log in epochs if log.kept), None)
    if kept is None:
        return ""
    last = {log.phase: log.epoch for log in epochs}
    # Only what was no better leaves weights of an earlier phase.
    later = [str(phase) for phase in last if phase > kept.phase]
    words = f"phase {kept.phase}, epoch {kept.epoch} of {last[kept.phase]}"
    return words + (f"; no epoch of phase{'s' * (len(later) > 1)} {' and '.join(later)} was better" if later else "")


def _cell_text(figures: Mapping[str, pd.DataFrame], metric: str) -> str:
    if metric not in figures or figures[metric]["value"].isna().any():
        return ""
    counts = figures[metric]["value"]
    counted = metric in COUNTED and counts.nunique() == 1
    return f"{counts.iloc[0]:{METRICS[metric][2]}}" if counted else measured(figures, metric)
