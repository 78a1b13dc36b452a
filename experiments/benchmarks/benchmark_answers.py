"""How good are answers that features give: wrong labels, other kinds of images, sets of classes?

Question
    Labels flipped on purpose: how high are they ranked by `tl.review_labels`? Does the distance to the training images
    (`tl.fit_familiarity`) tell skin lesions from X-rays, and the X-rays' official test part from their validation
    images? Do sets of classes (`tl.prediction_sets`) hold the true one as often as they promise, over 100 splits?
Command
    python experiments/benchmarks/benchmark_answers.py --data DATA --weights WEIGHTS --out assets/benchmark
Data
    Chest X-rays, all 5,856; HAM10000, all 10,015.
Cost
    Some five minutes on 2 cores, most of it the features at 224 pixels; from the feature store two.
Expected result
    assets/benchmark/answers.md.
What is measured
    Labels: of 5 % of the images, drawn by seed; ranked by 5-fold cross-validation, whole patients held out. Sets: half
    of the lesions or patients train the classifier, the other half is split in two 100 times: one half sets the sets,
    the other judges.
"""

from dataclasses import replace

from timing import command_line, parser_of_networks, run, say, stopwatch, write_page

NETWORK = "mobilenetv2_050"
SIDE = 224
FLIPPED = 0.05
SEEDS = (0, 1, 2)
N_SPLITS = 100
COVERAGE = 0.9


def wrong_labels(extractor, samples, known):
    """A row for each seed: how high the flipped labels are ranked, and what is marked."""
    import numpy as np
    from sklearn.metrics import average_precision_score

    import tlkeras as tl
    from tlkeras.seeds import generator

    rows = {}
    for seed in SEEDS:
        flipped = np.zeros(len(samples), bool)
        flipped[generator(seed, "flipped").permutation(len(samples))[: round(FLIPPED * len(samples))]] = True
        labels = np.where(flipped, 1 - samples.labels, samples.labels)
        with stopwatch() as took:
            held_out = tl.cross_validate(extractor, replace(samples, labels=labels), folds=5, seeds=(seed,), **known)
            found = tl.review_labels(held_out.predictions)
        wrong, marked = flipped[found["row"].to_numpy()], found["marked"].to_numpy()
        rows[seed] = {
            "average precision": f"{average_precision_score(wrong, -found['probability']):.3f}",
            "flipped": f"{flipped.sum()}",
            "of the first so many flipped, %": f"{100 * wrong[: flipped.sum()].mean():.1f}",
            "marked": f"{marked.sum()}",
            "of them flipped, %": f"{100 * wrong[marked].mean():.1f}",
            "seconds": f"{took.wall:.0f}",
        }
    return rows


def other_kinds(extractor, sets, known):
    """ROC AUC of the distance to the training images: {(known images, of these, of those): figure}."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    import tlkeras as tl

    def features(samples):
        return extractor.features(samples, **known)

    def told(familiar, ours, others):
        near, far = (familiar.distances(features(samples)) for samples in (ours, others))
        return f"{roc_auc_score(np.repeat([0, 1], [len(near), len(far)]), np.concatenate([near, far])):.3f}"

    xrays = tl.Predefined(val=0.15).split(sets["chest_xray"], seed=0)
    lesions = tl.Holdout(val=0.15, test=0.15).split(sets["ham10000"], seed=0)
    of_xrays, of_lesions = (
        tl.fit_familiarity(features(splits.train), splits.train.groups) for splits in (xrays, lesions)
    )
    return {
        ("chest X-rays", "their validation images", "skin lesions"): told(of_xrays, xrays.val, sets["ham10000"]),
        ("skin lesions", "their validation images", "chest X-rays"): told(of_lesions, lesions.val, sets["chest_xray"]),
        ("chest X-rays", "their validation images", "their official test part"): told(of_xrays, xrays.val, xrays.test),
        ("skin lesions", "their validation images", "their test part, by lesion"): told(
            of_lesions, lesions.val, lesions.test
        ),
    }


def covered(extractor, samples, known):
    """{class: coverages of the splits}, "all" among them."""
    import tlkeras as tl
    from tlkeras.evaluation.conformal import coverage_table
    from tlkeras.progress import silenced

    learnt = tl.Holdout(val=0, test=0.5).split(samples, seed=0)
    rest = extractor.fit(learnt.train, seed=0, **known).predict(learnt.test)
    found = {}
    place = {name: row for row, name in enumerate(rest.samples.sample_ids)}
    with silenced():
        for seed in range(N_SPLITS):
            split = tl.Holdout(val=0, test=0.5).split(rest.samples, seed=seed)
            halves = ([place[name] for name in part.sample_ids] for part in (split.train, split.test))
            val, test = (tl.Predictions(rest.samples.take(half), rest.probs[half]) for half in halves)
            sets = tl.prediction_sets(val, test, coverage=COVERAGE)
            for name, coverage in coverage_table(sets)["coverage"].items():
                found.setdefault(name, []).append(100 * coverage)
    return found


def compare(options):
    """Measures, and writes answers.md."""
    import numpy as np
    import pandas as pd

    import tlkeras as tl
    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.machine import environment

    here = environment()
    known = {"weights_folder": options.weights, "store": options.store or True}
    extractor = tl.Extractor(NETWORK, "logistic_regression", image_size=(SIDE, SIDE), arguments={"C": 0.01})
    sets = {name: tl.load_dataset(name, options.data) for name in ("chest_xray", "ham10000")}
    for name, samples in sets.items():
        say(f"{name}: features ...")
        extractor.features(samples, **known)
    labels = pd.DataFrame.from_dict(wrong_labels(extractor, sets["chest_xray"], known), orient="index")
    kinds = pd.Series(other_kinds(extractor, sets, known), name="ROC AUC")
    kinds.index.names = ["learnt from", "of these", "of those"]
    coverages = {}
    for name, samples in sets.items():
        for of_class, values in covered(extractor, samples, known).items():
            coverages[name, of_class] = {
                "coverage, %": f"{np.nanmean(values):.1f}",
                "standard deviation": f"{np.nanstd(values, ddof=1):.1f}",
            }
    over_splits = pd.DataFrame.from_dict(coverages, orient="index")
    over_splits.index.names = ["set", "class"]
    text = [
        "# Answers by features",
        command_line(__file__, "--data DATA --weights WEIGHTS --out assets/benchmark"),
        f"{here['cores']} cores ({here['processor']}), Python {here['python']}, TensorFlow "
        f"{here['packages']['tensorflow']}. {NETWORK} at {SIDE} pixels, frozen, and a logistic regression. What the "
        "numbers mean is said in the script.",
        f"## Wrong labels: {FLIPPED:.0%} of the chest X-rays' flipped",
        to_markdown(labels.rename_axis("seed")),
        "## Images of another kind: told by their distance to the training images",
        to_markdown(kinds.to_frame()),
        f"## Sets of classes that shall hold the true one for {COVERAGE:.0%} of each class, {N_SPLITS} splits",
        to_markdown(over_splits),
    ]
    write_page(options.out / "answers.md", "\n\n".join(block.rstrip("\n") for block in text) + "\n")


if __name__ == "__main__":
    run(parser_of_networks(__doc__), compare)
