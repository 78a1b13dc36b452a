"""Cross-validation of a recipe: each image predicted by a classifier that saw neither it nor others of its group."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np

from tlkeras.checks import check_whole
from tlkeras.data.splits import KFold
from tlkeras.errors import InputError
from tlkeras.evaluation.metrics import score
from tlkeras.machine import available_memory
from tlkeras.progress import say, silenced
from tlkeras.schema import Predictions, Samples
from tlkeras.training.checks import check_val, samples_to_fit
from tlkeras.training.feature_store import FeatureStore, fit_options_of
from tlkeras.training.recipe import Recipe
from tlkeras.training.tuner import Tuner

if TYPE_CHECKING:
    import pandas as pd

    from tlkeras.training.feature_classifier import FeatureClassifier
    from tlkeras.training.searched_classifier import SearchedClassifier
    from tlkeras.training.tuned_classifier import TunedClassifier

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss")


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """What `cross_validate` found.

    Attributes:
        predictions: for each seed the probabilities of all n images, in order, each by the fold that held it out:
            `tl.intervals(predictions)` has intervals over groups and seeds, `tl.paired(one.predictions,
            other.predictions)` compares two recipes, `tl.score(predictions[0])` has the figures of one seed.
        fold_of: int (seeds, n), the fold that held each image out.
        seeds: of each row.
        classifiers: for each seed those of the folds where they were asked for, as the recipe's `fit` gives them, e.g.
            a Tuner's for tl.Ensemble; else ().
    """

    predictions: tuple[Predictions, ...]
    fold_of: np.ndarray = field(repr=False)
    seeds: tuple[int, ...]
    classifiers: tuple[tuple[TunedClassifier | FeatureClassifier | SearchedClassifier, ...], ...] = field(
        default=(), repr=False
    )

    def by_fold(self, metrics: Iterable[str] = FIGURES) -> pd.DataFrame:
        """What each fold alone would have said: one row per seed and fold, columns seed, fold, images, groups and the
        figures of `tl.score`."""
        import pandas as pd

        metrics, rows = list(metrics), []
        for seed, found, fold_of in zip(self.seeds, self.predictions, self.fold_of, strict=True):
            for fold in np.unique(fold_of):
                held_out = np.flatnonzero(fold_of == fold)
                samples = found.samples.take(held_out)
                scores = score(Predictions(samples=samples, probs=found.probs[held_out]))
                n_groups = len(held_out) if samples.groups is None else len(set(samples.groups))
                rows.append([seed, int(fold), len(held_out), n_groups, *(scores[name] for name in metrics)])
        return pd.DataFrame(rows, columns=["seed", "fold", "images", "groups", *metrics])


def cross_validate(
    recipe: Recipe,
    samples: Samples,
    *,
    folds: int | KFold = 5,
    seeds: Sequence[int] = (0,),
    weights_folder: str | None = None,
    store: FeatureStore | str | os.PathLike | bool = True,
    keep_classifiers: bool = False,
) -> CrossValidated:
    """Fits a recipe once for each fold and seed, and predicts the images that the fold holds out.

    Of few patients a single split says little: which of them are in its test part moves the figure by more than most
    methods differ. Here every image is in a test part once. Each seed draws its own folds. Layers that never learn run
    once per image, whatever the number of folds: their features are found in the feature store. Fits are spread by
    joblib: `with joblib.parallel_config(backend="loky", n_jobs=2)` around the call.

    Args:
        recipe: a Tuner, Extractor, PixelBaseline or Search.
        samples: n labelled images.
        folds: their number, with 15 % of the images of each for validation, or a tl.KFold.
        seeds: one round of all folds for each.
        weights_folder: where weight files are looked for first.
        store: as in `Tuner.fit`.
        keep_classifiers: keep the classifiers of all folds, which takes the memory of all of them.

    Raises:
        InputError: what the folds or the recipe refuse; of a fold that lacks a class, before anything is fitted.
        DivergedError: the loss of a fit is no longer finite.
    """
    if not isinstance(recipe, Recipe):
        raise InputError(
            f"recipe: received {type(recipe).__name__}; accepted: a tl.Tuner, tl.Extractor, tl.PixelBaseline or "
            "tl.Search."
        )
    folds = folds if isinstance(folds, KFold) else KFold(check_whole("folds", folds, 2), val=0.15)
    seeds = tuple(check_whole("seeds", seed) for seed in seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"seeds: received {seeds}; accepted is at least one, each once, e.g. seeds=(0, 1, 2).")
    if recipe.network is not None and recipe.network.precision == "auto":
        raise InputError(
            'recipe: its precision is "auto", which is timed anew in every fit, so that folds could compute in '
            'different ones. Name one: "float32", "bfloat16" or "float16".'
        )
    options = fit_options_of(recipe, weights_folder, store)
    if "memory_budget" in recipe.fit_options:
        options["memory_budget"] = available_memory() // 2 // joblib.effective_n_jobs(None)
    jobs, fold_of = [], np.zeros((len(seeds), len(samples)), np.int64)
    for row, seed in enumerate(seeds):
        for fold, splits in enumerate(folds.folds(samples, seed=seed)):
            held_out = np.isin(samples.sample_ids, splits.test.sample_ids)
            fold_of[row, held_out] = fold
            try:  # before anything is fitted
                _, val = samples_to_fit(splits.train, splits.val)
                if isinstance(recipe, Tuner):
                    check_val(recipe.resolved, val)
            except InputError as error:
                raise InputError(f"seed {seed}, fold {fold + 1} of {folds.n_folds}: {error}") from None
            jobs.append((row, held_out, splits, seed))
    say(f"cross-validation: {folds.n_folds} folds x {len(seeds)} seeds of {len(samples):,} images")
    probs = np.zeros((len(seeds), len(samples), len(samples.class_names)), np.float32)
    kept: list[list] = [[] for _ in seeds]
    # The first one alone: where the features of frozen layers are computed, those that follow find most of them.
    first = [_fitted(recipe, jobs[0], options, keep_classifiers)]
    spread = joblib.Parallel(return_as="generator")
    found = spread(joblib.delayed(_fitted)(recipe, job, options, keep_classifiers) for job in jobs[1:])
    for (row, held_out, splits, _), (of_fold, classifier) in zip(jobs, chain(first, found), strict=True):
        probs[row, held_out] = of_fold
        kept[row].append(classifier)
        right = np.mean(of_fold.argmax(axis=1) == splits.test.labels)
        say(f"  seed {seeds[row]}, fold {len(kept[row])}: accuracy {right:.3f}")
    return CrossValidated(
        tuple(Predictions(samples=samples, probs=of_seed) for of_seed in probs),
        fold_of,
        seeds,
        tuple(map(tuple, kept)) if keep_classifiers else (),
    )


def _fitted(recipe: Recipe, job: tuple, options: dict, keep: bool) -> tuple[np.ndarray, Any]:
    _, _, splits, seed = job
    with silenced():  # what each fit says of itself is said once by the whole
        classifier = recipe.fit(splits.train, splits.val, seed=seed, **options)
        found = classifier.predict(splits.test)
    return found.probs, classifier if keep else None
