"""Ties the figures of the documents to committed files: `claims.toml` beside the evidence says which figure is what.

    python tests/claims.py           every figure that differs, is gone, or has no claim
    python tests/claims.py --mend    writes what the files say into the documents

A claim is a fragment of a document with a placeholder for each figure, and expressions over files (see evidence.py):

    document = "assets/study/README.md"   # from the root of the repository; an entry below may name another

    [[claim]]
    says = "frozen {:.1f} [{:.1f}, {:.1f}], in {:w} of {:w} cells"
    from = ['100 * csv("paper/scores.csv", "value", method="frozen", metric="accuracy")', ...]
    holds = ['all(csv(...) > csv(...))']  # what else the sentence says, if anything

    [[exempt]]
    because = "setting"
    says = ["at a rate of 1e-4", "2 cores"]

A document is the README, CONTRIBUTING.md, a page below assets/ that no script writes, or an experiment's script. In all
but the scripts, every number needs a claim, an exemption or a rule (`RULES`).

A fragment stands once in its document, wherever its lines break and its links lead (`[table]()`). Its placeholders are
those of Python's `format`, `{}` for a cell of a page as it is printed, `{:.3p}` for .619 without the zero before the
point and `{:w}` for a number word; its own digits prove nothing. In the document, `?` stands for a figure that --mend
is to fill in.
"""

import argparse
import contextlib
import re
import string
import sys
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from evidence import NUMBER, READERS, REPOSITORY, EvidenceError, evaluate

from tlkeras.files import write_text

WORDS = (
    *("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
FIGURE = rf"(?:{NUMBER}|\?)"
PRINTED = rf"{FIGURE}(?: ± {FIGURE})?(?: \[{FIGURE}, {FIGURE}\])?|< 0\.001|not run|not defined"
WORD = rf"(?:{'|'.join(WORDS)})(?!\w)|{FIGURE}"
CELL = r"(?:[^|\s](?:[^|\n]*[^|\s])?)?"

TOKEN = re.compile(r"(?<![\w.,])\.?\d(?:[\d,.]*\d)?(?:e-?\d+)?")
# Numbers that are no results wherever they stand.
RULES = {
    "block of code": r"^```[^`]*^```|(?<=\n\n)(?: {4}.*\n)+",
    "inline code": r"`(?:[^`\n]|\n(?!\n))+`",
    "target of a link": r"\]\([^)\s]+\)",
    "licence": r"\bCC\s+BY(?:-NC)?\s+4\.0",
    "size": r"\b\d+x\d+\b",
    "name": r"\b[A-Za-z]+-\d+K?\b(?!\.\d)",
    "date": r"\b20\d\d-\d\d-\d\d\b",
    "year of a citation": r"\bal\.\s+20\d\d\b|\((?:[^()\d]*, )?20\d\d\)|report of\s+20\d\d\b",
}
# Pages that scripts write: they are where figures come from. {file name: what writes it}
GENERATED = {
    "answers.md": "experiments/benchmarks/benchmark_answers.py",
    "table.md": "tlkeras/replication/results.py",
    "protocols.md": "tlkeras/replication/comparison.py",
    "claim_2024.md": "tlkeras/replication/checklists.py",
    "tripod_ai.md": "tlkeras/replication/checklists.py",
    "cells_made_again.md": "experiments/benchmarks/cells_made_again.py",
    "coverage.md": "experiments/benchmarks/benchmark_coverage.py",
    "eda.md": "experiments/ham10000_exploration/page.py",
    "explain.md": "experiments/benchmarks/benchmark_explain.py",
    "faults.md": "experiments/benchmarks/drill_faults.py",
    "grid.md": "experiments/benchmarks/benchmark_grid.py",
    "memory.md": "experiments/benchmarks/benchmark_memory.py",
    "near_duplicates.md": "experiments/benchmarks/benchmark_near_duplicates.py",
    "look_alikes.md": "experiments/benchmarks/benchmark_look_alikes.py",
    "precision.md": "experiments/benchmarks/benchmark_precision.py",
    "statistics.md": "experiments/benchmarks/benchmark_statistics.py",
    "training.md": "experiments/benchmarks/benchmark_training.py",
    "recipes.md": "experiments/benchmarks/benchmark_recipes.py",
}


class ClaimError(Exception):
    """A claim that cannot be read, does not hold or is not found in its document; the message says why."""


@dataclass(frozen=True)
class Claim:
    """A fragment of a document, and the expressions that its figures come from."""

    file: Path
    document: str
    says: str
    sources: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()

    @cached_property
    def placeholders(self):
        """[(the words before a figure, its format or None behind the last)]."""
        return [(words, spec if name is not None else None) for words, name, spec, _ in FORMATTER.parse(self.says)]

    def find(self, text):
        """The one place where the text says this, whatever the figures: a group for each of them."""
        places = [*re.compile(self._pattern()).finditer(text)]
        if len(places) != 1:
            lines = ", ".join(str(_line(text, place.start())) for place in places)
            raise ClaimError(
                f"{self.document}: {self.says!r} stands in {len(places)} places (lines {lines}); make it longer"
                if places
                else f"{self.document} no longer says {self.says!r}"
            )
        return places[0]

    def _pattern(self):
        parts = []
        for position, (words, spec) in enumerate(self.placeholders):
            parts.append(_spelled(words))
            if spec is None:
                continue
            behind = self.placeholders[position + 1][0] if position + 1 < len(self.placeholders) else ""
            if not spec:
                whole_cell = words.endswith("| ") and behind.startswith(" |")
                figure = CELL if whole_cell else PRINTED
            else:
                figure = WORD if spec == "w" else FIGURE
            parts.append(rf"(?<![\w.])({figure})")  # 2.4 is not found in 12.4
        return "".join(parts)

    def figures(self):
        """What the sources say, as the document has to print it: [(figure, its source)]."""
        if idle := [source for source in self.sources if not any(f"{reader}(" in source for reader in READERS)]:
            raise ClaimError(f"{self.says!r} has a source that reads no file: {idle[0]}")
        values = [(value, source) for source in self.sources for value in _each(evaluate(source, self.file.parent))]
        specs = [spec for _, spec in self.placeholders if spec is not None]
        if len(values) != len(specs):
            raise ClaimError(f"{self.says!r} has room for {len(specs)} figures, its sources give {len(values)}")
        return [(printed(value, spec), source) for (value, source), spec in zip(values, specs, strict=True)]

    def check(self, text):
        """Every figure of the fragment that is not what the sources say, in words."""
        place = self.find(text)
        for group, (figure, source) in enumerate(self.figures(), start=1):
            if place[group] != figure:
                line = text.splitlines()[_line(text, place.start(group)) - 1].strip()
                yield (
                    f"{self.document}:{_line(text, place.start(group))}: {place[group]} stands in: {line}\n"
                    f"    {figure} says {self.file}: {source}"
                )
        for condition in self.holds:
            held = np.asarray(evaluate(condition, self.file.parent))
            if held.size != 1:
                raise ClaimError(f"{self.file}: {condition} gives {held.size} answers; ask for all(...) or one row")
            if not held.item():
                line = _line(text, place.start())
                yield f"{self.document}:{line}: {self.says!r} does not hold, says {self.file}: {condition}"


@dataclass(frozen=True)
class Exemption:
    """A fragment of a document whose numbers come from no file, and why."""

    document: str
    says: str
    because: str

    def spans(self, text):
        """Wherever the text says this."""
        return [place.span() for place in re.finditer(rf"(?<![\d.,]){_spelled(self.says)}(?!,?\d|\.\d)", text)]


FORMATTER = string.Formatter()


def read_claims(root=REPOSITORY):
    """The claims and exemptions of every claims.toml below assets/."""
    claims, exemptions = [], []
    for file in sorted(root.glob("assets/**/claims.toml")):
        content = tomllib.loads(file.read_text())
        document = content.pop("document")
        for entry in content.pop("claim", ()):
            sources, holds = entry.pop("from", ()), entry.pop("holds", ())
            of = entry.pop("document", document)
            claims.append(Claim(file, of, entry.pop("says"), tuple(sources), tuple(holds)))
            if entry or not (sources or holds):
                raise ClaimError(f"{file}: {claims[-1].says!r} needs `from` or `holds`, and nothing else: {entry}")
        for entry in content.pop("exempt", ()):
            of = entry.get("document", document)
            exemptions += [Exemption(of, says, entry["because"]) for says in entry["says"]]
        if content:
            raise ClaimError(f"{file}: accepted are document, claim and exempt; received {', '.join(content)}")
    return claims, exemptions


def documents(root=REPOSITORY):
    """The pages in which no number stands unproven: at the root, and below assets/ those that no script writes."""
    pages = [path.relative_to(root) for path in sorted(root.glob("assets/**/*.md")) if path.name not in GENERATED]
    return [*(name for name in ("README.md", "CONTRIBUTING.md") if (root / name).is_file()), *map(str, pages)]


def problems(root=REPOSITORY):
    """What is wrong between the documents and the files, in words, in the order of the documents."""
    claims, exemptions = read_claims(root)
    for document in dict.fromkeys([*documents(root), *(each.document for each in (*claims, *exemptions))]):
        if not (root / document).is_file():
            yield f"there is no document {document}, which a claims.toml names"
            continue
        text = (root / document).read_text()
        of_document = [claim for claim in claims if claim.document == document]
        exempt = [exemption for exemption in exemptions if exemption.document == document]
        for claim in of_document:
            try:
                yield from claim.check(text)
            except (ClaimError, EvidenceError) as error:
                yield str(error)
        if document.endswith(".md"):
            yield from _unproven(document, text, of_document, exempt)
        for exemption in exempt:
            if not exemption.spans(text):
                yield f"{document} no longer says {exemption.says!r}: remove the exemption"


def _unproven(document, text, claims, exemptions):
    """Every number of the document that is no figure of a claim, of no exemption and no rule's."""
    covered = [place.span() for place in re.finditer("|".join(RULES.values()), text, re.M)]
    covered += [span for exemption in exemptions for span in exemption.spans(text)]
    for claim in claims:
        with contextlib.suppress(ClaimError):  # said by its check
            covered += claim.find(text).regs[1:]
    unproven = {}
    for token in TOKEN.finditer(text):
        if not any(start <= token.start() and token.end() <= end for start, end in covered):
            unproven.setdefault(_line(text, token.start()), []).append(token[0])
    lines = text.splitlines()
    for line, numbers in unproven.items():
        yield f"{document}:{line}: neither claim nor exemption for {' '.join(numbers)} in: {lines[line - 1].strip()}"


def mend(text, claims):
    """The text with the figures its sources give, and what could not be mended, in words."""
    refused = []
    for claim in claims:
        try:
            place, figures = claim.find(text), claim.figures()
        except (ClaimError, EvidenceError) as error:
            refused.append(str(error))
            continue
        for group, (figure, _) in reversed([*enumerate(figures, start=1)]):
            text = text[: place.start(group)] + figure + text[place.end(group) :]
    return text, refused


def printed(value, spec):
    """A figure as a document prints it."""
    if not spec:
        if isinstance(value, str):
            return value
        spec = "d"
    if isinstance(value, str):
        raise ClaimError(f"{value!r} is a text; its placeholder is {{}}, not {{:{spec}}}")
    value = float(value)
    if spec in ("w", "d", ",", "+d"):
        if value != round(value):
            raise ClaimError(f"{value} is no whole number, which {{:{spec}}} prints")
        value = int(value)
        if spec == "w":
            return WORDS[value] if value < len(WORDS) else str(value)
    if spec.endswith("p"):
        return re.sub(r"^([-+]?)0\.", r"\1.", printed(value, spec[:-1] + "f"))
    text = re.sub(r"e-0*", "e-", format(value, spec))
    return text.removeprefix("-") if not text.strip("-0.") else text


def _each(value):
    return [value] if isinstance(value, str) else np.atleast_1d(np.asarray(value, dtype=object)).tolist()


def _spelled(words):
    """These words as a pattern: lines may break elsewhere, cells be filled with spaces, links lead to other places."""
    pattern = ""
    for part in re.split(r"( *\| *|\s+|\]\([^)\s]*\))", words):
        if part.strip() == "|":
            pattern += r" *\| *"
        elif part.startswith("]("):
            pattern += r"\]\([^)\s]*\)"
        else:
            pattern += r"\s+" if part.isspace() else re.escape(part)
    return pattern


def _line(text, position):
    return text.count("\n", 0, position) + 1


def main():
    """Prints what is wrong; with --mend, what was mended first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mend", action="store_true", help="write what the files say into the documents")
    asked = parser.parse_args()
    claims, exemptions = read_claims()
    if asked.mend:
        for document in sorted({claim.document for claim in claims}):
            before = (REPOSITORY / document).read_text()
            after, _ = mend(before, [claim for claim in claims if claim.document == document])
            for number, (old, new) in enumerate(zip(before.splitlines(), after.splitlines(), strict=True), start=1):
                if old != new:
                    print(f"{document}:{number}\n  - {old.strip()}\n  + {new.strip()}")
            write_text(REPOSITORY / document, after)
    wrong = [*problems()]
    print(*wrong, sep="\n")
    figures = sum(len(claim.figures()) for claim in claims) if not wrong else "?"
    print(f"{len(claims)} claims with {figures} figures, {len(exemptions)} exemptions, {len(wrong)} problems")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
