import pandas as pd
import pytest
from scripts import BENCHMARKS, load_script


@pytest.fixture(scope="module")
def drill():
    return load_script("drill_page", BENCHMARKS)


def row(**fields):
    return {
        **{"trial": 1, "protocol": "with_val", "fault": "SIGKILL twice in a run", "how": "kill 1 of 2"},
        **{"moment_s": 1.5, "doing": "reporting", "outcome": "killed", "wanted": True, "message": ""},
        **{"epochs_again": 0, "lost": ""},
        **fields,
    }


def test_the_table_counts_runs_and_says_what_was_lost(drill):
    rows = [
        row(),
        row(how="kill 2 of 2", doing="starting"),
        row(trial=2, epochs_again=3, lost="1 files differ: table.md"),
        row(trial=3, fault="disk full", outcome=None, message="no tmpfs can be mounted here"),
    ]
    table = pd.DataFrame(drill.faults_table(rows)).set_index("fault")
    assert table.loc["SIGKILL twice in a run"].tolist() == [2, "killed (3)", 1, "1 files differ: table.md", 3]
    assert table.loc["disk full"].tolist() == [0, "not tried: no tmpfs can be mounted here", 0, "", ""]
    kills = pd.DataFrame(drill.kills_table(rows))
    assert kills["equal"].tolist() == ["yes", "yes", "no"]
    assert kills["doing"].tolist() == ["reporting", "starting", "reporting"]
