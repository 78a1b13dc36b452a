"""The protocols of a run folder side by side, and what `corrected` changes against `paper`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from tlkeras.evaluation.blocks import to_markdown
from tlkeras.evaluation.comparison_tables import difference_table
from tlkeras.evaluation.score_tables import metrics_table
from tlkeras.evaluation.tables import KEYS, test_parts
from tlkeras.files import read_csv, write_text
from tlkeras.replication.part_sections import MACRO_AUC
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.settings import differing_settings
from tlkeras.user_text import in_markdown

if TYPE_CHECKING:
    from pathlib import Path

    from tlkeras.replication.experiment import Experiment

COMPARED_PROTOCOLS = ("paper", "corrected")


def compare_protocols(experiment: Experiment, out: Path) -> Path:
    """Writes <out>/protocols.md: the test scores of every protocol that has been reported there, side by side, and
    what `corrected` changes against `paper` where both are there."""
    folders = {name: RunFolder(out / name) for name in experiment.protocols}
    plans = {name: experiment.under(name) for name in experiment.protocols}
    scores = pd.concat([_reported_scores(folder) for folder in folders.values()], ignore_index=True)
    reported = [name for name in folders if name in set(scores["protocol"])]
    smoke = [name for name in reported if folders[name].settings_of(folders[name].finished()[0])["smoke"]]
    lines = [f"# {in_markdown(experiment.name)}: all protocols", ""]
    lines += [f"**Smoke runs, which say no more than that the code runs: {', '.join(smoke)}.**", ""] if smoke else []
    for part in test_parts(scores):
        lines += [f"## On {part}", "", to_markdown(metrics_table(scores, part=part))]
        lines += [] if any(plans[name].positive_class for name in reported) else [MACRO_AUC, ""]
        common, differences = _in_common(scores[scores["part"] == part], folders)
        if differences:
            lines += [
                f"## What `corrected` changes on {part}",
                "",
                to_markdown(difference_table(common, COMPARED_PROTOCOLS, differences, part=part)),
            ]
    for name in reported:
        stand_in, own = plans[name].dataset, plans[name].replaced
        if stand_in is not None and own is not None:
            lines += [f"**{name}: {stand_in.title} in place of {own.title}; not to be compared with the others.**", ""]
    lines += ["Protocols whose splits differ have different test images. Each protocol's table.md says what it does."]
    return write_text(out / "protocols.md", "\n".join(lines) + "\n")


def _reported_scores(folder: RunFolder) -> pd.DataFrame:
    """scores.csv of a protocol, without cells that have been removed since."""
    file, finished = folder.root / "scores.csv", set(folder.finished())
    if not file.is_file() or not finished:
        return pd.DataFrame(columns=[*KEYS, "value"])
    scores = read_csv(file)
    return scores[[key in finished for key in _keys_of(scores)]]


def _keys_of(scores: pd.DataFrame) -> list[CellKey]:
    return [CellKey(*row) for row in scores[["method", "backbone", "seed"]].itertuples(index=False)]


def _in_common(scores: pd.DataFrame, folders: dict[str, RunFolder]) -> tuple[pd.DataFrame, dict[tuple[str, str], str]]:
    """The scores of cells that were run under both compared protocols with the same seed, and in what settings they
    differ: {(method, backbone): words}."""
    of_protocols = [scores[scores["protocol"] == name] for name in COMPARED_PROTOCOLS]
    both = set(_keys_of(of_protocols[0])) & set(_keys_of(of_protocols[1]))
    words: dict[tuple[str, str], dict[str, None]] = {}
    for key in dict.fromkeys(key for key in _keys_of(scores) if key in both):
        paper, corrected = (folders[name].settings_of(key) for name in COMPARED_PROTOCOLS)
        differing = dict.fromkeys(differing_settings(paper, corrected))
        words.setdefault((key.method, key.backbone), {}).update(differing)
    common = scores[[key in both for key in _keys_of(scores)]]
    return common, {cell: "; ".join(of_cell) for cell, of_cell in words.items()}
