"""`tlkeras verify`: whether the files of finished cells are those that were there when the cells were finished."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from tlkeras.errors import InputError, MissingInputError
from tlkeras.files import read_json
from tlkeras.models.saved import MODEL_CARD
from tlkeras.replication.manifest import (
    CHECKPOINT,
    MANIFEST,
    PACKED,
    PREDICTIONS,
    hash_now,
    read_manifest,
    without_hash,
)
from tlkeras.replication.run_folder import is_published

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
    n_files, without, findings = 0, [], []
    for cell in cells:
        try:
            manifest = read_manifest(cell)
        except InputError:
            findings.append((cell / MANIFEST, DAMAGED))
            continue
        named = manifest.get("files")
        if named is None:
            without.append(str(cell.relative_to(root)))
        published = not (cell / PREDICTIONS).is_file() and (cell / PACKED).is_file()
        for name in named or [PREDICTIONS]:
            try:
                found = hash_now(cell, name)
                is_whole = named is None or found == named[name]
            except MissingInputError:
                if not published or is_published(name):
                    findings.append((cell / name, MISSING))
                continue
            except InputError:
                is_whole = False
            if not is_whole:
                findings.append((cell / name, DAMAGED))
            n_files += is_whole and named is not None
        known = (*(named or ()), *_LATER)
        extra = (
            [] if named is None else [path for path in cell.iterdir() if not any(fnmatch(path.name, n) for n in known)]
        )
        findings += [(path, EXTRA) for path in sorted(extra)]
    for audit in sorted(root.rglob("audit.json")):
        try:
            is_whole = all(without_hash(of_seed) is not None for of_seed in read_json(audit).values())
        except (InputError, AttributeError):  # no JSON, or none of its seeds
            is_whole = False
        findings += [] if is_whole else [(audit, DAMAGED)]
    return Verified(root, len(cells), n_files, tuple(without), tuple(findings))
