"""The sections of a page that show what `--review` found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.evaluation.answer_plots import draw_learning_curve
from tlkeras.evaluation.blocks import Block, Figure, Folded, Heading, Table, Text
from tlkeras.evaluation.plots import new_figure, save_figure
from tlkeras.evaluation.tables import METRICS, format_interval
from tlkeras.replication.reviewed import Reviewed

if TYPE_CHECKING:
    from pathlib import Path

    from tlkeras.replication.finished_run import FinishedRun

_SHOWN = 12  # labels in the page's table
_NETWORK = (
    "Told by the features of one frozen network ({network}, {side} pixels) and a logistic regression, not by the "
    "networks above. Seconds are those of this run, features from the store."
)
_CURVE = (
    "{seeds} seeds draw whole groups of the training images, larger sizes hold the smaller ones, and of the largest "
    "all are the same; intervals over seeds and test groups. "
)
_AHEAD = (
    "With twice as many groups the power law says {at}, that is {gain}; other training groups than these are in no "
    "interval, and that the curve goes on as it began nobody knows."
)
_FLAT = "Over these sizes it does not get better with more groups, so that no law tells what more would bring."
_LABELS = (
    "{marked:,} of {images:,} labels are marked by confident learning (Northcutt et al. 2021) on predictions of "
    "classifiers that saw neither the image nor others of its group: wrong labels, and hard images. An expert has to "
    "look."
)
_LOOK_ALIKES = (
    "{pairs:,} pairs of images look alike by their features, turned, mirrored and cut ones too; {crossing:,} of them "
    "lie on two sides of the split of seed {seed} (by {name} at {side} pixels)."
)
_DRAWN = " The threshold was drawn on half of the groups."
_NOT_DRAWN = " The threshold is HAM10000's: of these groups none could be drawn with a precision of 90 %."
_JUDGED = (
    " On the half of the groups that draws none, {precision:.0%} of the pairs found are of one group, and {recall:.0%} "
    "of its {n:,} pairs are found."
)
_FAMILIAR = (
    "`1 %`, `5 %`: the share of a part's images that lie farther from the training images, in features, than all but "
    "so many of the training images lie from those of other groups (distance to the 10th nearest, Sun et al. 2022). Of "
    "images of the same kind it would be so many. Below: how well a classifier tells validation and test images apart, "
    "ROC AUC; 0.5 where they are of one kind."
)


def review(run: FinishedRun) -> list[Block]:
    """What the images tell; nothing where --review was not given."""
    found = Reviewed.of(run.folder)
    if found is None:
        return []
    words = _NETWORK.format(network=found.about["network"], side=found.about["image_size"][0])
    blocks: list[Block] = [Heading("What the images tell"), Text(words)]
    for question, title, section in (
        ("learning curve", "More images or not", _learning_curve),
        ("labels", "Labels to look at", _labels),
        ("look-alikes", "Look-alikes", _look_alikes),
        ("familiarity", "How unlike the training images", _familiarity),
    ):
        refused = found.found(question).get("refused")
        seconds = found.about["seconds"][question]
        blocks.append(Heading(f"{title} ({seconds:.0f} s)", level=3))
        blocks += section(found) if refused is None else [Text(f"Not answered: {refused}")]
    return blocks


def _learning_curve(found: Reviewed) -> list[Block]:
    about, table = found.found("learning curve"), found.table("learning_curve.csv").set_index("groups")
    title, factor, form = METRICS[about["metric"]]
    ahead = about["ahead"]
    figure, ax = new_figure(6.4, 4.0)
    curve = table["curve"] if table["curve"].notna().all() else None
    further = {ahead["groups"]: tuple(ahead["at"])} if ahead else None
    draw_learning_curve(table, ax, metric=about["metric"], curve=curve, ahead=further)
    file = save_figure(figure, found.root / "learning_curve.png")
    shown = pd.DataFrame(
        {
            "images": table["images"].map("{:,.0f}".format),
            title: [format_interval(row, form, factor) for _, row in table.iterrows()],
        }
    )
    blocks: list[Block] = [
        Figure(file, f"{title} on {about['part']} over the number of groups learnt from"),
        Table(shown),
    ]
    words = _CURVE.format(seeds=len(about["seeds"]))
    if ahead:
        found_ahead = (pd.Series(ahead[name], ["value", "low", "high"]) for name in ("at", "gain"))
        at, gain = (format_interval(figures, form, factor) for figures in found_ahead)
        return [*blocks, Text(words + _AHEAD.format(at=at, gain=gain))]
    return [*blocks, Text(words + _FLAT)]


def _labels(found: Reviewed) -> list[Block]:
    about, table = found.found("labels"), found.table("labels.csv")
    shown = table.head(_SHOWN)[["sample_id", "label", "suggested", "probability"]].set_index("sample_id")
    return [
        *_image(found.root / "labels.png", "the images whose label is least probable, with label and suggestion"),
        Text(_LABELS.format(**about)),
        Folded("The first of them", (Table(shown),)),
    ]


def _look_alikes(found: Reviewed) -> list[Block]:
    about = found.found("look-alikes")
    name, side = about["network"]
    words = _LOOK_ALIKES.format(seed=found.about["seed"], name=name, side=side, **about)
    words += _DRAWN if about["drawn"] else _NOT_DRAWN
    if (judged := about["judged"]) is not None:
        words += _JUDGED.format(precision=judged["precision"], recall=judged["recall"], n=judged["pairs"])
    return [
        *_image(found.root / "look_alikes.png", "the pairs on two sides of the split that look most alike"),
        Text(words),
    ]


def _familiarity(found: Reviewed) -> list[Block]:
    table = found.table("familiarity.csv")
    shown = pd.DataFrame(
        {
            "part": table["part"],
            "images": table["images"],
            "1 %": [f"{100 * share:.1f} %" for share in table["below_0.01"]],
            "5 %": [f"{100 * share:.1f} %" for share in table["below_0.05"]],
        }
    ).set_index("part")
    blocks: list[Block] = [
        Table(shown),
        Text(_FAMILIAR),
    ]
    for part, measured in found.found("familiarity")["measured"].items():
        rows = found.table(f"shift_{part}.csv").rename(columns={"roc_auc": "value"}).set_index("images of")
        told = rows[["first", "second"]].rename(columns={"first": "val", "second": part})
        told = told.assign(**{"ROC AUC": [format_interval(row, ".3f") for _, row in rows.iterrows()]})
        levels = pd.DataFrame(measured).rename_axis("mean of images")
        blocks += [Table(told), Table(levels.map("{:.0f}".format))]
    return blocks


def _image(file: Path, alt: str) -> list[Block]:
    return [Figure(file, alt)] if file.is_file() else []
