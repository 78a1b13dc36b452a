import numpy as np
import pytest

from tlkeras.data.class_names import as_groups, check_class_names, is_empty, label_numbers, part_name, part_names
from tlkeras.errors import InputError


def test_numbers_follow_the_order_of_names_and_of_numbers():
    labels, names = label_numbers(["b", "a", "b"], None, "x")
    assert (labels.tolist(), labels.dtype, names) == ([1, 0, 1], np.int64, ("a", "b"))
    assert label_numbers(["10", "9", "-1"], None, "x")[1] == ("-1", "9", "10")
    assert label_numbers(["9" * 5000, "1"], None, "x")[1] == ("1", "9" * 5000)  # too long for int()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a"], "two or more"),
        ([], "two or more"),
        (["a", "A"], "'a' and 'A' differ only in case"),
        (["a", "a "], "'a' and 'a ' differ only in case, spaces"),
        (["nv", "nv\u200b"], r"'nv' and 'nv\\u200b' differ only in .*characters that do not show"),
        (["1", "1.0", "01", "2"], "'1' and '1.0' and '01' differ only in .*leading zeros"),
        (["a", "\u200b"], r"a class is called '\\u200b'. Give it a name"),
        (["stra\u00dfe", "STRASSE"], "differ only in case"),
        (["caf\u00e9", "cafe\u0301"], r"'caf\\xe9' and 'cafe\\u0301' differ only in .*how an accent"),
        (["\uff4e\uff56", "nv"], r"'\\uff4e\\uff56' and 'nv' differ only in .*a wide letter"),
        (["a", ""], "a class is called ''. Give it a name"),
        (["a", "\udcff"], r"'\\udcff' is not UTF-8. Rename"),
    ],
)
def test_classes_that_are_none_or_only_look_different(names, said):
    with pytest.raises(InputError, match=f"table: .*{said}"):
        check_class_names(names, "table")


def test_emoji_and_other_scripts_are_names():
    names = ["🫁", "肺炎", "Ñandú", "a\nb"]
    check_class_names(names, "table")
    labels, ordered = label_numbers(names, None, "table")
    assert ordered == ("a\nb", "Ñandú", "肺炎", "🫁")  # by code point
    assert [ordered[label] for label in labels] == names


def test_labels_in_two_spellings_are_refused_or_joined_under_the_commonest():
    names = ["nv", "NV", "mel", "nv\u200b", "nv"]
    with pytest.raises(InputError, match=r"x: classes 'nv' and 'NV' and 'nv\\u200b' .* normalise=\"join\""):
        label_numbers(names, None, "x")
    labels, class_names = label_numbers(names, None, "x", "join")
    assert (labels.tolist(), class_names) == ([1, 1, 0, 1, 1], ("mel", "nv"))


def test_labels_in_another_spelling_than_the_class_names():
    with pytest.raises(InputError, match=r"1\.0 are not among class_names \['0', '1'\]\. '1\.0' and '1' differ only"):
        label_numbers(["0", "1.0"], ("0", "1"), "x")
    assert label_numbers(["0", "1.0"], ("0", "1"), "x", "join")[0].tolist() == [0, 1]
    with pytest.raises(InputError, match=r"2 are not among class_names \['0', '1'\]\.$"):
        label_numbers(["0", "2"], ("0", "1"), "x", "join")


def test_decimals_that_are_whole_come_in_the_order_of_their_values():
    assert label_numbers(["10.0", "9.0", "0.0"], None, "x")[1] == ("0.0", "9.0", "10.0")


@pytest.mark.parametrize("value", [None, float("nan"), np.nan, "", "  ", "\u200b", "NaN", "<NA>", np.datetime64("NaT")])
def test_what_says_nothing(value):
    assert is_empty(value)
    with pytest.raises(InputError, match="no group for images 1"):
        as_groups(["a", value])


@pytest.mark.parametrize("value", [0, False, "0", "None", "NA", "nana"])
def test_what_says_something(value):
    assert not is_empty(value)


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("train", ["train", "Train", "TRAINING", "train ", "training set", "train_set"]),
        ("val", ["val", "val ", "valid", "Validation", "dev", "development", "val-set", "val\u200b"]),
        ("test", ["test", "Testing", "TEST", "test_set"]),
        ("test12", ["test12", "Test12"]),
    ],
)
def test_part_names_and_their_synonyms(part, names):
    assert {part_name(name) for name in names} == {part}


def test_other_names_of_parts_stay_as_they_are():
    names = ["test_a", "exclude", "eval", "train2", "my val", "North"]
    assert [part_name(name) for name in names] == names == part_names(names, "x")


def test_one_part_in_two_words_is_refused_or_joined():
    with pytest.raises(InputError, match=r"x: parts 'val' and 'dev' mean the same part\. .*normalise=\"join\""):
        part_names(["train", "val", "dev", "test"], "x")
    with pytest.raises(InputError, match="'North' and 'north ' mean the same part"):
        part_names(["train", "North", "north "], "x")
    assert part_names(["train", "val", "dev", "North", "north "], "x", "join") == [
        "train",
        "val",
        "val",
        "North",
        "North",
    ]


def test_groups_in_two_spellings_are_refused_or_joined():
    with pytest.raises(InputError, match="groups: the names 'P1' and 'P1 ' differ only"):
        as_groups(["P1", "P1 ", "P2"])
    assert as_groups([1, "1.0", "01", 2], "join") == ["1", "1", "1", "2"]
    with pytest.raises(InputError, match="normalise: received 'yes'; accepted are 'join'"):
        as_groups(["P1"], "yes")
