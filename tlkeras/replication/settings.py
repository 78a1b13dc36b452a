"""The settings of cells in words, from what cell.json holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tlkeras.models.zoo import get_backbone

if TYPE_CHECKING:
    import pandas as pd


def network_of(recipe: dict) -> dict | None:
    """The part of a described recipe that names a backbone and its weights; None for one on pixels."""
    recipe = recipe["recipe"] if recipe["type"] == "Search" else recipe
    return recipe if "backbone" in recipe else None


def ranked_by(recipe: dict) -> str:
    """The metric that chose among the settings of a described search; runs of earlier versions knew one."""
    return recipe.get("metric", "accuracy")


def image_size_of(recipe: dict) -> list[int]:
    """[height, width] in pixels of a described recipe, of a search too."""
    return (recipe["recipe"] if recipe["type"] == "Search" else recipe)["image_size"]


def training_of(cell: dict) -> dict | None:
    """The described Tuner that a finished cell's network was trained with; None where none was trained.

    Args:
        cell: what cell.json holds. Of a search it is the recipe with the setting that was chosen.
    """
    recipe = cell["settings"]["recipe"]
    if recipe["type"] == "Search":
        recipe = cell["facts"]["search"]["refit"]
    return recipe if recipe["type"] == "Tuner" else None


def settings_table(recipes: Iterable[dict], published: Mapping[str, str]) -> pd.DataFrame:
    """The settings of cells, one row each: what the document prints, and ours; several values where they differ.

    Args:
        recipes: described recipes, as cell.json holds them.
        published: {setting: as printed}.
    """
    import pandas as pd

    ours: dict[str, dict[str, None]] = {}
    for recipe in recipes:
        for name, value in _shown(recipe).items():
            ours.setdefault(name, {})[value] = None
    rows = {name: (published.get(name, ""), " / ".join(values)) for name, values in ours.items()}
    return pd.DataFrame(
        rows.values(), index=pd.Index(rows, name="setting"), columns=["printed in the document", "ours"]
    )


def differing_settings(before: dict, after: dict) -> list[str]:
    """In words, what two cells' settings (of cell.json) differ in, e.g. "batch size: 32 → 64"; "nothing" says so."""
    was, now = (_words(settings["recipe"]) | _split_words(settings["split"]) for settings in (before, after))
    for words, settings in ((was, before), (now, after)):
        network = network_of(settings["recipe"])
        if network is not None:
            words["preprocessing"] = preprocessing_of(network)
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    different = [f"{name}: {was.get(name, 'none')} → {now.get(name, 'none')}" for name in names]
    if was.get("weights") == now.get("weights") and before.get("weights_sha256") != after.get("weights_sha256"):
        different.append(f"weights {now['weights']}: another file, of each protocol's own run")
    return different or ["nothing"]


def preprocessing_of(recipe: dict) -> str:
    """What a described Tuner or Extractor puts in front of its network, "backbone" resolved."""
    if recipe["preprocessing"] != "backbone":
        return recipe["preprocessing"]
    backbone = recipe["backbone"]
    return backbone["preprocessing"] if isinstance(backbone, dict) else get_backbone(backbone).preprocessing


def training_words(recipe: dict) -> dict[str, str]:
    """What a document's table of results says of a training beside its figures."""
    head = recipe["head"]
    dropout = [f"dropout {rate}" for rate in dict.fromkeys((head["input_dropout"], head["dropout"])) if rate]
    return {
        "hidden layers": _word(head["hidden"]),
        "regularization": ", ".join([*dropout, *["BatchNorm"] * head["batch_norm"]]) or "none",
        "epochs": " + ".join(str(phase["epochs"]) for phase in recipe["phases"]),
    }


# What goes without saying; runs of earlier versions knew nothing else.
_USUAL = {
    "precision": "float32",
    "features kept in": "float32",
    "augmentation of validation images": "no",
    "ranked by": "accuracy",
}


def _shown(recipe: dict) -> dict[str, str]:
    return {name: words for name, words in _words(recipe).items() if _USUAL.get(name) != words}


def _words(recipe: dict) -> dict[str, str]:
    if recipe["type"] == "PixelBaseline":
        forest = {"trees in the forest": str(recipe["n_trees"])} if recipe["n_trees"] else {}
        return forest | {
            "image size, trees": "x".join(map(str, recipe["image_size"])),
            "pixels, trees": recipe["pixels"],
        }
    if recipe["type"] == "Search":
        return _words(recipe["recipe"]) | _search_words(recipe)
    if recipe["type"] == "Extractor":
        return _extractor_words(recipe)
    head, phases = recipe["head"], recipe["phases"]

    def per_phase(words_of) -> str:
        values = [words_of(phase) for phase in phases]
        return values[0] if len(set(values)) == 1 else ", then ".join(values)

    return {
        "precision": recipe.get("precision", _USUAL["precision"]),
        "features kept in": recipe.get("feature_dtype", _USUAL["features kept in"]),
        "epochs per phase": per_phase(lambda phase: _word(phase["epochs"])),
        "batch size": str(recipe["batch_size"]),
        "weights": "ImageNet" if recipe["weights"] == "imagenet" else _word(recipe["weights"]),
        "image size": "x".join(map(str, recipe["image_size"])),
        "preprocessing": _word(recipe["preprocessing"]),
        "optimizer": per_phase(_optimizer),
        "learning rate": per_phase(lambda phase: _word(phase["learning_rate"])),
        "schedule": per_phase(lambda phase: _word(phase["schedule"])),
        "backbone layers that learn": ", then ".join(map(_unfrozen, phases)),
        "backbone's BatchNorm": per_phase(_batch_norm),
        "early stop": per_phase(_early_stop),
        "weights kept": per_phase(lambda phase: f"best {phase['monitor']}" if phase["keep"] == "best" else "last"),
        "hidden layers": _word(head["hidden"]),
        "hidden activation": head["activation"],
        "pooling": head["pooling"],
        "dropout before the hidden layers": str(head["input_dropout"]),
        "dropout after each": str(head["dropout"]),
        "BatchNorm after each": _word(head["batch_norm"]),
        "unequal classes": _word(recipe["imbalance"]),
        "augmentation": _word(recipe["augmentation"]),
        "augmentation of validation images": _word(recipe["augment_val"]),
    }


def _search_words(recipe: dict) -> dict[str, str]:
    """What the grid varies stands in place of the recipe's own value, which no cell has."""
    grid = {name: " or ".join(map(_word, values)) for name, values in recipe["grid"].items()}
    told = {"learning_rate": "learning rate", "epochs": "epochs per phase", "batch_size": "batch size"}
    return {told.get(name, name): f"{words}, by cross-validation" for name, words in grid.items()} | {
        "ranked by": ranked_by(recipe),
        "folds": str(recipe["folds"]["n_folds"]) + ("" if recipe["folds"]["respect_groups"] else ", image by image"),
    }


def _extractor_words(recipe: dict) -> dict[str, str]:
    given = "".join(f", {name}={_word(value)}" for name, value in recipe["arguments"].items())
    return {
        "precision": recipe["precision"],
        "features kept in": recipe["feature_dtype"],
        "classifier on features": recipe["classifier"] + given,
        "features": f"{recipe['layer'] or 'last of the backbone'}, pooling {recipe['pooling']}",
        "scaling of features": recipe["scaling"],
        "weights": "ImageNet" if recipe["weights"] == "imagenet" else _word(recipe["weights"]),
        "image size": "x".join(map(str, recipe["image_size"])),
        "preprocessing": _word(recipe["preprocessing"]),
    }


def _split_words(split: dict | str) -> dict[str, str]:
    if not isinstance(split, dict):  # a class of one's own
        return {"split": str(split)}
    units = {True: ", groups (patients, lesions) on one side", False: ", image by image"}
    others = {name: value for name, value in split.items() if name not in ("type", "respect_groups")}
    if split["type"] == "Predefined" and (tests := others.pop("test", None)):  # those that are not so called
        others["test parts"] = tests
    return {"split": split["type"] + units.get(split.get("respect_groups"), "")} | {
        f"share of {name}" if name in ("val", "test") else name: _word(value) for name, value in others.items()
    }


def split_in_words(split: dict | str) -> str:
    """A described split: "Holdout, groups (patients, lesions) on one side; share of val: 0.2; share of test: 0.2"."""
    kind, *others = _split_words(split).items()
    return "; ".join([kind[1], *(f"{name}: {word}" for name, word in others)])


def _word(value: object) -> str:
    if value is None or isinstance(value, bool):  # before the numbers: True equals 1
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, dict) and value.get("type") == "EarlierRun":
        return f"of {value['experiment']}, {value['method']}"
    if isinstance(value, dict):  # a schedule or an augmentation: its name, and what is not at its default
        given = {name: item for name, item in value.items() if name != "type" and item not in (0, None)}
        return ", ".join(f"{name}={_word(item)}" for name, item in given.items()) or value["type"]
    if isinstance(value, list):
        return "[" + ", ".join(map(_word, value)) + "]" if value else "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _optimizer(phase: dict) -> str:
    momentum = f", momentum {_word(phase['momentum'])}" if phase["optimizer"] == "sgd" else ""
    return phase["optimizer"] + momentum


def _batch_norm(phase: dict) -> str:
    momentum = phase.get("batch_norm_momentum")  # runs of earlier versions know none
    return phase["batch_norm"] + (f", momentum {_word(momentum)}" if momentum is not None else "")


def _early_stop(phase: dict) -> str:
    return f"after {phase['patience']} epochs without a better {phase['monitor']}" if phase["patience"] else "none"


def _unfrozen(phase: dict) -> str:
    return f"from {phase['unfreeze_from']}" if phase["unfreeze_from"] else _word(phase["unfreeze"] or None)
