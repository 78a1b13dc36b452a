"""Killed, starved, robbed, started twice: what is lost?

Question
    A small experiment is run once unbroken. Then it is run again and again, each time with a fault put in its way:
    SIGKILL at a random moment, a disk that is full, data, weights or the right to write taken away, a second run on the
    same folder, Ctrl-C, a damaged file. Is every fault said in one message, and does the same command, given again, end
    with the same files as the unbroken run, bit for bit?
Command
    python experiments/benchmarks/drill_faults.py --out assets/faults
    python experiments/benchmarks/drill_faults.py --short      the form that CI runs: every fault, most of them once
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
import functools
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from drill_compared import differences
from drill_disk import DATA, RIGHT, WEIGHTS, damage_checkpoint, damage_predictions, fill_disk, limit_size, take_away
from drill_page import report
from drill_run import REPORTING, TOY, Event, Place, make_images
from drill_stops import interrupt, kill, run_once, run_twice
from timing import say

from tlkeras.errors import InputError
from tlkeras.terminal import run_guarded


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
                say(f"unbroken run, {protocol}: {place.seconds:.1f} s, {place.epochs()} epochs")
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
                    say("; ".join([word for word in words if word] + [row["lost"] or "nothing lost"]))
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
