"""An experiment, of a document or of one's own, declared once. `running` runs it, `results`
reports it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkeras.checks import check_rising
from tlkeras.data.datasets import DATASETS, DatasetRow, load_dataset
from tlkeras.data.splits import Splitter
from tlkeras.errors import InputError
from tlkeras.schema import Samples
from tlkeras.training.recipe import EarlierRun, Recipe

if TYPE_CHECKING:
    from tlkeras.replication.page import Page
    from tlkeras.replication.run_folder import CellKey
    from tlkeras.schema import Splits

OWN_DATA = "Images of one's own; the experiment does not say where they come from."
PIXELS = "pixels"  # stands in a cell's key where a network's name stands: a method that looks at pixels, and has none


@dataclass(frozen=True)
class Paper:
    """The document an experiment replicates."""

    title: str
    authors: str
    venue: str


@dataclass(frozen=True)
class Protocol:
    """One way to carry the experiment out.

    Attributes:
        split: an object with `split(samples, seed=...) -> Splits`: tl.Holdout, tl.Predefined, or tl.KFold, with which
            seeds 0..n_folds-1 cross-validate the cells.
        cells: {(method, backbone): recipe}, for a PixelBaseline {(method, PIXELS): recipe}. A method need not have a
            recipe for every backbone.
        deviations: what differs from the document, in words.
        assumed: settings the document does not give, where they are this protocol's alone.
        grid: {method: (row label, column label)} where the methods are the cells of a two-way table, or None.
        dataset: a name of `tl.DATASETS` in place of the experiment's: a data set that stands in for it; or None.
        positive_class: in place of the experiment's, where another data set stands in.
        select: called with the samples of the data set, returns those to take, e.g. a tl.Selection; None takes all.
    """

    split: Splitter
    cells: Mapping[tuple[str, str], Recipe]
    deviations: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    grid: dict[str, tuple[str, str]] | None = None
    dataset: str | None = None
    select: Callable[[Samples], Samples] | None = None
    positive_class: str | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in the order they were declared."""
        return tuple(dict.fromkeys(method for method, _ in self.cells))

    @property
    def backbones(self) -> tuple[str, ...]:
        """The backbones, in the order they were declared."""
        return tuple(dict.fromkeys(backbone for _, backbone in self.cells if backbone != PIXELS))

    @property
    def carries_on(self) -> bool:
        """Whether a recipe starts from a network of another experiment's run."""
        networks = [recipe.network for recipe in self.cells.values() if recipe.network is not None]
        return any(isinstance(network.weights, EarlierRun) for network in networks)

    def chosen(self, methods: Sequence[str], backbones: Sequence[str]) -> list[tuple[str, str]]:
        """The cells of these methods: on each of these backbones, or on pixels alone."""
        on_pixels = [(method, PIXELS) for method in methods if (method, PIXELS) in self.cells]
        pairs = [(method, backbone) for backbone in backbones for method in methods]
        return on_pixels + [pair for pair in pairs if pair in self.cells]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment, declared: of images of one's own, or what a document did.

    Attributes:
        name: as in `experiments/<name>.py` and `assets/<name>/`.
        protocols: {name: Protocol}; the first is the default.
        data: the images: Samples, or a function that returns them; where it asks for an argument, it is called with the
            folder that --data names.
        about_data: where they come from, under which terms, for pages and cards.
        dataset: a name of `tl.DATASETS`, in place of data.
        question: what is asked, for the head of a report; of a document, what it asks and claims.
        paper: the document; None where there is none.
        reported: {((method, backbone), part, metric): value} as printed in the document, accuracy in per cent; "train"
            and "model" are parts too, see `evaluation.printed_tables.results_table`. F1 is in 0..1: "micro_f1",
            "macro_f1" and "f1_<class>".
        default_backbones: what runs when none is named; empty takes all.
        smoke_backbones: what a smoke run takes when none is named: small ones; empty takes `default_backbones`.
        positive_class: the class that sensitivity and precision speak of, or None.
        stated: settings the document gives.
        assumed: settings it does not give, and what was taken.
        common: {setting: value} as the document prints them for all its trainings; the settings of a page.
        compared: {method: label} of two methods whose training accuracy is drawn in one figure, and whose activations
            side by side.
        scores_training: predict the training images too, with the finished classifier, as the document did.
        after_fit: called while a cell runs, with its key, classifier, splits and folder, to write there what `page`
            shows of it and its predictions do not hold.
        page: called with the plan and the common page; returns the page of results, with what this document's tables
            show more or otherwise. See `tlkeras.replication.page`.
        script: the name of the script, where it declares several experiments; None takes `name`.
        explore: writes figures and numbers about the data, from the samples into a folder; the option --eda.
        subgroups: {column of the samples' metadata: where bands of its numbers begin, but for the first; else ()}: the
            page shows the figures of each subgroup, see `tl.subgroups`. The run folder, published or not, keeps the
            names of each image's subgroups (a band, not an age), of no other columns.
    """

    name: str
    protocols: dict[str, Protocol]
    data: Samples | Callable[[], Samples] | Callable[[Path], Samples] | None = None
    about_data: str = ""
    dataset: str | None = None
    question: str = ""
    paper: Paper | None = None
    reported: dict[tuple[tuple[str, str], str, str], float] = field(default_factory=dict)
    default_backbones: tuple[str, ...] = ()
    smoke_backbones: tuple[str, ...] = ()
    positive_class: str | None = None
    stated: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    common: dict[str, str] = field(default_factory=dict)
    compared: dict[str, str] = field(default_factory=dict)
    scores_training: bool = False
    after_fit: Callable[[CellKey, Any, Splits, Path], None] | None = None
    page: Callable[[Plan, Page], Page] | None = None
    script: str | None = None
    explore: Callable[[Samples, Path], object] | None = None
    subgroups: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self):
        self._check_data()
        self._check_subgroups()
        backbones = dict.fromkeys(backbone for protocol in self.protocols.values() for backbone in protocol.backbones)
        object.__setattr__(self, "default_backbones", tuple(self.default_backbones or backbones))
        object.__setattr__(self, "smoke_backbones", tuple(self.smoke_backbones or self.default_backbones))
        methods = {method for protocol in self.protocols.values() for method in protocol.methods}
        if self.compared and (len(self.compared) != 2 or not set(self.compared) <= methods):
            raise InputError(
                f"Experiment.compared: received {list(self.compared)}; accepted are two of {', '.join(methods)}."
            )

    def _check_subgroups(self) -> None:
        if not isinstance(self.subgroups, Mapping):
            raise InputError(
                f"Experiment.subgroups: received {self.subgroups!r}; accepted is {{column: where bands begin, or ()}}, "
                'e.g. {"sex": (), "age": (40, 60, 80)}.'
            )
        for column, bands in self.subgroups.items():
            if bands != ():
                check_rising(f"Experiment.subgroups: bands of {column}", bands)

    def _check_data(self) -> None:
        if (self.data is None) == (self.dataset is None):
            raise InputError(
                f"Experiment: received {'neither data nor dataset' if self.data is None else 'both data and dataset'}; "
                "accepted is one of the two: images of your own, or the name of a data set of tl.DATASETS."
            )
        if not (self.data is None or isinstance(self.data, Samples) or callable(self.data)):
            raise InputError(
                f"Experiment.data: received {self.data!r}; accepted are Samples, or a function that returns them; "
                "it may ask for the folder that --data names."
            )
        if not self.protocols:
            raise InputError("Experiment.protocols: received none; accepted is at least one, {name: tl.Protocol(...)}.")
        standing_in = [name for name, protocol in self.protocols.items() if protocol.dataset is not None]
        if self.data is not None and standing_in:
            raise InputError(
                f"Experiment.data: protocol {standing_in[0]} names a data set that stands in for these images; that "
                "needs an experiment whose dataset has a name."
            )

    @property
    def reads_folder(self) -> bool:
        """Whether the images are read from the folder that --data names."""
        return self.dataset is not None or (callable(self.data) and bool(_required_arguments(self.data)))

    def under(self, protocol: str) -> Plan:
        """The experiment under one of its protocols.

        Raises:
            InputError: it has no protocol of this name.
        """
        if protocol not in self.protocols:
            raise InputError(f"protocol: received {protocol!r}; {self.name} has {', '.join(self.protocols)}.")
        return Plan(self, protocol)


@dataclass(frozen=True)
class Plan:
    """An experiment under one of its protocols: what is run, on which images, and what stands beside it.

    `Experiment.under` makes it.

    Attributes:
        experiment: the declaration.
        name: of the protocol.
    """

    experiment: Experiment
    name: str

    @property
    def title(self) -> str:
        """The title of its page."""
        return f"{self.experiment.name}: protocol {self.name}"

    @property
    def protocol(self) -> Protocol:
        """The protocol itself."""
        return self.experiment.protocols[self.name]

    @property
    def stands_in(self) -> bool:
        """Whether it runs on other data than the document's, whose figures then are of other images."""
        return self.protocol.dataset is not None

    @property
    def dataset(self) -> DatasetRow | None:
        """The data set it runs on; None where the images are one's own."""
        name = self.protocol.dataset or self.experiment.dataset
        return None if name is None else DATASETS[name]

    @property
    def replaced(self) -> DatasetRow | None:
        """The document's data set, where it runs on another in its place; else None."""
        own = self.experiment.dataset
        return DATASETS[own] if self.stands_in and own is not None else None

    @property
    def credit(self) -> str:
        """Which images it runs on, their terms and whom to cite, for a page."""
        row = self.dataset
        if row is None:
            return self.experiment.about_data or OWN_DATA
        return f"{row.title}, {row.licence}. {row.citation}"

    @property
    def positive_class(self) -> str | None:
        """The class that sensitivity and precision speak of, or None."""
        return self.protocol.positive_class or self.experiment.positive_class

    @property
    def reported(self) -> dict[tuple[tuple[str, str], str, str], float]:
        """The document's figures for its cells, see `Experiment`; none where another data set stands in."""
        if self.stands_in:
            return {}
        return {key: value for key, value in self.experiment.reported.items() if key[0] in self.protocol.cells}

    def load(self, data: str | os.PathLike, *, check_counts: bool = True) -> Samples:
        """The samples that it runs on, read from the folder that --data names.

        Raises:
            InputError: the data set is not there or not complete, `Experiment.data` returns something else than
                samples, or of two classes none is the positive one.
        """
        experiment, row, select = self.experiment, self.dataset, self.protocol.select
        if row is not None:
            samples = load_dataset(row.name, data, check_counts=check_counts)
        elif isinstance(experiment.data, Samples):
            samples = experiment.data
        else:
            assert experiment.data is not None  # or a data set is named
            samples = experiment.data(*((Path(data),) if experiment.reads_folder else ()))
        if not isinstance(samples, Samples):
            raise InputError(
                f"Experiment.data: the function returned {type(samples).__name__}; accepted are Samples, such as "
                "tl.from_folders makes."
            )
        samples = samples if select is None else select(samples)
        positive, names = self.positive_class, samples.class_names
        if positive is not None and len(names) == 2 and positive not in names:
            raise InputError(
                f"{samples.root or experiment.name}: its classes are {' and '.join(names)}, and the tables "
                f"of {experiment.name} speak of the class {positive}. Rename the folder of the class that is looked "
                "for."
            )
        return samples


def _required_arguments(function: Callable) -> list[str]:
    """The names of the arguments that a function cannot be called without."""
    parameters = inspect.signature(function).parameters.values()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in variadic]


def choose(name: str, wanted: Sequence[str] | None, known: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """The options a user named, checked against those there are, in the user's order without repeats."""
    for value in wanted or ():
        if value not in known:
            raise InputError(f"{name}: received {value!r}; accepted: {', '.join(known)}.")
    return tuple(dict.fromkeys(wanted or default))
