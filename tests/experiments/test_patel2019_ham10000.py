import dataclasses

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scripts import load_script

import tlkeras as tl
from tlkeras.replication.common_page import PAGE, accuracy
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.script import main

pytestmark = pytest.mark.usefixtures("quick_figures")

COUNTS = {"akiec": 8, "bcc": 8, "bkl": 8, "df": 8, "mel": 8, "nv": 12, "vasc": 8}


@pytest.fixture(scope="module")
def script():
    return load_script("patel2019_ham10000")


@pytest.fixture(scope="module")
def cells(script):
    """The recipes of the corrected protocol."""
    return script.EXPERIMENT.protocols["corrected"].cells


@pytest.fixture(scope="module")
def toy_ham10000(tmp_path_factory):
    """The root folder of a toy ham10000: each class of its own grey level, every lesion twice but the last ones."""
    root, rng, rows = tmp_path_factory.mktemp("data"), np.random.default_rng(0), []
    folder = root / "ham10000"
    for part in (1, 2):
        (folder / f"HAM10000_images_part_{part}").mkdir(parents=True)
    for number, dx in enumerate(COUNTS):
        for image in range(COUNTS[dx]):
            name = f"ISIC_{len(rows):04d}"
            lesion = f"HAM_{dx}_{min(image // 2, 1) if image < 4 else image}"
            pixels = np.clip(rng.normal(30 + 30 * number, 15, (45, 60, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"HAM10000_images_part_{1 + image % 2}" / f"{name}.jpg")
            rows.append(f"{lesion},{name},{dx},histo,50.0,male,back")
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    (folder / "HAM10000_metadata.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return root


def as_printed(rows, methods):
    """A table as a person copies it, ".09 .25 ..." per row, as `Experiment.reported` has it."""
    cells = [(method, PIXELS if method in ("decision_tree", "random_forest") else "vgg16") for method in methods]
    return {
        (cell, "test", metric): float(value)
        for metric, line in rows.items()
        for cell, value in zip(cells, line.split(), strict=True)
    }


def test_table_7_1_is_as_printed(script):
    methods = ["decision_tree", "random_forest", "random", "all", "last_block", "first_block", "first_and_last"]
    rows = {
        "f1_akiec": ".09 .25 .31 .36 .27 .00 .36",
        "f1_bcc": ".20 .38 .41 .64 .59 .00 .64",
        "f1_bkl": ".26 .40 .37 .64 .58 .00 .60",
        "f1_df": ".00 .00 .00 .27 .00 .00 .07",
        "f1_mel": ".19 .22 .34 .58 .54 .01 .53",
        "f1_nv": ".76 .84 .88 .92 .91 .80 .91",
        "f1_vasc": ".06 .00 .17 .78 .50 .00 .50",
        "micro_f1": ".57 .70 .72 .81 .79 .66 .79",
        "macro_f1": ".23 .30 .35 .60 .48 .11 .52",
    }
    reported = script.EXPERIMENT.reported
    assert reported == as_printed(rows, methods)
    assert reported[("all", "vgg16"), "test", "macro_f1"] == 0.60
    assert reported[("first_block", "vgg16"), "test", "f1_akiec"] == 0.00
    assert reported[("random_forest", PIXELS), "test", "f1_mel"] == 0.22


def test_the_macro_averages_of_the_document_are_means_of_its_classes(script):
    # To what two printed digits allow: a mean of 7 rounded values, itself rounded.
    for cell in {cell for cell, _, _ in script.EXPERIMENT.reported}:
        column = {metric: f1 for (of, _, metric), f1 in script.EXPERIMENT.reported.items() if of == cell}
        classes = [f1 for metric, f1 in column.items() if metric.startswith("f1_")]
        assert np.mean(classes) == pytest.approx(column["macro_f1"], abs=0.0101), cell


def shows_f1(script, protocol):
    """Whether the page has F1 in place of accuracy."""
    page = script.EXPERIMENT.page(script.EXPERIMENT.under(protocol), PAGE)
    return page != PAGE and accuracy not in page.of_part


@pytest.mark.parametrize("protocol", ["corrected", "paper"])
def test_every_method_of_networks_has_every_network_and_trees_have_none(script, protocol):
    declared = script.EXPERIMENT.protocols[protocol]
    trees, networks = (
        {"decision_tree", "random_forest"},
        {"random", "all", "last_block", "first_block", "first_and_last"},
    )
    assert set(declared.cells) == {(tree, PIXELS) for tree in trees} | {
        (method, backbone) for method in networks for backbone in tl.BACKBONES
    }
    assert declared.methods == tuple(script.COLUMNS)
    assert shows_f1(script, protocol)


def test_what_learns_is_said_by_stage(cells):
    phases = {method: cells[method, "vgg16"].phases for method, backbone in cells if backbone == "vgg16"}
    assert {len(of_method) for of_method in phases.values()} == {1}
    assert {method: phase.unfreeze for method, (phase,) in phases.items()} == {
        "random": "all",
        "all": "all",
        "last_block": ("block5",),
        "first_block": ("block1",),
        "first_and_last": ("block1", "block5"),
    }
    for backbone in tl.BACKBONES.values():
        assert {"block1", "block5"} <= set(backbone.stages)


def test_random_weights_learn_their_batch_norm_and_learnt_ones_keep_it(cells):
    seen = {
        (method, recipe.weights, recipe.phases[0].batch_norm)
        for (method, backbone), recipe in cells.items()
        if backbone != PIXELS
    }
    learnt = {"all", "last_block", "first_block", "first_and_last"}
    assert seen == {("random", None, "train")} | {(method, "imagenet", "frozen") for method in learnt}


def test_networks_learn_as_the_document_states(script):
    for protocol in ("corrected", "paper"):
        networks = [
            recipe for recipe in script.EXPERIMENT.protocols[protocol].cells.values() if isinstance(recipe, tl.Tuner)
        ]
        same = {"unfreeze": "all", "batch_norm": "frozen", "batch_norm_momentum": None}
        (phase,) = {dataclasses.replace(recipe.phases[0], **same) for recipe in networks}
        assert (phase.optimizer, phase.learning_rate) == ("sgd", 1e-4)
        assert (phase.patience, phase.monitor, phase.keep) == (5, "val_accuracy", "best")
        assert {recipe.image_size for recipe in networks} == {(224, 224)}
        assert {recipe.augmentation for recipe in networks} == {script.AUGMENTATION}
        assert not any(recipe.augment_val for recipe in networks)


def test_paper_and_corrected_differ_in_the_split_the_scaling_and_the_trees_of_the_forest(script):
    paper, corrected = (script.EXPERIMENT.protocols[name] for name in ("paper", "corrected"))
    assert list(paper.cells) == list(corrected.cells)
    assert paper.split == dataclasses.replace(corrected.split, respect_groups=False) == tl.Holdout(0.2, 0.2, False)
    assert corrected.split.respect_groups
    for key, recipe in corrected.cells.items():
        other = {
            "decision_tree": {},
            "random_forest": {"n_trees": 10},
        }.get(key[0], {"preprocessing": "symmetric"})
        assert paper.cells[key] == dataclasses.replace(recipe, **other), key
    assert corrected.cells["random_forest", PIXELS].n_trees == 100
    assert {recipe.preprocessing for key, recipe in corrected.cells.items() if key[1] != PIXELS} == {"backbone"}
    assert tl.BACKBONES["vgg16"].preprocessing == "caffe"  # which is why -1..1 is a fault


def test_the_head_is_flatten_dense_dropout_dense_dropout_dense(cells):
    recipe = cells["all", "mobilenet_025"]
    model = tl.build_classifier("mobilenet_025", n_classes=7, image_size=(32, 32), weights=None, head=recipe.head)
    head = [layer for layer in model.layers if layer.name.startswith("head_")]
    kinds = ("Flatten", "Dense", "Dropout", "Dense", "Dropout", "Dense")
    assert tuple(type(layer).__name__ for layer in head) == kinds
    assert [layer.units for layer in head if isinstance(layer, keras.layers.Dense)] == [256, 256, 7]
    assert {recipe.head for recipe in cells.values() if isinstance(recipe, tl.Tuner)} == {recipe.head}


def test_the_pixels_are_compared_for_three_kinds_of_trees(script):
    pixels = script.EXPERIMENT.protocols["pixels"]
    assert len(pixels.cells) == 9
    assert set(pixels.grid.values()) == {
        (trees, form)
        for trees in ("decision tree", "random forest, 10 trees", "random forest, 100 trees")
        for form in ("raw", "normalised", "rescaled")
    }
    for method, (trees, form) in pixels.grid.items():
        recipe = pixels.cells[method, PIXELS]
        number = None if trees == "decision tree" else int(trees.split()[2])
        kind = "decision_tree" if number is None else "random_forest"
        assert recipe == tl.PixelBaseline(kind, n_trees=number, pixels=form), method
    assert pixels.split == script.EXPERIMENT.protocols["paper"].split
    assert not shows_f1(script, "pixels")


@pytest.mark.slow
def test_a_smoke_run_makes_the_table_with_every_column(script, toy_ham10000, tmp_path):
    protocol = "paper"  # corrected is run on X-rays
    arguments = ["--smoke", "--protocol", protocol, "--data", str(toy_ham10000), "--out", str(tmp_path)]
    main(script.EXPERIMENT, arguments)
    table = pd.read_csv(tmp_path / protocol / "f1.csv", index_col="F1")
    assert table.index.tolist() == [*COUNTS, "micro average", "macro average"]
    titles = [
        f"{title} ({'32x32' if method in ('decision_tree', 'random_forest') else 'mobilenet_025 for vgg16, 32x32'})"
        for method, title in script.COLUMNS.items()
    ]
    assert [column.removesuffix(" ours") for column in table if column.endswith(" ours")] == [
        *titles,
        "majority class",
    ]
    assert table.loc["micro average", [f"{title} ours" for title in titles]].notna().all()
    published = [script.EXPERIMENT.reported[(method, "vgg16"), "test", "macro_f1"] for method in ("random", "all")]
    assert table.loc["macro average", [f"{titles[i]} published" for i in (2, 3)]].tolist() == published
    files = {path.name for path in (tmp_path / protocol).iterdir()}
    assert {"table.md", "f1_bars.png", "class_counts.png", "training_accuracy_mobilenet_025.png"} <= files
    page = (tmp_path / protocol / "table.md").read_text()
    assert all(title in page for title in titles)
    assert "### Epochs until early stop" in page
    for deviation in script.EXPERIMENT.protocols[protocol].deviations:
        assert f"- {deviation}" in page


@pytest.mark.slow
def test_a_smoke_run_of_the_pixels_fills_the_two_way_table(script, toy_ham10000, tmp_path):
    main(script.EXPERIMENT, ["--smoke", "--protocol", "pixels", "--data", str(toy_ham10000), "--out", str(tmp_path)])
    folder = tmp_path / "pixels"
    table = pd.read_csv(folder / "accuracy.csv", index_col="backbone")
    ours = [column for column in table if column.endswith(" ours")]
    assert len(ours) == 9
    assert table.loc[[PIXELS], ours].notna().all(axis=None)
    grid = [line for line in (folder / "table.md").read_text().splitlines() if line.startswith("| random forest, 10 ")]
    assert len(grid) == 1
    assert "not run" not in grid[0]
    assert {"accuracy_bars.png", "class_counts.png"} <= {path.name for path in folder.iterdir()}
