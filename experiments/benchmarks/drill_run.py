"""A run of the drill's toy: the place it has to itself, what it is doing, and what came of a fault put in its way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

TOY = str(Path(__file__).resolve().with_name("drill_toy.py"))
PARTS = {"train": 12, "val": 6, "test1": 6, "test2": 2}  # images of each class
OVER = "over, and ending"
REPORTING = "reporting"
PATIENCE = 300  # seconds after which a run counts as hung
EPOCH = re.compile(r"^ +epoch +(\d+)/(\d+)", re.MULTILINE)
# What TensorFlow writes to stderr on its own account.
SAID = "| "  # begins a line of the toy run that says where it is; anything else on stderr is a complaint
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


@dataclass(frozen=True)
class Child:
    """A toy run under way."""

    process: subprocess.Popen
    out: Path
    err: Path
    begun: float

    @property
    def said(self) -> str:
        """What it has said so far of where it is, then what it has printed."""
        lines = self.err.read_text(errors="replace").splitlines(keepends=True)
        where = (line.removeprefix(SAID) for line in lines if line.startswith(SAID))
        return "".join(where) + self.out.read_text(errors="replace")

    @property
    def message(self) -> str:
        """What it complains of on stderr, without where it is and what TensorFlow writes there."""
        lines = self.err.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if line.strip() and not line.startswith(SAID) and not NOISE.match(line))

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
        return sum(len(EPOCH.findall(child.said)) for child in self.children)

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
