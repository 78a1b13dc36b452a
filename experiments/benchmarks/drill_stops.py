"""Faults of time: a run is killed or interrupted, or another one is there; each acts on a place's next run."""

from __future__ import annotations

import signal
import time
from dataclasses import replace

from drill_run import OVER, REPORTING, TOO_LATE, Event, Place, doing_of, judged


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
