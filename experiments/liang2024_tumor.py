"""Tumour or not on slide images: ResNet-18 and 50, and a cross-validated grid of rate and epochs.

Paper
    T. Liang, "Deep Learning Image Classification", coursework report, 2024-04-06. ResNet-18 and ResNet-50 are trained
    at a rate of 1e-4 for 5 epochs in batches of 32, and judged on their training images and on two test parts. Then a
    grid of four rates and four numbers of epochs is cross-validated; the pair of the best mean accuracy is fitted on
    all training images, and judged again.
Data
    A folder `tumor` of your own, train/, test1/ and test2/ with the folders tumor/ and no_tumor/ in each; the
    document's images are not published.
Command
    python experiments/liang2024_tumor.py --data DATA --weights WEIGHTS --protocol paper
    python experiments/liang2024_tumor.py --data DATA --weights WEIGHTS --protocol stand_in
Cost
    Each fold of the grid is trained once for each rate, to nine epochs, which answers for 3, 5 and 7. stand_in on 2
    cores with other work beside: 5 minutes for both grids, 27 for the ResNets.
Expected result
    stand_in, ResNet-18 at 1e-4, accuracy with 95 % intervals over patients: .958 [.943, .969] on test 1, .764
    [.721, .803] on test 2; printed of tumours .914 and .750. Both grids pick 1e-3 and 7 epochs, and cannot say that
    they are best. The document's grid puts nine pairs within half a per cent of each other, three of them at 1.000, and
    prints no interval: which is best, it cannot say. Ties go to the fewest epochs, then to the lower rate. Its second
    test part at accuracy = precision = 0.521 with recall 1 means that every image was called a tumour. All of it:
    assets/liang2024_tumor/README.md.
Protocols
    paper      the document's grid, folds drawn image by image
    corrected  the same, with byte-identical images on one side of every fold, and refused where they join two parts
               (a folder of images tells no patients)
    stand_in   chest X-rays, normal or pneumonia, in place of the slides, at 96x96. Test 1 is held out of the set's
               training and validation parts by patient; test 2 is its own test part, which shares none. ResNets from
               random weights (ImageNet's are not at hand), at the document's 1e-4 and at 1e-2; the grid on MobileNetV2
               of width 0.35 with ImageNet's weights, once frozen and once with its last stage learning.
Deviations
    Each protocol's own; every table.md lists them, and what the document states and what we assumed.
"""

from dataclasses import dataclass, replace

import numpy as np

import tlkeras as tl
from tlkeras.replication.script import main

RATES, EPOCHS = (1e-4, 1e-3, 1e-2, 1e-1), (3, 5, 7, 9)
DOCUMENT, SMALL = (224, 224), (96, 96)


@dataclass(frozen=True)
class TwoTestParts:
    """Chest X-rays with two test parts: `test1` held out of the set's training part by patient, `test2` its own."""

    test1: float = 0.2
    seed: int = 0

    def __call__(self, samples):
        """The same samples with the parts train, test1 and test2."""
        parts = np.where(samples.parts == "test", "test2", "train").astype(object)
        training = np.flatnonzero(parts == "train")
        held_out = tl.Holdout(val=0.0, test=self.test1).split(samples.take(training), seed=self.seed).test
        parts[np.isin(samples.sample_ids, held_out.sample_ids)] = "test1"
        return replace(samples, parts=parts)


def tuner(
    backbone: str,
    image_size: tuple[int, int],
    *,
    weights: str | None = "imagenet",
    learning_rate: float = 1e-4,
    unfreeze: int | str | tuple[str, ...] = "all",
    batch_norm: str = "train",
) -> tl.Tuner:
    """A linear layer on pooled features; the rate and the five epochs are those of the document's baseline."""
    return tl.Tuner(
        backbone,
        weights=weights,
        image_size=image_size,
        head=tl.Head(hidden=(), dropout=0.0, pooling="avg"),
        phases=tl.Phase(
            5, learning_rate, unfreeze=unfreeze, optimizer="sgd", momentum=0.9, keep="last", batch_norm=batch_norm
        ),
        batch_size=32,
    )


def search(recipe, *, respect_groups=True):
    """The document's grid, five folds."""
    folds = tl.KFold(5, respect_groups=respect_groups)
    return tl.Search(recipe, {"learning_rate": RATES, "epochs": EPOCHS}, folds)


def cells(*, respect_groups):
    """The document's three networks."""
    return {
        ("baseline", "resnet18"): tuner("resnet18", DOCUMENT),
        ("baseline", "resnet50"): tuner("resnet50", DOCUMENT),
        ("best_of_grid", "resnet18"): search(tuner("resnet18", DOCUMENT), respect_groups=respect_groups),
    }


def stand_in_cells():
    """What can be run here: ResNets from random weights, grids on a small network of ImageNet."""
    small = ("mobilenetv2_035", SMALL)
    return {
        ("baseline", "resnet18"): tuner("resnet18", SMALL, weights=None),
        ("baseline", "resnet50"): tuner("resnet50", SMALL, weights=None),
        ("baseline_1e-2", "resnet18"): tuner("resnet18", SMALL, weights=None, learning_rate=1e-2),
        ("baseline_1e-2", "resnet50"): tuner("resnet50", SMALL, weights=None, learning_rate=1e-2),
        ("best_frozen", "mobilenetv2_035"): search(tuner(*small, unfreeze=0, batch_norm="frozen")),
        ("best_last_stage", "mobilenetv2_035"): search(tuner(*small, unfreeze=("block5",), batch_norm="frozen")),
    }


def reported():
    """Tables 1 to 3; precision, recall and F1 are those of the class tumor."""
    tables = {
        ("baseline", "resnet18"): {
            "train": (0.920, 0.948, 0.889, 0.917),
            "test1": (0.914, 0.938, 0.909, 0.923),
            "test2": (0.750, 0.676, 1.000, 0.806),
        },
        ("baseline", "resnet50"): {
            "train": (0.989, 0.987, 0.991, 0.989),
            "test1": (1.000, 1.000, 1.000, 1.000),
            "test2": (0.521, 0.521, 1.000, 0.685),
        },
        ("best_of_grid", "resnet18"): {
            "train": (0.998, 0.996, 1.000, 0.998),
            "test1": (1.000, 1.000, 1.000, 1.000),
            "test2": (0.521, 0.521, 1.000, 0.685),
        },
    }
    figures = {}
    for cell, parts in tables.items():
        for part, (accuracy, precision, recall, f1) in parts.items():
            figures[cell, part, "accuracy"] = round(100 * accuracy, 1)
            figures[cell, part, "precision_tumor"] = precision
            figures[cell, part, "recall_tumor"] = recall
            figures[cell, part, "f1_tumor"] = f1
    return figures


# Table 4, mean accuracy over the folds; it prints 1e-4 as 0.000.
GRID = {
    1e-4: (0.798, 0.876, 0.962, 0.960),
    1e-3: (0.996, 0.993, 0.996, 1.000),
    1e-2: (0.998, 1.000, 1.000, 0.996),
    1e-1: (0.998, 0.996, 0.971, 0.976),
}

PUBLISHED_GRID = {
    "best_of_grid": {
        (rate, epochs): score for rate, row in GRID.items() for epochs, score in zip(EPOCHS, row, strict=True)
    }
}
PARTS = {"train": "Train data", "test1": "Test data 1", "test2": "Test data 2"}


def page(plan, common):
    """The page of results: Tables 1 to 3 in place of a list of every figure, and Table 4 beside our grid."""
    from functools import partial

    from liang2024_parts import every_part

    from tlkeras.replication.common_page import every_figure, rankings

    published = {} if plan.stands_in else PUBLISHED_GRID
    page = common.replacing(every_figure, partial(every_part, titles=PARTS))
    return page.replacing(rankings, partial(rankings, published=published))


EXPERIMENT = tl.Experiment(
    name="liang2024_tumor",
    paper=tl.Paper(
        title="Deep Learning Image Classification", authors="Tony Liang", venue="coursework report, 2024-04-06"
    ),
    dataset="tumor",
    question="Which rate and how many epochs does cross-validation choose for a network that finds tumours on slides, "
    "and does the choice hold on images from another source? The document's winner does worse there than its baseline.",
    default_backbones=("resnet18", "resnet50"),
    smoke_backbones=("resnet18", "mobilenetv2_035"),
    positive_class="tumor",
    protocols={
        "paper": tl.Protocol(
            split=tl.Predefined(respect_groups=False),
            cells=cells(respect_groups=False),
            deviations=("the grid has a winner by rule where the means tie; each mean has its interval",),
        ),
        "corrected": tl.Protocol(
            split=tl.Predefined(),
            cells=cells(respect_groups=True),
            deviations=(
                "the grid has a winner by rule where the means tie; each mean has its interval",
                "parts that share an identical image are refused; folds keep identical images on one side",
            ),
        ),
        "stand_in": tl.Protocol(
            dataset="chest_xray",
            select=TwoTestParts(),
            positive_class="PNEUMONIA",
            split=tl.Predefined(),
            cells=stand_in_cells(),
            deviations=(
                "chest X-rays in place of the slides, pneumonia in place of a tumour, at 96x96",
                "test 1 is a fifth of the set's training and validation parts, by patient; test 2 its own test part",
                "ResNets from random weights; also at 1e-2, a choice of ours",
                "the grid on mobilenetv2_035 with ImageNet's weights, frozen and with its last stage learning",
                "folds keep patients on one side; the grid has a winner by rule where the means tie",
            ),
        ),
    },
    reported=reported(),
    scores_training=True,
    page=page,
    common={"epochs per phase": "5", "batch size": "32", "learning rate": "1e-4", "weights": "not said"},
    stated=(
        "ResNet-18 and ResNet-50 in PyTorch; rate 1e-4, batches of 32, 5 epochs",
        "grid of rates 1e-4, 1e-3, 1e-2, 1e-1 and epochs 3, 5, 7, 9, ranked by mean cross-validated accuracy",
        "the best pair fitted again and judged on the training images and both test parts",
    ),
    assumed=(
        "ImageNet's weights, which the document does not name",
        "SGD with momentum 0.9: no optimizer is named, and a grid of rates up to 0.1 is one for SGD",
        "5 folds; all layers learn; 224x224; pooled features and one linear layer",
        "0.000 in Table 4 is 1e-4",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
