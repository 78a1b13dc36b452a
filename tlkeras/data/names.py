"""Names of groups, classes, parts and files, compared as a reader takes them and not as they happen to be written; and
the numbers of the classes.

`P1` and `p1 `, `001`, `1` and `1.0`, a full-width and a narrow letter: as text they are different, and one patient is
then two. What looks the same is refused with both spellings, or joined on request, and never taken for two in silence.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import lru_cache

import numpy as np

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
_PART = re.compile(r"(?:(train|training)|(val|valid|validation|dev|development)|test|testing)(?:[ _-]?set)?([0-9]*)")


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


def label_numbers(
    names: Sequence[str], class_names: Sequence[str] | None, source: str, normalise: str | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Each sample's class name as a number, int64 (n,), and the class names in the order of the numbers.

    `normalise` as in `in_one_spelling`; with "join", names are also taken for those of `class_names`.
    """
    names = in_one_spelling(names, source, "classes", normalise)
    if class_names is None:
        class_names = sorted(set(names))
        if all(re.fullmatch(r"-?[0-9]{1,18}(\.0*)?", name) for name in class_names):
            class_names.sort(key=Decimal)
    class_names = tuple(str(name) for name in class_names)
    check_class_names(class_names, source)
    label_of = {class_name: label for label, class_name in enumerate(class_names)}
    if normalise is not None:
        meant = {name: matching(name, class_names) for name in set(names) - set(label_of)}
        names = [meant[name][0] if meant.get(name) else name for name in names]
    unknown = sorted(set(names) - set(label_of))
    if unknown:
        near = [(name, other) for name in unknown for other in matching(name, class_names)]
        hint = f' {told_alike(near)} {WRITTEN_TWICE}: normalise="join" takes them for one.' if near else ""
        raise InputError(f"{source}: {few(unknown)} are not among class_names {list(class_names)}.{hint}")
    return np.array([label_of[name] for name in names], dtype=np.int64), class_names


def check_class_names(class_names: Sequence[str], source: str) -> None:
    """Refuses fewer than two classes, names that only look different, and names that are no text."""
    if len(class_names) < 2:
        raise InputError(f"{source}: found the classes {list(class_names)}; a classifier needs two or more.")
    for name in class_names:
        if not normal_form(name):
            raise InputError(f"{source}: a class is called {name!r}. Give it a name.")
        if not _is_text(name):
            raise InputError(f"{source}: the class name {name!r} is not UTF-8. Rename the class.")
    alike = spelled_alike(class_names)
    if alike:
        raise InputError(f"{source}: classes {told_alike(alike)} {WRITTEN_TWICE}. Use one name.")


def as_groups(groups: Sequence[str] | np.ndarray | None, normalise: str | None = None) -> list[str] | None:
    """The groups as text, each image's own and each in one spelling; an image without one is refused."""
    if groups is None:
        return None
    groups = list(groups)
    empty = [str(row) for row, group in enumerate(groups) if is_empty(group)]
    if empty:
        raise InputError(f"groups: no group for images {few(empty)}. Give an image of its own a name of its own.")
    return in_one_spelling([str(group) for group in groups], "groups", "the names", normalise)


def part_names(parts: Sequence[str], source: str, normalise: str | None = None) -> list[str]:
    """The parts as this package writes them, see `part_name`; `normalise` as in `in_one_spelling`."""
    form = lambda name: part if is_part(part := part_name(name)) else normal_form(name)  # noqa: E731
    why = "mean the same part"
    return [part_name(name) for name in in_one_spelling(parts, source, "parts", normalise, form, why)]


def part_name(name: str) -> str:
    """A part's name as this package writes it, "val" for "Validation" and "dev "; any other name as it is."""
    found = _PART.fullmatch(normal_form(name))
    if found is None:
        return name
    train, val, number = found.groups()
    if not (train or val):
        return f"test{number}"
    return name if number else "train" if train else "val"


def is_part(name: str) -> bool:
    """Whether a folder of this name is a part: train, val, test, test1, ..."""
    return re.fullmatch(r"train|val|test[0-9]*", name) is not None


def is_empty(value: object) -> bool:
    """Whether a cell says nothing: None, NaN, no text that shows, or the text that programs write for NaN."""
    text = "" if value is None else str(value)
    return (text.strip().casefold() if text.isascii() else normal_form(text)) in ("", "nan", "<na>", "nat")


def few(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:  # a folder's name of other bytes
        return False
    return True
