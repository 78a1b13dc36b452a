import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tlkeras as tl
from tlkeras.explaining.lime import read_explanation, write_explanation
from tlkeras.files import read_json, write_csv, write_json, write_text
from tlkeras.machine import environment
from tlkeras.replication.publishing import publish
from tlkeras.replication.run_folder import CHECKPOINT, CellKey, RunFolder
from tlkeras.training.recipe import describe

KEY = CellKey("frozen", "mobilenetv2_035", 3)


def predictions():
    samples = tl.Samples(("/d/a.png", "/d/b.png"), np.array([0, 1]), ("no", "yes"), root="/d", groups=["01", "02"])
    return tl.Predictions(samples, np.array([[0.75, 0.25], [0.1, 0.9]], np.float32))


def finished_run(root):
    folder = RunFolder(root)
    write_csv(predictions().to_frame("test"), folder.cell(KEY) / "predictions.csv")
    write_text(folder.cell(KEY) / "model.keras", "large")
    write_json(folder.cell(KEY) / "classifier.json", {})
    folder.write_cell(KEY, {"head": {"units": [4, 8]}}, {"seconds": 1})
    write_text(root / "table.md", "table")
    return folder


def test_a_cell_is_finished_only_with_the_settings_it_was_made_with(tmp_path):
    folder = finished_run(tmp_path)
    assert folder.finished() == [KEY]
    assert folder.is_finished(KEY, {"head": {"units": [4, 8]}})
    assert not folder.is_finished(CellKey("frozen", "vgg16", 3), {"head": {"units": [4, 8]}})
    with pytest.raises(
        tl.InputError, match=r"made with head\.units\.1 = 8, now it is 16\. Name another folder with --out"
    ):
        folder.is_finished(KEY, {"head": {"units": [4, 16]}})


def test_a_cell_without_its_last_file_is_not_finished(tmp_path):
    folder = finished_run(tmp_path)
    (folder.cell(KEY) / "cell.json").unlink()
    assert folder.finished() == []
    assert not folder.is_finished(KEY, {"head": {"units": [4, 8]}})
    assert folder.settings_or_none(KEY) is None
    with pytest.raises(tl.MissingInputError, match=r"cell\.json"):
        folder.settings_of(KEY)


def test_predictions_come_back_by_part(tmp_path):
    back = finished_run(tmp_path).read_predictions(KEY)
    assert list(back) == ["test"]
    assert (back["test"].probs == predictions().probs).all()
    assert list(back["test"].samples.groups) == ["01", "02"]
    file = tmp_path / "mobilenetv2_035" / "frozen" / "seed3" / "predictions.csv"
    file.write_text("path,predicted\na.png,dog\n")  # of `tlkeras predict`
    RunFolder(tmp_path).write_cell(KEY, {}, {})
    with pytest.raises(tl.InputError, match=r"predictions\.csv lacks the columns sample_id, part, group, label"):
        RunFolder(tmp_path).read_predictions(KEY)
    file.unlink()
    with pytest.raises(tl.InputError, match=r"holds no predictions\.csv"):
        RunFolder(tmp_path).read_predictions(KEY)


def test_the_manifest_names_what_a_finished_cell_holds(tmp_path):
    folder = finished_run(tmp_path)
    (folder.cell(KEY) / CHECKPOINT).write_bytes(b"of a training that is over")
    (folder.cell(KEY) / "search").mkdir()
    folder.write_cell(KEY, {}, {})
    file = folder.cell(KEY) / "predictions.csv"
    manifest = read_json(folder.cell(KEY) / "cell.json")["files"]
    assert list(manifest) == ["classifier.json", "model.keras", "predictions.csv"]
    assert manifest["predictions.csv"] == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("published", [False, True])
def test_predictions_that_changed_after_the_cell_was_finished_are_refused(published, tmp_path):
    folder = finished_run(tmp_path / "run")
    if published:
        folder = RunFolder(publish(tmp_path / "run", tmp_path / "assets"))
    assert list(folder.read_predictions(KEY)) == ["test"]
    file = next(folder.cell(KEY).glob("predictions.csv*"))
    whole = file.read_bytes()
    text = gzip.decompress(whole) if published else whole
    edited = text.replace(b"0.25", b"0.35")
    assert edited != text
    file.write_bytes(gzip.compress(edited) if published else edited)
    with pytest.raises(tl.InputError, match=r"is not what was written when the cell was finished .* Remove the cell"):
        folder.read_predictions(KEY)
    if published:
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(tl.InputError, match=r"csv\.gz cannot be read"):
            folder.read_predictions(KEY)


def test_file_names_that_are_not_utf8_come_back(tmp_path):
    name = os.fsdecode(b"/d/\xff.jpg")
    samples = tl.Samples((name,), np.array([1]), ("no", "yes"), root="/d")
    folder = RunFolder(tmp_path)
    frame = tl.Predictions(samples, np.array([[0.25, 0.75]], np.float32)).to_frame("test")
    write_csv(frame, folder.cell(KEY) / "predictions.csv")
    assert os.fsencode(folder.read_predictions(KEY)["test"].samples.images[0]) == b"\xff.jpg"


def test_a_published_folder_has_no_model_and_can_be_read_again(tmp_path):
    finished_run(tmp_path / "run")
    publish(tmp_path / "run", tmp_path / "assets")
    names = {path.name for path in (tmp_path / "assets").rglob("*") if path.is_file()}
    assert names == {"predictions.csv.gz", "cell.json", "table.md"}
    back = RunFolder(tmp_path / "assets").read_predictions(KEY)
    assert (back["test"].probs == predictions().probs).all()
    packed = RunFolder(tmp_path / "assets").cell(KEY) / "predictions.csv.gz"
    first = packed.read_bytes()
    publish(tmp_path / "run", tmp_path / "assets")
    assert packed.read_bytes() == first
    assert gzip.decompress(first) == (RunFolder(tmp_path / "run").cell(KEY) / "predictions.csv").read_bytes()


def test_cells_of_another_kind_are_refused_in_the_same_folder(tmp_path):
    folder = finished_run(tmp_path)
    folder.require_same({"head": {"units": [4, 8]}})
    with pytest.raises(tl.InputError, match="was made with"):
        folder.require_same({"head": {"units": [4, 9]}})


def test_unfinished_cells_and_sheets_are_not_published(tmp_path):
    folder = finished_run(tmp_path / "run")
    write_text(folder.cell(KEY) / "sheet_test.png", "images")
    write_text(folder.cell(KEY) / "explanations_test.png", "images")
    write_text(folder.cell(CellKey("frozen", "vgg16", 0)) / "predictions.csv", "half a cell")
    publish(tmp_path / "run", tmp_path / "assets")
    names = {path.name for path in (tmp_path / "assets").rglob("*") if path.is_file()}
    assert names == {"predictions.csv.gz", "cell.json", "table.md"}


def test_nothing_is_published_from_an_empty_folder(tmp_path):
    with pytest.raises(tl.InputError, match="holds no finished run"):
        publish(tmp_path, tmp_path / "assets")


def test_an_explanation_comes_back_from_its_file(tmp_path):
    explanation = tl.Explanation(
        image=np.arange(48, dtype=np.uint8).reshape(4, 4, 3),
        segments=np.repeat([[0, 0, 1, 1]], 4, axis=0),
        weights=np.array([0.25, -0.5]),
        label=1,
        class_name="mel",
        probability=0.75,
        r2=0.5,
        stability=None,
    )
    back = read_explanation(write_explanation(explanation, tmp_path / "new" / "explanation.npz"))
    for name, value in vars(explanation).items():
        np.testing.assert_array_equal(getattr(back, name), value)
    assert isinstance(back.label, int)
    (tmp_path / "foreign.npz").write_bytes(b"PK nothing")
    np.savez(tmp_path / "other.npz", a=1)
    for name in ("foreign.npz", "other.npz", "none.npz"):
        with pytest.raises(tl.InputError, match=name):
            read_explanation(tmp_path / name)


def test_recipes_are_described_as_plain_values():
    described = describe(tl.Tuner("mobilenetv2", phases=(tl.Phase(2, 1e-3, unfreeze=("block1",)),)))
    assert described["type"] == "Tuner"
    assert described["phases"][0]["unfreeze"] == ["block1"]
    assert described["head"] == describe(tl.Head())
    assert described != describe(tl.Tuner("mobilenetv2"))


def test_the_environment_names_versions_and_what_decides_the_last_digits(monkeypatch):
    found = environment()
    assert found["packages"]["keras"].startswith("3.15")
    assert found["cores"] == found["threads"] >= 1
    assert found["processor"]
    assert set(found["vector_instructions"].split()) <= set(Path("/proc/cpuinfo").read_text().split())
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    assert environment()["threads"] == 7


def test_the_commit_is_that_of_tlkeras_own_checkout_alone(tmp_path):
    def git(*words):
        return subprocess.run(
            ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    def told():
        code = "from tlkeras.machine import commit; print(commit())"
        return subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=tmp_path,
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    shutil.copytree(Path(tl.__file__).parent, tmp_path / "tlkeras", ignore=shutil.ignore_patterns("__pycache__"))
    git("init", "--quiet")
    (tmp_path / "mine.txt").write_text("mine")
    git("add", "mine.txt")
    git("commit", "--quiet", "-m", "someone's project, which holds a copy of tlkeras")
    assert told() == "None"
    git("add", "tlkeras")
    git("commit", "--quiet", "-m", "a checkout of tlkeras")
    assert told() == git("rev-parse", "HEAD")
    with (tmp_path / "tlkeras" / "seeds.py").open("a") as file:
        file.write("# another\n")
    assert told() == f"{git('rev-parse', 'HEAD')} + changes"
