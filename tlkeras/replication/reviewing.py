"""What `--review` asks of a protocol's images: more of them or not, labels, copies, how unlike the test part is.

Features of one frozen network tell, so that each answer takes seconds once they are there. It writes the folder
`review` of the protocol's run folder; `review_sections` shows it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tlkeras.data.images import read_thumbnails
from tlkeras.errors import InputError, UnwritableError
from tlkeras.evaluation.label_review import review_labels
from tlkeras.evaluation.plots import new_grid, save_figure
from tlkeras.evaluation.sheets import draw_pairs_sheet, draw_predictions_sheet
from tlkeras.files import write_csv, write_json
from tlkeras.models.zoo import get_backbone
from tlkeras.progress import say
from tlkeras.replication.reviewed import Reviewed
from tlkeras.replication.running import readable_samples
from tlkeras.reviewing.familiarity import fit_familiarity
from tlkeras.reviewing.learning_curve import learning_curve
from tlkeras.reviewing.look_alikes import NETWORK as LOOK_ALIKES
from tlkeras.reviewing.look_alikes import look_alikes
from tlkeras.reviewing.shift import shift
from tlkeras.schema import Splits
from tlkeras.training.cross_validation import cross_validate
from tlkeras.training.extractor import Extractor

if TYPE_CHECKING:
    from tlkeras.replication.experiment import Plan
    from tlkeras.replication.planning import RunOptions
    from tlkeras.replication.run_folder import RunFolder
    from tlkeras.schema import Samples

SHEET = (3, 4)  # rows and columns of a sheet of images
PAIRS = 6  # on a sheet, two images each
MOST_LABELS = 200  # told
FAMILIAR = (0.01, 0.05)


def review_run(plan: Plan, options: RunOptions, folder: RunFolder) -> None:
    """Answers all questions of the images that a protocol runs on, with the split of the first seed.

    A question that cannot be answered of these images says why, and the others are answered.

    Raises:
        InputError: a protocol without networks, or images that cannot be read.
    """
    samples = readable_samples(plan.load(options.data), options, folder)
    seed = options.seeds[0]
    splits = plan.protocol.split.split(samples, seed=seed)
    extractor = extractor_of(plan, options)
    known = {"weights_folder": options.weights, "store": options.store}
    say("")
    say(f"review: features of {get_backbone(extractor.backbone).name}")
    extractor.features(samples, **known)
    seconds, found = {}, {}
    target = folder.root / Reviewed.FOLDER
    (target / Reviewed.FILE).unlink(missing_ok=True)  # written last: until then nothing is shown
    for name, answer in {
        "learning curve": lambda: _learning_curve(extractor, splits, target, known),
        "labels": lambda: _labels(extractor, samples, target, known, seed),
        "look-alikes": lambda: _look_alikes(splits, samples, target, known),
        "familiarity": lambda: _familiarity(extractor, splits, target, known),
    }.items():
        start = time.perf_counter()
        try:
            found[name] = answer()
        except UnwritableError:
            raise
        except InputError as error:
            say(f"{name}: not answered: {error}")
            found[name] = {"refused": str(error)}
        seconds[name] = round(time.perf_counter() - start, 1)
    about = {"network": get_backbone(extractor.backbone).name, "image_size": list(extractor.image_size), "seed": seed}
    write_json(target / Reviewed.FILE, about | {"seconds": seconds, "found": found})


def extractor_of(plan: Plan, options: RunOptions) -> Extractor:
    """The network whose features tell: that of the first chosen recipe, with ImageNet's weights, and a linear
    classifier.

    Raises:
        InputError: no chosen recipe has a network.
    """
    cells = (plan.protocol.cells[cell] for cell in plan.protocol.chosen(options.methods, options.backbones))
    networks = [recipe.network for recipe in cells if recipe.network is not None]
    if not networks:
        raise InputError("--review: none of the chosen methods has a network, whose features would tell.")
    first = networks[0]
    return Extractor(
        first.backbone,
        "logistic_regression",
        image_size=options.image_size or first.image_size,
        resize=first.resize,
        arguments={"C": 0.01},
    )


def _learning_curve(extractor: Extractor, splits: Splits, target: Path, known: dict) -> dict:
    part, test = next(iter(splits.tests.items()))
    of_one = Splits(splits.train, None, {part: test})
    curve = learning_curve(extractor, of_one, metric="balanced_accuracy", **known)
    write_csv(curve.table.reset_index(), target / "learning_curve.csv")
    law = None if curve.law is None else vars(curve.law)
    largest = int(curve.table.index[-1])
    ahead = None
    if curve.improves:
        ahead = {"groups": 2 * largest, "at": curve.at(2 * largest), "gain": curve.gain(2)}
    return {"part": part, "metric": curve.metric, "seeds": list(curve.seeds), "law": law, "ahead": ahead}


def _labels(extractor: Extractor, samples: Samples, target: Path, known: dict, seed: int) -> dict:
    held_out = cross_validate(extractor, samples, folds=5, seeds=(seed,), **known)
    table = review_labels(held_out.predictions)
    write_csv(table[table["marked"]].head(MOST_LABELS).drop(columns=["row", "group"]), target / "labels.csv")
    shown = table.head(SHEET[0] * SHEET[1])
    figure, axes = new_grid(*SHEET)
    draw_predictions_sheet(read_thumbnails(samples, shown["row"]), [*shown["label"]], [*shown["suggested"]], axes)
    save_figure(figure, target / "labels.png")
    return {"images": len(table), "marked": int(table["marked"].sum())}


def _look_alikes(splits: Splits, samples: Samples, target: Path, known: dict) -> dict:
    found = look_alikes(samples, **known)
    side_of = {name: part for part, of_part in splits.parts().items() for name in of_part.sample_ids}
    pairs = found.pairs.assign(
        part_a=[side_of.get(name, "") for name in found.pairs["sample_id_a"]],
        part_b=[side_of.get(name, "") for name in found.pairs["sample_id_b"]],
    )
    crossing = pairs[(pairs["part_a"] != pairs["part_b"]) & (pairs["part_a"] != "") & (pairs["part_b"] != "")]
    write_csv(crossing.drop(columns=["row_a", "row_b"]), target / "look_alikes.csv")
    shown = crossing.head(PAIRS)
    if len(shown):
        rows = shown[["row_a", "row_b"]].to_numpy().ravel()
        names = [str(name) for name in shown[["part_a", "part_b"]].to_numpy().ravel()]
        figure, axes = new_grid(*SHEET)
        draw_pairs_sheet(read_thumbnails(samples, rows), names, [*shown["similarity"]], axes)
        save_figure(figure, target / "look_alikes.png")
    judged = None if found.judged is None else vars(found.judged)
    network = LOOK_ALIKES.backbone, LOOK_ALIKES.image_size[0]
    counts = {"pairs": len(pairs), "crossing": len(crossing), "threshold": found.threshold}
    return counts | {"judged": judged, "drawn": found.drawn, "network": network}


def _familiarity(extractor: Extractor, splits: Splits, target: Path, known: dict) -> dict:
    train = splits.train
    features = extractor.features(train, **known)
    familiar = fit_familiarity(features, train.groups)
    rows = []
    for part, of_part in splits.parts().items():
        if part == "train":
            continue
        shares = familiar.share_as_far(extractor.features(of_part, **known))
        rows.append((part, len(of_part), np.median(shares), *(np.mean(shares <= level) for level in FAMILIAR)))
    columns = ["part", "images", "median", *(f"below_{level}" for level in FAMILIAR)]
    write_csv(pd.DataFrame(rows, columns=columns), target / "familiarity.csv")
    told = {}
    if splits.val is not None:
        for part, of_part in splits.tests.items():
            between = shift(splits.val, of_part, names=("val", part), network=extractor, **known)
            write_csv(between.table().reset_index(), target / f"shift_{part}.csv")
            told[part] = between.measured[["level", "contrast", "width", "height"]].T.to_dict()
    return {"measured": told}
