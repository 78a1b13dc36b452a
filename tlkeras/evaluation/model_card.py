"""The card of a saved model: what it is for, what it learnt from, how well it does on every class, its limits.

Sections after Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tlkeras.errors import InputError
from tlkeras.evaluation.blocks import Block, Heading, Table, Text, bullets
from tlkeras.evaluation.intervals import intervals
from tlkeras.evaluation.metrics import check_scorable
from tlkeras.evaluation.tables import OURS, format_figures
from tlkeras.schema import EpochLog, Predictions

NOT_FOR_DIAGNOSIS = "**Not for diagnosis.** It is not a medical device, and no doctor has tried it."
LIMITS = (
    "It answers with one of its classes for every image, whatever the image shows.",
    "Images of other scanners, hospitals or people than those it learnt from may look different to it in ways that no "
    "figure here measures.",
    "A probability is what the network says, not how often it is right, unless a reliability diagram shows that.",
)
_OF_CLASS = ("precision", "recall", "f1")


def model_card(
    facts: Mapping[str, Any],
    *,
    name: str,
    data: Iterable[Block] = (),
    tested: Mapping[str, Predictions] | None = None,
    limits: Iterable[str] = (),
) -> list[Block]:
    """The card as blocks.

    Args:
        facts: what classifier.json holds.
        name: what the model is called.
        data: what is known of the data it learnt from; none tells the numbers of images in `facts`.
        tested: {part: its predictions for images it did not learn from}.
        limits: what to know beyond `LIMITS`.
    """
    height, width = facts["image_size"]
    epochs = [EpochLog(**log) for log in facts["epochs"]]
    weights = facts["weights"]
    rows = {
        "input": f"images of {height}x{width} pixels, RGB, 0 to 255; the preprocessing is inside",
        "output": f"one probability for each of {', '.join(facts['class_names'])}",
        "weights at the start": "random" if weights is None else f"{weights['path']}, sha256 {weights['sha256'][:16]}",
        "epochs trained": str(len(epochs)),
        "weights kept": kept_in_words(epochs) or "not known",
        "precision": facts.get("precision", {"name": "float32"})["name"],  # earlier versions knew no other
        "made with": ", ".join(f"{package} {version}" for package, version in facts["versions"].items()),
        "sha256 of model.keras": facts["sha256"],
    }
    table = pd.DataFrame({"value": rows.values()}, index=pd.Index(rows, name="the model"))
    return [
        Heading(f"Model card: {name}", level=1),
        Text(NOT_FOR_DIAGNOSIS),
        Heading("Intended use"),
        Text(
            "Research and teaching on transfer learning: comparing methods, looking into what a network attends to, "
            "starting another training."
        ),
        Heading("The model"),
        Table(table),
        Heading("Data"),
        *(data or _data_blocks(facts.get("images"))),
        Heading("How well it does"),
        *_figures_blocks(tested or {}),
        *bullets("Limits", [*limits, *LIMITS]),
    ]


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


def check_tested(tested: object, class_names: tuple[str, ...]) -> None:
    """Refuses what a card cannot show.

    Raises:
        InputError: not {part: labelled predictions}, or predictions of other classes than the model's.
    """
    if tested is None:
        return
    if not isinstance(tested, Mapping) or not all(isinstance(each, Predictions) for each in tested.values()):
        raise InputError(
            f"tested: received {type(tested).__name__}; accepted is {{part: predictions}}, such as "
            "{'test': classifier.predict(splits.test)}."
        )
    for part, predictions in tested.items():
        check_scorable(predictions)
        if predictions.samples.class_names != class_names:
            raise InputError(
                f"tested: {part!r} has the classes {list(predictions.samples.class_names)}, the model "
                f"{list(class_names)}; give predictions of this model."
            )


def _data_blocks(images: Mapping[str, Mapping[str, int]] | None) -> list[Block]:
    if not images:
        return [Text("Not known: the model was saved without saying what it learnt from.")]
    told = {
        part: f"{sum(counts.values()):,} images: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())
        for part, counts in images.items()
    }
    blocks: list[Block] = [Text(f"It learnt from {told['train']}.")] if "train" in told else []
    return [*blocks, Text(f"It was validated on {told['val']}.")] if "val" in told else blocks


def _figures_blocks(tested: Mapping[str, Predictions]) -> list[Block]:
    if not tested:
        return [Text("Not measured: the model was saved without predictions for images it did not learn from.")]
    blocks: list[Block] = []
    for part, predictions in tested.items():
        counts = predictions.samples.class_counts()
        metrics = ["accuracy", "balanced_accuracy", *(f"{metric}_{name}" for name in counts for metric in _OF_CLASS)]
        figures = intervals(predictions, metrics=metrics)
        shown = {
            metric: format_figures(pd.Series([value, np.nan, low, high], OURS), ".3f")
            for metric, value, low, high in figures[["value", "low", "high"]].itertuples()
        }
        rows = [
            [
                *(shown[f"{metric}_{name}"] for metric in _OF_CLASS),
                str(n),
                f"{figures.loc[f'recall_{name}', 'groups']:,.0f}",
            ]
            for name, n in counts.items()
        ]
        columns = ["precision", "recall", "F1", "images", "groups"]
        table = pd.DataFrame(rows, index=pd.Index(counts, name=f"class, on {part}"), columns=columns)
        commonest = max(counts, key=lambda name: counts[name])
        words = (
            f"Accuracy on {part} ({len(predictions):,} images in {figures.loc['accuracy', 'groups']:,.0f} groups): "
            f"{shown['accuracy']}; balanced accuracy: "
            f"{shown['balanced_accuracy']}. Always answering {commonest} would give an accuracy of "
            f"{counts[commonest] / len(predictions):.3f}."
        )
        blocks += [Text(words), Table(table)]
    return [
        *blocks,
        Text("In brackets: 95 % interval over groups: patients or lesions where these are known, else images."),
    ]
