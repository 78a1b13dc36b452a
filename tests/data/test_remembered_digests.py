import os

import numpy as np
import pytest

from tlkeras.data import remembered_digests
from tlkeras.data.digests import source_digests
from tlkeras.data.remembered_digests import RememberedDigests
from tlkeras.schema import Samples


@pytest.fixture
def samples(tmp_path):
    """Four files of five bytes, last changed long ago."""
    paths = [tmp_path / name for name in ("a.png", "b.png", "c\udcff.png", "d.png")]
    for number, path in enumerate(paths):
        path.write_bytes(b"file%d" % number)
        os.utime(path, (1000, 1000))
    return Samples(tuple(map(str, paths)), None, ("a", "b"))


@pytest.fixture(autouse=True)
def read(monkeypatch):
    """The names of the files that are read, in order; changes count as settled at once."""
    read = []
    monkeypatch.setattr(remembered_digests, "_SETTLED", -(10**12))
    monkeypatch.setattr(
        remembered_digests,
        "source_digests",
        lambda of: (read.extend(os.path.basename(path)[0] for path in of.images), source_digests(of))[1],
    )
    return read


def test_a_file_is_read_once_in_all_processes(samples, tmp_path, read):
    file = tmp_path / "store" / "digests.bin"
    for _ in range(2):
        known = RememberedDigests(file)
        for _ in range(2):
            assert known.of(samples) == source_digests(samples)
    assert read == ["a", "b", "c", "d"]
    assert RememberedDigests(file, verify=True).of(samples) == source_digests(samples)
    assert read == ["a", "b", "c", "d"] * 2
    assert RememberedDigests().of(samples.take([2, 0])) == source_digests(samples.take([2, 0]))
    assert read[8:] == ["c", "a"]


@pytest.mark.parametrize("time", [2000, 1000])
def test_a_file_overwritten_by_another_of_its_size_is_read_again(samples, tmp_path, read, time):
    """Also where its time is put back: the system keeps another, which nobody can set."""
    file = tmp_path / "digests.bin"
    before = RememberedDigests(file).of(samples)
    with open(samples.images[1], "r+b") as image:
        image.write(b"FILE1")
    os.utime(samples.images[1], (time, time))
    after = RememberedDigests(file).of(samples)
    assert after == source_digests(samples)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True, True]
    assert read == ["a", "b", "c", "d", "b"]


def test_what_size_times_and_inode_do_not_show_is_found_when_it_is_verified(samples, tmp_path, monkeypatch):
    monkeypatch.setattr(remembered_digests, "_status", lambda path: [5, 1000, 1000, 1])
    file = tmp_path / "digests.bin"
    before = RememberedDigests(file).of(samples)
    with open(samples.images[1], "r+b") as image:
        image.write(b"FILE1")
    assert RememberedDigests(file).of(samples) == before
    for verify in (True, False):  # and it is remembered
        assert RememberedDigests(file, verify=verify).of(samples) == source_digests(samples) != before


def test_a_file_that_changed_just_now_is_not_remembered(samples, tmp_path, read, monkeypatch):
    monkeypatch.setattr(remembered_digests, "_SETTLED", 10**12)
    for _ in range(2):
        RememberedDigests(tmp_path / "digests.bin").of(samples)
    assert read == ["a", "b", "c", "d"] * 2


def flipped(file):
    contents = file.read_bytes().replace(b'"', b"'", 1)
    file.write_bytes(contents)


def cut(file):
    os.truncate(file, file.stat().st_size // 2)


def emptied(file):
    file.write_bytes(b"")


def a_folder(file):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("damage", [flipped, cut, emptied, a_folder])
def test_a_damaged_table_costs_time_only(samples, tmp_path, read, damage):
    file = tmp_path / "digests.bin"
    RememberedDigests(file).of(samples)
    damage(file)
    assert RememberedDigests(file).of(samples) == source_digests(samples)
    assert read == ["a", "b", "c", "d"] * 2


def test_what_another_process_remembered_meanwhile_stays(samples, tmp_path, read):
    file = tmp_path / "digests.bin"
    first, second = RememberedDigests(file), RememberedDigests(file)
    first.of(samples.take([0, 1]))
    second.of(samples.take([2]))
    RememberedDigests(file).of(samples.take([0, 1, 2]))
    assert read == ["a", "b", "c"]


def test_the_rows_of_an_array_and_files_that_are_gone_have_their_digests(samples, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    arrays = Samples(images, None, ("a", "b"))
    known = RememberedDigests(tmp_path / "digests.bin")
    assert known.of(arrays) == source_digests(arrays)
    known.of(samples)
    os.unlink(samples.images[0])
    assert known.of(samples) == source_digests(samples)
