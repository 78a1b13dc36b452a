"""Does a training whose images and features are more than memory may hold stay within its budget?

Question
    The same training with a small memory budget and without one: peak memory, wall time, and is the result the same?
Command
    python experiments/benchmarks/benchmark_memory.py --dataset ham10000 --data DATA --weights imagenet
        --out assets/benchmark
Data
    A data set of tl.DATASETS, split 70/15/15 by lesion or patient.
Cost
    HAM10000 at 192 pixels: about 5 minutes on 2 cores, and 2 GB of disk for a while.
What is measured
    One epoch of the head over kept features (mapped from the feature store), one of the whole network over decoded
    pixels (in memory within the budget, else mapped from a file). Anonymous memory is what a process cannot give back;
    mapped files count into resident memory while there is room, and the system takes that back at will.
"""

import os
import tempfile
from pathlib import Path

from timing import measured, parser_of, run, say, write_page


def arguments():
    """The options."""
    parser = parser_of(__doc__, "--data", "--weights")
    add = parser.add_argument
    add("--dataset", default="ham10000", help="a data set of tl.DATASETS (default: %(default)s)")
    add("--csv", type=Path, help="columns path, label, in place of --dataset")
    add("--backbone", default="mobilenetv2_035", help="default: %(default)s")
    add("--size", type=int, default=192, help="pixels a side (default: %(default)s)")
    add("--budgets", nargs="+", default=["100GB", "200MB"], help="default: %(default)s")
    return parser


def train(options):
    """Trains once, within the one budget there is: what images and features take, in bytes, and the result."""
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
        kwargs = {"store": store, "memory_budget": options.budgets[0]}
        classifier = tuner.fit(splits.train, splits.val, seed=0, **kwargs)
        features = sum(entry["bytes"] for entry in store.entries())
    pixels = (len(splits.train) + len(splits.val or ())) * options.size**2 * 3
    return {"pixels": pixels, "features": features, "val_loss": classifier.epochs[-1].val_loss}


def compare(options):
    """One process for each budget; writes memory.md."""
    import pandas as pd

    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.machine import format_size
    from tlkeras.models.weights import find_weights

    weights = find_weights(options.backbone, options.weights)
    rows = []
    for budget in options.budgets:
        say(f"memory budget {budget} ...")
        command = [__file__, "--side", "train", "--budgets", budget, "--dataset", options.dataset]
        command += ["--data", options.data, "--backbone", options.backbone, "--size", options.size]
        command += [] if options.csv is None else ["--csv", options.csv]
        command += [] if weights is None else ["--weights", weights.path]
        found = measured(command)
        rows.append(
            {
                "memory budget": budget,
                "decoded pixels": format_size(found["pixels"]),
                "features": format_size(found["features"]),
                "peak anonymous, MB": found["anonymous_mb"],
                "peak resident, MB": round(found["resident_mb"]),
                "wall, s": f"{found['wall_s']:.0f}",
                "validation loss": f"{found['val_loss']:.6f}",
            }
        )
    data = options.csv or options.dataset
    said = (
        f"{options.backbone} at {options.size}x{options.size} on {data}, one epoch of the head and one of the whole "
        f"network, {os.cpu_count()} cores; whole processes."
    )
    table = to_markdown(pd.DataFrame(rows).set_index("memory budget"))
    write_page(options.out / "memory.md", f"{said}\n\n{table}\n")


if __name__ == "__main__":
    run(arguments(), compare, train=train)
