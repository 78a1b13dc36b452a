"""What this machine gives the process: cores, memory, a place for Keras' downloads."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from pathlib import Path

_VECTOR = re.compile("avx|amx|fma|sse4|asimd|sve")
_UNKNOWN = 4 * 2**30  # bytes taken for free where the system does not tell (Windows)
_CONTAINER_LIMITS = (  # folder, limit, use
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def n_cores() -> int:
    """How many cores this process may use; it can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def n_threads() -> int:
    """How many threads TensorFlow computes one operation with, unless a program set it otherwise."""
    wanted = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else n_cores()


def processor() -> str:
    """The processor's name, as the system tells it."""
    return _processor_facts().get("model name") or platform.processor()


def processor_model() -> str | None:
    """Vendor, family, model and stepping, which tell two processors of one name apart; None where unknown."""
    facts = _processor_facts()
    numbers = [facts.get(name) for name in ("cpu family", "model", "stepping")]
    return f"{facts['vendor_id']} {'/'.join(numbers)}" if "vendor_id" in facts and all(numbers) else None


def vector_instructions() -> tuple[str, ...]:
    """The processor's vector and matrix instructions, sorted; TensorFlow and oneDNN choose their kernels by them, and
    another kernel rounds otherwise. Empty where the system does not tell."""
    facts = _processor_facts()
    flags = facts.get("flags") or facts.get("Features", "")  # x86's name and ARM's
    return tuple(sorted(flag for flag in flags.split() if _VECTOR.match(flag)))


def _processor_facts() -> dict[str, str]:
    """What /proc/cpuinfo (Linux) says of the first processor; elsewhere nothing."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return {}
    first = info.read_text().split("\n\n", 1)[0]
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def keras_home() -> Path:
    """Where Keras keeps its settings and what it downloads."""
    try:
        return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    except RuntimeError:  # no home folder
        return Path("/tmp/.keras")  # Keras' own choice then


def reset_peak_memory() -> None:
    """Starts the peak anew, where the system can (Linux); elsewhere it stays that of the whole process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak becomes the current size


def peak_memory_mb() -> int | None:
    """The largest resident set since `reset_peak_memory`, in MiB; what the process held before counts while it holds
    it. None where the system does not tell (Windows)."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    if found:
        return int(found[1]) // 1024
    import sys

    try:
        import resource
    except ModuleNotFoundError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)


def anonymous_memory_mb(pid: int | str = "self") -> int | None:
    """MiB of memory that a process holds now, mapped files apart; None where the process has ended, or the system
    does not tell (it is Linux that does)."""
    try:
        found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None
    return int(found[1]) // 1024 if found else None


def available_memory() -> int:
    """Bytes that can still be taken without swapping: what the system reports, or less where a container sets a
    limit."""
    meminfo = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text()) if meminfo.is_file() else None
    if found:
        available = int(found[1]) * 1024
    elif hasattr(os, "sysconf"):  # half of what is built in: there is no telling what other programs hold
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    else:
        available = _UNKNOWN
    for folder, limit, use in _CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no container of this kind, or "max"
            left = int(Path(f"{folder}/{limit}").read_text()) - int(Path(f"{folder}/{use}").read_text())
            # What files left in memory counts as used, and is given back where it is needed.
            kept = re.search(
                r"^(?:total_)?inactive_file (\d+)$", Path(f"{folder}/memory.stat").read_text(), re.MULTILINE
            )
            available = min(available, left + (int(kept[1]) if kept else 0))
    return max(available, 0)
