import os
import shutil

import pytest

import tlkeras as tl
from tlkeras.data import image_index
from tlkeras.files import read_json, write_json
from tlkeras.replication import running
from tlkeras.replication.known_data import KnownData
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.script import main

pytestmark = pytest.mark.usefixtures("quick_figures")

CELLS = {("tree", "pixels"): tl.PixelBaseline("decision_tree", image_size=(8, 8))}
EXPERIMENT = tl.Experiment(
    name="toy",
    paper=tl.Paper(title="A toy", authors="Nobody", venue="nowhere"),
    dataset="chest_xray",
    default_backbones=(),
    smoke_backbones=(),
    protocols={"corrected": tl.Protocol(split=tl.Predefined(val=0.25), cells=CELLS)},
    reported={},
)
KEY = CellKey("tree", "pixels", 0)
SEEDS = ["--seeds", "0", "1"]


@pytest.fixture
def data(toy_chest_xray, tmp_path):
    """The toy set, every file padded to 9,000 bytes behind the end of its JPEG."""
    root = tmp_path / "data"
    shutil.copytree(toy_chest_xray, root)
    for file in root.rglob("*.jpeg"):
        file.write_bytes(file.read_bytes().ljust(9000, b"\0"))
        os.utime(file, (1000, 1000))
    return root


@pytest.fixture
def run(data, tmp_path, heard, capsys):
    """Runs the experiment with more options; returns what it said, and the exit code."""

    def start(*more):
        given = ["--data", str(data), "--out", str(tmp_path / "out"), "--smoke", "--store", str(tmp_path / "store")]
        code = 0
        try:
            main(EXPERIMENT, [*given, *more])
        except SystemExit as stopped:
            code = stopped.code
        said = capsys.readouterr()
        return heard.text() + said.out + said.err, code

    return start


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "out" / "corrected")


def overwrite_a_test_image(data):
    """By a training image of the same size."""
    (target, *_), (source, *_) = (sorted((data / "chest_xray").rglob(f"{part}/NORMAL/*")) for part in ("test", "train"))
    assert target.stat().st_size == source.stat().st_size
    shutil.copy2(source, target)


def test_images_overwritten_by_others_of_their_size_are_refused(data, run, folder):
    assert run()[1] == 0
    overwrite_a_test_image(data)
    said, code = run(*SEEDS)
    assert code == 2
    assert "pixels/tree/seed0 was made with other images: their names and sizes are the same" in said


@pytest.mark.slow
def test_a_cell_of_an_earlier_version_is_kept_if_names_and_sizes_are_the_same_which_is_said(data, run, folder):
    assert run()[1] == 0
    file = folder.cell(KEY) / "cell.json"
    cell = read_json(file)
    contents = cell["settings"].pop("contents")
    write_json(file, {name: cell[name] for name in ("settings", "facts", "files")})
    said, code = run(*SEEDS)
    assert code == 0
    assert f"1 finished cells of {folder.root} are of a version that knew its images by names and sizes" in said
    assert folder.settings_of(KEY).keys() == cell["settings"].keys()  # nobody writes that they are known
    assert folder.settings_of(CellKey("tree", "pixels", 1))["contents"] == contents
    page = (folder.root / "table.md").read_text()
    assert f"not recorded, sha256 {contents[:16]}" in page
    for image in (data / "chest_xray" / "test").rglob("*.jpeg"):
        image.write_bytes(image.read_bytes() + b"\0")
    said, code = run(*SEEDS)
    assert code == 2
    assert "was made with data = " in said


@pytest.mark.slow
def test_images_are_hashed_again_when_it_is_asked_for(data, run, monkeypatch):
    monkeypatch.setattr(image_index, "_SETTLED", -(10**12))
    monkeypatch.setattr(image_index, "_status", lambda path: (9000, 1000, 1000, 1))
    assert run()[1] == 0
    overwrite_a_test_image(data)
    assert run()[1] == 0
    said, code = run("--verify")
    assert code == 2
    assert "was made with other images" in said


def test_images_that_change_while_a_cell_is_made_are_refused(data, tmp_path):
    samples = tl.load_dataset("chest_xray", data, check_counts=False)
    for store in (tmp_path / "store", False):
        known = KnownData(samples, store)
        known.require_unchanged()
        file = sorted((data / "chest_xray").rglob("*.jpeg"))[0]
        file.write_bytes(file.read_bytes()[::-1])
        with pytest.raises(tl.InputError, match="images changed while the cell was made"):
            known.require_unchanged()


@pytest.mark.slow
def test_a_cell_whose_images_changed_meanwhile_is_not_finished(data, run, folder, monkeypatch):
    environment = running.environment
    monkeypatch.setattr(running, "environment", lambda: (overwrite_a_test_image(data), environment())[1])
    said, code = run()
    assert code == 2
    assert "pixels/tree/seed0: images changed while the cell was made" in said
    assert folder.finished() == []


def test_contents_are_those_of_the_images_wherever_they_lie(data, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    first, second = (KnownData(tl.load_dataset("chest_xray", root, check_counts=False), False) for root in (data, copy))
    assert first.settings == second.settings
    overwrite_a_test_image(copy)
    third = KnownData(tl.load_dataset("chest_xray", copy, check_counts=False), False).settings
    assert (third["data"] == first.settings["data"], third["contents"] == first.settings["contents"]) == (True, False)
