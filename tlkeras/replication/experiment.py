"""An experiment, of a document or of one's own, declared once. `running` runs it, `results`
reports it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlkeras.data.datasets import DATASETS, DatasetRow, load_dataset
from tlkeras.errors import InputError
from tlkeras.schema import Samples
from tlkeras.training.recipe import EarlierRun, Recipe

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
        split: an object with `split(samples, seed=...) -> Splits`.
        cells: {(method, backbone): recipe}, for a PixelBaseline {(method, PIXELS): recipe}. A method need not have a
            recipe for every backbone.
        deviations: what differs from the document, in words.
        assumed: settings the document does not give, where they are this protocol's alone.
        grid: {method: (row label, column label)} where the methods are the cells of a two-way table, or None.
        dataset: a name of `tl.DATASETS` in place of the experiment's: a data set that stands in for it; or None.
        positive_class: in place of the experiment's, where another data set stands in.
        select: called with the samples of the data set, returns those to take, e.g. a tl.Selection; None takes all.
    """

    split: object
    cells: dict[tuple[str, str], Recipe]
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
        names: {(method, backbone): what the document calls it}.
        printed: {(method, backbone): {column: text}}, the words of its table of results, for the columns hidden layers,
            regularization and epochs.
        common: {setting: value} as the document prints them for all its trainings; the settings of a page.
        f1_columns: {method: title}, where the document's table of results is F1 per class with a column per method of
            its one network, `default_backbones`; other networks then stand in for that one, and are named so.
        compared: {method: label} of two methods whose training accuracy is drawn in one figure, and whose activations
            side by side.
        embedded: {method: title} of those whose features of the test images are drawn in two dimensions, by t-SNE.
        class_reports: show precision, recall and F1 of every class.
        scores_training: predict the training images too, with the finished classifier, as the document did.
        part_titles: {part: title} where the document's tables have a row per part and columns of the positive class's
            figures; empty where they have not.
        published_grid: {method: {values of the grid, in its order: mean accuracy 0..1}}, as the document prints it.
        summary: {line: text} of the document's table about the data, see `provenance`.
        script: the name of the script, where it declares several experiments; None takes `name`.
        explore: writes figures and numbers about the data, from the samples into a folder; the option --eda.
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
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    printed: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    common: dict[str, str] = field(default_factory=dict)
    f1_columns: dict[str, str] = field(default_factory=dict)
    compared: dict[str, str] = field(default_factory=dict)
    embedded: dict[str, str] = field(default_factory=dict)
    class_reports: bool = False
    scores_training: bool = False
    part_titles: dict[str, str] = field(default_factory=dict)
    published_grid: dict[str, dict[tuple, float]] = field(default_factory=dict)
    summary: dict[str, str] = field(default_factory=dict)
    script: str | None = None
    explore: Callable[[Samples, Path], object] | None = None

    def __post_init__(self):
        self._check_data()
        backbones = dict.fromkeys(backbone for protocol in self.protocols.values() for backbone in protocol.backbones)
        object.__setattr__(self, "default_backbones", tuple(self.default_backbones or backbones))
        object.__setattr__(self, "smoke_backbones", tuple(self.smoke_backbones or self.default_backbones))
        if self.f1_columns and len(self.default_backbones) != 1:
            raise InputError(
                f"Experiment.f1_columns: a column stands beside one network of the document's; received "
                f"{len(self.default_backbones)} default_backbones."
            )
        for name in ("embedded", "published_grid"):
            unknown = sorted(set(getattr(self, name)) - {m for p in self.protocols.values() for m in p.methods})
            if unknown:
                raise InputError(f"Experiment.{name}: received {unknown}, which no protocol has as a method.")
        cells = (cell for protocol in self.protocols.values() for cell in protocol.cells.items())
        without = sorted({key[0] for key, recipe in cells if key[0] in self.embedded and recipe.network is None})
        if without:
            raise InputError(
                f"Experiment.embedded: {', '.join(without)} look at pixels, and have no features to embed."
            )
        methods = {method for protocol in self.protocols.values() for method in protocol.methods}
        if self.compared and (len(self.compared) != 2 or not set(self.compared) <= methods):
            raise InputError(
                f"Experiment.compared: received {list(self.compared)}; accepted are two of {', '.join(methods)}."
            )

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

    def dataset_of(self, protocol: str) -> DatasetRow | None:
        """The data set that a protocol runs on; None where the images are one's own."""
        name = self.protocols[protocol].dataset or self.dataset
        return None if name is None else DATASETS[name]

    def credit(self, protocol: str) -> str:
        """Which images a protocol runs on, their terms and whom to cite, for a page."""
        row = self.dataset_of(protocol)
        return (self.about_data or OWN_DATA) if row is None else f"{row.title}, {row.licence}. {row.citation}"

    def positive_class_of(self, protocol: str) -> str | None:
        """The class that sensitivity and precision speak of under a protocol, or None."""
        return self.protocols[protocol].positive_class or self.positive_class

    def reported_for(self, protocol: str) -> dict[tuple[tuple[str, str], str, str], float]:
        """The document's figures for a protocol's cells; none where another data set stands in."""
        declared = self.protocols[protocol]
        if declared.dataset is not None:
            return {}
        return {key: value for key, value in self.reported.items() if key[0] in declared.cells}

    def load(self, protocol: str, data: str | os.PathLike, *, check_counts: bool = True) -> Samples:
        """The samples that a protocol runs on, read from the folder that --data names.

        Raises:
            InputError: the data set is not there or not complete, data returns something else than samples, or of two
                classes none is the positive one.
        """
        row = self.dataset_of(protocol)
        if row is not None:
            samples = load_dataset(row.name, data, check_counts=check_counts)
        else:
            folder = (Path(data),) if self.reads_folder else ()
            samples = self.data if isinstance(self.data, Samples) else self.data(*folder)
        if not isinstance(samples, Samples):
            raise InputError(
                f"Experiment.data: the function returned {type(samples).__name__}; accepted are Samples, such as "
                "tl.from_folders makes."
            )
        select = self.protocols[protocol].select
        samples = samples if select is None else select(samples)
        positive, names = self.positive_class_of(protocol), samples.class_names
        if positive is not None and len(names) == 2 and positive not in names:
            raise InputError(
                f"{samples.root or self.name}: its classes are {' and '.join(names)}, and the tables "
                f"of {self.name} speak of the class {positive}. Rename the folder of the class that is looked for."
            )
        return samples

    def shows_f1(self, protocol: str) -> bool:
        """Whether this protocol's table is F1 per class: its methods are columns of the document's."""
        return set(self.protocols[protocol].methods) <= set(self.f1_columns)


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
