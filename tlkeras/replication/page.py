"""A page as a sequence of sections, which a document's script adds to, replaces or drops.

A section is a function of a finished run (of a test part too, where it tells of one). It writes the files that it shows
into the run folder, and returns its blocks. The common page is `common_page.PAGE`; a document whose tables show more,
or otherwise, says so in its script:

    def page(plan, common):
        return common.adding(its_own_section, after=every_figure)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from tlkeras.errors import InputError
from tlkeras.evaluation.blocks import Block

Section = Callable[..., list[Block]]


@dataclass(frozen=True)
class Page:
    """The sections of a page, in their order. Another page is made of one; a section that it has not is refused.

    Attributes:
        head: what is asked, and of which data.
        of_part: those of each test part.
        of_all: those of all parts together.
        details: what report.html alone shows: figures, and every cell.
        origin: how the results were made.
    """

    head: tuple[Section, ...]
    of_part: tuple[Section, ...]
    of_all: tuple[Section, ...]
    details: tuple[Section, ...]
    origin: tuple[Section, ...]

    def adding(self, section: Section, *, after: Section) -> Page:
        """The page with one more section; behind one of a test part, it is one of every test part."""
        return self._with(after, (after, section))

    def replacing(self, section: Section, by: Section) -> Page:
        """The page with another section in place of one."""
        return self._with(section, (by,))

    def without(self, section: Section) -> Page:
        """The page without a section."""
        return self._with(section, ())

    def _with(self, section: Section, others: tuple[Section, ...]) -> Page:
        groups = {each.name: getattr(self, each.name) for each in fields(self)}
        if not any(section in group for group in groups.values()):
            names = [getattr(each, "__name__", str(each)) for group in groups.values() for each in group]
            raise InputError(
                f"Page: received {getattr(section, '__name__', section)}, which is none of its sections: "
                f"{', '.join(names)}."
            )
        return Page(
            **{
                name: tuple(new for old in group for new in (others if old == section else (old,)))
                for name, group in groups.items()
            }
        )

    def build(self, run: object, parts: Iterable[str]) -> tuple[list[Block], list[Block]]:
        """Writes the files of every section; returns the blocks of table.md, and those of report.html.

        Args:
            run: what sections are given, a FinishedRun.
            parts: its test parts.
        """
        results = _blocks(self.head, run)
        for part in parts:
            results += _blocks(self.of_part, run, part)
        results += _blocks(self.of_all, run)
        details, origin = _blocks(self.details, run), _blocks(self.origin, run)
        return [*results, *origin], [*results, *details, *origin]


def _blocks(sections: tuple[Section, ...], *of: object) -> list[Block]:
    return [block for section in sections for block in section(*of)]
