"""What this machine gives the process: cores, memory, a place for Keras' downloads, and what it is."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

import joblib

from tlkeras.errors import InputError

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
    numbers = [facts.get(name, "") for name in ("cpu family", "model", "stepping")]
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


def peak_memory_mb(pid: int | str = "self") -> int | None:
    """The largest resident set of a process, in MiB; of this one since `reset_peak_memory`, and what it held before
    counts while it holds it. None where the system does not tell: Windows, and of another process all but Linux."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        if found:
            return int(found[1]) // 1024
    if pid != "self":
        return None
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


_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_size(name: str, size: str | int) -> int:
    """Bytes from "20GB", "500 MB" or a number of bytes; KB to TB are powers of 1000.

    Raises:
        InputError: names the argument `name`, what it received and what is accepted.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]B)?", str(size).strip().upper())
    if found is None or (found[2] is None and float(found[1]) % 1):  # half a byte
        raise InputError(
            f'{name}: received {size!r}; accepted is a size such as "4GB" or "500MB", or a number of bytes.'
        )
    return int(float(found[1]) * _UNITS.get(found[2], 1))


def format_size(size: int) -> str:
    """A number of bytes for people: "1.6 GB"."""
    for unit in ("KB", "MB", "GB"):
        if size < 1000 * _UNITS[unit]:
            return f"{size / _UNITS[unit]:.{0 if size >= 10 * _UNITS[unit] else 1}f} {unit}"
    return f"{size / _UNITS['TB']:.1f} TB"


def register_ray() -> None:
    """Makes "ray" a backend of joblib; Ray itself is imported when it is first used."""
    joblib.register_parallel_backend("ray", _ray_backend)


def _ray_backend(**arguments):
    try:
        from ray.util.joblib.ray_backend import RayBackend
    except ImportError as error:
        raise InputError(
            'backend: "ray" needs the package ray, which is not installed: pip install "tlkeras[ray]". Processes of '
            'this machine need nothing more: backend="loky".'
        ) from error
    return RayBackend(**arguments)


PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "opencv-python-headless",
    "pillow",
    "matplotlib",
    "lime",
    "scikit-image",
)


def environment() -> dict:
    """Where a run was made: versions and commit, processor, cores and threads: what decides the last digits."""
    from tlkeras import __version__

    return {
        "tlkeras": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "processor_model": processor_model(),
        "vector_instructions": " ".join(vector_instructions()),
        "cores": n_cores(),
        "threads": n_threads(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def commit() -> str | None:
    """The commit of tlkeras' own checkout, with "+ changes" where a module is not as committed; None for an installed
    copy, and where git does not answer."""
    package = Path(__file__).parent

    def git(*words: str) -> str:
        asked = ["git", "-C", str(package), *words]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # a copy inside someone's project is not of its commit
        changed = git("status", "--porcelain", "--", "*.py")
        return git("rev-parse", "HEAD") + (" + changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # e.g. tensorflow-cpu in place of tensorflow
        return None
