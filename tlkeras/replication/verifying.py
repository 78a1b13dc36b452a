"""`tlkeras verify`: whether the files of finished cells are those that were there when the cells were finished."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from tlkeras.errors import InputError, MissingInputError
from tlkeras.files import read_json
from tlkeras.models.saved import MODEL_CARD
from tlkeras.replication.auditing import FILE as AUDITS
from tlkeras.replication.publishing import is_published
from tlkeras.replication.run_folder import (
    CHECKPOINT,
    MANIFEST,
    PACKED,
    PREDICTIONS,
    hash_now,
    read_manifest,
    without_hash,
)

DAMAGED, MISSING, EXTRA = "damaged or edited", "missing", "extra: no run wrote it"
# What reports, explanations and exports add to a finished cell, and what a search leaves.
_LATER = (
    *("curves.png", "grid.png", "ranking.csv", "report_*.csv", "confusion_*.png", "probabilities_*.png"),
    *("explanations_*.png", "explained_*.csv", "explanation_*.npz", MODEL_CARD, "export", "search"),
    *(MANIFEST, CHECKPOINT, PACKED),
)


@dataclass(frozen=True)
class Verified:
    """What `verify_run` found.

    Attributes:
        folder: what was examined.
        n_cells: finished cells below it.
        n_files: files of them that are what was written.
        without_hashes: cells of earlier versions, which kept none: only whether their predictions can be read is known.
        findings: (file, DAMAGED, MISSING or EXTRA) each.
    """

    folder: Path
    n_cells: int
    n_files: int
    without_hashes: tuple[str, ...]
    findings: tuple[tuple[Path, str], ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged or missing; what is extra changes no result."""
        return all(kind == EXTRA for _, kind in self.findings)

    def describe(self) -> str:
        """In lines: what is whole, what is not, what is not known."""
        lines = [f"{self.folder}: {self.n_cells} finished cells, {self.n_files} files are what was written"]
        lines += [f"  {file.relative_to(self.folder)}: {kind}" for file, kind in self.findings]
        if self.without_hashes:
            lines.append(
                f"{len(self.without_hashes)} cells are of a version that kept no hashes; their predictions can be "
                "read, and no more is known"
            )
        return "\n".join(lines)


def verify_run(folder: str | os.PathLike) -> Verified:
    """Compares every file of every finished cell in or below a folder, and its audits, with their hashes. Of a
    published folder, what publishing leaves out is not missing.

    Raises:
        MissingInputError: there is no folder, or no finished cell in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise MissingInputError(f"there is no folder {root}; give a run folder, or the folder of a cell.")
    cells = sorted(file.parent for file in root.rglob(MANIFEST))
    if not cells:
        raise MissingInputError(f"{root} holds no finished cell: there is no cell.json in it or below it.")
    found = [_verify_cell(cell) for cell in cells]
    findings = [finding for of_cell in found for finding in of_cell.findings]
    findings += [(audit, DAMAGED) for audit in sorted(root.rglob(AUDITS)) if not _is_whole_audit(audit)]
    without = tuple(str(cell.relative_to(root)) for cell, of_cell in zip(cells, found, strict=True) if of_cell.hashless)
    return Verified(root, len(cells), sum(of_cell.n_files for of_cell in found), without, tuple(findings))


@dataclass(frozen=True)
class _OfCell:
    """What was found of one cell: (file, kind) each, how many files are whole, whether it has no hashes."""

    findings: list[tuple[Path, str]]
    n_files: int = 0
    hashless: bool = False


def _verify_cell(cell: Path) -> _OfCell:
    try:
        hashes = read_manifest(cell).get("files")
    except InputError:
        return _OfCell([(cell / MANIFEST, DAMAGED)])
    if hashes is None:
        kind = _kind(cell, PREDICTIONS, None)
        return _OfCell([(cell / PREDICTIONS, kind)] if kind else [], hashless=True)
    kinds = {name: _kind(cell, name, sha256) for name, sha256 in hashes.items()}
    published = not (cell / PREDICTIONS).is_file() and (cell / PACKED).is_file()
    left_out = [name for name, kind in kinds.items() if kind == MISSING and published and not is_published(name)]
    findings = [(cell / name, kind) for name, kind in kinds.items() if kind and name not in left_out]
    known = (*hashes, *_LATER)
    extra = sorted(path for path in cell.iterdir() if not any(fnmatch(path.name, pattern) for pattern in known))
    return _OfCell([*findings, *((path, EXTRA) for path in extra)], n_files=[*kinds.values()].count(None))


def _kind(cell: Path, name: str, sha256: str | None) -> str | None:
    """MISSING or DAMAGED; None where the file is what was written, or without a hash where it can be read."""
    try:
        found = hash_now(cell, name)
    except MissingInputError:
        return MISSING
    except InputError:
        return DAMAGED
    return None if sha256 in (None, found) else DAMAGED


def _is_whole_audit(file: Path) -> bool:
    try:
        return all(without_hash(of_seed) is not None for of_seed in read_json(file).values())
    except (InputError, AttributeError):  # no JSON, or none of its seeds
        return False
