"""Which cells a run makes, with which recipe and from which weights: known before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.errors import InputError, MissingInputError
from tlkeras.models.saved import MODEL
from tlkeras.models.weights_file import WeightsFile
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.training.recipe import EarlierRun, NetworkRecipe, Recipe

if TYPE_CHECKING:
    from tlkeras.replication.experiment import Plan

SMOKE_SIDE = 32  # pixels; networks that need more get their smallest


@dataclass(frozen=True)
class RunOptions:
    """What the command line chose; see `tlkeras.replication.script`."""

    data: Path
    out: Path
    protocol: str
    backbones: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    weights: str | None = None
    smoke: bool = False
    skip_unreadable: bool = False
    image_size: tuple[int, int] | None = None  # in place of the recipes' own, as is
    precision: str | None = None
    earlier: Path | None = None  # the run folder of the experiment whose networks are carried on; None: beside `out`
    store: Path | bool = True  # see Tuner.fit
    memory_budget: str | None = None
    script: str | None = None  # the file that was run, as a page names it
    verify: bool = False  # hash every image again, whatever is remembered of it


@dataclass(frozen=True)
class Cell:
    """One cell that is asked for: its recipe, and the settings that its cell.json will hold."""

    key: CellKey
    recipe: Recipe
    weights: WeightsFile | None  # what the recipe's network starts from, where it is not random
    settings: dict = field(repr=False)


def cells_of(plan: Plan, options: RunOptions, shared: dict, folder: RunFolder) -> list[Cell]:
    """The cells in the order they run, their weights files found: a missing one is known before anything is trained."""
    cells, protocol = [], plan.protocol
    for seed in options.seeds:
        for method, backbone in protocol.chosen(options.methods, options.backbones):
            key = CellKey(method, backbone, seed)
            recipe = _adapted(protocol.cells[method, backbone], options)
            settings = {"recipe": recipe.describe(), "weights_sha256": None, **shared}
            weights = None
            if recipe.network is not None:
                weights = _find_weights(
                    recipe.network, key, settings, options, folder.settings_or_none(key), plan.experiment.script
                )
                settings["weights_sha256"] = None if weights is None else weights.sha256
            cells.append(Cell(key, recipe, weights, settings))
    return cells


def _adapted(recipe: Recipe, options: RunOptions) -> Recipe:
    """The declared recipe with what the command line put in its place."""
    if options.smoke:
        recipe = recipe.for_smoke(SMOKE_SIDE)
    elif options.image_size is not None:
        recipe = recipe.resized(options.image_size)
    if options.precision is not None:
        recipe = recipe.in_precision(options.precision)
    return recipe


def _find_weights(
    recipe: NetworkRecipe,
    key: CellKey,
    settings: dict,
    options: RunOptions,
    finished: dict | None,
    script: str | None,
) -> WeightsFile | None:
    from tlkeras.models.weights import find_weights
    from tlkeras.training.tuner import require_trainable_batch_norm

    if isinstance(recipe.weights, EarlierRun):
        earlier = options.earlier or options.out.parent / recipe.weights.experiment
        weights = carried_weights(recipe, key, settings, earlier / options.protocol, finished, script)
    else:
        weights = find_weights(recipe.backbone, recipe.weights, folder=options.weights)
    require_trainable_batch_norm(weights, recipe.phases)
    return weights


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

    earlier, protocol = recipe.weights, earlier_run.name
    assert isinstance(earlier, EarlierRun)  # asked for only where it is
    folder, cell = RunFolder(earlier_run), replace(key, method=earlier.method)
    made_with = folder.settings_or_none(cell)
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
    networks = [Recipe.from_description(of["recipe"]).network for of in (made_with, settings)]
    was, now = (network.own_preprocessing for network in networks if network is not None)  # each has one
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
