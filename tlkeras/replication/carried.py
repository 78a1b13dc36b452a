"""Networks carried from one experiment's run to another's, where that is no cheating."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.errors import InputError, MissingInputError
from tlkeras.models.saved import MODEL
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.training.recipe import NetworkRecipe, Recipe

if TYPE_CHECKING:
    from tlkeras.models.weights_file import WeightsFile


def carried_weights(
    recipe: NetworkRecipe,
    key: CellKey,
    settings: dict,
    earlier_run: Path,
    finished: dict | None,
    script: str | None = None,
) -> WeightsFile:
    """The weights file of the cell that `recipe.weights`, an EarlierRun, names.

    Args:
        recipe: what starts from it, with its image size.
        key: that cell.
        settings: that cell's, as its cell.json will hold them.
        earlier_run: the same protocol's part of the other experiment's run folder.
        finished: the settings of that cell where it is finished already, and so needs the other no more; or None.
        script: the name of the script that declares both experiments; None where each has its own.

    Raises:
        MissingInputError: there is no such cell, or one of a smoke run; the command that makes it is named.
        InputError: its network saw other inputs than it will be given, or images that it will be tested on.
    """
    from tlkeras.models.weights import find_weights
    from tlkeras.models.weights_file import WeightsFile

    earlier, protocol = recipe.weights, earlier_run.name
    folder, cell = RunFolder(earlier_run), replace(key, method=earlier.method)
    made_with = folder.settings_of(cell)
    if made_with is None and finished is not None:  # this cell's own run is over: it needs the other no more
        return WeightsFile(path=folder.cell(cell), sha256=finished["weights_sha256"], source="run")
    if made_with is None or made_with["smoke"] or not (folder.cell(cell) / MODEL).is_file():
        where = f"--out {earlier_run.parent}"
        if script is not None:
            where = f"--only {earlier.experiment} --out {earlier_run.parent.parent}"
        found = "no finished cell" if made_with is None else "a smoke run" if made_with["smoke"] else f"no {MODEL}"
        if not earlier_run.parent.is_dir():
            found = f"nothing: --earlier: there is no folder {earlier_run.parent}, where {earlier.experiment} ran"
        raise MissingInputError(
            f"{key} starts from the network of {earlier.experiment}, {protocol}, {cell}, and "
            f"{folder.cell(cell)} holds {found}. Run this first, or name its run folder with --earlier:\n"
            f"  python experiments/{script or earlier.experiment}.py --data DATA --weights WEIGHTS "
            f"--protocol {protocol} --backbones {key.backbone} --methods {earlier.method} --seeds {key.seed} {where} "
            f"--image-size {recipe.image_size[0]}"
        )
    folder.require_whole(cell, MODEL)
    _require_carriable(made_with, settings, key, folder.cell(cell))
    weights = find_weights(recipe.backbone, folder.cell(cell))
    size = "x".join(map(str, Recipe.from_description(made_with["recipe"]).image_size))
    note = f"backbone of {earlier.experiment}, {protocol}, {cell}, trained at {size}"
    return replace(weights, note="; ".join(filter(None, (note, weights.note))))


def _require_carriable(made_with: dict, settings: dict, key: CellKey, folder: Path) -> None:
    recipes = [Recipe.from_description(of["recipe"]) for of in (made_with, settings)]
    was, now = (recipe.network.own_preprocessing for recipe in recipes)
    if was != now:
        raise InputError(
            f"{key} gives its network images scaled as {now!r}, and the one in {folder} was trained on {was!r}. Give "
            "both recipes the same preprocessing."
        )
    if made_with["data"] == settings["data"] and made_with["split"] != settings["split"]:
        raise InputError(
            f"{key} starts from the network in {folder}, which was trained on the same data under another split: it "
            "has seen images that are test images here. Give both protocols the same split."
        )
