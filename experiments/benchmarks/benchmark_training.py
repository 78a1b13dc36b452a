"""How long does a training take, beside the script one would write from Keras' transfer-learning guide?

Question
    The same images, split, weights, head, epochs and batch size: what are wall time, memory and test accuracy of
    tlkeras and of a plain script, each a whole process? And how near is tlkeras to the floor, one forward pass of the
    frozen network over all images?
Commands
    python experiments/benchmarks/benchmark_training.py --dataset ham10000 --data DATA --weights imagenet
        --jobs frozen again floor --seeds 0 1 2 --out runs/benchmark
    python experiments/benchmarks/benchmark_training.py --dataset ham10000 --data DATA --weights imagenet
        --only IDS.csv --jobs frozen fine_tuned --seeds 0 1 2 --out runs/benchmark
    python experiments/benchmarks/benchmark_training.py --report-only --out runs/benchmark
Data
    A data set of tl.DATASETS, split 70/15/15 by lesion or patient, anew for each seed (--only: those images alone that
    a CSV names in its column image_id), or a CSV with the columns path, label, split (train, val, test).
Jobs
    frozen: the head, on the frozen network. Both sides; the feature store is empty at the start.
    again: the same with another seed and its split, the store as "frozen" left it. tlkeras alone, beside the plain
        script's "frozen".
    fine_tuned: "frozen", then as many epochs from --fine-tune-at on. Both sides; the store is empty at the start.
    floor: every image decoded and put through the frozen network once by plain Keras, at the batch size that is best
        on 512 images; its seconds, and those of "frozen", without imports.
Cost
    With HAM10000, 3 seeds and MobileNetV2 at 128 pixels about 25 minutes on 2 cores, nearly all of it the other side's.
What differs
    tlkeras antialiases when it resizes and freezes BatchNorm in fine-tuning; the plain script does neither. Sides
    alternate, seed by seed; ratios are taken pair by pair. Timings are of this machine, now: quote ratios, not seconds.
"""

import os
import tempfile
import time
from pathlib import Path

from timing import measured, parser_of, run, say, spread, stopwatch, write_page

from tlkeras.errors import InputError
from tlkeras.models.weights import find_weights

HERE = Path(__file__).resolve().parent
WIDTHS = {"mobilenetv2": 1.0, "mobilenetv2_050": 0.5, "mobilenetv2_035": 0.35}
JOBS = ("frozen", "fine_tuned", "again", "floor")
SETTINGS = ["backbone", "weights", "size", "epochs", "batch"]
RUN = [*SETTINGS, "images", "job", "side", "seed"]
FLOOR_BATCHES = (16, 32, 64, 128)


def arguments():
    """The options."""
    parser = parser_of(__doc__, "--data", "--weights")
    add = parser.add_argument
    add("--csv", type=Path, help="columns path, label, split (train, val, test)")
    add("--dataset", help="a data set of tl.DATASETS in place of --csv")
    add("--only", type=Path, metavar="CSV", help="with --dataset: only the images its column image_id names")
    add("--jobs", nargs="+", choices=JOBS, default=["frozen"], help="default: frozen")
    add("--backbone", choices=list(WIDTHS), default="mobilenetv2")
    add("--size", type=int, default=128, help="pixels a side (default: %(default)s)")
    add("--epochs", type=int, default=10, help="of each phase (default: %(default)s)")
    add("--fine-tune-at", default="block_13_expand", metavar="LAYER", help="default: %(default)s")
    add("--batch", type=int, default=128, help="images per training step (default: %(default)s)")
    add("--seeds", nargs="+", type=int, default=[0])
    add("--guide", type=Path, default=HERE / "benchmark_plain_keras.py", help="the other side; it takes these options")
    add("--report-only", action="store_true", help="table and plot again, of all runs in --out")
    return parser


def train(options):
    """tlkeras' side of a job, with one seed: trains, scores the test part; accuracy, and seconds of its pieces."""
    start, (seed,) = time.perf_counter(), options.seeds
    import tlkeras as tl
    import tlkeras.training.loop  # TensorFlow and Keras: what a job costs is counted without them too

    samples = tl.from_csv(options.csv, part="split")
    splits = tl.Predefined(respect_groups=False).split(samples, seed=seed)
    ready = time.perf_counter()
    phases = [tl.Phase(options.epochs, 1e-3)]
    if options.side == "fine_tuned":
        phases.append(tl.Phase(options.epochs, 1e-5, unfreeze_from=options.fine_tune_at))
    tuner = tl.Tuner(
        options.backbone,
        weights=options.weights,
        image_size=(options.size, options.size),
        head=tl.Head(hidden=(128,), dropout=0.5, input_dropout=0.5, batch_norm=True),
        phases=tuple(phases),
        batch_size=options.batch,
    )
    classifier = tuner.fit(splits.train, splits.val, seed=seed)
    fitted = time.perf_counter()
    accuracy = tl.score(classifier.predict(splits.test))["accuracy"]
    end = time.perf_counter()
    seconds = classifier.history.groupby("phase")["seconds"].sum()
    first = classifier.history.query("phase == 1")["seconds"]
    return {
        "test_acc": accuracy,
        "setup_s": ready - start + (fitted - ready - seconds.sum()),
        "features_s": first.iloc[0] - first.iloc[1:].median() if len(first) > 1 else 0.0,
        "phase1_s": seconds.get(1, 0.0),
        "phase2_s": seconds.get(2, 0.0),
        "test_s": end - fitted,
        "work_s": end - ready,
    }


def pass_once(options):
    """One pass of all images through the frozen network by plain Keras, decode included."""
    import numpy as np

    import tlkeras as tl
    from tlkeras.data.pipeline import decode_all, decoded_batches

    samples = tl.from_csv(options.csv, part="split")
    size = (options.size, options.size)
    encoder = tl.build_encoder(options.backbone, image_size=size, weights=options.weights, pooling="flatten")
    some = decode_all(samples.take(np.arange(min(512, len(samples)))), size).astype("float32")

    def seconds(batch):
        encoder.predict_on_batch(some[:batch])  # the first call also compiles
        with stopwatch() as spent:
            for at in range(0, len(some), batch):
                encoder.predict_on_batch(some[at : at + batch])
        return spent.wall

    best = min(FLOOR_BATCHES, key=seconds)
    with stopwatch() as spent:
        for pixels in decoded_batches(samples, size, best):
            encoder.predict_on_batch(pixels.astype("float32"))
    return {"work_s": spent.wall, "best_batch": best}


def write_split_csv(options, seed, path):
    """The CSV both sides read, paths absolute: the given one, or a data set split 70/15/15 by `seed`, groups never
    crossing. Returns how many images there are."""
    import pandas as pd

    import tlkeras as tl

    if options.csv is not None:
        splits = tl.Predefined(respect_groups=False).split(tl.from_csv(options.csv, part="split"), seed=seed)
    else:
        samples = tl.load_dataset(options.dataset, options.data)
        if options.only is not None:
            wanted = set(pd.read_csv(options.only)["image_id"])
            samples = samples.take([row for row, path in enumerate(samples.images) if Path(path).stem in wanted])
        splits = tl.Holdout(val=0.15, test=0.15).split(samples, seed=seed)
    rows = [
        {"path": path, "label": samples.class_names[label], "split": part}
        for part, samples in splits.parts().items()
        for path, label in zip(samples.images, samples.known_labels, strict=True)
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    return len(rows)


def compare(options):
    """Runs the jobs, sides in turn, and adds a row per run to runs.csv."""
    if (options.csv is None) == (options.dataset is None):
        raise InputError("give one of --csv FILE and --dataset NAME.")
    weights = find_weights(options.backbone, options.weights)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        csv = Path(folder) / "split.csv"
        shared = ["--csv", csv, "--size", options.size, "--batch", options.batch, "--epochs", options.epochs]
        shared += [] if weights is None else ["--weights", weights.path]
        ours = [__file__, "--backbone", options.backbone, *shared]
        guide = [options.guide, "--alpha", WIDTHS[options.backbone], *shared]
        tuned = ["--fine-tune-at", options.fine_tune_at]
        settings = {name: getattr(options, name) for name in ("backbone", "size", "epochs", "batch")}
        settings["weights"] = "random" if weights is None else weights.path.name

        def note(job, side, seed, command, store=None):
            say(f"seed {seed}: {job}, {side} ...")
            found = measured(command, store)
            say(f"  {found['wall_s']:.1f} s")
            rows.append({**settings, "images": n_images, "job": job, "side": side, "seed": seed} | found)

        for seed in options.seeds:
            n_images = write_split_csv(options, seed, csv)
            for job in [job for job in options.jobs if job in ("frozen", "fine_tuned")]:
                extra = [*tuned, "--fine-tune-epochs", options.epochs if job == "fine_tuned" else 0]
                note(job, "plain Keras", seed, [*guide, "--seed", seed, *extra])
                with tempfile.TemporaryDirectory(dir=folder) as store:
                    own = tuned if job == "fine_tuned" else []
                    note(job, "tlkeras", seed, [*ours, "--side", job, "--seeds", seed, *own], store)
                    if job == "frozen" and "again" in options.jobs:
                        write_split_csv(options, seed + 1000, csv)
                        note("again", "tlkeras", seed, [*ours, "--side", "again", "--seeds", seed + 1000], store)
                        write_split_csv(options, seed, csv)
            if "floor" in options.jobs:
                note("floor", "plain Keras", seed, [*ours, "--side", "floor", "--seeds", seed])
    save_runs(rows, options.out / "runs.csv")


def save_runs(rows, path):
    """Adds rows to runs.csv; a run of the same settings, images, job, side and seed is replaced."""
    import pandas as pd

    from tlkeras.files import write_csv

    runs = pd.DataFrame(rows)
    if path.is_file():
        runs = pd.concat([pd.read_csv(path), runs]).drop_duplicates(RUN, keep="last")
    write_csv(runs.sort_values(RUN), path)


def ratios_table(runs):
    """One row per set of images and job: medians of both sides, and the median, smallest and largest ratio of pairs."""
    import pandas as pd

    rows = []
    for (n_images, job), found in runs.groupby(["images", "job"], sort=False, observed=True):
        if job == "floor":
            continue
        everyone = runs[runs["images"] == n_images].set_index("seed")
        ours = found[found["side"] == "tlkeras"].set_index("seed")
        theirs = everyone[(everyone["side"] == "plain Keras") & (everyone["job"] == job.replace("again", "frozen"))]
        ratio = (theirs["wall_s"] / ours["wall_s"]).dropna()
        rows.append(
            {
                "images": f"{n_images:,}",
                "job": job.replace("_", " "),
                "plain Keras, s": f"{theirs['wall_s'].median():.1f}",
                "tlkeras, s": f"{ours['wall_s'].median():.1f}",
                "times faster": spread(ratio, 1),
                "accuracy, plain Keras": f"{100 * theirs['test_acc'].mean():.1f}",
                "accuracy, tlkeras": f"{100 * ours['test_acc'].mean():.1f}",
                "resident, MB": f"{theirs['resident_mb'].max():.0f} / {ours['resident_mb'].max():.0f}",
                "anonymous, MB": f"{theirs['anonymous_mb'].max():.0f} / {ours['anonymous_mb'].max():.0f}",
            }
        )
    return pd.DataFrame(rows).set_index("images")


def floor_table(runs):
    """The job "frozen" without imports, beside one pass of all images: one row per set of images."""
    import pandas as pd

    rows = []
    for n_images, found in runs.groupby("images", sort=False):
        floor = found[found["job"] == "floor"].set_index("seed")
        ours = found[(found["job"] == "frozen") & (found["side"] == "tlkeras")].set_index("seed")
        ratio = (ours["work_s"] / floor["work_s"]).dropna()
        if len(ratio):
            rows.append(
                {
                    "images": f"{n_images:,}",
                    "floor, s": f"{floor['work_s'].median():.1f}",
                    "best batch": "/".join(str(int(batch)) for batch in sorted(set(floor["best_batch"]))),
                    "features, s": f"{ours['features_s'].median():.1f}",
                    "features, head and evaluation, s": f"{ours['work_s'].median():.1f}",
                    "of the floor": spread(ratio, 2),
                }
            )
    return pd.DataFrame(rows).set_index("images") if rows else None


def report(folder):
    """Writes training.md and training.png from runs.csv."""
    import pandas as pd

    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.evaluation.plots import save_figure

    if not (folder / "runs.csv").is_file():
        raise InputError(f"{folder}: there is no runs.csv; run some jobs first, or name another folder with --out.")
    runs = pd.read_csv(folder / "runs.csv")
    settings = runs[SETTINGS].drop_duplicates()
    if len(settings) > 1:
        raise InputError(f"{folder / 'runs.csv'} mixes runs that cannot be compared; keep one of these:\n{settings}")
    backbone, weights, size, epochs, batch = settings.iloc[0]
    runs["job"] = pd.Categorical(runs["job"], JOBS)
    runs = runs.sort_values(["images", "job", "side", "seed"])
    seeds = ", ".join(map(str, sorted(runs["seed"].unique())))
    pieces = [
        f"{backbone} ({weights}) at {size}x{size}, head [128], {epochs} epochs a phase, batch {batch}.",
        f"Wall time of whole processes on {os.cpu_count()} cores: medians over seeds {seeds}, ratios pair by pair "
        "(smallest to largest). Test accuracy in per cent, mean over the seeds, each with its own split. Memory: the "
        "largest peak of each side, plain Keras / tlkeras, resident, and anonymous alone (without mapped files).",
        to_markdown(ratios_table(runs)),
    ]
    floor = floor_table(runs)
    if floor is not None:
        pieces += [
            "The job frozen without imports, beside the floor: every image decoded and put through the network once.",
            to_markdown(floor),
        ]
    save_figure(draw_times(runs), folder / "training.png")
    write_page(folder / "training.md", "\n\n".join(pieces) + "\n")


def draw_times(runs):
    """A bar per job and side, medians, cut into start, phases and test."""
    from tlkeras.evaluation.plots import new_figure

    runs = runs[runs["job"] != "floor"].copy()
    runs["job"] = runs["job"].cat.remove_unused_categories()
    runs["test and rest"] = runs["wall_s"] - runs[["setup_s", "phase1_s", "phase2_s"]].sum(axis=1)
    pieces = {"start": "setup_s", "phase 1": "phase1_s", "phase 2": "phase2_s", "test and rest": "test and rest"}
    bars = runs.groupby(["images", "job", "side"], observed=True)[[*pieces.values(), "wall_s"]].median()
    figure, ax = new_figure(8, 0.6 + 0.42 * len(bars))
    left = 0
    for (name, column), colour in zip(pieces.items(), ("0.75", "#4477aa", "#ee6677", "#ccbb44"), strict=True):
        ax.barh(range(len(bars)), bars[column], left=left, color=colour, label=name)
        left = left + bars[column].to_numpy()
    for row, seconds in enumerate(bars["wall_s"]):
        ax.text(seconds, row, f" {seconds:.0f} s", va="center")
    names = [f"{images:,} images, {job.replace('_', ' ')}: {side}" for images, job, side in bars.index]
    ax.set_yticks(range(len(bars)), names)
    ax.invert_yaxis()
    ax.margins(x=0.1)
    ax.set_xlabel("seconds, whole process")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="lower right")
    return figure


def compare_and_report(options):
    """Both, or the report alone."""
    if not options.report_only:
        compare(options)
    report(options.out)


if __name__ == "__main__":
    run(arguments(), compare_and_report, frozen=train, again=train, fine_tuned=train, floor=pass_once)
