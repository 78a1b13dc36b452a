"""table.md: everything a reader of one protocol's results has to know, on one page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.data.datasets import DATASETS
from tlkeras.evaluation.class_reports import class_reports_table
from tlkeras.evaluation.f1 import format_f1_table
from tlkeras.evaluation.reported_tables import format_reported_table, parts_table, reported_table
from tlkeras.evaluation.tables import (
    format_accuracy_table,
    grid_table,
    metrics_table,
    test_parts,
    to_markdown,
)
from tlkeras.evaluation.training_tables import epochs_table, results_table
from tlkeras.experiment import PIXELS
from tlkeras.search_report import ranking_sections
from tlkeras.settings import image_size_of, network_of, settings_table, training_of, training_words

if TYPE_CHECKING:
    from tlkeras.experiment import Experiment, Protocol
    from tlkeras.runs import CellKey

_SMOKE = "**A smoke run: a handful of images, one epoch, random weights. It says that the code runs, no more.**"
# What another seed changes.
_SEEDED = {
    "Holdout": "each draws its own parts, so ± holds other test images as well as other draws in training",
    "Predefined": "the test parts are given, the same for every seed",
}
MACRO_AUC = "ROC AUC is the macro average: each class against the rest, averaged over the classes."
_TRAINING = (
    "Training accuracy and loss are those of the training log in the epoch that was kept: with dropout, and with class "
    "weights, oversampling or augmentation where they are used. Validation and test are as they are. Peak memory is "
    "the process's."
)
_PREDICTED = (
    "Training accuracy is that of the finished network's predictions for the training images, training loss that of "
    "the training log in the epoch that was kept. Peak memory is the process's."
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
    rankings: Mapping[CellKey, pd.DataFrame] | None = None,
) -> str:
    """The page as Markdown.

    Args:
        experiment: the declaration.
        protocol: its protocol shown here.
        cells: {key: what cell.json holds} of the finished cells.
        scores: tidy, all parts; see `evaluation.tables`.
        tables: {test part: f1_table where `experiment.shows_f1`, else accuracy_table}.
        rankings: {key: ranking_table} of the cells that searched a grid.
    """
    declared = experiment.protocols[protocol]
    settings = next(iter(cells.values()))["settings"]
    row = DATASETS[experiment.dataset_of(protocol)]
    lines = [f"# {experiment.name}: protocol {protocol}", "", f"{experiment.paper.authors}, {experiment.paper.title}"]
    lines += ["", f"Data: {row.title}, {row.licence}. {row.citation}", ""]
    lines += [_SMOKE, ""] if settings["smoke"] else []
    if declared.dataset is not None:
        own = DATASETS[experiment.dataset].title
        lines += [f"**{row.title} stands in for {own}: the document's figures are of other data, and not shown.**", ""]
    lines += _data_section(experiment, protocol, cells)
    networks = {key: cell for key, cell in cells.items() if training_of(cell) is not None}
    of_networks = scores[scores["backbone"] != PIXELS]
    for part, table in tables.items():
        if experiment.shows_f1(protocol):
            lines += _f1_section(experiment, part, table, scores)
        else:
            lines += _accuracy_section(declared, part, table, scores)
        for backbone in dict.fromkeys(key.backbone for key in cells) if declared.grid else ():
            lines += [
                f"### {'Trees on pixels' if backbone == PIXELS else backbone}",
                "",
                to_markdown(grid_table(scores, declared.grid, backbone=backbone, part=part)),
            ]
        lines += ["### Every metric", "", to_markdown(metrics_table(scores, part=part).droplevel("protocol"))]
        lines += [] if experiment.positive_class_of(protocol) else [MACRO_AUC, ""]
        if networks:
            lines += [
                "### Every training",
                "",
                to_markdown(_results(experiment, experiment.reported_for(protocol), networks, of_networks, part)),
            ]
    lines += _reported_section(experiment, protocol, scores)
    # Where another data set stands in, the document's figures are of other images.
    lines += ranking_sections({} if declared.dataset else experiment.published_grid, cells, rankings or {})
    if any(phase["patience"] for cell in networks.values() for phase in training_of(cell)["phases"]):
        lines += ["### Epochs until early stop", "", to_markdown(epochs_table(of_networks))]
    lines += [_PREDICTED if experiment.scores_training else _TRAINING, ""] if networks else []
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


def _accuracy_section(protocol: Protocol, part: str, table: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    shown = format_accuracy_table(table)
    for method in protocol.methods:
        declared = [(method, backbone) in protocol.cells for backbone in shown.index]
        shown[method] = shown[method].where(declared, "–")
    return [
        f"## Accuracy on {part} ({_counts(part, scores)} images), per cent",
        "",
        to_markdown(shown),
        _baseline(part, scores),
        "",
    ]


def _data_section(experiment: Experiment, protocol: str, cells: Mapping[CellKey, dict]) -> list[str]:
    """The document's table about the data, ours beside it."""
    if not experiment.summary:
        return []
    row = DATASETS[experiment.dataset_of(protocol)]
    first = next(iter(cells.values()))
    images = first["facts"]["images"]
    ours = {
        "data set": row.title,
        "images, original": "not known" if row.n_images is None else f"{row.n_images:,}",
        "images, used": f"{sum(sum(of_part.values()) for of_part in images.values()):,}",
        "classes, original": "not known" if row.n_classes is None else str(row.n_classes),
        "classes, used": ", ".join(next(iter(images.values()))),
        "pixels, original": row.pixels,
        "pixels, used": " / ".join(dict.fromkeys(_size_words(cell) for cell in cells.values())),
    }
    rows = [(experiment.summary.get(line, ""), words) for line, words in ours.items()]
    index = pd.Index(list(ours), name="the data")
    return ["## The data", "", to_markdown(pd.DataFrame(rows, index=index, columns=["document", "ours"]))]


def _size_words(cell: dict) -> str:
    return "x".join(map(str, image_size_of(cell["settings"]["recipe"])))


def _reported_section(experiment: Experiment, protocol: str, scores: pd.DataFrame) -> list[str]:
    """Figures beyond accuracy: per part, where the document's tables are so, and each one that it prints."""
    lines, reported = [], experiment.reported_for(protocol)
    if experiment.class_reports:
        for part in test_parts(scores):
            lines += [f"## Every class, on {part}", "", to_markdown(class_reports_table(scores, part=part))]
    positive = experiment.positive_class_of(protocol)
    if experiment.part_titles and f"f1_{positive}" in set(scores["metric"]):
        cells = dict.fromkeys(zip(scores["method"], scores["backbone"], strict=True))
        for method, backbone in cells:
            table = parts_table(
                scores,
                method=method,
                backbone=backbone,
                parts=experiment.part_titles,
                positive_class=positive,
                reported=reported,
            )
            lines += [f"## {method}, {backbone}, on every part", "", to_markdown(table)]
    elif any(metric != "accuracy" for _, _, metric in reported) and not experiment.shows_f1(protocol):
        table = reported_table(scores, reported)
        lines += ["## Every figure of the document", "", to_markdown(format_reported_table(table))]
    return lines


def _counts(part: str, scores: pd.DataFrame) -> str:
    counts = scores.loc[(scores["part"] == part) & (scores["metric"] == "n"), "value"]
    return " or ".join(sorted({f"{count:,.0f}" for count in counts}))


def _baseline(part: str, scores: pd.DataFrame) -> str:
    shares = scores[(scores["part"] == part) & (scores["metric"] == "majority_class")].drop_duplicates("seed")["value"]
    return f"Always answering the commonest class gives an accuracy of {100 * shares.mean():.1f} %."


def _results(
    experiment: Experiment, reported: Mapping, cells: Mapping[CellKey, dict], scores: pd.DataFrame, part: str
) -> pd.DataFrame:
    # What a cell was made with, not what is declared: a smoke run trains for one epoch.
    recipes = {(key.method, key.backbone): training_of(cell) for key, cell in cells.items()}
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
        size, words = image_size_of(recipe), []
        if not cell["settings"]["smoke"] and list(as_declared.image_size) != size:
            words += ["--image-size", str(size[0])]
        network = network_of(recipe)
        if network is not None and network.get("precision", "float32") != as_declared.network.precision:
            words += ["--precision", network["precision"]]
        by_options.setdefault(tuple(words), []).append(key)
    settings = next(iter(cells.values()))["settings"]
    commands = []
    for options, keys in by_options.items():
        named = {
            "--backbones": dict.fromkeys(key.backbone for key in keys if key.backbone != PIXELS),
            "--methods": dict.fromkeys(key.method for key in keys),
            "--seeds": dict.fromkeys(str(key.seed) for key in keys),
        }
        words = [f"python experiments/{experiment.script or experiment.name}.py --data DATA --weights WEIGHTS"]
        words += [f"--only {experiment.name}"] * (experiment.script is not None) + [f"--protocol {protocol}"]
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
