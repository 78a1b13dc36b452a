"""What the audit of a split found, as numbers, tables and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from tlkeras.data.grouping import Grouping
from tlkeras.data.measures import PixelSizes, size_words
from tlkeras.data.names import told_alike
from tlkeras.errors import InputError

SHARE_DRIFT = 0.05  # a class share this far from the training part's is said
LISTED = 100  # rows of a table that `as_json` keeps
_TABLES = ("poor", "known", "groups", "identical", "two_labels", "near")


@dataclass(frozen=True, eq=False)
class Audit:
    """What `tl.audit` found. In tables, group "" is an unknown one, and class_name "" a label that is not there.

    Attributes:
        sizes: {part: images}.
        class_counts: {part: {class_name: images}}, of the parts that have labels.
        without_group: images whose group is unknown; all where the samples have no groups.
        crossing_groups: groups that lie on two sides.
        crossing_sets: sets of identical images (pixel for pixel) that lie on two sides.
        crossing_same_bytes: those of them that are identical byte for byte.
        sets_within: sets of identical images on one side.
        two_label_sets: sets of identical images with two labels, wherever they lie.
        crossing_near: pairs of images on two sides that look alike and are not identical: candidates, to be looked at.
        near_within: such pairs on one side.
        near_complete: whether all images that look alike were counted; beyond a million pairs they are not.
        pixel_sizes: {part: PixelSizes}, how large its images are before any resize; empty where an earlier version kept
            the audit, which did not measure them.
        grouping: what the groups' names tell of the grouping itself; nothing where an earlier version kept the audit.
        n_poor: images that tell (almost) nothing: of one colour, of a handful of levels, or of a sliver of the range.
        levels_of_all: sentences on what all images together lack of the range, and on 16-bit files that were read by
            different ranges; empty, as n_poor is 0, where an earlier version kept the audit, which did not look.
        poor: one row per such image: sample_id, part, class_name, lacks.
        known: one row for val and for each test part: part, images; group_in_train, group_in_val, the images of whose
            group train or val holds another; image_in_train, image_in_val, those that are there themselves.
        groups: one row per crossing group: group, parts ("train, test"), images.
        identical: one row per image of the crossing sets: set, same_bytes (of the whole set), sample_id, part,
            class_name, group.
        two_labels: the same of the sets with two labels.
        near: one row per crossing pair of images, nearest first: distance (bits of the perceptual hash), same_group,
            then sample_id, part, class_name and group of either, with _a and _b.
    """

    sizes: Mapping[str, int]
    class_counts: Mapping[str, Mapping[str, int]]
    without_group: int
    crossing_groups: int
    crossing_sets: int
    crossing_same_bytes: int
    sets_within: int
    two_label_sets: int
    crossing_near: int
    near_within: int
    near_complete: bool
    pixel_sizes: Mapping[str, PixelSizes]
    grouping: Grouping
    n_poor: int
    levels_of_all: Sequence[str]
    poor: pd.DataFrame
    known: pd.DataFrame
    groups: pd.DataFrame
    identical: pd.DataFrame
    two_labels: pd.DataFrame
    near: pd.DataFrame

    @property
    def crossing(self) -> bool:
        """Whether groups, those in another spelling included, or identical images lie on two sides. Images that merely
        look alike do not count."""
        return bool(self.crossing_groups or self.crossing_sets or self.grouping.alike_crossing)

    @property
    def class_shares(self) -> pd.DataFrame:
        """float64, one row per part and one column per class: the class's share of the part's images, 0..1."""
        counts = pd.DataFrame.from_dict(dict(self.class_counts), orient="index").fillna(0)
        return counts.div(counts.sum(axis=1), axis=0).rename_axis("part")

    @property
    def missing_classes(self) -> tuple[tuple[str, str], ...]:
        """(part, class name) of every class that has no image in a part."""
        return tuple((part, name) for part, counts in self.class_counts.items() for name, n in counts.items() if not n)

    def findings(self, *image_sizes: tuple[int, int]) -> tuple[str, ...]:
        """What a reader of results on this split has to know, one sentence each, what crosses first.

        Args:
            image_sizes: (height, width) each that networks or trees are shown the images at: where that enlarges
                images, a sentence says how many and of what size. None asks for no such sentence.

        Raises:
            InputError: no such image size.
        """
        return (
            *self._separate(),
            *self._known(),
            *self.grouping.findings(),
            *self._identical(),
            *self._alike(),
            *(f"{part} is empty." for part, n in self.sizes.items() if not n),
            *(f"{part} has no image of class {name}." for part, name in self.missing_classes if self.sizes[part]),
            *self._drift(),
            *self._levels(),
            *self._enlarged(image_sizes),
        )

    def require_separate(self) -> None:
        """Raises InputError where groups or identical images lie on two sides, naming some and what to do."""
        if not self.crossing:
            return
        found = []
        if self.crossing_groups:
            found.append(f"{_count(self.crossing_groups, 'group')} ({_few(self.groups['group'])})")
        if n := self.grouping.alike_crossing:
            found.append(f"{_count(n, 'group')} written in two ways ({told_alike(self.grouping.spellings)})")
        if self.crossing_sets:
            ids = _few(self.identical["sample_id"])
            found.append(f"{_count(self.crossing_sets, 'set')} of identical images ({ids})")
        raise InputError(
            f"splits: {' and '.join(found)} lie on two sides (train, val, test), so that scores say too much. Split "
            "with Holdout, KFold or Predefined and respect_groups=True. Identical images in different bytes escape "
            "these: give both one group, or leave one out."
        )

    def as_json(self) -> dict:
        """Plain JSON values; of each table the first `LISTED` rows, and how many there were."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _TABLES}
        tables = {}
        for name in _TABLES:
            table = getattr(self, name)
            cut = table.head(LISTED).to_dict("split", index=False)
            tables[name] = {"total": len(table), "columns": cut["columns"], "rows": cut["data"]}
        sizes = {part: sizes.as_json() for part, sizes in self.pixel_sizes.items()}
        return plain | {"pixel_sizes": sizes, "grouping": self.grouping.as_json()} | tables

    @classmethod
    def from_json(cls, value: Mapping) -> Audit:
        """The audit that `as_json` told of, its tables as long as they were kept: it has the same findings."""
        value = {**_OF_OLD, **value}
        given: dict[str, Any] = {
            name: pd.DataFrame(value[name]["rows"], columns=value[name]["columns"]) for name in _TABLES
        }
        sizes = {part: PixelSizes.from_json(sizes) for part, sizes in value.get("pixel_sizes", {}).items()}
        grouping = Grouping.from_json(value["grouping"]) if "grouping" in value else Grouping()
        others = (*_TABLES, "pixel_sizes", "grouping")
        given |= {field.name: value[field.name] for field in fields(cls) if field.name not in others}
        return cls(**given, pixel_sizes=sizes, grouping=grouping)

    def _separate(self) -> list[str]:
        n = sum(self.sizes.values())
        if self.without_group == n:
            said = ["No groups (patients, lesions) are known; whether one lies on two sides cannot be told."]
        elif self.without_group:
            said = [f"Of {self.without_group:,} of {n:,} images the group is not known; what it shares cannot be told."]
        else:
            said = []
        if not self.crossing:
            said.append(f"No {'image' if self.without_group == n else 'group and no image'} lies on two sides.")
        return said

    def _known(self) -> list[str]:
        said = []
        for row in self.known.to_dict("records"):
            for side in ("train", "val"):
                if n := row[f"group_in_{side}"]:
                    said.append(
                        f"{n:,} of {row['images']:,} {row['part']} images ({n / row['images']:.1%}) are of a group "
                        f"(patient, lesion) that is also in {side}."
                    )
        if self.crossing_groups:
            lie = "lies" if self.crossing_groups == 1 else "lie"
            said.append(f"{_count(self.crossing_groups, 'group')} in all {lie} on two sides.")
        return said

    def _identical(self) -> list[str]:
        said = []
        if n := self.crossing_sets:
            same, lie = self.crossing_same_bytes, "lies" if n == 1 else "lie"
            kind = {n: "byte-identical", 0: "pixel-identical"}.get(same, "identical")
            parted = f", {same:,} byte for byte, {n - same:,} pixel for pixel" if 0 < same < n else ""
            said.append(f"{_count(n, 'set')} of {kind} images {lie} on two sides{parted}.")
        for row in self.known.to_dict("records"):
            said += [
                f"{n:,} of {row['images']:,} {row['part']} images are themselves in {side}."
                for side in ("train", "val")
                if (n := row[f"image_in_{side}"])
            ]
        if self.two_label_sets:
            ids = _few(self.two_labels["sample_id"])
            said.append(f"{_count(self.two_label_sets, 'set')} of identical images under two labels: {ids}.")
        if self.sets_within:
            said.append(f"{_count(self.sets_within, 'set')} of identical images on one side.")
        return said

    def _alike(self) -> list[str]:
        said = []
        if self.crossing_near:
            pairs = _count(self.crossing_near, "pair")
            said.append(f"{pairs} of images on two sides look alike: candidates, to be looked at.")
        if not self.near_complete:
            said.append("More pairs of images look alike than the million that was counted.")
        return said

    def _drift(self) -> list[str]:
        shares = self.class_shares
        said = []
        for part in shares.index:
            if "train" not in shares.index or not self.sizes[part] or not self.sizes["train"]:
                continue
            drift = shares.loc[part] - shares.loc["train"]
            name = drift.abs().idxmax()
            if abs(drift[name]) > SHARE_DRIFT:
                said.append(
                    f"Class shares differ: {name} is {shares.loc[part, name]:.1%} of {part}, "
                    f"{shares.loc['train', name]:.1%} of train."
                )
        return said

    def _enlarged(self, image_sizes: Iterable[tuple[int, int]]) -> list[str]:
        everything = PixelSizes.together(self.pixel_sizes.values())
        said = []
        for image_size in image_sizes:
            if n := len(enlarged := everything.enlarged_to(image_size)):
                said.append(
                    f"{n:,} of {len(everything):,} images ({n / len(everything):.1%}) are lower or narrower than "
                    f"{size_words(image_size)} and are enlarged to it: {enlarged.words()} (width x height)."
                )
        return said

    def _levels(self) -> list[str]:
        said = list(self.levels_of_all)
        if self.n_poor:
            shown = [f"{row['sample_id']} ({row['lacks']})" for row in self.poor.head(3).to_dict("records")]
            said.append(
                f"{self.n_poor:,} of {sum(self.sizes.values()):,} images tell (almost) nothing by their grey levels: "
                + ", ".join(shown)
                + (", ..." if self.n_poor > len(shown) else ".")
            )
        return said


# What an earlier version did not keep.
_OF_OLD = {
    "n_poor": 0,
    "levels_of_all": (),
    "poor": {"rows": [], "columns": ["sample_id", "part", "class_name", "lacks"]},
}


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _few(names: pd.Series) -> str:
    return ", ".join(map(str, names[:3])) + (", ..." if len(names) > 3 else "")
