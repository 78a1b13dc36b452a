"""How long intervals and paired tests take.

2,000 images of seven classes in 1,500 groups, probabilities drawn at random: intervals (each group left out in turn) of
ten metrics and of all there are, and paired tests (9,999 permutations) of accuracy, macro F1 and ROC AUC. Medians of
three runs. What they are worth: benchmark_coverage.py.

    python experiments/benchmarks/benchmark_statistics.py --out assets/benchmark

Cost: under a minute on 2 cores. Writes statistics.md and statistics.json.
"""

import statistics

from timing import in_turn, machine_line, parser_of, run, say, stopwatch, write_page

TEN = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "matthews",
    "kappa",
    "roc_auc",
    "log_loss",
    "brier",
    "ece",
)
IMAGES, CLASSES, GROUPS = 2000, 7, 1500
REPEATS = 3


def measure(options):
    """Times each job in this process, the median of three."""
    import pandas as pd

    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.evaluation.intervals import intervals
    from tlkeras.evaluation.paired import paired
    from tlkeras.files import write_json
    from tlkeras.machine import environment

    first, second = random_predictions(seed=0), random_predictions(seed=1)
    jobs = {
        "intervals of ten metrics": lambda: intervals(first, metrics=TEN),
        "intervals of all metrics": lambda: intervals(first),
        "paired test, accuracy": lambda: paired(first, second),
        "paired test, macro F1": lambda: paired(first, second, metrics=("macro_f1",)),
        "paired test, ROC AUC": lambda: paired(first, second, metrics=("roc_auc",)),
    }
    metrics, seconds = {}, {name: [] for name in jobs}
    for name in in_turn(jobs, REPEATS):
        with stopwatch() as spent:
            metrics[name] = len(jobs[name]())
        seconds[name].append(spent.wall)
        say(f"{name}: {spent.wall:.2f} s")
    rows = {name: {"metrics": metrics[name], "seconds": round(statistics.median(seconds[name]), 2)} for name in jobs}
    found = environment()
    write_json(options.out / "statistics.json", {"jobs": rows, "environment": found})
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("job")
    said, made = str(__doc__).split("\n\n")[1], machine_line(found, "numpy")
    write_page(options.out / "statistics.md", f"# Statistics\n\n{said}\n\n{to_markdown(table)}\n{made}.\n")


def random_predictions(seed: int):
    """Probabilities that lean to the label; the same samples for every seed."""
    import numpy as np

    import tlkeras as tl

    samples = np.random.default_rng(0)
    labels, groups = samples.integers(0, CLASSES, IMAGES), samples.integers(0, GROUPS, IMAGES)
    drawn = np.random.default_rng((1, seed))
    probs = drawn.dirichlet(np.ones(CLASSES), IMAGES) + 0.5 * np.eye(CLASSES)[labels] * drawn.random((IMAGES, 1))
    return tl.Predictions(
        samples=tl.Samples(
            images=tuple(f"{row}.png" for row in range(IMAGES)),
            labels=labels,
            class_names=tuple("abcdefg"),
            groups=[f"g{group}" for group in groups],
        ),
        probs=(probs / probs.sum(axis=1, keepdims=True)).astype(np.float32),
    )


if __name__ == "__main__":
    run(parser_of(__doc__), measure)
