import subprocess
import sys

import pandas as pd
import pytest
from scripts import BENCHMARKS

SCRIPT = BENCHMARKS / "benchmark_memory.py"


@pytest.mark.slow
def test_the_result_does_not_depend_on_the_budget(toy_chest_xray, tmp_path):
    files = sorted((toy_chest_xray / "chest_xray").rglob("*.jpeg"))
    pd.DataFrame({"path": files, "label": [file.parent.name for file in files]}).to_csv(tmp_path / "a.csv", index=False)
    command = [sys.executable, str(SCRIPT), "--csv", str(tmp_path / "a.csv"), "--size", "32", "--budgets", "1GB", "1KB"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in (tmp_path / "memory.md").read_text().splitlines() if line.startswith("| 1")]
    assert len(rows) == 2
    assert rows[0][-2] == rows[1][-2]  # the validation loss
