"""Finished cells of a toy experiment, written by hand: every figure of theirs can be recomputed from a few numbers."""

import dataclasses

import numpy as np
import pandas as pd

import tlkeras as tl
from tlkeras.data.measures import PixelSizes
from tlkeras.files import read_json, write_csv
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.finished_run import FinishedRun
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.training.recipe import describe

CLASSES = ("NORMAL", "PNEUMONIA")
NETWORKS = ("vgg16", "mobilenetv2_035")


def network(backbone, **fields):
    phases = fields.pop("phases", (tl.Phase(4, 1e-3), tl.Phase(6, 1e-4, unfreeze="all")))
    return tl.Tuner(backbone, phases=phases, image_size=(150, 150), **fields)


CORRECTED = tl.Protocol(
    split=tl.Holdout(),
    cells={("tree", PIXELS): tl.PixelBaseline("decision_tree", image_size=(64, 64))}
    | {(method, backbone): network(backbone) for backbone in NETWORKS for method in ("frozen", "fine_tuned")},
    deviations=("fewer networks",),
    assumed=("the seed",),
)
TOY = tl.Experiment(
    name="toy",
    paper=tl.Paper(title="A toy", authors="Nobody", venue="nowhere"),
    dataset="chest_xray",
    positive_class="PNEUMONIA",
    question="Does it run?",
    default_backbones=("vgg16",),
    smoke_backbones=("vgg16",),
    protocols={"corrected": CORRECTED},
    reported={
        (("frozen", "vgg16"), "test", "accuracy"): 84.75,
        (("frozen", "vgg16"), "test", "confused_NORMAL_as_PNEUMONIA"): 7,
        (("frozen", "vgg16"), "test", "confused_others_as_NORMAL"): 9,
    },
    stated=("two classes",),
    assumed=("the epochs",),
)
KEY = CellKey("frozen", "vgg16", 0)


# {(height, width): images}, by area.
MIXED = {(100, 64): 1, (150, 200): 3, (450, 600): 2}
ONE = {(150, 200): 2}


def measured(**parts):
    """The audit of two images, as if other sizes had been measured: {part: {(height, width): images}}."""
    samples = tl.from_arrays(np.zeros((2, 16, 16, 3), np.uint8), [0, 1])
    audit = tl.audit(tl.Splits(samples.take([0]), None, {"test": samples.take([1])}))
    return dataclasses.replace(audit, pixel_sizes={part: PixelSizes(sizes) for part, sizes in parts.items()})


def answers(labels, probs, *, classes=CLASSES, ids=None, groups=None):
    """Predictions of made-up images; `probs` are rows, or with two classes the probability of the second one."""
    probs = np.asarray(probs, dtype=np.float32)
    if probs.ndim == 1:
        probs = np.stack([1 - probs, probs], axis=1)
    ids = tuple(f"{row}.png" for row in range(len(probs))) if ids is None else tuple(ids)
    samples = tl.Samples(ids, np.asarray(labels), tuple(classes), groups=groups, sample_ids=np.array(ids, dtype=object))
    return tl.Predictions(samples, probs)


def right_in(rows, n=8):
    """Predictions of n images, half of either class, those in `rows` right at 0.9 and the others wrong."""
    labels = np.arange(n) % 2
    of_label = np.where(np.isin(np.arange(n), list(rows)), 0.9, 0.1)
    return answers(labels, np.where(labels == 1, of_label, 1 - of_label))


def write_cell(root, key, parts, *, experiment=TOY, protocol="corrected", recipe=None, facts=None, settings=None):
    """A cell as a run leaves it, of networks with a history of three epochs of which the second was kept.

    Args:
        root: the protocol's run folder.
        key: its CellKey.
        parts: {part: Predictions}.
        experiment: the declaration.
        protocol: its protocol.
        recipe: in place of the declared one.
        facts: in place of the facts' own.
        settings: likewise.

    Returns:
        What cell.json holds.
    """
    folder, declared = RunFolder(root), experiment.protocols[protocol]
    recipe = recipe or declared.cells[key.method, key.backbone]
    frames = [predictions.to_frame(part) for part, predictions in parts.items()]
    write_csv(pd.concat(frames), folder.cell(key) / "predictions.csv")
    found = {
        "seconds": {"fit": 12.4, "all": 15.0},
        "peak_mb": 700,
        "images": {"train": {"NORMAL": 30, "PNEUMONIA": 10}}
        | {part: predictions.samples.class_counts() for part, predictions in parts.items() if part != "train"},
        "split_notes": [],
        "environment": {
            "tlkeras": "0.1.0",
            "python": "3.12.1",
            "cores": 2,
            "packages": {"keras": "3.15.1", "tensorflow": None},
        },
        "device": "CPU",
    }
    if key.backbone != PIXELS:
        found |= {"parameters": 100, "weights": None}
        history = pd.DataFrame(
            {"phase": 1, "epoch": [1, 2, 3], "accuracy": [0.5, 0.625, 0.75], "loss": [3.0, 2.0, 1.0]}
        )
        history = history.assign(val_accuracy=0.5, val_loss=1.0, kept=[False, True, False])
        write_csv(history, folder.cell(key) / "history.csv")
        write_csv(pd.DataFrame({"trainable_parameters_phase_1": [10, 4]}), folder.cell(key) / "layers.csv")
    made = {
        "recipe": describe(recipe),
        "weights_sha256": None,
        "data": "d" * 64,
        "split": describe(declared.split),
        "smoke": False,
        "skip_unreadable": False,
    }
    folder.write_cell(key, made | (settings or {}), found | (facts or {}))
    return read_json(folder.cell(key) / "cell.json")


def finished(cells, *, experiment=TOY, folder=None, predicted=None, audits=None, rankings=None):
    """A finished run of an experiment under its first protocol, as far as a section looks at it; without scores.

    Args:
        cells: {key: what its cell.json holds}.
        experiment: the declaration.
        folder: its RunFolder.
        predicted: {key: {part: predictions}}.
        audits: {seed: Audit}.
        rankings: {key: ranking_table}.
    """
    plan = experiment.under(next(iter(experiment.protocols)))
    return FinishedRun(plan, folder, cells, predicted or {}, None, rankings or {}, audits or {})
