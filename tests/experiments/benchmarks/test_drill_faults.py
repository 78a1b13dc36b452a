import subprocess
import sys

import pandas as pd
import pytest
from scripts import BENCHMARKS, load_script


@pytest.fixture(scope="module")
def drill():
    return load_script("drill_faults", BENCHMARKS)


def test_every_fault_is_tried_and_thirty_runs_are_killed(drill, tmp_path):
    bench = drill.Bench(tmp_path, 0, unbroken={"with_val": drill.Place(tmp_path, "with_val")})
    sizes = {"checkpoint": 30, "model": 20, "store": 10, "run folder": 100}
    trials = drill.planned(bench, sizes, 30, short=False)
    names = [fault.name for trial in trials for fault in trial.faults]
    assert names.count("SIGKILL once in a run") == 30
    short = {fault.name for trial in drill.planned(bench, sizes, 30, short=True) for fault in trial.faults}
    assert short == set(names) - {"SIGKILL once in a run", "SIGKILL twice in a run", "none: the same run once more"}
    again = drill.planned(bench, sizes, 30, short=False)
    moments = [[fault.act.keywords.get("share") for fault in trial.faults] for trial in trials]
    assert moments == [[fault.act.keywords.get("share") for fault in trial.faults] for trial in again]


@pytest.mark.slow
def test_the_short_drill_loses_nothing(tmp_path):
    command = [
        sys.executable,
        str(BENCHMARKS / "drill_faults.py"),
        "--short",
        "--jobs",
        "2",
        "--out",
        str(tmp_path),
        "--seed",
        "0",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = pd.read_csv(tmp_path / "faults.csv", keep_default_na=False)
    assert (found["lost"] == "").all()
    assert found["wanted"].all()
    assert len(pd.read_csv(tmp_path / "kills.csv")) >= 1
    assert "# Faults, and what was lost" in (tmp_path / "faults.md").read_text()
