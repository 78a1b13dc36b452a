"""What every recipe is: something to fit, that says what it is in plain values and in words, and is read back."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from tlkeras.checks import check_image_size
from tlkeras.errors import InputError
from tlkeras.models.backbones import Backbone
from tlkeras.models.weights_file import WeightsFile
from tlkeras.models.zoo import get_backbone
from tlkeras.schema import Samples

if TYPE_CHECKING:
    import numpy as np

    from tlkeras.training.linear_probe import AnyPhase

# Where what a description names is found: recipes, and the parts they are made of.
_HOMES = {
    "Tuner": "training.tuner",
    "Phase": "training.phase",
    "LinearProbe": "training.linear_probe",
    "StepDecay": "training.schedules",
    "EMA": "training.averaging",
    "SWA": "training.averaging",
    "Loss": "training.loss",
    "KerasOptimizer": "training.optimizer_names",
    "Extractor": "training.extractor",
    "PixelBaseline": "training.pixel_baseline",
    "Search": "training.search",
    "EarlierRun": "training.recipe",
    "Head": "models.head",
    "Backbone": "models.backbones",
    "PublishedWeights": "models.backbones",
    "HubNetwork": "models.hub",
    "Augmentation": "data.augmentation",
    "RandAugment": "data.augmentation",
    "KFold": "data.splits",
}


@dataclass(frozen=True)
class EarlierRun:
    """A network that another experiment trained, as the weights a recipe starts from: its backbone layers are taken.

    The cell is that of `method` in the same protocol, with the same backbone and seed, in that experiment's run folder.
    """

    experiment: str
    method: str


Weights: TypeAlias = WeightsFile | EarlierRun | str | os.PathLike | None


class Recipe(ABC):
    """The face of Tuner, Extractor, PixelBaseline and Search, frozen dataclasses all of them.

    Attributes:
        learns_from: the parts of a split that the classifier is fitted to.
        fit_options: arguments that `fit` takes beside the images and the seed.
        searches: whether it chooses among the settings of a grid.
        keeps_model: whether a run folder keeps the classifier.
        phases: of the training of a network; () where none is trained.
        image_size: (height, width) in pixels.
        resize: how images come to that size, as in `tl.read_pixels`.
        usual_words: of `words`, what goes without saying; runs of earlier versions knew nothing else.
    """

    if TYPE_CHECKING:  # what tells a dataclass
        __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    learns_from: ClassVar[tuple[str, ...]] = ("train",)
    fit_options: ClassVar[tuple[str, ...]] = ()
    searches: ClassVar[bool] = False
    keeps_model: bool = False
    phases: tuple[AnyPhase, ...] = ()
    image_size: tuple[int, int]
    resize: str = "squash"
    usual_words: Mapping[str, str] = {}

    @abstractmethod
    def fit(
        self,
        train: Samples | tuple[np.ndarray, np.ndarray],
        val: Samples | tuple[np.ndarray, np.ndarray] | None = None,
        *,
        seed: int,
    ) -> Any:
        """A classifier with predict(samples), predict_pixels(images) and write_run(folder); takes `fit_options` too."""

    @abstractmethod
    def words(self) -> dict[str, str]:
        """{setting: in words}, as pages print them, all of them."""

    @abstractmethod
    def for_smoke(self, side: int) -> Self:
        """The same recipe, small enough to see in seconds whether it runs: images of about `side` pixels."""

    @property
    def network(self) -> NetworkRecipe | None:
        """The part that names a backbone and its weights; None where there is none."""
        return None

    def describe(self) -> dict[str, Any]:
        """The fields by name as plain JSON values, as run folders keep them; `from_description` reads them."""
        return {"type": type(self).__name__} | {
            each.name: describe(getattr(self, each.name)) for each in dataclasses.fields(self)
        }

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:
        """The recipe that `describe` gave these values of, in this version or an earlier one.

        Pages need no more than that. Of a Backbone of one's own the function that builds it comes back as its name,
        which `fit` refuses where keras.applications has none of it. Further arguments of scikit-learn's classes come
        back as JSON keeps them: lists as tuples, keys as str.

        Raises:
            InputError: not a description of such a recipe, or one of a later version.
        """
        found = _read(values) if isinstance(values, Mapping) else values
        if not isinstance(found, cls):
            whose = "a recipe" if cls is Recipe else f"a tl.{cls.__name__}"
            raise InputError(
                f"recipe: received {textwrap.shorten(repr(values), 80)}; accepted is what `describe` of {whose} gives, "
                "as cell.json keeps it."
            )
        return found

    def notable_words(self) -> dict[str, str]:
        """`words` without what goes without saying."""
        return {name: words for name, words in self.words().items() if self.usual_words.get(name) != words}

    def resized(self, image_size: tuple[int, int]) -> Self:
        """The same recipe at another image size."""
        return dataclasses.replace(self, image_size=image_size)

    def starting_from(self, weights: Weights) -> Self:
        """The same recipe with other weights; one without a network has none, and is as it was."""
        return self

    def in_precision(self, precision: str) -> Self:
        """The same recipe computing in another precision; one without a network is as it was."""
        return self

    @property
    def not_searchable(self) -> str | None:
        """Why a fold, which has no validation images, cannot fit it as it is, in words; None where it can."""
        return None

    @property
    def default_metric(self) -> str:
        """What ranks its settings in a search where nothing is named."""
        return "accuracy"


class NetworkRecipe(Recipe):
    """A recipe that names a backbone and its weights: Tuner and Extractor.

    Attributes:
        backbone: a name of `tl.BACKBONES`, or a Backbone of one's own.
        weights: where the network's come from.
        preprocessing: "backbone", or what stands in its place.
        precision: what the network computes in.
        feature_dtype: how the features of frozen layers are kept.
    """

    usual_words: ClassVar[Mapping[str, str]] = {
        "precision": "float32",
        "features kept in": "float32",
        "resizing": "squash",
    }

    backbone: str | Backbone
    weights: Weights
    preprocessing: str
    precision: str
    feature_dtype: str

    @property
    def network(self) -> NetworkRecipe:
        """The recipe itself."""
        return self

    @property
    def own_preprocessing(self) -> str:
        """What it puts in front of its network, "backbone" resolved."""
        row = get_backbone(self.backbone)
        return row.preprocessing if self.preprocessing == "backbone" else self.preprocessing

    def starting_from(self, weights: Weights) -> Self:
        """The same recipe with other weights."""
        return dataclasses.replace(self, weights=weights)

    def in_precision(self, precision: str) -> Self:
        """The same recipe computing in another precision."""
        return dataclasses.replace(self, precision=precision)

    def _side_for_smoke(self, side: int) -> tuple[int, int]:
        side = max(side, get_backbone(self.backbone).min_size)
        return side, side

    def _checked_image_size(self) -> tuple[int, int]:
        row = get_backbone(self.backbone)
        size = self.image_size if self.image_size is not None else (row.native_size, row.native_size)
        return check_image_size(size, smallest=row.min_size, network=row.name)

    def _input_words(self) -> dict[str, str]:
        return {
            "weights": "ImageNet" if self.weights == "imagenet" else words_of(self.weights),
            "image size": "x".join(map(str, self.image_size)),
            "resizing": self.resize,
            "preprocessing": self.preprocessing,
        }

    def _number_words(self) -> dict[str, str]:
        return {"precision": self.precision, "features kept in": self.feature_dtype}


def describe(value: Any) -> Any:
    """A recipe, split or table row as plain JSON values, class names included, so that two can be compared."""
    if hasattr(value, "describe") and not isinstance(value, type):  # it says itself what is to be kept of it
        return describe(value.describe())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, functools.partial):
        return {"partial": describe(value.func), "arguments": describe([*value.args, value.keywords])}
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, tuple | list | range):
        return [describe(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return getattr(value, "__qualname__", str(value))


def _read(value: Any) -> Any:
    """What `describe` described; lists come as tuples."""
    if isinstance(value, list | tuple):
        return tuple(map(_read, value))
    if not isinstance(value, Mapping):
        return value
    given: dict[str, Any] = {name: _read(item) for name, item in value.items()}
    if {"path", "sha256", "source"} <= given.keys():
        given["path"] = Path(given["path"])
        return WeightsFile(**given)
    if "type" not in given:
        return given
    kind = given.pop("type")
    if kind not in _HOMES:
        raise InputError(
            f"recipe: received a {kind!r}; accepted: {', '.join(_HOMES)}. It was described by a later version than "
            f"this tlkeras {version('tlkeras')}, or by other code; read it with that one."
        )
    home = getattr(import_module(f"tlkeras.{_HOMES[kind]}"), kind)
    later = given.keys() - {each.name for each in dataclasses.fields(home)}
    if later:
        raise InputError(
            f"recipe: received the field {kind}.{sorted(later)[0]}, which tlkeras {version('tlkeras')} does not know. "
            "It was described by a later version; read it with that one."
        )
    if hasattr(home, "of_earlier"):
        given = home.of_earlier(given)
    return home(**given)


def in_this_version(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that an earlier version kept, with the recipe they may name as this one describes it: fields that came
    later are named."""
    if "recipe" not in settings:
        return dict(settings)
    return {**settings, "recipe": Recipe.from_description(settings["recipe"]).describe()}


def describe_in_words(value: object) -> int | float | str:
    """A described value as a table's column holds it: numbers and words as they are, anything else as its JSON."""
    plain = describe(value)
    return plain if isinstance(plain, int | float | str) else json.dumps(plain)


def words_of(value: object) -> str:
    """A setting as pages print it: "none", "yes", "0.001", "[128, 64]", "rotation_range=15, fill_mode=nearest"."""
    if isinstance(value, EarlierRun):
        return f"of {value.experiment}, {value.method}"
    plain = describe(value)
    if plain is None or isinstance(plain, bool):  # before the numbers: True equals 1
        return {None: "none", True: "yes", False: "no"}[plain]
    if isinstance(plain, dict):  # a schedule or an augmentation: its name, and what is not at its default
        given = {name: item for name, item in plain.items() if name != "type" and item not in (0, None)}
        return ", ".join(f"{name}={words_of(item)}" for name, item in given.items()) or plain.get("type", "none")
    if isinstance(plain, list):
        return "[" + ", ".join(map(words_of, plain)) + "]" if plain else "none"
    return f"{plain:g}" if isinstance(plain, float) else str(plain)


def first_difference(made_with: dict, settings: dict) -> tuple[str, object, object] | None:
    """The first setting that differs: its name ("recipe.phases.0.epochs"), what it was, and what it is now."""
    before, now = _flat(made_with), _flat(settings)
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            return name, before.get(name), now.get(name)
    return None


def _flat(value: object, name: str = "") -> dict[str, object]:
    """{"recipe.phases.0.epochs": 5, ...} of nested dicts and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {name: value}
    flat = {}
    for key, item in items:
        flat |= _flat(item, f"{name}.{key}" if name else str(key))
    return flat
