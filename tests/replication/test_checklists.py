import dataclasses
import re

import pytest
from cells import CLASSES, KEY, TOY, answers, finished, write_cell

import tlkeras as tl
from tlkeras.replication.checklist_answers import TOPICS, known_answers
from tlkeras.replication.checklist_items import CHECKLISTS
from tlkeras.replication.checklists import fill_checklist
from tlkeras.replication.publishing import publish
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.scoring import score_cells

PROBS = [0.1, 0.9, 0.2, 0.8]
IMAGES = {
    "train": {"NORMAL": 3, "PNEUMONIA": 9},
    "val": {"NORMAL": 1, "PNEUMONIA": 3},
    "test": {"NORMAL": 2, "PNEUMONIA": 2},
}


FEWER = {"train": {"NORMAL": 1, "PNEUMONIA": 1}} | {part: IMAGES[part] for part in ("val", "test")}


@pytest.fixture
def run(tmp_path):
    test = answers([0, 1, 1, 1], PROBS, groups=["a", "a", "b", "c"])
    facts = {"images": IMAGES, "parameters": 14_000_000}
    cells, folder = {KEY: write_cell(tmp_path, KEY, {"test": test}, facts=facts)}, RunFolder(tmp_path)
    predicted = {KEY: {"test": test}}
    scores = score_cells(TOY.under("corrected"), folder, cells, predicted)
    return dataclasses.replace(finished(cells, folder=folder, predicted=predicted), scores=scores)


def items_of(text):
    """{number: what stands below its heading, without what marks the place for words}."""
    text = re.sub(r"^(## |<!-- (yours|end|all)).*$", "", text, flags=re.M)
    found = re.split(r"^### (\w+)\. .*$", text, flags=re.M)
    return {number: body.strip() for number, body in zip(found[1::2], found[2::2], strict=True)}


def with_words(file, number, words):
    text = file.read_text(encoding="utf-8")
    mark = f"<!-- yours, item {number} -->\n"
    assert text.count(mark) == 1
    file.write_text(text.replace(mark, f"{mark}{words}"), encoding="utf-8")


def test_the_lists_have_the_items_that_were_published():
    claim, tripod = (CHECKLISTS[name].items for name in ("claim_2024", "tripod_ai"))
    assert [item.number for item in claim] == [str(number) for number in range(1, 45)]
    letters = {
        3: "abc",
        5: "ab",
        6: "abc",
        8: "abc",
        9: "abc",
        12: "abcdefg",
        18: "abcdef",
        20: "abc",
        23: "ab",
        27: "abc",
    }
    assert [item.number for item in tripod] == [f"{n}{x}" for n in range(1, 28) for x in letters.get(n, [""])]
    topics = {topic for checklist in CHECKLISTS.values() for item in checklist.items for topic in item.topics}
    assert topics == set(TOPICS)


def test_the_run_says_what_it_knows(run):
    said = known_answers(run)
    assert said["classes"] == (
        f"For every image one of 2 classes: {', '.join(CLASSES)}.",
        "PNEUMONIA is what is looked for.",
    )
    assert said["selection"] == ("20 images in all parts together.",)
    assert said["counts"][0] == "train: 12 images: NORMAL 3 (25.0%), PNEUMONIA 9 (75.0%)."
    assert "test: 4 images in 3 groups." in said["test_counts"]
    assert said["failures"][0] == f"test, {KEY}: 1 of PNEUMONIA (33% of them) taken for NORMAL."
    assert "accuracy 75.0" in said["performance"][0]
    assert any("14,000,000 parameters" in sentence for sentence in said["model"])
    assert "shift" not in said  # nobody has looked
    assert "fairness" not in said


def test_an_item_is_answered_or_left_open_and_the_counts_say_how_many(run):
    filled = fill_checklist(run, "claim_2024")
    items = items_of(filled.file.read_text(encoding="utf-8"))
    assert filled.items == len(items) == 44
    assert filled.from_run == sum(body.startswith("From the run:") for body in items.values())
    assert filled.open == sum(not body for body in items.values()) == 44 - filled.from_run
    assert "- 20 images in all parts together." in items["8"]
    assert items["44"] == ""


# What people write: lists, code with comments, headings of their own, an item's heading, indented code.
WORDS = (
    "Nobody paid.\n\n- not **one** <coin>",
    "```sh\n# install\npip install x\n```",
    "first\n\n## Details\n\n### 12. Patients\n\nYours: twice",
    "    indented\n\n\nand a page break\x0chere\u2028and there",
)


@pytest.mark.parametrize("words", WORDS)
def test_what_is_written_between_the_marks_is_kept_and_what_the_run_says_is_made_anew(run, words):
    file = fill_checklist(run, "claim_2024").file
    with_words(file, "5", f"{words}\n")
    before = file.read_text(encoding="utf-8")
    more = dataclasses.replace(
        run, cells={KEY: run.cells[KEY] | {"facts": run.cells[KEY]["facts"] | {"images": FEWER}}}
    )
    filled = fill_checklist(more, "claim_2024")
    after = file.read_text(encoding="utf-8")
    assert f"<!-- yours, item 5 -->\n{words}\n<!-- end of item 5 -->" in after
    assert "20 images in all parts" in before
    assert "20 images in all parts" not in after
    assert filled.open == 44 - filled.from_run - 1
    fill_checklist(more, "claim_2024")
    assert file.read_text(encoding="utf-8") == after


def test_line_ends_of_another_system_and_a_mark_at_the_beginning_lose_nothing(run):
    file = fill_checklist(run, "claim_2024").file
    with_words(file, "44", "Nobody paid.\n")
    fill_checklist(run, "claim_2024")
    expected = file.read_text(encoding="utf-8")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    fill_checklist(run, "claim_2024")
    assert file.read_text(encoding="utf-8") == expected


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text.replace("<!-- end of item 27c -->\n", ""), "item 27c"),
        (lambda text: text.replace("### 27c.", "my words\n\n### 27c."), "beside the words"),
        (lambda text: text.replace("### 5b. ", "### 5b) "), "beside the words"),
        (lambda text: text + "an afterthought\n", "beside the words"),
        (lambda text: text.replace("<!-- end of item 19 -->", "a\n<!-- end of item 19 -->\nb"), "beside the words"),
    ],
)
def test_words_that_would_be_lost_are_refused(run, spoil, said):
    file = fill_checklist(run, "tripod_ai").file
    spoilt = spoil(file.read_text(encoding="utf-8"))
    file.write_text(spoilt, encoding="utf-8")
    with pytest.raises(tl.InputError, match=said):
        fill_checklist(run, "tripod_ai")
    assert file.read_text(encoding="utf-8") == spoilt


def test_a_file_that_is_no_text_is_refused(run):
    file = run.folder.root / "tripod_ai.md"
    file.write_bytes(b"\xff\xfe Yours")
    with pytest.raises(tl.InputError, match=r"tripod_ai\.md cannot be read"):
        fill_checklist(run, "tripod_ai")
    assert file.read_bytes() == b"\xff\xfe Yours"


def test_networks_from_random_weights_were_not_trained_before(run):
    assert known_answers(run)["method"] == ("Deep learning, from random weights: vgg16.",)
    facts = run.cells[KEY]["facts"] | {"weights": {"path": "w.h5", "note": ""}, "parameters": 7}
    carried = CellKey("fine_tuned", "vgg16", 0)
    both = dataclasses.replace(run, cells=run.cells | {carried: run.cells[KEY] | {"facts": facts}})
    assert known_answers(both)["method"] == (
        "Deep learning, from networks trained before: vgg16.",
        "Deep learning, from random weights: vgg16.",
    )
    assert "14,000,000 or 7 parameters" in known_answers(both)["model"][0]


def test_a_checklist_is_not_published_over_one_that_was_filled_in(run, tmp_path):
    fill_checklist(run, "claim_2024")
    (run.folder.root / "table.md").write_text("a table", encoding="utf-8")
    published = publish(run.folder.root, tmp_path / "published")
    assert [file.name for file in published.glob("*.md")] == ["table.md"]
