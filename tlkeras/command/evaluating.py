"""A saved classifier on other data, a second centre's: its figures there, and whether its thresholds hold."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tlkeras.checks import real
from tlkeras.command.predicting import NOTICE
from tlkeras.data.sources import read_labelled
from tlkeras.data.splits import Holdout
from tlkeras.errors import InputError
from tlkeras.evaluation.answer_plots import decisions_figure
from tlkeras.evaluation.blocks import Block, Figure, Heading, Table, Text, page_as_markdown
from tlkeras.evaluation.calibration import at_adjustment, at_temperature, fit_adjustment, fit_temperature
from tlkeras.evaluation.conformal import coverage_table, prediction_sets
from tlkeras.evaluation.curve_plots import draw_precision_recall, draw_reliability, draw_roc
from tlkeras.evaluation.decisions import fit_threshold
from tlkeras.evaluation.intervals import FEW_GROUPS, intervals
from tlkeras.evaluation.metrics import confusion_table
from tlkeras.evaluation.plots import new_grid, save_figure
from tlkeras.evaluation.report import report_html
from tlkeras.evaluation.resampling import unit_names
from tlkeras.evaluation.table_plots import draw_confusion
from tlkeras.evaluation.tables import METRICS, format_interval
from tlkeras.files import write_csv, write_text
from tlkeras.replication.answer_sections import COVERAGE, SENSITIVITY
from tlkeras.replication.run_folder import MANIFEST, CellKey, RunFolder
from tlkeras.schema import Predictions, Samples
from tlkeras.terminal import start_keras

if TYPE_CHECKING:
    from collections.abc import Mapping

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "average_precision", "log_loss", "brier")
OF_PROBABILITIES = ("log_loss", "brier", "ece")
OF_TWO = ("sensitivity", "specificity", "precision", "f1")
_WORDS = {
    "as it is": "`as it is`: the classifier answers as it was trained to.",
    "its threshold": "`its threshold`: that which found {wanted:.0%} of the positive validation images of its own run "
    "({n:,} images in all), applied here unchanged.",
    "its temperature": "`its temperature`: fitted to the validation images of its own run ({n:,}), applied here "
    "unchanged.",
    "recalibrated": "`recalibrated`: slope and offsets of logits, fitted to {fitted:,} of these images, whole groups; "
    "all columns are of the others.",
}
_SETS = (
    "Sets that held the true class of {coverage:.0%} of the validation images of every class. Where they hold it less "
    "often here, these images are not as those were: do not trust probabilities and thresholds before they are fitted "
    "anew."
)
_INTERVALS = "In brackets: 95 % intervals over groups (patients, lesions; an image without one counts by itself)."


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What `evaluate_model` found.

    Attributes:
        predictions: of all images.
        answers: {how it is answered: predictions of the images that recalibration was not fitted to}; "as it is" comes
            first.
        positive: the class that is looked for, of two.
        val: the predictions of the validation images of its own run, where they are at hand.
        table: index (answers, figure), columns value, low, high.
    """

    predictions: Predictions
    answers: dict[str, Predictions]
    positive: str | None
    val: Predictions | None
    table: pd.DataFrame

    @property
    def judged(self) -> Predictions:
        """As it answers, of the images that are judged."""
        return self.answers["as it is"]

    def figures(self) -> pd.DataFrame:
        """The table for the eye: a row for each figure, a column for each way to answer."""
        told: dict[str, dict[str, str]] = {}
        for (answer, metric), row in zip(self.table.index, self.table.to_dict("records"), strict=True):
            title, factor, form = METRICS.get(metric, (metric, 1, ".3f"))
            told.setdefault(answer, {})[title] = format_interval(pd.Series(row), form, factor)
        return pd.DataFrame(told).rename_axis("figure").fillna("")


def evaluate_model(
    model: str | os.PathLike,
    data: str | os.PathLike,
    out: str | os.PathLike,
    *,
    group: str | None = None,
    positive_class: str | None = None,
    recalibrate: float = 0.0,
    seed: int = 0,
) -> Evaluated:
    """Scores a saved classifier on labelled images, and writes predictions.csv, scores.csv, table.md and report.html.

    Args:
        model: as `TunedClassifier.save` wrote it, or the folder of a run's cell: of that the thresholds are kept.
        data: a folder of class folders, or a CSV file with the columns path and label.
        out: the folder written to.
        group: the column of the CSV file that says whose image it is.
        positive_class: of two classes the one that is looked for; None takes the second.
        recalibrate: share of the images, whole groups, that slope and offsets are fitted to, below 1; 0 fits none.
        seed: draws that share.

    Raises:
        InputError: images without labels or of other classes, or what `tl.load` and `tl.from_folders` refuse.
        MissingInputError: a folder or file that is not there.
    """
    recalibrate = real(least=0, below=1).also(", the share of the images, e.g. 0.3").check("recalibrate", recalibrate)
    start_keras()
    from tlkeras.training.tuned_classifier import load

    classifier = load(model)
    samples = read_labelled(data, group=group, class_names=classifier.class_names)
    if samples.parts is not None:
        raise InputError(f"data: {data} holds parts ({', '.join(sorted(set(samples.parts)))}); name one of them.")
    names = samples.class_names
    if positive_class is not None and (len(names) != 2 or positive_class not in names):
        raise InputError(f"positive_class: received {positive_class!r}; the classes are {', '.join(names)}.")
    positive = (positive_class or names[1]) if len(names) == 2 else None
    predictions = classifier.predict(samples)
    val = validation_of(model)
    out = Path(out)
    answers = _answers(predictions, val, positive, recalibrate, seed)
    table = pd.concat({name: _figures(each, positive) for name, each in answers.items()}, names=["answers", "figure"])
    # Probabilities that were moved to put a line at 0.5 are none to be judged.
    moved = table.index.isin([("its threshold", figure) for figure in OF_PROBABILITIES])
    table = table[~moved]
    found = Evaluated(predictions, answers, positive, val, table)
    title = f"The classifier `{model}` on `{data}`."
    blocks = _page(found, title, (classifier.images or {}).get("train"), out)
    write_csv(predictions.to_frame("test"), out / "predictions.csv")
    write_csv(table.reset_index(), out / "scores.csv")
    write_text(out / "table.md", page_as_markdown(blocks, out))
    write_text(out / "report.html", report_html(blocks, title="Another data set"))
    return found


def validation_of(model: str | os.PathLike) -> Predictions | None:
    """The predictions of the validation images of a run's cell; None of a classifier that was saved without a run."""
    folder = Path(model).resolve()
    is_cell = (folder / MANIFEST).is_file() and re.fullmatch(r"seed-?\d+", folder.name) and len(folder.parents) > 2
    if not is_cell:
        return None
    method, backbone = folder.parent.name, folder.parent.parent.name
    key = CellKey(method, backbone, int(folder.name.removeprefix("seed")))
    return RunFolder(folder.parents[2]).read_predictions(key).get("val")


def _answers(
    predictions: Predictions, val: Predictions | None, positive: str | None, recalibrate: float, seed: int
) -> dict[str, Predictions]:
    """See `Evaluated.answers`."""
    judged, fitted = predictions, None
    if recalibrate:
        splits = Holdout(val=0.0, test=1 - recalibrate).split(predictions.samples, seed=seed)
        fitted, judged = (_of(predictions, part) for part in (splits.train, splits.test))
    answers = {"as it is": judged}
    if val is not None:
        if positive and np.unique(val.samples.known_labels).size == 2:
            answers["its threshold"] = at_adjustment(judged, fit_threshold(val, positive, sensitivity=SENSITIVITY))
        if np.isfinite(temperature := fit_temperature(val)):
            answers["its temperature"] = at_temperature(judged, temperature)
    if fitted is not None and (adjustment := fit_adjustment(fitted)) is not None:
        answers["recalibrated"] = at_adjustment(judged, adjustment)
    return answers


def _of(predictions: Predictions, part: Samples) -> Predictions:
    row_of = {name: row for row, name in enumerate(predictions.samples.sample_ids)}
    return Predictions(part, predictions.probs[[row_of[name] for name in part.sample_ids]])


def _figures(predictions: Predictions, positive: str | None) -> pd.DataFrame:
    metrics = [*FIGURES, *(OF_TWO if positive else ()), "ece"]
    found = intervals(predictions, positive_class=positive, metrics=metrics)
    return found[["value", "low", "high"]].rename_axis("figure")


def _page(found: Evaluated, title: str, learnt: Mapping[str, int] | None, out: Path) -> list[Block]:
    judged, val = found.judged, found.val
    counts = pd.DataFrame({"here": found.predictions.samples.class_counts()}).rename_axis("class")
    if learnt:
        counts.insert(0, "learnt from", pd.Series(learnt))
    for column in list(counts):
        counts[f"{column}, %"] = (100 * counts[column] / counts[column].sum()).map("{:.1f}".format)
    n_groups, n_fitted = len(set(unit_names(judged))), len(found.predictions) - len(judged)
    told = {"n": 0 if val is None else len(val), "fitted": n_fitted, "wanted": SENSITIVITY}
    words = " ".join(_WORDS[name].format(**told) for name in found.answers)
    words += " No run's validation images lie beside it." if val is None else ""
    if n_fitted and "recalibrated" not in found.answers:
        words += " The images to recalibrate by lack a class: nothing was fitted."
    blocks: list[Block] = [
        Heading("Another data set", level=1),
        Text(f"{title} {len(judged):,} images in {n_groups:,} groups are judged. {NOTICE}"),
        Heading("Classes"),
        Table(counts),
        Heading("Figures"),
        Table(found.figures()),
        Text(f"{words} {_INTERVALS}"),
    ]
    if n_groups < FEW_GROUPS:
        blocks.append(Text(f"**{n_groups} groups are few: such intervals hold the true figure less often.**"))
    if val is not None:
        sets = coverage_table(prediction_sets(val, judged, coverage=COVERAGE)).rename(columns={"coverage": "value"})
        shown = sets[["images", "groups"]].assign(
            **{"in the set, %": [format_interval(row, ".1f", 100) for _, row in sets.iterrows()]},
            size=sets["size"].map(lambda size: "" if np.isnan(size) else f"{size:.2f}"),
        )
        blocks += [Heading("Sets of classes"), Table(shown), Text(_SETS.format(coverage=COVERAGE))]
    return [*blocks, Heading("Pictures"), *_pictures(found, out)]


def _pictures(found: Evaluated, out: Path) -> list[Block]:
    judged, answers, positive = found.judged, found.answers, found.positive
    figure, axes = new_grid(1, 3, side=4.2)
    draw_roc(judged, axes[0, 0], positive_class=positive)
    draw_precision_recall(judged, axes[0, 1], positive_class=positive)
    draw_reliability(judged, axes[0, 2], scaled=answers.get("its temperature"))
    curves = save_figure(figure, out / "probabilities.png")
    shown = {name: each for name, each in answers.items() if name != "its threshold"}
    decided = save_figure(decisions_figure(shown, positive), out / "decisions.png")
    figure, axes = new_grid(1, 2, side=4.6)
    for ax, normalize, title in ((axes[0, 0], False, "images"), (axes[0, 1], True, "share of the actual class, %")):
        draw_confusion(confusion_table(judged, normalize=normalize), ax)
        ax.set_title(title)
    confused = save_figure(figure, out / "confusion.png")
    return [
        Figure(curves, "ROC curves, precision-recall curves and reliability diagram"),
        Figure(decided, "net benefit, and errors over the share of images answered"),
        Figure(confused, "confusion matrix, in images and in shares"),
    ]
