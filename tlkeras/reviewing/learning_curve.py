"""More images or not: how a figure grows with the number of patients, and what twice as many would bring."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from tlkeras.checks import check_whole, is_whole, real
from tlkeras.data.splits import joined_groups
from tlkeras.errors import InputError
from tlkeras.evaluation.intervals import check_level, intervals
from tlkeras.evaluation.metrics import score
from tlkeras.evaluation.resampling import figures_under, group_numbers, in_chunks
from tlkeras.evaluation.weighted_scores import metric_names
from tlkeras.progress import say, silenced
from tlkeras.schema import Predictions, Samples, Splits
from tlkeras.seeds import generator
from tlkeras.training.extractor import Extractor
from tlkeras.training.feature_store import FeatureStore, fit_options_of
from tlkeras.training.recipe import Recipe

SMALLEST = 1 / 16  # of the groups, the smallest of the default sizes
LOSSES = ("log_loss", "balanced_log_loss", "brier")
OF_NO_CURVE = ("n", "ece", "ece_by_chance")
DRAWS = 500
FLAT = 1e-3  # of a figure between the smallest and the largest size
LEAST_SIZES = 4  # a curve of three parameters, and one more
_STEEPEST = 2.0  # exponents that were seen lie between 0.07 and 0.5, classical ones reach 1


@dataclass(frozen=True)
class PowerLaw:
    """figure = limit -+ scale * n ** -exponent: what n groups come to. It gets better with more of them or stays.

    Attributes:
        limit: what it comes to with ever more groups; an exponent near 0 tells nothing of it.
        scale: 0 or above.
        exponent: of n.
        falls: whether the figure falls towards its limit (a loss), or rises.
    """

    limit: float
    scale: float
    exponent: float
    falls: bool

    def __call__(self, n_groups: float | np.ndarray) -> float | np.ndarray:
        """The figure with so many groups."""
        left = self.scale * np.asarray(n_groups, np.float64) ** -self.exponent
        return self.limit + left if self.falls else self.limit - left


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """What `learning_curve` found.

    Attributes:
        metric: of `tl.score`.
        table: float64, index "groups" (how many were learnt from), columns images (mean over the seeds), value, low and
            high (over seeds and test groups; see `tl.intervals`), curve (the power law).
        seeds: of each size.
        law: fitted to the values of all sizes; None where it cannot be: fewer than 4 sizes, or a figure undefined.
        laws: the same of test groups and seeds drawn again, from which intervals come.
        predictions: {groups: those of each seed}, of the test part.
    """

    metric: str
    table: pd.DataFrame
    seeds: tuple[int, ...]
    law: PowerLaw | None
    laws: tuple[PowerLaw, ...] = field(repr=False)
    predictions: dict[int, tuple[Predictions, ...]] = field(repr=False)

    @property
    def improves(self) -> bool:
        """Whether the figure gets better with more groups over the sizes that were tried; where it does not, no law of
        it tells what more would bring."""
        if self.law is None:
            return False
        smallest, largest = self.table.index[0], self.table.index[-1]
        return bool(abs(self.law(largest) - self.law(smallest)) > FLAT)

    def at(self, n_groups: int, *, level: float = 0.95) -> tuple[float, float, float]:
        """What so many groups would come to: value, low and high.

        The interval holds what other test groups, and other draws of these training groups, would have made of the
        curve; at the largest size all draws are the same, and other training groups than these are in none. That the
        curve goes on as it began nobody knows: twice the groups is a guess, ten times is none.

        Raises:
            InputError: no law could be fitted, or `n_groups` below 1.
        """
        n_groups = check_whole("n_groups", n_groups, 1)
        return self._of_laws(lambda law: law(n_groups), level)

    def gain(self, times: float = 2, *, level: float = 0.95) -> tuple[float, float, float]:
        """By how much the figure would change with so many times the groups of the largest size: value, low and high.

        Raises:
            InputError: no law could be fitted, or `times` below 1.
        """
        times, largest = real(least=1).check("times", times), float(self.table.index[-1])
        return self._of_laws(lambda law: law(times * largest) - law(largest), level)

    def _of_laws(self, told, level: float) -> tuple[float, float, float]:
        check_level(level)
        if self.law is None or not self.laws:
            raise InputError(
                f"learning_curve: there is no curve of {self.metric}: it takes {LEAST_SIZES} sizes or more, of each of "
                "which the figure is defined."
            )
        low, high = np.quantile([told(law) for law in self.laws], [(1 - level) / 2, (1 + level) / 2])
        value = float(told(self.law))
        return value, float(min(low, value)), float(max(high, value))


def learning_curve(
    recipe: Recipe,
    splits: Splits,
    *,
    sizes: int | Sequence[int] = 6,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    metric: str = "accuracy",
    positive_class: str | None = None,
    weights_folder: str | None = None,
    store: FeatureStore | str | os.PathLike | bool = True,
    seed: int = 0,
) -> LearningCurve:
    """How a figure grows with the number of patients or lesions that are learnt from, and where it goes.

    Whole groups are drawn, of each class its share, larger sizes holding the smaller ones; the test part stays as is.
    The curve is a power law (Hestness et al., Deep Learning Scaling is Predictable, Empirically, 2017; Viering & Loog,
    The Shape of Learning Curves, IEEE PAMI 45, 2023), fitted by least squares. Its intervals come from drawing test
    groups and seeds again, 500 times. An Extractor's features are computed once, with a feature store: then each size
    and seed takes the time of its classifier alone, and of all groups one fit serves every seed unless seeds move it.

    Args:
        recipe: a Tuner, Extractor, PixelBaseline or Search.
        splits: its one test part is predicted.
        sizes: how many, evenly spaced by their logarithm up to all training groups; or the numbers of groups.
        seeds: each draws other groups, and fits with it.
        metric: of `tl.score`: a share in 0..1, or a loss.
        positive_class: as in `tl.score`.
        weights_folder: as in the recipe's `fit`.
        store: likewise.
        seed: of the intervals.

    Raises:
        InputError: what the recipe refuses of the training images, more groups than there are, sizes too small to hold
            every class, seeds that are none, or another metric.
    """
    train, test = splits.train, splits.test
    accepted = [name for name in metric_names(train.class_names, positive_class) if name not in OF_NO_CURVE]
    if metric not in accepted:
        raise InputError(f"metric: received {metric!r}; accepted: {', '.join(accepted)}.")
    seeds = tuple(seeds)
    if not seeds or not all(map(is_whole, seeds)) or len(set(seeds)) < len(seeds):
        raise InputError(f"seeds: received {seeds!r}; accepted are one or more integers, each once.")
    groups = joined_groups(train)
    orders = {each: _ordered_groups(train, groups, each) for each in seeds}
    n_groups = len(next(iter(orders.values())))
    chosen = _sizes(sizes, n_groups, min(len(train.class_names), n_groups))
    fit = _fitting(recipe, weights_folder, store)
    no_seed_moves_it = isinstance(recipe, Extractor) and recipe.weights is not None and not recipe.draws
    of_fit: dict[tuple[bytes, int | None], Predictions] = {}
    found: dict[int, list[Predictions]] = {}
    images = {}
    # The largest first, which computes the features of all images.
    for size in reversed(chosen):
        images[size] = []
        for each in seeds:
            rows = np.flatnonzero(np.isin(groups, orders[each][:size]))
            images[size].append(len(rows))
            the_fit = rows.tobytes(), None if no_seed_moves_it else each
            if the_fit not in of_fit:
                with silenced():
                    classifier = fit(train.take(rows), splits.val, seed=each)
                    of_fit[the_fit] = classifier.predict(test)
            found.setdefault(size, []).append(of_fit[the_fit])
        figures = [score(predictions, positive_class, [metric]).iloc[0] for predictions in found[size]]
        say(f"learning curve: {size:,} groups, {metric} {np.mean(figures):.3f}")
    found = {size: found[size] for size in chosen}
    rows = [intervals(found[size], positive_class=positive_class, metrics=[metric]).iloc[0, :3] for size in chosen]
    table = pd.DataFrame(rows, index=pd.Index(chosen, name="groups"), dtype=np.float64)
    table.insert(0, "images", [np.mean(images[size]) for size in chosen])
    falls = metric in LOSSES
    law = fit_power_law(chosen, table["value"].to_numpy(), falls=falls)
    laws: tuple[PowerLaw, ...] = ()
    if law is not None:
        drawn = _drawn_again(found, metric, positive_class, generator(seed, "learning_curve"))
        fitted = (fit_power_law(chosen, values, falls=falls, start=law) for values in drawn)
        laws = tuple(each for each in fitted if each is not None)
    table["curve"] = np.nan if law is None else law(table.index.to_numpy())
    return LearningCurve(metric, table, seeds, law, laws, {size: tuple(of) for size, of in found.items()})


def _fitting(recipe: Recipe, weights_folder: str | None, store: FeatureStore | str | os.PathLike | bool) -> Callable:
    """The recipe's `fit` with these options; the network of an Extractor is built once."""
    options = fit_options_of(recipe, weights_folder, store)
    if isinstance(recipe, Extractor) and recipe.weights is not None:  # random weights are a function of the seed
        from tlkeras.training.feature_classifier import fit_extractor, network_features

        source = network_features(recipe, seed=0, **options)
        return partial(fit_extractor, recipe, source=source)
    return partial(recipe.fit, **options)


def fit_power_law(
    n_groups: Sequence[int], values: np.ndarray, *, falls: bool, start: PowerLaw | None = None
) -> PowerLaw | None:
    """The power law with the least squares; None of fewer than 4 sizes, or where a value is not defined.

    Args:
        n_groups: of each size.
        values: of each size; a share in 0..1, or a loss.
        falls: whether it falls with more groups.
        start: where the search begins; None tries several places.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    values = np.asarray(values, np.float64)
    if len(values) < LEAST_SIZES or not np.isfinite(values).all():
        return None
    relative = np.asarray(n_groups, np.float64) / n_groups[-1]  # so that all three parameters are about 1
    errors = values if falls else 1 - values
    starts = [(0.8 * errors.min(), errors.min() * 0.2 + 1e-3, 0.3), (0.0, errors.min() + 1e-3, 0.15)]
    if start is not None:
        starts = [_relative(start, n_groups[-1])]
    best, least = None, np.inf
    for guess in starts:
        guess = np.clip(guess, [0, 0, 1e-3], [max(errors.min(), 1e-9), np.inf, _STEEPEST])
        bounds = ([0, 0, 0], [max(errors.min(), 1e-9) + 1e-12, np.inf, _STEEPEST])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # where the values lie on a line: no covariance is used
            try:
                found, _ = curve_fit(_error, relative, errors, p0=guess, bounds=bounds, max_nfev=2000)
            except RuntimeError:  # no least squares in so many steps: another start may have some
                continue
        left = np.square(_error(relative, *found) - errors).sum()
        if left < least:
            best, least = found, left
    if best is None:
        return None
    limit, scale, exponent = best
    return PowerLaw(
        limit=float(limit if falls else 1 - limit),
        scale=float(scale * n_groups[-1] ** exponent),
        exponent=float(exponent),
        falls=falls,
    )


def _error(relative: np.ndarray, limit: float, scale: float, exponent: float) -> np.ndarray:
    return limit + scale * relative**-exponent


def _relative(law: PowerLaw, largest: int) -> tuple[float, float, float]:
    return (law.limit if law.falls else 1 - law.limit, law.scale * largest**-law.exponent, law.exponent)


def _sizes(sizes: int | Sequence[int], n_groups: int, least: int) -> list[int]:
    if is_whole(sizes):
        n_sizes = check_whole("sizes", sizes, 1)
        smallest = max(least, n_groups * SMALLEST)
        return sorted({round(size) for size in np.geomspace(n_groups, min(smallest, n_groups), n_sizes)})
    given = list(sizes) if isinstance(sizes, list | tuple | np.ndarray | range) else []
    if not given or not all(is_whole(size) and least <= size <= n_groups for size in given):
        raise InputError(
            f"sizes: received {sizes!r}; accepted is how many, or numbers of groups in {least}..{n_groups}."
        )
    return sorted({int(size) for size in given})


def _ordered_groups(train: Samples, groups: np.ndarray, seed: int) -> np.ndarray:
    """The names of all groups in an order of which every beginning holds the classes by their shares, each of them."""
    frame = pd.DataFrame({"group": groups, "label": train.known_labels})
    label_of = frame.groupby("group", sort=True)["label"].agg(lambda labels: labels.value_counts().index[0])
    rng, names, places = generator(seed, "learning_curve", "groups"), [], []
    for label in sorted(set(label_of)):
        of_class = rng.permutation(label_of.index[label_of == label].to_numpy(dtype=object))
        names.append(of_class)
        place = (np.arange(len(of_class)) + rng.random()) / len(of_class)
        place[0] = -1  # of every class one, at the very beginning
        places.append(place)
    return np.concatenate(names)[np.argsort(np.concatenate(places), kind="stable")]


def _drawn_again(
    found: dict[int, list[Predictions]], metric: str, positive_class: str | None, rng: np.random.Generator
) -> np.ndarray:
    """The values of all sizes with test groups and seeds drawn again: float64 (draws, sizes)."""
    n_seeds = len(next(iter(found.values())))
    units, n_units = group_numbers([next(iter(found.values()))[0]])
    drawn = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=DRAWS)
    # One seed draws the groups of all sizes, so that all sizes of it come along together.
    share = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=DRAWS) / n_seeds
    values = np.empty((DRAWS, len(found)))
    for column, of_size in enumerate(found.values()):
        for draws in in_chunks(DRAWS, len(units[0])):
            times = drawn[draws][:, units[0]]
            of_seeds = np.stack([figures_under(each, times, positive_class, (metric,))[0] for each in of_size], axis=1)
            values[draws, column] = (of_seeds * share[draws]).sum(axis=1)
    return values[np.isfinite(values).all(axis=1)]
