import signal
import subprocess
import sys
import time

import pytest

from tlkeras.guarded import run_guarded


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
from tlkeras.guarded import run_guarded
atexit.register(os.kill, os.getpid(), signal.SIGINT)  # called after what run_guarded registers: the last comes first
run_guarded(lambda: print("done"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
