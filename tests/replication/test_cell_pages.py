import numpy as np
import pytest
from cells import KEY, answers, right_in

from tlkeras.evaluation.blocks import Figure, Folded, Heading, Table, Text
from tlkeras.files import write_text
from tlkeras.replication.cell_pages import N_LOSSES, N_PAIRS, cell_blocks
from tlkeras.replication.run_folder import CellKey, RunFolder

TREE = CellKey("pixels", "tree", 0)
NAMES = ("bkl", "mel", "nv")


def pages(folder, predicted, drawn=()):
    """(what stands before the cells, {title: blocks} of the cells)."""
    blocks = cell_blocks(folder, predicted, dict(drawn))
    start = blocks.index(Heading("Every cell"))
    assert blocks[0] == Heading("Figures")
    assert all(isinstance(block, Folded) for block in blocks[start + 1 :])
    return blocks[1:start], {block.title: list(block.blocks) for block in blocks[start + 1 :]}


def figures(blocks):
    return [block.path for block in blocks if isinstance(block, Figure)]


def tables(blocks):
    return [block.frame for block in blocks if isinstance(block, Table)]


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


def put(folder, *names, key=None):
    for name in names:
        write_text((folder.root if key is None else folder.cell(key)) / name, "a figure")


def test_every_cell_is_folded_under_its_name_in_the_order_it_was_given(folder):
    cells = {key: {"test": right_in(range(4))} for key in (TREE, KEY, CellKey("vgg16", "frozen", 1))}
    assert list(pages(folder, cells)[1]) == ["pixels/tree/seed0", "vgg16/frozen/seed0", "vgg16/frozen/seed1"]


def test_figures_of_several_cells_come_first_as_far_as_they_were_drawn_now(folder):
    put(folder, "class_counts.png")
    cells = {KEY: {"test": right_in(range(4))}}
    assert figures(pages(folder, cells)[0]) == [folder.root / "class_counts.png"]
    # Of an earlier report, of cells that were removed since.
    put(folder, "training_accuracy_resnet50.png", "embedding_test.png", "activations_resnet50_seed0_conv1.png")
    put(folder, "validation_accuracy_vgg16.png", "activations_vgg16_seed0_conv1.png")
    drawn = {folder.root / "validation_accuracy_vgg16.png": "validation accuracy of vgg16"}
    shared = pages(folder, cells, drawn=drawn)[0]
    assert figures(shared) == [
        folder.root / "class_counts.png",
        *drawn,
        folder.root / "activations_vgg16_seed0_conv1.png",
    ]
    assert shared[1].alt == "validation accuracy of vgg16"


def test_a_cell_shows_what_was_drawn_of_it_for_the_test_parts_alone(folder):
    parts = {part: right_in(range(4)) for part in ("train", "val", "near", "far")}
    place = folder.cell(KEY)
    (blocks,) = pages(folder, {KEY: parts})[1].values()
    always = [place / f"{name}_{part}.png" for part in ("near", "far") for name in ("confusion", "probabilities")]
    assert figures(blocks) == always
    assert [block.text for block in blocks if isinstance(block, Heading)] == [f"{KEY} on near", f"{KEY} on far"]
    names = ("curves.png", "grid.png", "hardest_near.png", "sheet_near.png", "explanations_near.png", "sheet_val.png")
    put(folder, *names, key=KEY)
    (blocks,) = pages(folder, {KEY: parts})[1].values()
    assert figures(blocks) == [
        place / "curves.png",
        place / "grid.png",
        *always[:2],
        place / "hardest_near.png",
        place / "sheet_near.png",
        place / "explanations_near.png",
        *always[2:],
    ]
    assert all(block.alt for block in blocks if isinstance(block, Figure))


def test_errors_are_told_by_pair_and_by_image(folder):
    labels = np.array([0, 0, 0, 1, 1, 2, 2])
    probs = np.array(
        [
            [0.8, 0.1, 0.1],
            [0.3, 0.6, 0.1],  # bkl called mel
            [0.1, 0.7, 0.2],  # bkl called mel, and surer
            [0.1, 0.8, 0.1],
            [0.5, 0.3, 0.2],  # mel called bkl
            [0.1, 0.1, 0.8],
            [0.2, 0.2, 0.6],
        ]
    )
    (blocks,) = pages(folder, {KEY: {"test": answers(labels, probs, classes=NAMES)}})[1].values()
    pairs, losses = tables(blocks)
    assert pairs.index.name == "actual"
    assert pairs.reset_index().iloc[:, :3].to_numpy().tolist() == [["bkl", "mel", 2], ["mel", "bkl", 1]]
    assert pairs["share"].tolist() == pytest.approx([2 / 3, 1 / 2])
    assert losses.index.name == "sample_id"
    assert losses.index.tolist() == ["2.png", "1.png", "4.png", "6.png", "0.png", "3.png", "5.png"]
    assert losses.iloc[0][["label", "predicted"]].tolist() == ["bkl", "mel"]
    assert losses["loss"].iloc[0] == pytest.approx(-np.log(0.1))
    assert "row" not in losses
    words = [block.text for block in blocks if isinstance(block, Text)]
    assert words == ["Classes most often confused:", "Images with the largest loss:"]


def test_of_many_errors_the_worst_are_told(folder):
    names = tuple(f"class{number}" for number in range(6))
    labels = np.arange(60) % 6
    probs = np.full((60, 6), 0.02)
    probs[np.arange(60), (labels + 1) % 6] = 0.9
    (blocks,) = pages(folder, {KEY: {"test": answers(labels, probs, classes=names)}})[1].values()
    assert [len(table) for table in tables(blocks)] == [N_PAIRS, N_LOSSES] == [5, 8]


def test_a_cell_without_an_error_says_so(folder):
    (blocks,) = pages(folder, {KEY: {"test": right_in(range(8))}})[1].values()
    assert tables(blocks) == []
    assert Text("Every image was predicted right.") in blocks
