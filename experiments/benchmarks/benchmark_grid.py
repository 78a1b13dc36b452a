"""What does a cross-validated grid cost, beside one forward pass of its images, and beside the plain loop?

Question
    16 pairs of learning rate and epochs (1e-4 to 1e-1; 3, 5, 7, 9), five folds, a linear head on a frozen network: what
    are the seconds of tl.Search, of one forward pass of all images, and of the loop people write, in which each of the
    80 trainings is a training of its own that runs the frozen network in every epoch? Do both find the same table?
Command
    python experiments/benchmarks/benchmark_grid.py --data DATA --weights WEIGHTS --images 300 5232
        --out assets/benchmark
Data
    Chest X-rays of the set's training and validation parts, 5,232; of a smaller number a random draw, stratified.
Cost
    300 images: about 10 minutes on 2 cores, nearly all of it the plain loop's. 5,232 images without it: one minute.
Expected result
    assets/benchmark/README.md: the grid within 1.5 forward passes and 60 s, the plain loop ten times the grid and more.
What differs
    Each side is a process of its own, started with nothing kept. Seconds are those of the process, with the import of
    TensorFlow (about 4 s); those of the forward pass are decoding and the frozen network alone. The plain loop is
    tl.Tuner's with store=False: the same trainings, bit for bit in their draws, so that the tables can be compared.
"""

import tempfile

from timing import command_line, measured, parser_of, run, say, stopwatch, write_page

from tlkeras.errors import InputError

RATES, EPOCHS, N_FOLDS = (1e-4, 1e-3, 1e-2, 1e-1), (3, 5, 7, 9), 5


def arguments():
    """The options."""
    parser = parser_of(__doc__, "--data")
    add = parser.add_argument
    add("--weights", default=None, help="folder searched first for weight files")
    add("--backbone", default="mobilenetv2_035", help="default: %(default)s")
    add("--size", type=int, default=96, help="pixels a side (default: %(default)s)")
    add("--images", nargs="+", type=int, default=[300, 5232], help="how many (default: 300 5232)")
    add("--plain", type=int, default=300, help="run the plain loop up to so many images (default: %(default)s)")
    add("--jobs", type=int, default=2, help="cells of the grid that run at a time (default: %(default)s)")
    return parser


def draw(options):
    """As many chest X-rays of the set's training and validation parts as --images names first."""
    import numpy as np

    import tlkeras as tl

    n = options.images[0]
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


def run_forward(options):
    """Decodes every image and runs the frozen network on it, once."""
    from tlkeras.models.classifier import build_encoder
    from tlkeras.training.features import features_of

    samples, size = draw(options), (options.size, options.size)
    network = build_encoder(options.backbone, image_size=size, weights="imagenet", weights_folder=options.weights)
    features_of(network, samples.take(range(64)), store=None)  # TensorFlow prepares itself
    with stopwatch() as spent:
        features_of(network, samples, store=None)
    return {"inside": spent.wall}


def run_grid(options):
    """tl.Search, with an empty feature store."""
    import joblib

    import tlkeras as tl

    samples = draw(options)
    with tempfile.TemporaryDirectory() as folder, joblib.parallel_config(backend="loky", n_jobs=options.jobs):
        store = tl.FeatureStore(folder)
        search = tl.Search(recipe(options), {"learning_rate": RATES, "epochs": EPOCHS}, tl.KFold(N_FOLDS))
        found = search.fit(samples, seed=0, store=store, weights_folder=options.weights)
        rows = sum(entry["rows"] for entry in store.entries())
    means = found.ranking.set_index(["learning_rate", "epochs"])["mean"]
    return {
        "inside": found.seconds,
        "images": len(samples),
        "rows": rows,
        "means": {f"{rate:g}/{n}": means[rate, n] for rate, n in means.index},
    }


def run_plain(options):
    """Every pair and fold trained by itself, the whole network in every epoch."""
    from dataclasses import replace

    import numpy as np

    import tlkeras as tl
    from tlkeras.seeds import derive_seed

    tuner, means = recipe(options), {}
    folds = tl.KFold(N_FOLDS).folds(draw(options), seed=0)
    for rate in RATES:
        for n in EPOCHS:
            pair = replace(tuner, phases=replace(tuner.phases[0], learning_rate=rate, epochs=n))
            accuracies = []
            for number, fold in enumerate(folds):
                seed = derive_seed(0, "fold", number)
                kwargs = {"store": False, "weights_folder": options.weights}
                accuracies.append(pair.fit(fold.train, seed=seed, **kwargs).predict(fold.test).correct.mean())
            means[f"{rate:g}/{n}"] = float(np.mean(accuracies))
    return {"means": means}


def as_process(options, side, n):
    """One side as a process of its own."""
    say(f"{side}, {n:,} images ...")
    command = [__file__, "--side", side, "--data", options.data, "--backbone", options.backbone]
    command += ["--size", options.size, "--images", n, "--jobs", options.jobs]
    command += [] if options.weights is None else ["--weights", options.weights]
    return measured(command)


def compare(options):
    """Every side in turn; writes grid.md."""
    import pandas as pd

    from tlkeras.evaluation.blocks import to_markdown

    rows = []
    for n in options.images:
        forward, grid = as_process(options, "forward", n), as_process(options, "grid", n)
        row = {
            "images": f"{grid['images']:,}",
            "passed the network": f"{grid['rows']:,}",
            "forward pass, s": f"{forward['inside']:.1f}",
            "grid, s": f"{grid['inside']:.1f}",
            "1.5 x pass + 60 s": f"{1.5 * forward['inside'] + 60:.1f}",
            "grid, process, s": f"{grid['wall_s']:.0f}",
            "plain loop, process, s": "not run",
            "times the grid": "",
            "largest difference of a mean": "",
        }
        if n <= options.plain:
            plain = as_process(options, "plain", n)
            difference = max(abs(plain["means"][pair] - grid["means"][pair]) for pair in plain["means"])
            row |= {
                "plain loop, process, s": f"{plain['wall_s']:.0f}",
                "times the grid": f"{plain['wall_s'] / grid['wall_s']:.1f}",
                "largest difference of a mean": f"{difference:.4f}",
            }
        rows.append(row)
    table = to_markdown(pd.DataFrame(rows).set_index("images"))
    command = command_line(
        __file__,
        f"--data DATA --weights WEIGHTS --backbone {options.backbone} --size {options.size} "
        f"--images {' '.join(map(str, options.images))} --plain {options.plain} --jobs {options.jobs}",
    )
    write_page(options.out / "grid.md", f"# The grid's cost\n\n{command}\n\n{table}")


if __name__ == "__main__":
    run(arguments(), compare, forward=run_forward, grid=run_grid, plain=run_plain)
