import json
import zipfile

import pytest
from scripts import BENCHMARKS, load_script


@pytest.fixture(scope="module")
def drill():
    return load_script("drill_compared", BENCHMARKS)


@pytest.fixture(scope="module")
def damage():
    return load_script("drill_disk", BENCHMARKS).damage


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
def test_a_damaged_file_is_found(drill, damage, unbroken, tmp_path, kind, name):
    other = write_run(drill, tmp_path / "other")
    path = next(other.out.rglob(name))
    before = path.read_bytes()
    damage(path, kind)
    flipped = sum(a != b for a, b in zip(before, path.read_bytes(), strict=False))
    assert (len(path.read_bytes()), flipped) == {"flipped": (len(before), 1), "cut": (len(before) // 2, 0)}.get(
        kind, (0, 0)
    )
    assert drill.differences(unbroken, other) == [f"1 files differ: {path.relative_to(other.out)}"]


def test_a_model_that_is_cut_is_found(drill, damage, unbroken, tmp_path):
    other = write_run(drill, tmp_path / "other")
    damage(next(other.out.rglob("model.keras")), "cut")
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
