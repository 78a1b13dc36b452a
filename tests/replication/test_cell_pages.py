import dataclasses
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
from cells import KEY, TOY, answers, finished, right_in, write_cell

import tlkeras as tl
from tlkeras.evaluation.blocks import Figure, Folded, Heading, Table, Text
from tlkeras.files import write_json, write_text
from tlkeras.replication.cell_pages import N_LOSSES, N_PAIRS, every_cell, write_model_cards
from tlkeras.replication.publishing import publish
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.schema import EpochLog

TREE = CellKey("tree", "pixels", 0)
NAMES = ("bkl", "mel", "nv")
SMALL = CellKey("frozen", "mobilenetv2_035", 0)
CLASSIFIER = {
    "class_names": ["NORMAL", "PNEUMONIA"],
    "image_size": [150, 150],
    "sha256": 64 * "a",
    "weights": None,
    "precision": {"name": "float32"},
    "versions": {"tlkeras": "0.7", "keras": "3.15.1"},
    "fingerprint": [0.25, 0.75],
    "epochs": [asdict(EpochLog(1, 1, 1.0, 0.5, 0.5, None, None))],
}
# NORMAL: 3 of 4 found; PNEUMONIA: 2 of 4, and one NORMAL called so.
TEST = answers([0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.9, 0.8, 0.4, 0.2])
NOTE = "628 of 2,003 test images (31.4%) are of a group (patient, lesion) that is also in train."
AUDITS = {0: SimpleNamespace(findings=lambda *image_sizes: (NOTE, f"resized to {image_sizes}"))}


def pages(folder, predicted):
    """{title: blocks} of the cells."""
    title, *folded = every_cell(finished({}, folder=folder, predicted=predicted))
    assert title == Heading("Every cell")
    assert all(isinstance(block, Folded) for block in folded)
    return {block.title: list(block.blocks) for block in folded}


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
    cells = {key: {"test": right_in(range(4))} for key in (TREE, KEY, CellKey("frozen", "vgg16", 1))}
    assert list(pages(folder, cells)) == ["pixels/tree/seed0", "vgg16/frozen/seed0", "vgg16/frozen/seed1"]


def test_a_cell_shows_what_was_drawn_of_it_for_the_test_parts_alone(folder):
    parts = {part: right_in(range(4)) for part in ("train", "val", "near", "far")}
    place = folder.cell(KEY)
    (blocks,) = pages(folder, {KEY: parts}).values()
    always = [place / f"{name}_{part}.png" for part in ("near", "far") for name in ("confusion", "probabilities")]
    assert figures(blocks) == always
    assert [block.text for block in blocks if isinstance(block, Heading)] == [f"{KEY} on near", f"{KEY} on far"]
    names = ("curves.png", "grid.png", "hardest_near.png", "sheet_near.png", "explanations_near.png", "sheet_val.png")
    put(folder, *names, key=KEY)
    (blocks,) = pages(folder, {KEY: parts}).values()
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
    (blocks,) = pages(folder, {KEY: {"test": answers(labels, probs, classes=NAMES)}}).values()
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
    (blocks,) = pages(folder, {KEY: {"test": answers(labels, probs, classes=names)}}).values()
    assert [len(table) for table in tables(blocks)] == [N_PAIRS, N_LOSSES] == [5, 8]


def test_a_cell_without_an_error_says_so(folder):
    (blocks,) = pages(folder, {KEY: {"test": right_in(range(8))}}).values()
    assert tables(blocks) == []
    assert Text("Every image was predicted right.") in blocks


@pytest.fixture
def reported(tmp_path):
    """A run folder of a network with its model, one whose model was removed, and a tree; their cards written."""
    folder = RunFolder(tmp_path / "toy" / "corrected")
    predicted = {key: {"val": right_in(range(8)), "test": TEST} for key in (KEY, SMALL, TREE)}
    facts = {"images": {"train": {"NORMAL": 3000, "PNEUMONIA": 1000}}, "split_notes": []}
    cells = {key: write_cell(folder.root, key, parts, facts=facts) for key, parts in predicted.items()}
    for key in (KEY, SMALL):
        write_json(folder.cell(key) / "classifier.json", CLASSIFIER)
    (folder.cell(KEY) / "model.keras").write_bytes(b"a model")
    write_model_cards(finished(cells, folder=folder, predicted=predicted, audits=AUDITS))
    return folder


def test_the_card_of_a_model_says_what_it_is_and_what_it_learnt_from(reported):
    card = (reported.cell(KEY) / "model_card.md").read_text()
    row = tl.DATASETS["chest_xray"]
    assert card.startswith("# Model card: toy, corrected, vgg16/frozen/seed0\n\n**Not for diagnosis.**")
    assert f"{row.title}, {row.licence}. {row.citation}" in card
    assert "It learnt from 4,000 images: 3,000 NORMAL, 1,000 PNEUMONIA." in card
    assert "one probability for each of NORMAL, PNEUMONIA" in card
    assert f"The audit of its split:\n\n- {NOTE}\n- resized to ((150, 150),)\n" in card
    assert "- It answers with one of its classes for every image" in card


def test_every_class_has_its_figures_on_the_test_images_with_their_number(reported):
    card = (reported.cell(KEY) / "model_card.md").read_text()
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in card.splitlines() if line[:1] == "|"]
    shown = {row[0]: [cell.split(" [")[0] for cell in row[1:]] for row in rows}
    assert shown["class, on test"] == ["precision", "recall", "F1", "images", "groups"]
    assert shown["NORMAL"] == ["0.600", "0.750", "0.667", "4", "4"]  # 3 of 5, 3 of 4, 6 / 9
    assert shown["PNEUMONIA"] == ["0.667", "0.500", "0.571", "4", "4"]  # 2 of 3, 2 of 4, 4 / 7
    assert "Accuracy on test (8 images in 8 groups): 0.625 [" in card
    assert "on val" not in card  # the validation images chose the weights


def test_where_no_model_is_kept_there_is_no_card(reported):
    assert [file.parent for file in reported.root.rglob("model_card.md")] == [reported.cell(KEY)]


def test_a_published_folder_has_neither_model_nor_card(reported, tmp_path):
    published = RunFolder(publish(reported.root, tmp_path / "published"))
    cells = {KEY: write_cell(published.root, KEY, {"test": TEST})}
    write_model_cards(finished(cells, folder=published, predicted={KEY: {"test": TEST}}, audits=AUDITS))
    assert not list(published.root.rglob("model_card.md"))


def test_the_card_names_the_data_that_stand_in(tmp_path):
    protocol = dataclasses.replace(TOY.protocols["corrected"], dataset="ham10000")
    stand_in = dataclasses.replace(TOY, protocols={"corrected": protocol})
    folder = RunFolder(tmp_path)
    cells = {KEY: write_cell(tmp_path, KEY, {"test": TEST})}
    write_json(folder.cell(KEY) / "classifier.json", CLASSIFIER)
    (folder.cell(KEY) / "model.keras").write_bytes(b"a model")
    write_model_cards(finished(cells, experiment=stand_in, folder=folder, predicted={KEY: {"test": TEST}}))
    card = (folder.cell(KEY) / "model_card.md").read_text()
    assert tl.DATASETS["ham10000"].citation in card
    assert tl.DATASETS["chest_xray"].citation not in card
