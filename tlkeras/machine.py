"""What this machine gives the process: cores, memory."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path


def n_cores() -> int:
    """How many cores this process may use; it can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reset_peak_memory() -> None:
    """Starts the peak anew, where the system can (Linux); elsewhere it stays that of the whole process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak becomes the current size


def peak_memory_mb() -> int:
    """The largest resident set since `reset_peak_memory`, in MiB; what the process held before counts while it holds
    it."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    if found:
        return int(found[1]) // 1024
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)
