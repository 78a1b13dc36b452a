"""Quickstart: does a network that learnt everyday texture learn medical and lunar texture from few examples?

Command
    python experiments/quickstart.py
    Nothing is downloaded. `--weights DIR` (or TLKERAS_WEIGHTS) adds a row where DIR holds the network's ImageNet file.
Data
    Photographs that come inside the scikit-image package, cut into tiles of 48x48 pixels. The class of a tile is the
    photograph it was cut from.
    source   everyday texture (and galaxies), eight photographs: many tiles, which overlap
    target   cell, immunohistochemistry, moon, retina: about 12 tiles of each to learn from; most are for the test
    Colour or brightness alone would give a photograph away, so every tile is grey, of one mean, and weak contrast is
    raised: what is left is texture. Microaneurysms is left out: it would hold one block, too little to split.
Split
    A photograph is cut into blocks of 96x96 pixels that lie 16 pixels apart. The tiles of a block are one group, and
    groups do not cross: tiles that overlap or touch are in the same part.
Method
    MobileNet of width 0.25 learns the source classes from random weights; its saved run is then carried to the target:
    weights {random, transferred, imagenet} x {frozen: the head alone learns; fine_tuned: the whole network after it}.
    One recipe for all, but for BatchNorm: trained in a random network, where there is nothing to keep, else frozen.
    Rates and epochs were chosen on the validation tiles. The source is learnt once; every seed draws its own split of
    the target, weights and order.
Result
    OUT/table.md: accuracy on the target's test tiles, its 95 % interval over blocks and seeds, and paired tests. With
    the head alone learning, transferred weights are far ahead of random ones; a single seed, or the last digits of
    another processor, moves the other comparisons by more than they are worth. One small set settles nothing about
    transfer learning.
Cost
    Some 4 minutes on 2 cores with the imagenet row, much of it spent building graphs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import tlkeras as tl
from tlkeras.guarded import run_guarded

# The classes, named as skimage.data names the photographs.
SOURCE = ("brick", "chelsea", "coffee", "grass", "gravel", "hubble_deep_field", "rocket", "stereo_motorcycle")
TARGET = ("cell", "immunohistochemistry", "moon", "retina")

TILE, BLOCK, GAP = 48, 96, 16  # pixels
EVEN = 2.0  # grey levels; a tile whose standard deviation is below shows nothing
CONTRAST, GAIN = 48.0, 6.0  # the deviation a tile is brought to, in grey levels, and the most it is multiplied by

BACKBONE = "mobilenet_025"
METHODS = ("frozen", "fine_tuned")
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Size:
    """How much is cut and how long it learns."""

    blocks: int = 16  # of one photograph, at most
    source_step: int = 16  # pixels from tile to tile within a block
    target_step: int = 48
    source_epochs: int = 20
    head_epochs: int = 8
    fine_tuning_epochs: int = 15
    explained_copies: int = 1000


SMOKE = Size(blocks=5, source_step=48, source_epochs=1, head_epochs=1, fine_tuning_epochs=1, explained_copies=50)


def cut_tiles(photograph: np.ndarray, *, step: int, blocks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tiles of one photograph, in blocks that lie GAP pixels apart.

    Args:
        photograph: grey levels (H, W), 0..255.
        step: pixels from tile to tile within a block.
        blocks: how many blocks at most, spread evenly over those of which every tile shows something.

    Returns:
        tiles uint8 (n, TILE, TILE, 3), their corners int (n, 2) as (top, left), their block numbers int (n,).
    """
    rows, columns = (range(0, side - BLOCK + 1, BLOCK + GAP) for side in photograph.shape)
    shifts = range(0, BLOCK - TILE + 1, step)
    corners = np.array([[(y + dy, x + dx) for dy in shifts for dx in shifts] for y in rows for x in columns])
    tiles = np.stack([[photograph[y : y + TILE, x : x + TILE] for y, x in block] for block in corners])
    deviation = tiles.std(axis=(2, 3), keepdims=True)  # tiles: (blocks, tiles of a block, TILE, TILE)
    numbers = np.flatnonzero((deviation >= EVEN).all(axis=1))
    numbers = numbers[np.linspace(0, len(numbers) - 1, min(blocks, len(numbers))).round().astype(int)]
    tiles, corners, deviation = tiles[numbers], corners[numbers], deviation[numbers]
    pixels = 127.5 + (tiles - tiles.mean(axis=(2, 3), keepdims=True)) * np.minimum(CONTRAST / deviation, GAIN)
    pixels = pixels.clip(0, 255).round().astype(np.uint8).reshape(-1, TILE, TILE, 1)
    return np.repeat(pixels, 3, axis=3), corners.reshape(-1, 2), np.repeat(numbers, len(shifts) ** 2)


def read_tiles(class_names: tuple[str, ...], *, step: int, blocks: int) -> tl.Samples:
    """The tiles of some photographs. Groups are "moon/block3", sample_ids "moon/112,224": top and left pixel."""
    from skimage import data
    from skimage.color import rgb2gray

    images, labels, groups, names = [], [], [], []
    for name in class_names:
        photograph = getattr(data, name)()
        if isinstance(photograph, tuple):  # a stereo pair and its disparity
            photograph = photograph[0]
        grey = 255 * rgb2gray(photograph) if photograph.ndim == 3 else photograph.astype(float)
        tiles, corners, numbers = cut_tiles(grey, step=step, blocks=blocks)
        images.append(tiles)
        labels += [name] * len(tiles)
        groups += [f"{name}/block{number}" for number in numbers]
        names += [f"{name}/{top},{left}" for top, left in corners]
    samples = tl.from_arrays(np.concatenate(images), labels, class_names=class_names, groups=groups)
    return replace(samples, sample_ids=np.array(names, dtype=object))


def source_and_target(size: Size, seed: int) -> tuple[tl.Splits, tl.Splits]:
    """Most source tiles are to learn from; few target tiles are, and most for the test."""
    source = read_tiles(SOURCE, step=size.source_step, blocks=size.blocks)
    target = read_tiles(TARGET, step=size.target_step, blocks=size.blocks)
    return tl.Holdout(val=0.2, test=0.2).split(source, seed=seed), tl.Holdout(val=0.2, test=0.6).split(
        target, seed=seed
    )


def short_memory_mobilenet(**options):
    """MobileNet whose BatchNorm averages over the last 10 batches, not 100: a short run has no time for more."""
    import keras

    network = keras.applications.MobileNet(include_top=False, **options)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
    return network


def source_recipe(size: Size) -> tl.Tuner:
    """The whole network from random weights; a table row with another constructor stands in place of a name."""
    return tl.Tuner(
        replace(tl.BACKBONES[BACKBONE], constructor=short_memory_mobilenet),
        weights=None,
        image_size=(TILE, TILE),
        head=tl.Head(hidden=(), dropout=0.0, pooling="avg"),
        phases=tl.Phase(size.source_epochs, 2e-3, unfreeze="all", batch_norm="train", schedule="cosine"),
        augmentation=tl.Augmentation(horizontal_flip=True, vertical_flip=True),
    )


def target_recipe(weights: str | None, method: str, size: Size) -> tl.Tuner:
    """The head alone, then (fine_tuned) the whole network at a tenth of the rate."""
    batch_norm = "train" if weights is None else "frozen"
    head_only = tl.Phase(size.head_epochs, 1e-2)
    everything = tl.Phase(size.fine_tuning_epochs, 1e-3, unfreeze="all", batch_norm=batch_norm, schedule="cosine")
    return replace(
        source_recipe(size),
        weights=weights,
        phases=(head_only,) if method == "frozen" else (head_only, everything),
        batch_size=8,
    )


def run(out: Path, weights_folder: Path | None, seeds: Sequence[int], size: Size) -> None:
    """Source, target, table, figures."""
    from tlkeras.files import locked, write_json
    from tlkeras.runs import environment

    with locked(out):
        source, target = source_and_target(size, seeds[0])
        print(f"source: {source.train}\ntarget: {target.train}", flush=True)
        learnt = source_recipe(size).fit(source.train, source.val, seed=seeds[0])
        predicted = {("random", "source"): {seeds[0]: predict_and_keep(learnt, source, out / "source")}}
        starts = {"random": None, "transferred": str(out / "source")}
        imagenet = tl.BACKBONES[BACKBONE].weights[0].file
        if weights_folder is not None and (weights_folder / imagenet).is_file():
            starts["imagenet"] = str(weights_folder / imagenet)
        targets = {seed: source_and_target(size, seed)[1] for seed in seeds}
        for seed, splits in targets.items():
            tl.audit(splits, progress=False).require_separate()
            for name, start in starts.items():
                for method in METHODS:
                    print(f"seed {seed}: {name} weights, {method}", end="", flush=True)
                    fitted = target_recipe(start, method, size).fit(splits.train, splits.val, seed=seed, progress=False)
                    parts = predict_and_keep(fitted, splits, out / name / method / f"seed{seed}")
                    predicted.setdefault((name, method), {})[seed] = parts
                    print(f": {parts['test'].correct.sum()} of {len(parts['test'])} test tiles right", flush=True)
                    if (name, method, seed) == ("transferred", "frozen", seeds[0]):
                        draw_explanation(fitted, parts["test"], size, seed, out / "explanation.png")
        write_scores(predicted, out / "scores.csv")
        draw_tiles((source.train, target.train), out / "tiles.png")
        write_json(out / "environment.json", environment())
        page = report(out, source, targets, predicted)
        print(f"\n{page}\ntable, scores and figures are in {out}")


def predict_and_keep(classifier, splits: tl.Splits, folder: Path) -> dict[str, tl.Predictions]:
    """Writes model, history and predictions; returns the predictions {part: them} of val and test."""
    import pandas as pd

    from tlkeras.files import write_csv

    parts = {"val": classifier.predict(splits.val), "test": classifier.predict(splits.test)}
    classifier.save(folder)
    write_csv(classifier.history, folder / "history.csv")
    write_csv(
        pd.concat([predictions.to_frame(part) for part, predictions in parts.items()]), folder / "predictions.csv"
    )
    return parts


def write_scores(predicted: dict, path: Path) -> None:
    """Tidy scores of {(weights, method): {seed: {part: predictions}}}: intervals of each seed, and of their mean."""
    import pandas as pd

    from tlkeras.evaluation.statistics import seed_intervals
    from tlkeras.evaluation.tables import MEASURED
    from tlkeras.files import write_csv

    rows = []
    for cell, of_seeds in predicted.items():
        for part in ("val", "test"):
            *each, together = seed_intervals([parts[part] for parts in of_seeds.values()])
            for seed, table in zip(of_seeds, each, strict=True):
                for metric, *figures in table.itertuples(name=None):
                    of_mean = (len(of_seeds), *together.loc[metric, ["low", "high"]])
                    rows.append((*cell, seed, part, metric, *figures, *of_mean))
    write_csv(pd.DataFrame(rows, columns=["weights", "method", "seed", "part", "metric", *MEASURED]), path)


def report(out: Path, source: tl.Splits, targets: dict[int, tl.Splits], predicted: dict) -> str:
    """Writes table.md and accuracy_bars.png from scores.csv and the predictions; returns the page."""
    import pandas as pd

    from tlkeras.evaluation.comparison_tables import format_paired_table
    from tlkeras.evaluation.plots import draw_accuracy_bars, new_figure, save_figure
    from tlkeras.evaluation.tables import accuracy_table, format_accuracy_table, to_markdown
    from tlkeras.files import write_text

    weights = list(dict.fromkeys(name for name, method in predicted if method != "source"))
    scores = pd.read_csv(out / "scores.csv").rename(columns={"weights": "backbone"}).assign(protocol="quickstart")
    table = accuracy_table(scores, {}, protocol="quickstart", methods=METHODS, backbones=weights).rename_axis("weights")
    on_source = accuracy_table(scores, {}, protocol="quickstart", methods=["source"], backbones=["random"])
    figure, ax = new_figure(6.0, 4.2)
    draw_accuracy_bars(table, ax).set_xlabel("weights the network started from")
    save_figure(figure, out / "accuracy_bars.png")
    tested = {
        f"{name}, {method}": [parts["test"] for parts in of_seeds.values()]
        for (name, method), of_seeds in predicted.items()
        if method != "source"
    }
    commonest = [
        tl.baseline(splits.train.class_counts(), of_seed)
        for splits, of_seed in zip(targets.values(), next(iter(tested.values())), strict=True)
    ]
    value, low, high, groups = tl.intervals(commonest, metrics=("accuracy",)).loc["accuracy"]
    pairs = tl.paired_table(
        tested,
        pairs=[
            (f"{start}, {method}", f"transferred, {method}")
            for start in weights
            if start != "transferred"
            for method in METHODS
        ],
    )
    first = next(iter(targets.values()))
    lines = [
        "# Quickstart: three ways to start on few target tiles",
        "",
        f"Accuracy on {len(first.test)} test tiles of {len(TARGET)} target classes, per cent, mean over the seeds "
        f"{', '.join(map(str, targets))}:",
        "",
        to_markdown(format_accuracy_table(table, f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]")),
        f"±: standard deviation over the seeds, each with its own split. In brackets: 95 % interval over the "
        f"{groups:.0f} blocks that the tiles were cut from, and over the seeds; the source was learnt once, and what "
        "another seed would have made of it is not in them.",
        f"{len(first.train)} tiles to learn from; the epoch was chosen on {len(first.val)} validation tiles.",
        f"The {len(SOURCE)} source classes, learnt once from {len(source.train)} tiles, on {len(source.test)} test "
        f"tiles: {format_accuracy_table(on_source).iloc[0, 0]}.",
        "",
        "Accuracy of one start against another on the same tiles, in points, p by permutation of blocks:",
        "",
        to_markdown(format_paired_table(pairs)),
    ]
    if "imagenet" not in weights:
        missing = tl.BACKBONES[BACKBONE].weights[0].file
        lines.append(f"No imagenet row: {missing} is not in the folder of --weights or TLKERAS_WEIGHTS.")
    write_text(out / "table.md", "\n".join([*lines, ""]))
    return "\n".join(lines)


def draw_explanation(classifier, predictions: tl.Predictions, size: Size, seed: int, path: Path) -> None:
    """LIME on one test tile: of those predicted right, the one the network is surest of."""
    from tlkeras.evaluation.plots import save_figure

    row = int(np.argmax(predictions.probs.max(axis=1) + predictions.correct))
    tile = predictions.samples.images[row]
    explanation = tl.explain(classifier, tile, n_samples=size.explained_copies, seed=seed)
    save_figure(tl.draw_explanation(explanation).figure, path)


def draw_tiles(parts: tuple[tl.Samples, ...], path: Path, per_class: int = 10) -> None:
    """A row of training tiles for every class, source above target."""
    from tlkeras.evaluation.plots import new_figure, save_figure

    rows, names = [], []
    for samples in parts:
        for label, name in enumerate(samples.class_names):
            of_class = np.flatnonzero(samples.labels == label)
            shown = samples.images[of_class[np.linspace(0, len(of_class) - 1, per_class).round().astype(int)]]
            rows.append(np.concatenate(np.pad(shown, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=255), axis=1))
            names.append(name)
    figure, ax = new_figure(per_class * 0.6 + 1.2, len(rows) * 0.6)
    ax.imshow(np.concatenate(rows), interpolation="nearest")
    ax.set_yticks((np.arange(len(rows)) + 0.5) * (TILE + 4), names)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.axhline(len(parts[0].class_names) * (TILE + 4) - 0.5, color="black", lw=1)
    ax.set_title("source classes, and below the line the target classes", fontsize=10)
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, weights = parser.add_argument, os.environ.get("TLKERAS_WEIGHTS")
    add("--out", type=Path, default=Path("runs/quickstart"), help="run folder (default: %(default)s)")
    add("--weights", type=Path, default=weights, help="folder with the ImageNet file (default: TLKERAS_WEIGHTS)")
    add("--seeds", type=int, nargs="+", default=SEEDS, help="of split, weights and order (default: %(default)s)")
    add("--smoke", action="store_true", help="a few tiles, one epoch: does everything run?")
    given = parser.parse_args(arguments)
    size = SMOKE if given.smoke else Size()
    run_guarded(lambda: run(given.out, given.weights, tuple(dict.fromkeys(given.seeds)), size))


if __name__ == "__main__":
    main()
