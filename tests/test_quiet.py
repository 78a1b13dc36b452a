import logging
import os
import warnings

import pytest

from tlkeras.quiet import quiet_terminal
from tlkeras.schema import InputError


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
