"""How far a figure would move with other samples of the same kind, and whether two methods differ by more than that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from tlkeras.evaluation.metrics import score
from tlkeras.evaluation.pairs import aligned_pairs, mcnemar_p, permutation_p
from tlkeras.evaluation.resampling import figures_of_draws, percentile_intervals
from tlkeras.evaluation.weighted_scores import metric_names
from tlkeras.schema import InputError, Predictions
from tlkeras.seeds import generator


def bootstrap(
    predictions: Predictions,
    *,
    positive_class: str | None = None,
    metrics: Iterable[str] | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Percentile bootstrap intervals of the figures of `metrics.score`, drawn over groups.

    Images of one patient or lesion are alike, so whole groups are drawn with replacement, as many as there are, and a
    figure is that of all images drawn. An image whose group is unknown is a group of its own. All figures see the same
    draws.
    Percentile interval: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. Whole clusters as the
    unit: Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.

    Args:
        predictions: labelled, at least one sample.
        positive_class: see `metrics.score`.
        metrics: the figures wanted, in this order; None gives all of `metric_names` but n.
        level: the share of draws inside the interval, between 0 and 1.
        draws: bootstrap draws.
        seed: the intervals are a function of the predictions and this.

    Returns:
        float64, index "metric", columns value (of the images as they are), low and high. The ends are NaN with fewer
        than two groups, which say nothing about their spread, and where more than 5 % of the draws leave the figure
        undefined (a class that few groups hold); where fewer do, they are of the draws that have it. Where all
        draws give one figure, both are NaN too: where every prediction is right, a bootstrap cannot see the errors that
        did not occur (of n images all right, up to 3 / n may well be wrong among others).

    Raises:
        InputError: what `metrics.score` refuses, or `level` or `draws` out of range.
    """
    _check_options(level, draws=draws)
    wanted = metric_names(predictions.samples.class_names, positive_class)[1:] if metrics is None else tuple(metrics)
    table = score(predictions, positive_class, wanted).to_frame()
    found = figures_of_draws([[predictions]], positive_class, wanted, draws, generator(seed, "bootstrap"))
    return table.join(percentile_intervals({metric: values[0] for metric, values in found.items()}, level))


def paired(
    first: Predictions | Sequence[Predictions],
    second: Predictions | Sequence[Predictions],
    *,
    metrics: Iterable[str] = ("accuracy",),
    positive_class: str | None = None,
    level: float = 0.95,
    draws: int = 2000,
    permutations: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """What two methods make of the same images: how far apart they are, and whether chance would do as much.

    p is that of a permutation test: if the methods were alike, it would not matter which of them said what, so for
    every group (patient, lesion; an image of unknown group is one) both methods' predictions change places or not by a
    coin, and p is how often the difference is then at least as far from 0 as it is (two-sided; Good, Permutation,
    Parametric and Bootstrap Tests of Hypotheses, 2005; `scipy.stats.permutation_test`: every choice where there are at
    most `permutations`, otherwise (b + 1) / (permutations + 1)). low and high are the percentile bootstrap interval of
    the difference, both methods on the same draws of groups, see `bootstrap`. Images are drawn again, trainings are
    not: all is said of these classifiers, and what another seed would have trained is not in it.

    Args:
        first: a method's predictions, or those of its seeds: then every figure is the mean over the seeds, and a group
            changes places, or is drawn, in all seeds together.
        second: the other method's on the same samples, in any order; seed i of one stands beside seed i of the other.
        metrics: figures of `metrics.score`.
        positive_class: see `metrics.score`.
        level: the share of draws inside the interval, between 0 and 1.
        draws: bootstrap draws.
        permutations: random permutations.
        seed: the table is a function of the predictions and this.

    Returns:
        float64, index "metric", columns first, second, difference (second - first), low, high, p, and mcnemar_p:
        McNemar's exact test (the binomial test of the images that one method alone has right), in the row "accuracy",
        where there is one seed and every group has one image: it takes images for independent. NaN is what is not
        defined; p is NaN where more than 5 % of the permutations leave the figure undefined, and fewer count as at
        least as far.

    Raises:
        InputError: what `metrics.score` refuses, samples that are not the same, lists of different lengths, or `level`,
            `draws` or `permutations` out of range.
    """
    _check_options(level, draws=draws, permutations=permutations)
    wanted = tuple(dict.fromkeys(metrics))
    pairs = aligned_pairs(first, second)
    table = pd.DataFrame(
        {
            name: np.mean([score(pair[side], positive_class, wanted) for pair in pairs], axis=0)
            for side, name in enumerate(("first", "second"))
        },
        index=pd.Index(wanted, name="metric"),
    )
    table["difference"] = table["second"] - table["first"]
    found = figures_of_draws(pairs, positive_class, wanted, draws, generator(seed, "paired", "draws"))
    table = table.join(percentile_intervals({metric: values[1] - values[0] for metric, values in found.items()}, level))
    table["p"] = [
        permutation_p(pairs, metric, positive_class, permutations, generator(seed, "paired", "permutations"))
        if np.isfinite(table.loc[metric, "difference"])
        else np.nan
        for metric in wanted
    ]
    table["mcnemar_p"] = [mcnemar_p(pairs) if metric == "accuracy" else np.nan for metric in wanted]
    return table


def paired_table(
    methods: Mapping[str, Predictions | Sequence[Predictions]],
    metric: str = "accuracy",
    *,
    pairs: Iterable[tuple[str, str]] | None = None,
    **options: object,
) -> pd.DataFrame:
    """`paired` for every two methods of one part, and Holm's correction over the table.

    Args:
        methods: {name: predictions, or those of its seeds}, at least two.
        metric: the figure compared.
        pairs: the two names of each row; None takes every two.
        options: as `paired` takes them.

    Returns:
        One row per pair, columns first_method, second_method, metric, then those of `paired`, then p_holm of `holm`.

    Raises:
        InputError: fewer than two methods, or what `paired` refuses.
    """
    if len(methods) < 2:
        raise InputError(f"methods: received {list(methods)}; a comparison needs at least two.")
    pairs = list(combinations(methods, 2) if pairs is None else pairs)
    unknown = [name for pair in pairs for name in pair if name not in methods]
    if unknown or not pairs:
        raise InputError(
            f"pairs: received {unknown[0] if unknown else pairs!r}; accepted is at least one pair of two names of "
            f"{', '.join(methods)}."
        )
    rows = [
        paired(methods[first], methods[second], metrics=(metric,), **options)
        .reset_index()
        .assign(first_method=first, second_method=second)
        for first, second in pairs
    ]
    table = holm(pd.concat(rows, ignore_index=True))
    return table[["first_method", "second_method", *table.columns.drop(["first_method", "second_method"])]]


def holm(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column p_holm: its p, raised so that the chance of any false claim in the table stays below the
    level asked for (Holm, Scandinavian Journal of Statistics 6, 1979). Rows without a p are no part of the correction.
    """
    from statsmodels.stats.multitest import multipletests

    defined, corrected = table["p"].notna(), pd.Series(np.nan, table.index)
    if defined.any():
        corrected[defined] = multipletests(table.loc[defined, "p"], method="holm")[1]
    return table.assign(p_holm=corrected)


def baseline(train_counts: Mapping[str, int], predictions: Predictions) -> Predictions:
    """What answering without looking reaches: each class's share of the training images, for every sample.

    So the predicted class is the commonest one (scikit-learn's `DummyClassifier(strategy="prior")`).

    Args:
        train_counts: {class name: training images}, e.g. `splits.train.class_counts()`.
        predictions: a method's, whose samples are taken.

    Raises:
        InputError: other classes, or no training image.
    """
    names = predictions.samples.class_names
    if set(train_counts) != set(names) or sum(train_counts.values()) < 1:
        raise InputError(
            f"train_counts: received {dict(train_counts)}; accepted are the training images of the classes "
            f"{list(names)}, at least one in all."
        )
    counts = np.array([train_counts[name] for name in names], dtype=np.float64)
    shares = (counts / counts.sum()).astype(np.float32)
    return Predictions(predictions.samples, np.tile(shares, (len(predictions), 1)))


def _check_options(level: float, **counts: int) -> None:
    if not 0 < level < 1:
        raise InputError(f"level: received {level}; accepted is a number between 0 and 1, such as 0.95.")
    for name, count in counts.items():
        if not isinstance(count, int | np.integer) or count < 1:
            raise InputError(f"{name}: received {count!r}; accepted is a whole number of at least 1, such as 2000.")
