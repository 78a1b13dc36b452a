import pytest
from cells import CLASSES, KEY, answers, finished

import tlkeras as tl
from tlkeras.evaluation.blocks import Table, Text
from tlkeras.replication.answer_sections import of_groups

LABELS, PROBS = [0, 0, 0, 1, 1, 1, 1], [0.1, 0.6, 0.2, 0.9, 0.4, 0.8, 0.3]


def section(groups, labels=LABELS):
    test = answers(labels, PROBS, groups=groups)
    return test, of_groups(
        finished({KEY: {"facts": {"images": {"train": dict.fromkeys(CLASSES, 9)}}}}, predicted={KEY: {"test": test}}),
        "test",
    )


def test_where_groups_hold_several_images_the_answers_for_each_are_scored():
    test, (_, table, text) = section(["a", "a", "b", "c", "c", "d", ""])
    assert isinstance(table, Table)
    row = table.frame.loc[("frozen", "vgg16")]
    assert row["groups"] == "5"
    pooled = tl.intervals(tl.pool_groups(test), positive_class="PNEUMONIA", metrics=["accuracy"]).loc["accuracy"]
    assert row["accuracy of groups, %"].startswith("80.0 [")  # a 0.35, b 0.2, c 0.65, d 0.8 and, wrong, 0.3
    assert pooled["value"] == pytest.approx(0.8)
    assert "pool_groups" in text.text


@pytest.mark.parametrize("groups", [None, [*"abcdefg"]])
def test_where_each_image_is_a_group_there_is_no_such_section(groups):
    assert section(groups)[1] == []


def test_groups_of_several_classes_say_why_they_have_no_answer():
    _, (_, text) = section(["a", "a", "b", "b", "c", "d", "e"])
    assert isinstance(text, Text)
    assert "group 'b' has images of NORMAL and PNEUMONIA" in text.text
