import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scripts import BENCHMARKS

SCRIPT = BENCHMARKS / "benchmark_training.py"


def run(script, *options):
    return subprocess.run(
        [sys.executable, str(script), *map(str, options)], capture_output=True, text=True, cwd=os.sep, timeout=600
    )


@pytest.mark.slow
def test_jobs_of_both_sides_are_run_and_compared(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(24):
        name = f"{number}.jpg"
        level = 60 + 120 * (number % 2)
        Image.fromarray(rng.normal(level, 20, (40, 40, 3)).clip(0, 255).astype(np.uint8)).save(tmp_path / name)
        split = ("train", "train", "val", "test")[number // 2 % 4]
        rows.append({"path": name, "label": "ab"[number % 2], "split": split})  # relative to the CSV, for both sides
    pd.DataFrame(rows).to_csv(tmp_path / "split.csv", index=False)
    out = tmp_path / "out"
    small = ["--backbone", "mobilenetv2_035", "--size", 32, "--epochs", 1, "--batch", 4, "--out", out]
    done = run(SCRIPT, "--csv", tmp_path / "split.csv", "--jobs", "frozen", "again", "fine_tuned", "floor", *small)
    assert done.returncode == 0, done.stderr
    runs = pd.read_csv(out / "runs.csv")
    found = set(zip(runs["job"], runs["side"], strict=True))
    both = {(job, side) for job in ("frozen", "fine_tuned") for side in ("tlkeras", "plain Keras")}
    assert found == both | {("again", "tlkeras"), ("floor", "plain Keras")}
    trained = runs[runs["job"] != "floor"]
    parts = trained[["setup_s", "phase1_s", "phase2_s"]].sum(axis=1)
    assert (parts <= trained["wall_s"]).all()
    assert (trained["phase2_s"] > 0.01).tolist() == (trained["job"] == "fine_tuned").tolist()
    assert (runs["images"] == 24).all()
    shown = (out / "training.md").read_text()
    assert all(words in shown for words in ("fine tuned", "again", "times faster", "of the floor"))
    assert (out / "training.png").stat().st_size > 10_000
    again = run(SCRIPT, "--report-only", "--out", out)
    assert again.returncode == 0, again.stderr
    assert (out / "training.md").read_text() == shown


@pytest.mark.slow
def test_precision_is_compared_for_each_backbone(tmp_path):
    done = run(
        BENCHMARKS / "benchmark_precision.py",
        *["--backbones", "mobilenet_025", "--size", 32, "--images", 100, "--repeats", 1, "--out", tmp_path],
    )
    assert done.returncode == 0, done.stderr
    assert "| mobilenet_025 |" in (tmp_path / "precision.md").read_text()


def test_one_of_csv_and_dataset_is_asked_for():
    done = run(SCRIPT)
    assert done.returncode == 2
    assert "--csv FILE" in done.stderr


def test_a_report_without_runs_says_what_to_do(tmp_path):
    done = run(SCRIPT, "--report-only", "--out", tmp_path)
    assert done.returncode == 2
    assert "there is no runs.csv" in done.stderr
