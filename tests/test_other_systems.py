"""What Linux has and Windows, or macOS, has not, taken away: as far as those systems can be tested here."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tlkeras import files, machine
from tlkeras.files import remove_unfinished, scratch_file

TESTS = Path(__file__).parent
# What is not ours is imported before: it is built otherwise there.
WINDOWS = f"""
import mmap, os, shutil, signal, sys
import filelock, joblib
if "TRAIN" in os.environ:
    import keras, pandas, tensorflow

def open_no_folder(path, flags, mode=0o777, *, dir_fd=None, opened=os.open):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", path)
    return opened(path, flags, mode)

sys.modules |= {{"fcntl": None, "resource": None}}
os.open, os.supports_dir_fd, shutil._use_fd_functions = open_no_folder, set(), False
for module, names in (
    (os, ["posix_fallocate", "sched_getaffinity", "sysconf", "O_DIRECTORY", "O_NOFOLLOW"]),
    (signal, ["pthread_kill"]),
    (mmap, ["MAP_PRIVATE", "PROT_READ", "PROT_WRITE"]),
):
    for name in names:
        delattr(module, name)
sys.path.insert(0, {str(TESTS)!r})
"""
MACOS = "import os\ndel os.posix_fallocate, os.sched_getaffinity\n"


def run(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("system", [WINDOWS, MACOS], ids=["windows", "macos"])
def test_every_module_that_needs_no_tensorflow_is_imported(system):
    code = (
        "import tlkeras.replication.script, tlkeras.command.main, tlkeras.command.doctor, "
        "tlkeras.replication.known_data, tlkeras.replication.verifying\nprint('done')"
    )
    done = run(system + code)
    assert (done.stdout, done.stderr) == ("done\n", "")


TRAINS = """
import numpy as np
from tiny import tiny_tuner
import tlkeras as tl
folder = sys.argv[1]
images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
samples = tl.from_arrays(images, np.arange(24) % 2)
train, val = samples.take(range(16)), samples.take(range(16, 24))
fits = [tiny_tuner().fit(train, val, seed=0, store=folder + "/store", memory_budget=1) for _ in range(2)]
assert [len(entry) > 0 for entry in tl.FeatureStore(folder + "/store").entries()]
loaded = tl.load(fits[0].save(folder + "/model"))
assert (loaded.predict(val).probs == fits[1].predict(val).probs).all()
print("trained", tl.FeatureStore(folder + "/store").clear())
"""


@pytest.mark.slow  # it imports TensorFlow in another process
@pytest.mark.parametrize("system", [WINDOWS, "import sys\n" + MACOS], ids=["windows", "macos"])
def test_a_network_is_trained_kept_and_loaded(tmp_path, system):
    path = f"import sys\nsys.path.insert(0, {str(TESTS)!r})\n"
    done = run(system + path + TRAINS, tmp_path, TRAIN="1")
    assert done.stdout.endswith("trained (1, 0)\n"), done.stderr
    assert list((tmp_path / "model").iterdir()) != []


def test_a_scratch_file_takes_its_room_where_none_can_be_set_aside(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr(files, "_ZEROS", 1000)
    with scratch_file(tmp_path, 3500) as file:
        status = os.fstat(file.fileno())
    assert status.st_size == 3500
    assert status.st_blocks * 512 >= 3500


def test_what_was_left_a_day_ago_is_removed_where_no_process_can_be_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_SIGNALS_ASK", False)
    monkeypatch.setattr(files.os, "kill", lambda *given: pytest.fail("asked"))
    for name, age in (("old", 100_000), ("new", 1000)):
        path = tmp_path / f".writing-1-{name}"
        path.write_text("half")
        os.utime(path, (time.time() - age, time.time() - age))
        remove_unfinished(path)
    assert [path.name for path in tmp_path.iterdir()] == [".writing-1-new"]


def test_memory_is_guessed_where_the_system_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / "none")
    assert machine.available_memory() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    monkeypatch.delattr(os, "sysconf")
    assert machine.available_memory() == 4 * 2**30
    monkeypatch.setitem(sys.modules, "resource", None)
    assert machine.peak_memory_mb() is None
