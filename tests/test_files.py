import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from faults import files_of_at_most

from tlkeras.errors import InputError, MissingInputError, UnwritableError
from tlkeras.files import (
    atomic_folder,
    atomic_write,
    holding,
    locked,
    read_json,
    remove_folder,
    scratch_file,
    sha256_of,
    write_at,
    write_json,
    write_text,
)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    write_text(tmp_path / "a" / "table.md", "first")

    def fail_half_way():
        with atomic_write(tmp_path / "a" / "table.md") as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_half_way()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["table.md"]
    assert (tmp_path / "a" / "table.md").read_text() == "first"


def test_the_temporary_name_keeps_the_suffix_that_writers_go_by(tmp_path):
    with atomic_write(tmp_path / "weights.weights.h5") as temporary:
        assert temporary.name.endswith(".weights.h5")
        assert temporary.parent == tmp_path


def test_written_files_have_the_rights_a_plain_write_gives(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_comes_back_and_what_is_not_json_is_named(tmp_path):
    write_json(tmp_path / "a.json", {"grösse": [1, None]})
    assert read_json(tmp_path / "a.json") == {"grösse": [1, None]}
    (tmp_path / "b.json").write_text('{"half":')
    with pytest.raises(InputError, match=r"b\.json is not JSON"):
        read_json(tmp_path / "b.json")


def test_sha256_is_the_published_one_of_abc(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@contextmanager
def another_process_in(context, path):
    """Another process is in `context`, a function of tlkeras.files, until it is killed at the end of the block."""
    code = (
        f"import sys, time\nfrom tlkeras.files import {context}\n"
        f"with {context}(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        yield
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    with (
        another_process_in("locked", tmp_path),
        pytest.raises(InputError, match="another process"),
        locked(tmp_path),
    ):
        pass
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / ".writing-abc.keras").write_text("what a killed holder left")
    with locked(tmp_path):
        assert [path.name for path in (tmp_path / "cell").iterdir()] == []


def test_a_lock_that_another_process_holds_is_told_at_once_and_free_when_it_is_killed(tmp_path):
    lock = tmp_path / "locks" / "table"
    with another_process_in("holding", lock):
        for _ in range(2):  # asking changes nothing
            with holding(lock) as held:
                assert held is False
        with holding(tmp_path / "locks" / "other") as held:
            assert held is True
    with holding(lock) as held:
        assert held is True
    assert lock.is_file()


def test_who_waits_for_a_lock_is_told_once_and_then_holds_it(tmp_path):
    events, waiting = [], threading.Event()

    def wait():
        with holding(tmp_path / "lock", lambda: events.append("waits") or waiting.set()) as held:
            events.append(f"held {held}")

    with holding(tmp_path / "lock", lambda: events.append("never")) as held:
        assert held is True
        waiter = threading.Thread(target=wait)
        waiter.start()
        assert waiting.wait(30)
        events.append("released")
    waiter.join(30)
    assert events == ["waits", "released", "held True"]


def test_a_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(KeyError), holding(tmp_path / "lock"):
        raise KeyError
    with holding(tmp_path / "lock") as held:
        assert held is True


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), holding(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_and_no_mark_is_left_there(tmp_path, monkeypatch, number):
    def no_locks(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(UnwritableError, match=f"{tmp_path} cannot be locked .*keeps no locks"), locked(tmp_path):
        pass
    with pytest.raises(OSError, match=os.strerror(number)), holding(tmp_path / "table", lambda: None):
        pass
    monkeypatch.undo()
    with locked(tmp_path), holding(tmp_path / "table") as held:  # a mark would look like a holder
        assert held is True


@pytest.mark.parametrize(
    ("before", "offset", "pieces", "after"),
    [
        (None, 0, [b"abc", b"", memoryview(b"de")], b"abcde"),  # makes the file
        (b"abc", 3, [b"de"], b"abcde"),
        (b"abc what a killed writer left", 3, [b"d"], b"abcd"),
        (b"abc what a killed writer left", 3, [], b"abc"),
        (b"abc", 0, [np.array([1, 2], "<u2"), np.array([[3]], "<u2")], b"\1\0\2\0\3\0"),
    ],
)
def test_pieces_become_the_end_of_a_file(tmp_path, before, offset, pieces, after):
    if before is not None:
        (tmp_path / "rows").write_bytes(before)
    write_at(tmp_path / "rows", offset, iter(pieces))
    assert (tmp_path / "rows").read_bytes() == after


def test_a_scratch_file_has_no_name_and_can_be_mapped(tmp_path):
    with scratch_file(tmp_path / "new" / "folder", 1000) as file:
        mapped = np.memmap(file, np.uint8, mode="r+", shape=(1000,))
        assert os.fstat(file.fileno()).st_dev == tmp_path.stat().st_dev
        assert list((tmp_path / "new" / "folder").iterdir()) == []
    mapped[:] = 7
    assert int(mapped.sum()) == 7000


def test_a_removed_folder_leaves_nothing_and_is_never_half_there(tmp_path, monkeypatch):
    folder = tmp_path / "table"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "rows").write_text("many")
    (tmp_path / "neighbour").write_text("stays")
    moved, replace = [], os.replace

    def replaced(source, target):
        replace(source, target)
        moved.append((folder.exists(), target.parent.name.startswith(".writing-"), (target / "deep" / "rows").exists()))

    monkeypatch.setattr(os, "replace", replaced)
    remove_folder(folder)
    assert moved == [(False, True, True)]  # still whole, under a name that nobody looks for
    assert [path.name for path in tmp_path.iterdir()] == ["neighbour"]


def test_a_scratch_file_that_finds_no_room_says_so_at_once(tmp_path):
    with pytest.raises(OSError, match=r"No space|too large"):
        scratch_file(tmp_path, 2**50)
    assert list(tmp_path.iterdir()) == []


def write_folder(path):
    with atomic_folder(path) as temporary:
        temporary.mkdir()
        (temporary / "a").write_bytes(b"x" * 101)


def test_what_finds_no_room_leaves_what_was_there_and_says_what_to_do(tmp_path):
    file = write_text(tmp_path / "table.md", "before")
    said = rf"^{file} cannot be written \(File too large\)\. Make room there, .* what was there before is as it was\.$"
    with files_of_at_most(100), pytest.raises(UnwritableError, match=said):
        write_text(file, "x" * 101)
    with files_of_at_most(100), pytest.raises(UnwritableError, match="cannot be written"):
        write_at(tmp_path / "rows.bin", 0, [b"x" * 101])
    with files_of_at_most(100), pytest.raises(UnwritableError):
        write_folder(tmp_path / "folder")
    assert file.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.bin", "table.md"]


def test_an_error_about_another_file_is_not_taken_for_one_of_writing(tmp_path):
    def read(path):
        raise PermissionError(13, "Permission denied", path)

    with pytest.raises(PermissionError, match="else"), atomic_write(tmp_path / "copy"):
        read("/somewhere/else.png")
    with pytest.raises(PermissionError, match="beside"), atomic_write(tmp_path / "copy"):
        read(str(tmp_path / "beside.png"))
    with pytest.raises(UnwritableError, match="Give this user the right"), atomic_write(tmp_path / "copy"):
        raise PermissionError(13, "Permission denied", str(tmp_path))
    with pytest.raises(MissingInputError), atomic_write(tmp_path / "copy"):
        raise MissingInputError("an error in words stays what it is")


def test_a_folder_below_a_file_is_refused_in_words(tmp_path):
    (tmp_path / "out").write_text("a file")
    for context in (locked, atomic_write):
        with (
            pytest.raises(UnwritableError, match="A file stands where a folder should be"),
            context(tmp_path / "out" / "x"),
        ):
            pass


def test_what_a_killed_writer_of_a_folder_left_is_removed(tmp_path):
    (tmp_path / "cell" / ".writing-abc" / "model").mkdir(parents=True)
    (tmp_path / "cell" / ".writing-abc" / "model" / "part").write_text("half")
    with locked(tmp_path):
        assert list((tmp_path / "cell").iterdir()) == []


def test_what_a_living_process_is_writing_stays(tmp_path):
    """Such as a report, which is written without the lock."""
    with atomic_write(tmp_path / "report.html") as temporary:
        temporary.write_text("half")
        with locked(tmp_path):
            assert temporary.read_text() == "half"
        temporary.write_text("whole")
    assert (tmp_path / "report.html").read_text() == "whole"


def test_a_folder_in_the_place_of_a_file_is_said(tmp_path):
    (tmp_path / "table.md").mkdir()
    with pytest.raises(UnwritableError, match="A folder stands where a file should be"):
        write_text(tmp_path / "table.md", "x")
