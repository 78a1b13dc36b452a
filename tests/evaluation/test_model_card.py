import re
from dataclasses import asdict

import numpy as np
import pytest
from cells import answers
from sklearn.metrics import precision_recall_fscore_support

from tlkeras.errors import InputError
from tlkeras.evaluation.blocks import Bullets, Heading, Text, page_as_markdown
from tlkeras.evaluation.model_card import LIMITS, NOT_FOR_DIAGNOSIS, check_tested, kept_in_words, model_card
from tlkeras.schema import EpochLog

NAMES = ("bkl", "mel", "nv")
FACTS = {
    "class_names": list(NAMES),
    "image_size": [150, 224],
    "sha256": "c0ffee" + 58 * "0",
    "weights": {"path": "mobilenet.h5", "sha256": "abcdef0123456789" + 48 * "f", "note": ""},
    "precision": {"name": "bfloat16", "milliseconds": None},
    "versions": {"tlkeras": "0.7", "keras": "3.15.1"},
    "epochs": [asdict(EpochLog(1, epoch, 1.0, 0.5, 0.5, None, None, kept=epoch == 2)) for epoch in (1, 2, 3)],
}
LABELS = [0, 0, 0, 1, 1, 2, 2, 2, 2, 2]
PREDICTED = [0, 0, 1, 1, 0, 2, 2, 2, 2, 1]


def predictions_of(labels, predicted):
    return answers(labels, np.eye(3)[predicted], classes=NAMES)


def lines_of(card, title):
    """{first cell: the others} of the pipe table whose first column has a title."""
    page = page_as_markdown(card, ".")
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in page.splitlines() if line[:1] == "|"]
    (start,) = [number for number, row in enumerate(rows) if row[0] == title]
    below = rows[start + 2 :]
    stop = next((number for number, row in enumerate(below, start + 2) if set(row[0]) == {"-"}), len(rows) + 1)
    return {row[0]: row[1:] for row in rows[start + 2 : stop - 1]}


@pytest.mark.parametrize(
    ("tested", "said"),
    [
        (predictions_of(LABELS, PREDICTED), r"received Predictions; accepted is \{part: predictions\}"),
        ({"test": "predictions.csv"}, "received dict; accepted"),
        ({"test": answers([0, 1], np.eye(2), classes=("bkl", "nv"))}, r"'test' has the classes \['bkl', 'nv'\]"),
    ],
)
def test_what_a_card_cannot_show_is_refused(tested, said):
    with pytest.raises(InputError, match=f"tested: {said}"):
        check_tested(tested, NAMES)
    assert check_tested(None, NAMES) is None


def test_it_says_first_that_it_is_not_for_diagnosis():
    title, said, *_ = model_card(FACTS, name="toy")
    assert title == Heading("Model card: toy", level=1)
    assert said == Text(NOT_FOR_DIAGNOSIS)
    assert said.text.startswith("**Not for diagnosis.**")


def test_the_sections_are_those_of_a_model_card():
    headings = [block.text for block in model_card(FACTS, name="toy") if isinstance(block, Heading)]
    assert headings[1:] == ["Intended use", "The model", "Data", "How well it does", "Limits"]


def test_the_model_is_told_by_what_goes_in_what_comes_out_and_its_hashes():
    model = lines_of(model_card(FACTS, name="toy"), "the model")
    assert model["input"] == ["images of 150x224 pixels, RGB, 0 to 255; the preprocessing is inside"]
    assert model["output"] == ["one probability for each of bkl, mel, nv"]
    assert model["weights at the start"] == ["mobilenet.h5, sha256 abcdef0123456789"]
    assert model["epochs trained"] == ["3"]
    assert model["weights kept"] == ["phase 1, epoch 2 of 3"]
    assert model["precision"] == ["bfloat16"]
    assert model["made with"] == ["tlkeras 0.7, keras 3.15.1"]
    assert model["sha256 of model.keras"] == [FACTS["sha256"]]


def test_random_weights_and_an_earlier_version_are_told_too():
    facts = {name: value for name, value in FACTS.items() if name != "precision"} | {"weights": None}
    model = lines_of(model_card(facts, name="toy"), "the model")
    assert (model["weights at the start"], model["precision"]) == (["random"], ["float32"])


def test_every_class_has_its_figures_its_interval_and_its_images():
    predictions = predictions_of(LABELS, PREDICTED)
    card = model_card(FACTS, name="toy", tested={"test": predictions})
    expected = precision_recall_fscore_support(LABELS, PREDICTED)
    assert expected[0].tolist() == pytest.approx([2 / 3, 1 / 3, 1])  # all are told apart
    shown = lines_of(card, "class, on test")
    assert list(shown) == list(NAMES)
    for name, *figures, support in zip(NAMES, *expected, strict=True):
        assert [float(cell.split(" [")[0]) for cell in shown[name][:3]] == pytest.approx(figures, abs=5e-4)
        assert shown[name][3] == str(support)
    page = page_as_markdown(card, ".")
    assert re.search(
        r"Accuracy on test \(10 images in 10 groups\): 0\.700 \[0\.\d{3}, (0\.\d{3}|1\.000)\]; balanced", page
    )
    assert "Always answering nv would give an accuracy of 0.500." in page  # five of ten
    assert "95 % interval over groups: patients or lesions" in page_as_markdown(card, ".")


def test_a_class_absent_from_the_part_is_not_defined_and_has_no_images():
    # No mel is there, and one nv is called so: of what is called mel none is right.
    shown = lines_of(
        model_card(FACTS, name="toy", tested={"test": predictions_of([0, 0, 2, 2, 2], [0, 0, 2, 2, 1])}),
        "class, on test",
    )
    precision, recall, f1, images, groups = shown["mel"]
    assert precision.startswith("0.000")
    assert (recall, f1, images, groups) == ("not defined", "not defined", "0", "0")
    # Nothing is called mel: then it has no precision either.
    shown = lines_of(
        model_card(FACTS, name="toy", tested={"test": predictions_of([0, 0, 2], [0, 0, 2])}), "class, on test"
    )
    assert shown["mel"] == ["not defined", "not defined", "not defined", "0", "0"]
    assert shown["bkl"][0].startswith("1.000")


def test_every_part_has_its_own_table():
    parts = {"near": predictions_of(LABELS, PREDICTED), "far": predictions_of(LABELS, LABELS)}
    card = model_card(FACTS, name="toy", tested=parts)
    assert lines_of(card, "class, on near")["mel"][1].startswith("0.500")
    assert lines_of(card, "class, on far")["mel"][1].startswith("1.000")


def test_what_fit_saw_is_told_unless_more_is_known():
    facts = FACTS | {"images": {"train": {"bkl": 1200, "mel": 30, "nv": 5}, "val": {"bkl": 3, "mel": 2, "nv": 1}}}
    page = page_as_markdown(model_card(facts, name="toy"), ".")
    assert "It learnt from 1,235 images: 1,200 bkl, 30 mel, 5 nv." in page
    assert "It was validated on 6 images: 3 bkl, 2 mel, 1 nv." in page
    assert "Not known" not in page
    assert "1,235" not in page_as_markdown(model_card(facts, name="toy", data=[Text("Ten moles.")]), ".")
    page = page_as_markdown(model_card(FACTS | {"images": {"train": {"bkl": 2}}}, name="toy"), ".")
    assert ("It learnt from 2 images: 2 bkl." in page, "validated" in page) == (True, False)


def test_what_is_not_known_is_said():
    page = page_as_markdown(model_card(FACTS, name="toy"), ".")
    assert "Not known: the model was saved without saying what it learnt from." in page
    assert "Not measured: the model was saved without predictions" in page
    page = page_as_markdown(model_card(FACTS, name="toy", data=[Text("Ten moles.")]), ".")
    assert "Ten moles." in page
    assert "Not known" not in page


def test_limits_of_its_own_come_before_those_of_all():
    *_, last = model_card(FACTS, name="toy", limits=["test is of one hospital"])
    assert last == Bullets(("test is of one hospital", *LIMITS))


@pytest.mark.parametrize(
    ("epochs", "kept", "said"),
    [
        ((3,), (1, 2), "phase 1, epoch 2 of 3"),
        ((3, 2), (2, 2), "phase 2, epoch 2 of 2"),
        ((3, 2), (1, 3), "phase 1, epoch 3 of 3; no epoch of phase 2 was better"),
        ((3, 1, 1), (1, 1), "phase 1, epoch 1 of 3; no epoch of phases 2 and 3 was better"),
        ((2,), None, ""),
        ((), None, ""),
    ],
)
def test_the_epoch_whose_weights_are_kept_is_said_with_the_phases_that_were_no_better(epochs, kept, said):
    moments = [(phase, epoch) for phase, n in enumerate(epochs, start=1) for epoch in range(1, n + 1)]
    logs = [EpochLog(*moment, 1.0, 0.5, 0.5, None, None, kept=moment == kept) for moment in moments]
    assert kept_in_words(logs) == said
