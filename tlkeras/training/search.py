"""A grid of settings, each judged by cross-validation on the training images; the best one is fitted on all of them.

The cells of the grid are spread by joblib: `joblib.parallel_config(backend="loky" | "ray", n_jobs=...)` around `fit`
decides where they run. Declarations only: importing this module loads no TensorFlow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

from tlkeras.checks import Constraint, check_fields, one_of
from tlkeras.data.splits import KFold
from tlkeras.errors import InputError
from tlkeras.schema import Samples
from tlkeras.training.recipe import NetworkRecipe, Recipe, Weights, describe_in_words, words_of

if TYPE_CHECKING:
    import numpy as np

    from tlkeras.training.feature_store import FeatureStore
    from tlkeras.training.searched_classifier import SearchedClassifier

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss", "balanced_log_loss")
_SMOKE_EPOCHS = (1, 2)
# Of a recipe: phases go by their fields; weights belong to one backbone, and are looked up once for all cells.
_NOT_VARIED = {"phases", "backbone", "weights"}


@dataclass(frozen=True)
class Search(Recipe):
    """A recipe whose settings are chosen by cross-validation over a grid.

    Args:
        recipe: a Tuner, Extractor or PixelBaseline.
        grid: {name: values}, in the order of the table. A name is a field of the recipe ("batch_size"), a field in one
            of its parts ("head.dropout", "arguments.n_neighbors"), a phase's ("phase_2.learning_rate"), or a bare
            field of the only phase ("learning_rate", "epochs"). Not the backbone or its weights: other networks are
            other searches.
        folds: how the training images are cut, stratified, groups on one side. A fold has no validation part: nothing
            in it is chosen but by the grid itself.
        metric: what ranks the settings, by its mean over the folds: "accuracy", "balanced_accuracy", "macro_f1",
            "roc_auc" (each class against the rest, averaged), "log_loss" or "balanced_log_loss" (the mean over the
            classes of theirs), as `tl.score` has them; of a loss the least is the best. All but accuracy and log loss
            need an image of each class in each fold. None takes "balanced_accuracy" where a Tuner of the grid has
            `imbalance`, "accuracy" where none has.

    Raises:
        InputError: names the field, what it received and what it accepts; for every setting of the grid.
    """

    fit_options: ClassVar[tuple[str, ...]] = ("weights_folder", "store", "memory_budget", "folder", "checkpoint")
    searches: ClassVar[bool] = True

    recipe: Recipe
    grid: Mapping[str, Sequence[Any]] = field(hash=False)
    folds: KFold = KFold(5)
    metric: str | None = None

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "folds": Constraint(" is a tl.KFold with val=0", lambda folds: isinstance(folds, KFold) and not folds.val),
        "metric": one_of(*METRICS, None),
    }

    def __post_init__(self):
        if not isinstance(self.recipe, Recipe) or self.recipe.searches:
            raise InputError(
                f"Search.recipe: received {type(self.recipe).__name__}; accepted: a tl.Tuner, tl.Extractor or "
                "tl.PixelBaseline."
            )
        check_fields(self, self._accepts)
        object.__setattr__(self, "grid", _as_grid(self.grid))
        seen: dict[str, dict[str, Any]] = {}
        for setting in self.settings:
            recipe = with_setting(self.recipe, setting)
            if recipe.not_searchable is not None:
                raise InputError(f"Search.recipe: {recipe.not_searchable}")
            same = seen.setdefault(json.dumps(recipe.describe(), sort_keys=True), setting)
            if same is not setting:
                raise InputError(f"Search.grid: {same} and {setting} are the same recipe; give each value once.")

    @property
    def settings(self) -> tuple[dict[str, Any], ...]:
        """Every combination of values, the last name varying fastest."""
        return tuple(dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values()))

    @property
    def settings_in_table(self) -> tuple[dict[str, int | float | str], ...]:
        """`settings`, each value as a table's column holds it."""
        return tuple({name: describe_in_words(value) for name, value in each.items()} for each in self.settings)

    @property
    def ranked_by(self) -> str:
        """The metric, where None was given that of the recipes in the grid."""
        if self.metric is not None:
            return self.metric
        defaults = {with_setting(self.recipe, setting).default_metric for setting in self.settings}
        return "accuracy" if defaults == {"accuracy"} else "balanced_accuracy"

    @classmethod
    def of_earlier(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields as they stand in the description of an earlier version: it ranked by accuracy, unsaid."""
        return {"metric": "accuracy", **values}

    def describe(self) -> dict[str, Any]:
        """The fields by name as plain JSON values, as run folders keep them. Accuracy, which earlier versions knew
        alone, goes without saying."""
        described = super().describe() | {"metric": self.ranked_by}
        return {name: value for name, value in described.items() if (name, value) != ("metric", "accuracy")}

    def words(self) -> dict[str, str]:
        """{setting: in words}; what the grid varies stands in place of the recipe's own value, which no cell has."""
        told = {"learning_rate": "learning rate", "epochs": "epochs per phase", "batch_size": "batch size"}
        varied = {name: " or ".join(map(words_of, values)) for name, values in self.grid.items()}
        return {
            **self.recipe.words(),
            **{told.get(name, name): f"{words}, by cross-validation" for name, words in varied.items()},
            "ranked by": self.ranked_by,
            "folds": str(self.folds.n_folds) + ("" if self.folds.respect_groups else ", image by image"),
        }

    @property
    def usual_words(self) -> Mapping[str, str]:
        """What goes without saying of `words`."""
        return {**self.recipe.usual_words, "ranked by": "accuracy"}

    @property
    def network(self) -> NetworkRecipe | None:
        """The part of the recipe that names a backbone and its weights, None for pixels."""
        return self.recipe.network

    @property
    def keeps_model(self) -> bool:
        """Whether a run folder keeps the classifier."""
        return self.recipe.keeps_model

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.recipe.image_size

    @property
    def resize(self) -> str:
        """How images come to that size."""
        return self.recipe.resize

    def starting_from(self, weights: Weights) -> Search:
        """The same search with other weights."""
        return replace(self, recipe=self.recipe.starting_from(weights))

    def resized(self, image_size: tuple[int, int]) -> Search:
        """The same search at another image size."""
        return replace(self, recipe=self.recipe.resized(image_size))

    def in_precision(self, precision: str) -> Search:
        """The same search computing in another precision."""
        return replace(self, recipe=self.recipe.in_precision(precision))

    def for_smoke(self, side: int) -> Search:
        """The same search, small enough to see in seconds whether it runs: two folds, two values a name."""
        grid = {
            name: _SMOKE_EPOCHS[: len(values)] if name.split(".")[-1] == "epochs" else values[:2]
            for name, values in self.grid.items()
        }
        return Search(self.recipe.for_smoke(side), grid, replace(self.folds, n_folds=2), self.ranked_by)

    def fit(
        self,
        train: Samples | tuple[np.ndarray, np.ndarray],
        val: Samples | tuple[np.ndarray, np.ndarray] | None = None,
        *,
        seed: int,
        weights_folder: str | None = None,
        store: FeatureStore | str | os.PathLike | bool = True,
        memory_budget: str | int | None = None,
        folder: str | os.PathLike | None = None,
        checkpoint: str | os.PathLike | None = None,
    ) -> SearchedClassifier:
        """Runs the grid, then fits the recipe with its best setting on all training images.

        Settings that differ only in the epochs of the last phase are answered by one run to the largest, which is what
        each of them would have been on its way, unless something in it is made for the whole phase, as a cosine is.
        Ties in the mean go to the fewest epochs, then to the lower rate, then to what comes first in the grid.

        Args:
            train: training samples with labels, or (images, labels); the folds are cut from them.
            val: accepted as every recipe does; nothing is chosen by it, and nothing fitted to it.
            seed: the folds are a function of it, every cell's training of it and the fold's number, the last fit of
                it. Where cells run changes nothing.
            weights_folder: where weight files are looked for first; see `tlkeras.models.weights`.
            store: as in `Tuner.fit`; all cells share it, so that frozen layers see each image once.
            memory_budget: as in `Tuner.fit`, for each cell; None shares half of what is free among those that run at a
                time.
            folder: finished cells are kept in it, and found there by a later call with the same images, recipe, seed
                and versions; None keeps none. On several hosts it has to be on a disk they share. A Backbone of your
                own is known by the name of its constructor: clear the folder when you change it.
            checkpoint: as in `Tuner.fit`, of the last fit; where the recipe is an Extractor it has no use.

        Raises:
            InputError: as the recipe's own fit; a fold without an image of some class, where the metric needs one. A
                cell whose loss is no longer a number is no error: its images count as wrongly predicted, and surely so.
        """
        from tlkeras.training.grid import fit_search

        return fit_search(
            self,
            train,
            val,
            seed=seed,
            weights_folder=weights_folder,
            store=store,
            memory_budget=memory_budget,
            folder=folder,
            checkpoint=checkpoint,
        )


def with_setting(recipe: Recipe, setting: Mapping[str, Any]) -> Recipe:
    """The recipe with the values of one setting.

    Raises:
        InputError: a name that the recipe does not have, or a value that it does not accept.
    """
    for name, value in setting.items():
        recipe = _with(recipe, name, value)
    return recipe


def last_epochs(recipe: Recipe) -> int | None:
    """The epochs of the last phase where a run to more of them passes through this recipe's end; None where not."""
    if not recipe.phases or not recipe.phases[-1].is_a_beginning:
        return None
    return recipe.phases[-1].epochs


def to_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe, which has phases, with so many epochs in the last of them."""
    return replace(recipe, phases=(*recipe.phases[:-1], replace(recipe.phases[-1], epochs=epochs)))


def _as_grid(given: Any) -> dict[str, tuple[Any, ...]]:
    accepted = "accepted: {name: values}, each with a list of one value or more"
    if not isinstance(given, Mapping) or not given:
        raise InputError(f"Search.grid: received {given!r}; {accepted}.")
    grid = {}
    for name, values in given.items():
        values = values.tolist() if hasattr(values, "tolist") else values  # of NumPy, to numbers of Python
        if not isinstance(values, tuple | list | range) or not values:
            raise InputError(f"Search.grid: received {values!r} for {name!r}; {accepted}.")
        if any(hasattr(value, "get_config") for value in values):
            raise InputError(
                f"Search.grid: received an object of Keras for {name!r}, which no table can tell from another; "
                "accepted are values that can be written down, such as an optimizer's name."
            )
        grid[str(name)] = tuple(values)
    return grid


def _with(recipe: Recipe, name: str, value: Any) -> Recipe:
    first, *rest = name.split(".")
    phases = recipe.phases
    fields_of = [{item.name for item in fields(phase)} for phase in phases]
    names = {item.name for item in fields(recipe)} - _NOT_VARIED
    if not rest and first in names:
        return replace(recipe, **{first: value})
    if len(rest) == 1 and first in names:
        return replace(recipe, **{first: _part_with(getattr(recipe, first), rest[0], value, name)})
    number = 0
    having = [n for n, names in enumerate(fields_of, start=1) if first in names]
    if not rest and having and len(phases) == 1:
        number, rest = 1, [first]
    elif len(rest) == 1 and any(first == f"phase_{n}" and rest[0] in of for n, of in enumerate(fields_of, start=1)):
        number = int(first.removeprefix("phase_"))
    if not rest and having and len(phases) > 1:
        meant = " or ".join(f"phase_{n}.{first}" for n in having)
        raise InputError(f"Search.grid: {first!r} of which phase? Accepted: {meant}.")
    if not rest and first in _NOT_VARIED - {"phases"}:
        raise InputError(
            f"Search.grid: {first!r} cannot be varied; each network and its weights is a search of its own."
        )
    if not number:
        raise InputError(
            f"Search.grid: {name!r} is nothing of this {type(recipe).__name__}; accepted: "
            f"{', '.join(_accepted(recipe))}."
        )
    changed = [replace(phase, **{rest[0]: value}) if n == number else phase for n, phase in enumerate(phases, start=1)]
    return replace(recipe, phases=tuple(changed))


def _part_with(part: Any, name: str, value: Any, full_name: str) -> object:
    if isinstance(part, Mapping):
        return {**part, name: value}
    if is_dataclass(part) and not isinstance(part, type) and name in {item.name for item in fields(part)}:
        return replace(part, **{name: value})
    raise InputError(f"Search.grid: {full_name!r} names no field of {part!r}.")


def _accepted(recipe: Recipe) -> Iterator[str]:
    yield from (item.name for item in fields(recipe) if item.name not in _NOT_VARIED)
    for number in range(1, len(recipe.phases) + 1):
        prefix = "" if len(recipe.phases) == 1 else f"phase_{number}."
        yield from (prefix + item.name for item in fields(recipe.phases[number - 1]))
