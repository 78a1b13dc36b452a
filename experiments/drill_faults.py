"""Killed, starved, robbed, started twice: what is lost?

Question
    A small experiment is run once unbroken. Then it is run again and again, each time with a fault put in its way:
    SIGKILL at a random moment, a disk that is full, data, weights or the right to write taken away, a second run on the
    same folder, Ctrl-C, a damaged file. Is every fault said in one message, and does the same command, given again, end
    with the same files as the unbroken run, bit for bit?
Command
    python experiments/drill_faults.py --out assets/faults
    python experiments/drill_faults.py --short              the form that CI runs: every fault, most of them once
Data
    50 toy images drawn from the seed, PNG and JPEG; the small experiment is that of drill_toy.py.
What is compared
    Every file of the run folder with the unbroken run's: predictions, scores, history, tables, figures byte for byte,
    models by their weights; only seconds, peak memory and the sha256 of model.keras (which holds a date) are left out.
    Files that one run has and the other has not count, and so do files left half-written.
How
    A run is a process of its own; run folder and feature store are kept over the fault. Moments are drawn evenly over
    the seconds that the unbroken run took (--short: from 30 to 80 % of them), those of Ctrl-C from when the script's
    own code begins, since Python itself speaks before. The disk is full by a limit on the size of a file, and on a
    small tmpfs where one can be mounted. Root may write everywhere: where the right to write is taken away, the run is
    one without that privilege.
Cost
    80 trials of two to four runs, some 35 minutes on 2 cores; --short --jobs 2: a minute and a half, beside other work.
Expected result
    faults.md: nothing lost in any row, and exit code 0; it is 1 where a result differed or a fault was not said as it
    should be. Work is lost at times: the epochs since the last checkpoint are trained again, counted in kills.csv.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import csv
import datetime
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tlkeras.errors import InputError
from tlkeras.terminal import run_guarded

TOY = str(Path(__file__).resolve().with_name("drill_toy.py"))
PARTS = {"train": 12, "val": 6, "test1": 6, "test2": 2}  # images of each class
DATA, WEIGHTS = "data/tumor", "weights/start.keras"  # of a place
RIGHT = "right to write"
OVER = "over, and ending"
REPORTING = "reporting"
UNWRITABLE = r"error: [\s\S]*( cannot be written|feature store .* (File too large|No space left))"
PATIENCE = 300  # seconds after which a run counts as hung
COLUMNS_OF_CLOCK = ("run time, s", "peak memory, MB")  # columns of a page that no two runs share
OF_CLOCK = ("seconds", "peak_mb", "resumed")
TIMED = ("history.csv", "classifier.json", "model.keras", "model_card.md")  # files in which a time or date stands
EPOCH = re.compile(r"^ +epoch +(\d+)/(\d+)", re.MULTILINE)
# What TensorFlow writes to stderr on its own account.
NOISE = re.compile(r"^(WARNING: All log messages before absl|[IWEF]\d{4} \d\d:\d\d|To enable the following)")


def make_images(folder: Path, seed: int) -> None:
    """Class folders in the layout of `tumor`: noise, a little brighter where there is a tumour."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    for part, count in PARTS.items():
        for label, name in enumerate(("no_tumor", "tumor")):
            place = folder / "tumor" / part / name
            place.mkdir(parents=True)
            for number in range(count - 2 * label * (part == "train")):
                pixels = rng.normal(100 + 50 * label, 40, (40, 44, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number:02d}.{('png', 'jpg')[number % 2]}")


# ---- a run and what came of it ----


@dataclass(frozen=True)
class Child:
    """A toy run under way."""

    process: subprocess.Popen
    out: Path
    err: Path
    begun: float

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self.out.read_text(errors="replace")

    @property
    def message(self) -> str:
        """What it wrote to stderr, without what TensorFlow writes there."""
        lines = self.err.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if line.strip() and not NOISE.match(line))

    def runs_until(self, condition: Callable[[], bool]) -> bool:
        """Waits; whether it is still running when `condition` holds. A run that hangs is killed."""
        while self.process.poll() is None:
            if condition():
                return True
            if time.monotonic() - self.begun > PATIENCE:
                self.kill()
            time.sleep(0.01)
        return False

    def is_at(self, doing: str) -> bool:
        """Whether it has come to that point, as `doing_of` names it."""
        return doing_of(self.said).startswith(doing)

    def ends(self) -> int:
        """Waits; its exit code."""
        self.runs_until(lambda: False)
        return self.process.wait()

    def kill(self) -> None:
        """SIGKILL to it and its own children, where it has not ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class Place:
    """One trial's own folder: data, weights, feature store, run folder, and the logs of its runs."""

    folder: Path
    protocol: str
    options: tuple[str, ...] = ()  # of the command
    seconds: float = 0.0  # of the unbroken run
    children: list[Child] = field(default_factory=list)
    mounted: bool = False

    @property
    def out(self) -> Path:
        """The run folder."""
        return self.folder / "out"

    def start(self, *options: str) -> Child:
        """Starts the one command that is given again after every fault; `options` are faults."""
        out, err = (self.folder / f"{len(self.children)}.{kind}" for kind in ("out", "err"))
        command = [sys.executable, "-u", TOY, *options, "--data", self.folder / "data", "--out", self.out]
        command += ["--protocol", self.protocol, *self.options]
        environment = os.environ | {"TLKERAS_STORE": str(self.folder / "store"), "TF_CPP_MIN_LOG_LEVEL": "2"}
        with out.open("w") as said, err.open("w") as complained:
            process = subprocess.Popen(
                command, stdout=said, stderr=complained, env=environment, start_new_session=True, cwd=self.folder
            )
        self.children.append(Child(process, out, err, time.monotonic()))
        return self.children[-1]

    def checkpoints(self) -> list[Path]:
        """Its checkpoint files, the cells in the order they run."""
        return sorted(path for path in self.out.rglob("checkpoint*") if path.is_file())

    def epochs(self) -> int:
        """How many epochs all its runs have finished."""
        return sum(len(EPOCH.findall(log.read_text(errors="replace"))) for log in self.folder.glob("*.out"))

    def close(self) -> None:
        """Ends what still runs, and gives back the disk that was mounted."""
        for child in self.children:
            child.kill()
        if self.mounted:
            subprocess.run(["umount", "--lazy", self.out], check=True)
            self.mounted = False


def doing_of(said: str) -> str:
    """What a run was doing, from the lines it has printed."""
    doing, cell, last = "starting", "", False
    for line in said.splitlines():
        if line.startswith("auditing"):
            doing = "auditing the split"
        elif found := re.match(r"\[\d+/\d+\] \w+: \w+/(\w+)/seed", line):
            doing, cell, last = f"{found[1]}: building", found[1], False
        elif found := re.match(r"phase (\d) of (\d)", line):
            doing, last = f"{cell}: phase {found[1]}", found[1] == found[2]
        elif (found := EPOCH.match(line)) and last and found[1] == found[2]:
            doing = f"{cell}: predicting and writing"
        elif line.startswith("accuracy "):
            doing = REPORTING
        elif line.startswith("report.html, "):
            doing = OVER
    return doing


@dataclass(frozen=True)
class Event:
    """What came of one fault. `outcome` None: it could not be tried, `message` says why."""

    outcome: str | None
    wanted: bool = True
    message: str = ""
    moment_s: float | None = None
    doing: str = ""
    whole: bool = False  # a run has ended well after it: none is needed to see what is left


TOO_LATE = Event(None, message="the run had ended before the moment came", whole=True)


def judged(child: Child, code: int, wanted: str, *, may_end: bool = False) -> Event:
    """Whether a run ended with that exit code and one message; or well, where the fault may come too late to matter."""
    found, message = child.ends(), child.message
    if found == 0 and not message and may_end:
        return Event("ran to its end, which needed it no more", whole=True)
    if found == code and re.match(wanted, message) and "Traceback" not in message:
        return Event(f"exit {code}, one message", message=message)
    last = message.splitlines()[-1] if message else "no message"
    return Event(f"NOT AS WANTED: exit {found}, {last}", False, message, whole=found == 0)


# ---- faults: each puts one in the way of a place's next run ----


def kill(place: Place, share: float) -> Event:
    """SIGKILL after a share of the seconds that the unbroken run took."""
    child, moment = place.start(), share * place.seconds
    running = child.runs_until(lambda: time.monotonic() - child.begun >= moment)
    child.kill()
    return Event("killed", moment_s=moment, doing=doing_of(child.said)) if running else TOO_LATE


def interrupt(place: Place, share: float) -> Event:
    """Ctrl-C, as `kill`, from when the script's own code begins."""
    child = place.start()
    child.runs_until(lambda: bool(child.said))
    begin = time.monotonic() - child.begun
    moment = begin + share * max(place.seconds - begin, 0)
    if not child.runs_until(lambda: time.monotonic() - child.begun >= moment):
        return TOO_LATE
    doing = doing_of(child.said)
    if doing == OVER:
        return TOO_LATE
    child.process.send_signal(signal.SIGINT)
    # What struck among the last tables may find a process that has finished, and ends well.
    event = judged(child, 130, "stopped; [^\n]+$", may_end=doing == REPORTING)
    return replace(event, moment_s=moment, doing=doing)


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


def run_once(place: Place) -> Event:
    """No fault: what a run ends with when nothing is in its way."""
    event = judged(place.start(), 0, "$")
    return replace(event, outcome="ran to its end", whole=True) if event.wanted else event


def run_twice(place: Place) -> Event:
    """A second run on the folder, while a first one trains."""
    first = place.start()
    if not first.runs_until(lambda: "small/" in first.said):
        return Event("NOT AS WANTED: the first run ended before a cell began", False, first.message)
    event = judged(place.start(), 2, r"error: .* another process")
    if code := first.ends():
        return Event(f"NOT AS WANTED: the first run ended with exit {code}", False, first.message)
    return replace(event, whole=True)


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


# ---- what is compared ----


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
    lines, kept = [], None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            lines.append(line)
            kept = None
        elif kept is None:
            kept = [position for position, cell in enumerate(cells) if cell not in COLUMNS_OF_CLOCK]
        if line.startswith("|") and cells[0] != "sha256 of model.keras" and not set(line) <= set("|-: "):
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


# ---- the drill ----


@dataclass(frozen=True)
class Fault:
    """A row of the table, one way of trying it, and how."""

    name: str
    how: str
    act: Callable[[Place], Event]


@dataclass(frozen=True)
class Trial:
    """Faults put in the way of one run, one after the other; then the command is given until it ends well."""

    protocol: str
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Bench:
    """Where trials are made, and what they must end with: {protocol: place of the unbroken run}."""

    scratch: Path
    seed: int
    options: tuple[str, ...] = ()  # of the command
    unbroken: dict[str, Place] = field(default_factory=dict)

    @contextlib.contextmanager
    def place(self, name: str, protocol: str, seconds: float = 0.0) -> Iterator[Place]:
        """A fresh place with the toy's images and weights."""
        shutil.copytree(self.scratch / "toy", self.scratch / name)
        place = Place(self.scratch / name, protocol, self.options, seconds)
        try:
            yield place
        finally:
            place.close()

    def prepare(self, protocols: list[str]) -> dict[str, int]:
        """Makes images and weights and runs every protocol unbroken; the size of the largest file of each kind."""
        toy, sizes = self.scratch / "toy", collections.Counter()
        make_images(toy / "data", self.seed)
        subprocess.run([sys.executable, TOY, "--make-weights"], check=True, capture_output=True, cwd=toy)
        for protocol in protocols:
            with self.place(f"unbroken_{protocol}", protocol) as place:
                child = place.start()
                child.runs_until(functools.partial(_measure, place, sizes))
                if child.ends():
                    raise InputError(f"the unbroken run ended with exit {child.ends()}: {child.message}")
                place.seconds = time.monotonic() - child.begun
                _measure(place, sizes)
                self.unbroken[protocol] = place
                print(f"unbroken run, {protocol}: {place.seconds:.1f} s, {place.epochs()} epochs", flush=True)
        return dict(sizes)

    def carry_out(self, number: int, trial: Trial) -> list[dict]:
        """One row for each of the trial's faults."""
        unbroken, lost = self.unbroken[trial.protocol], []
        with self.place(f"trial{number}", trial.protocol, unbroken.seconds) as place:
            events = [fault.act(place) for fault in trial.faults]
            if not events[-1].whole and (code := place.start().ends()):
                lost.append(f"given again, the command ends with exit {code}: {place.children[-1].message[-300:]}")
            lost += differences(unbroken, place)
            again = place.epochs() - unbroken.epochs()
        if not lost:
            shutil.rmtree(place.folder)
        shared = {"trial": number, "protocol": trial.protocol, "epochs_again": again, "lost": "; ".join(lost)}
        rows = [
            {"fault": fault.name, "how": fault.how} | asdict(event) | shared
            for fault, event in zip(trial.faults, events, strict=True)
        ]
        return [row | {"message": row["message"].replace(str(place.folder), "FOLDER")} for row in rows]


def _measure(place: Place, sizes: dict[str, int]) -> bool:
    found = {
        "checkpoint": place.checkpoints(),
        "model": place.out.rglob("model.keras"),
        "store": place.folder.glob("store/*/rows.bin"),
    }
    for kind, paths in found.items():
        for path in paths:
            with contextlib.suppress(FileNotFoundError):  # removed or replaced in this moment
                sizes[kind] = max(sizes[kind], path.stat().st_size)
    with contextlib.suppress(FileNotFoundError):
        sizes["run folder"] = sum(path.stat().st_size for path in place.out.rglob("*") if path.is_file())
    return False


def planned(bench: Bench, sizes: dict[str, int], kills: int, *, short: bool) -> list[Trial]:
    """Every fault; in the short form most of them once, and many in the way of one run."""
    import numpy as np

    # Three kills in the first seconds, before anything is trained, would tell little in the short form.
    draw = functools.partial(np.random.default_rng(bench.seed).uniform, *((0.3, 0.8) if short else (0.0, 1.0)))

    def fault(name: str, act: Callable[..., Event], how: str = "", **fields) -> Fault:
        return Fault(name, how, functools.partial(act, **fields))

    def killed(times: int) -> tuple[Fault, ...]:
        name = f"SIGKILL {('once', 'twice', 'three times')[times - 1]} in a run"
        return tuple(fault(name, kill, f"kill {n + 1} of {times}", share=draw()) for n in range(times))

    def away(what: str, when: str) -> Fault:
        name = {DATA: "data folder", WEIGHTS: "weights file"}.get(what, what)
        moment = "while it runs" if when else "before the start"
        return fault(f"{name} taken away, {moment}", take_away, when, what=what, when=when)

    def limited(kind: str, part: float) -> Fault:
        size = round(part * sizes[kind])
        how = f"{part} of the largest {kind} file, {size:,} bytes"
        return fault("disk full, by a limit on file sizes", limit_size, how, size=size)

    def filled(part: float) -> Fault:
        size = round(part * sizes["run folder"])
        return fault("disk full, a small tmpfs", fill_disk, f"{part} of the run folder, {size:,} bytes", size=size)

    def damaged(act: Callable[..., Event], name: str, kind: str, **fields) -> Fault:
        return fault(f"{name} damaged", act, kind, kind=kind, **fields)

    checkpoint = functools.partial(damaged, damage_checkpoint, "checkpoint of a killed run")
    predictions = functools.partial(
        damaged, damage_predictions, "predictions of a finished cell", finished=bench.unbroken["with_val"]
    )
    twice = fault("two runs on one folder", run_twice)
    frozen, building, first, second, writing = (
        *("frozen: phase 1", "two_phases: building", "two_phases: phase 1", "two_phases: phase 2"),
        "two_phases: predicting",
    )
    if short:
        at_the_door = (predictions("flipped"), away(DATA, ""), away(RIGHT, ""), away(WEIGHTS, ""))
        full = (filled(0.5), away(RIGHT, second), away(WEIGHTS, building))
        chained = [
            (*at_the_door, limited("model", 0.7), checkpoint("flipped"), away(DATA, first), twice),
            (fault("Ctrl-C", interrupt, share=draw()), *full, *killed(3)),
        ]
        return [Trial("with_val", faults) for faults in chained]
    both, trials = ("with_val", "without_val"), single_kills(draw, kills)
    trials += [Trial(both[n % 2], killed(times)) for times in (2, 3) for n in range(4)]
    trials += [Trial(both[n % 2], (fault("Ctrl-C", interrupt, share=draw()),)) for n in range(8)]
    single = [
        *(limited(kind, part) for kind in sizes if kind != "run folder" for part in (0.3, 0.8)),
        *map(filled, (0.1, 0.4, 0.7, 0.95)),
        *(away(DATA, when) for when in ("", frozen, building, second, writing)),
        *(away(WEIGHTS, when) for when in ("", frozen, first, second)),
        *(away(RIGHT, when) for when in ("", building, first, second, writing, REPORTING)),
        *(fault("none: the same run once more", run_once), twice, twice),
        *map(checkpoint, ("flipped", "cut", "empty")),
        *map(predictions, ("flipped", "cut", "empty")),
    ]
    return trials + [Trial("with_val", (each,)) for each in single]


def single_kills(draw: Callable[[], float], count: int) -> list[Trial]:
    """Runs that are killed once."""
    return [
        Trial(
            ("with_val", "without_val")[n % 3 == 2],
            (Fault("SIGKILL once in a run", "kill 1 of 1", functools.partial(kill, share=draw())),),
        )
        for n in range(count)
    ]


def faults_table(rows: list[dict]) -> list[dict]:
    """One row for each fault: how often it was tried, what came of it, what was lost."""
    table = []
    for name in dict.fromkeys(row["fault"] for row in rows):
        of_it = [row for row in rows if row["fault"] == name]
        tried = [row for row in of_it if row["outcome"] is not None]
        outcomes = collections.Counter(row["outcome"] for row in tried)
        runs = {row["trial"]: row for row in tried}.values()  # a run killed twice is one that was tried
        lost = [row["lost"] for row in runs if row["lost"]]
        words = "; ".join(f"{text} ({count})" for text, count in outcomes.items())
        table.append(
            {
                "fault": name,
                "runs tried": len(runs),
                "what came of it": words or f"not tried: {of_it[0]['message']}",
                "results that differ": len(lost),
                "lost": "; ".join(lost) or ("nothing" if tried else ""),
                "epochs trained again, at most": max((row["epochs_again"] for row in runs), default=""),
            }
        )
    return table


def kills_table(rows: list[dict]) -> list[dict]:
    """One row for each SIGKILL, in the order they were made; epochs_again are those of the whole run."""
    columns = ("trial", "protocol", "how", "moment_s", "doing", "epochs_again")
    killed = [row for row in rows if row["fault"].startswith("SIGKILL") and row["outcome"] == "killed"]
    return [{name: row[name] for name in columns} | {"equal": "no" if row["lost"] else "yes"} for row in killed]


def report(rows: list[dict], unbroken: dict[str, Place], given: argparse.Namespace) -> str:
    """Writes faults.md, faults.csv and kills.csv; returns the page."""
    import pandas as pd

    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.files import write_csv, write_text
    from tlkeras.machine import environment, n_cores, processor

    table, kills = pd.DataFrame(faults_table(rows)), pd.DataFrame(kills_table(rows))
    packages = environment()["packages"]
    messages = {row["fault"]: " ".join(row["message"].split()) for row in reversed(rows) if row["message"]}
    words = "--short" if given.short else f"--kills {given.kills}"
    runs = ", ".join(f"{protocol} {place.seconds:.1f} s" for protocol, place in unbroken.items())
    doing = kills.groupby("doing").size().rename("kills").rename_axis("doing when killed").to_frame()
    lines = [
        "# Faults, and what was lost",
        "",
        f"    python experiments/drill_faults.py {words} --seed {given.seed} --out OUT",
        "",
        f"{datetime.date.today()}, {n_cores()} cores ({processor()}), TensorFlow {packages['tensorflow']}, Keras "
        f"{packages['keras']}. Unbroken runs: {runs}. What is done and compared is said in the script.",
        "",
        to_markdown(table.set_index("fault")),
        "After the fault its cause is removed and the same command given again; then every file of the run folder is",
        "compared with the unbroken run's. Epochs trained again are whole ones, of all runs of the trial; those that",
        "were interrupted come on top.",
        "",
        to_markdown(doing),
        "What was said, one message of each kind:",
        "",
        *(f"- {name}: `{messages[name][:600]}`" for name in table["fault"] if name in messages),
        "",
    ]
    write_csv(pd.DataFrame(rows), given.out / "faults.csv")
    write_csv(kills, given.out / "kills.csv")
    return write_text(given.out / "faults.md", "\n".join(lines)).read_text(encoding="utf-8")


def drill(given: argparse.Namespace, scratch: Path) -> None:
    """Everything; exits with 1 where something was lost or not said as it should be."""
    import numpy as np

    begun, rows = time.monotonic(), []
    bench = Bench(scratch, given.seed, ("--methods", "two_phases") if given.short else ())
    sizes = bench.prepare(["with_val"] if given.short else ["with_val", "without_val"])
    trials = planned(bench, sizes, given.kills, short=given.short)
    pool = ThreadPoolExecutor(given.jobs)
    try:
        for _ in range(4):
            first = 1 + len({row["trial"] for row in rows})
            for found in pool.map(bench.carry_out, range(first, first + len(trials)), trials):
                rows += found
                for row in found:
                    came = row["outcome"] or f"not tried: {row['message']}"
                    words = [f"[{row['trial']}] {row['fault']}", row["how"], row["doing"], came]
                    print("; ".join([word for word in words if word] + [row["lost"] or "nothing lost"]), flush=True)
            # A run that was faster than the unbroken one had ended when its moment came: another takes its place.
            landed = sum(row["fault"] == "SIGKILL once in a run" and row["outcome"] == "killed" for row in rows)
            if given.short or landed >= given.kills:
                break
            trials = single_kills(np.random.default_rng((given.seed, landed)).random, given.kills - landed)
    finally:
        pool.shutdown(cancel_futures=True)  # without it, Ctrl-C would wait for all trials
    print(f"\n{report(rows, bench.unbroken, given)}\n{time.monotonic() - begun:.0f} s; tables are in {given.out}")
    if not all(row["wanted"] and not row["lost"] for row in rows):
        sys.exit(1)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--out", type=Path, default=Path("runs/faults"), help="where the tables go (default: %(default)s)")
    add("--kills", type=int, default=30, help="runs that are killed once (default: %(default)s)")
    add("--short", action="store_true", help="every fault, most of them once")
    add("--jobs", type=int, default=1, help="trials at a time (default: %(default)s)")
    add("--seed", type=int, default=0, help="of images and moments (default: %(default)s)")
    add("--scratch", type=Path, help="an empty folder to work in; what was lost can be looked at there afterwards")
    given = parser.parse_args()
    # A shell that puts this script in the background has it ignore Ctrl-C, and its runs would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        if given.scratch is None:
            given.scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drill")))
        given.scratch.mkdir(parents=True, exist_ok=True)
        run_guarded(lambda: drill(given, given.scratch.resolve()))


if __name__ == "__main__":
    main()
