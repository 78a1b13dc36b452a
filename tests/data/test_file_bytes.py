import os
import subprocess
import sys

import pytest

from tlkeras.data.file_bytes import MAX_BYTES, Unreadable, read_bytes, unfit_to_read


def test_bytes_as_they_lie(tmp_path):
    (tmp_path / "a").write_bytes(b"\0\xff")
    (tmp_path / "b").symlink_to("a")
    assert read_bytes(tmp_path / "a") == read_bytes(os.fspath(tmp_path / "b")) == b"\0\xff"
    assert unfit_to_read(tmp_path / "a") is None


def test_what_only_reading_shows_is_not_unfit(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    for name, said in (("absent", "missing"), ("circle", "Too many levels"), ("a\0", "no file can have this name")):
        assert unfit_to_read(tmp_path / name) is None
        with pytest.raises(Unreadable, match=said):
            read_bytes(tmp_path / name)


def test_a_file_may_be_as_large_as_the_limit_and_no_larger(tmp_path):
    with open(tmp_path / "a", "wb") as file:
        file.truncate(MAX_BYTES)  # takes no room
        assert unfit_to_read(tmp_path / "a") is None
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(Unreadable, match=r"absurd size \(1\.0 GiB; at most 1 GiB"):
        read_bytes(tmp_path / "a")
    assert unfit_to_read(tmp_path / "a").startswith("absurd size")


def test_a_file_that_is_closed_to_this_user(tmp_path):
    """In a child that has given up root's right to read everything."""
    path = tmp_path / "closed.jpg"
    path.write_bytes(b"bytes")
    path.chmod(0)
    code = (
        "import ctypes, os, sys\n"
        "if len(sys.argv) == 3:\n"  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH are gone after the next exec
        "    for right in (1, 2): ctypes.CDLL(None).prctl(24, right, 0, 0, 0)\n"
        "    os.execv(sys.executable, [sys.executable, '-c', sys.orig_argv[2], *sys.argv[1:], 'again'])\n"
        "if os.access(sys.argv[1], os.R_OK, effective_ids=True): sys.exit('readable all the same')\n"
        "from tlkeras.data.file_bytes import Unreadable, read_bytes\n"
        "from tlkeras.data.file_names import visible\n"
        "from tlkeras.schema import InputError\n"
        "try: read_bytes(sys.argv[1])\n"
        "except Unreadable as error: print(error)\n"
        "try: visible(sys.argv[2])\n"
        "except InputError as error: print(error)\n"
    )
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "closed")], capture_output=True, text=True
    )
    (tmp_path / "closed").chmod(0o700)  # so that it can be removed
    if "readable all the same" in done.stderr:
        pytest.skip("this user may read every file, and cannot give that up")
    assert done.stdout.splitlines() == [
        "no permission to read it",
        f"{tmp_path / 'closed'} cannot be listed: Permission denied. Give it to this user to read, or name another "
        "folder.",
    ]
