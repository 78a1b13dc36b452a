"""Seven kinds of skin lesion: trees on pixels, a network from random weights, ImageNet weights unfrozen block by block.

Paper
    D. Patel, "Transfer Learning in CNNs with Medical Images", University of Mississippi, 2019, table 7.1, figures 5.1,
    7.1 and 8.1. Claims: ImageNet weights learn faster and end higher than random ones; later blocks matter more than
    the first.
Data
    Tschandl, Rosendahl and Kittler 2018, HAM10000, CC BY-NC 4.0: 10,015 dermatoscopic images of 7,470 lesions, 7
    classes. Put the metadata and the two image folders into a folder `ham10000` below --data.
Command
    python experiments/patel2019_ham10000.py --data DATA --weights WEIGHTS --protocol paper        (VGG16 at 224 pixels)
    python experiments/patel2019_ham10000.py --data DATA --methods decision_tree random_forest --image-size 64
    python experiments/patel2019_ham10000.py --data DATA --weights WEIGHTS --backbones mobilenetv2_035 --image-size 96
    python experiments/patel2019_ham10000.py --data DATA --protocol pixels --image-size 64
    python experiments/patel2019_ham10000.py --report-only                          (tables and figures again)
Cost
    On 2 cores with other work beside: networks (mobilenetv2_035 at 96 pixels) 24 minutes in paper, 39 in corrected;
    trees at 64 pixels 4.3 and 12; pixels 41.
Expected result
    Paper's protocol, accuracy on test (the micro average of F1): random forest .701, printed .70; all layers of
    mobilenetv2_035 from ImageNet's weights .710, of VGG16 printed .81; from random weights .669, printed .72. Training
    stops early, so that what the document asks of blocks is hardly answered. All of it:
    assets/patel2019_ham10000/README.md.
Protocols
    corrected  images of one lesion on one side of the split, each network's own preprocessing.
    paper      as we read the document, faults included: split by image, so that lesions cross; pixels scaled to -1..1
               for every network, which the document calls VGG-16's own scaling (it is BGR minus a mean).
    pixels     which pixels for the trees: raw, normalised or rescaled; the paper's split.
Deviations
    COMMON_DEVIATIONS and each protocol's own; every table.md lists them. EXPERIMENT.stated is what the document says of
    its settings, EXPERIMENT.assumed what we chose: it names neither batch size, momentum, widths nor augmentation.
"""

import tlkeras as tl
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.script import main

UNFROZEN = {
    "all": "all",
    "last_block": ("block5",),
    "first_block": ("block1",),
    "first_and_last": ("block1", "block5"),
}
AUGMENTATION = tl.Augmentation(
    rotation_range=10,
    width_shift_range=0.1,
    height_shift_range=0.1,
    zoom_range=0.1,
    horizontal_flip=True,
    vertical_flip=True,
)


def tuner(backbone, *, weights, unfreeze, preprocessing, augmentation, learning_rate=1e-4, patience=5):
    """One network's recipe; both data sets share it."""
    phase = tl.Phase(
        epochs=50,
        learning_rate=learning_rate,
        optimizer="sgd",
        momentum=0.9,
        unfreeze=unfreeze,
        patience=patience,
        monitor="val_accuracy",
        # Where its statistics were never learnt, frozen BatchNorm is none; and they have to follow within the patience.
        batch_norm="train" if weights is None else "frozen",
        batch_norm_momentum=0.9 if weights is None else None,
    )
    return tl.Tuner(
        backbone,
        weights=weights,
        image_size=(224, 224),
        head=tl.Head(hidden=(256, 256), dropout=0.5, pooling="flatten"),
        phases=phase,
        augmentation=augmentation,
        preprocessing=preprocessing,
        batch_size=32,
    )


def networks(preprocessing):
    """The five columns of networks, for every row of BACKBONES."""
    cells = {}
    for name in tl.BACKBONES:
        settings = {"preprocessing": preprocessing, "augmentation": AUGMENTATION}
        cells["random", name] = tuner(name, weights=None, unfreeze="all", **settings)
        for method, unfreeze in UNFROZEN.items():
            cells[method, name] = tuner(name, weights="imagenet", unfreeze=unfreeze, **settings)
    return cells


TREES = ("decision_tree", "random_forest")


def protocols(networks):
    """The three protocols of either data set; `networks(preprocessing)` are its cells of networks."""

    def cells(n_trees, preprocessing):
        tree, forest = tl.PixelBaseline("decision_tree"), tl.PixelBaseline("random_forest", n_trees=n_trees)
        return dict(zip([(name, PIXELS) for name in TREES], (tree, forest), strict=True)) | networks(preprocessing)

    return {
        "corrected": tl.Protocol(
            split=tl.Holdout(val=0.2, test=0.2),
            cells=cells(n_trees=100, preprocessing="backbone"),
            deviations=(
                *COMMON_DEVIATIONS,
                "60/20/20 by lesion or patient in place of by image",
                "each network's own preprocessing in place of -1..1",
            ),
            assumed=("100 trees in the forest, scikit-learn's default today",),
        ),
        "paper": tl.Protocol(
            split=tl.Holdout(val=0.2, test=0.2, respect_groups=False),
            cells=cells(n_trees=10, preprocessing="symmetric"),
            deviations=COMMON_DEVIATIONS,
            assumed=("10 trees in the forest, scikit-learn's default in May 2019",),
        ),
        "pixels": tl.Protocol(
            split=tl.Holdout(val=0.2, test=0.2, respect_groups=False),
            cells={
                (f"{name}_{form}", PIXELS): tl.PixelBaseline(pixels=form, **arguments)
                for name, (_, arguments) in GROWN.items()
                for form in FORMS
            },
            deviations=COMMON_DEVIATIONS[:1],
            assumed=(
                "rescaled: to -1..1, as the document writes of the networks; normalised: each image minus its mean, "
                "divided by its standard deviation",
            ),
            grid={f"{name}_{form}": (row, form) for name, (row, _) in GROWN.items() for form in FORMS},
        ),
    }


FORMS = ("raw", "normalised", "rescaled")
GROWN = {
    "decision_tree": ("decision tree", {"classifier": "decision_tree"}),
    "random_forest_10": ("random forest, 10 trees", {"classifier": "random_forest", "n_trees": 10}),
    "random_forest_100": ("random forest, 100 trees", {"classifier": "random_forest", "n_trees": 100}),
}
COMMON_DEVIATIONS = (
    "the trees learn from the 80 % that the networks train and validate on, so that all columns have the same 20 % of "
    "test images",
    "networks other than VGG16 stand in for it; their BatchNorm is frozen where learnt weights start, and trained with "
    "momentum 0.9 where random ones do",
    "weights of the best validation accuracy kept; the document does not say which",
)


def as_reported(methods, rows):
    """A table of F1 as printed: {((method, backbone), "test", metric): F1}, from {metric: one F1 per method}."""
    cells = [(method, PIXELS if method in TREES else "vgg16") for method in methods]
    return {(cell, "test", metric): f1 for metric, row in rows.items() for cell, f1 in zip(cells, row, strict=True)}


COLUMNS = {
    "decision_tree": "decision tree",
    "random_forest": "random forest",
    "random": "CNN random",
    "all": "all layers",
    "last_block": "last block",
    "first_block": "first block",
    "first_and_last": "first and last",
}
TABLE_7_1 = {
    "f1_akiec": (0.09, 0.25, 0.31, 0.36, 0.27, 0.00, 0.36),
    "f1_bcc": (0.20, 0.38, 0.41, 0.64, 0.59, 0.00, 0.64),
    "f1_bkl": (0.26, 0.40, 0.37, 0.64, 0.58, 0.00, 0.60),
    "f1_df": (0.00, 0.00, 0.00, 0.27, 0.00, 0.00, 0.07),
    "f1_mel": (0.19, 0.22, 0.34, 0.58, 0.54, 0.01, 0.53),
    "f1_nv": (0.76, 0.84, 0.88, 0.92, 0.91, 0.80, 0.91),
    "f1_vasc": (0.06, 0.00, 0.17, 0.78, 0.50, 0.00, 0.50),
    "micro_f1": (0.57, 0.70, 0.72, 0.81, 0.79, 0.66, 0.79),
    "macro_f1": (0.23, 0.30, 0.35, 0.60, 0.48, 0.11, 0.52),
}


def page_with(titles):
    """The page of results: F1 in place of accuracy, where the methods are columns of the document's table."""

    def page(plan, common):
        from functools import partial

        from patel2019_f1 import f1_of_classes

        from tlkeras.replication.common_page import accuracy, every_figure

        if not set(plan.protocol.methods) <= set(titles):
            return common
        return common.replacing(accuracy, partial(f1_of_classes, titles=titles)).without(every_figure)

    return page


PAPER = tl.Paper(
    title="Transfer Learning in CNNs with Medical Images",
    authors="D. Patel",
    venue="The University of Mississippi, non-thesis project, May 2019",
)
STATED = (
    "224x224 pixels; trees 80/20, networks 60/20/20",
    "VGG16, flatten, two dense layers and two dropouts between them and a last dense layer",
    "scaled to -1..1",
    "SGD, rate 1e-4; early stopping on validation accuracy, patience 5",
    "trees on the original pixel values, which did best",
)
COMMON = {
    "image size, trees": "224x224",
    "pixels, trees": "raw",
    "image size": "224x224",
    "preprocessing": "-1..1",
    "optimizer": "SGD",
    "learning rate": "1e-4",
    "early stop": "validation accuracy, 5 epochs",
    "hidden layers": "two",
    "pooling": "flatten",
}
ASSUMED = (
    "momentum 0.9, as in the fine-tuning example of Keras' documentation of that time, whose rate is this very one",
    "batches of 32, Keras' default; at most 50 epochs",
    "hidden layers of 256 units, ReLU, dropout 0.5",
    "one phase: the head learns together with the blocks",
    "trees with scikit-learn's defaults",
)

EXPERIMENT = tl.Experiment(
    name="patel2019_ham10000",
    paper=PAPER,
    dataset="ham10000",
    question="Do ImageNet's weights beat random ones, and trees on raw pixels, at telling skin lesions apart? Which "
    "blocks of the network have to learn? The document says: they do, and the later blocks matter more.",
    default_backbones=("vgg16",),
    smoke_backbones=("mobilenet_025",),
    protocols=protocols(networks),
    reported=as_reported(COLUMNS, TABLE_7_1),
    common=COMMON,
    page=page_with(COLUMNS),
    compared={"random": "random weights", "all": "ImageNet weights"},
    stated=(*STATED, "training images augmented"),
    assumed=(*ASSUMED, "rotation 10 degrees, shifts and zoom 10 %, horizontal and vertical flip"),
)

if __name__ == "__main__":
    main(EXPERIMENT)
