"""model_card.md beside the model of every finished cell that has kept one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tlkeras.evaluation.blocks import Bullets, Text, page_as_markdown
from tlkeras.evaluation.model_card import model_card
from tlkeras.files import write_text
from tlkeras.models.saved import CARD, MODEL, MODEL_CARD, read_card
from tlkeras.replication.page import SMOKE
from tlkeras.replication.settings import recipe_of
from tlkeras.schema import NOT_TESTS

if TYPE_CHECKING:
    from tlkeras.data.leakage_findings import Audit
    from tlkeras.replication.experiment import Experiment
    from tlkeras.replication.run_folder import CellKey, RunFolder
    from tlkeras.replication.scoring import Predicted


def write_model_cards(
    experiment: Experiment,
    protocol: str,
    folder: RunFolder,
    cells: Mapping[CellKey, dict],
    predicted: Predicted,
    audits: Mapping[int, Audit],
) -> None:
    """Writes the cards; cells without a model (trees, published folders) have none.

    Args:
        experiment: the declaration.
        protocol: its protocol.
        folder: the protocol's run folder.
        cells: {key: what cell.json holds} of the finished cells.
        predicted: their predictions.
        audits: {seed: Audit} of the splits.
    """
    for key, cell in cells.items():
        place = folder.cell(key)
        if not ((place / MODEL).is_file() and (place / CARD).is_file()):
            continue
        folder.require_whole(key, CARD)
        used = recipe_of(cell).image_size
        findings = audits[key.seed].findings(used) if key.seed in audits else ()
        learnt = cell["facts"]["images"]["train"]
        counts = ", ".join(f"{count:,} {name}" for name, count in learnt.items())
        card = model_card(
            read_card(place).describe(),
            name=f"{experiment.name}, {protocol}, {key}",
            data=[
                Text(experiment.credit(protocol)),
                Text(f"It learnt from {sum(learnt.values()):,} images: {counts}."),
                *([Text("The audit of its split:"), Bullets(tuple(findings))] if findings else []),
            ],
            tested={part: of_part for part, of_part in predicted[key].items() if part not in NOT_TESTS},
            limits=[SMOKE] if cell["settings"]["smoke"] else [],
        )
        write_text(place / MODEL_CARD, page_as_markdown(card, place))
