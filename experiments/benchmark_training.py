"""How long does the two-phase recipe take, beside a plain Keras script that does the same?

Question
    The same CSV of images, the same weights file, the same head, epochs and batch size: what are the wall time, the
    peak memory and the test accuracy of tlkeras and of experiments/benchmark_plain_keras.py, each a whole process?
Commands
    python experiments/benchmark_training.py --dataset ham10000 --data DATA --weights FILE
    python experiments/benchmark_training.py --csv FILE --weights FILE --epochs 10 --fine-tune-epochs 0
Data
    A CSV with the columns path, label, split (train, val, test); or a data set of tl.DATASETS, split 70/15/15 by lesion
    or patient into such a CSV.
Cost
    Whatever the plain script takes, plus ours. Runs alternate; with --repeats above 1 medians are shown.
What differs
    Ours keeps BatchNorm frozen in the second phase; the plain script means to and does not (its docstring says why).
    Timings are of this machine, now: quote the ratio, not the seconds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tlkeras.cli import run_guarded
from tlkeras.models.weights import find_weights
from tlkeras.schema import InputError

HERE = Path(__file__).resolve().parent
WIDTHS = {"mobilenetv2": 1.0, "mobilenetv2_050": 0.5, "mobilenetv2_035": 0.35}


def arguments():
    """The options; `--side` is how this script calls itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--csv", type=Path, help="columns path, label, split (train, val, test)")
    add("--dataset", help="a data set of tl.DATASETS in place of --csv")
    add("--data", type=Path, default=Path(os.environ.get("TLKERAS_DATA", "data")), help="folder of the data sets")
    add("--weights", default=None, help='a no-top weights file, or "imagenet" (default: random)')
    add("--backbone", choices=list(WIDTHS), default="mobilenetv2")
    add("--size", type=int, default=128, help="pixels a side (default: %(default)s)")
    add("--epochs", type=int, default=10, help="with the backbone frozen (default: %(default)s)")
    add("--fine-tune-epochs", type=int, default=10, help="with all of it free (default: %(default)s)")
    add("--batch-size", type=int, default=128)
    add("--seed", type=int, default=0)
    add("--repeats", type=int, default=1, help="runs of each side, in turn (default: %(default)s)")
    add("--side", choices=["tlkeras"], help=argparse.SUPPRESS)
    return parser.parse_args()


def run_tlkeras(options):
    """Our side: trains, scores the test part, prints one JSON line."""
    import tlkeras as tl

    start = time.perf_counter()
    samples = tl.from_csv(options.csv, part="split")
    splits = tl.Predefined(respect_groups=False).split(samples, seed=options.seed)
    phases = [tl.Phase(options.epochs, 1e-3)] if options.epochs else []
    phases += [tl.Phase(options.fine_tune_epochs, 1e-5, unfreeze="all")] if options.fine_tune_epochs else []
    tuner = tl.Tuner(
        options.backbone,
        weights=options.weights,
        image_size=(options.size, options.size),
        head=tl.Head(hidden=(128,), dropout=0.5, input_dropout=0.5, batch_norm=True),
        phases=tuple(phases),
        batch_size=options.batch_size,
    )
    classifier = tuner.fit(splits.train, splits.val, seed=options.seed, progress=False)
    accuracy = tl.score(classifier.predict(splits.test))["accuracy"]
    seconds = time.perf_counter() - start
    print(json.dumps({"accuracy": accuracy, "seconds": seconds, "images": len(splits.train)}))


def timed(command):
    """Runs a process; its last line as JSON, with wall seconds and peak memory of the whole process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise InputError(f"{' '.join(command)} ended with exit code {process.returncode}; what it said stands above.")
    wall = time.perf_counter() - start
    return json.loads(output.splitlines()[-1]) | {"wall": wall, "peak_mb": usage.ru_maxrss / 1024}


def write_split_csv(options, folder):
    """The CSV both sides read, paths absolute: the given one, or a data set split 70/15/15, groups never crossing."""
    import pandas as pd

    import tlkeras as tl

    if options.csv is not None:
        splits = tl.Predefined(respect_groups=False).split(tl.from_csv(options.csv, part="split"), seed=options.seed)
    else:
        samples = tl.load_dataset(options.dataset, options.data)
        splits = tl.Holdout(val=0.15, test=0.15).split(samples, seed=options.seed)
    rows = [
        {"path": path, "label": samples.class_names[label], "split": part}
        for part, samples in splits.parts().items()
        for path, label in zip(samples.images, samples.labels, strict=True)
    ]
    path = Path(folder) / "split.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def compare(options):
    """Runs both sides in turn and prints the table."""
    if (options.csv is None) == (options.dataset is None):
        raise InputError("give one of --csv FILE and --dataset NAME.")
    if options.epochs + options.fine_tune_epochs < 1:
        raise InputError("--epochs and --fine-tune-epochs are both 0: there is nothing to train.")
    weights = find_weights(options.backbone, options.weights)
    with tempfile.TemporaryDirectory() as folder:
        csv = write_split_csv(options, folder)
        shared = ["--csv", csv, "--size", options.size, "--epochs", options.epochs, "--seed", options.seed]
        shared += ["--fine-tune-epochs", options.fine_tune_epochs, "--batch-size", options.batch_size]
        shared += [] if weights is None else ["--weights", weights.path]
        ours = [sys.executable, __file__, "--side", "tlkeras", "--backbone", options.backbone, *map(str, shared)]
        width = ["--alpha", str(WIDTHS[options.backbone])]
        plain = [sys.executable, str(HERE / "benchmark_plain_keras.py"), *width, *map(str, shared)]
        runs = {"tlkeras": [], "plain Keras": []}
        sides = [("tlkeras", ours), ("plain Keras", plain)]
        for repeat in range(options.repeats):
            # In turn, so that neither always finds the files in the disk cache.
            for name, command in sides[:: 1 if repeat % 2 == 0 else -1]:
                print(f"run {repeat + 1} of {options.repeats}: {name} ...", flush=True)
                runs[name].append(timed(command))
    epochs = options.epochs + options.fine_tune_epochs
    print(f"\n{'':12} {'wall, s':>9} {'images/s':>9} {'peak, MB':>9} {'test accuracy':>14}")
    median = {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]} for name, found in runs.items()
    }
    for name, run in median.items():
        rate = epochs * run["images"] / run["wall"]
        print(f"{name:12} {run['wall']:9.1f} {rate:9.0f} {run['peak_mb']:9.0f} {run['accuracy']:14.4f}")
    ratio = median["plain Keras"]["wall"] / median["tlkeras"]["wall"]
    print(f"\nplain Keras takes {ratio:.2f} times as long as tlkeras ({epochs} epochs, {os.cpu_count()} cores)")
    print("images/s: training images times epochs, over the wall time of the whole process, start-up included")


def main():
    """Compares, or runs our side where the comparison called it."""
    options = arguments()
    run_guarded(lambda: run_tlkeras(options) if options.side else compare(options))


if __name__ == "__main__":
    main()
