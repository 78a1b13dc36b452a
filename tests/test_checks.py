"""What a value may be: each constraint with what it takes, keeps and refuses."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from tlkeras import checks
from tlkeras.checks import check_whole
from tlkeras.errors import InputError


@pytest.mark.parametrize("value", [3, np.int32(3), np.uint8(3)])
def test_an_integer_is_pythons_or_numpys_and_comes_out_as_pythons(value):
    assert type(check_whole("n", value, 1)) is int
    assert check_whole("n", value, 0, 3) == 3


@pytest.mark.parametrize("value", [1.5, 2.0, np.float64(2), True, np.True_, "2", None, np.array(2), np.array([2])])
def test_what_is_no_integer_is_refused_and_never_cast(value):
    with pytest.raises(InputError) as refusal:
        check_whole("epochs", value, 1, also=", or None")
    assert str(refusal.value) == f"epochs: received {value!r}; accepted is an integer of at least 1, or None."


def test_an_integer_out_of_range_is_refused_with_the_range():
    with pytest.raises(InputError, match=r"n: received 0; accepted is an integer of at least 1\."):
        check_whole("n", 0, 1)
    with pytest.raises(InputError, match=r"n: received 4; accepted is an integer in 0\.\.3\."):
        check_whole("n", 4, 0, 3)
    assert check_whole("seed", -7) == -7


@pytest.mark.parametrize("given", [0.25, np.float32(0.25), np.float64(0.25)])
def test_numbers_are_pythons_or_numpys_and_come_back_as_pythons(given):
    number = checks.real(above=0).check("rate", given)
    assert (number, type(number)) == (0.25, float)
    assert type(checks.real(above=0).check("rate", np.int64(3))) is int


@pytest.mark.parametrize("given", [True, np.bool_(True), "0.5", None, float("nan"), np.inf, 0.0, [0.5]])
def test_what_is_no_number_or_out_of_range_is_refused(given):
    with pytest.raises(InputError, match=r"rate: received .*; accepted is a number above 0\."):
        checks.real(above=0).check("rate", given)


@pytest.mark.parametrize(
    ("constraint", "words", "taken", "refused"),
    [
        (checks.real(least=0, below=1), "is a number in [0, 1)", (0, 0.5), (-0.5, 1)),
        (checks.real(above=0, most=1), "is a number in (0, 1]", (0.5, 1), (0, 1.5)),
        (checks.real(least=0, most=360), "is a number in [0, 360]", (0, 360), (-1, 361)),
        (checks.real(least=1), "is a number of at least 1", (1, 1e9), (0.5,)),
        (checks.whole(2).also(" (folds)"), "is an integer of at least 2 (folds)", (2,), (1, 2.0)),
        (checks.one_of("adam", None), ": 'adam', None", ("adam", None), ("sgd", "", 0, ["adam"])),
        (checks.flag(), "is True or False", (True, False), (0, 1, None, "yes")),
        (checks.instance_of(str, "a name"), "is a name", ("a",), (1, None)),
        (checks.mapping(), "is a dict", ({}, {"a": 1}), ([("a", 1)], None)),
        (checks.or_none(checks.whole(1)), "is an integer of at least 1, or None", (1, None), (0, "")),
        (
            checks.either(checks.one_of("all"), checks.several(checks.whole(0), "numbers of layers")),
            ": 'all', or numbers of layers",
            ("all", (0, 1)),
            ((), (0, -1), ("all",), "none"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_constraint_takes_what_its_words_say(constraint, words, taken, refused):
    for value in taken:
        assert constraint.check("name", value) == value
    for value in refused:
        with pytest.raises(InputError) as refusal:
            constraint.check("name", value)
        said = f"accepted{words}" if words.startswith(":") else f"accepted {words}"
        assert str(refusal.value) == f"name: received {value!r}; {said}."


def test_what_is_kept_is_pythons_own():
    several = checks.several(checks.real(least=0), "numbers", least=0)
    kept = several.check("name", [np.float32(0.5), np.int64(2)])
    assert (kept, [type(value) for value in kept]) == ((0.5, 2), [float, int])
    assert several.check("name", ()) == ()
    assert type(checks.flag().check("name", np.True_)) is bool
    given = {"n_neighbors": np.int64(5)}
    copied = checks.mapping().check("arguments", given)
    assert type(copied["n_neighbors"]) is int
    assert copied is not given


@dataclasses.dataclass(frozen=True)
class Bounded:
    n: object
    share: object = 0.5

    accepts: ClassVar = {"n": checks.whole(1), "share": checks.real(above=0, below=1)}

    def __post_init__(self):
        checks.check_fields(self, self.accepts, " of a test")


def test_the_fields_of_a_dataclass_are_checked_and_kept_as_pythons():
    kept = Bounded(np.int16(3), np.float32(0.25))
    assert (type(kept.n), type(kept.share)) == (int, float)
    assert kept == Bounded(3, 0.25)
    with pytest.raises(InputError, match=r"^Bounded\.share of a test: received 2; accepted is a number in \(0, 1\)\.$"):
        Bounded(1, 2)
