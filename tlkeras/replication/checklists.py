"""A reporting guideline's checklist (claim_2024.md, tripod_ai.md): answered where the run knows, the rest left open.

The file is made to be kept: what is written between the marks of an item stays when the checklist is made again, and a
file that holds words elsewhere is not written over.
"""

from __future__ import annotations

import hashlib
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

    from tlkeras.replication.checklist_items import Item
    from tlkeras.replication.finished_run import FinishedRun

BEGIN, END, SEAL = "<!-- yours, item {} -->", "<!-- end of item {} -->", "<!-- all but yours: {} -->"
_NUMBER = r"(\w+)"
_YOURS = re.compile(f"{BEGIN.format(_NUMBER)}\n(.*?){END.format(_NUMBER)}", re.DOTALL)
_SEAL = re.compile(SEAL.format("([0-9a-f]+)") + r"\s*\Z")


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
    """Writes <name>.md into the run folder; what was written there between the marks of an item is kept.

    Args:
        run: the finished run.
        name: of `CHECKLISTS`.

    Raises:
        InputError: what `read_yours` refuses.
    """
    checklist, answers = CHECKLISTS[name], known_answers(run)
    yours = read_yours(run.folder.root, name)
    file = run.folder.root / f"{name}.md"
    told = {item.number: [line for topic in item.topics for line in answers.get(topic, ())] for item in checklist.items}
    n_told = sum(map(bool, told.values()))
    n_open = sum(not told[item.number] and item.number not in yours for item in checklist.items)
    head = [
        Heading(f"{checklist.title} of {run.plan.title}", level=1),
        *([Text(SMOKE)] if run.settings["smoke"] else []),
        Text(f"{checklist.source} The items are told in our words; what counts is the published checklist."),
        Text(
            f"**Of {len(checklist.items)} items the run has something to say to {n_told}; {n_open} are open.** What it "
            "says is rarely all that an item asks for. Write between the two marks of an item, which no page shows: "
            "the same command then renews what the run says, and keeps your words."
        ),
    ]
    pieces, section = [page_as_markdown(head, file.parent)], ""
    for item in checklist.items:
        blocks: list[Block] = [] if item.section == section else [Heading(item.section)]
        section = item.section
        pieces.append(page_as_markdown([*blocks, *_item_blocks(item, told[item.number])], file.parent))
        own = yours.get(item.number, "")
        pieces.append(f"{BEGIN.format(item.number)}\n{own}\n{END.format(item.number)}\n")
    text = "\n".join(pieces)
    write_text(file, f"{text}\n{SEAL.format(_seal(text))}\n")
    return Filled(file, len(checklist.items), n_told, n_open)


def _item_blocks(item: Item, told: list[str]) -> list[Block]:
    blocks: list[Block] = [Heading(f"{item.number}. {item.asks}", level=3)]
    return [*blocks, Text("From the run:"), Bullets(tuple(told))] if told else blocks


def read_yours(root: Path, name: str) -> Mapping[str, str]:
    """{number of an item: what was written to it}, of the checklist in a run folder; nothing where there is none.

    Raises:
        InputError: it cannot be read, marks are gone or stand twice, or something else than the words between them was
            changed: all of that would be lost.
    """
    file, checklist = root / f"{name}.md", CHECKLISTS[name]
    if not file.exists():
        return {}
    try:
        text = file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} cannot be read ({error}), so that your words would be lost. Mend or move it."
        ) from error
    found, seal = _YOURS.findall(text), _SEAL.search(text)
    numbers = [item.number for item in checklist.items]
    if [(begun, ended) for begun, _, ended in found] != [(number, number) for number in numbers]:
        kept = [begun for begun, _, _ in found]
        lost = next((number for number in numbers if kept.count(number) != 1), numbers[0])
        raise InputError(
            f"{file}: the marks of item {lost}, {BEGIN.format(lost)} and what ends it, "
            "are not as they were, so that your words would be lost. Put them back, or move the file, make a new one, "
            "and copy your words into that."
        )
    if seal is None or seal[1] != _seal(text[: seal.start()]):
        raise InputError(
            f"{file}: something beside the words between the marks was changed, and would be lost. Move the file, make "
            "a new one, and copy your words between its marks."
        )
    return {number: words.strip("\n") for number, words, _ in found if words.strip()}


def _seal(text: str) -> str:
    """A hash of all but the words between marks; blank lines and spaces at the ends of lines do not count."""
    lines = [line.rstrip() for line in _YOURS.sub(r"\1", text).split("\n")]
    return hashlib.sha256("\n".join(filter(None, lines)).encode()).hexdigest()[:16]
