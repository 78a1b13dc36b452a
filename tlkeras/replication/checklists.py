"""A reporting guideline's checklist (claim_2024.md, tripod_ai.md): answered where the run knows, the rest left open.

The file is made to be kept: what is written under "Yours:" stays when the checklist is made again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.errors import InputError
from tlkeras.evaluation.blocks import Block, Bullets, Heading, Text, page_as_markdown
from tlkeras.files import write_text
from tlkeras.replication.cell_pages import SMOKE
from tlkeras.replication.checklist_answers import known_answers
from tlkeras.replication.checklist_items import CHECKLISTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlkeras.replication.checklist_items import Checklist, Item
    from tlkeras.replication.finished_run import FinishedRun

YOURS = "Yours:"
_ITEM = re.compile(r"### (\w+)\. ")
_HEADING = re.compile(r"#{1,3} ")


@dataclass(frozen=True)
class Filled:
    """A checklist that was written.

    Attributes:
        file: where.
        items: how many it has.
        from_run: how many of them the run has something to say to.
        open: how many have neither that nor words of one's own.
    """

    file: Path
    items: int
    from_run: int
    open: int


def fill_checklist(run: FinishedRun, name: str) -> Filled:
    """Writes <name>.md into the run folder; what was written there under "Yours:" is kept.

    Args:
        run: the finished run.
        name: of `CHECKLISTS`.

    Raises:
        InputError: the file that is there cannot be read, or holds answers to items that the checklist has not.
    """
    checklist, answers = CHECKLISTS[name], known_answers(run)
    file = run.folder.root / f"{name}.md"
    yours = _read_yours(file, checklist) if file.exists() else {}
    told = {item.number: [line for topic in item.topics for line in answers.get(topic, ())] for item in checklist.items}
    n_told = sum(map(bool, told.values()))
    n_open = sum(not told[item.number] and item.number not in yours for item in checklist.items)
    head = [
        Heading(f"{checklist.title} of {run.plan.title}", level=1),
        *([Text(SMOKE)] if run.settings["smoke"] else []),
        Text(f"{checklist.source} The items are told in our words; what counts is the published checklist."),
        Text(
            f"**Of {len(checklist.items)} items the run has something to say to {n_told}; {n_open} are open.** Write "
            f"below `{YOURS}`: the same command renews what the run says, and keeps your words. What the run says is "
            "rarely all that an item asks for."
        ),
    ]
    pieces, section = [page_as_markdown(head, file.parent)], ""
    for item in checklist.items:
        blocks: list[Block] = [] if item.section == section else [Heading(item.section)]
        section = item.section
        blocks += _item_blocks(item, told[item.number])
        own = yours.get(item.number, "")
        pieces.append(page_as_markdown(blocks, file.parent) + (f"\n{own}\n" if own else ""))
    write_text(file, "\n".join(pieces))
    return Filled(file, len(checklist.items), n_told, n_open)


def _item_blocks(item: Item, told: list[str]) -> list[Block]:
    blocks: list[Block] = [Heading(f"{item.number}. {item.asks}", level=3)]
    if told:
        blocks += [Text("From the run:"), Bullets(tuple(told))]
    return [*blocks, Text(YOURS)]


def _read_yours(file: Path, checklist: Checklist) -> Mapping[str, str]:
    """{number of the item: what was written to it}."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} cannot be read ({error}), so that your answers in it would be lost. Mend or move it."
        ) from error
    written: dict[str, list[str]] = {}
    number, inside = None, False
    for line in lines:
        if _HEADING.match(line):
            found = _ITEM.match(line)
            number, inside = found and found[1], False
        elif line.startswith(YOURS) and number is not None and not inside:
            inside = True
            written.setdefault(number, []).append(line.removeprefix(YOURS).strip())
        elif inside and number is not None:
            written[number].append(line)
    yours = {number: text for number, rows in written.items() if (text := "\n".join(rows).strip())}
    unknown = [number for number in yours if number not in {item.number for item in checklist.items}]
    if unknown:
        raise InputError(
            f"{file} has an answer of yours to item {', '.join(unknown)}, which {checklist.title} has not. Put it "
            "under an item that it has, or move the file."
        )
    return yours
