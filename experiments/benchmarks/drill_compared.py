"""Whether two runs of the drill's toy left the same files, but for what only a clock or a date decides."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

from drill_run import Place

COLUMNS_OF_CLOCK = ("run time, s", "peak memory, MB")  # columns of a page that no two runs share
OF_CLOCK = ("seconds", "peak_mb", "resumed")
TIMED = ("history.csv", "classifier.json", "model.keras", "model_card.md")  # files in which a time or date stands


def differences(wanted: Place, found: Place) -> list[str]:
    """The files of a run folder that are not as the unbroken run's, and what lies half-written in folder or store."""
    before, now = contents(wanted), contents(found)  # predictions first
    unfinished = [str(path.relative_to(found.folder)) for path in sorted((found.folder / "store").rglob(".writing-*"))]
    kinds = {
        "differ": [name for name in before if name in now and before[name] != now[name]],
        "are not there": [name for name in before if name not in now],
        "are left over": [name for name in now if name not in before] + unfinished,
    }
    return [
        f"{len(names)} files {kind}: {', '.join(names[:4])}{' and others' * (len(names) > 4)}"
        for kind, names in kinds.items()
        if names
    ]


def contents(place: Place) -> dict[str, object]:
    """{file of the run folder: what of it must be equal}; what only a clock or a date decides is not in it."""
    found = {}
    for path in sorted(place.out.rglob("*"), key=lambda path: (path.name != "predictions.csv", path)):
        if path.is_file() and path.name not in (".lock", "report.html"):  # its tables are table.md's
            try:
                content = _content(path, str(place.folder))
            except (ValueError, LookupError, zipfile.BadZipFile):  # no whole file of its kind
                content = path.read_bytes()
            found[str(path.relative_to(place.out))] = content
    return found


def _content(path: Path, folder: str) -> object:
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as file:
            return file.read("model.weights.h5")  # the others hold a date and numbers of objects in memory
    if path.suffix not in (".csv", ".json", ".md") or path.name == "predictions.csv":
        return path.read_bytes()
    text = path.read_text(encoding="utf-8").replace(folder, "PLACE")
    if path.suffix == ".csv":
        return rows_without_clock(list(csv.reader(text.splitlines())))
    if path.suffix == ".md":
        return page_without_clock(text)
    return json_without_clock(json.loads(text), *["sha256"] * (path.name in ("classifier.json", "cell.json")))


def rows_without_clock(rows: list[list[str]]) -> list[list[str]]:
    """A table without its column "seconds" and without the rows of seconds and peak memory."""
    kept = [position for position, name in enumerate(rows[0]) if name not in OF_CLOCK]
    rows = [rows[0], *(row for row in rows[1:] if not set(OF_CLOCK) & set(row))]
    return [[row[position] for position in kept] for row in rows]


def page_without_clock(text: str) -> list:
    """A page's lines, those of tables as cells, without the columns and rows that no two runs share."""
    lines: list = []
    kept: list[int] | None = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            lines.append(line)
            kept = None
        elif kept is None:
            kept = [position for position, cell in enumerate(cells) if cell not in COLUMNS_OF_CLOCK]
        if kept is not None and cells[0] != "sha256 of model.keras" and not set(line) <= set("|-: "):
            lines.append([cells[position] for position in kept])
    return lines


def json_without_clock(value: object, *hidden: str) -> object:
    """A JSON value without seconds, peak memory, digests of files in which a time stands, and `hidden`."""
    if isinstance(value, list):
        return [json_without_clock(item) for item in value]
    if not isinstance(value, dict):
        return value
    left_out = (*OF_CLOCK, *TIMED, *hidden)
    return {key: json_without_clock(item) for key, item in value.items() if key not in left_out}
