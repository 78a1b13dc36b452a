import time

import numpy as np
import pytest

from tlkeras.data.names import (
    as_groups,
    check_class_names,
    in_one_spelling,
    is_empty,
    label_numbers,
    matching,
    normal_form,
    part_name,
    part_names,
    spelled_alike,
    told_alike,
)
from tlkeras.errors import InputError


@pytest.mark.parametrize(
    "spellings",
    [
        ["P1", "p1", "P1 ", " P1", "P01", "P001", "\uff301", "P\u200b1", "P1\ufeff", "P1\u00a0", "\u202aP1\u202c"],
        ["1", "001", "1.0", "1.", "+1", "1.00", "\u0661", "\uff11"],
        ["-1", "\u22121", "-01", "-1.0"],
        ["0", "000", "0.0"],
        ["0.5", "0.50", "00.5"],
        ["nv", "NV", "nv\u200b", "n\u00adv", "nv\ufe0f", "nv\u2800"],
        ["caf\u00e9", "cafe\u0301", "CAF\u00c9"],
        ["stra\u00dfe", "STRASSE"],
        ["case 7", "case  7", "case\t7", "Case 07", "case\u30007"],
        ["A-7", "A\u20137", "A\u20117", "a-07"],
    ],
)
def test_spellings_of_one_name(spellings):
    assert len({normal_form(name) for name in spellings}) == 1
    assert spelled_alike(spellings) == [tuple(spellings)]


@pytest.mark.parametrize(
    "names",
    [
        ["1", "10", "100", "-1", "0.1", "0.01", "11"],
        ["0.05", "0.5", "0.005", "0,05", "0,5"],
        ["1.2", "1.02", "12", "1.12"],
        ["IM-0115", "NORMAL2-IM-0115", "person1_virus", "person1_bacteria", "person10_virus"],
        [f"HAM_{number:07d}" for number in range(0, 3000, 7)],
        ["a1", "a 1", "a_1", "a-1", "1a"],
        ["\u80ba\u708e", "\u80ba", "\U0001fac1", "a\u0300", "a\u0301", "a"],
        ["1.2.840.113619.2.5", "1.2.840.113619.2.50", "1.2.840.113619.25"],
        ["00ff", "0ff0", "ff00", "0f0f"],
        ["\udcff", "\udcfe"],
    ],
)
def test_names_that_are_different(names):
    assert spelled_alike(names) == []


def test_a_hundred_thousand_names_take_less_than_a_second():
    names = [f"Patient {number:06d}" for number in range(50_000)] + [f"\u60a3\u8005{n:06d}" for n in range(50_000)]
    start = time.process_time()
    assert in_one_spelling(names, "x", "groups", None) == names
    assert time.process_time() - start < 1


def test_the_commonest_spelling_stands_for_all_and_of_equally_common_ones_the_first():
    assert in_one_spelling(["p1", "P1", "P1", "q"], "x", "groups", "join") == ["P1", "P1", "P1", "q"]
    assert in_one_spelling(["1.0", "01", "2"], "x", "groups", "join") == ["1.0", "1.0", "2"]
    assert in_one_spelling([], "x", "groups", "join") == []


def test_names_in_two_spellings_are_refused_with_both_and_what_to_do():
    with pytest.raises(InputError, match=r"^table: groups 'P1' and 'p1 ' differ only in case, .* normalise=\"join\""):
        in_one_spelling(["P1", "P2", "p1 "], "table", "groups", None)
    names = [spelling for n in range(5) for spelling in (f"p{n}", f"P{n}")]
    with pytest.raises(InputError, match="'p0' and 'P0'; 'p1' and 'P1'; 'p2' and 'P2'; and 2 more differ"):
        in_one_spelling(names, "table", "groups", None)


@pytest.mark.parametrize("normalise", ["keep", True, "", 1])
def test_another_word_is_refused_even_where_nothing_is_to_be_joined(normalise):
    with pytest.raises(InputError, match=f"normalise: received {normalise!r}; accepted are 'join'"):
        in_one_spelling(["a", "b"], "table", "groups", normalise)


def test_spellings_are_told_so_that_a_reader_sees_them_differ():
    assert told_alike([("a", "a ")]) == "'a' and 'a '"
    assert told_alike([("\u80ba", "\u80ba\u200b")]) == "'\u80ba' and '\u80ba\\u200b'"
    assert told_alike([("\uff301", "P1")]) == r"'\uff301' and 'P1'"
    assert told_alike([("caf\u00e9", "cafe\u0301")]) == r"'caf\xe9' and 'cafe\u0301'"


def test_matching_leaves_the_name_itself_out():
    assert matching("NV", ["nv", "NV", "mel", " nv"]) == ["nv", " nv"]


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
