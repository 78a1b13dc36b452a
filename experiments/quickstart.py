"""Quickstart: does a network that learnt everyday texture learn medical and lunar texture from few examples?

Paper
    None: a question of our own, which shows how the pieces fit together.
Data
    Photographs that come inside the scikit-image package, cut into tiles of 48x48 pixels. The class of a tile is the
    photograph it was cut from.
    source   everyday texture (and galaxies), eight photographs: many tiles, which overlap
    target   cell, immunohistochemistry, moon, retina: about 12 tiles of each to learn from; most are for the test
    Colour or brightness alone would give a photograph away, so every tile is grey, of one mean, and weak contrast is
    raised: what is left is texture. Microaneurysms is left out: it would hold one block, too little to split.
    A photograph is cut into blocks of 96x96 pixels that lie 16 pixels apart. The tiles of a block are one group, and
    groups do not cross: tiles that overlap or touch are in the same part.
Command
    python experiments/quickstart.py                   (one seed; nothing is downloaded)
    python experiments/quickstart.py --seeds 0 1 2     (the committed tables)
Cost
    Four minutes on 2 cores for one seed.
Expected result
    Accuracy on test in per cent, three seeds, 95 % intervals over blocks and seeds: with the head alone learning
    51.3 ± 8.4 [33.7, 68.5] from transferred weights, 23.9 ± 1.5 [16.5, 33.4] from random ones; with all layers
    learning 61.1 ± 7.1 [46.6, 73.9] and 38.2 ± 13.2 [13.3, 71.4], where a single seed may turn it round. It stands in
    runs/quickstart/tiles: report.html, table.md, scores and figures; `tlkeras runs` lists them. One small set settles
    nothing about transfer learning. All of it: assets/quickstart/README.md.
Method
    MobileNet of width 0.25 learns the source classes from random weights; the network of the same seed is then carried
    on to the target: {random, transferred} x {frozen: the head alone learns; fine_tuned: all of it after the head}.
    One recipe for all, but for BatchNorm: trained in a random network, where there is nothing to keep, else frozen.
    Rates and epochs were chosen on the validation tiles. Every seed draws its own split, weights and order.
Deviations
    None: there is no document to deviate from.
"""

from dataclasses import replace
from functools import partial

import numpy as np

import tlkeras as tl
from tlkeras.replication.script import main

# The classes, named as skimage.data names the photographs.
SOURCE = ("brick", "chelsea", "coffee", "grass", "gravel", "hubble_deep_field", "rocket", "stereo_motorcycle")
TARGET = ("cell", "immunohistochemistry", "moon", "retina")

TILE, BLOCK, GAP = 48, 96, 16  # pixels
BLOCKS = 16  # of one photograph, at most
EVEN = 2.0  # grey levels; a tile whose standard deviation is below shows nothing
CONTRAST, GAIN = 48.0, 6.0  # the deviation a tile is brought to, in grey levels, and the most it is multiplied by

BACKBONE = "mobilenet_025"


def cut_tiles(photograph: np.ndarray, *, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tiles of one photograph, in blocks that lie GAP pixels apart.

    Args:
        photograph: grey levels (H, W), 0..255.
        step: pixels from tile to tile within a block. Of the blocks of which every tile shows something at most
            `BLOCKS` are taken, evenly spread.

    Returns:
        tiles uint8 (n, TILE, TILE, 3), their corners int (n, 2) as (top, left), their block numbers int (n,).
    """
    rows, columns = (range(0, side - BLOCK + 1, BLOCK + GAP) for side in photograph.shape)
    shifts = range(0, BLOCK - TILE + 1, step)
    corners = np.array([[(y + dy, x + dx) for dy in shifts for dx in shifts] for y in rows for x in columns])
    tiles = np.stack([[photograph[y : y + TILE, x : x + TILE] for y, x in block] for block in corners])
    deviation = tiles.std(axis=(2, 3), keepdims=True)  # tiles: (blocks, tiles of a block, TILE, TILE)
    numbers = np.flatnonzero((deviation >= EVEN).all(axis=1))
    numbers = numbers[np.linspace(0, len(numbers) - 1, min(BLOCKS, len(numbers))).round().astype(int)]
    tiles, corners, deviation = tiles[numbers], corners[numbers], deviation[numbers]
    pixels = 127.5 + (tiles - tiles.mean(axis=(2, 3), keepdims=True)) * np.minimum(CONTRAST / deviation, GAIN)
    pixels = pixels.clip(0, 255).round().astype(np.uint8).reshape(-1, TILE, TILE, 1)
    return np.repeat(pixels, 3, axis=3), corners.reshape(-1, 2), np.repeat(numbers, len(shifts) ** 2)


def read_tiles(class_names: tuple[str, ...], *, step: int) -> tl.Samples:
    """The tiles of some photographs. Groups are "moon/block3", sample_ids "moon/112,224": top and left pixel."""
    from skimage import data
    from skimage.color import rgb2gray

    images, labels, groups, names = [], [], [], []
    for name in class_names:
        photograph = getattr(data, name)()
        if isinstance(photograph, tuple):  # a stereo pair and its disparity
            photograph = photograph[0]
        grey = 255 * rgb2gray(photograph) if photograph.ndim == 3 else photograph.astype(float)
        tiles, corners, numbers = cut_tiles(grey, step=step)
        images.append(tiles)
        labels += [name] * len(tiles)
        groups += [f"{name}/block{number}" for number in numbers]
        names += [f"{name}/{top},{left}" for top, left in corners]
    samples = tl.from_arrays(np.concatenate(images), labels, class_names=class_names, groups=groups)
    return replace(samples, sample_ids=np.array(names, dtype=object))


def short_memory_mobilenet(**options):
    """MobileNet whose BatchNorm averages over the last 10 batches, not 100: a short run has no time for more."""
    import keras

    network = keras.applications.MobileNet(include_top=False, **options)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
    return network


def tuner(weights, *phases, **settings):
    """What all networks share; a row of the table of backbones with another constructor stands in place of its name."""
    return tl.Tuner(
        replace(tl.BACKBONES[BACKBONE], constructor=short_memory_mobilenet),
        weights=weights,
        image_size=(TILE, TILE),
        head=tl.Head(hidden=(), dropout=0.0, pooling="avg"),
        phases=phases,
        augmentation=tl.Augmentation(horizontal_flip=True, vertical_flip=True),
        **settings,
    )


def on_target():
    """{(method, backbone): recipe}: from each start the head alone, and then all of it at a tenth of the rate."""
    cells = {}
    for name, weights in (("random", None), ("transferred", tl.EarlierRun("quickstart_source", "learnt"))):
        batch_norm = "train" if weights is None else "frozen"
        head_only = tl.Phase(8, 1e-2)
        everything = tl.Phase(15, 1e-3, unfreeze="all", batch_norm=batch_norm, schedule="cosine_by_epoch")
        cells[f"{name}_frozen", BACKBONE] = tuner(weights, head_only, batch_size=8)
        cells[f"{name}_fine_tuned", BACKBONE] = tuner(weights, head_only, everything, batch_size=8)
    return cells


ABOUT = "Photographs that come with scikit-image (each under its own free licence, see skimage.data), cut into tiles."
LEARNT = tuner(None, tl.Phase(20, 2e-3, unfreeze="all", batch_norm="train", schedule="cosine_by_epoch"))
EXPERIMENTS = (
    tl.Experiment(
        name="quickstart_source",
        script="quickstart",
        data=partial(read_tiles, SOURCE, step=16),
        about_data=ABOUT,
        question="The network that is carried on: eight everyday textures, learnt from random weights.",
        protocols={"tiles": tl.Protocol(split=tl.Holdout(val=0.2, test=0.2), cells={("learnt", BACKBONE): LEARNT})},
    ),
    tl.Experiment(
        name="quickstart",
        script="quickstart",
        data=partial(read_tiles, TARGET, step=48),
        about_data=ABOUT,
        question="Does a network that learnt everyday texture learn medical and lunar texture from few examples?",
        protocols={"tiles": tl.Protocol(split=tl.Holdout(val=0.2, test=0.6), cells=on_target())},
    ),
)

if __name__ == "__main__":
    main(EXPERIMENTS)
