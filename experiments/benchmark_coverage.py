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

    python experiments/benchmark_coverage.py --out assets/benchmark

Cost: half an hour on 2 idle cores; a fourth of the samples (--share 0.25) in a fourth of it. Writes coverage.md and
coverage.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np
from scipy import stats

import tlkeras as tl
from tlkeras.files import write_json, write_text
from tlkeras.machine import environment

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("NORMAL", "DISEASE")
FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss")
GROUPS = {5: 1000, 10: 1000, 20: 1000, 30: 600, 50: 600, 100: 300, 200: 200}  # how many, and how many samples of them
LARGEST = 20  # images of a group
POSITIVE = 0.3
DRAWS = 999
LEVEL = 0.95
TEMPERATURE = 5.0
OF_MEANS = ("accuracy", "log_loss")
SHARPNESS = 1.2  # how far a method's answers lean to the label
OF_TRAININGS = np.array([0.9, 1.1, 1.3, 1.5])  # the same of trainings that differ by chance, each as likely
UNEQUAL, NEARLY_PERFECT = 1.2, 3.5  # the exponent of Pareto's law of sizes; the sharpness
FEWER = (10, 20, 50, 200)  # groups, where not every number of them is tried
BETTER = {"equal": 0.0, "better": 0.5, "far better": 1.5}  # how much sharper the second of two methods is


def main():
    """Runs all simulations, joblib's processes side by side, and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="default: %(default)s")
    parser.add_argument("--share", type=float, default=1.0, help="of the samples, to see whether it runs")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    given = parser.parse_args()

    import pandas as pd

    start = time.perf_counter()
    samples = {n_groups: max(4, int(n * given.share)) for n_groups, n in GROUPS.items()}
    parallel = joblib.Parallel(n_jobs=given.jobs)

    def spread(simulate, n: int, *arguments) -> pd.DataFrame:
        found = parallel(
            joblib.delayed(simulate)(seed, *arguments) for seed in np.array_split(np.arange(n), 4 * given.jobs)
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
        one = pd.concat([spread(simulate_one, samples[n], n, sizes, sharp, figures) for n in numbers])
        kinds = ["tlkeras", "percentile", "BCa", "studentised", "cluster t"]
        tables[name] = covered(one, ["groups", "figure"], kinds)
    seeds = pd.concat(
        [
            spread(simulate_seeds, samples[n_groups] // 2, n_groups, n_seeds, of_trainings)
            for n_groups in FEWER[1:]
            for n_seeds in (2, 3, 5)
        ]
    )
    tables["seeds"] = covered(seeds, ["groups", "seeds", "figure"], ["tlkeras", "mean of ends", "both drawn"])
    pairs = pd.concat(
        [
            spread(simulate_pair, samples[n_groups] // 2, n_groups, name, steps[name])
            for name in BETTER
            for n_groups in FEWER
        ]
    )
    tables |= {name: claimed(pairs[pairs["second"] == name]) for name in BETTER}
    minutes = (time.perf_counter() - start) / 60
    write_page(given.out, tables, f"--share {given.share:g}, {minutes:.0f} minutes")


def draw_samples(rng: np.random.Generator, n_groups: int, sizes: str = "even"):
    """Labels and groups of `n_groups` groups, and what makes each image hard, float (n,), shared within groups."""
    if sizes == "unequal":
        counts = np.minimum(np.ceil(3 * rng.pareto(UNEQUAL, n_groups)), 500).clip(1).astype(int)
    else:
        counts = rng.integers(1, LARGEST + 1, n_groups)
    group = np.repeat(np.arange(n_groups), counts)
    labels = (rng.random(n_groups) < POSITIVE).astype(np.int64)[group]
    return labels, group, share_in_groups(rng, group)


def share_in_groups(rng: np.random.Generator, group: np.ndarray) -> np.ndarray:
    """A standard normal number for each image, of whose variance seven tenths are its group's."""
    return np.sqrt(0.7) * rng.normal(size=group.max() + 1)[group] + np.sqrt(0.3) * rng.normal(size=len(group))


def answer(labels, hard, own, *, sharp: float = SHARPNESS) -> np.ndarray:
    """Probabilities (n, 2) of a method: the label, hidden by what is hard for all methods and for this one."""
    lean = sharp * (2 * labels - 1) + 1.3 * (np.sqrt(0.6) * hard + np.sqrt(0.4) * own)
    positive = 1 / (1 + np.exp(-lean))
    return np.stack([1 - positive, positive], axis=1).astype(np.float32)


def as_predictions(labels, group, probs) -> tl.Predictions:
    """The same as tlkeras keeps it."""
    samples = tl.Samples(
        images=tuple(f"{row}.png" for row in range(len(labels))),
        labels=labels,
        class_names=NAMES,
        groups=[f"g{number}" for number in group],
    )
    return tl.Predictions(samples=samples, probs=probs)


def true_figures(*sharpness: float, sizes: str = "even") -> dict[str, float]:
    """The figures of one hundred thousand groups, the mean over methods of these sharpnesses."""
    from tlkeras.evaluation.weighted_scores import weighted_scores

    rng = np.random.default_rng(2026)
    labels, group, hard = draw_samples(rng, 10**5, sizes)
    found = [
        weighted_scores(
            labels, answer(labels, hard, share_in_groups(rng, group), sharp=sharp), NAMES, np.ones(len(labels)), None,
            FIGURES,
        )
        for sharp in sharpness
    ]  # fmt: skip
    return {figure: float(np.mean([values[figure][0] for values in found])) for figure in FIGURES}


def figures_of_draws(predictions: tl.Predictions, group: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The figures where group g is there times[:, g] times: (figures, draws)."""
    from tlkeras.evaluation.weighted_scores import weighted_scores

    labels = predictions.samples.labels
    return np.stack(list(weighted_scores(labels, predictions.probs, NAMES, times[:, group], None, FIGURES).values()))


def draw_times(rng: np.random.Generator, n: int, draws: int = DRAWS) -> np.ndarray:
    """How often each of `n` is drawn when n are drawn with replacement: (draws, n)."""
    return rng.multinomial(n, np.full(n, 1 / n), draws)


def simulate_one(seeds: np.ndarray, n_groups: int, sizes: str, sharp: float, true: dict[str, float]) -> list[dict]:
    """One row per sample and figure: whether each method's interval holds the true figure, and how wide it is."""
    from tlkeras.evaluation.resampling import leave_out

    rows = []
    for seed in seeds:
        rng = np.random.default_rng((1, n_groups, seed))
        labels, group, hard = draw_samples(rng, n_groups, sizes)
        predictions = as_predictions(labels, group, answer(labels, hard, share_in_groups(rng, group), sharp=sharp))
        ours = tl.intervals(predictions, metrics=FIGURES)
        left_out = leave_out([predictions], None, FIGURES, rng)
        drawn = figures_of_draws(predictions, group, draw_times(rng, n_groups))
        for i, figure in enumerate(FIGURES):
            value, low, high, _ = ours.loc[figure]
            intervals = {"tlkeras": (low, high)}
            if np.isfinite(low):
                intervals |= others(value, left_out.without[0, i], drawn[i])
            if np.isfinite(low) and figure in OF_MEANS:
                intervals["studentised"] = studentised(predictions, group, figure, rng)
            rows += held({"groups": n_groups, "figure": figure}, intervals, true[figure])
    return rows


def others(value: float, without: np.ndarray, drawn: np.ndarray) -> dict[str, tuple[float, float]]:
    """Percentile and BCa intervals of draws, and t times the jackknife's standard error."""
    drawn, tails = drawn[~np.isnan(drawn)], np.array([1 - LEVEL, 1 + LEVEL]) / 2
    n, moved = len(without), without.mean() - without
    bias = stats.norm.ppf(np.clip(((drawn < value).mean() + (drawn <= value).mean()) / 2, 1e-3, 1 - 1e-3))
    skew = (moved**3).sum() / (6 * (moved**2).sum() ** 1.5)
    shifted = bias + stats.norm.ppf(tails)
    reach = stats.t.ppf(tails[1], n - 1) * np.sqrt((n - 1) / n * ((value - without) ** 2).sum())
    return {
        "percentile": tuple(np.quantile(drawn, tails)),
        "BCa": tuple(np.quantile(drawn, stats.norm.cdf(bias + shifted / (1 - skew * shifted)))),
        "cluster t": (value - reach, value + reach),
    }


def studentised(predictions: tl.Predictions, group: np.ndarray, figure: str, rng) -> tuple[float, float]:
    """Bootstrap-t of a mean over images, the sums of groups drawn."""
    labels, probs = predictions.samples.labels, predictions.probs
    of_images = predictions.correct if figure == "accuracy" else -np.log(probs[np.arange(len(labels)), labels])
    sums, counts = np.bincount(group, weights=of_images), np.bincount(group)
    n = len(counts)

    def value_and_error(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value = (times @ sums) / (times @ counts)
        squares = (times * (sums - value[:, None] * counts) ** 2).sum(axis=1)
        return value, np.sqrt(n / (n - 1) * squares) / (times @ counts)

    (value,), (error,) = value_and_error(np.ones((1, n)))
    drawn, errors = value_and_error(draw_times(rng, n))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (drawn - value) / errors
    low, high = np.quantile(t[np.isfinite(t)], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return value - high * error, value - low * error


def simulate_seeds(seeds: np.ndarray, n_groups: int, n_seeds: int, true: dict[str, float]) -> list[dict]:
    """As `simulate_one`, for the mean over trainings whose sharpness differs by chance, on the same images."""
    from tlkeras.evaluation.intervals import ends
    from tlkeras.evaluation.resampling import leave_out

    rows = []
    for seed in seeds:
        rng = np.random.default_rng((2, n_groups, n_seeds, seed))
        labels, group, hard = draw_samples(rng, n_groups)
        sharpness = OF_TRAININGS[rng.integers(0, len(OF_TRAININGS), n_seeds)]
        parts = [
            as_predictions(labels, group, answer(labels, hard, share_in_groups(rng, group), sharp=sharp))
            for sharp in sharpness
        ]
        left_out = leave_out(parts, None, FIGURES, rng)
        ours = ends(left_out, FIGURES, LEVEL)
        alone = np.mean([ends(left_out.of_seed(number), FIGURES, LEVEL) for number in range(n_seeds)], axis=0)
        times = draw_times(rng, n_groups)
        drawn = np.stack([figures_of_draws(part, group, times) for part in parts])  # (seeds, figures, draws)
        of_seeds = draw_times(rng, n_seeds) / n_seeds  # (draws, seeds)
        both = np.einsum("sfd,ds->fd", drawn, of_seeds)
        for i, figure in enumerate(FIGURES):
            quantiles = tuple(np.nanquantile(both[i], [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
            intervals = {"tlkeras": tuple(ours[i]), "mean of ends": tuple(alone[i]), "both drawn": quantiles}
            rows += held({"groups": n_groups, "seeds": n_seeds, "figure": figure}, intervals, true[figure])
    return rows


def held(of_sample: dict, intervals: dict[str, tuple[float, float]], true: float) -> list[dict]:
    """The rows of one sample: a method each; none of them where one is not defined."""
    if not np.isfinite([end for interval in intervals.values() for end in interval]).all():
        return [of_sample | {"method": "not defined"}]
    return [
        of_sample | {"method": method, "holds": low <= true <= high, "width": high - low}
        for method, (low, high) in intervals.items()
    ]


def covered(rows: pd.DataFrame, keys: list[str], methods: list[str]) -> pd.DataFrame:
    """The share of intervals that hold the true figure, in %, and their mean width."""
    import pandas as pd

    table = {}
    for key, of_key in rows.groupby(keys, sort=False):
        of_methods = of_key.groupby("method")
        counts, found = of_methods.size(), of_methods[["holds", "width"]].mean()
        table[key] = {"samples": int(counts.get("tlkeras", 0)), "not defined": int(counts.get("not defined", 0))} | {
            method: f"{100 * found.loc[method, 'holds']:.1f} ({found.loc[method, 'width']:.3f})"
            if method in found.index and method in counts
            else ""
            for method in methods
        }
    return pd.DataFrame(list(table.values()), index=pd.MultiIndex.from_tuples(table, names=keys))


def simulate_pair(seeds: np.ndarray, n_groups: int, second: str, true: dict[str, float]) -> list[dict]:
    """One row per sample: what each test of two methods says, the second as `BETTER` has it."""
    rows, better = [], BETTER[second]
    for seed in seeds:
        rng = np.random.default_rng((3, n_groups, int(10 * better), seed))
        labels, group, hard = draw_samples(rng, n_groups)
        first = as_predictions(labels, group, answer(labels, hard, share_in_groups(rng, group)))
        own = share_in_groups(rng, group)
        other = as_predictions(labels, group, answer(labels, hard, own, sharp=SHARPNESS + better))
        if len(set(labels)) < len(NAMES):
            continue
        table = tl.paired(first, other, metrics=("accuracy", "macro_f1", "roc_auc", "log_loss"), permutations=DRAWS)
        found = {figure: (row["p"], row["low"], row["high"], true[figure]) for figure, row in table.iterrows()}
        cooled = tl.at_temperature(first, TEMPERATURE)
        row = tl.paired(cooled, other, metrics=("roc_auc",), permutations=DRAWS).loc["roc_auc"]
        found[f"roc_auc, T = {TEMPERATURE:g}"] = (row["p"], row["low"], row["high"], true["roc_auc"])
        for name, one in (("", first), (f", T = {TEMPERATURE:g}", cooled)):
            p = probabilities_exchanged(one, other, group, rng)
            found[f"roc_auc, probabilities exchanged{name}"] = (p, np.nan, np.nan, true["roc_auc"])
        for test, (p, low, high, difference) in found.items():
            row = {"groups": n_groups, "second": second, "test": test, "claims": p <= 1 - LEVEL}
            if np.isfinite(low):
                row |= {"holds": low <= difference <= high, "width": high - low}
                row["disagrees"] = (p <= 1 - LEVEL) != (not low <= 0 <= high)
            rows.append(row)
    return rows


def probabilities_exchanged(first, second, group, rng) -> float:
    """The p of ROC AUC where whole groups change places with their probabilities, not their ranks."""
    from tlkeras.evaluation.weighted_scores import weighted_scores

    labels = first.samples.labels
    changed = rng.integers(0, 2, (DRAWS, group.max() + 1)).astype(bool)
    changed[0] = False
    changed = changed[:, group]
    stacked, twice = np.concatenate([first.probs, second.probs]), np.tile(labels, 2)
    as_first = np.concatenate([~changed, changed], axis=1)
    areas = [
        weighted_scores(twice, stacked, NAMES, weights, None, ("roc_auc",))["roc_auc"]
        for weights in (as_first, ~as_first)
    ]
    differences = np.abs(areas[1] - areas[0])
    return float((differences >= differences[0] - 1e-12).mean())


def in_percent(found: pd.Series) -> str:
    """The share that is true of those that are known."""
    found = found.dropna().astype(float)
    return f"{100 * found.mean():.1f}" if len(found) else ""


def claimed(rows: pd.DataFrame) -> pd.DataFrame:
    """How often, in %, each test claims a difference at 5 %, and its interval holds the true one."""
    import pandas as pd

    table = {}
    for key, of_key in rows.groupby(["test", "groups"], sort=False):
        table[key] = {
            "samples": len(of_key),
            "p at most .05": in_percent(of_key["claims"]),
            "interval holds the true difference": in_percent(of_key["holds"]),
            "mean width": "" if of_key["width"].isna().all() else f"{of_key['width'].mean():.3f}",
            "interval not defined": in_percent(of_key["holds"].isna()),
            "p and interval disagree": in_percent(of_key["disagrees"]),
        }
    index = pd.MultiIndex.from_tuples(table, names=["test", "groups"])
    return pd.DataFrame(list(table.values()), index=index)


def write_page(out: Path, tables: dict[str, pd.DataFrame], how: str) -> None:
    """coverage.md and coverage.json."""
    from tlkeras.evaluation.blocks import to_markdown

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
    page = [f"# Coverage\\n\\n{__doc__.split('    python')[0].strip()}".replace("\\n", "\n")]
    page += [f"## {title}\n\n{to_markdown(tables[name])}" for name, title in titles.items()]
    made = f"{how}; {found['processor']}, {found['cores']} cores; numpy {found['packages']['numpy']}."
    write_text(out / "coverage.md", "\n\n".join([*page, made]) + "\n")
    kept = {name: table.reset_index().to_dict("records") for name, table in tables.items()}
    write_json(out / "coverage.json", kept | {"made": how, "environment": found})
    print(f"written to {out / 'coverage.md'}")


if __name__ == "__main__":
    main()
