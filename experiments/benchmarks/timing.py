"""What the benchmarks share: their options, children that are measured, sides in turn, the machine's line, the page.

A benchmark that compares whole processes calls itself: `run` gives it the hidden option --side, and `measured` starts
it with that option. What is on the way goes to stderr; stdout has the page, or the one line of JSON of such a child.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlkeras.errors import InputError
from tlkeras.files import write_text
from tlkeras.machine import anonymous_memory_mb, peak_memory_mb
from tlkeras.terminal import run_guarded

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = {
    "--data": {
        "type": Path,
        "default": Path(os.environ.get("TLKERAS_DATA", "data")),
        "help": "folder of the data sets",
    },
    "--weights": {"help": 'a no-top weights file, or "imagenet" (default: random)'},
    "--out": {"type": Path, "default": Path("runs/benchmark"), "help": "folder of the page (default: %(default)s)"},
}


def parser_of(doc: str | None, *shared: str) -> argparse.ArgumentParser:
    """The options that a script with this docstring has in common with others: `shared` ones, and --out."""
    parser = argparse.ArgumentParser(description=str(doc).splitlines()[0])
    for name in (*shared, "--out"):
        parser.add_argument(name, **SHARED[name])
    return parser


def parser_of_networks(doc: str | None) -> argparse.ArgumentParser:
    """The same of a script that reads data sets and takes networks by their names: --data, --weights, --store."""
    parser = parser_of(doc, "--data")
    parser.add_argument("--weights", help="folder searched first for weight files")
    parser.add_argument("--store", type=Path, help="folder of the feature store (default: the user's own)")
    return parser


def run(
    parser: argparse.ArgumentParser,
    compare: Callable[[argparse.Namespace], None],
    **sides: Callable[[argparse.Namespace], dict],
) -> None:
    """Calls `compare` with the options given, or, with --side NAME, that one of `sides`, whose answer is printed as a
    line of JSON."""
    parser.set_defaults(side=None)
    if sides:
        parser.add_argument("--side", choices=list(sides), help=argparse.SUPPRESS)
    options = parser.parse_args()

    def work() -> None:
        if options.side is None:
            compare(options)
        else:
            print(json.dumps(sides[options.side](options)))

    run_guarded(work)


def measured(command: Sequence[object], store: Path | str | None = None) -> dict:
    """Runs a Python script; the JSON of its last line, with `wall_s`, `resident_mb` and `anonymous_mb`.

    Seconds are those of the whole process; memory is its largest, in MiB: all that was resident, and of it what no file
    stands behind. `store` is the folder of its feature store, where it shall not be the user's own.

    Raises:
        InputError: it ended with another exit code than 0.
    """
    words = [str(word) for word in (sys.executable, *command)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | ({} if store is None else {"TLKERAS_STORE": str(store)})
    anonymous, resident = [0], [0]
    with tempfile.TemporaryFile("w+") as said:  # TensorFlow's notices among it: shown where it failed
        start = time.perf_counter()
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=said, text=True, env=environment)
        watcher = threading.Thread(target=_watch, args=(process.pid, anonymous, resident))
        watcher.start()
        assert process.stdout is not None  # a pipe
        with process.stdout:
            output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            raise InputError(f"{' '.join(words)} ended with exit code {process.returncode}:\n{output}{said.read()}")
    # Where it can be watched: the system's own figure begins with what this process held when it started the other.
    memory = {"resident_mb": max(resident) or usage.ru_maxrss / 1024, "anonymous_mb": max(anonymous)}
    return json.loads(output.splitlines()[-1]) | {"wall_s": wall} | memory


def _watch(pid: int, anonymous: list[int], resident: list[int]) -> None:
    """Collects the anonymous memory of a process and the most it held, 20 times a second, while it runs."""
    while (megabytes := anonymous_memory_mb(pid)) is not None:
        anonymous.append(megabytes)
        resident.append(peak_memory_mb(pid) or 0)
        time.sleep(0.05)


@dataclass
class Spent:
    """Seconds: by the clock, and of all cores together."""

    wall: float = 0.0
    cpu: float = 0.0


@contextlib.contextmanager
def stopwatch() -> Iterator[Spent]:
    """What the block has spent, known when it is left."""
    spent, wall, cpu = Spent(), time.perf_counter(), time.process_time()
    yield spent
    spent.wall, spent.cpu = time.perf_counter() - wall, time.process_time() - cpu


def in_turn(sides: Iterable[str], repeats: int) -> Iterator[str]:
    """Every side `repeats` times, first to last and last to first by turns, so that a machine that gets slower or
    faster treats them alike."""
    order = list(sides)
    for _ in range(repeats):
        yield from order
        order.reverse()


def spread(values: Iterable[float], digits: int) -> str:
    """Median, smallest and largest: "1.29 (1.23 to 1.32)"."""
    values = sorted(values)
    middle, low, high = (f"{value:.{digits}f}" for value in (statistics.median(values), values[0], values[-1]))
    return f"{middle} ({low} to {high})"


def say(words: str) -> None:
    """What is being done now."""
    print(words, file=sys.stderr, flush=True)


def machine_line(environment: dict, *packages: str) -> str:
    """What `tlkeras.machine.environment` found, in a line: "AMD EPYC, 2 cores; numpy 2.4.6"."""
    versions = ", ".join(f"{name} {environment['packages'][name]}" for name in packages)
    return f"{environment['processor']}, {environment['cores']} cores" + f"; {versions}" * bool(versions)


def command_line(script: str | Path, options: str) -> str:
    """The command that makes a page, as a block of it; `script` is the `__file__` that writes it."""
    return f"    python {Path(script).resolve().relative_to(REPOSITORY).as_posix()} {options}"


def write_page(path: Path, text: str) -> None:
    """Writes and prints it."""
    print(f"\n{text}\nwritten to {write_text(path, text)}")
