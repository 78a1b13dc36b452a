import dataclasses
import json
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.errors import MissingInputError
from tlkeras.files import write_text
from tlkeras.models.backbones import backbone_layers
from tlkeras.replication import planning
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.planning import RunOptions
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.running import run_experiment
from tlkeras.replication.script import main

pytestmark = pytest.mark.usefixtures("quick_figures")

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
        "audit.json",
        "report.html",
        "paired.csv",
        "validation_accuracy_tiny.png",
    }
    cell = finished / "tiny" / "own_frozen" / "seed0"
    assert {path.name for path in cell.iterdir()} == {
        "cell.json",
        "classifier.json",
        "confusion_test.png",
        "history.csv",
        "layers.csv",
        "hardest_test.png",
        "model.keras",
        "model_card.md",
        "predictions.csv",
        "probabilities_test.png",
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


def test_finished_cells_are_kept_and_the_rest_is_run(finished, toy_chest_xray, monkeypatch, heard):
    kept = finished / "tiny" / "own_frozen" / "seed0"
    lost = finished / "tiny" / "unit_frozen" / "seed0"
    before = (kept / "model.keras").stat().st_mtime_ns
    first = (lost / "predictions.csv").read_bytes()
    (lost / "cell.json").unlink()  # what a kill before the last file leaves
    run_experiment(EXPERIMENT, options(toy_chest_xray, finished.parent))
    assert "1 of 2 cells are finished already" in heard.text()
    assert (kept / "model.keras").stat().st_mtime_ns == before
    assert (lost / "predictions.csv").read_bytes() == first  # the same seed, the same digits


def test_a_cell_of_other_settings_is_not_taken_for_this_one(finished, toy_chest_xray, monkeypatch):
    monkeypatch.setattr(planning, "SMOKE_SIDE", 40)
    with pytest.raises(
        tl.InputError, match=r"was made with recipe\.image_size\.0 = 32, now it is 40\. Name another folder with --out"
    ):
        run_experiment(EXPERIMENT, options(toy_chest_xray, finished.parent))


@pytest.mark.slow
def test_the_report_is_made_again_without_tensorflow(finished):
    table, bars = finished / "table.md", finished / "accuracy_bars.png"
    main(EXPERIMENT, ["--report-only", "--out", str(finished.parent)])
    page = table.read_text()
    table.unlink()
    bars.unlink()
    code = (
        "import sys\nsys.path[:0] = ['tests', 'tests/replication']\nfrom test_running import EXPERIMENT\n"
        "from tlkeras.replication.script import main\n"
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

    monkeypatch.setattr("tlkeras.replication.script.run_experiment", interrupted)
    with pytest.raises(SystemExit) as stopped:
        main(EXPERIMENT, ["--out", str(tmp_path)])
    assert stopped.value.code == 130
    assert capsys.readouterr().err == ("\nstopped; what is finished is kept, and the same command goes on from there\n")


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


@pytest.mark.slow
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
    monkeypatch.setattr(planning, "_adapted", lambda recipe, options: recipe)  # a smoke run takes random weights
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


def test_a_method_need_not_have_a_recipe_for_every_backbone():
    protocol = tl.Protocol(split=None, cells={("a", "one"): 1, ("b", "one"): 1, ("a", "two"): 1})
    assert (protocol.methods, protocol.backbones) == (("a", "b"), ("one", "two"))
    assert protocol.chosen(("a", "b"), ("two", "one")) == [("a", "two"), ("a", "one"), ("b", "one")]
    assert protocol.chosen(("b",), ("two",)) == []


@pytest.mark.slow
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


@pytest.mark.slow
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


TREES = {
    ("tree", PIXELS): tl.PixelBaseline("decision_tree", image_size=(12, 12)),
    ("forest", PIXELS): tl.PixelBaseline("random_forest", image_size=(12, 12), n_trees=3),
}
# The networks of EXPERIMENT with trees beside them, and a protocol of trees alone.
MIXED = dataclasses.replace(
    EXPERIMENT,
    protocols={
        "corrected": dataclasses.replace(
            EXPERIMENT.protocols["corrected"], cells=EXPERIMENT.protocols["corrected"].cells | TREES, grid=None
        ),
        "trees": tl.Protocol(
            split=tl.Predefined(val=0.25), cells=TREES, grid={"tree": ("a tree", "raw"), "forest": ("three", "raw")}
        ),
    },
    reported={(("unit_frozen", "tiny"), "test", "accuracy"): 84.75, (("tree", PIXELS), "test", "accuracy"): 70.5},
    compared={"unit_frozen": "one", "own_frozen": "other"},
)


def carrying_on(**fields):
    """An experiment whose network starts from the one that `toy` trained; its rate is too small to change a weight."""
    recipe = tiny_tuner(
        weights=tl.EarlierRun("toy", method="own_frozen"), phases=(tl.Phase(1, 1e-30, unfreeze="all"),), **fields
    )
    cells = {("sound", "tiny"): tiny_tuner(), ("carried", "tiny"): recipe}
    protocol = dataclasses.replace(EXPERIMENT.protocols["corrected"], cells=cells, grid=None)
    return dataclasses.replace(EXPERIMENT, name="later", protocols={"corrected": protocol}, reported={})


@pytest.fixture(scope="module")
def whole_set(toy_chest_xray):
    """The toy set, taken for the whole one from now on: real runs refuse another number of images."""
    row = tl.DATASETS["chest_xray"]
    counts = row.count(str(toy_chest_xray / "chest_xray"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tl.DATASETS, "chest_xray", dataclasses.replace(row, counts=counts))
        yield toy_chest_xray


@pytest.fixture(scope="module")
def mixed(whole_set, tmp_path_factory):
    """The run folder of a real run, no smoke: two kinds of trees and two networks."""
    out = tmp_path_factory.mktemp("runs") / "toy"
    main(MIXED, ["--data", str(whole_set), "--out", str(out)])
    return RunFolder(out / "corrected")


def cell_json(folder, method, backbone):
    return json.loads((folder.cell(CellKey(method, backbone, 0)) / "cell.json").read_text())


def test_a_method_on_pixels_needs_no_recipe_per_backbone_and_comes_first_and_once():
    protocol = tl.Protocol(
        split=None, cells={("a", "one"): 1, ("a", "two"): 2, ("tree", PIXELS): 3, ("b", "one"): 4, ("b", "two"): 5}
    )
    assert protocol.methods == ("a", "tree", "b")
    assert protocol.backbones == ("one", "two")
    assert protocol.chosen(("b", "tree", "a"), ("two", "one")) == [
        ("tree", PIXELS),
        ("b", "two"),
        ("a", "two"),
        ("b", "one"),
        ("a", "one"),
    ]
    assert protocol.chosen(("tree",), ("one", "two")) == [("tree", PIXELS)]
    assert protocol.chosen(("a",), ("one",)) == [("a", "one")]


@pytest.mark.slow
def test_a_cell_of_trees_holds_predictions_of_the_test_part_and_no_network(mixed):
    assert [str(key) for key in mixed.finished()] == [
        "pixels/forest/seed0",
        "pixels/tree/seed0",
        "tiny/own_frozen/seed0",
        "tiny/unit_frozen/seed0",
    ]
    assert {path.name for path in (mixed.root / "pixels" / "tree" / "seed0").iterdir()} == {
        "cell.json",
        "confusion_test.png",
        "hardest_test.png",
        "predictions.csv",
        "probabilities_test.png",
        "report_test.csv",
        "sheet_test.png",
    }
    of_tree, of_network = (
        mixed.read_predictions(CellKey(*key, 0)) for key in (("tree", PIXELS), ("own_frozen", "tiny"))
    )
    assert list(of_tree) == ["test"]  # val was learnt from
    assert list(of_network) == ["test", "val"]
    assert of_tree["test"].samples.sample_ids.tolist() == of_network["test"].samples.sample_ids.tolist()
    assert len(of_tree["test"]) == 16
    assert of_tree["test"].correct.all()  # dark and bright: a pixel tells them apart
    assert cell_json(mixed, "tree", PIXELS)["facts"]["learnt_from"] == ["train", "val"]
    assert cell_json(mixed, "own_frozen", "tiny")["facts"]["learnt_from"] == ["train"]


@pytest.mark.slow
def test_scores_of_trees_are_those_of_the_test_part_and_their_cost(mixed):
    scores = pd.read_csv(mixed.root / "scores.csv").set_index("method")
    assert set(scores.loc["tree", "part"]) == {"test", "model"}
    assert set(scores.loc["own_frozen", "part"]) == {"test", "val", "train", "model"}
    of_model = scores.loc["tree"].query("part == 'model'")
    assert set(of_model["metric"]) == {"seconds", "peak_mb"}


@pytest.mark.slow
def test_the_page_shows_trees_beside_networks(mixed):
    table = pd.read_csv(mixed.root / "accuracy.csv").set_index("backbone")
    assert table.loc[PIXELS, ["tree ours", "tree published", "forest ours"]].tolist() == [100, 70.5, 100]
    assert table.loc["tiny", "unit_frozen published"] == 84.75
    page = (mixed.root / "table.md").read_text()
    trainings = page.split("### Every training")[1].split("\n##")[0]
    assert "own_frozen" in trainings
    assert "tree" not in trainings
    assert "| image size, trees " in page
    assert "| trees in the forest " in page


@pytest.mark.slow
def test_a_run_folder_of_trees_alone_is_reported_published_and_reported_again(whole_set, tmp_path):
    out, published = tmp_path / "out", tmp_path / "published"
    more = ["--protocol", "trees", "--out", str(out), "--publish", str(published)]
    main(MIXED, ["--data", str(whole_set), "--seeds", "0", "1", *more])
    page = (out / "trees" / "table.md").read_text()
    command = (
        "python experiments/toy.py --data DATA --weights WEIGHTS --protocol trees --methods tree forest --seeds 0 1"
    )
    assert f"\n{command}\n" in page
    assert "### Every training" not in page
    assert "Training accuracy" not in page
    assert {path.name for path in (published / "trees" / PIXELS / "tree" / "seed1").iterdir()} == {
        "cell.json",
        "confusion_test.png",
        "predictions.csv.gz",
        "report_test.csv",
    }
    main(MIXED, ["--protocol", "trees", "--report-only", "--out", str(published)])
    assert (published / "trees" / "table.md").read_text() == page
    assert (published / "protocols.md").read_text() == (out / "protocols.md").read_text()


@pytest.mark.slow
def test_trees_and_networks_are_published_and_reported_again(mixed, tmp_path):
    out = mixed.root.parent
    main(MIXED, ["--report-only", "--out", str(out), "--publish", str(tmp_path)])
    main(MIXED, ["--report-only", "--out", str(tmp_path)])
    for name in ("corrected/table.md", "corrected/scores.csv", "protocols.md"):
        assert (tmp_path / name).read_text() == (out / name).read_text(), name


def test_trees_are_run_once_whatever_the_backbones(toy_chest_xray, tmp_path):
    declared, other = MIXED.protocols["corrected"], dataclasses.replace(TINY, name="other")
    both = declared.cells | {(method, "other"): tiny_tuner() for method in METHODS}
    assert len(both) == 6  # `other` has no recipe for the trees
    two = dataclasses.replace(MIXED, protocols={"corrected": dataclasses.replace(declared, cells=both)})
    given = ["--data", str(toy_chest_xray), "--out", str(tmp_path), "--smoke", "--methods", "tree"]
    main(two, [*given, "--backbones", "tiny", other.name])
    main(two, [*given, "--backbones", other.name])
    assert [str(key) for key in RunFolder(tmp_path / "corrected").finished()] == ["pixels/tree/seed0"]


def test_backbones_named_for_a_protocol_of_trees_alone_are_refused_in_words(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(MIXED, ["--protocol", "trees", "--backbones", "tiny", "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert "--backbones: protocol trees has no networks; leave the option out" in capsys.readouterr().err


@pytest.mark.slow
def test_one_command_for_each_image_size_makes_the_cells_of_the_page(whole_set, tmp_path, capsys, heard):
    given = ["--data", str(whole_set), "--out", str(tmp_path / "out")]
    main(MIXED, [*given, "--methods", "forest"])
    main(MIXED, [*given, "--methods", "tree", "own_frozen", "--image-size", "24"])
    folder = RunFolder(tmp_path / "out" / "corrected")
    sizes = {key.method: folder.settings_of(key)["recipe"]["image_size"] for key in folder.finished()}
    assert sizes == {"tree": [24, 24], "forest": [12, 12], "own_frozen": [24, 24]}
    assert tl.load(folder.cell(CellKey("own_frozen", "tiny", 0))).image_size == (24, 24)
    page = (folder.root / "table.md").read_text()
    start = "python experiments/toy.py --data DATA --weights WEIGHTS --protocol corrected"
    commands = [line.strip() for line in page.splitlines() if line.startswith("python ")]
    assert commands == [
        f"{start} --backbones tiny --methods tree own_frozen --seeds 0 --image-size 24",
        f"{start} --methods forest --seeds 0",
    ]
    for command, number in zip(commands, (2, 1), strict=True):
        capsys.readouterr()
        words = [{"DATA": str(whole_set), "WEIGHTS": str(tmp_path)}.get(word, word) for word in shlex.split(command)]
        main(MIXED, [*words[2:], "--out", str(tmp_path / "out")])
        assert f"{number} of {number} cells are finished already and kept" in heard.text()


def test_an_image_size_too_small_for_one_network_stops_before_anything_is_run(whole_set, tmp_path):
    with pytest.raises(tl.InputError, match=r"received \(4, 4\); .*at least 8 for tiny"):
        run_experiment(
            MIXED, options(whole_set, tmp_path, smoke=False, methods=("tree", "own_frozen"), image_size=(4, 4))
        )
    assert RunFolder(tmp_path / "corrected").finished() == []


@pytest.mark.slow
def test_a_network_is_carried_on_from_another_experiments_run(mixed, whole_set):
    out = mixed.root.parent.with_name("later")
    main(carrying_on(), ["--data", str(whole_set), "--out", str(out), "--methods", "carried"])
    later = RunFolder(out / "corrected")
    earlier, carried = (
        tl.load(folder.cell(CellKey(method, "tiny", 0))).model
        for folder, method in ((mixed, "own_frozen"), (later, "carried"))
    )
    names = [layer.name for layer in backbone_layers(carried) if layer.weights]
    assert names == ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3"]
    for name in names:
        for ours, theirs in zip(carried.get_layer(name).weights, earlier.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=f"{name}: {ours.name}")
    dense = [layer.name for layer in carried.layers if layer.weights and layer.name not in names]
    assert len(dense) == 2
    for name in dense:
        assert not np.array_equal(carried.get_layer(name).kernel, earlier.get_layer(name).kernel)

    cell = cell_json(later, "carried", "tiny")
    sha256 = json.loads((mixed.cell(CellKey("own_frozen", "tiny", 0)) / "classifier.json").read_text())["sha256"]
    assert cell["settings"]["weights_sha256"] == sha256
    weights = cell["facts"]["weights"]
    assert (weights["sha256"], weights["source"], weights["path"]) == (sha256, "run", "model.keras")
    assert weights["note"] == "backbone of toy, corrected, tiny/own_frozen/seed0, trained at 32x32"
    assert "- tiny: model.keras: backbone of toy, corrected, tiny/own_frozen/seed0, trained at 32x32\n" in (
        (later.root / "table.md").read_text()
    )
    assert str(mixed.root.parent) not in (later.root / "table.md").read_text()


@pytest.mark.slow
def test_a_missing_earlier_network_is_known_before_anything_is_trained(mixed, whole_set, tmp_path):
    later = options(
        whole_set, tmp_path, smoke=False, methods=("sound", "carried"), seeds=(0, 7), earlier=mixed.root.parent
    )
    with pytest.raises(MissingInputError) as stopped:
        run_experiment(carrying_on(), later)
    said = str(stopped.value)
    assert said.startswith(
        "tiny/carried/seed7 starts from the network of toy, corrected, tiny/own_frozen/seed7, and "
        f"{mixed.root / 'tiny' / 'own_frozen' / 'seed7'} holds no finished cell. "
    )
    assert "--earlier" in said
    command = (
        "python experiments/toy.py --data DATA --weights WEIGHTS --protocol corrected --backbones tiny "
        "--methods own_frozen --seeds 7"
    )
    assert said.endswith(f"\n  {command} --out {mixed.root.parent} --image-size 32")
    assert RunFolder(tmp_path / "corrected").finished() == []


def test_a_network_of_a_smoke_run_is_not_carried_on(finished, whole_set, tmp_path, capsys):
    given = ["--data", str(whole_set), "--out", str(tmp_path / "later"), "--earlier", str(finished.parent)]
    with pytest.raises(SystemExit) as stopped:
        main(carrying_on(), given)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert f"{finished / 'tiny' / 'own_frozen' / 'seed0'} holds a smoke run" in said
    assert "--backbones tiny --methods own_frozen --seeds 0" in said
    assert RunFolder(tmp_path / "later" / "corrected").finished() == []


@pytest.mark.slow
def test_a_network_trained_on_other_inputs_is_not_carried_on(mixed, whole_set, tmp_path):
    later = options(whole_set, tmp_path, smoke=False, methods=("carried",), earlier=mixed.root.parent)
    with pytest.raises(tl.InputError, match=r"images scaled as 'unit', and the one in .* was trained on 'symmetric'"):
        run_experiment(carrying_on(preprocessing="unit"), later)
    run_experiment(carrying_on(preprocessing="symmetric"), later)  # which is what the tiny network's own stands for


@pytest.mark.slow
def test_a_network_that_has_seen_test_images_is_not_carried_on(mixed, whole_set, tmp_path):
    experiment = carrying_on()
    protocol = dataclasses.replace(experiment.protocols["corrected"], split=tl.Holdout(val=0.2, test=0.2))
    experiment = dataclasses.replace(experiment, protocols={"corrected": protocol})
    later = options(whole_set, tmp_path, smoke=False, methods=("carried",), earlier=mixed.root.parent)
    with pytest.raises(tl.InputError, match="the same data under another split: it has seen images that are test"):
        run_experiment(experiment, later)


@pytest.mark.slow
def test_a_finished_cell_needs_the_network_it_started_from_no_more(mixed, whole_set, tmp_path, heard):
    later = options(whole_set, tmp_path, smoke=False, methods=("carried",), earlier=mixed.root.parent)
    run_experiment(carrying_on(), later)
    run_experiment(carrying_on(), dataclasses.replace(later, earlier=tmp_path / "gone"))
    assert "1 of 1 cells are finished already" in heard.text()


@pytest.mark.slow
def test_seeds_of_one_cell_are_of_one_recipe(toy_chest_xray, tmp_path):
    run_experiment(EXPERIMENT, options(toy_chest_xray, tmp_path, methods=("own_frozen",)))
    other = options(toy_chest_xray, tmp_path, methods=("own_frozen",), seeds=(1,), precision="bfloat16")
    with pytest.raises(tl.InputError, match=r"made with recipe\.precision = 'float32', now it is 'bfloat16'"):
        run_experiment(EXPERIMENT, other)


@pytest.mark.slow
def test_a_published_run_has_no_network_to_carry_on(mixed, whole_set, tmp_path):
    from tlkeras.replication.publishing import publish

    publish(mixed.root, tmp_path / "published" / "corrected")
    later = options(whole_set, tmp_path, smoke=False, methods=("carried",), earlier=tmp_path / "published")
    with pytest.raises(MissingInputError, match=r"seed0 holds no model\.keras\. Run this first"):
        run_experiment(carrying_on(), later)
    with pytest.raises(MissingInputError, match=r"--earlier: there is no folder .*nothere, where toy ran"):
        run_experiment(carrying_on(), dataclasses.replace(later, earlier=tmp_path / "nothere"))


@pytest.mark.slow
def test_a_smoke_run_carries_nothing_on(toy_chest_xray, tmp_path):
    folder = run_experiment(carrying_on(), options(toy_chest_xray, tmp_path / "later", methods=("carried",)))
    assert cell_json(folder, "carried", "tiny")["facts"]["weights"] is None


def test_earlier_is_asked_for_only_where_a_network_is_carried_on(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(EXPERIMENT, ["--earlier", str(tmp_path)])
    assert "unrecognized arguments: --earlier" in capsys.readouterr().err


@pytest.mark.slow
def test_networks_are_explained_and_trees_are_not(mixed, whole_set, monkeypatch):
    from tlkeras.replication import explanations

    real = explanations.explain_cells
    monkeypatch.setattr(explanations, "explain_cells", lambda *a, **k: real(*a, n_samples=10, n_repeats=1, **k))
    given = ["--data", str(whole_set), "--out", str(mixed.root.parent), "--report-only", "--explain"]
    main(MIXED, [*given, "--methods", "tree", "own_frozen"])
    explained = sorted(
        path.parent.relative_to(mixed.root).as_posix() for path in mixed.root.rglob("explanations_*.png")
    )
    assert explained == ["tiny/own_frozen/seed0"]


@pytest.mark.slow
def test_that_trees_cannot_be_explained_is_said(mixed, whole_set, capsys):
    given = ["--data", str(whole_set), "--out", str(mixed.root.parent), "--report-only", "--explain"]
    with pytest.raises(SystemExit) as stopped:
        main(MIXED, [*given, "--methods", "tree"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "none of the chosen methods trains a network" in said  # the cell that was named is there and finished


@pytest.mark.slow
def test_activations_of_the_two_compared_networks_stand_side_by_side(mixed, whole_set, tmp_path, capsys):
    out = mixed.root.parent
    given = ["--data", str(whole_set), "--out", str(out), "--report-only", "--publish", str(tmp_path), "--activations"]
    main(MIXED, given)
    main(MIXED, [*given, "conv3"])
    figures = sorted(mixed.root.glob("activations_*"))
    assert [path.name for path in figures] == ["activations_tiny_seed0_conv1.png", "activations_tiny_seed0_conv3.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in figures)
    assert f"activations are in {figures[1]}" in capsys.readouterr().out
    assert not list(tmp_path.rglob("activations_*"))  # they show an image of the data set
    with pytest.raises(SystemExit) as stopped:
        main(MIXED, [*given, "conv9"])
    assert stopped.value.code == 2
    assert "layer: received 'conv9'" in capsys.readouterr().err


@pytest.mark.slow
def test_activations_of_a_network_that_is_missing_are_refused_in_words(mixed, whole_set, tmp_path, capsys):
    out = tmp_path / "toy"
    shutil.copytree(mixed.root.parent, out)
    (out / "corrected" / "tiny" / "unit_frozen" / "seed0" / "cell.json").unlink()
    with pytest.raises(SystemExit) as stopped:
        main(MIXED, ["--data", str(whole_set), "--out", str(out), "--report-only", "--activations"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert f"--activations: {out / 'corrected'} holds no finished tiny/" in said
    with pytest.raises(SystemExit):
        main(EXPERIMENT, ["--activations"])  # nothing is compared there
    assert "unrecognized arguments: --activations" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"compared": {"tree": "a", "nothing": "b"}}, r"compared: received \['tree', 'nothing'\]"),
        ({"compared": {"tree": "a"}}, "accepted are two of"),
    ],
)
def test_a_declaration_that_cannot_be_reported_is_refused(fields, said):
    with pytest.raises(tl.InputError, match=said):
        dataclasses.replace(MIXED, **fields)


def test_activations_that_cannot_be_drawn_are_known_before_anything_is_run(toy_chest_xray, tmp_path, capsys):
    given = ["--data", str(toy_chest_xray), "--out", str(tmp_path), "--smoke", "--activations"]
    for more, said in (
        (["--methods", "tree", "own_frozen"], "holds no finished tiny/unit_frozen/seed0"),
        (["--protocol", "trees"], "protocol trees has no networks of unit_frozen and own_frozen"),
    ):
        with pytest.raises(SystemExit):
            main(MIXED, [*given, *more])
        assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("cell.json"))
