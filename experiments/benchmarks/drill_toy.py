"""The run that drill_faults.py puts faults in the way of: an experiment script like the others, in seconds.

50 images in the layout of `tumor`, a network of four convolutions, one or two cells. It is started in a folder that
holds data/tumor and weights/start.keras; drill_faults.py makes such folders:

    python experiments/benchmarks/drill_toy.py --data data --protocol with_val

Protocols:
    with_val     a frozen cell, whose features are kept, and a cell of two phases that starts from a weights file, with
                 dropout, augmentation, class weights, and BatchNorm trained in the second phase
    without_val  the second cell, without validation images

Three options come first, where they are given: --size-limit BYTES lets no file grow beyond; --obeying drops root's
privilege to write anywhere; --make-weights writes weights/start.keras and does nothing else.
"""

import argparse
import ctypes
import logging
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from drill_run import SAID

import tlkeras as tl
from tlkeras.replication.script import main

SIDE = 32  # pixels
WEIGHTS = "weights/start.keras"
DROP_CAPABILITY, WRITE_ANYWHERE, READ_ANYWHERE = 24, 1, 2  # prctl(2), capabilities(7)


def small_network(input_tensor, weights=None):
    """Four convolutions with BatchNorm: a graph that is built in a moment, and a model larger than the report."""
    from keras import layers

    x = input_tensor
    for number, (filters, strides) in enumerate(((32, 2), (64, 2), (128, 2), (128, 1)), start=1):
        name, start = f"conv{number}", "he_normal"
        x = layers.Conv2D(filters, 3, strides, "same", use_bias=False, kernel_initializer=start, name=name)(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"bn{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
    return x


STAGES = {"block1": "conv1", "block2": "conv2", "block3": "conv3", "block4": "conv4"}
SMALL = tl.Backbone("small", small_network, "symmetric", SIDE, STAGES)


@dataclass(frozen=True)
class Keeping:
    """Takes the images of some parts."""

    parts: tuple[str, ...]

    def __call__(self, samples):
        """The samples of those parts."""
        return samples.take(np.flatnonzero(np.isin(samples.parts, self.parts)))


FROZEN = tl.Tuner(
    SMALL,
    weights=None,
    head=tl.Head(hidden=(8,), dropout=0.3, pooling="flatten"),
    phases=tl.Phase(6, 1e-3),
    imbalance="oversample",
    batch_size=8,
)
SECOND = tl.Phase(10, 1e-3, unfreeze_from="block3", batch_norm="train", schedule="cosine", keep="last")
TWO_PHASES = tl.Tuner(
    SMALL,
    weights=WEIGHTS,
    head=FROZEN.head,
    phases=(tl.Phase(5, 1e-3), SECOND),
    augmentation=tl.Augmentation(horizontal_flip=True, rotation_range=10),
    imbalance="class_weights",
    batch_size=8,
)
SPLIT = tl.Predefined(respect_groups=False)
EXPERIMENT = tl.Experiment(
    name="drill_toy",
    paper=tl.Paper("A toy to be interrupted", "nobody", "nowhere"),
    dataset="tumor",
    default_backbones=("small",),
    smoke_backbones=("small",),
    reported={},
    protocols={
        "with_val": tl.Protocol(
            split=SPLIT,
            select=Keeping(("train", "val", "test1")),
            cells={("frozen", "small"): FROZEN, ("two_phases", "small"): TWO_PHASES},
        ),
        "without_val": tl.Protocol(
            split=SPLIT, select=Keeping(("train", "test1")), cells={("two_phases", "small"): TWO_PHASES}
        ),
    },
)


class Marked(logging.Formatter):
    """Tells the lines of a run that goes on from what it complains about: both are on standard error."""

    def format(self, record: logging.LogRecord) -> str:
        """Every line of the message with `SAID` in front."""
        return "\n".join(SAID + line for line in record.getMessage().split("\n"))


def run(arguments: list[str]) -> None:
    """What the three options ask for; then the experiment."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--size-limit", type=int)
    parser.add_argument("--obeying", action="store_true")
    parser.add_argument("--make-weights", action="store_true")
    given, rest = parser.parse_known_args(arguments)
    if given.make_weights:
        from tlkeras.models.classifier import build_encoder

        Path(WEIGHTS).parent.mkdir()
        build_encoder(SMALL, image_size=(SIDE, SIDE)).save(WEIGHTS)
        return
    if given.obeying:
        if os.geteuid() == 0:
            for capability in (WRITE_ANYWHERE, READ_ANYWHERE):
                ctypes.CDLL(None).prctl(DROP_CAPABILITY, capability, 0, 0, 0)
        # What is dropped is gone from the next program on.
        left = [word for word in arguments if word != "--obeying"]
        os.execv(sys.executable, [sys.executable, "-u", os.path.abspath(__file__), *left])
    if given.size_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.size_limit, given.size_limit))
    for handler in logging.getLogger("tlkeras").handlers:
        handler.setFormatter(Marked())
    print("the toy run begins", flush=True)
    main(EXPERIMENT, rest)


if __name__ == "__main__":
    run(sys.argv[1:])
