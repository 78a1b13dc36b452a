import os
import signal
import subprocess
import sys

import pytest

from tlkeras.files import atomic_write, locked, read_json, sha256_of, write_json, write_text
from tlkeras.schema import InputError


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


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    code = (
        "import sys, time\nfrom tlkeras.files import locked\n"
        "with locked(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another process"), locked(tmp_path):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / ".writing-abc.keras").write_text("what a killed holder left")
    with locked(tmp_path):
        assert [path.name for path in (tmp_path / "cell").iterdir()] == []
