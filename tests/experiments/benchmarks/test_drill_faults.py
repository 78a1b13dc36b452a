import json
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
from scripts import BENCHMARKS, load_script

SAID = """the toy run begins
auditing 46 images, 1 split

[1/2] with_val: small/frozen/seed0
phase 1 of 1: backbone frozen; 16,410 of 258,298 parameters learn
frozen layers up to head_flatten: 22 images to compute, 0 are in the feature store
  epoch  1/2     1.0 s  loss 0.6611
  epoch  2/2     0.0 s  loss 0.4657
accuracy val 1.0000; 2 s, peak 773 MB

[2/2] with_val: small/two_phases/seed0
phase 1 of 2: backbone frozen
  epoch  1/1     1.0 s  loss 0.6611
phase 2 of 2: 4 of 8 backbone layers trainable
  epoch  1/1     1.0 s  loss 0.6611
accuracy val 1.0000; 2 s, peak 773 MB
"""


@pytest.fixture(scope="module")
def drill():
    return load_script("drill_faults", BENCHMARKS)


def write_run(drill, folder, **other):
    """A place whose run folder holds a file of each kind, as two runs of the same seed write them."""
    cell = folder / "out" / "with_val" / "small" / "frozen" / "seed0"
    cell.mkdir(parents=True)
    tables = folder / "out" / "with_val"
    values = {
        "seconds": 0.5,
        "peak_mb": 700,
        "probability": 0.25,
        "loss": 0.125,
        "weights": b"1",
        "digest": "a",
    } | other
    (cell / "predictions.csv").write_text(f"sample_id,prob_a\n0.png,{values['probability']}\n")
    (cell / "history.csv").write_text(f"phase,seconds,loss\n1,{values['seconds']},{values['loss']}\n")
    (cell / "figure.png").write_bytes(b"figure")
    manifest = {"history.csv": values["digest"], "predictions.csv": "same"}
    facts = {"settings": {"weights": f"{folder}/start"}, "seconds": {"fit": values["seconds"]}, "files": manifest}
    facts["sha256"] = values["digest"]  # of all this
    (cell / "cell.json").write_text(json.dumps(facts))
    (cell / "classifier.json").write_text(json.dumps({"sha256": values["digest"], "weights": {"sha256": "same"}}))
    with zipfile.ZipFile(cell / "model.keras", "w") as file:
        file.writestr("metadata.json", values["digest"])
        file.writestr("model.weights.h5", values["weights"])
    (tables / "scores.csv").write_text(
        f"metric,value\nseconds,{values['seconds']}\npeak_mb,{values['peak_mb']}\naccuracy,{values['probability']}\n"
    )
    (tables / "table.md").write_text(
        "# A page\n\n| method | loss | run time, s |\n| --- | --- | --- |\n"
        f"| frozen | {values['loss']} | {values['seconds']}   |\n"
    )
    (tables / "report.html").write_text(str(values["seconds"]))
    return drill.Place(folder, "with_val")


@pytest.fixture
def unbroken(drill, tmp_path):
    return write_run(drill, tmp_path / "unbroken")


def test_runs_that_differ_in_seconds_and_dates_are_equal(drill, unbroken, tmp_path):
    other = write_run(drill, tmp_path / "other", seconds=0.75, peak_mb=701, digest="b")
    assert drill.differences(unbroken, other) == []


@pytest.mark.parametrize(
    ("changed", "files"),
    [
        ({"probability": 0.26}, ("with_val/small/frozen/seed0/predictions.csv", "with_val/scores.csv")),
        ({"loss": 0.25}, ("with_val/small/frozen/seed0/history.csv", "with_val/table.md")),
        ({"weights": b"2"}, ("with_val/small/frozen/seed0/model.keras",)),
    ],
)
def test_a_changed_figure_is_found_wherever_it_stands(drill, unbroken, tmp_path, changed, files):
    other = write_run(drill, tmp_path / "other", **changed)
    assert drill.differences(unbroken, other) == [f"{len(files)} files differ: {', '.join(files)}"]


@pytest.mark.parametrize("kind", ["flipped", "cut", "empty"])
@pytest.mark.parametrize("name", ["predictions.csv", "figure.png", "scores.csv", "cell.json"])
def test_a_damaged_file_is_found(drill, unbroken, tmp_path, kind, name):
    other = write_run(drill, tmp_path / "other")
    path = next(other.out.rglob(name))
    before = path.read_bytes()
    drill.damage(path, kind)
    flipped = sum(a != b for a, b in zip(before, path.read_bytes(), strict=False))
    assert (len(path.read_bytes()), flipped) == {"flipped": (len(before), 1), "cut": (len(before) // 2, 0)}.get(
        kind, (0, 0)
    )
    assert drill.differences(unbroken, other) == [f"1 files differ: {path.relative_to(other.out)}"]


def test_a_model_that_is_cut_is_found(drill, unbroken, tmp_path):
    other = write_run(drill, tmp_path / "other")
    drill.damage(next(other.out.rglob("model.keras")), "cut")
    assert drill.differences(unbroken, other) == ["1 files differ: with_val/small/frozen/seed0/model.keras"]


def test_what_is_missing_and_what_is_left_over_is_found(drill, unbroken, tmp_path):
    other = write_run(drill, tmp_path / "other")
    (other.out / "with_val" / "table.md").unlink()
    (other.out / ".writing-abc.csv").touch()
    (other.folder / "store" / "locks").mkdir(parents=True)
    (other.folder / "store" / ".writing-def").touch()
    assert drill.differences(unbroken, other) == [
        "1 files are not there: with_val/table.md",
        "2 files are left over: .writing-abc.csv, store/.writing-def",
    ]


def test_what_a_run_was_doing_is_read_off_its_lines(drill):
    lines = SAID.splitlines(keepends=True)
    found = [drill.doing_of("".join(lines[:n])) for n in range(len(lines) + 1)]
    assert list(dict.fromkeys(found)) == [
        "starting",
        "auditing the split",
        "frozen: building",
        "frozen: phase 1",
        "frozen: predicting and writing",
        "reporting",
        "two_phases: building",
        "two_phases: phase 1",
        "two_phases: phase 2",
        "two_phases: predicting and writing",
    ]
    assert len(drill.EPOCH.findall(SAID)) == 4


@pytest.mark.parametrize(
    ("code", "complaint", "outcome"),
    [
        (2, "W0000 00:00:17 noise of TensorFlow\nerror: out/a.csv cannot be written.", "exit 2, one message"),
        (0, "", "NOT AS WANTED: exit 0, no message"),
        (2, "error: something else", "NOT AS WANTED: exit 2, error: something else"),
        (1, "error: out/a.csv cannot be written.", "NOT AS WANTED: exit 1, error: out/a.csv cannot be written."),
        (2, "error: a cannot be written\nTraceback (most recent call last):", "NOT AS WANTED: exit 2, Traceback (most"),
        (0, "Exception ignored in: <function>", "NOT AS WANTED: exit 0, Exception ignored in: <function>"),
        (-9, "", "NOT AS WANTED: exit -9, no message"),
    ],
)
def test_only_the_exit_code_and_the_one_message_that_are_wanted_will_do(drill, tmp_path, code, complaint, outcome):
    (tmp_path / "0.err").write_text(complaint)

    class Ended:
        def poll(self):
            return code

        wait = poll

    child = drill.Child(Ended(), tmp_path / "0.out", tmp_path / "0.err", 0.0)
    event = drill.judged(child, 2, drill.UNWRITABLE)
    assert event.outcome.startswith(outcome)
    assert event.wanted == (not outcome.startswith("NOT"))
    late = drill.judged(child, 2, drill.UNWRITABLE, may_end=True)
    assert late.wanted == (event.wanted or (code, complaint) == (0, ""))


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


def test_every_fault_is_tried_and_thirty_runs_are_killed(drill, unbroken, tmp_path):
    bench = drill.Bench(tmp_path, 0, unbroken={"with_val": unbroken})
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
