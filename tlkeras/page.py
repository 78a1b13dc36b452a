"""table.md: everything a reader of one protocol's results has to know, on one page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.data.datasets import DATASETS
from tlkeras.evaluation.f1 import format_f1_table
from tlkeras.evaluation.tables import (
    format_accuracy_table,
    grid_table,
    metrics_table,
    to_markdown,
)
from tlkeras.evaluation.training_tables import epochs_table, results_table
from tlkeras.experiment import PIXELS
from tlkeras.settings import is_network, settings_table, training_words

if TYPE_CHECKING:
    from tlkeras.experiment import Experiment, Protocol
    from tlkeras.runs import CellKey

_SMOKE = "**A smoke run: a handful of images, one epoch, random weights. It says that the code runs, no more.**"
# What another seed changes.
_SEEDED = {
    "Holdout": "each draws its own parts, so ± holds other test images as well as other draws in training",
    "Predefined": "the test part is the data set's own",
}
MACRO_AUC = "ROC AUC is the macro average: each class against the rest, averaged over the classes."
_TRAINING = (
    "Training accuracy and loss are those of the training log in the epoch that was kept: with dropout, and with class "
    "weights, oversampling or augmentation where they are used. Validation and test are as they are. Peak memory is "
    "the process's."
)
_INTERVALS = (
    "In brackets: 95 % percentile bootstrap interval over the test images, drawn by patient or lesion where these are "
    "known; the mean over seeds where there are several; ± is the standard deviation over seeds. `not run` says so; "
    "nothing is filled in."
)


def build_page(
    experiment: Experiment,
    protocol: str,
    *,
    cells: Mapping[CellKey, dict],
    scores: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
) -> str:
    """The page as Markdown.

    Args:
        experiment: the declaration.
        protocol: its protocol shown here.
        cells: {key: what cell.json holds} of the finished cells.
        scores: tidy, all parts; see `evaluation.tables`.
        tables: {test part: f1_table where `experiment.shows_f1`, else accuracy_table}.
    """
    declared = experiment.protocols[protocol]
    settings = next(iter(cells.values()))["settings"]
    row = DATASETS[experiment.dataset]
    lines = [f"# {experiment.name}: protocol {protocol}", "", f"{experiment.paper.authors}, {experiment.paper.title}"]
    lines += ["", f"Data: {row.title}, {row.licence}. {row.citation}", ""]
    lines += [_SMOKE, ""] if settings["smoke"] else []
    networks = {key: cell for key, cell in cells.items() if is_network(cell["settings"]["recipe"])}
    of_networks = scores[scores["backbone"] != PIXELS]
    for part, table in tables.items():
        if experiment.shows_f1(protocol):
            lines += _f1_section(experiment, part, table, scores)
        else:
            lines += _accuracy_section(part, table, scores)
        for backbone in dict.fromkeys(key.backbone for key in cells) if declared.grid else ():
            lines += [
                f"### {'Trees on pixels' if backbone == PIXELS else backbone}",
                "",
                to_markdown(grid_table(scores, declared.grid, backbone=backbone, part=part)),
            ]
        lines += ["### Every metric", "", to_markdown(metrics_table(scores, part=part).droplevel("protocol"))]
        lines += [] if experiment.positive_class else [MACRO_AUC, ""]
        if networks:
            lines += [
                "### Every training",
                "",
                to_markdown(_results(experiment, declared, networks, of_networks, part)),
            ]
    if any(phase["patience"] for cell in networks.values() for phase in cell["settings"]["recipe"]["phases"]):
        lines += ["### Epochs until early stop", "", to_markdown(epochs_table(of_networks))]
    lines += [_TRAINING, ""] if networks else []
    lines += [
        f"{_INTERVALS} Seeds: {', '.join(map(str, sorted({key.seed for key in cells})))}; "
        f"{_seeded(settings['split'])}.",
        "",
        *_list("The split", _split_notes(cells)),
        "## Settings",
        "",
        to_markdown(settings_table([cell["settings"]["recipe"] for cell in cells.values()], experiment.common)),
        *_list("What differs from the document", declared.deviations),
        *(_list("Weights", notes) if (notes := _weights_notes(cells)) else []),
        *_list("Stated by the document", experiment.stated),
        *_list("Assumed, for the document does not say", [*experiment.assumed, *declared.assumed]),
        "## Made with",
        "",
        *[f"    {command}" for command in _commands(experiment, protocol, cells)],
        "",
        to_markdown(_cost_table(cells)),
    ]
    return "\n".join(lines)


def _seeded(split: dict | str) -> str:
    return _SEEDED.get(split["type"] if isinstance(split, dict) else split, "the split is the protocol's own")


def _f1_section(experiment: Experiment, part: str, table: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    return [
        f"## F1 on {part} ({_counts(part, scores)} images)",
        "",
        to_markdown(format_f1_table(table)),
        f"The document's network is {' and '.join(experiment.default_backbones)}; `A for B` is network A standing in "
        "for B. The micro average of F1 is the accuracy, its interval in brackets. A class that was never predicted "
        f"has an F1 of 0. {_baseline(part, scores)}",
        "",
    ]


def _accuracy_section(part: str, table: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    return [
        f"## Accuracy on {part} ({_counts(part, scores)} images), per cent",
        "",
        to_markdown(format_accuracy_table(table)),
        _baseline(part, scores),
        "",
    ]


def _counts(part: str, scores: pd.DataFrame) -> str:
    counts = scores.loc[(scores["part"] == part) & (scores["metric"] == "n"), "value"]
    return " or ".join(sorted({f"{count:,.0f}" for count in counts}))


def _baseline(part: str, scores: pd.DataFrame) -> str:
    shares = scores[(scores["part"] == part) & (scores["metric"] == "majority_class")].drop_duplicates("seed")["value"]
    return f"Always answering the commonest class gives an accuracy of {100 * shares.mean():.1f} %."


def _results(
    experiment: Experiment, protocol: Protocol, cells: Mapping[CellKey, dict], scores: pd.DataFrame, part: str
) -> pd.DataFrame:
    reported = {key: value for key, value in experiment.reported.items() if key[0] in protocol.cells}
    # What a cell was made with, not what is declared: a smoke run trains for one epoch.
    recipes = {(key.method, key.backbone): cell["settings"]["recipe"] for key, cell in cells.items()}
    table = results_table(scores, reported, names=experiment.names, test=part)
    for place, column in enumerate(("hidden layers", "regularization", "epochs")):
        words = [
            training_words(recipes[method, backbone])[column]
            if whose == "ours"
            else experiment.printed.get((method, backbone), {}).get(column, "")
            for _, method, backbone, whose in table.index
        ]
        table.insert(place, column, words)
    return table


def _split_notes(cells: Mapping[CellKey, dict]) -> list[str]:
    notes = {f"seed {key.seed}: {note}": None for key, cell in cells.items() for note in cell["facts"]["split_notes"]}
    return list(notes) or ["no group is on two sides; part sizes and class shares are as wanted"]


def _list(title: str, items: Iterable[str]) -> list[str]:
    return [f"## {title}", "", *[f"- {item}" for item in items], ""]


def _commands(experiment: Experiment, protocol: str, cells: Mapping[CellKey, dict]) -> list[str]:
    """Commands that make these cells, one for each image size and precision, DATA and WEIGHTS in place of folders.

    Each names full rows of a grid, so that where seeds differ between cells it makes more."""
    declared = experiment.protocols[protocol].cells
    by_options: dict[tuple[str, ...], list[CellKey]] = {}
    for key, cell in cells.items():
        recipe, as_declared = cell["settings"]["recipe"], declared[key.method, key.backbone]
        size, words = recipe["image_size"], []
        if not cell["settings"]["smoke"] and list(as_declared.image_size) != size:
            words += ["--image-size", str(size[0])]
        if is_network(recipe) and recipe.get("precision", "float32") != as_declared.precision:
            words += ["--precision", recipe["precision"]]
        by_options.setdefault(tuple(words), []).append(key)
    settings = next(iter(cells.values()))["settings"]
    commands = []
    for options, keys in by_options.items():
        named = {
            "--backbones": dict.fromkeys(key.backbone for key in keys if key.backbone != PIXELS),
            "--methods": dict.fromkeys(key.method for key in keys),
            "--seeds": dict.fromkeys(str(key.seed) for key in keys),
        }
        words = [f"python experiments/{experiment.name}.py --data DATA --weights WEIGHTS --protocol {protocol}"]
        words += [" ".join([option, *values]) for option, values in named.items() if values]
        words += options
        words += ["--smoke"] * settings["smoke"] + ["--skip-unreadable"] * settings["skip_unreadable"]
        commands.append(" ".join(words))
    return commands


def _weights_notes(cells: Mapping[CellKey, dict]) -> list[str]:
    notes = {}
    for key, cell in cells.items():
        weights = cell["facts"].get("weights")
        if weights is not None and weights["note"]:
            notes[f"{key.backbone}: {weights['path']}: {weights['note']}"] = None
    return list(notes)


def _cost_table(cells: Mapping[CellKey, dict]) -> pd.DataFrame:
    rows = []
    for key, cell in cells.items():
        facts = cell["facts"]
        rows.append(
            {
                "backbone": key.backbone,
                "method": key.method,
                "seed": key.seed,
                "run time, s": f"{facts['seconds']['fit']:.0f}",
                "cores": facts["environment"]["cores"],
            }
        )
    return pd.DataFrame(rows).set_index("backbone")
