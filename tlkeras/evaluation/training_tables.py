"""What is told of each training beside its accuracy: sizes, losses, times, epochs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from tlkeras.evaluation.tables import COUNTED, METRICS, as_printed, check_scores, mean_and_spread


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
    values = scores.astype({"value": float}).groupby(["method", "backbone", "part", "metric"])["value"]
    groups = dict(iter(values))
    run = list(dict.fromkeys(zip(scores["method"], scores["backbone"], strict=True)))
    columns_of = {cell: {key[1:] for key in reported if key[0] == cell} for cell, _, _ in reported}
    not_run = [cell for cell, columns in columns_of.items() if cell not in run and columns != {(test, "accuracy")}]
    rows, index = [], []
    for cell in [*run, *not_run]:
        label = (names.get(cell, ""), *cell)
        if cell in run:
            rows.append([_cell_text(groups.get((*cell, *figure)), figure[1]) for figure in figures])
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
    for cell, of_cell in scores.astype({"value": float}).groupby(["method", "backbone"], sort=False):
        values = dict(iter(of_cell.groupby(["part", "metric"])["value"]))
        if ("train", "epochs") in values:
            rows.append([str(of_cell["seed"].nunique()), *(_cell_text(values.get(key), key[1]) for key in columns)])
            index.append(cell)
    return pd.DataFrame(
        rows, index=pd.MultiIndex.from_tuples(index, names=["method", "backbone"]), columns=["seeds", *titles]
    )


def _cell_text(values: pd.Series | None, metric: str) -> str:
    if values is None or values.isna().any():
        return ""
    _, factor, form = METRICS[metric]
    counted = metric in COUNTED and values.nunique() == 1
    return f"{values.iloc[0]:{form}}" if counted else mean_and_spread(factor * values, form)
