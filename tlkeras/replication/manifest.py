"""A finished cell's cell.json: what its files were when it was finished, and whether they still are."""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from tlkeras.errors import InputError, MissingInputError
from tlkeras.files import read_json, sha256_of, write_json

MANIFEST, CHECKPOINT, PREDICTIONS = "cell.json", "checkpoint.npz", "predictions.csv"
PACKED = f"{PREDICTIONS}.gz"  # in a published folder, in place of predictions.csv
_RUN_AGAIN = "Remove the cell.json beside it, and the cell is run again."
_OWN_HASH = "sha256"


def write_manifest(cell: Path, settings: dict, facts: dict) -> None:
    """Writes cell.json into the folder of a cell, with the hashes of its files, and of itself."""
    names = sorted(file.name for file in cell.iterdir() if file.is_file() and file.name not in (MANIFEST, CHECKPOINT))
    made = {"settings": settings, "facts": facts, "files": {name: sha256_of(cell / name) for name in names}}
    write_json(cell / MANIFEST, with_hash(made))


def read_manifest(cell: Path) -> dict:
    """What cell.json holds: settings, facts, and {name: sha256} of the files, which cells of earlier versions lack.

    Raises:
        InputError: it is not what was written; earlier versions kept no hash of it.
        MissingInputError: it is not there.
    """
    made = without_hash(read_json(cell / MANIFEST))
    if made is None or not {"settings", "facts"} <= made.keys():
        raise InputError(
            f"{cell / MANIFEST} is not what was written when the cell was finished: damaged or edited. Remove it, and "
            "the cell is run again."
        )
    return made


def read_whole(cell: Path, name: str) -> bytes:
    """What a file of a finished cell holds, compared with its hash; predictions.csv also where it lies packed.

    Raises:
        InputError: it is not what was written when the cell was finished, or cannot be read.
        MissingInputError: it is not there.
    """
    file = _place(cell, name)
    with _said_in_words(file):
        contents = gzip.decompress(file.read_bytes()) if file.name == PACKED else file.read_bytes()
    _compare(file, name, hashlib.sha256(contents).hexdigest())
    return contents


def require_whole(cell: Path, name: str) -> None:
    """Refuses what `read_whole` refuses, of a file too large to be read at once."""
    _compare(_place(cell, name), name, hash_now(cell, name))


def hash_now(cell: Path, name: str) -> str:
    """The sha256 of a file of a finished cell as it is now, however large; raises what `read_whole` raises."""
    file = _place(cell, name)
    with _said_in_words(file):
        return (
            hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest() if file.name == PACKED else sha256_of(file)
        )


def files_of(cell: Path, pattern: str) -> list[str]:
    """The names of a finished cell's files that fit a pattern, sorted: those that it had when it was finished; of
    earlier versions those that it has."""
    there = read_manifest(cell).get("files") or [file.name for file in cell.iterdir()]
    return sorted(fnmatch.filter(there, pattern))


def with_hash(made: dict) -> dict:
    """JSON values with their own hash."""
    return made | {_OWN_HASH: _hash_of(made)}


def without_hash(found: object) -> dict | None:
    """What `with_hash` was given; None where it is something else. Earlier versions gave it no hash."""
    if not isinstance(found, dict):
        return None
    made = {name: value for name, value in found.items() if name != _OWN_HASH}
    return made if found.get(_OWN_HASH) in (None, _hash_of(made)) else None


def _hash_of(made: dict) -> str:
    # As it is when it is read again: there all keys are text.
    return hashlib.sha256(json.dumps(json.loads(json.dumps(made)), sort_keys=True).encode()).hexdigest()


def _place(cell: Path, name: str) -> Path:
    for file in (cell / name, *([cell / PACKED] if name == PREDICTIONS else [])):
        if file.is_file():
            return file
    raise MissingInputError(f"{cell} holds no {name}; remove its cell.json, and the cell is run again.")


def _compare(file: Path, name: str, found: str) -> None:
    manifest = read_manifest(file.parent) if (file.parent / MANIFEST).is_file() else {}
    if found != manifest.get("files", {}).get(name, found):
        raise InputError(
            f"{file} is not what was written when the cell was finished (its sha256 differs from the one in "
            f"cell.json): damaged or edited. {_RUN_AGAIN}"
        )


@contextlib.contextmanager
def _said_in_words(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file} cannot be read ({error}). {_RUN_AGAIN}") from error
