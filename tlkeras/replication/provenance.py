"""Where a protocol's results come from: data and audit, split, settings, weights, commands, machine; as blocks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.data.measures import PixelSizes, size_words
from tlkeras.evaluation.blocks import Block, Code, Heading, Table, Text, bullets
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.settings import recipe_of, settings_table, split_in_words

if TYPE_CHECKING:
    from tlkeras.data.datasets import DatasetRow
    from tlkeras.replication.experiment import Plan
    from tlkeras.replication.finished_run import FinishedRun
    from tlkeras.replication.run_folder import CellKey

# What another seed changes.
_SEEDED = {
    "Holdout": "each draws its own parts, so ± holds other test images as well as other draws in training",
    "KFold": "each is a fold, so that the test images of one round of them are all images, once",
    "Predefined": "the test parts are given, the same for every seed",
}


def data_source(run: FinishedRun) -> list[Block]:
    """The data, their licence, and whether they are those of the document and as they were published."""
    row, own, blocks = run.plan.dataset, run.plan.replaced, [Heading("The data"), Text(run.plan.credit)]
    if row is not None and own is not None:
        blocks.append(
            Text(f"**{row.title} stands in for {own.title}: the document's figures are of other data, and not shown.**")
        )
    if row is not None and (copied := _copy_words(row, PixelSizes.together(pixel_sizes(run)[1].values()))):
        blocks.append(Text(f"**{copied}**"))
    return blocks


def data_parts(run: FinishedRun) -> list[Block]:
    """Images of each part and class, how large they are, and the audit of the splits."""
    blocks: list[Block] = [Table(_parts_table(run))]
    seed, parts = pixel_sizes(run)
    if parts:
        table = _pixels_table({"all": PixelSizes.together(parts.values()), **parts}, used_image_sizes(run.cells))
        blocks.append(Table(table.rename_axis(f"pixels (width x height), seed {seed}")))
    return blocks + bullets("The split and its audit", split_words(run))


def pixel_sizes(run: FinishedRun) -> tuple[int | None, Mapping[str, PixelSizes]]:
    """The first seed whose audit measured the images, and {part: their sizes}; (None, {}) where none did."""
    for key in run.cells:
        if key.seed in run.audits and (parts := run.audits[key.seed].pixel_sizes):
            return key.seed, parts
    return None, {}


def split_words(run: FinishedRun) -> list[str]:
    """How the parts were drawn, what the audit found, and what the split itself said of seeds without an audit."""
    cells, audits = run.cells, run.audits
    seeds = sorted({key.seed for key in cells})
    told: dict[str, dict[int, None]] = {}
    for seed in seeds:
        used = used_image_sizes({key: cell for key, cell in cells.items() if key.seed == seed})
        for finding in audits[seed].findings(*used) if seed in audits else ():
            told.setdefault(finding, {})[seed] = None
    for key, cell in cells.items():
        for note in cell["facts"]["split_notes"]:
            if key.seed not in audits or note.endswith("were wanted"):
                told.setdefault(note, {})[key.seed] = None
    words = [split_in_words(next(iter(cells.values()))["settings"]["split"])]
    words += [f"{_seeds_words([*of_seeds], seeds)}{finding}" for finding, of_seeds in told.items()]
    for lacking, does in (
        ([seed for seed in seeds if seed not in audits], "not audited; the same command audits it"),
        (
            [seed for seed in seeds if seed in audits and not audits[seed].pixel_sizes],
            "pixels were not measured; the same command measures them",
        ),
    ):
        if lacking:
            words.append(f"{_seeds_words(lacking, seeds)}{does}, and keeps the finished cells")
    return words


def _parts_table(run: FinishedRun) -> pd.DataFrame:
    rows = {part: {"images": f"{sum(counts.values()):,}"} | with_shares(counts) for part, counts in run.images.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"part, seed {next(iter(run.cells)).seed}")


def with_shares(counts: Mapping[str, int]) -> dict[str, str]:
    """{class: its number of images, and its share of them all}, as text."""
    n = sum(counts.values())
    return {name: f"{count:,} ({count / max(n, 1):.1%})" for name, count in counts.items()}


def _pixels_table(sizes: Mapping[str, PixelSizes], image_sizes: Iterable[tuple[int, int]]) -> pd.DataFrame:
    """A column for each of `sizes`: its images on the disk, and how many of them each image size used enlarges."""
    columns = {}
    for name, of_part in sizes.items():
        rows = {f"on disk, {which}": "" for which in ("smallest", "median", "largest")}
        if len(of_part):
            rows = {line: size_words(getattr(of_part, line.rsplit()[-1])) for line in rows}
        for image_size in image_sizes:
            n = len(of_part.enlarged_to(image_size))
            rows[f"used, {size_words(image_size)}: enlarged"] = f"{n:,} ({n / max(len(of_part), 1):.1%})"
        columns[name] = rows
    return pd.DataFrame(columns)


def _copy_words(row: DatasetRow, sizes: PixelSizes) -> str:
    """That the images on the disk are not those that were published, where their sizes show it."""
    published = row.published_pixels
    if published == "varying" and len(sizes) > 1 == len(sizes.counts):
        return f"A resized copy: published in varying sizes, here all {sizes.words()} (width x height)."
    if published in ("", "varying") or set(sizes.as_json()) <= {published}:
        return ""
    area = math.prod(map(int, published.split("x")))
    kind = "smaller" if math.prod(sizes.largest) < area else "resized"
    return f"A {kind} copy: published at {published}, here {sizes.words()} (width x height)."


def used_image_sizes(cells: Mapping[CellKey, dict]) -> list[tuple[int, int]]:
    """The (height, width) that cells use, each once, in their order."""
    return list(dict.fromkeys(recipe_of(cell).image_size for cell in cells.values()))


def _seeds_words(seeds: list[int], all_seeds: list[int]) -> str:
    return "" if len(seeds) == len(all_seeds) else f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}: "


def provenance(run: FinishedRun) -> list[Block]:
    """How the cells were made, and what differs from the document."""
    experiment, declared, cells = run.plan.experiment, run.plan.protocol, run.cells
    settings = settings_table(map(recipe_of, cells.values()), experiment.common)
    return [
        Heading("Settings"),
        Table(settings if experiment.paper is not None else settings[["ours"]]),
        *bullets("What differs from the document", declared.deviations),
        *bullets("Weights", weights_notes(cells)),
        *bullets("Stated by the document", experiment.stated),
        *bullets("Assumed, for the document does not say", [*experiment.assumed, *declared.assumed]),
        Heading("Made with"),
        Code(tuple(made_by_commands(run.plan, cells))),
        Table(_cost_table(cells)),
        Heading("Environment"),
        Table(_environment_table(cells)),
    ]


def seeded(split: dict | str) -> str:
    """What another seed changes under a described split, in words."""
    return _SEEDED.get(split["type"] if isinstance(split, dict) else split, "the split is the protocol's own")


def made_by_commands(plan: Plan, cells: Mapping[CellKey, dict]) -> list[str]:
    """Commands that make these cells, one for each image size and precision, DATA and WEIGHTS in place of folders.

    Each names full rows of a grid, so that where seeds differ between cells it makes more."""
    experiment, declared = plan.experiment, plan.protocol.cells
    by_options: dict[tuple[str, ...], list[CellKey]] = {}
    for key, cell in cells.items():
        recipe, as_declared, words = recipe_of(cell), declared[key.method, key.backbone], []
        if not cell["settings"]["smoke"] and as_declared.image_size != recipe.image_size:
            words += ["--image-size", str(recipe.image_size[0])]
        network, declared_network = recipe.network, as_declared.network
        if network is not None and declared_network is not None and network.precision != declared_network.precision:
            words += ["--precision", network.precision]
        by_options.setdefault(tuple(words), []).append(key)
    settings = next(iter(cells.values()))["settings"]
    commands = []
    for options, keys in by_options.items():
        named = {
            "--backbones": dict.fromkeys(key.backbone for key in keys if key.backbone != PIXELS),
            "--methods": dict.fromkeys(key.method for key in keys),
            "--seeds": dict.fromkeys(str(key.seed) for key in keys),
        }
        script = cells[keys[0]]["facts"].get("script") or f"experiments/{experiment.script or experiment.name}.py"
        words = [f"python {script}{' --data DATA' * experiment.reads_folder} --weights WEIGHTS"]
        words += [f"--only {experiment.name}"] * (experiment.script is not None) + [f"--protocol {plan.name}"]
        words += [" ".join([option, *values]) for option, values in named.items() if values]
        words += options
        words += ["--smoke"] * settings["smoke"] + ["--skip-unreadable"] * settings["skip_unreadable"]
        commands.append(" ".join(words))
    return commands


def weights_notes(cells: Mapping[CellKey, dict]) -> list[str]:
    """What is to be known of the files of weights that networks started from."""
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
                "made by": _made_by(facts["environment"]),
            }
        )
    return pd.DataFrame(rows).set_index("backbone")


def _made_by(environment: dict) -> str:
    """The version, and the commit where it was recorded: of a cell that an older pipeline made a reader has to know."""
    commit = environment.get("commit")
    return f"tlkeras {environment['tlkeras']}, {'no commit recorded' if commit is None else commit[:7] + commit[40:]}"


def _environment_table(cells: Mapping[CellKey, dict]) -> pd.DataFrame:
    """One column for each environment that cells were made in; data and weights by their hashes."""
    columns: dict[str, dict[str, str]] = {}
    for cell in cells.values():
        found = cell["facts"]["environment"]
        rows = {"device": cell["facts"].get("device", ""), **found} | found["packages"]
        rows = {name: str(value) for name, value in rows.items() if name != "packages" and value is not None}
        columns.setdefault(json.dumps(rows), rows)
    hashes = {"data (names, sizes, labels, groups)": dict.fromkeys(cell["settings"]["data"] for cell in cells.values())}
    contents = dict.fromkeys(cell["settings"].get("contents") for cell in cells.values())
    if any(contents):
        hashes["data (names, contents, labels, groups)"] = contents
    for key, cell in cells.items():
        if cell["settings"]["weights_sha256"] is not None:
            hashes.setdefault(f"weights, {key.backbone}", {})[cell["settings"]["weights_sha256"]] = None
    table = pd.DataFrame(list(columns.values())).T.fillna("")
    table.columns = [str(number) if len(columns) > 1 else "value" for number in range(1, len(columns) + 1)]
    for name, values in hashes.items():
        words = ["not recorded" if value is None else f"sha256 {value[:16]}" for value in values]
        table.loc[name] = ", ".join(words if len(words) <= 3 else [*words[:3], f"and {len(words) - 3} more"])
    return table.rename_axis("environment")
