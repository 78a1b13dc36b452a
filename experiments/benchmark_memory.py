"""Does a training whose images and features are more than memory may hold stay within its budget?

Question
    The same training with a small memory budget and without one: peak memory, wall time, and is the result the same?
Command
    python experiments/benchmark_memory.py --dataset ham10000 --data DATA --weights imagenet --out assets/benchmark
Data
    A data set of tl.DATASETS, split 70/15/15 by lesion or patient.
Cost
    HAM10000 at 192 pixels: about 5 minutes on 2 cores, and 2 GB of disk for a while.
What is measured
    One epoch of the head over kept features (mapped from the feature store), one of the whole network over decoded
    pixels (in memory within the budget, else mapped from a file). Anonymous memory is what a process cannot give back;
    mapped files count into resident memory while there is room, and the system takes that back at will.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tlkeras.errors import InputError
from tlkeras.machine import anonymous_memory_mb, peak_memory_mb
from tlkeras.terminal import run_guarded


def arguments():
    """The options; `--budget` is how this script calls itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--dataset", default="ham10000", help="a data set of tl.DATASETS (default: %(default)s)")
    add("--csv", type=Path, help="columns path, label, in place of --dataset")
    add("--data", type=Path, default=Path(os.environ.get("TLKERAS_DATA", "data")), help="folder of the data sets")
    add("--weights", default=None, help='a no-top weights file, or "imagenet" (default: random)')
    add("--backbone", default="mobilenetv2_035", help="default: %(default)s")
    add("--size", type=int, default=192, help="pixels a side (default: %(default)s)")
    add("--budgets", nargs="+", default=["100GB", "200MB"], help="default: %(default)s")
    add("--out", type=Path, default=Path("runs/benchmark"), help="where the table goes (default: %(default)s)")
    add("--budget", help=argparse.SUPPRESS)
    return parser.parse_args()


def run_side(options):
    """Trains once within `--budget`; prints one JSON line."""
    start = time.perf_counter()
    anonymous, over = [0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(anonymous, over))
    watcher.start()
    try:
        report = _train(options)
    finally:
        over.set()
        watcher.join()
    memory = {"anonymous_mb": max(anonymous), "resident_mb": peak_memory_mb()}
    print(json.dumps(report | memory | {"seconds": time.perf_counter() - start}))


def _watch(anonymous, over):
    while not over.wait(0.05):
        anonymous.append(anonymous_memory_mb() or 0)


def _train(options):
    import tlkeras as tl

    samples = tl.from_csv(options.csv) if options.csv else tl.load_dataset(options.dataset, options.data)
    splits = tl.Holdout(val=0.15, test=0.15).split(samples, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        store = tl.FeatureStore(folder)
        tuner = tl.Tuner(
            options.backbone,
            weights=options.weights,
            image_size=(options.size, options.size),
            head=tl.Head(hidden=(128,)),
            phases=(tl.Phase(1, 1e-3), tl.Phase(1, 1e-5, unfreeze="all", keep="last")),
            batch_size=64,
        )
        kwargs = {"store": store, "memory_budget": options.budget, "progress": False}
        classifier = tuner.fit(splits.train, splits.val, seed=0, **kwargs)
        features = sum(entry["bytes"] for entry in store.entries())
    pixels = (len(splits.train) + len(splits.val)) * options.size**2 * 3
    return {"pixels": pixels, "features": features, "val_loss": classifier.epochs[-1].val_loss}


def compare(options):
    """One process for each budget; writes memory.md."""
    import pandas as pd

    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.files import write_text
    from tlkeras.machine import format_size
    from tlkeras.models.weights import find_weights

    weights = find_weights(options.backbone, options.weights)
    rows = []
    for budget in options.budgets:
        print(f"memory budget {budget} ...", flush=True)
        command = [sys.executable, __file__, "--budget", budget, "--dataset", options.dataset, "--data", options.data]
        command += ["--backbone", options.backbone, "--size", options.size]
        command += [] if options.csv is None else ["--csv", options.csv]
        command += [] if weights is None else ["--weights", weights.path]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode != 0:
            raise InputError(f"the run within {budget} ended with exit code {done.returncode}:\n{done.stderr}")
        run = json.loads(done.stdout.splitlines()[-1])
        rows.append(
            {
                "memory budget": budget,
                "decoded pixels": format_size(run["pixels"]),
                "features": format_size(run["features"]),
                "peak anonymous, MB": run["anonymous_mb"],
                "peak resident, MB": run["resident_mb"],
                "wall, s": f"{run['seconds']:.0f}",
                "validation loss": f"{run['val_loss']:.6f}",
            }
        )
    data = options.csv or options.dataset
    said = (
        f"{options.backbone} at {options.size}x{options.size} on {data}, one epoch of the head and one of the whole "
        f"network, {os.cpu_count()} cores; whole processes."
    )
    text = f"{said}\n\n{to_markdown(pd.DataFrame(rows).set_index('memory budget'))}\n"
    print(f"\n{text}\nwritten to {write_text(options.out / 'memory.md', text)}")


def main():
    """Compares, or runs the side that the comparison called."""
    options = arguments()
    run_guarded(lambda: run_side(options) if options.budget else compare(options))


if __name__ == "__main__":
    main()
