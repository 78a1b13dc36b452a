import subprocess
import sys

import pytest
from scripts import BENCHMARKS, load_script

SCRIPT = BENCHMARKS / "benchmark_explain.py"


def run(*options):
    return subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True)


@pytest.mark.slow
def test_both_sides_explain_the_same_copies_and_agree(tmp_path):
    small = ("--backbone", "mobilenetv2_035", "--image-size", "32", "--n-samples", "30", "--repeats", "1")
    done = run(*small, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "explain.md").read_text() in done.stdout
    header, _, *rows = [line.strip("|").split("|") for line in done.stdout.splitlines() if line.startswith("|")]
    assert [name.strip() for name in header[:2]] == ["segments", "distinct copies"]
    few, many = ([float(cell) for cell in row] for row in rows)
    assert 7 <= few[0] <= 10 < many[0]
    assert few[1] <= many[1] == 30
    for row in (few, many):
        assert row[-1] <= 1e-6 < row[-2]  # the weights differ by rounding, and are not all rounding


def test_ratios_are_stock_over_ours():
    row = load_script("benchmark_explain", BENCHMARKS).row_of_times(
        {"stock": [9.0, 8.0, 12.0], "ours": [2.0, 4.0, 3.0]}, {"stock": [10.0, 11.0, 12.0], "ours": [5.0, 6.0, 7.0]}
    )
    assert list(row.values()) == ["8.00", "2.00", "4.0", "3.0", "2.0"]


@pytest.mark.parametrize(("option", "value"), [("--n-samples", "1"), ("--repeats", "0")])
def test_numbers_that_cannot_be_are_refused(option, value):
    done = run(option, value)
    assert done.returncode == 2
    assert f"{option}: received {value}" in done.stderr
