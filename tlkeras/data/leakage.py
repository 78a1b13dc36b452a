"""What a split lets leak: patients, lesions and images that lie on two of its sides, before anything is trained.

There are three sides: train, val, and all test parts together. A patient in two test parts tells the training nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tlkeras.data.fingerprints import Fingerprints, fingerprint_all
from tlkeras.data.grouping import Grouping
from tlkeras.data.leakage_findings import Audit
from tlkeras.data.measures import Levels, PixelSizes, levels_of_set
from tlkeras.errors import InputError
from tlkeras.schema import NOT_TESTS, Samples, Splits

_SET = ["set", "same_bytes", "sample_id", "part", "class_name", "group"]


def audit(splits: Splits, *, fingerprints: Fingerprints | None = None) -> Audit:
    """Looks for what a split lets leak, and for images that are small or tell nothing. Every image is read and decoded
    once; nothing is trained.

    Args:
        splits: the parts.
        fingerprints: of all samples that were split, where several splits of them are audited; None makes them.

    Raises:
        InputError: not Splits, files that cannot be read, or fingerprints of other samples.
    """
    if not isinstance(splits, Splits):
        raise InputError(
            f"splits: received {type(splits).__name__}; accepted are Splits, as tl.Holdout, tl.KFold and tl.Predefined "
            "draw them, or tl.Splits(train, val, {'test': test})."
        )
    parts = splits.parts()
    if fingerprints is None:
        fingerprints = fingerprint_all(list(parts.values()))
        rows = np.arange(len(fingerprints))
    else:
        rows = np.concatenate([fingerprints.rows_of(samples) for samples in parts.values()])
    ends = np.cumsum([len(samples) for samples in parts.values()])[:-1]
    pixel_sizes = map(PixelSizes.of, np.split(fingerprints.sizes[rows], ends))
    images = pd.concat([_images(part, samples) for part, samples in parts.items()], ignore_index=True)
    images = images.assign(file=fingerprints.files[rows], picture=fingerprints.pictures[rows])

    groups = _crossing_groups(images)
    sets = _identical(images)
    crossing = sets.groupby("set")["side"].transform("nunique") > 1
    conflicting = sets[sets["class_name"] != ""].groupby("set")["class_name"].nunique() > 1
    conflicting = sets["set"].isin(conflicting.index[conflicting])
    near, near_within = _near(images, fingerprints)
    levels = [fingerprints.levels[row] for row in rows]
    poor = _poor(images, levels)
    return Audit(
        sizes={part: len(samples) for part, samples in parts.items()},
        class_counts={part: samples.class_counts() for part, samples in parts.items() if samples.labels is not None},
        without_group=int((images["group"] == "").sum()),
        crossing_groups=len(groups),
        crossing_sets=sets.loc[crossing, "set"].nunique(),
        crossing_same_bytes=sets.loc[crossing & sets["same_bytes"], "set"].nunique(),
        sets_within=sets.loc[~crossing, "set"].nunique(),
        two_label_sets=sets.loc[conflicting, "set"].nunique(),
        crossing_near=len(near[["a", "b"]].drop_duplicates()),
        near_within=near_within,
        near_complete=fingerprints.complete,
        pixel_sizes=dict(zip(parts, pixel_sizes, strict=True)),
        grouping=Grouping.of(images),
        n_poor=len(poor),
        levels_of_all=levels_of_set(levels),
        poor=poor,
        known=_known(images),
        groups=groups,
        identical=sets.loc[crossing, _SET].reset_index(drop=True),
        two_labels=sets.loc[conflicting, _SET].reset_index(drop=True),
        near=near.drop(columns=["a", "b"]),
    )


def _images(part: str, samples: Samples) -> pd.DataFrame:
    """One row per image: sample_id, part, own_part (the set's), side, class_name, group."""
    columns = {
        "sample_id": samples.sample_ids,
        "part": part,
        "own_part": "" if samples.parts is None else samples.parts,
        "side": part if part in NOT_TESTS else "test",
        "class_name": "" if samples.labels is None else np.array(samples.class_names, dtype=object)[samples.labels],
        "group": "" if samples.groups is None else ["" if pd.isna(name) else str(name) for name in samples.groups],
    }
    return pd.DataFrame(columns, index=range(len(samples)), dtype=object)


def _poor(images: pd.DataFrame, levels: Sequence[Levels]) -> pd.DataFrame:
    """sample_id, part, class_name, lacks: of the images whose levels tell (almost) nothing."""
    images = images.assign(lacks=[each.words() for each in levels])
    return images.loc[images["lacks"] != "", ["sample_id", "part", "class_name", "lacks"]].reset_index(drop=True)


def _crossing_groups(images: pd.DataFrame) -> pd.DataFrame:
    """group, parts, images: of the groups that lie on two sides, in the order of their names."""
    known = images[images["group"] != ""]
    crossing = known[known.groupby("group")["side"].transform("nunique") > 1]
    by_group = crossing.groupby("group")
    parts = by_group["part"].agg(lambda parts: ", ".join(dict.fromkeys(parts)))
    return pd.DataFrame({"parts": parts, "images": by_group.size()}).reset_index()


def _known(images: pd.DataFrame) -> pd.DataFrame:
    """For val and each test part, how many of its images train and val know already."""
    rows = []
    for part, held in images[images["side"] != "train"].groupby("part", sort=False):
        row = {"part": part, "images": len(held)}
        for key, column in (("group", "group"), ("image", "picture")):
            for side in ("train", "val"):
                there = images.loc[(images["side"] == side) & (images[column] != ""), column]
                row[f"{key}_in_{side}"] = 0 if part == side else int(held[column].isin(there).sum())
        rows.append(row)
    return pd.DataFrame(rows)


def _identical(images: pd.DataFrame) -> pd.DataFrame:
    """The rows of images whose pixels another row has: `images`, set 0, 1, ..., and whether all its bytes are equal."""
    images = images.drop_duplicates(["picture", "sample_id", "part"])  # shown twice in its part, it is no second image
    sets = images[images.duplicated("picture", keep=False)].sort_values("picture", kind="stable")
    same_bytes = sets.groupby("picture")["file"].transform("nunique") == 1
    return sets.assign(set=pd.factorize(sets["picture"])[0], same_bytes=same_bytes)


def _near(images: pd.DataFrame, fingerprints: Fingerprints) -> tuple[pd.DataFrame, int]:
    """The pairs on two sides, each by one image of either side, and how many pairs lie on one side only.

    `a` and `b` number the pictures of a pair: identical images count as one.
    """
    pairs = pd.DataFrame(fingerprints.near, columns=["a", "b"]).assign(distance=fingerprints.distances)
    one_a_side = images.drop_duplicates(["picture", "side"])
    for end in ("a", "b"):
        columns = {name: f"{name}_{end}" for name in one_a_side if name != "picture"} | {"picture": end}
        pairs = pairs.merge(one_a_side.rename(columns=columns), on=end)
    crossing = pairs[pairs["side_a"] != pairs["side_b"]]
    same_group = (crossing["group_a"] == crossing["group_b"]) & (crossing["group_a"] != "")
    crossing = crossing.assign(same_group=same_group).sort_values(["distance", "sample_id_a", "sample_id_b"])
    ends = [f"{name}_{end}" for end in ("a", "b") for name in ("sample_id", "part", "class_name", "group")]
    n_within = len(pairs[["a", "b"]].drop_duplicates()) - len(crossing[["a", "b"]].drop_duplicates())
    return crossing[["distance", "same_group", *ends, "a", "b"]].reset_index(drop=True), n_within
