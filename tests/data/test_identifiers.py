import time

import pytest

from tlkeras.data.identifiers import in_one_spelling, matching, normal_form, spelled_alike, told_alike
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
