"""Whether what holds a split's images together is a patient, as far as the names of the groups can tell."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import pandas as pd

from tlkeras.data.names import WRITTEN_TWICE, normal_form, part_name, spelled_alike, told_alike

NEARLY_EVERY = 0.95  # of the groups hold one image each
_FEWEST = 10  # groups, of which that says something
# In words, and where it is as it should be.
_WITHIN = {
    "class": ("one class", "a group has one label, as a lesion has"),
    "part": ("one of the set's own parts", "these were drawn by group"),
}


@dataclass(frozen=True)
class Grouping:
    """The groups of a split, and signs that they are none.

    Attributes:
        groups: how many there are.
        of_one: those that hold one image.
        within: in what each group of several images lies in one: "class", "part" (the set's own), both or none.
        named_after: {group: the part, or its folder, or class whose name its own holds}, an example; empty unless all
            groups do.
        alike: how many are written in two ways or more: in case, spaces, leading zeros and the like.
        alike_crossing: those of them that lie on two sides (train, val, test).
        spellings: of up to three of them, those that lie on two sides first.
    """

    groups: int = 0
    of_one: int = 0
    within: tuple[str, ...] = ()
    named_after: Mapping[str, str] = field(default_factory=dict)
    alike: int = 0
    alike_crossing: int = 0
    spellings: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, images: pd.DataFrame) -> Grouping:
        """Of one row per image: group ("" where unknown), side, class_name, own_part ("" where unknown), sample_id."""
        known = images[images["group"] != ""]
        if known.empty:
            return cls()
        by_group = known.groupby("group", sort=False)
        sizes = by_group.size()
        several = known[known["group"].isin(sizes.index[sizes > 1])]
        within = tuple(
            name
            for name, column in (("class", "class_name"), ("part", "own_part"))
            if several["group"].nunique() > 1
            and several[column].nunique() > 1
            and (several.groupby("group")[column].nunique() == 1).all()
        )
        alike = spelled_alike(known["group"])
        of_alike = known["group"].map({name: number for number, names in enumerate(alike) for name in names}).dropna()
        sides = (
            known.loc[of_alike.index, "side"].groupby(of_alike).nunique().sort_values(ascending=False, kind="stable")
        )
        return cls(
            groups=len(sizes),
            of_one=int((sizes == 1).sum()),
            within=within,
            named_after=_named_after(known) if len(sizes) > 1 else {},
            alike=len(alike),
            alike_crossing=int((sides > 1).sum()),
            spellings=tuple(alike[int(number)] for number in sides.index[:3]),
        )

    def findings(self) -> list[str]:
        """What a reader has to know, one sentence each."""
        said = []
        if self.alike:
            are = "groups are" if self.alike > 1 else "group is"
            said.append(
                f"{self.alike:,} {are} written in two ways and counted as two, {self.alike_crossing:,} of them on two "
                f"sides: {told_alike(self.spellings)} {WRITTEN_TWICE}."
            )
        if self.named_after:
            ((group, place),) = self.named_after.items()
            said.append(
                f"Every group's name holds that of its part or class, as {group!r} does {place!r}: a patient whose "
                "images lie in two of these counts as two."
            )
        elif self.within:
            places, reasons = zip(*(_WITHIN[name] for name in self.within), strict=True)
            said.append(
                f"Every group of several images lies within {' and '.join(places)}: right where "
                f"{' and '.join(reasons)}; else look at how the groups are named."
            )
        if self.groups >= _FEWEST and self.of_one >= NEARLY_EVERY * self.groups:
            said.append(
                f"{self.of_one:,} of {self.groups:,} groups hold a single image, so that next to nothing is kept on "
                "one side: are they patients?"
            )
        return said

    def as_json(self) -> dict:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping) -> Grouping:
        """The inverse of `as_json`."""
        spellings = tuple(map(tuple, value["spellings"]))
        return cls(**{**value, "within": tuple(value["within"]), "spellings": spellings})


def _named_after(known: pd.DataFrame) -> dict[str, str]:
    """{a group: the part, folder or class in its name}, where every group's name holds such."""
    example = {}
    for row in known.drop_duplicates("group").to_dict("records"):
        words = set(_words(row["group"]))
        folders = [name for name in os.path.dirname(row["sample_id"]).split("/") if part_name(name) == row["own_part"]]
        places = [*folders, row["own_part"], row["class_name"]]  # a folder of another name may be the patient's own
        place = next((place for place in places if place and words.issuperset(_words(place))), None)
        if place is None:
            return {}
        example = example or {row["group"]: place}
    return example


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", normal_form(name))
