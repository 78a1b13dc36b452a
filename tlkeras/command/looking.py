"""Data looked at from the command line: what a split of a folder lets leak, and how unlike two folders are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tlkeras.data.images import read_thumbnails
from tlkeras.data.leakage import audit
from tlkeras.data.sources import read_labelled
from tlkeras.data.splits import Holdout, Predefined
from tlkeras.evaluation.blocks import to_markdown
from tlkeras.evaluation.plots import new_grid, save_figure
from tlkeras.evaluation.sheets import draw_pairs_sheet, draw_predictions_sheet
from tlkeras.evaluation.tables import format_interval
from tlkeras.files import write_csv
from tlkeras.terminal import start_keras

if TYPE_CHECKING:
    import os

    from tlkeras.data.leakage_findings import Audit
    from tlkeras.reviewing.look_alikes import LookAlikes
    from tlkeras.schema import Samples

ROWS, COLUMNS = 5, 4  # of a sheet


@dataclass(frozen=True, eq=False)
class Looked:
    """What `audit_data` found.

    Attributes:
        split: what was audited, in words.
        audit: of that split.
        look_alikes: of all images, by features; None where they were not asked for.
    """

    split: str
    audit: Audit
    look_alikes: LookAlikes | None

    def describe(self) -> str:
        """All of it in lines."""
        lines = [f"audit of {self.split}:", *(f"  - {finding}" for finding in self.audit.findings())]
        if self.look_alikes is not None:
            lines.append(
                f"look-alikes by features: {len(self.look_alikes.pairs):,} pairs; a chain of them may be one group"
            )
        return "\n".join(lines)


def audit_data(
    data: str | os.PathLike,
    *,
    group: str | None = None,
    show: str | os.PathLike | None = None,
    weights_folder: str | None = None,
) -> Looked:
    """Audits a folder or table of images: its own parts, or what a split image by image would let leak.

    Args:
        data: a folder of class folders, or of parts that hold such, or a CSV file; see `data.sources.read_labelled`.
        group: the column of the CSV file that says whose image it is.
        show: a folder that gets look_alikes.csv and look_alikes.png, by features; None looks for none.
        weights_folder: where the network's weights are looked for first.

    Raises:
        InputError: data that cannot be used.
    """
    samples = read_labelled(data, group=group)
    if samples.parts is None:
        split, words = Holdout(respect_groups=False).split(samples, seed=0), "a split image by image, 60 : 20 : 20"
    else:
        split, words = Predefined(respect_groups=False).split(samples, seed=0), "its own parts"
    found = audit(split)
    alike = None
    if show is not None:
        start_keras()
        from tlkeras.reviewing.look_alikes import look_alikes

        alike = look_alikes(samples, weights_folder=weights_folder)
        part_of = {name: part for part, of_part in split.parts().items() for name in of_part.sample_ids}
        write_csv(alike.pairs.drop(columns=["row_a", "row_b"]), Path(show) / "look_alikes.csv")
        _draw_pairs(alike, samples, part_of, Path(show) / "look_alikes.png")
    return Looked(words, found, alike)


def compare_data(
    first: str | os.PathLike,
    second: str | os.PathLike,
    out: str | os.PathLike,
    *,
    group: str | None = None,
    weights_folder: str | None = None,
) -> str:
    """Compares two sets of images by `tl.shift`; writes least_familiar.png, those of the second least like the first.

    Returns:
        The tables, in lines.
    """
    start_keras()
    from tlkeras.reviewing.shift import shift

    found_classes = {name for data in (first, second) for name in read_labelled(data, group=group).class_names}
    sets = [read_labelled(data, group=group, class_names=sorted(found_classes)) for data in (first, second)]
    found = shift(*sets, names=(str(first), str(second)), weights_folder=weights_folder)
    rows = found.least_familiar(ROWS * COLUMNS)
    figure, axes = new_grid(ROWS, COLUMNS)
    names = np.array(sets[1].class_names, dtype=object)[sets[1].known_labels[rows]]
    draw_predictions_sheet(read_thumbnails(sets[1], rows), [*names], [*names], axes)
    sheet = save_figure(figure, Path(out) / "least_familiar.png")
    told = found.table().rename(columns={"roc_auc": "value"})
    auc = pd.DataFrame(
        {
            "first": told["first"],
            "second": told["second"],
            "ROC AUC": [format_interval(row, ".3f") for _, row in told.iterrows()],
        }
    )
    shares = [] if found.shares is None else [to_markdown(found.shares)]
    return "\n".join(
        [
            to_markdown(auc),
            "ROC AUC of a classifier that tells the sets apart: 0.5 where they are of one kind.\n",
            to_markdown(found.measured),
            *shares,
            f"{np.mean(found.familiar <= 0.01):.1%} of the second set lie farther from the first than 99 % of its own "
            f"images lie from each other; the farthest are in {sheet}",
        ]
    )


def _draw_pairs(alike: LookAlikes, samples: Samples, part_of: dict[str, str], file: Path) -> None:
    """Pairs of two parts before those of one, the most alike first."""
    crossing = [
        part_of[a] != part_of[b] for a, b in zip(alike.pairs["sample_id_a"], alike.pairs["sample_id_b"], strict=True)
    ]
    shown = alike.pairs.assign(crossing=crossing).sort_values("crossing", ascending=False, kind="stable")
    shown = shown.head(ROWS * COLUMNS // 2)
    figure, axes = new_grid(ROWS, COLUMNS)
    rows = shown[["row_a", "row_b"]].to_numpy().ravel()
    names = [f"{part_of[name]}, {Path(str(name)).name}" for name in samples.sample_ids[rows]]
    draw_pairs_sheet(read_thumbnails(samples, rows), names, [*shown["similarity"]], axes)
    save_figure(figure, file)
