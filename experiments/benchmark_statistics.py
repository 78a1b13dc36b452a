"""How long intervals and paired tests take.

2,000 images of seven classes in 1,500 groups, probabilities drawn at random: intervals (each group left out in turn) of
ten metrics and of all there are, and paired tests (9,999 permutations) of accuracy, macro F1 and ROC AUC. Medians of
three runs. What they are worth: benchmark_coverage.py.

    python experiments/benchmark_statistics.py --out assets/benchmark

Cost: under a minute on 2 cores. Writes statistics.md and statistics.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

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


def main():
    """Times each job in this process, the median of three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="default: %(default)s")
    out = parser.parse_args().out

    import pandas as pd

    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.evaluation.intervals import intervals
    from tlkeras.evaluation.paired import paired
    from tlkeras.files import write_json, write_text
    from tlkeras.machine import environment

    first, second = random_predictions(seed=0), random_predictions(seed=1)
    jobs = {
        "intervals of ten metrics": lambda: intervals(first, metrics=TEN),
        "intervals of all metrics": lambda: intervals(first),
        "paired test, accuracy": lambda: paired(first, second),
        "paired test, macro F1": lambda: paired(first, second, metrics=("macro_f1",)),
        "paired test, ROC AUC": lambda: paired(first, second, metrics=("roc_auc",)),
    }
    rows = {}
    for name, job in jobs.items():
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            metrics = len(job())
            seconds.append(time.perf_counter() - start)
        rows[name] = {"metrics": metrics, "seconds": round(statistics.median(seconds), 2)}
        print(f"{name}: {rows[name]['seconds']} s", flush=True)
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("job")
    found = environment()
    made = f"{found['processor']}, {found['cores']} cores; numpy {found['packages']['numpy']}."
    page = f"# Statistics\n\n{__doc__.split(chr(10) * 2)[1]}\n\n{to_markdown(table)}\n{made}\n"
    write_text(out / "statistics.md", page)
    write_json(out / "statistics.json", {"jobs": rows, "environment": found})


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
    main()
