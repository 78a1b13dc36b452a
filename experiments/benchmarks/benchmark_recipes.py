"""Which recipe should `tl.Tuner(backbone)` be? Candidates on sets of several sizes, judged by images held out for that.

Question
    What does each change of a recipe bring (start, optimizer, schedule, rate, augmentation, averages), on few images
    and on many, and which recipe is the best to begin with? How far is it from classical classifiers on the same
    features?
Command
    python experiments/benchmarks/benchmark_recipes.py --data DATA --weights WEIGHTS --out assets/recipes
    python experiments/benchmarks/benchmark_recipes.py --report-only --out assets/recipes
Data
    Skin lesions and chest X-rays at 96x96, of each about 200, 1,000 and 5,000 images (whole lesions and patients), and
    the quickstart's tiles at 48x48. A fifth of the images is for validation, as a user would have it. What judges the
    recipes is a part of its own (dev), which no fit has seen, and which is not the test part either: 15 % of HAM10000's
    images, 15 % of the X-rays' official training part, 30 % of the tiles.
Cost
    Some minutes for a candidate, set sizes, backbones and seeds together (two fits at a time, one core each).
Expected result
    assets/recipes/README.md.
What differs
    Everything that a candidate does not name is as in `cosine`: the solved head, then 12 epochs (at least 300 steps) of
    all layers by Adam at 3e-4, one of them rising, the others falling along a cosine; flips; BatchNorm frozen; the last
    weights kept.
"""

import os

# One core for each fit, before TensorFlow is loaded: small networks gain little from two.
os.environ |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

import itertools
import sys
import textwrap
import time
from dataclasses import replace

from timing import REPOSITORY, command_line, parser_of_networks, run, say, write_page

import tlkeras as tl

sys.path.insert(0, str(REPOSITORY / "experiments"))

BACKBONES = ("mobilenet_025", "mobilenetv2_050")
SIZES = {"ham10000": (200, 1000, 5000), "chest_xray": (200, 1000, 5000), "tiles": (None,)}
KEYS = ("set", "seed", "backbone", "candidate")
FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")
FLIPS = tl.Augmentation(horizontal_flip=True, vertical_flip=True)
HEAD = tl.Head(hidden=(), dropout=0.0, pooling="avg")


TURNED = replace(FLIPS, rotation_range=20, zoom_range=0.1, brightness_range=(0.9, 1.1))
SMOOTHED = {"loss": tl.Loss(label_smoothing=0.1)}
PROBE = (tl.LinearProbe(),)


def fine_tune(*, start=PROBE, head=HEAD, augmentation: tl.Augmentation | None = FLIPS, recipe=None, **changes):
    """The fields of a recipe: a start, then all layers."""
    phase = {"epochs": 12, "learning_rate": 3e-4, "unfreeze": "all", "schedule": "cosine", "warmup": 1}
    phase |= {"least_steps": 300, "keep": "last"} | changes
    return {"head": head, "phases": (*start, tl.Phase(**phase)), "augmentation": augmentation} | (recipe or {})


CANDIDATES = {
    "linear_probe": {"head": HEAD, "phases": PROBE},
    "two_phase": {"head": tl.Head(), "phases": (tl.Phase(10, 1e-4), tl.Phase(10, 1e-5, unfreeze="all"))},
    "trained_start": fine_tune(start=(tl.Phase(3, 1e-3),), warmup=0, least_steps=None, keep="best"),
    "cosine": fine_tune(),
    "12_epochs": fine_tune(least_steps=None),
    "keep_best": fine_tune(keep="best"),
    "rate_1e-4": fine_tune(learning_rate=1e-4),
    "adamw_0.05": fine_tune(optimizer="adamw", weight_decay=0.05),
    "stage_decay_0.7": fine_tune(learning_rate=6e-4, stage_decay=0.7),
    "ema_0.99": fine_tune(average=tl.EMA(0.99)),
    "smoothed": fine_tune(recipe=SMOOTHED),
    "turned": fine_tune(augmentation=TURNED),
    "turned_smoothed": fine_tune(augmentation=TURNED, recipe=SMOOTHED),
    "trivial_smoothed": fine_tune(augmentation=replace(FLIPS, policy="trivial"), recipe=SMOOTHED),
    "mixup_0.2": fine_tune(augmentation=replace(FLIPS, mixup=0.2)),
    "not_augmented": fine_tune(augmentation=None),
    "logits_adjusted": fine_tune(
        # Of few images some classes have none for validation, by which all could count alike.
        start=(tl.LinearProbe(monitor="val_loss"),),
        recipe={"loss": tl.Loss(logit_adjustment=1)},
        monitor="val_loss",
    ),
}
HEADING = """# Candidates for the recipe

[`experiments/benchmarks/benchmark_recipes.py`](../../experiments/benchmarks/benchmark_recipes.py) fits candidates for
the recipe of `tl.Tuner(backbone)` to sets of several sizes, and judges them by a part of its own, which is neither what
they learn from nor the test part."""
MARKERS = "os^Dv<>P"
RECIPES = ("fine_tune", "strong")  # of tl.recipes, as they are: what the candidates led to
CLASSICAL = ("knn", "svm", "logistic_regression")


def arguments():
    """The options."""
    parser = parser_of_networks(__doc__)
    add = parser.add_argument
    add("--sets", nargs="+", default=sets(), help="default: %(default)s")
    add("--backbones", nargs="+", default=list(BACKBONES), help="default: %(default)s")
    add("--candidates", nargs="+", default=[*CANDIDATES, *RECIPES, *CLASSICAL], help="default: all")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: %(default)s")
    add("--jobs", type=int, default=2, help="fits at a time (default: %(default)s)")
    add("--report-only", action="store_true", help="the page again, of the runs in --out")
    return parser


def sets():
    """Their names: "ham10000_200" and so on."""
    return [f"{name}_{n}" if n else name for name, sizes in SIZES.items() for n in sizes]


def parts_of(name, data):
    """What a set's images are drawn from, and the dev part; the test part stays aside."""
    if name == "tiles":
        from quickstart import TARGET, read_tiles

        samples, split = read_tiles(TARGET, step=48), tl.Holdout(val=0.3, test=0.3)
    else:
        samples = tl.load_dataset(name, data)
        split = tl.Predefined(val=0.15) if name == "chest_xray" else tl.Holdout(val=0.15, test=0.2)
    whole = split.split(samples, seed=0)
    assert whole.val is not None  # its share is above 0
    return whole.train, whole.val


def draw(name, data, seed):
    """(train, val, dev) of a set: of its size, whole groups, another draw for each seed."""
    name, _, n = name.rpartition("_") if name != "tiles" else (name, "", "")
    pool, dev = parts_of(name, data)
    if n and int(n) < len(pool):
        pool = tl.Holdout(val=0.0, test=int(n) / len(pool)).split(pool, seed=seed).test
    learnt = tl.Holdout(val=0.0, test=0.2).split(pool, seed=seed)
    return learnt.train, learnt.test, dev


def recipe_of(candidate, backbone, size):
    """The candidate as a recipe."""
    if candidate in CLASSICAL:
        return tl.Extractor(backbone, candidate, image_size=(size, size))
    if candidate in RECIPES:
        return getattr(tl.recipes, candidate)(backbone, image_size=(size, size))
    return tl.Tuner(backbone, image_size=(size, size), **CANDIDATES[candidate])


def judged(cell, options):
    """One row: what a candidate comes to on the dev part, and in what time."""
    name, seed, backbone, candidate = cell
    train, val, dev = draw(name, options.data, seed)
    recipe = recipe_of(candidate, backbone, 48 if name == "tiles" else 96)
    # What a candidate begins with is found in the store, so that its seconds do not depend on who was first.
    begun = recipe_of("logistic_regression", backbone, recipe.image_size[0])
    if isinstance(recipe, tl.Tuner):
        begun = tl.Tuner(backbone, image_size=recipe.image_size, head=recipe.head, phases=tl.Phase(1, 1e-9))
    begun.fit(train, val, seed=seed, weights_folder=options.weights, store=options.store or True)
    start = time.perf_counter()
    try:
        fitted = recipe.fit(train, val, seed=seed, weights_folder=options.weights, store=options.store or True)
    except tl.InputError as error:  # it diverged, or of a class there are too few lesions for the folds of an SVM
        if candidate not in CLASSICAL and not isinstance(error, tl.DivergedError):
            raise
        say(f"{cell}: {error}")
        scores = dict.fromkeys(FIGURES, float("nan"))
        seconds = float("nan")
    else:
        seconds = time.perf_counter() - start
        scores = tl.score(fitted.predict(dev))
    figures = {figure: round(float(scores[figure]), 5) for figure in FIGURES}
    keys = dict(zip(KEYS, cell, strict=True))
    return keys | {"train": len(train), "val": len(val), "dev": len(dev), "seconds": round(seconds, 2)} | figures


def compare(options):
    """Adds a row for every fit that is not there, and writes the page."""
    import pandas as pd
    from joblib import Parallel, delayed

    file = options.out / "dev.csv"
    done = pd.read_csv(file) if file.is_file() else pd.DataFrame()
    cells = list(itertools.product(options.sets, options.seeds, options.backbones, options.candidates))
    cells.sort(key=lambda cell: (cell[1], options.sets.index(cell[0])))
    there = set() if done.empty else set(done[[*KEYS]].itertuples(index=False, name=None))
    todo = [] if options.report_only else [cell for cell in cells if cell not in there]
    options.out.mkdir(parents=True, exist_ok=True)
    rows = done.to_dict("records")
    for row in Parallel(n_jobs=options.jobs, return_as="generator_unordered", batch_size=1)(
        delayed(judged)(cell, options) for cell in todo
    ):
        rows.append(row)
        pd.DataFrame(rows).to_csv(file, index=False)
        cell = " ".join(str(row[key]) for key in KEYS)
        say(f"{cell}: macro F1 {row['macro_f1']:.3f}, {row['seconds']:.0f} s")
    if rows:
        write_report(pd.DataFrame(rows), options.out)


def write_report(runs, out):
    """recipes.md: every candidate on every set, how far each is from the first one named, and the figure."""
    import pandas as pd

    from tlkeras.evaluation.blocks import to_markdown

    names = [name for name in (*CANDIDATES, *RECIPES, *CLASSICAL) if name in set(runs["candidate"])]
    order = [name for name in sets() if name in set(runs["set"])]
    by_set = runs.pivot_table(index="candidate", columns="set", values="macro_f1", sort=False).loc[names, order]
    table = by_set.map(lambda value: "refused" if pd.isna(value) else f"{value:.3f}")
    compared = differences(runs, names)
    means = by_set.mean(axis=1, skipna=False)
    table["mean"] = means.map(lambda value: "" if pd.isna(value) else f"{value:.3f}")
    table["log loss"] = runs.groupby("candidate")["log_loss"].mean()[names].map("{:.2f}".format)
    table["against `cosine`"] = compared["words"]
    table["p, Holm"] = compared["p_holm"].map(lambda p: "" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}")
    table["seconds"] = runs.groupby("candidate")["seconds"].median()[names].map("{:.0f}".format)
    counts = runs.groupby("set")[["train", "val", "dev"]].mean().round().astype(int).loc[order]
    seeds, backbones = sorted(set(runs["seed"])), sorted(set(runs["backbone"]))
    told = (
        f"Macro F1 on the dev part, mean over {len(backbones)} backbones ({', '.join(backbones)}) and seeds "
        f"{' '.join(map(str, seeds))}, each of which draws its own images; log loss the mean over all; seconds the "
        "median of a fit, on one core. Differences of macro F1 from `cosine` over all "
        f"{int(compared['n'].max())} pairs of set, backbone and seed: mean, 95 % interval by Student's t, and "
        "Wilcoxon's signed rank, corrected by Holm's method over the column."
    )
    page = f"""{HEADING}

{textwrap.fill(told, 120)}

{to_markdown(table.rename_axis("candidate"))}

![macro F1 of every candidate on every set](recipes.png)

Images of each set (means over the seeds):

{to_markdown(counts.rename_axis("set").astype(str))}

What each candidate is stands in the script, as `CANDIDATES`. Made with

{command_line(__file__, "--data DATA --weights WEIGHTS --out assets/recipes")}
"""
    draw_points(by_set, out / "recipes.png")
    write_page(out / "recipes.md", page)


def differences(runs, names):
    """Of each candidate from `cosine`, over the fits both have: mean and interval in words, p and p_holm."""
    import numpy as np
    import pandas as pd
    from scipy import stats

    from tlkeras.evaluation.paired import holm

    found = runs.pivot_table(index=["set", "backbone", "seed"], columns="candidate", values="macro_f1")
    if "cosine" not in found:
        return pd.DataFrame({"words": "", "p_holm": float("nan"), "n": 0}, index=names)
    rows = []
    for name in names:
        moved = (found[name] - found["cosine"]).dropna().to_numpy()
        if name == "cosine" or len(moved) < 2:
            rows.append({"words": "", "p": float("nan"), "n": len(moved)})
            continue
        middle, half = moved.mean(), stats.t.ppf(0.975, len(moved) - 1) * moved.std(ddof=1) / np.sqrt(len(moved))
        p = stats.wilcoxon(moved).pvalue if moved.any() else 1.0
        words = f"{middle:+.3f} [{middle - half:+.3f}, {middle + half:+.3f}]"
        rows.append({"words": words, "p": p, "n": len(moved)})
    return holm(pd.DataFrame(rows, index=names))


def draw_points(by_set, path):
    """One row of points for each candidate, the best mean on top."""
    from tlkeras.evaluation.plots import new_figure, save_figure

    ordered = by_set.loc[by_set.mean(axis=1, skipna=False).sort_values(na_position="first").index]
    figure, axes = new_figure(9, 0.32 * len(ordered) + 1.4)
    for number, name in enumerate(ordered.columns):
        axes.plot(ordered[name], range(len(ordered)), MARKERS[number % len(MARKERS)], label=name, markersize=6)
    axes.plot(ordered.mean(axis=1, skipna=False), range(len(ordered)), "k|", markersize=14, label="mean")
    axes.set_yticks(range(len(ordered)), ordered.index)
    axes.set_xlabel("macro F1 on dev")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    save_figure(figure, path)


if __name__ == "__main__":
    run(arguments(), compare)
