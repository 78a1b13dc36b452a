import os
from pathlib import Path

import numpy as np
import pytest

from tlkeras import machine
from tlkeras.machine import anonymous_memory_mb, available_memory, n_cores, peak_memory_mb, reset_peak_memory


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
