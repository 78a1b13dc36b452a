import dataclasses
import json
import subprocess
import sys

import pandas as pd
import pytest
from tiny import tiny_tuner

import tlkeras as tl
from tlkeras import experiment as experiment_module
from tlkeras.cli import main
from tlkeras.experiment import RunOptions, run_experiment
from tlkeras.files import write_text
from tlkeras.runs import RunFolder

METHODS = {"unit_frozen": ("scaled 0..1", "frozen"), "own_frozen": ("own", "frozen")}
EXPERIMENT = tl.Experiment(
    name="toy",
    paper=tl.Paper(title="A toy", authors="Nobody", venue="nowhere"),
    dataset="chest_xray",
    positive_class="PNEUMONIA",
    default_backbones=("tiny",),
    smoke_backbones=("tiny",),
    protocols={
        "corrected": tl.Protocol(
            split=tl.Predefined(val=0.25),
            cells={
                (method, "tiny"): tiny_tuner(preprocessing="unit" if method == "unit_frozen" else "backbone")
                for method in METHODS
            },
            deviations=("everything",),
            grid=METHODS,
        ),
    },
    reported={(("unit_frozen", "tiny"), "test", "accuracy"): 84.75},
    stated=("nothing",),
    assumed=("all",),
)


def options(data, out, **fields):
    defaults = {"protocol": "corrected", "backbones": ("tiny",), "methods": tuple(METHODS), "smoke": True}
    return RunOptions(data=data, out=out, **(defaults | fields))


@pytest.fixture(scope="module")
def finished(toy_chest_xray, tmp_path_factory):
    """A finished smoke run of both cells, reported."""
    out = tmp_path_factory.mktemp("out")
    main(EXPERIMENT, ["--data", str(toy_chest_xray), "--out", str(out), "--smoke"])
    return out / "corrected"


def test_everything_that_was_promised_is_in_the_run_folder(finished):
    assert {path.name for path in finished.iterdir() if path.is_file()} >= {
        "scores.csv",
        "table.md",
        "accuracy.csv",
        "accuracy_bars.png",
        "config.json",
        "environment.json",
        "validation_accuracy_tiny.png",
    }
    cell = finished / "tiny" / "own_frozen" / "seed0"
    assert {path.name for path in cell.iterdir()} == {
        "cell.json",
        "classifier.json",
        "confusion_test.png",
        "history.csv",
        "layers.csv",
        "model.keras",
        "predictions.csv",
        "report_test.csv",
        "sheet_test.png",
        "curves.png",
    }
    layers = pd.read_csv(cell / "layers.csv").set_index("layer")
    assert layers.loc["conv1", ["trainable_phase_1", "trainable_phase_2"]].tolist() == ["no", "yes"]
    assert layers.loc["bn1", "trainable_phase_2"] == "no"


def test_scores_and_table_follow_from_the_predictions(finished):
    predictions = pd.read_csv(finished / "tiny" / "own_frozen" / "seed0" / "predictions.csv")
    test = predictions[predictions["part"] == "test"]
    assert len(test) == 12  # six images of each class; none is dropped
    accuracy = (test["label"] == test["predicted"]).mean()
    scores = pd.read_csv(finished / "scores.csv")
    found = scores[(scores["method"] == "own_frozen") & (scores["part"] == "test") & (scores["metric"] == "accuracy")]
    assert found["value"].item() == pytest.approx(accuracy)
    table = pd.read_csv(finished / "accuracy.csv")
    assert table["own_frozen ours"].item() == pytest.approx(100 * accuracy)
    assert table["unit_frozen published"].item() == 84.75
    page = (finished / "table.md").read_text()
    assert "A smoke run" in page
    assert "84.75" in page
    assert f"{100 * accuracy:.1f}" in page


def test_predictions_name_images_below_the_data_folder_only(finished, toy_chest_xray):
    predictions = pd.read_csv(finished / "tiny" / "own_frozen" / "seed0" / "predictions.csv")
    assert predictions["path"].str.match(r"(train|val|test)/(NORMAL|PNEUMONIA)/").all()
    for path in finished.rglob("*"):
        if path.suffix in (".json", ".md", ".csv"):
            assert str(toy_chest_xray) not in path.read_text()


def test_no_patient_is_in_two_parts(finished):
    predictions = pd.read_csv(finished / "tiny" / "own_frozen" / "seed0" / "predictions.csv")
    parts_of = predictions.groupby("group")["part"].nunique()
    assert (parts_of == 1).all()


def test_finished_cells_are_kept_and_the_rest_is_run(finished, toy_chest_xray, monkeypatch, capsys):
    kept = finished / "tiny" / "own_frozen" / "seed0"
    lost = finished / "tiny" / "unit_frozen" / "seed0"
    before = (kept / "model.keras").stat().st_mtime_ns
    first = (lost / "predictions.csv").read_bytes()
    (lost / "cell.json").unlink()  # what a kill before the last file leaves
    run_experiment(EXPERIMENT, options(toy_chest_xray, finished.parent))
    assert "1 of 2 cells are finished already" in capsys.readouterr().out
    assert (kept / "model.keras").stat().st_mtime_ns == before
    assert (lost / "predictions.csv").read_bytes() == first  # the same seed, the same digits


def test_a_cell_of_other_settings_is_not_taken_for_this_one(finished, toy_chest_xray, monkeypatch):
    monkeypatch.setattr(experiment_module, "SMOKE_SIDE", 40)
    with pytest.raises(
        tl.InputError, match=r"was made with recipe\.image_size\.0 = 32, now it is 40\. Name another folder with --out"
    ):
        run_experiment(EXPERIMENT, options(toy_chest_xray, finished.parent))


def test_the_report_is_made_again_without_tensorflow(finished):
    table, bars = finished / "table.md", finished / "accuracy_bars.png"
    main(EXPERIMENT, ["--report-only", "--out", str(finished.parent)])
    page = table.read_text()
    table.unlink()
    bars.unlink()
    code = (
        "import sys\nsys.path[:0] = ['tests']\nfrom test_experiment import EXPERIMENT\nfrom tlkeras.cli import main\n"
        "main(EXPERIMENT, ['--report-only', '--out', sys.argv[1], '--publish', sys.argv[2]])\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    published = finished.parent / "published"
    command = [sys.executable, "-c", code, str(finished.parent), str(published)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert table.read_text() == page
    assert bars.read_bytes()[:4] == b"\x89PNG"
    # What is published is enough to make the table once more.
    main(EXPERIMENT, ["--report-only", "--out", str(published)])
    assert (published / "corrected" / "table.md").read_text() == page
    assert not list(published.rglob("model.keras"))


def test_unreadable_images_stop_the_run_or_are_listed(toy_chest_xray, tmp_path, capsys):
    import shutil

    data = tmp_path / "data"
    shutil.copytree(toy_chest_xray, data)
    (data / "chest_xray" / "train" / "NORMAL" / "IM-0001-0001.jpeg").write_bytes(b"")
    arguments = ["--data", str(data), "--out", str(tmp_path / "out"), "--smoke", "--methods", "own_frozen"]
    with pytest.raises(SystemExit) as stopped:
        main(EXPERIMENT, arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "IM-0001-0001.jpeg" in said
    assert "empty" in said
    assert "--skip-unreadable" in said
    main(EXPERIMENT, [*arguments, "--skip-unreadable"])
    listed = pd.read_csv(tmp_path / "out" / "corrected" / "unreadable.csv")
    assert listed["path"].tolist() == ["train/NORMAL/IM-0001-0001.jpeg"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "nowhere"], "train/NORMAL"),
        (["--methods", "frozn"], "--methods: received 'frozn'; accepted: unit_frozen, own_frozen"),
        (["--backbones", "vgg16"], "--backbones: received 'vgg16'"),
        (["--report-only"], "no finished cell"),
    ],
)
def test_a_wrong_option_ends_with_one_message_and_code_2(arguments, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(EXPERIMENT, ["--out", str(tmp_path), *arguments])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error


def test_ctrl_c_ends_with_130(monkeypatch, tmp_path, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tlkeras.cli.run_experiment", interrupted)
    with pytest.raises(SystemExit) as stopped:
        main(EXPERIMENT, ["--out", str(tmp_path)])
    assert stopped.value.code == 130
    assert "finished cells are kept" in capsys.readouterr().err


def test_the_command_of_a_run_names_no_folder_of_this_machine(finished):
    command = (
        "python experiments/toy.py --data DATA --weights WEIGHTS --protocol corrected --backbones tiny "
        "--methods unit_frozen own_frozen --seeds 0 --smoke"
    )
    assert command in (finished / "table.md").read_text()


def test_each_cell_says_where_it_was_made(finished):
    (made,) = json.loads((finished / "environment.json").read_text())
    assert made["device"] == "CPU"
    assert made["packages"]["keras"].startswith("3.15")
    assert made["cells"] == ["tiny/unit_frozen/seed0", "tiny/own_frozen/seed0"]


def test_smoke_and_real_cells_do_not_share_a_folder(finished, toy_chest_xray):
    arguments = ["--data", str(toy_chest_xray), "--out", str(finished.parent), "--smoke", "--skip-unreadable"]
    with pytest.raises(SystemExit) as stopped:
        main(EXPERIMENT, arguments)
    assert stopped.value.code == 2


def test_a_cell_that_fails_does_not_keep_the_others_from_running(toy_chest_xray, tmp_path, capsys):
    cells = {
        ("hopeless", "tiny"): tiny_tuner(phases=(tl.Phase(3, 1e30, optimizer="sgd"),)),
        ("sound", "tiny"): tiny_tuner(),
    }
    protocol = dataclasses.replace(EXPERIMENT.protocols["corrected"], cells=cells, grid=None)
    two = dataclasses.replace(EXPERIMENT, protocols={"corrected": protocol})
    with pytest.raises(tl.InputError, match="1 of 2 cells did not finish"):
        run_experiment(two, options(toy_chest_xray, tmp_path, methods=("hopeless", "sound")))
    assert [str(key) for key in RunFolder(tmp_path / "corrected").finished()] == ["tiny/sound/seed0"]


def test_a_missing_weights_file_is_known_before_anything_is_trained(toy_chest_xray, tmp_path, monkeypatch):
    cells = {("sound", "tiny"): tiny_tuner(), ("carried", "tiny"): tiny_tuner(weights="nowhere.h5")}
    protocol = dataclasses.replace(EXPERIMENT.protocols["corrected"], cells=cells, grid=None)
    two = dataclasses.replace(EXPERIMENT, protocols={"corrected": protocol})
    monkeypatch.setattr(experiment_module, "_tiny", lambda recipe: recipe)  # a smoke run takes random weights
    with pytest.raises(tl.InputError, match=r"there is no file nowhere\.h5"):
        run_experiment(two, options(toy_chest_xray, tmp_path, methods=("sound", "carried")))
    assert RunFolder(tmp_path / "corrected").finished() == []


def test_the_data_are_explored_only_where_the_experiment_says_how(toy_chest_xray, tmp_path, capsys):
    exploring = dataclasses.replace(
        EXPERIMENT, explore=lambda samples, folder: write_text(folder / "n.md", str(len(samples)))
    )
    arguments = ["--data", str(toy_chest_xray), "--out", str(tmp_path), "--smoke", "--eda"]
    main(exploring, [*arguments, "--publish", str(tmp_path / "assets")])
    assert (tmp_path / "assets" / "eda" / "n.md").read_text() == "60"
    assert not (tmp_path / "corrected").exists()
    with pytest.raises(SystemExit):
        main(EXPERIMENT, arguments)
    assert "unrecognized arguments: --eda" in capsys.readouterr().err


def test_the_page_tells_the_epochs_that_were_run_not_those_declared(finished):
    (row, *_) = [line for line in (finished / "table.md").read_text().splitlines() if "| ours" in line]
    assert "| 1 + 1 " in row  # declared are 2 + 2, a smoke run trains one epoch of each


def test_the_protocols_of_a_run_folder_stand_side_by_side(finished):
    page = (finished.parent / "protocols.md").read_text()
    assert "| corrected | unit_frozen | tiny     | 1 " in page


def test_a_table_with_holes_is_refused_when_it_is_declared():
    with pytest.raises(tl.InputError, match=r"missing: \[\('b', 'two'\)\]"):
        tl.Protocol(split=None, cells={("a", "one"): 1, ("b", "one"): 1, ("a", "two"): 1})


def test_precision_store_and_memory_budget_reach_the_fit(toy_chest_xray, tmp_path):
    given = ["--data", str(toy_chest_xray), "--out", str(tmp_path / "out"), "--smoke", "--methods", "own_frozen"]
    store = tmp_path / "store"
    main(EXPERIMENT, [*given, "--precision", "bfloat16", "--store", str(store), "--memory-budget", "1KB"])
    cell = json.loads((tmp_path / "out/corrected/tiny/own_frozen/seed0/cell.json").read_text())
    assert cell["settings"]["recipe"]["precision"] == "bfloat16"
    assert cell["facts"]["precision"]["name"] == "bfloat16"
    assert 0 <= cell["facts"]["precision"]["val_accuracy_float32"] <= 1
    assert len(tl.FeatureStore(store).entries()) == 1
    assert "precision" in (tmp_path / "out/corrected/table.md").read_text()


def test_without_a_store_nothing_is_kept(toy_chest_xray, tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_STORE", str(tmp_path / "store"))
    given = ["--data", str(toy_chest_xray), "--out", str(tmp_path / "out"), "--smoke", "--methods", "own_frozen"]
    main(EXPERIMENT, [*given, "--no-store"])
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [(["--memory-budget", "much"], "--memory-budget: received 'much'"), (["--precision", "half"], "half")],
)
def test_wrong_options_are_refused_before_anything_is_read(given, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(EXPERIMENT, ["--data", str(tmp_path), "--out", str(tmp_path / "out"), *given])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
