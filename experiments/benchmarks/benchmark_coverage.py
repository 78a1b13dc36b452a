"""How often intervals hold the true figure, and how often a paired test of two equal methods claims a difference.

Simulated: two classes (30 % positive) in groups of 1 to 20 images, as of one patient, that share a part of what makes
them easy or hard; the true figures are those of 100,000 groups. Intervals at 95 %:

- `tlkeras`: `tl.intervals`, Student's t on the logit (of log loss the logarithm) over groups left out in turn;
- `percentile`, `BCa`: bootstrap, 999 draws of whole groups;
- `studentised`: bootstrap-t with the linear standard error of a mean over groups, so for accuracy and log loss alone;
- `cluster t`: value -+ t times the jackknife's standard error, on the figure's own scale.

Samples where an interval is not defined (a class without images, no error at all) are left out for all methods, and
counted: with few groups what is left is not all there is. Two more tables are of groups of very unequal sizes (most of
few images, some of hundreds) and of a method that is nearly always right.

Over seeds: figures of 2, 3 and 5 trainings that differ as trainings do, on the same images, against the true mean over
trainings; `mean of ends` averages the seeds' intervals, `both drawn` is a bootstrap of groups and seeds.

Paired: two methods whose answers are correlated, 999 permutations. Equal: their distributions are the same, so that a
test at 5 % claims a difference in 5 %, and an interval of the difference holds 0 in 95 %. `probabilities exchanged` is
the test of ROC AUC that exchanges probabilities in place of ranks; `T = 5` puts one method's probabilities at a
temperature of 5, which changes no rank. Where the second method is better indeed, the test shall claim a difference.

    python experiments/benchmarks/benchmark_coverage.py --out assets/benchmark

Cost: half an hour on 2 idle cores; a fourth of the samples (--share 0.25) in a fourth of it. Writes coverage.md and
coverage.json.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from timing import machine_line, parser_of, run, write_page

if TYPE_CHECKING:
    import pandas as pd

GROUPS = {5: 1000, 10: 1000, 20: 1000, 30: 600, 50: 600, 100: 300, 200: 200}  # how many, and how many samples of them
FEWER = (10, 20, 50, 200)  # groups, where not every number of them is tried
NEARLY_PERFECT = 3.5  # sharpness


def arguments():
    """The options."""
    parser = parser_of(__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the samples, to see whether it runs")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    return parser


def measure(options) -> None:
    """Runs all simulations, joblib's processes side by side, and writes the tables."""
    import joblib
    import numpy as np
    import pandas as pd
    from coverage_intervals import OF_TRAININGS, covered, simulate_one, simulate_seeds
    from coverage_pairs import BETTER, claimed, simulate_pair
    from coverage_samples import FIGURES, SHARPNESS, true_figures

    start = time.perf_counter()
    samples = {n_groups: max(4, int(n * options.share)) for n_groups, n in GROUPS.items()}
    parallel = joblib.Parallel(n_jobs=options.jobs)

    def in_parallel(simulate, n: int, *arguments) -> pd.DataFrame:
        found = parallel(
            joblib.delayed(simulate)(seed, *arguments) for seed in np.array_split(np.arange(n), 4 * options.jobs)
        )
        return pd.concat([pd.DataFrame(rows) for rows in found], ignore_index=True)

    true, of_trainings = true_figures(SHARPNESS), true_figures(*OF_TRAININGS)
    worlds = {  # sizes of groups, sharpness, true figures, numbers of groups
        "one": ("even", SHARPNESS, true, tuple(samples)),
        "unequal": ("unequal", SHARPNESS, true_figures(SHARPNESS, sizes="unequal"), FEWER),
        "nearly perfect": ("even", NEARLY_PERFECT, true_figures(NEARLY_PERFECT), FEWER),
    }
    steps = {}
    for name, better in BETTER.items():
        second = true_figures(SHARPNESS + better)
        steps[name] = {figure: second[figure] - true[figure] for figure in FIGURES}
    tables = {}
    for name, (sizes, sharp, figures, numbers) in worlds.items():
        one = pd.concat([in_parallel(simulate_one, samples[n], n, sizes, sharp, figures) for n in numbers])
        kinds = ["tlkeras", "percentile", "BCa", "studentised", "cluster t"]
        tables[name] = covered(one, ["groups", "figure"], kinds)
    seeds = pd.concat(
        [
            in_parallel(simulate_seeds, samples[n_groups] // 2, n_groups, n_seeds, of_trainings)
            for n_groups in FEWER[1:]
            for n_seeds in (2, 3, 5)
        ]
    )
    tables["seeds"] = covered(seeds, ["groups", "seeds", "figure"], ["tlkeras", "mean of ends", "both drawn"])
    pairs = pd.concat(
        [
            in_parallel(simulate_pair, samples[n_groups] // 2, n_groups, name, steps[name])
            for name in BETTER
            for n_groups in FEWER
        ]
    )
    tables |= {name: claimed(pairs[pairs["second"] == name]) for name in BETTER}
    minutes = (time.perf_counter() - start) / 60
    report(options.out, tables, f"--share {options.share:g}, {minutes:.0f} minutes")


def report(out: Path, tables: dict[str, pd.DataFrame], how: str) -> None:
    """coverage.md and coverage.json."""
    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.files import write_json
    from tlkeras.machine import environment

    found = environment()
    titles = {
        "one": "Intervals of one method: coverage in %, mean width in brackets",
        "unequal": "The same, groups of very unequal sizes",
        "nearly perfect": "The same, a method that is nearly always right",
        "seeds": "Intervals of a mean over seeds: coverage in %, mean width in brackets",
        "equal": "Paired tests of two equal methods, %",
        "better": "Paired tests, the second method better, %",
        "far better": "Paired tests, the second method far better, %",
    }
    page = ["# Coverage", str(__doc__).split("    python")[0].strip()]
    page += [f"## {title}\n\n{to_markdown(tables[name])}" for name, title in titles.items()]
    kept = {name: table.reset_index().to_dict("records") for name, table in tables.items()}
    write_json(out / "coverage.json", kept | {"made": how, "environment": found})
    made = f"{how}; {machine_line(found, 'numpy')}."
    write_page(out / "coverage.md", "\n\n".join([*page, made]) + "\n")


if __name__ == "__main__":
    run(arguments(), measure)
