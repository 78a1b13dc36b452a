import json

import pandas as pd
import pytest

from tlkeras.data.grouping import Grouping


def grouping(*rows):
    """Of rows (group, side, class, own part, sample id), of which the last three may be left out."""
    columns = ["group", "side", "class_name", "own_part", "sample_id"]
    filled = [(*row, *("", "", "x.jpg")[len(row) - 2 :]) for row in rows]
    return Grouping.of(pd.DataFrame(filled, columns=columns, dtype=object))


def test_without_groups_there_is_nothing_to_say():
    for found in (grouping(("", "train"), ("", "test")), Grouping()):
        assert (found, found.findings()) == (Grouping(), [])


def test_groups_that_are_all_of_one_image_are_told():
    rows = [(f"case {n}", "train" if n % 2 else "test") for n in range(20)]
    found = grouping(*rows)
    assert (found.groups, found.of_one) == (20, 20)
    assert found.findings()[0].startswith("20 of 20 groups hold a single image, ")
    assert grouping(*rows, ("case 3", "train")).findings()[0].startswith("19 of 20 groups hold a single image, ")
    assert grouping(*rows, ("case 3", "train"), ("case 5", "train")).findings() == []  # 18 of 20
    assert grouping(*rows[:9]).findings() == []  # few groups say little


def of_folders(*paths, group_of):
    """Of images "part/class/case_number.jpg" whose side is their own part."""
    rows = []
    for path in paths:
        part, class_name, _ = path.split("/")
        rows.append((group_of(path), part, class_name, {"Training": "train"}.get(part, part), path))
    return grouping(*rows)


PATHS = [
    f"{part}/{kind}/case{case}_{n}.jpg"
    for part in ("Training", "test")
    for kind in ("polyp", "normal")
    for case in (1, 2)
    for n in (1, 2)
]


@pytest.mark.parametrize(
    ("group_of", "said"),
    [
        (lambda path: path.split("_")[0], "'Training/polyp/case1' does 'Training'"),  # the README's example, once
        (lambda path: path.split("/", 1)[1].split("_")[0], "'polyp/case1' does 'polyp'"),
        (lambda path: "-".join(path.split("_")[0].split("/")[1:]), "'polyp-case1' does 'polyp'"),
        (lambda path: f"train {path[-7]}" if path.startswith("T") else f"test {path[-7]}", "'train 1' does 'train'"),
    ],
)
def test_folders_in_the_names_of_groups_are_told(group_of, said):
    (finding,) = of_folders(*PATHS, group_of=group_of).findings()
    assert f"Every group's name holds that of its part or class, as {said}: a patient" in finding


def test_groups_that_each_lie_within_one_part_or_class_are_told():
    numbers = {name: str(number) for number, name in enumerate(sorted({path.split("_")[0] for path in PATHS}))}
    found = of_folders(*PATHS, group_of=lambda path: numbers[path.split("_")[0]])
    assert (found.within, found.named_after) == (("class", "part"), {})
    assert "lies within one class and one of the set's own parts: right where" in found.findings()[0]
    by_part = of_folders(*PATHS, group_of=lambda path: path[0] + path[-7])
    assert by_part.within == ("part",)
    assert of_folders(*PATHS, group_of=lambda path: path[-7]).findings() == []


def test_folders_of_patients_and_prefixes_of_classes_are_no_sign():
    rows = [(f"p{case}", "train", kind, "train", f"p{case}/{kind}.jpg") for case in (1, 2) for kind in ("a", "b")]
    assert grouping(*rows).findings() == []
    x_rays = [("NORMAL2-IM-1", "train", "NORMAL"), ("NORMAL2-IM-1", "train", "x"), ("person1_virus", "train", "VIRAL")]
    assert grouping(*x_rays).named_after == {}


def test_groups_in_two_spellings_are_told_with_those_on_two_sides_first():
    found = grouping(("a", "train"), ("A", "train"), ("P1", "train"), ("p1 ", "test"), ("b", "test"), ("b", "test"))
    assert (found.groups, found.alike, found.alike_crossing) == (5, 2, 1)
    assert found.spellings == (("P1", "p1 "), ("a", "A"))
    assert found.findings()[0].startswith(
        "2 groups are written in two ways and counted as two, 1 of them on two sides: 'P1' and 'p1 '; 'a' and 'A' "
    )


def test_json_brings_it_back():
    for found in (
        Grouping(),
        grouping(("P1", "train"), ("p1 ", "test")),
        of_folders(*PATHS, group_of=lambda path: path.split("_")[0]),
    ):
        assert Grouping.from_json(json.loads(json.dumps(found.as_json()))) == found
