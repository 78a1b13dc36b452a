"""Names of groups, classes, parts and files, compared as a reader takes them and not as they happen to be written.

`P1` and `p1 `, `001`, `1` and `1.0`, a full-width and a narrow letter: as text they are different, and one patient is
then two. What looks the same is refused with both spellings, or joined on request, and never taken for two in silence.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from tlkeras.errors import InputError

JOIN = "join"
WRITTEN_TWICE = (
    "differ only in case, spaces, leading zeros, characters that do not show, or in how an accent or a wide letter is "
    "stored"
)
_NUMBER = re.compile(r"\+?(-?)0*([0-9]+)(?:\.([0-9]*?)0*)?")
_LEADING_ZEROS = re.compile(r"(?<![0-9])(?<![0-9][.,])0+(?=[0-9])")  # those of .05 are no leading ones
_MINUS = "\N{MINUS SIGN}"
# They show nothing, and Unicode does not count them among the formatting characters.
_BLANK = "\N{COMBINING GRAPHEME JOINER}\N{HANGUL CHOSEONG FILLER}\N{HANGUL JUNGSEONG FILLER}\N{BRAILLE PATTERN BLANK}"


def normal_form(name: str) -> str:
    """What two spellings of one name have in common.

    Unicode's NFKC, then without characters that do not show and spaces around; inner spaces are one, dashes are one,
    case is folded, and numbers count by value: 001, 1 and 1.0 are 1, and P01 is P1.
    """
    plain = name.isascii() and name.isprintable()
    if not plain:
        name = "".join(map(_shown, unicodedata.normalize("NFKC", name)))
    name = " ".join(name.split()).casefold()
    if not plain:
        name = unicodedata.normalize("NFKC", name)
    if number := _NUMBER.fullmatch(name):
        sign, whole, fraction = number.groups()
        return sign + whole + (f".{fraction}" if fraction else "")
    return _LEADING_ZEROS.sub("", name) if "0" in name else name


def spelled_alike(names: Iterable[str], form: Callable[[str], str] = normal_form) -> list[tuple[str, ...]]:
    """The spellings of every name that is written in two ways or more, in the order in which they come."""
    spellings = defaultdict(list)
    for name in dict.fromkeys(names):
        spellings[form(name)].append(name)
    return [tuple(of_one) for of_one in spellings.values() if len(of_one) > 1]


def in_one_spelling(
    names: Sequence[str],
    source: str,
    what: str,
    normalise: str | None,
    form: Callable[[str], str] = normal_form,
    why: str = WRITTEN_TWICE,
) -> list[str]:
    """`names` as they are where each is written in one way; else joined on request.

    Args:
        names: the names.
        source: what they are from, for the message.
        what: what they name, "groups".
        normalise: "join" gives every name its commonest spelling, of equally common ones the first; None refuses.
        form: what two spellings of one name have in common.
        why: what the message says of them.

    Raises:
        InputError: names are written in two ways and are not to be joined; or another `normalise`.
    """
    check_normalise(normalise)
    alike = spelled_alike(names, form)
    if not alike:
        return list(names)
    if normalise is None:
        raise InputError(
            f"{source}: {what} {told_alike(alike)} {why}. Write each name in one way, or read "
            f'them with normalise="{JOIN}", which takes them for one. Where they are two, give them other names '
            "(pandas.factorize numbers them)."
        )
    counts = Counter(names)
    commonest = {name: max(of_one, key=counts.__getitem__) for of_one in alike for name in of_one}
    return [commonest.get(name, name) for name in names]


def check_normalise(normalise: str | None) -> None:
    """Refuses what is neither None nor "join"."""
    if normalise not in (None, JOIN):
        raise InputError(
            f"normalise: received {normalise!r}; accepted are {JOIN!r}, which takes names that {WRITTEN_TWICE} for "
            "one, or None, which refuses them."
        )


def matching(name: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that are `name` in another spelling."""
    form = normal_form(name)
    return [other for other in names if other != name and normal_form(other) == form]


def told_alike(alike: Sequence[Sequence[str]]) -> str:
    """ "'P1' and 'P1 '; '1' and '01'; and 3 more": spellings so that a reader sees them differ."""
    told = []
    for spellings in alike[:3]:
        folded = {unicodedata.normalize("NFKC", repr(name)) for name in spellings}
        write = repr if len(folded) == len(spellings) else ascii
        told.append(" and ".join(map(write, spellings)))
    return "; ".join(told) + (f"; and {len(alike) - 3:,} more" if len(alike) > 3 else "")


@lru_cache(maxsize=4096)
def _shown(character: str) -> str:
    """The character as it is compared: "" where it does not show."""
    category = unicodedata.category(character)
    if character.isspace():
        return " "
    if category in ("Cc", "Cf") or character in _BLANK or "\ufe00" <= character <= "\ufe0f":  # variants of emoji
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return "-" if category == "Pd" or character == _MINUS else character
