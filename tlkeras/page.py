"""table.md: everything a reader of one protocol's results has to know, on one page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.data.datasets import DATASETS
from tlkeras.evaluation.tables import (
    format_accuracy_table,
    grid_table,
    metrics_table,
    results_table,
    to_markdown,
)

if TYPE_CHECKING:
    from tlkeras.experiment import Experiment, Protocol
    from tlkeras.runs import CellKey

_SMOKE = "**A smoke run: a handful of images, one epoch, random weights. It says that the code runs, no more.**"
# What another seed changes.
_SEEDED = {
    "Holdout": "each draws its own parts, so ± holds other test images as well as other initial weights",
    "Predefined": "the test part is the data set's own",
}
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
        tables: {test part: accuracy_table}.
    """
    declared = experiment.protocols[protocol]
    settings = next(iter(cells.values()))["settings"]
    row = DATASETS[experiment.dataset]
    lines = [f"# {experiment.name}: protocol {protocol}", "", f"{experiment.paper.authors}, {experiment.paper.title}"]
    lines += ["", f"Data: {row.title}, {row.licence}. {row.citation}", ""]
    lines += [_SMOKE, ""] if settings["smoke"] else []
    for part, table in tables.items():
        lines += _accuracy_section(part, table, scores)
        for backbone in dict.fromkeys(key.backbone for key in cells) if declared.grid else ():
            lines += [
                f"### {backbone}",
                "",
                to_markdown(grid_table(scores, declared.grid, backbone=backbone, part=part)),
            ]
        lines += ["### Every metric", "", to_markdown(metrics_table(scores, part=part).droplevel("protocol"))]
        lines += ["### Every training", "", to_markdown(_results(experiment, declared, cells, scores, part))]
    lines += [
        "Training accuracy and loss are those of the training log in the epoch that was kept: with dropout, and with "
        "class weights, oversampling or augmentation where they are used. Validation and test are as they are. Peak "
        "memory is the process's.",
        "",
        f"{_INTERVALS} Seeds: {', '.join(map(str, sorted({key.seed for key in cells})))}; "
        f"{_SEEDED[settings['split']['type']]}.",
        "",
        *_list("The split", _split_notes(cells)),
        "## Settings",
        "",
        to_markdown(settings_table([cell["settings"]["recipe"] for cell in cells.values()], experiment.common)),
        *_list("What differs from the document", [*declared.deviations, *_weights_notes(cells)]),
        *_list("Stated by the document", experiment.stated),
        *_list("Assumed, for the document does not say", [*experiment.assumed, *declared.assumed]),
        "## Made with",
        "",
        f"    {_command(experiment, protocol, cells, settings)}",
        "",
        to_markdown(_cost_table(cells)),
    ]
    return "\n".join(lines)


def settings_table(recipes: Iterable[dict], published: Mapping[str, str]) -> pd.DataFrame:
    """The settings of trainings, one row each: what the document prints, and ours; several values where they differ.

    Args:
        recipes: described `Tuner`s, as cell.json holds them.
        published: {setting: as printed}.
    """
    ours: dict[str, dict[str, None]] = {}
    for recipe in recipes:
        for name, value in _settings(recipe).items():
            ours.setdefault(name, {})[value] = None
    rows = {name: (published.get(name, ""), " / ".join(values)) for name, values in ours.items()}
    return pd.DataFrame(
        rows.values(), index=pd.Index(rows, name="setting"), columns=["printed in the document", "ours"]
    )


def _settings(recipe: dict) -> dict[str, str]:
    head, phases = recipe["head"], recipe["phases"]

    def per_phase(name: str) -> str:
        values = [_word(phase[name]) for phase in phases]
        return values[0] if len(set(values)) == 1 else ", then ".join(values)

    unusual = {
        name: recipe[field]  # float32 goes without saying, and runs of earlier versions knew nothing else
        for name, field in (("precision", "precision"), ("features kept in", "feature_dtype"))
        if recipe.get(field, "float32") != "float32"
    }
    return unusual | {
        "epochs per phase": per_phase("epochs"),
        "batch size": str(recipe["batch_size"]),
        "weights": "ImageNet" if recipe["weights"] == "imagenet" else _word(recipe["weights"]),
        "image size": "x".join(map(str, recipe["image_size"])),
        "preprocessing": _word(recipe["preprocessing"]),
        "optimizer": per_phase("optimizer"),
        "learning rate": per_phase("learning_rate"),
        "schedule": per_phase("schedule"),
        "backbone layers that learn": ", then ".join(_unfrozen(phase) for phase in phases),
        "backbone's BatchNorm": per_phase("batch_norm"),
        "weights kept": per_phase("keep"),
        "hidden layers": _word(head["hidden"]),
        "hidden activation": head["activation"],
        "pooling": head["pooling"],
        "dropout before the hidden layers": str(head["input_dropout"]),
        "dropout after each": str(head["dropout"]),
        "BatchNorm after each": _word(head["batch_norm"]),
        "unequal classes": _word(recipe["imbalance"]),
        "augmentation": _word(recipe["augmentation"]),
    }


def _word(value: object) -> str:
    if value is None or isinstance(value, bool):  # before the numbers: True equals 1
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, dict):  # a schedule or an augmentation: its name, and what is not at its default
        given = {name: item for name, item in value.items() if name != "type" and item not in (0, None)}
        return ", ".join(f"{name}={_word(item)}" for name, item in given.items()) or value["type"]
    if isinstance(value, list):
        return "[" + ", ".join(map(_word, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _unfrozen(phase: dict) -> str:
    return f"from {phase['unfreeze_from']}" if phase["unfreeze_from"] else _word(phase["unfreeze"] or None)


def _accuracy_section(part: str, table: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    of_part = scores[scores["part"] == part]
    counts = sorted({f"{count:,.0f}" for count in of_part.loc[of_part["metric"] == "n", "value"]})
    baseline = 100 * of_part.loc[of_part["metric"] == "majority_class", "value"].mean()
    return [
        f"## Accuracy on {part} ({' or '.join(counts)} images), per cent",
        "",
        to_markdown(format_accuracy_table(table)),
        f"Always answering the commonest class gives {baseline:.1f}.",
        "",
    ]


def _results(
    experiment: Experiment, protocol: Protocol, cells: Mapping[CellKey, dict], scores: pd.DataFrame, part: str
) -> pd.DataFrame:
    reported = {key: value for key, value in experiment.reported.items() if key[0] in protocol.cells}
    # What a cell was made with, not what is declared: a smoke run trains for one epoch.
    recipes = {(key.method, key.backbone): cell["settings"]["recipe"] for key, cell in cells.items()}
    table = results_table(scores, reported, names=experiment.names, test=part)
    for place, column in enumerate(("hidden layers", "regularization", "epochs")):
        words = [
            _trained(recipes[method, backbone])[column]
            if whose == "ours"
            else experiment.printed.get((method, backbone), {}).get(column, "")
            for _, method, backbone, whose in table.index
        ]
        table.insert(place, column, words)
    return table


def _trained(recipe: dict) -> dict[str, str]:
    """What a document's table of results says of a training beside its figures."""
    head = recipe["head"]
    dropout = [f"dropout {rate}" for rate in dict.fromkeys((head["input_dropout"], head["dropout"])) if rate]
    return {
        "hidden layers": _word(head["hidden"]),
        "regularization": ", ".join([*dropout, *["BatchNorm"] * head["batch_norm"]]) or "none",
        "epochs": " + ".join(str(phase["epochs"]) for phase in recipe["phases"]),
    }


def _split_notes(cells: Mapping[CellKey, dict]) -> list[str]:
    notes = {f"seed {key.seed}: {note}": None for key, cell in cells.items() for note in cell["facts"]["split_notes"]}
    return list(notes) or ["no group is on two sides; part sizes and class shares are as wanted"]


def _list(title: str, items: Iterable[str]) -> list[str]:
    return [f"## {title}", "", *[f"- {item}" for item in items], ""]


def _command(experiment: Experiment, protocol: str, cells: Iterable[CellKey], settings: dict) -> str:
    """A command that makes these cells, DATA and WEIGHTS in place of folders; it names full rows of a grid, so that
    where seeds differ between cells it makes more."""
    named = {"--backbones": "backbone", "--methods": "method", "--seeds": "seed"}
    words = [f"python experiments/{experiment.name}.py --data DATA --weights WEIGHTS --protocol {protocol}"]
    for option, field in named.items():
        words += [option, *dict.fromkeys(str(getattr(key, field)) for key in cells)]
    words += ["--smoke"] * settings["smoke"] + ["--skip-unreadable"] * settings["skip_unreadable"]
    return " ".join(words)


def _weights_notes(cells: Mapping[CellKey, dict]) -> list[str]:
    notes = {}
    for key, cell in cells.items():
        weights = cell["facts"]["weights"]
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
