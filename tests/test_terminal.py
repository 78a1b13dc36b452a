"""Streams that are closed, full, read by someone who has left, or of another encoding: the work goes on to its end."""

import errno
import io
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from tlkeras.errors import InputError
from tlkeras.terminal import Terminal, guarded_terminal, quiet_terminal, run_guarded

WORK = """
import sys
from pathlib import Path
from tlkeras.terminal import run_guarded
def work():
    for row in range({rows}):
        print("row", row, {text!r}, "." * 90, flush={flush})
    Path("result").write_text("whole")
    print("warned", file=sys.stderr)
run_guarded(work)
"""
# Buffered, as Python is unless it is told otherwise: what fails may fail only when Python ends.
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": ""}


def run(tmp_path, redirected, text="", flush=False, rows=2_000, **environment):
    """Of 2,000 rows a pipe does not hold all."""
    (tmp_path / "work.py").write_text(WORK.format(text=text, flush=flush, rows=rows), encoding="utf-8")
    command = f'"{sys.executable}" work.py {redirected}; echo "code ${{PIPESTATUS[0]}}"'
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        cwd=tmp_path,
        env=ENVIRONMENT | environment,
    )


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        ("| head -1", 0, "warned\n"),
        ("> /dev/full", 1, "could not be written"),
        (">&-", 0, "warned\n"),
        ("2>&- >out", 0, ""),
        (">&- 2>&-", 0, ""),
        ("2> /dev/full >out", 0, ""),
    ],
)
def test_output_that_fails_costs_no_result_and_no_traceback(tmp_path, redirected, code, said, flush):
    done = run(tmp_path, redirected, flush=flush)
    assert done.stdout.decode().splitlines()[-1] == f"code {code}"
    assert (tmp_path / "result").read_text() == "whole"
    assert said in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert "Exception ignored" not in done.stderr.decode()


def test_what_fails_only_when_the_work_is_done_is_told_once(tmp_path):
    done = run(tmp_path, "> /dev/full", rows=1)
    assert done.stdout == b"code 1\n"
    assert (tmp_path / "result").read_text() == "whole"
    assert done.stderr.decode().splitlines()[0] == "warned"
    assert len(done.stderr.decode().splitlines()) == 2


def test_what_the_encoding_lacks_is_written_by_its_number(tmp_path):
    done = run(tmp_path, ">out", text="肺", PYTHONIOENCODING="ascii")
    assert done.stdout.decode().splitlines()[-1] == "code 0"
    assert (tmp_path / "out").read_text().startswith("row 0 \\u80ba .")
    assert run(tmp_path, ">out", text=os.fsdecode(b"\xff.png")).stderr == b"warned\n"


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    code = (
        "import os\nfrom tlkeras.terminal import run_guarded\n"
        "run_guarded(lambda: print(open('numbers', 'w').write('') or os.open('numbers', os.O_RDONLY)))\n"
        "os.write(2, b'noise')\n"
    )
    (tmp_path / "work.py").write_text(code)
    subprocess.run(["bash", "-c", f'"{sys.executable}" work.py 2>&- >out'], cwd=tmp_path, env=ENVIRONMENT, check=True)
    assert int((tmp_path / "out").read_text()) > 2


class Failing(io.StringIO):
    encoding = "utf-8"

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


def test_a_stream_that_failed_is_left_alone_and_says_why():
    stream = Terminal(Failing(OSError(errno.EIO, "Input/output error")))
    assert stream.write("abc") == 3
    stream.stream = io.StringIO()
    stream.write("abc")
    assert stream.stream.getvalue() == ""
    assert stream.failure.errno == errno.EIO


def test_control_characters_are_shown(capsys):
    with guarded_terminal():
        print("a\x1b[31m\r")
        print("50 %\r\x1b[A", file=sys.stderr)
    assert capsys.readouterr() == ("a\\x1b[31m\\x0d\n", "50 %\r\\x1b[A\n")


def test_the_streams_are_as_before_afterwards():
    before = sys.stdout, sys.stderr
    with pytest.raises(ZeroDivisionError), guarded_terminal():
        raise ZeroDivisionError
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EIO, "Input/output error", "/mnt/a.png"), "error: /mnt/a.png: Input/output error. Mend"),
        (OSError(errno.ENOSPC, "No space left on device"), "error: No space left on device. Mend"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), "in TMPDIR; nothing is kept"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "error: Broken pipe. Mend"),
        (OSError("odd"), "error: odd. Mend"),
    ],
)
def test_every_error_of_the_system_ends_as_one_message(capsys, error, said):
    def fail():
        raise error

    with pytest.raises(SystemExit) as stopped:
        run_guarded(fail)
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("code", [0, 1, None])
def test_an_exit_of_the_works_own_stays_what_it_is(code):
    with pytest.raises(SystemExit) as stopped:
        run_guarded(lambda: sys.exit(code))
    assert stopped.value.code == code


def test_predictions_are_written_before_they_are_printed(tmp_path, monkeypatch):
    import pandas as pd

    from tlkeras.command.main import main

    table = pd.DataFrame({"path": ["a.png"], "predicted": ["cat"], "probability": [0.5]})
    monkeypatch.setattr("tlkeras.command.predicting.predict_files", lambda *given: table)
    monkeypatch.setattr("tlkeras.command.predicting.format_predictions", lambda table: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["predict", "model", "a.png", "--out", str(tmp_path / "out")])
    assert Path(tmp_path, "out", "predictions.csv").is_file()


class _Finalised:
    """Ctrl-C falls into its finaliser, where Python drops it."""

    def __del__(self):
        raise KeyboardInterrupt


def test_ctrl_c_that_fell_into_a_finaliser_still_ends_the_work(capsys):
    def work():
        thing = _Finalised()
        del thing
        time.sleep(20)

    hook = sys.unraisablehook
    # Whoever runs the tests in the background may have them ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    start = time.monotonic()
    try:
        with pytest.raises(SystemExit) as stopped:
            run_guarded(work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - start < 10
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "\nstopped; nothing is kept\n"
    assert sys.unraisablehook is hook


def test_what_else_cannot_be_raised_is_told_as_before():
    class Broken:
        def __del__(self):
            raise ZeroDivisionError

    told = []
    hook, sys.unraisablehook = sys.unraisablehook, told.append
    try:
        run_guarded(lambda: Broken() and None)
    finally:
        sys.unraisablehook = hook
    assert [each.exc_type for each in told] == [ZeroDivisionError]


def test_ctrl_c_after_the_work_does_not_end_the_process_without_a_word():
    code = """
import atexit, os, signal
from tlkeras.terminal import run_guarded
atexit.register(os.kill, os.getpid(), signal.SIGINT)  # called after what run_guarded registers: the last comes first
run_guarded(lambda: print("done"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def make_noise(error=None):
    os.write(2, b"from C++\n")
    warnings.warn("of something", stacklevel=1)
    if error is not None:
        raise error


def test_notices_stay_off_the_terminal_and_later_ones_do_not(capfd):
    with quiet_terminal():
        make_noise()
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "later\n"


def test_where_it_fails_unexpectedly_they_come_out(capfd):
    with pytest.raises(RuntimeError), quiet_terminal():
        make_noise(RuntimeError())
    assert "from C++" in capfd.readouterr().err


def test_an_error_that_says_what_to_do_comes_alone(capfd):
    with pytest.raises(InputError), quiet_terminal():
        make_noise(InputError("do this"))
    assert capfd.readouterr().err == ""


def test_loggers_speak_as_before_afterwards():
    logger = logging.getLogger("tf2onnx")
    before = logger.level
    with quiet_terminal():
        assert logger.getEffectiveLevel() == logging.ERROR
    assert logger.level == before


def test_no_file_stays_open():
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        with quiet_terminal():
            pass
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before
