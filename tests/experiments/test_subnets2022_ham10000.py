import pandas as pd
import pytest
from scripts import load_script

import tlkeras as tl
from tlkeras.replication.script import main
from tlkeras.training.recipe import describe

pytestmark = pytest.mark.usefixtures("quick_figures")


@pytest.fixture(scope="module")
def script():
    return load_script("subnets2022_ham10000")


@pytest.fixture(scope="module")
def cell(script):
    """The recipe of one cell of one protocol, on MobileNetV2."""
    return lambda protocol, method="hidden_128": script.EXPERIMENT.protocols[protocol].cells[method, "mobilenetv2"]


def test_the_four_experiments_are_declared(script):
    named = {name: cell for cell, name in script.NAMES.items()}
    assert named["Exp 1"] == ("hidden_128", "mobilenetv2")
    assert named["Exp 4"] == ("hidden_512_128", "densenet201")
    for protocol in ("corrected", "paper", "image_level"):
        cells = script.EXPERIMENT.protocols[protocol].cells
        assert {cells[named[name]].head.hidden for name in ("Exp 1", "Exp 2", "Exp 2, small", "Exp 3")} == {(128,)}
        assert cells[named["Exp 4"]].head.hidden == (512, 128)
        assert {cell.image_size for cell in cells.values()} == {(128, 128)}
        assert {cell.batch_size for cell in cells.values()} == {128}
        assert {tuple(phase.epochs for phase in cell.phases) for cell in cells.values()} == {(10, 10)}


def test_the_paper_protocol_has_the_faults_and_the_corrected_one_has_not(script, cell):
    paper, corrected = cell("paper"), cell("corrected")
    assert (paper.preprocessing, corrected.preprocessing) == ("unit", "backbone")
    assert (paper.phases[1].batch_norm, corrected.phases[1].batch_norm) == ("train", "frozen")
    respects = {name: protocol.split.respect_groups for name, protocol in script.EXPERIMENT.protocols.items()}
    assert {name for name, respected in respects.items() if not respected} == {"paper", "image_level"}
    assert paper.imbalance == corrected.imbalance == "class_weights"


def test_the_image_level_row_differs_in_the_split_alone(cell):
    assert cell("image_level") == cell("corrected")


def test_a_lesion_may_be_turned_upside_down_in_the_strong_recipes(cell):
    assert [cell("strong", name).augmentation is None for name in ("linear_probe", "fine_tune", "strong")] == [
        True,
        False,
        False,
    ]
    assert cell("strong", "fine_tune").augmentation.vertical_flip
    assert cell("strong", "strong").phases[1:] == tl.recipes.strong("mobilenetv2").phases[1:]


def test_the_answers_to_imbalance_differ_in_nothing_else(cell):
    answers = {method: cell("imbalance", method) for method in ("none", "class_weights", "oversample")}
    assert {method: answer.imbalance for method, answer in answers.items()} == {
        "none": None,
        "class_weights": "class_weights",
        "oversample": "oversample",
    }
    assert cell("imbalance", "none").phases == answers["oversample"].phases
    corrected = describe(cell("corrected")), describe(cell("imbalance", "class_weights"))
    differ = [name for name in corrected[0] if corrected[0][name] != corrected[1][name]]
    assert differ == ["phases"]
    first, only = corrected[0]["phases"][0], corrected[1]["phases"]
    assert only == [first | {"monitor": "val_balanced_loss"}]
    augmented = cell("imbalance", "class_weights_augmented")
    assert (augmented.imbalance, augmented.augmentation is None) == ("class_weights", False)
    assert len({(answer.head, answer.phases) for answer in (*answers.values(), augmented)}) == 1


def test_answers_are_judged_as_they_are_trained_and_what_the_document_states_stays(script):
    monitors = {
        name: {
            method: {phase["monitor"] for phase in describe(recipe)["phases"]}
            for (method, _), recipe in protocol.cells.items()
        }
        for name, protocol in script.EXPERIMENT.protocols.items()
    }
    imbalance = monitors.pop("imbalance")
    assert imbalance.pop("none") == {"val_loss"}
    assert list(imbalance.values()) == [{"val_balanced_loss"}] * 3
    # "the weights of the least loss over both phases"
    assert all(found == {"val_loss"} for of_cells in monitors.values() for found in of_cells.values())


def test_table_2_is_as_printed(script):
    reported = script.EXPERIMENT.reported
    assert len(reported) == 16
    assert reported[("hidden_128", "mobilenetv2"), "model", "trainable_parameters"] == 2_622_727
    assert reported[("hidden_128", "densenet201"), "test", "log_loss"] == 0.751


@pytest.mark.real
@pytest.mark.slow
def test_a_smoke_run_on_the_real_data_makes_every_table_and_figure(script, real_data, tmp_path):
    arguments = ["--data", real_data, "--out", str(tmp_path), "--smoke"]
    main(script.EXPERIMENT, [*arguments, "--methods", "hidden_128", "--explain"])
    cell = tmp_path / "corrected" / "mobilenet_025" / "hidden_128" / "seed0"
    assert {"curves.png", "confusion_test.png", "explanations_test.png", "report_test.csv"} <= {
        path.name for path in cell.iterdir()
    }
    predictions = pd.read_csv(cell / "predictions.csv")
    tested = predictions.loc[predictions["part"] == "test", "label"].unique()
    assert {path.name for path in cell.glob("*.npz")} == {f"explanation_test_{name}.npz" for name in tested}
    page = (tmp_path / "corrected" / "table.md").read_text()
    assert "2,622,727" in page
    main(script.EXPERIMENT, [*arguments, "--eda"])
    assert "57 ages are not recorded" in (tmp_path / "eda" / "eda.md").read_text()
