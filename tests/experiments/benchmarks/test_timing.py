import time

import pytest
from scripts import BENCHMARKS, load_script

from tlkeras.errors import InputError


@pytest.fixture(scope="module")
def timing():
    return load_script("timing", BENCHMARKS)


def test_what_a_child_says_last_comes_with_its_seconds_and_memory(timing, tmp_path):
    script = tmp_path / "child.py"
    script.write_text(
        "import json, os, sys, time\n"
        "held = b'x' * 2**26\n"
        "time.sleep(0.3)\n"
        "print('on the way')\n"
        "print(json.dumps({'said': sys.argv[1], 'store': os.environ['TLKERAS_STORE']}))\n"
    )
    found = timing.measured([script, 7], store=tmp_path / "store")
    assert (found["said"], found["store"]) == ("7", str(tmp_path / "store"))
    assert 0.3 <= found["wall_s"] < 30
    assert 64 <= found["anonymous_mb"] <= found["resident_mb"] < 500


def test_a_child_that_fails_ends_the_benchmark(timing, tmp_path):
    script = tmp_path / "child.py"
    script.write_text("print('half a word')\nraise SystemExit('no room')\n")
    with pytest.raises(InputError, match=r"child\.py --fast ended with exit code 1:\nhalf a word\nno room"):
        timing.measured([script, "--fast"])


def test_sides_take_turns_at_being_first(timing):
    assert list(timing.in_turn({"a": 1, "b": 2}, 3)) == ["a", "b", "b", "a", "a", "b"]


def test_a_spread_is_median_smallest_and_largest(timing):
    assert timing.spread([1.317, 1.288, 1.234], 2) == "1.29 (1.23 to 1.32)"
    assert timing.spread([1.0, 2.0], 1) == "1.5 (1.0 to 2.0)"


def test_a_stopwatch_tells_waiting_from_work(timing):
    with timing.stopwatch() as spent:
        time.sleep(0.05)
    assert spent.wall >= 0.05 > spent.cpu >= 0


def test_a_machine_is_named_with_the_packages_that_matter(timing):
    found = {"processor": "AMD EPYC", "cores": 2, "packages": {"numpy": "2.4.6", "scipy": "1.16"}}
    assert timing.machine_line(found) == "AMD EPYC, 2 cores"
    assert timing.machine_line(found, "numpy", "scipy") == "AMD EPYC, 2 cores; numpy 2.4.6, scipy 1.16"


def test_the_command_of_a_page_is_given_from_the_root_of_the_repository(timing):
    said = timing.command_line(str(BENCHMARKS / "benchmark_grid.py"), "--size 96")
    assert said == "    python experiments/benchmarks/benchmark_grid.py --size 96"
