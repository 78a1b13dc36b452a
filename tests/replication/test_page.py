import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
from cells import KEY, finished, right_in
from scripts import load_script

import tlkeras as tl
from tlkeras.evaluation.blocks import Figure, Text
from tlkeras.files import read_json, write_csv, write_text
from tlkeras.replication.common_page import PAGE, activation_figures, every_figure, every_metric, probabilities
from tlkeras.replication.comparison import compare_protocols
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.results import report_experiment
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.training.recipe import describe

pytestmark = pytest.mark.usefixtures("quick_figures")

CLASSES = ("df", "nv")
ALL_RIGHT, ONE_WRONG, ALL_NV = ([0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1])
COLUMNS = {"tree": "decision tree", "random": "CNN random", "all": "all layers"}


def network(backbone, weights="imagenet", **fields):
    phase = tl.Phase(50, 1e-4, patience=5, unfreeze="all")
    return tl.Tuner(backbone, weights=weights, phases=phase, image_size=(224, 224), **fields)


def toy_protocol(respect_groups, **fields):
    backbones = ("vgg16", "mobilenetv2_035")
    return tl.Protocol(
        split=tl.Holdout(respect_groups=respect_groups),
        cells={("tree", PIXELS): tl.PixelBaseline("decision_tree")}
        | {("random", name): network(name, weights=None, **fields) for name in backbones}
        | {("all", name): network(name, **fields) for name in backbones},
    )


TOY = tl.Experiment(
    name="toy",
    paper=tl.Paper(title="A toy", authors="Nobody", venue="nowhere"),
    dataset="ham10000",
    default_backbones=("vgg16",),
    smoke_backbones=("vgg16",),
    protocols={"corrected": toy_protocol(True), "paper": toy_protocol(False, preprocessing="symmetric")},
    reported={
        (("all", "vgg16"), "test", "f1_nv"): 0.92,
        (("all", "vgg16"), "test", "micro_f1"): 0.81,
        (("tree", PIXELS), "test", "micro_f1"): 0.57,
    },
    page=load_script("patel2019_ham10000").page_with(COLUMNS),
    compared={"random": "random weights", "all": "ImageNet weights"},
)


def write_cell(out, protocol, method, backbone, predicted, *, seed=0, side=224, epochs=6, experiment=TOY, recipe=None):
    """A finished cell as a run leaves it: one of an experiment's (the toy one's), at `side` pixels."""
    folder, key = RunFolder(out / protocol), CellKey(method, backbone, seed)
    declared = experiment.protocols[protocol]
    recipe = recipe or dataclasses.replace(declared.cells[method, backbone], image_size=(side, side))
    samples = tl.Samples(images=("a", "b", "c", "d"), labels=np.array([0, 0, 1, 1]), class_names=CLASSES)
    predictions = tl.Predictions(samples, np.eye(2, dtype=np.float32)[predicted])
    write_csv(predictions.to_frame("test"), folder.cell(key) / "predictions.csv")
    facts = {
        "seconds": {"fit": 1.0, "all": 2.0},
        "peak_mb": None,
        "images": {"train": {"df": 6, "nv": 30}, "val": {"df": 2, "nv": 10}, "test": {"df": 2, "nv": 2}},
        "split_notes": [],
        "environment": {"tlkeras": "0.1.0", "cores": 2, "packages": {"keras": "3.15.1"}},
        "device": "CPU",
    }
    if backbone != PIXELS:
        facts |= {"parameters": 10, "weights": None}
        epoch = np.arange(1, epochs + 1)
        history = pd.DataFrame({"phase": 1, "epoch": epoch, "accuracy": 0.5, "loss": 1.0})
        history = history.assign(val_accuracy=0.5, val_loss=1.0, kept=epoch == 1)
        write_csv(history, folder.cell(key) / "history.csv")
        write_csv(pd.DataFrame({"trainable_parameters_phase_1": [10]}), folder.cell(key) / "layers.csv")
    common = {"data": "d", "split": describe(declared.split), "smoke": False, "skip_unreadable": False}
    folder.write_cell(key, {"recipe": describe(recipe), "weights_sha256": None, **common}, facts)


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The run folder of both protocols, reported: a tree at 8 pixels, two networks, `random` never run."""
    out = tmp_path_factory.mktemp("out")
    write_cell(out, "paper", "tree", PIXELS, ALL_NV, side=8)
    write_cell(out, "paper", "all", "vgg16", ALL_RIGHT, epochs=9)
    for seed, predicted in enumerate((ALL_RIGHT, ONE_WRONG)):
        write_cell(out, "paper", "all", "mobilenetv2_035", predicted, seed=seed, side=96)
    write_cell(out, "corrected", "tree", PIXELS, ALL_NV, side=8)
    write_cell(out, "corrected", "all", "mobilenetv2_035", ONE_WRONG, side=96)
    for protocol in ("paper", "corrected"):
        report_experiment(TOY.under(protocol), RunFolder(out / protocol))
    compare_protocols(TOY, out)
    return out


def lines_of(page, title):
    """The cells of the first pipe table below a title, one list per line, without header and rule."""
    below = page.read_text().split(f"# {title}")[1]
    below = below[below.index("\n|") :].strip().split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in below.splitlines()[2:]]


def test_f1_has_a_column_per_method_of_the_document_and_says_which_network_at_which_size(reported):
    table = pd.read_csv(reported / "paper" / "f1.csv", index_col="F1")
    assert [column.removesuffix(" ours") for column in table.columns if column.endswith(" ours")] == [
        "decision tree (8x8)",
        "CNN random (vgg16)",
        "all layers (vgg16, 224x224)",
        "all layers (mobilenetv2_035 for vgg16, 96x96)",
        "majority class",
    ]
    # ONE_WRONG: df 2 / (2 + 1), nv 4 / (4 + 1); the mean over seeds with 1 and 1.
    ours = table["all layers (mobilenetv2_035 for vgg16, 96x96) ours"]
    assert ours.to_dict() == pytest.approx({"df": 5 / 6, "nv": 0.9, "micro average": 7 / 8, "macro average": 13 / 15})
    assert table["decision tree (8x8) ours"].tolist() == pytest.approx([0, 2 / 3, 1 / 2, 1 / 3])
    for network_of in ("vgg16, 224x224", "mobilenetv2_035 for vgg16, 96x96"):
        assert table[f"all layers ({network_of}) published"].dropna().to_dict() == {"nv": 0.92, "micro average": 0.81}
    assert table["decision tree (8x8) published"].dropna().to_dict() == {"micro average": 0.57}
    assert table["CNN random (vgg16) ours"].isna().all()


def test_the_page_shows_f1_in_place_of_accuracy_and_what_was_not_run(reported):
    page = (reported / "paper" / "table.md").read_text()
    assert "## F1 on test (4 images in 4 groups)" in page
    assert "## Accuracy on" not in page
    assert "Few groups: the images of test are of 4, those of df are of 2, those of nv are of 2." in page
    assert "`majority class` answers the commonest class of the training images every time" in page
    assert "`A for B` is network A standing in for B" in page
    (ours,) = [line for line in page.splitlines() if line.startswith("| nv ") and "| ours " in line]
    values = [cell.strip().split(" [")[0] for cell in ours.strip("| ").split(" | ")]
    assert values == ["nv", "ours", "0.667", "not run", "1.000", "0.900 ± 0.141", "0.667 ± 0.000"]
    files = {path.name for path in (reported / "paper").iterdir()}
    assert {"f1.csv", "f1_bars.png", "class_counts.png"} <= files
    assert not {"accuracy.csv", "accuracy_bars.png"} & files


def test_the_page_tells_after_how_many_epochs_each_network_stopped(reported):
    assert [line[:4] for line in lines_of(reported / "paper" / "table.md", "Epochs until early stop")] == [
        ["all", "vgg16", "1", "9"],
        ["all", "mobilenetv2_035", "2", "6 ± 0"],
    ]


def test_every_image_size_has_its_command_and_trees_name_no_network(reported):
    page = (reported / "paper" / "table.md").read_text()
    commands = [line.split("--protocol paper ")[1] for line in page.splitlines() if line.startswith("python ")]
    assert sorted(commands) == [
        "--backbones mobilenetv2_035 --methods all --seeds 0 1 --image-size 96",
        "--backbones vgg16 --methods all --seeds 0",
        "--methods tree --seeds 0 --image-size 8",
    ]


def test_what_corrected_changes_stands_with_what_differs(reported):
    page = (reported / "protocols.md").read_text()
    assert page.count("## What `corrected` changes") == 1
    lines = {tuple(line[:2]): line for line in lines_of(reported / "protocols.md", "What `corrected` changes on test")}
    assert len(lines) == 2
    tree, stand_in = lines["tree", PIXELS], lines["all", "mobilenetv2_035"]
    assert tree[5] == "+0.0"
    assert tree[-1] == "split: Holdout, image by image → Holdout, groups (patients, lesions) on one side"
    # Seed 0, which both have: all images under paper, 3/4 under corrected. MobileNetV2's own preprocessing is -1..1.
    assert stand_in[2] == "1 / 1"
    assert stand_in[5] == "-25.0"
    assert stand_in[-1] == tree[-1]


def test_a_cell_that_is_finished_but_not_reported_yet_waits_for_its_report(reported, tmp_path):
    # Runs that were stopped, or had a cell that failed, before their report.
    out = shutil.copytree(reported, tmp_path / "out")
    for protocol in ("paper", "corrected"):
        write_cell(out, protocol, "random", "vgg16", ALL_RIGHT)
    changed = lines_of(compare_protocols(TOY, out), "What `corrected` changes on test")
    assert sorted(line[0] for line in changed) == ["all", "tree"]


def test_what_was_removed_since_its_report_is_no_longer_compared(reported, tmp_path):
    out = shutil.copytree(reported, tmp_path / "out")
    shutil.rmtree(out / "corrected" / "mobilenetv2_035")
    compare_protocols(TOY, out)
    assert {line[0] for line in lines_of(out / "protocols.md", "What `corrected` changes on test")} == {"tree"}
    shutil.rmtree(out / "corrected" / PIXELS)
    page = compare_protocols(TOY, out).read_text()
    assert "What `corrected` changes" not in page
    assert "| paper " in page
    assert "| corrected " not in page


# The methods of a document whose table is no F1 per class; two of the four cells have no recipe.
FIGURES = dataclasses.replace(
    TOY,
    name="figures",
    protocols={
        "paper": tl.Protocol(
            split=tl.Holdout(),
            cells={("all", "vgg16"): network("vgg16"), ("small", "mobilenetv2_035"): network("mobilenetv2_035")},
        )
    },
    reported={
        (("all", "vgg16"), "test", "accuracy"): 81.25,
        (("all", "vgg16"), "test", "macro_f1"): 0.613,
        (("all", "vgg16"), "test", "confused_df_as_nv"): 7,
        (("all", "vgg16"), "test", "confused_others_as_nv"): 9,
        (("all", "vgg16"), "train", "accuracy"): 92.75,
    },
    page=None,
    compared={},
    positive_class="mel",
)
STAND_IN = dataclasses.replace(
    FIGURES,
    protocols={
        "stand_in": dataclasses.replace(FIGURES.protocols["paper"], dataset="chest_xray", positive_class="nv"),
    },
)
PRINTED = ("81.25", "0.613", "92.75", "published")


def report(experiment, out):
    """table.md of an experiment of one protocol, both of whose cells were run, as text and as its path."""
    (protocol,) = experiment.protocols
    write_cell(out, protocol, "all", "vgg16", ONE_WRONG, experiment=experiment)
    write_cell(out, protocol, "small", "mobilenetv2_035", ALL_RIGHT, experiment=experiment)
    report_experiment(experiment.under(protocol), RunFolder(out / protocol))
    return (out / protocol / "table.md").read_text(), out / protocol / "table.md"


def test_a_method_without_recipe_for_a_network_is_a_dash(tmp_path):
    _, file = report(FIGURES, tmp_path)
    vgg16, small, _ = lines_of(file, "Accuracy on test (4 images in 4 groups), per cent")
    assert vgg16[0] == "vgg16"
    assert vgg16[1].startswith("75.0 [")
    assert vgg16[2:] == ["81.25", "-6.2", "–"]
    assert small[:2] == ["mobilenetv2_035", "–"]
    assert small[4] == "100.0"  # no error, no interval


def test_every_figure_of_the_document_stands_beside_ours_counts_of_confusions_too(tmp_path):
    _, file = report(FIGURES, tmp_path)
    lines = {(line[2], line[3]): line[4:] for line in lines_of(file, "Every figure of the document")}
    # One of the two df is called nv, and nothing else: F1 is 2/3 and 4/5.
    assert lines["test", "df called nv, images"] == ["7", "1", "-6"]
    assert lines["test", "others called nv, images"] == ["9", "1", "-8"]
    published, ours, difference = lines["test", "macro F1"]
    assert (published, ours.split(" [")[0], difference) == ("0.613", "0.733", "+0.120")


def test_where_another_data_set_stands_in_no_published_figure_is_shown_or_subtracted(tmp_path):
    page, _ = report(STAND_IN, tmp_path)
    assert not [figure for figure in PRINTED if figure in page]
    assert "Every figure of the document" not in page
    for table in tmp_path.rglob("*.csv"):
        published = [column for column in pd.read_csv(table) if column.endswith("published")]
        assert pd.read_csv(table)[published].isna().all(axis=None), table
    assert f"\n{tl.DATASETS['chest_xray'].title}, {tl.DATASETS['chest_xray'].licence}." in page


def test_the_positive_class_is_the_one_of_the_data_set_that_stands_in(tmp_path):
    page, _ = report(STAND_IN, tmp_path)
    scores = pd.read_csv(tmp_path / "stand_in" / "scores.csv").query("method == 'all' and part == 'test'")
    # nv: all of two found, one df called so.
    found = scores.set_index("metric")["value"]
    assert (found["sensitivity"], found["precision"]) == (1, pytest.approx(2 / 3))
    assert "ROC AUC is the macro average" not in page


def test_f1_of_a_stand_in_has_no_published_column_either(tmp_path):
    protocol = dataclasses.replace(TOY.protocols["paper"], dataset="chest_xray")
    stand_in = dataclasses.replace(TOY, protocols={"stand_in": protocol})
    write_cell(tmp_path, "stand_in", "all", "vgg16", ALL_RIGHT, experiment=stand_in)
    report_experiment(stand_in.under("stand_in"), RunFolder(tmp_path / "stand_in"))
    page = (tmp_path / "stand_in" / "table.md").read_text()
    assert "| published " not in page
    assert "0.92" not in page


def test_a_search_over_trees_on_a_stand_in_has_its_command_and_no_training(tmp_path):
    searched = tl.Search(tl.PixelBaseline("random_forest", image_size=(16, 16)), {"n_trees": (1, 3)}, tl.KFold(2))
    protocol = tl.Protocol(split=tl.Holdout(), cells={("best", PIXELS): searched}, dataset="chest_xray")
    experiment = dataclasses.replace(FIGURES, protocols={"trees": protocol}, reported={})
    folder, key = RunFolder(tmp_path / "trees"), CellKey("best", PIXELS, 0)
    write_cell(tmp_path, "trees", "best", PIXELS, ALL_RIGHT, experiment=experiment, recipe=searched.resized((8, 8)))
    cell = read_json(folder.cell(key) / "cell.json")
    found = {"best": {"n_trees": 1}, "refit": describe(searched.recipe), "seconds": 2.0}
    folder.write_cell(key, cell["settings"], cell["facts"] | {"search": found})
    table = pd.DataFrame({"sample_id": list("abcd"), "group": "", "fold": [0, 0, 1, 1], "label": ["df", "nv"] * 2})
    write_csv(table.assign(setting_0=table["label"], setting_1="nv"), folder.cell(key) / "out_of_fold.csv")
    report_experiment(experiment.under("trees"), folder)
    page = (folder.root / "table.md").read_text()
    assert "--methods best --seeds 0 --image-size 8" in page
    assert [line[:2] for line in lines_of(folder.root / "table.md", "The grid of pixels/best/seed0")] == [
        ["1 (chosen)", "1"],
        ["2", "3"],
    ]
    assert "### Every training" not in page


def a_section(run):
    """A section of one's own: how many cells there are."""
    return [Text(f"{len(run.cells)} cells.")]


def test_a_section_of_ones_own_stands_where_it_was_put_in_table_and_report(tmp_path):
    def page(plan, common):
        assert plan.name == "paper"
        return common.adding(a_section, after=every_figure).without(every_metric).replacing(probabilities, of_a_part)

    def of_a_part(run, part):
        return [Text(f"{part}: {len(run.predicted)} classifiers.")]

    text, file = report(dataclasses.replace(FIGURES, page=page), tmp_path)
    assert text.index("## Every figure") < text.index("\n2 cells.\n") < text.index("## Settings")
    assert "\ntest: 2 classifiers.\n" in text
    assert "### Every metric" not in text
    assert "### Probabilities" not in text
    assert "<p>2 cells.</p>" in file.with_name("report.html").read_text()


def test_a_place_that_the_page_has_not_is_refused():
    with pytest.raises(tl.InputError, match="received a_section, which is none of its sections: title, question, data"):
        PAGE.without(a_section)


def test_activations_are_shown_of_networks_that_are_still_there(tmp_path):
    for name in ("activations_resnet50_seed0_conv1.png", "activations_vgg16_seed0_conv1.png", "embedding_test.png"):
        write_text(tmp_path / name, "a figure")
    run = finished({}, folder=RunFolder(tmp_path), predicted={KEY: {"test": right_in(range(4))}})
    (shown,) = activation_figures(run)
    assert isinstance(shown, Figure)
    assert shown.path == tmp_path / "activations_vgg16_seed0_conv1.png"
    assert "vgg16" in shown.alt
