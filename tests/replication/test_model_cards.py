import dataclasses
from dataclasses import asdict
from types import SimpleNamespace

import pytest
from cells import KEY, TOY, answers, right_in, write_cell

import tlkeras as tl
from tlkeras.files import write_json
from tlkeras.replication.model_cards import write_model_cards
from tlkeras.replication.run_folder import CellKey, RunFolder, publish
from tlkeras.schema import EpochLog

TREE = CellKey("pixels", "tree", 0)
SMALL = CellKey("mobilenetv2_035", "frozen", 0)
CLASSIFIER = {
    "class_names": ["NORMAL", "PNEUMONIA"],
    "image_size": [150, 150],
    "sha256": 64 * "a",
    "fingerprint": [0.25, 0.75],
    "weights": None,
    "precision": {"name": "float32"},
    "versions": {"tlkeras": "0.7", "keras": "3.15.1"},
    "epochs": [asdict(EpochLog(1, 1, 1.0, 0.5, 0.5, None, None))],
}
# NORMAL: 3 of 4 found; PNEUMONIA: 2 of 4, and one NORMAL called so.
TEST = answers([0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.9, 0.8, 0.4, 0.2])
NOTE = "628 of 2,003 test images (31.4%) are of a group (patient, lesion) that is also in train."
AUDITS = {0: SimpleNamespace(findings=lambda *image_sizes: (NOTE, f"resized to {image_sizes}"))}


@pytest.fixture
def folder(tmp_path):
    """A run folder of a network with its model, one whose model was removed, and a tree; their cards written."""
    folder = RunFolder(tmp_path / "toy" / "corrected")
    predicted = {key: {"val": right_in(range(8)), "test": TEST} for key in (KEY, SMALL, TREE)}
    facts = {"images": {"train": {"NORMAL": 3000, "PNEUMONIA": 1000}}, "split_notes": []}
    cells = {key: write_cell(folder.root, key, parts, facts=facts) for key, parts in predicted.items()}
    for key in (KEY, SMALL):
        write_json(folder.cell(key) / "classifier.json", CLASSIFIER)
    (folder.cell(KEY) / "model.keras").write_bytes(b"a model")
    write_model_cards(TOY, "corrected", folder, cells, predicted, AUDITS)
    return folder


def test_the_card_of_a_model_says_what_it_is_and_what_it_learnt_from(folder):
    card = (folder.cell(KEY) / "model_card.md").read_text()
    row = tl.DATASETS["chest_xray"]
    assert card.startswith("# Model card: toy, corrected, vgg16/frozen/seed0\n\n**Not for diagnosis.**")
    assert f"{row.title}, {row.licence}. {row.citation}" in card
    assert "It learnt from 4,000 images: 3,000 NORMAL, 1,000 PNEUMONIA." in card
    assert "one probability for each of NORMAL, PNEUMONIA" in card
    assert f"The audit of its split:\n\n- {NOTE}\n- resized to ((150, 150),)\n" in card
    assert "- It answers with one of its classes for every image" in card


def test_every_class_has_its_figures_on_the_test_images_with_their_number(folder):
    card = (folder.cell(KEY) / "model_card.md").read_text()
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in card.splitlines() if line[:1] == "|"]
    shown = {row[0]: [cell.split(" [")[0] for cell in row[1:]] for row in rows}
    assert shown["class, on test"] == ["precision", "recall", "F1", "images", "groups"]
    assert shown["NORMAL"] == ["0.600", "0.750", "0.667", "4", "4"]  # 3 of 5, 3 of 4, 6 / 9
    assert shown["PNEUMONIA"] == ["0.667", "0.500", "0.571", "4", "4"]  # 2 of 3, 2 of 4, 4 / 7
    assert "Accuracy on test (8 images in 8 groups): 0.625 [" in card
    assert "on val" not in card  # the validation images chose the weights


def test_where_no_model_is_kept_there_is_no_card(folder):
    assert [file.parent for file in folder.root.rglob("model_card.md")] == [folder.cell(KEY)]


def test_a_published_folder_has_neither_model_nor_card(folder, tmp_path):
    published = RunFolder(publish(folder.root, tmp_path / "published"))
    cells = {KEY: write_cell(published.root, KEY, {"test": TEST})}
    write_model_cards(TOY, "corrected", published, cells, {KEY: {"test": TEST}}, AUDITS)
    assert not list(published.root.rglob("model_card.md"))


def test_the_card_names_the_data_that_stand_in(tmp_path):
    protocol = dataclasses.replace(TOY.protocols["corrected"], dataset="ham10000")
    stand_in = dataclasses.replace(TOY, protocols={"corrected": protocol})
    folder = RunFolder(tmp_path)
    cells = {KEY: write_cell(tmp_path, KEY, {"test": TEST})}
    write_json(folder.cell(KEY) / "classifier.json", CLASSIFIER)
    (folder.cell(KEY) / "model.keras").write_bytes(b"a model")
    write_model_cards(stand_in, "corrected", folder, cells, {KEY: {"test": TEST}}, {})
    card = (folder.cell(KEY) / "model_card.md").read_text()
    assert tl.DATASETS["ham10000"].citation in card
    assert tl.DATASETS["chest_xray"].citation not in card
