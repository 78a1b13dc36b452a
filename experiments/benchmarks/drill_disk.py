"""Faults of the disk: it is full, something on it is taken away or damaged; each acts on a place's next run."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from drill_run import Event, Place, judged

DATA, WEIGHTS = "data/tumor", "weights/start.keras"  # of a place
RIGHT = "right to write"
UNWRITABLE = r"error: [\s\S]*( cannot be written|feature store .* (File too large|No space left))"


def limit_size(place: Place, size: int) -> Event:
    """No file may grow beyond `size` bytes."""
    return judged(place.start("--size-limit", str(size)), 2, UNWRITABLE)


def fill_disk(place: Place, size: int) -> Event:
    """The run folder lies on a disk of `size` bytes, which is larger when the command is given again."""
    place.out.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place.out], capture_output=True)
    if done.returncode:
        return Event(None, message="no tmpfs can be mounted here")
    place.mounted = True
    event = judged(place.start(), 2, UNWRITABLE)
    subprocess.run(["mount", "-o", "remount,size=256m", place.out], check=True)
    return event


def take_away(place: Place, what: str, when: str) -> Event:
    """A file or folder of the place has another name, or `what` is "right to write": no folder of the run folder may
    be written to. From before the start (`when` is empty), or from some point on, until the run has ended."""
    forbidden = what == RIGHT
    options = ["--obeying"] * forbidden
    child = place.start(*options) if when else None
    if child and not child.runs_until(lambda: child.is_at(when)):
        return Event(None, message=f"the run was never at {when}", whole=child.ends() == 0)
    with _unwritable(place.out) if forbidden else _renamed(place.folder / what):
        wanted = UNWRITABLE if forbidden else rf"error: [\s\S]*{Path(what).name}"
        return judged(child or place.start(*options), 2, wanted, may_end=bool(when))


@contextlib.contextmanager
def _renamed(path: Path) -> Iterator[None]:
    path.rename(f"{path}.away")
    yield
    Path(f"{path}.away").rename(path)


@contextlib.contextmanager
def _unwritable(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    yield
    for path in folders:
        path.chmod(0o755)


def damage_checkpoint(place: Place, kind: str) -> Event:
    """SIGKILL in the second phase, and the checkpoint is not as it was when the command is given again."""
    child = place.start()
    running = child.runs_until(lambda: child.is_at("two_phases: phase 2") and bool(place.checkpoints()))
    child.kill()
    if not running:
        return Event(None, message="the run was never in phase 2 of two_phases with a checkpoint")
    checkpoint = place.checkpoints()[-1]
    damage(checkpoint, kind)
    event = judged(place.start(), 2, rf"error: [\s\S]*{checkpoint.name}[\s\S]* Remove it")
    checkpoint.unlink(missing_ok=True)
    return event


def damage_predictions(place: Place, kind: str, *, finished: Place) -> Event:
    """The predictions of a finished cell are not as they were; its cell.json is then removed."""
    shutil.copytree(finished.out, place.out)
    shutil.copyfile(finished.folder / "0.out", place.folder / "finished.out")
    cell, page = next(place.out.glob("*/*/two_phases/*")), place.out / place.protocol / "table.md"
    damage(cell / "predictions.csv", kind)
    page.unlink()
    event = judged(place.start(), 2, r"error: [\s\S]*predictions\.csv[\s\S]* Remove the cell\.json")
    if page.exists():
        event = Event("NOT AS WANTED: damaged predictions were reported", False, event.message)
    (cell / "cell.json").unlink(missing_ok=True)
    return event


def damage(path: Path, kind: str) -> None:
    """A file is "cut" in half, has one bit "flipped" in its middle, or is "empty"."""
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes({"cut": whole[:middle], "flipped": flipped, "empty": b""}[kind])
