import io
import logging
import subprocess
import sys

import pytest

from tlkeras import progress
from tlkeras.progress import LOGGER, bar, silenced

PROGRAM = """
import json, logging, sys
{before}
import tlkeras
{after}
logging.getLogger("tlkeras.training.loop").info("epoch 1/2")
logging.getLogger("tlkeras.training.loop").warning("nearly full")
print(json.dumps({{"accuracy": 0.5}}))
"""


def run(before="", after=""):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before, after=after)], capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr.splitlines()


def test_lines_go_to_standard_error_and_results_stay_alone_on_standard_output():
    assert run() == ('{"accuracy": 0.5}\n', ["epoch 1/2", "nearly full"])


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_level_of_the_logger_is_the_one_setting(when):
    assert run(**{when: 'logging.getLogger("tlkeras").setLevel("WARNING")'})[1] == ["nearly full"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_program_with_handlers_of_its_own_gets_the_lines_once(when):
    configured = 'logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stdout, level="INFO")'
    assert run(**{when: configured}) == (
        'tlkeras.training.loop: epoch 1/2\ntlkeras.training.loop: nearly full\n{"accuracy": 0.5}\n',
        [],
    )


LEFT = """
class Left:
    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        pass

sys.stderr = Left()
"""


@pytest.mark.parametrize("without", ["sys.stderr = None", LEFT], ids=["none", "left"])
def test_where_standard_error_takes_nothing_the_work_goes_on_and_standard_output_stays_alone(without):
    assert run(after=without) == ('{"accuracy": 0.5}\n', [])


def test_inside_silenced_only_warnings_are_heard_and_the_level_comes_back(caplog):
    with silenced():
        LOGGER.info("one")
        LOGGER.warning("two")
    LOGGER.info("three")
    assert caplog.messages == ["two", "three"]


def test_silenced_makes_no_silent_logger_speak(caplog):
    LOGGER.setLevel(logging.ERROR)
    with silenced():
        LOGGER.warning("nearly full")
    assert (LOGGER.level, caplog.messages) == (logging.ERROR, [])
    LOGGER.setLevel(logging.INFO)


class Screen(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "level", "shown"), [(True, "INFO", True), (False, "INFO", False), (True, "WARNING", False)]
)
def test_a_bar_is_shown_on_a_terminal_where_lines_are_let_through(monkeypatch, terminal, level, shown):
    screen = Screen(terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress, "_PATIENCE", 0)
    LOGGER.setLevel(level)
    with bar("reading images", 3, "image") as steps:
        steps.update(3)
    LOGGER.setLevel("INFO")
    assert ("reading images" in screen.getvalue()) is shown


def test_without_standard_error_there_is_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with bar("reading images", 3) as steps:
        steps.update(3)
