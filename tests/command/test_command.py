import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from cells import KEY, right_in, write_cell
from tiny import TINY

import tlkeras as tl
from tlkeras.command.doctor import Examination, Section
from tlkeras.command.export import Export, Parity
from tlkeras.command.main import main
from tlkeras.command.predicting import NOTICE
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.training.feed import Part


@pytest.fixture
def store(tmp_path, toy_pixels):
    """A feature store with one table of 40 images."""
    store = tl.FeatureStore(tmp_path / "store")
    part = Part(tl.from_arrays(*toy_pixels), (32, 32))
    store.features([tl.build_encoder(TINY, image_size=(32, 32), pooling="avg")], part.sources, part.stream)
    return store


def test_store_shows_what_is_kept_and_clears_it(store, capsys):
    main(["store", "--store", str(store.folder)])
    shown = capsys.readouterr().out
    assert "1 tables, 1.3 KB of at most 20 GB" in shown  # 40 images of 8 float32
    assert "tiny up to head_avg: 40 images at 32x32, 8 float32 each" in shown
    main(["store", "--store", str(store.folder), "--clear"])
    assert "1 tables removed, 1.3 KB free again" in capsys.readouterr().out
    assert store.entries() == []


def test_store_shows_what_is_not_used_any_more_and_why(store, capsys):
    (entry,) = store.entries()
    (entry["folder"] / "table.json").write_text("{")
    main(["store", "--store", str(store.folder)])
    assert f"not used any more: {entry['folder'] / 'table.json'} is damaged" in capsys.readouterr().out
    main(["store", "--store", str(store.folder), "--clear"])
    assert "1 tables removed" in capsys.readouterr().out
    assert not entry["folder"].exists()


def test_what_a_process_is_writing_stays(store, capsys):
    from tlkeras.files import holding

    (entry,) = store.entries()
    with holding(store.folder / "locks" / entry["folder"].name):
        main(["store", "--store", str(store.folder), "--clear"])
    assert "1 are being written by other processes and stay" in capsys.readouterr().out
    assert len(store.entries()) == 1


def test_a_store_that_is_not_there_is_empty(tmp_path, capsys):
    main(["store", "--store", str(tmp_path / "none")])
    assert "0 tables" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_the_command_is_installed_and_asks_for_a_subcommand():
    done = subprocess.run([sys.executable, "-m", "tlkeras.command.main"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage: tlkeras" in done.stderr
    assert "store" in done.stderr


HELP = """
import contextlib, io, sys
from tlkeras.command.main import main
for command in ([], ["new"], ["runs"], ["compare"], ["predict"], ["doctor"], ["export"], ["store"]):
    shown = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(shown):
        main([*command, "--help"])
    assert shown.getvalue().startswith(" ".join(["usage: tlkeras", *command])), command
print(*sys.modules)
"""


def test_help_of_every_command_loads_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    heavy = {"tensorflow", "keras", "pandas", "matplotlib", "sklearn", "skimage", "scipy", "cv2", "lime"}
    assert not heavy & set(done.stdout.split())


def refused(arguments, capsys):
    """What a command says before it ends with code 2."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    return said.err


def rows_of(printed):
    """The cells of the pipe table that was printed, header first."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not set(line) <= set("|-: ")]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder of two runs of one cell, on the same 8 images: 5 right and 8 right."""
    monkeypatch.chdir(tmp_path)
    for name, n in (("first", 5), ("second", 8)):
        write_cell(tmp_path / "runs" / name / "corrected", KEY, {"val": right_in(range(2)), "test": right_in(range(n))})
    return Path("runs")


def test_runs_lists_what_is_finished_in_the_folder_runs_or_another(runs, capsys):
    main(["runs"])
    printed = capsys.readouterr().out
    assert [row[:5] for row in rows_of(printed)] == [
        ["run", "backbone", "method", "part", "seeds"],
        ["first/corrected", "vgg16", "frozen", "", "0"],
        ["second/corrected", "vgg16", "frozen", "", "0"],
    ]
    assert "not reported" in printed
    main(["runs", "runs/second"])
    assert [row[0] for row in rows_of(capsys.readouterr().out)[1:]] == ["corrected"]


def test_runs_that_are_not_there_are_said(runs, capsys):
    assert "there is no folder nowhere; give one that holds run folders: what --out named" in refused(
        ["runs", "nowhere"], capsys
    )
    Path("empty").mkdir()
    assert "empty holds no finished cell" in refused(["runs", "empty"], capsys)


def test_compare_prints_second_minus_first_figure_by_figure(runs, capsys):
    main(["compare", "runs/first/corrected", "runs/second/corrected"])
    printed = capsys.readouterr().out
    header, *rows = rows_of(printed)
    assert header[:3] == ["first method", "second method", "part"]
    columns = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["figure"] for row in columns] == [
        "accuracy, %",
        "balanced accuracy, %",
        "macro F1",
        "ROC AUC",
        "log loss",
    ]
    assert {(row["first method"], row["second method"], row["part"]) for row in columns} == {
        ("frozen, vgg16", "frozen, vgg16", "test")
    }
    accuracy = columns[0]
    assert (accuracy["first"], accuracy["second"]) == ("62.5", "100.0")  # 5 and 8 of 8
    assert accuracy["difference"] == "+37.5"  # the second errs nowhere: no interval
    # Three images alone are right in one: 2 of the 2^3 ways to exchange them are as far apart.
    assert (accuracy["p"], accuracy["p, McNemar"]) == ("0.250", "0.250")
    assert [row["p, McNemar"] for row in columns[1:]] == [""] * 4
    assert "difference: second minus first" in printed


def test_compare_takes_the_folders_of_cells_and_the_figures_that_are_named(runs, capsys):
    cells = [str(RunFolder(runs / name / "corrected").cell(KEY)) for name in ("second", "first")]
    main(["compare", *cells, "--metrics", "recall_PNEUMONIA", "accuracy"])
    header, *rows = rows_of(capsys.readouterr().out)
    columns = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["figure"] for row in columns] == ["recall PNEUMONIA", "accuracy, %"]
    assert columns[0]["difference"].startswith("-0.500")  # of rows 1, 3, 5 and 7 two are right, then all
    assert columns[1]["difference"] == "-37.5"


def test_what_cannot_be_compared_is_said(runs, tmp_path, capsys):
    first, second = "runs/first/corrected", "runs/second/corrected"
    assert "there is no folder runs/third" in refused(["compare", first, "runs/third"], capsys)
    assert "runs holds no finished cell" in refused(["compare", "runs", second], capsys)
    assert "acuracy" in refused(["compare", first, second, "--metrics", "acuracy"], capsys)
    tuned, other = CellKey("fine_tuned", "vgg16", 0), CellKey("frozen", "mobilenetv2_035", 0)
    for key in (tuned, other):
        write_cell(tmp_path / "runs/fourth", key, {"test": right_in(range(8))})
    assert "No cell is in both" in refused(["compare", first, "runs/fourth"], capsys)
    write_cell(tmp_path / "runs/fifth", KEY, {"test": right_in(range(6), n=6)})
    assert "a paired comparison needs the same test samples" in refused(["compare", first, "runs/fifth"], capsys)


TABLE = pd.DataFrame({"path": ["a.png"], "predicted": ["dog"], "probability": [0.75], "prob_dog": [0.75]})


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What predict and export ask their modules for, in place of which a table and an export are given."""
    monkeypatch.chdir(tmp_path)
    calls = []
    parity = Parity(images=3, largest_difference=1e-6, same_class=3, spread=0.5, tolerance=1e-4, runtime="onnxruntime")
    export = Export(Path("model.onnx"), Path("model.json"), "onnx", parity)
    monkeypatch.setattr("tlkeras.command.predicting.predict_files", lambda *given: (calls.append(given), TABLE)[1])
    monkeypatch.setattr("tlkeras.command.export.export_classifier", lambda *given: (calls.append(given), export)[1])
    return calls


def test_predict_prints_and_keeps_nothing_where_no_folder_is_named(asked, tmp_path, capsys):
    main(["predict", "model", "a.png", "folder"])
    assert asked == [(Path("model"), [Path("a.png"), Path("folder")], None, 0)]
    printed = capsys.readouterr().out
    assert "a.png" in printed
    assert printed.rstrip().endswith(NOTICE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["predict", "model"], ["export", "model", "--format", "onnx", "--images"]])
def test_what_a_command_skips_in_a_folder_is_named(asked, tmp_path, capsys, words):
    (tmp_path / "folder").mkdir()
    for name in ("a.png", "b.dcm"):
        (tmp_path / "folder" / name).touch()
    main([*words, "folder"])
    printed = capsys.readouterr()
    assert "b.dcm" in printed.err
    assert "a.png" not in printed.err
    assert "b.dcm" not in printed.out


def test_predict_does_not_write_over_the_predictions_of_a_run(asked, capsys):
    cell = Path("runs/first/corrected/vgg16/frozen/seed0")
    cell.mkdir(parents=True)
    (cell / "cell.json").write_text("{}")
    with pytest.raises(SystemExit) as stopped:
        main(["predict", str(cell), "a.png", "--out", str(cell)])
    assert stopped.value.code == 2
    assert "is a run's cell, whose predictions.csv it would replace" in capsys.readouterr().err
    assert not asked


@pytest.mark.parametrize(
    ("options", "explained_to", "folder"),
    [
        (["--out", "said"], None, "said"),
        (["--explain"], Path("explained"), "explained"),
        (["--explain", "--out", "said", "--seed", "3"], Path("said"), "said"),
    ],
)
def test_predict_writes_its_table_beside_the_explanations(asked, options, explained_to, folder, capsys):
    main(["predict", "model", "a.png", *options])
    ((*_, given, seed),) = asked
    assert (given, seed) == (explained_to, 3 if "--seed" in options else 0)
    pd.testing.assert_frame_equal(pd.read_csv(Path(folder, "predictions.csv")), TABLE)
    assert f"written to {Path(folder, 'predictions.csv')}" in capsys.readouterr().out


def test_predict_says_which_images_are_not_there(tmp_path, capsys):
    said = refused(["predict", str(tmp_path), str(tmp_path / "gone.png"), str(tmp_path / "lost.png")], capsys)
    assert "gone.png" in said
    assert "lost.png" in said


def test_export_passes_on_what_it_was_given_and_prints_how_far_it_agrees(asked, capsys):
    main(["export", "model", "--format", "onnx"])
    main(["export", "model", "--format", "tflite", "--out", "model.tflite", "--images", "a.png", "b.png"])
    assert asked == [
        (Path("model"), None, "onnx", None),
        (Path("model"), Path("model.tflite"), "tflite", [Path("a.png"), Path("b.png")]),
    ]
    assert "run in onnxruntime on 3 images" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["export", "model", "--format", "pickle"])
    assert stopped.value.code == 2


@pytest.mark.parametrize(("problems", "code"), [((), None), (("no room. Make some.",), 1)])
def test_doctor_ends_with_1_where_something_is_wrong(monkeypatch, capsys, problems, code):
    asked = []

    def examine(**given):
        asked.append(given)
        return Examination((Section("disk", lines=("1 GB free",), problems=problems),))

    monkeypatch.setattr("tlkeras.command.doctor.examine", examine)
    ended = None
    try:
        main(["doctor", "--data", "images", "--weights", "h5"])
    except SystemExit as stopped:
        ended = stopped.code
    assert ended == code
    assert asked == [{"data": Path("images"), "weights": Path("h5")}]
    printed = capsys.readouterr().out
    assert "1 GB free" in printed
    assert ("no room. Make some." in printed) == bool(problems)
