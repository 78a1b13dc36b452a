import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import joblib
import numpy as np
import pytest

import tlkeras as tl
from tlkeras import machine
from tlkeras.errors import InputError
from tlkeras.machine import (
    anonymous_memory_mb,
    available_memory,
    format_size,
    n_cores,
    parse_size,
    peak_memory_mb,
    reset_peak_memory,
)


def test_the_peak_counts_what_was_held_and_starts_anew():
    before = peak_memory_mb()
    held = np.ones((120, 1024, 1024), np.uint8)
    with_array = peak_memory_mb()
    assert with_array >= before + 100 or with_array >= held.nbytes >> 20
    del held
    reset_peak_memory()
    if os.access("/proc/self/clear_refs", os.W_OK):
        assert peak_memory_mb() <= with_array - 100


def test_no_more_cores_than_the_machine_has():
    assert 1 <= n_cores() <= os.cpu_count()


KB = 1024


MEMINFO = "MemFree: 1 kB\nMemAvailable:    8000 kB\nBuffers: 2 kB\n"
NEW, OLD = ("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")


@pytest.mark.parametrize(
    ("meminfo", "container", "expected"),
    [
        (MEMINFO, {}, 8000 * KB),
        (MEMINFO, {NEW: ("max", 500 * KB)}, 8000 * KB),
        (MEMINFO, {NEW: (2000 * KB, 500 * KB)}, 1500 * KB),
        (MEMINFO, {OLD: (2000 * KB, 500 * KB)}, 1500 * KB),
        (MEMINFO, {OLD: (2**63 - 4096, 500 * KB)}, 8000 * KB),  # no limit
        (MEMINFO, {NEW: (9500 * KB, 500 * KB)}, 8000 * KB),  # the machine has less left than the container may take
        (MEMINFO, {NEW: (2000 * KB, 2001 * KB)}, 0),
        (None, {}, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2),  # not Linux
    ],
)
def test_memory_is_what_the_system_or_the_container_leaves(tmp_path, monkeypatch, meminfo, container, expected):
    files = {} if meminfo is None else {"proc/meminfo": meminfo}
    for names, values in container.items():
        files |= {f"sys/fs/cgroup/{name}": str(value) for name, value in zip(names, values, strict=True)}
    for folder in {str(Path(name).parent) for name in files if "memory" in name}:
        files[f"{folder}/memory.stat"] = "inactive_anon 7\ntotal_inactive_file 0\ninactive_file 0"
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / path.lstrip("/"))
    assert available_memory() == expected


def test_this_machine_has_memory_left_and_not_more_than_is_built_in():
    assert 0 < available_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_memory_that_files_left_is_given_back(tmp_path, monkeypatch):
    contents = {"memory.max": 3000, "memory.current": 2900, "memory.stat": "inactive_anon 5\ninactive_file 400"}
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    for name, content in contents.items():
        (tmp_path / "sys/fs/cgroup" / name).write_text(f"{content}\n")
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / path.lstrip("/"))
    assert available_memory() == 500


def test_what_a_process_holds_in_memory_is_told_while_it_runs():
    before = anonymous_memory_mb()
    held = np.ones((120, 1024, 1024), np.uint8)
    if before is not None:  # Linux
        assert anonymous_memory_mb(os.getpid()) - before >= held.nbytes // 2**20 - 20
    assert anonymous_memory_mb(2**30) is None


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("20GB", 20 * 10**9),
        ("500 MB", 500 * 10**6),
        ("1.5kb", 1500),
        (" 2  tb ", 2 * 10**12),
        ("0.25 GB", 250 * 10**6),
        ("4096", 4096),
        (4096, 4096),
        (0, 0),
        ("0GB", 0),
        (1e9, 10**9),
    ],
)
def test_a_size_in_words_is_a_number_of_bytes(size, expected):
    found = parse_size("limit", size)
    assert found == expected
    assert type(found) is int


@pytest.mark.parametrize(
    "size",
    ["", "GB", "4G", "4GiB", "-4GB", -4, "4 GB each", "1,5GB", "four GB", "1.GB", ".5GB", True, None, 2.5e-7, 1.5],
)
def test_what_is_no_size_is_refused_in_words(size):
    with pytest.raises(InputError) as refusal:
        parse_size("store limit", size)
    assert str(refusal.value) == (
        f'store limit: received {size!r}; accepted is a size such as "4GB" or "500MB", or a number of bytes.'
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0.0 KB"),
        (640, "0.6 KB"),
        (9_940, "9.9 KB"),
        (10_000, "10 KB"),
        (999_400, "999 KB"),
        (1_000_000, "1.0 MB"),
        (64 * 10**6, "64 MB"),
        (1_600_000_000, "1.6 GB"),
        (20 * 10**9, "20 GB"),
        (999 * 10**9, "999 GB"),
        (10**12, "1.0 TB"),
        (25 * 10**14, "2500.0 TB"),
    ],
)
def test_a_number_of_bytes_is_said_for_people(size, expected):
    assert format_size(size) == expected


@pytest.mark.parametrize("size", ["9.9 KB", "10 KB", "1.0 MB", "64 MB", "1.6 GB", "20 GB", "1.0 TB"])
def test_what_is_said_reads_back(size):
    assert format_size(parse_size("limit", size)) == size


def test_without_ray_the_backend_says_in_words_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.util.joblib.ray_backend", None)
    with pytest.raises(tl.InputError, match=r'"ray" needs the package ray.*pip install "tlkeras\[ray\]".*"loky"'):
        joblib.parallel_config(backend="ray", n_jobs=2)


def test_importing_the_package_registers_the_backend_and_imports_no_ray():
    code = (
        "import sys, joblib, tlkeras; from joblib.parallel import BACKENDS;"
        "print('ray' in BACKENDS, 'ray' in sys.modules, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False", "False"]


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_with_ray_the_backend_is_rays():
    # In a process of its own: Ray's backend changes joblib's pools for the rest of a process.
    code = (
        "import tlkeras, joblib\n"
        "with joblib.parallel_config(backend='ray', n_jobs=2) as config: print(type(config['backend']).__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["ray.util.joblib.ray_backend"]
