import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tlkeras as tl

SCRIPT = Path(tl.__file__).parent.parent / "experiments" / "benchmark_training.py"


@pytest.mark.slow
def test_both_sides_train_on_the_same_csv_and_are_compared(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(24):
        name = f"{number}.jpg"
        level = 60 + 120 * (number % 2)
        Image.fromarray(rng.normal(level, 20, (40, 40, 3)).clip(0, 255).astype(np.uint8)).save(tmp_path / name)
        split = ("train", "train", "val", "test")[number // 2 % 4]
        rows.append({"path": name, "label": "ab"[number % 2], "split": split})  # relative to the CSV, for both sides
    pd.DataFrame(rows).to_csv(tmp_path / "split.csv", index=False)
    command = [sys.executable, str(SCRIPT), "--csv", str(tmp_path / "split.csv"), "--backbone", "mobilenetv2_035"]
    command += ["--size", "32", "--epochs", "1", "--fine-tune-epochs", "1", "--batch-size", "4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=os.sep)
    assert done.returncode == 0, done.stderr
    assert "tlkeras" in done.stdout
    assert "plain Keras" in done.stdout
    assert "times as long as tlkeras (2 epochs" in done.stdout


def test_one_of_csv_and_dataset_is_asked_for():
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--csv FILE" in done.stderr
