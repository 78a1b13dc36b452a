"""What does a cross-validated grid cost, beside one forward pass of its images, and beside the plain loop?

Question
    16 pairs of learning rate and epochs (1e-4 to 1e-1; 3, 5, 7, 9), five folds, a linear head on a frozen network: what
    are the seconds of tl.Search, of one forward pass of all images, and of the loop people write, in which each of the
    80 trainings is a training of its own that runs the frozen network in every epoch? Do both find the same table?
Command
    python experiments/benchmark_grid.py --data DATA --weights WEIGHTS --images 300 5232 --out assets/benchmark
Data
    Chest X-rays of the set's training and validation parts, 5,232; of a smaller number a random draw, stratified.
Cost
    300 images: about 10 minutes on 2 cores, nearly all of it the plain loop's. 5,232 images without it: one minute.
Expected result
    The README's table: the grid within 1.5 forward passes and 60 s, the plain loop more than ten times the grid.
What differs
    Each side is a process of its own, started with nothing kept. Seconds are those of the process, with the import of
    TensorFlow (about 4 s); those of the forward pass are decoding and the frozen network alone. The plain loop is
    tl.Tuner's with store=False: the same trainings, bit for bit in their draws, so that the tables can be compared.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tlkeras.errors import InputError
from tlkeras.terminal import run_guarded

RATES, EPOCHS, N_FOLDS = (1e-4, 1e-3, 1e-2, 1e-1), (3, 5, 7, 9), 5
SIDES = ("forward", "grid", "plain")


def arguments():
    """The options; `--side` is how this script calls itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, default=Path(os.environ.get("TLKERAS_DATA", "data")), help="folder of the data sets")
    add("--weights", default=None, help="folder searched first for weight files")
    add("--backbone", default="mobilenetv2_035", help="default: %(default)s")
    add("--size", type=int, default=96, help="pixels a side (default: %(default)s)")
    add("--images", nargs="+", type=int, default=[300, 5232], help="how many (default: 300 5232)")
    add("--plain", type=int, default=300, help="run the plain loop up to so many images (default: %(default)s)")
    add("--jobs", type=int, default=2, help="cells of the grid that run at a time (default: %(default)s)")
    add("--out", type=Path, default=Path("runs/benchmark"), help="where the table goes (default: %(default)s)")
    add("--side", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def draw(options, n):
    """`n` chest X-rays of the set's training and validation parts."""
    import numpy as np

    import tlkeras as tl

    samples = tl.load_dataset("chest_xray", options.data)
    samples = samples.take(np.flatnonzero(samples.parts != "test"))
    if n > len(samples):
        raise InputError(f"--images: received {n}; there are {len(samples):,}.")
    if n == len(samples):
        return samples
    return tl.Holdout(val=0.0, test=n / len(samples), respect_groups=False).split(samples, seed=0).test


def recipe(options):
    """A linear head on the frozen network."""
    import tlkeras as tl

    return tl.Tuner(
        options.backbone,
        image_size=(options.size, options.size),
        head=tl.Head(hidden=(), dropout=0.0, pooling="avg"),
        phases=tl.Phase(5, 1e-3, optimizer="sgd", keep="last"),
    )


def run_forward(options, samples):
    """Decodes every image and runs the frozen network on it, once."""
    from tlkeras.models.classifier import build_encoder
    from tlkeras.training.features import features_of

    size = (options.size, options.size)
    network = build_encoder(options.backbone, image_size=size, weights="imagenet", weights_folder=options.weights)
    features_of(network, samples.take(range(64)), store=None)  # TensorFlow prepares itself
    start = time.perf_counter()
    features_of(network, samples, store=None)
    return {"inside": time.perf_counter() - start}


def run_grid(options, samples):
    """tl.Search, with an empty feature store."""
    import joblib

    import tlkeras as tl

    with tempfile.TemporaryDirectory() as folder, joblib.parallel_config(backend="loky", n_jobs=options.jobs):
        store = tl.FeatureStore(folder)
        search = tl.Search(recipe(options), {"learning_rate": RATES, "epochs": EPOCHS}, tl.KFold(N_FOLDS))
        found = search.fit(samples, seed=0, store=store, weights_folder=options.weights, progress=False)
        rows = sum(entry["rows"] for entry in store.entries())
    means = found.ranking.set_index(["learning_rate", "epochs"])["mean"]
    return {
        "inside": found.seconds,
        "images": len(samples),
        "rows": rows,
        "means": {f"{rate:g}/{n}": means[rate, n] for rate, n in means.index},
    }


def run_plain(options, samples):
    """Every pair and fold trained by itself, the whole network in every epoch."""
    from dataclasses import replace

    import numpy as np

    import tlkeras as tl
    from tlkeras.seeds import derive_seed

    start, tuner, means = time.perf_counter(), recipe(options), {}
    folds = tl.KFold(N_FOLDS).folds(samples, seed=0)
    for rate in RATES:
        for n in EPOCHS:
            run = replace(tuner, phases=replace(tuner.phases[0], learning_rate=rate, epochs=n))
            accuracies = []
            for number, fold in enumerate(folds):
                seed = derive_seed(0, "fold", number)
                kwargs = {"store": False, "weights_folder": options.weights, "progress": False}
                accuracies.append(run.fit(fold.train, seed=seed, **kwargs).predict(fold.test).correct.mean())
            means[f"{rate:g}/{n}"] = float(np.mean(accuracies))
            print(f"rate {rate:g}, {n} epochs: {time.perf_counter() - start:.0f} s so far", file=sys.stderr, flush=True)
    return {"inside": time.perf_counter() - start, "means": means}


def run_side(options):
    """One side, in this process; prints one JSON line."""
    run = {"forward": run_forward, "grid": run_grid, "plain": run_plain}[options.side]
    print(json.dumps(run(options, draw(options, options.images[0]))))


def timed(options, side, n):
    """One side as a process of its own."""
    print(f"{side}, {n:,} images ...", flush=True)
    command = [sys.executable, __file__, "--side", side, "--data", options.data, "--backbone", options.backbone]
    command += ["--size", options.size, "--images", n, "--jobs", options.jobs]
    command += [] if options.weights is None else ["--weights", options.weights]
    start = time.perf_counter()
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise InputError(f"the side {side} ended with exit code {done.returncode}; its messages stand above.")
    return json.loads(done.stdout.splitlines()[-1]) | {"wall": time.perf_counter() - start}


def compare(options):
    """Every side in turn; writes grid.md."""
    import pandas as pd

    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.files import write_text

    rows = []
    for n in options.images:
        forward, grid = timed(options, "forward", n), timed(options, "grid", n)
        row = {
            "images": f"{grid['images']:,}",
            "passed the network": f"{grid['rows']:,}",
            "forward pass, s": f"{forward['inside']:.1f}",
            "grid, s": f"{grid['inside']:.1f}",
            "1.5 x pass + 60 s": f"{1.5 * forward['inside'] + 60:.1f}",
            "grid, process, s": f"{grid['wall']:.0f}",
            "plain loop, process, s": "not run",
            "times the grid": "",
            "largest difference of a mean": "",
        }
        if n <= options.plain:
            plain = timed(options, "plain", n)
            difference = max(abs(plain["means"][pair] - grid["means"][pair]) for pair in plain["means"])
            row |= {
                "plain loop, process, s": f"{plain['wall']:.0f}",
                "times the grid": f"{plain['wall'] / grid['wall']:.1f}",
                "largest difference of a mean": f"{difference:.4f}",
            }
        rows.append(row)
    table = to_markdown(pd.DataFrame(rows).set_index("images"))
    command = (
        f"python experiments/benchmark_grid.py --data DATA --weights WEIGHTS --backbone {options.backbone} --size "
        f"{options.size} --images {' '.join(map(str, options.images))} --plain {options.plain} --jobs {options.jobs}"
    )
    path = write_text(options.out / "grid.md", f"# The grid's cost\n\n    {command}\n\n{table}")
    print(f"\n{table}\nwritten to {path}")


def main():
    """Runs one side, or all of them."""
    options = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    run_guarded(lambda: run_side(options) if options.side else compare(options))


if __name__ == "__main__":
    main()
