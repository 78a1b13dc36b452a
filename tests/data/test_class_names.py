import numpy as np
import pytest

from tlkeras.data.class_names import as_groups, check_class_names, is_empty, label_numbers, part_name
from tlkeras.schema import InputError


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
        (["a", "a "], "differ only in case or spaces"),
        (["stra\u00dfe", "STRASSE"], "differ only in case"),
        (["caf\u00e9", "cafe\u0301"], "how an accent is stored"),
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


@pytest.mark.parametrize("value", [None, float("nan"), np.nan, "", "  ", "NaN", "<NA>", np.datetime64("NaT")])
def test_what_says_nothing(value):
    assert is_empty(value)
    with pytest.raises(InputError, match="no group for images 1"):
        as_groups(["a", value])


@pytest.mark.parametrize("value", [0, False, "0", "None", "NA", "nana"])
def test_what_says_something(value):
    assert not is_empty(value)


def test_part_names():
    names = ("Train", "VALIDATION", "valid", "test12", "test_a", "Testing", "test٣")
    assert [part_name(name) for name in names] == ["train", "val", "val", "test12", "test_a", "Testing", "test٣"]
