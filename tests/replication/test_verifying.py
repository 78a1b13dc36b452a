import gzip

import pandas as pd
import pytest
from cells import KEY, TOY, right_in, write_cell
from PIL import Image

import tlkeras as tl
from tlkeras.command.main import main
from tlkeras.files import read_json, write_csv, write_json, write_text
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.publishing import publish
from tlkeras.replication.results import report_experiment
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.verifying import DAMAGED, EXTRA, MISSING, verify_run

pytestmark = pytest.mark.usefixtures("quick_figures")

TREE = CellKey("tree", PIXELS, 0)
NAMES = ["classifier.json", "embedding_test.csv", "hardest_test.png", "history.csv", "layers.csv", "predictions.csv"]


@pytest.fixture
def folder(tmp_path):
    """A run of a network, with the files a run writes, and of a tree."""
    folder = RunFolder(tmp_path / "run" / "corrected")
    write_text(folder.cell(KEY) / "classifier.json", '{"classes": 2}')
    Image.new("RGB", (8, 8)).save(folder.cell(KEY) / "hardest_test.png")
    write_csv(pd.DataFrame({"sample_id": [1], "label": "a", "x": 0, "y": 2}), folder.cell(KEY) / "embedding_test.csv")
    for key in (KEY, TREE):
        write_cell(folder.root, key, {"test": right_in(range(6))})
    return folder


@pytest.fixture
def published(folder, tmp_path):
    return RunFolder(publish(folder.root, tmp_path / "published"))


def found(folder):
    """{name: what is wrong} of the network's cell."""
    cell = folder.cell(KEY)
    return {str(file.relative_to(cell)): kind for file, kind in verify_run(folder.root).findings}


def edit(file):
    """One digit, or one letter."""
    contents = file.read_bytes()
    unpacked = gzip.decompress(contents) if file.suffix == ".gz" else contents
    position = max(i for i, byte in enumerate(unpacked) if chr(byte).isalnum())
    edited = unpacked[:position] + (b"7" if unpacked[position] == ord("8") else b"8") + unpacked[position + 1 :]
    file.write_bytes(gzip.compress(edited) if file.suffix == ".gz" else edited)


def test_a_run_and_what_is_published_of_it_are_whole(folder, tmp_path, capsys):
    report_experiment(TOY.under("corrected"), folder)
    published = RunFolder(publish(folder.root, tmp_path / "published"))
    for each, n_files in ((folder, 7), (published, 5)):  # published without classifier.json and the sheet of images
        whole = verify_run(each.root)
        assert (whole.n_cells, whole.n_files, whole.findings, whole.is_whole) == (2, n_files, (), True)
        main(["verify", str(each.root)])
        assert f"{each.root}: 2 finished cells, {n_files} files are what was written" in capsys.readouterr().out
    assert verify_run(folder.cell(TREE)).n_files == 1
    assert verify_run(folder.root.parents[1]).n_cells == 4


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_was_edited_or_removed_is_named(folder, name, capsys):
    edit(folder.cell(KEY) / name)
    assert found(folder) == {name: DAMAGED}
    with pytest.raises(SystemExit) as stopped:
        main(["verify", str(folder.root)])
    assert stopped.value.code == 1
    assert f"  vgg16/frozen/seed0/{name}: damaged or edited\n" in capsys.readouterr().out
    (folder.cell(KEY) / name).unlink()
    assert found(folder) == {name: MISSING}


def test_what_publishing_keeps_is_damaged_or_missing_there_too(published):
    edit(published.cell(KEY) / "predictions.csv.gz")
    edit(published.cell(KEY) / "layers.csv")
    (published.cell(KEY) / "history.csv").unlink()
    assert found(published) == {"predictions.csv": DAMAGED, "layers.csv": DAMAGED, "history.csv": MISSING}
    (published.cell(KEY) / "predictions.csv.gz").write_bytes(b"\x1f\x8b cut")
    assert found(published)["predictions.csv"] == DAMAGED


@pytest.mark.parametrize(("section", "name"), [("facts", "peak_mb"), ("settings", "smoke"), ("files", "history.csv")])
def test_an_edited_cell_json_is_refused(folder, section, name):
    file = folder.cell(KEY) / "cell.json"
    cell = read_json(file)
    write_json(file, cell | {section: cell[section] | {name: 1}})
    assert found(folder) == {"cell.json": DAMAGED}
    with pytest.raises(tl.InputError, match=r"cell\.json is not what was written .* Remove it, and"):
        report_experiment(TOY.under("corrected"), folder)
    write_text(file, "{")
    assert found(folder) == {"cell.json": DAMAGED}


@pytest.mark.parametrize("written", ['{"0": {"version": 3, "sha256": "0"}}', "[]", "{"])
def test_an_edited_audit_is_named(folder, written):
    (folder.root / "audit.json").write_text(written)
    found = verify_run(folder.root)
    assert not found.is_whole
    assert "audit.json: damaged or edited" in found.describe()


def test_what_no_run_wrote_is_told_and_is_no_error(folder, capsys):
    write_text(folder.cell(KEY) / "notes.txt", "mine")
    (folder.cell(KEY) / "export").mkdir()
    assert found(folder) == {"notes.txt": EXTRA}
    main(["verify", str(folder.root)])
    assert "notes.txt: extra" in capsys.readouterr().out


def test_cells_of_a_version_without_hashes_are_counted(folder, capsys):
    file = folder.cell(KEY) / "cell.json"
    cell = read_json(file)
    write_json(file, {name: cell[name] for name in ("settings", "facts")})
    edit(folder.cell(KEY) / "history.csv")
    whole = verify_run(folder.root)
    assert (whole.n_files, whole.without_hashes, whole.findings) == (1, ("vgg16/frozen/seed0",), ())
    assert "1 cells are of a version that kept no hashes" in whole.describe()
    (folder.cell(KEY) / "predictions.csv").unlink()
    assert found(folder) == {"predictions.csv": MISSING}


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_finished_cells_is_refused(tmp_path, name, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as stopped:
        main(["verify", str(tmp_path / name)])
    assert stopped.value.code == 2
    assert name in capsys.readouterr().err


# --- what a report reads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["history.csv", "layers.csv", "hardest_test.png"])
def test_a_report_reads_no_file_that_was_edited(folder, name):
    edit(folder.cell(KEY) / name)
    with pytest.raises(tl.InputError, match=rf"{name} is not what was written when the cell was finished"):
        report_experiment(TOY.under("corrected"), folder)


@pytest.mark.parametrize("name", ["history.csv", "layers.csv", "predictions.csv"])
def test_a_report_misses_no_file_in_silence(folder, name):
    (folder.cell(KEY) / name).unlink()
    with pytest.raises(tl.InputError, match=f"holds no {name}"):
        report_experiment(TOY.under("corrected"), folder)


def test_an_earlier_versions_file_that_is_no_table_is_named(folder):
    write_json(folder.cell(KEY) / "cell.json", {"settings": {}, "facts": {}})
    write_text(folder.cell(KEY) / "history.csv", "")
    with pytest.raises(tl.InputError, match=r"history\.csv is no table"):
        folder.read_table(KEY, "history.csv")
