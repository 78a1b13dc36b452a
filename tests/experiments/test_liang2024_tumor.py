import dataclasses

import numpy as np
import pandas as pd
import pytest
from scripts import load_script

import tlkeras as tl
from tlkeras.data.splits import joined_groups
from tlkeras.replication.script import main

pytestmark = pytest.mark.usefixtures("quick_figures")

# As the report prints them: accuracy, precision, recall, F1 on train, test 1 and test 2.
TABLES = {
    ("baseline", "resnet18"): ".920/.948/.889/.917 .914/.938/.909/.923 .750/.676/1.000/.806",
    ("baseline", "resnet50"): ".989/.987/.991/.989 1/1/1/1 .521/.521/1.000/.685",
    ("best_of_grid", "resnet18"): ".998/.996/1/.998 1/1/1/1 .521/.521/1/.685",
}
TABLE_4 = """
    .001/9 1.000, .01/5 1.000, .01/7 1.000, .01/3 .998, .1/3 .998, .001/3 .996, .001/7 .996, .01/9 .996, .1/5 .996,
    .001/5 .993, .1/9 .976, .1/7 .971, .0001/7 .962, .0001/9 .960, .0001/5 .876, .0001/3 .798
"""


@pytest.fixture(scope="module")
def script():
    return load_script("liang2024_tumor")


def test_tables_1_to_3_are_as_printed(script):
    reported = {}
    for cell, line in TABLES.items():
        for part, figures in zip(("train", "test1", "test2"), line.split(), strict=True):
            accuracy, *others = map(float, figures.split("/"))
            reported[cell, part, "accuracy"] = pytest.approx(100 * accuracy)
            reported |= {
                (cell, part, f"{name}_tumor"): value
                for name, value in zip(("precision", "recall", "f1"), others, strict=True)
            }
    assert script.EXPERIMENT.reported == reported
    assert len(reported) == 36


def test_a_part_where_everything_was_called_a_tumour_has_these_figures(script):
    # Accuracy = precision = p, recall 1, and F1 = 2p / (1 + p): 25 of 48 images.
    share = 25 / 48
    for cell in (("baseline", "resnet50"), ("best_of_grid", "resnet18")):
        figures = [script.EXPERIMENT.reported[cell, "test2", name] for name in ("accuracy", "precision_tumor")]
        assert figures == [pytest.approx(100 * share, abs=0.05), pytest.approx(share, abs=5e-4)]
        assert script.EXPERIMENT.reported[cell, "test2", "f1_tumor"] == pytest.approx(2 * share / (1 + share), abs=5e-4)


def test_table_4_is_as_printed_and_holds_every_pair_of_the_grid(script):
    printed = {}
    for pair in TABLE_4.split(","):
        setting, mean = pair.split()
        rate, epochs = setting.split("/")
        printed[float(rate), int(epochs)] = float(mean)
    assert {"best_of_grid": printed} == script.PUBLISHED_GRID
    search = script.EXPERIMENT.protocols["paper"].cells["best_of_grid", "resnet18"]
    assert {tuple(setting.values()) for setting in search.settings} == set(printed)
    assert list(search.grid) == ["learning_rate", "epochs"]
    # What the docstring says of it.
    assert sum(mean >= 0.995 for mean in printed.values()) == 9
    assert sum(mean == 1 for mean in printed.values()) == 3


def test_the_settings_are_those_of_the_document(script):
    for name in ("paper", "corrected"):
        protocol = script.EXPERIMENT.protocols[name]
        assert set(protocol.cells) == set(TABLES)
        baseline, search = protocol.cells["baseline", "resnet18"], protocol.cells["best_of_grid", "resnet18"]
        (phase,) = baseline.phases
        assert (phase.epochs, phase.learning_rate, baseline.batch_size) == (5, 1e-4, 32)
        assert (phase.optimizer, phase.momentum, phase.unfreeze, phase.batch_norm) == ("sgd", 0.9, "all", "train")
        assert (baseline.weights, baseline.image_size) == ("imagenet", (224, 224))
        assert protocol.cells["baseline", "resnet50"] == dataclasses.replace(baseline, backbone="resnet50")
        assert search.recipe == baseline
        assert search.grid == {"learning_rate": (1e-4, 1e-3, 1e-2, 1e-1), "epochs": (3, 5, 7, 9)}
        assert search.folds.n_folds == 5


def test_paper_and_corrected_differ_in_what_respects_groups_alone(script):
    paper, corrected = (script.EXPERIMENT.protocols[name] for name in ("paper", "corrected"))
    assert (paper.split, corrected.split) == (tl.Predefined(respect_groups=False), tl.Predefined())
    for cell, recipe in corrected.cells.items():
        if cell[0] == "best_of_grid":
            recipe = dataclasses.replace(recipe, folds=tl.KFold(5, respect_groups=False))
        assert paper.cells[cell] == recipe


def test_the_stand_in_is_named_and_its_grids_are_the_documents(script):
    stand_in = script.EXPERIMENT.protocols["stand_in"]
    assert script.EXPERIMENT.under("stand_in").dataset.name == "chest_xray"
    assert script.EXPERIMENT.under("stand_in").positive_class == "PNEUMONIA"
    assert script.EXPERIMENT.under("paper").positive_class == "tumor"
    assert {cell.weights for cell in stand_in.cells.values() if isinstance(cell, tl.Tuner)} == {None}
    searches = {method: cell for (method, _), cell in stand_in.cells.items() if isinstance(cell, tl.Search)}
    document = script.EXPERIMENT.protocols["paper"].cells["best_of_grid", "resnet18"]
    assert {method: cell.recipe.phases[0].unfreeze for method, cell in searches.items()} == {
        "best_frozen": 0,
        "best_last_stage": ("block5",),
    }
    assert all(cell.grid == document.grid for cell in searches.values())
    # None of their names is one that the document prints figures of.
    assert not set(searches) & set(script.PUBLISHED_GRID)


def split_in_three(script, samples, **fields):
    taken = script.TwoTestParts(**fields)(samples)
    return taken, {part: np.flatnonzero(taken.parts == part) for part in ("train", "test1", "test2")}


def test_the_first_test_part_holds_no_patient_of_the_training_part(script, toy_chest_xray):
    samples = tl.load_dataset("chest_xray", toy_chest_xray, check_counts=False)
    taken, rows = split_in_three(script, samples)
    assert taken.sample_ids.tolist() == samples.sample_ids.tolist()
    assert set(taken.parts) == set(rows)
    # test2 is the set's own test part, whole; val goes with train.
    assert taken.sample_ids[rows["test2"]].tolist() == samples.sample_ids[samples.parts == "test"].tolist()
    rest = samples.take(np.flatnonzero(samples.parts != "test"))
    assert abs(len(rows["test1"]) - 0.2 * len(rest)) <= 2  # whole patients, two images each
    sides = {part: set(joined_groups(samples)[index]) for part, index in rows.items()}
    assert not sides["train"] & sides["test1"]
    assert set(samples.labels[rows["test1"]]) == {0, 1}


def test_the_first_test_part_is_a_function_of_its_seed(script, toy_chest_xray):
    samples = tl.load_dataset("chest_xray", toy_chest_xray, check_counts=False)
    first, again, other = (split_in_three(script, samples, seed=seed)[0].parts.tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_the_split_of_the_stand_in_takes_these_parts_whatever_its_seed(script, toy_chest_xray):
    protocol = script.EXPERIMENT.protocols["stand_in"]
    samples = script.EXPERIMENT.under("stand_in").load(toy_chest_xray, check_counts=False)
    _, rows = split_in_three(script, tl.load_dataset("chest_xray", toy_chest_xray, check_counts=False))
    for seed in (0, 5):
        parts = protocol.split.split(samples, seed=seed).parts()
        assert {part: of_part.sample_ids.tolist() for part, of_part in parts.items()} == {
            part: samples.sample_ids[index].tolist() for part, index in rows.items()
        }


@pytest.mark.slow
def test_a_smoke_run_of_the_stand_in_of_one_grid_makes_every_table(script, toy_chest_xray, tmp_path):
    arguments = ["--smoke", "--protocol", "stand_in", "--data", str(toy_chest_xray), "--out", str(tmp_path)]
    main(script.EXPERIMENT, [*arguments, "--backbones", "mobilenetv2_035", "--methods", "best_frozen"])
    page = (tmp_path / "stand_in" / "table.md").read_text()
    for title in ("best_frozen, mobilenetv2_035, on every part", "The grid of mobilenetv2_035/best_frozen/seed0"):
        assert f"## {title}\n" in page
    assert "Train data" in page
    assert "published |" not in page  # no column of the document's, whose data are others
    scores = pd.read_csv(tmp_path / "stand_in" / "scores.csv")
    assert set(scores["part"]) == {"train", "test1", "test2", "model"}


@pytest.mark.real
def test_on_the_real_set_patients_stay_on_one_side(script, real_data):
    samples = tl.load_dataset("chest_xray", real_data)
    taken, rows = split_in_three(script, samples)
    assert {part: len(index) for part, index in rows.items()} == {
        "train": 5232 - len(rows["test1"]),
        "test1": pytest.approx(0.2 * 5232, abs=10),
        "test2": 624,
    }
    assert not set(samples.groups[rows["train"]]) & set(samples.groups[rows["test1"]])
    shares = [np.mean(taken.labels[rows[part]]) for part in ("train", "test1")]
    assert shares[0] == pytest.approx(shares[1], abs=0.02)
