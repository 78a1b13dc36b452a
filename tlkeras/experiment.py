"""An experiment: what a document did, declared once. `tlkeras.running` runs it, `tlkeras.results` reports it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.schema import InputError, Samples

if TYPE_CHECKING:
    from tlkeras.training.pixel_baseline import PixelBaseline
    from tlkeras.training.tuner import Tuner

PIXELS = "pixels"  # stands in a cell's key where a network's name stands: a method that looks at pixels, and has none


@dataclass(frozen=True)
class Paper:
    """The document an experiment replicates."""

    title: str
    authors: str
    venue: str


@dataclass(frozen=True)
class EarlierRun:
    """A network that another experiment trained, as the weights a Tuner starts from: its backbone layers are taken.

    The cell is that of `method` in the same protocol, with the same backbone and seed, in that experiment's run folder.
    """

    experiment: str
    method: str


@dataclass(frozen=True)
class Protocol:
    """One way to carry the experiment out.

    Attributes:
        split: an object with `split(samples, seed=...) -> Splits`.
        cells: {(method, backbone): recipe}, for a PixelBaseline {(method, PIXELS): recipe}.
        deviations: what differs from the document, in words.
        assumed: settings the document does not give, where they are this protocol's alone.
        grid: {method: (row label, column label)} where the methods are the cells of a two-way table, or None.
    """

    split: object
    cells: dict[tuple[str, str], Tuner | PixelBaseline]
    deviations: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    grid: dict[str, tuple[str, str]] | None = None

    def __post_init__(self):
        of_networks = [method for method in self.methods if (method, PIXELS) not in self.cells]
        missing = [(m, b) for m in of_networks for b in self.backbones if (m, b) not in self.cells]
        if missing:
            raise InputError(f"Protocol.cells: every method needs a recipe for every backbone; missing: {missing}.")

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
        return any(isinstance(getattr(recipe, "weights", None), EarlierRun) for recipe in self.cells.values())

    def chosen(self, methods: Sequence[str], backbones: Sequence[str]) -> list[tuple[str, str]]:
        """The cells of these methods: on each of these backbones, or on pixels alone."""
        on_pixels = [(method, PIXELS) for method in methods if (method, PIXELS) in self.cells]
        pairs = [(method, backbone) for backbone in backbones for method in methods]
        return on_pixels + [pair for pair in pairs if pair in self.cells]


@dataclass(frozen=True)
class Experiment:
    """A replication, declared.

    Attributes:
        name: as in `experiments/<name>.py` and `assets/<name>/`.
        paper: the document.
        dataset: a name of `tl.DATASETS`.
        protocols: {name: Protocol}; the first is the default.
        reported: {((method, backbone), part, metric): value} as printed in the document, accuracy in per cent; "train"
            and "model" are parts too, see `evaluation.training_tables.results_table`. F1 is in 0..1: "micro_f1",
            "macro_f1" and "f1_<class>".
        default_backbones: what runs when none is named.
        smoke_backbones: what a smoke run takes when none is named: small ones.
        positive_class: the class that sensitivity and precision speak of, or None.
        stated: settings the document gives.
        assumed: settings it does not give, and what was taken.
        names: {(method, backbone): what the document calls it}.
        printed: {(method, backbone): {column: text}}, the words of its table of results, for the columns hidden layers,
            regularization and epochs.
        common: {setting: value} as the document prints them for all its trainings; the settings of `tlkeras.page`.
        f1_columns: {method: title}, where the document's table of results is F1 per class with a column per method of
            its one network, `default_backbones`; other networks then stand in for that one, and are named so.
        compared: {method: label} of two methods whose training accuracy is drawn in one figure, and whose activations
            side by side.
        explore: writes figures and numbers about the data, from the samples into a folder; the option --eda.
    """

    name: str
    paper: Paper
    dataset: str
    protocols: dict[str, Protocol]
    reported: dict[tuple[tuple[str, str], str, str], float]
    default_backbones: tuple[str, ...]
    smoke_backbones: tuple[str, ...]
    positive_class: str | None = None
    stated: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    printed: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    common: dict[str, str] = field(default_factory=dict)
    f1_columns: dict[str, str] = field(default_factory=dict)
    compared: dict[str, str] = field(default_factory=dict)
    explore: Callable[[Samples, Path], object] | None = None

    def __post_init__(self):
        if self.f1_columns and len(self.default_backbones) != 1:
            raise InputError(
                f"Experiment.f1_columns: a column stands beside one network of the document's; received "
                f"{len(self.default_backbones)} default_backbones."
            )
        methods = {method for protocol in self.protocols.values() for method in protocol.methods}
        if self.compared and (len(self.compared) != 2 or not set(self.compared) <= methods):
            raise InputError(
                f"Experiment.compared: received {list(self.compared)}; accepted are two of {', '.join(methods)}."
            )

    def shows_f1(self, protocol: str) -> bool:
        """Whether this protocol's table is F1 per class: its methods are columns of the document's."""
        return set(self.protocols[protocol].methods) <= set(self.f1_columns)


def choose(name: str, wanted: Sequence[str] | None, known: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """The options a user named, checked against those there are, in the user's order without repeats."""
    for value in wanted or ():
        if value not in known:
            raise InputError(f"{name}: received {value!r}; accepted: {', '.join(known)}.")
    return tuple(dict.fromkeys(wanted or default))
