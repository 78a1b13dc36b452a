"""The settings of cells in words: the recipe that cell.json describes, read back, and the split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tlkeras.training.recipe import Recipe, words_of

if TYPE_CHECKING:
    import pandas as pd

    from tlkeras.training.tuner import Tuner

_TESTS = {"Predefined": "test parts"}  # what stands there in place of a share


def recipe_of(cell: Mapping) -> Recipe:
    """The recipe of a finished cell, from what its cell.json holds."""
    return Recipe.from_description(cell["settings"]["recipe"])


def training_of(cell: Mapping) -> Tuner | None:
    """The recipe that a finished cell's network was trained with; None where none was trained.

    Args:
        cell: what cell.json holds. Of a search it is the recipe with the setting that was chosen.
    """
    from tlkeras.training.tuner import Tuner

    recipe = recipe_of(cell)
    if recipe.searches:
        recipe = Recipe.from_description(cell["facts"]["search"]["refit"])
    return recipe if isinstance(recipe, Tuner) else None


def settings_table(recipes: Iterable[Recipe], published: Mapping[str, str]) -> pd.DataFrame:
    """The settings of cells, one row each: what the document prints, and ours; several values where they differ.

    Args:
        recipes: of the cells.
        published: {setting: as printed}.
    """
    import pandas as pd

    ours: dict[str, dict[str, None]] = {}
    for recipe in recipes:
        for name, value in recipe.notable_words().items():
            ours.setdefault(name, {})[value] = None
    rows = {name: (published.get(name, ""), " / ".join(values)) for name, values in ours.items()}
    return pd.DataFrame(
        rows.values(), index=pd.Index(rows, name="setting"), columns=["printed in the document", "ours"]
    )


def differing_settings(before: dict, after: dict) -> list[str]:
    """In words, what two cells' settings (of cell.json) differ in, e.g. "batch size: 32 → 64"; "nothing" says so."""
    was, now = (_all_words(settings) for settings in (before, after))
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    different = [f"{name}: {was.get(name, 'none')} → {now.get(name, 'none')}" for name in names]
    if was.get("weights") == now.get("weights") and before.get("weights_sha256") != after.get("weights_sha256"):
        different.append(f"weights {now['weights']}: another file, of each protocol's own run")
    return different or ["nothing"]


def training_words(recipe: Tuner) -> dict[str, str]:
    """What a document's table of results says of a training beside its figures."""
    head = recipe.head
    dropout = [f"dropout {rate}" for rate in dict.fromkeys((head.input_dropout, head.dropout)) if rate]
    return {
        "hidden layers": words_of(head.hidden),
        "regularization": ", ".join([*dropout, *["BatchNorm"] * head.batch_norm]) or "none",
        "epochs": " + ".join(str(phase.epochs) for phase in recipe.phases),
    }


def _all_words(settings: Mapping) -> dict[str, str]:
    recipe = Recipe.from_description(settings["recipe"])
    own = {} if recipe.network is None else {"preprocessing": recipe.network.own_preprocessing}
    return recipe.words() | _split_words(settings["split"]) | own


def _split_words(split: dict | str) -> dict[str, str]:
    if not isinstance(split, dict):  # a class of one's own
        return {"split": str(split)}
    settings: dict[str, Any] = {name: value for name, value in split.items() if value is not None or name != "test"}
    kind, respects = settings.pop("type"), settings.pop("respect_groups", None)
    units: dict[bool | None, str] = {True: ", groups (patients, lesions) on one side", False: ", image by image"}
    names = {"val": "share of val", "test": _TESTS.get(kind, "share of test")}
    return {"split": kind + units.get(respects, "")} | {
        names.get(name, name): words_of(value) for name, value in settings.items()
    }


def split_in_words(split: dict | str) -> str:
    """A described split: "Holdout, groups (patients, lesions) on one side; share of val: 0.2; share of test: 0.2"."""
    kind, *others = _split_words(split).items()
    return "; ".join([kind[1], *(f"{name}: {word}" for name, word in others)])
