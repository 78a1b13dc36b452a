"""Training, validation and test parts: stratified by class, drawn by seed, with no group on two sides."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from tlkeras.checks import Constraint, check_fields, check_whole, flag, or_none, real, whole
from tlkeras.data.digests import pixel_digests
from tlkeras.data.image_index import INDEX
from tlkeras.data.names import in_one_spelling, is_empty
from tlkeras.errors import InputError, MissingInputError
from tlkeras.schema import Samples, Splits
from tlkeras.seeds import derive_seed, generator

DRIFT = 0.02  # a part's size or class share further than this from what was wanted is said in `Splits.notes`
_SHARE = real(above=0, below=1).also(", the share of the images, e.g. 0.15 for 15 %")
_SHARE_OR_NONE = real(least=0, below=1).also(", the share of the images, e.g. 0.15 for 15 %; 0 for none")


class Splitter(Protocol):
    """What cuts samples into parts: Holdout, Predefined, KFold, or a class of one's own."""

    def split(self, samples: Samples, /, *, seed: int) -> Splits:
        """The parts, the same for the same samples and seed."""
        ...


@dataclass(frozen=True)
class Holdout:
    """One split of the whole set by shares; what is left is for training.

    Attributes:
        val: share of the images for validation, 0 for none.
        test: share of the images for testing, above 0.
        respect_groups: keep every group (patient, lesion), and every set of byte-identical images, on one side. False
            draws image by image, as many papers did; the notes then say how many groups cross.
    """

    val: float = 0.2
    test: float = 0.2
    respect_groups: bool = True

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "val": _SHARE_OR_NONE,
        "test": _SHARE,
        "respect_groups": flag(),
    }

    def __post_init__(self):
        check_fields(self, self._accepts)
        if self.val + self.test >= 1:
            raise InputError(
                f"val={self.val} and test={self.test} leave nothing for training; their sum must be below 1."
            )

    def split(self, samples: Samples, seed: int = 0) -> Splits:
        """Draws the parts.

        Args:
            samples: labelled samples.
            seed: the same seed and samples give the same split.

        Raises:
            InputError: without labels, groups in two spellings, or where a part would be empty.
        """
        seed = check_whole("seed", seed)
        shares = {"train": 1 - self.val - self.test, "val": self.val, "test": self.test}
        shares = {part: share for part, share in shares.items() if share > 0}
        groups, notes = _groups(samples)
        units = groups if self.respect_groups else np.arange(len(samples))
        parts = _assign(samples.known_labels, units, shares, derive_seed(seed, "holdout"))
        return _splits(samples, parts, groups, notes, shares)


@dataclass(frozen=True)
class Predefined:
    """The parts that came with the data set.

    Attributes:
        val: None keeps the set's own validation part, or none where it has none. A share is drawn anew from the
            images of "train" and "val" together.
        respect_groups: refuse parts that share a group (patient, lesion) or byte-identical images, and draw `val` by
            group. False says such crossings in the notes and draws image by image.
        test: the test parts, a name or several; None takes those whose names begin with "test". "val" makes a test part
            of the validation images of a set that has no other: it is then called "test", and "val" is drawn or none.
    """

    val: float | None = None
    respect_groups: bool = True
    test: str | tuple[str, ...] | None = None

    _accepts: ClassVar[Mapping[str, Constraint]] = {"val": or_none(_SHARE), "respect_groups": flag()}

    def __post_init__(self):
        check_fields(self, self._accepts)
        if self.test is None:
            return
        tests = (self.test,) if isinstance(self.test, str) else self.test if isinstance(self.test, list | tuple) else ()
        named = all(isinstance(name, str) and name not in ("", "train") for name in tests)
        if not tests or not named or ("val" in tests and len(tests) > 1):
            raise InputError(
                f"test: received {self.test!r}; accepted are names of parts beside 'train', e.g. 'test' or ('north', "
                "'south'); or 'val' alone, where a set has no test part."
            )
        object.__setattr__(self, "test", tuple(tests))  # the dataclass is frozen

    def split(self, samples: Samples, seed: int = 0) -> Splits:
        """Takes the samples' own parts; `seed` only draws `val` where it is a share.

        Raises:
            InputError: without parts, without "train" or a test part, a part that is neither train, val nor test,
                groups in two spellings, or where a group crosses parts and groups are to be respected.
        """
        seed = check_whole("seed", seed)
        parts, shares = self._own_parts(samples), {}
        groups, notes = _groups(samples)
        pool = np.flatnonzero(np.isin(parts, ["train", "val"]))
        if self.val is not None:
            parts[pool] = "train"
        crossing = _crossing(groups, parts)
        if self.respect_groups and crossing:
            raise InputError(
                f"the set's own parts share {_few(crossing)}: patients, lesions or byte-identical images. Draw parts "
                "with Holdout, or pass respect_groups=False to take these parts as they are."
            )
        if self.val is not None:
            units = groups if self.respect_groups else np.arange(len(samples))
            inner = {"train": 1 - self.val, "val": self.val}
            parts[pool] = _assign(samples.known_labels[pool], units[pool], inner, derive_seed(seed, "predefined"))
            shares = {part: share * len(pool) / len(samples) for part, share in inner.items()}
        return _splits(samples, parts, groups, notes, shares)

    def _own_parts(self, samples: Samples) -> np.ndarray:
        """object (n,): "train", "val" or the name of a test part."""
        names = dict.fromkeys(() if samples.parts is None else samples.parts)
        tests = self.test or [name for name in names if str(name).startswith("test")]
        absent = sorted({"train", *tests} - set(names))
        if absent or not tests:
            remedy = "Name the column with from_csv(..., part=...), or draw parts with Holdout."
            if "train" in names and "val" in names and not tests:
                remedy = "Predefined(test='val') tests on the validation part; Holdout draws parts anew."
            raise InputError(
                f"samples.parts: received {sorted(names) or None}; Predefined needs 'train' and a test part"
                f"{f' called {absent[0]!r}' if absent and absent != ['train'] else ''}. {remedy}"
            )
        unknown = [name for name in names if name not in ("train", "val", *tests)]
        if unknown:
            named = f"Name every test part, test={(*tests, *unknown)!r}, or leave" if "val" not in tests else "Leave"
            raise InputError(
                f"samples.parts: {', '.join(map(repr, unknown))}: neither 'train', 'val' nor a test part. {named} "
                f"these images out: samples.take(np.flatnonzero(samples.parts != {unknown[0]!r}))."
            )
        parts = np.array(samples.parts, dtype=object)
        if "val" in tests:
            parts[parts == "val"] = "test"
        return parts


@dataclass(frozen=True)
class KFold:
    """Cross-validation: every image is in the test part of exactly one fold.

    Attributes:
        n_folds: 2 or more.
        val: share of all images for validation within each fold, taken from its training images; 0 for none.
        respect_groups: as in `Holdout`.
    """

    n_folds: int = 5
    val: float = 0.0
    respect_groups: bool = True

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "n_folds": whole(2),
        "val": _SHARE_OR_NONE,
        "respect_groups": flag(),
    }

    def __post_init__(self):
        check_fields(self, self._accepts)
        if self.val + 1 / self.n_folds >= 1:
            raise InputError(f"val={self.val} and {self.n_folds} folds leave nothing for training.")

    def folds(self, samples: Samples, seed: int = 0) -> list[Splits]:
        """The folds, each with its held-out images as `test`.

        Raises:
            InputError: without labels, groups in two spellings, or where a part would be empty.
        """
        seed = check_whole("seed", seed)
        groups, notes = _groups(samples)
        units = groups if self.respect_groups else np.arange(len(samples))
        labels = samples.known_labels
        fold_of = held_out_in(labels, units, self.n_folds, seed)
        shares = {"train": 1 - 1 / self.n_folds - self.val, "val": self.val, "test": 1 / self.n_folds}
        folds = []
        for fold in range(self.n_folds):
            parts = np.where(fold_of == fold, "test", "train").astype(object)
            if self.val:
                rest = np.flatnonzero(parts == "train")
                inner = {part: shares[part] for part in ("train", "val")}
                parts[rest] = _assign(labels[rest], units[rest], inner, derive_seed(seed, "folds", str(fold)))
            folds.append(_splits(samples, parts, groups, notes, shares))
        return folds

    def split(self, samples: Samples, seed: int = 0) -> Splits:
        """One fold, so that a protocol is cross-validated by its seeds: 0..n_folds-1 are the folds of a first round,
        which hold every image out once, n_folds..2 n_folds-1 those of a second, and so on."""
        round_of_all, fold = divmod(check_whole("seed", seed), self.n_folds)
        return self.folds(samples, seed=round_of_all)[fold]


def held_out_in(labels: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """The fold that holds each image out, as `KFold` draws it: stratified by class, whole groups.

    Args:
        labels: int (n,).
        groups: (n,), what stays together: `joined_groups` of the samples.
        n_folds: 2 or more.
        seed: the same one gives the same folds.

    Returns:
        int64 (n,), 0..n_folds-1, each of them at least once.

    Raises:
        InputError: there are fewer groups than folds.
    """
    shares = {str(fold): 1 / n_folds for fold in range(n_folds)}
    return _assign(labels, groups, shares, derive_seed(seed, "folds")).astype(np.int64)


def identical_images(samples: Samples) -> list[np.ndarray]:
    """Sets of images that are identical byte for byte: int64 indices, ascending, two or more in each set.

    Files are compared by their bytes (the same picture saved twice differs), arrays by their pixels.
    """
    if isinstance(samples.images, np.ndarray):
        rows, digests = np.arange(len(samples)), pixel_digests(samples.images)
    else:
        by_size = defaultdict(list)
        for index, path in enumerate(samples.images):
            try:
                by_size[os.stat(path).st_size].append(index)
            except FileNotFoundError as error:
                raise MissingInputError(f"{path} is not there any more; read the samples again.") from error
        # A size of its own needs no reading.
        rows = np.array(sorted(index for of in by_size.values() if len(of) > 1 for index in of), dtype=np.int64)
        digests = INDEX.digests(samples.take(rows))
    return [rows[same] for same in _rows_of(digests).values() if len(same) > 1]


def joined_groups(samples: Samples) -> np.ndarray:
    """What must stay on one side of a split: the samples' groups, joined where they share byte-identical images.

    Returns:
        object (n,) of str. A joined group has the name of its first member's group; without groups each image is
        one of its own, under its sample id.

    Raises:
        InputError: groups that differ only in case, spaces, leading zeros and the like.
    """
    _check_spellings(samples)
    return _joined(samples, identical_images(samples))


def join_groups(samples: Samples, alike: Iterable[Sequence[int]]) -> np.ndarray:
    """The samples' groups, joined where rows are alike, and named as in `joined_groups`: object (n,) of str.

    Args:
        samples: n images, with groups or without.
        alike: sets of rows, each of images that belong together.
    """
    _check_spellings(samples)
    return _joined(samples, [np.asarray(rows) for rows in alike])


def _joined(samples: Samples, identical: list[np.ndarray]) -> np.ndarray:
    parent = list(range(len(samples)))

    def first(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    same_group = [] if samples.groups is None else _rows_of(samples.groups).values()
    for rows in [*same_group, *identical]:
        for row in rows[1:]:
            low, high = sorted((first(rows[0]), first(row)))
            parent[high] = low
    names = samples.sample_ids if samples.groups is None else samples.groups
    return np.array([str(names[first(row)]) for row in range(len(samples))], dtype=object)


def _check_spellings(samples: Samples) -> None:
    """Refuses one patient in two spellings, who could come apart: samples need not be from a reader that asks."""
    if samples.groups is not None:
        known = [str(name) for name in samples.groups if not is_empty(name)]
        in_one_spelling(known, "samples.groups", "the names", None)


def _rows_of(keys) -> dict:
    rows = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    return rows


def _groups(samples: Samples) -> tuple[np.ndarray, list[str]]:
    """The joined groups, and what to note about them."""
    if samples.labels is None:
        raise InputError("these samples have no labels, and a split is drawn by class. Give the labels.")
    _check_spellings(samples)
    identical = identical_images(samples)
    notes = [f"{len(identical)} sets of byte-identical images were found"] if identical else []
    return _joined(samples, identical), notes


def _assign(labels: np.ndarray, groups: np.ndarray, shares: dict[str, float], seed: int) -> np.ndarray:
    """Gives each group to a part: object (n,) of part names, in proportion to `shares`.

    Groups go largest first, in seeded random order among equals, each to the part where the chi-square distance of
    the counts (of every class, and of all images) from the wanted ones grows least. Parts so fill in proportion at
    every step: large and small groups spread alike.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    present, label_of = np.unique(labels, return_inverse=True)
    counts = np.zeros((group_of.max(initial=-1) + 1, len(present) + 1))
    np.add.at(counts, (group_of, label_of), 1)
    counts[:, -1] = counts.sum(axis=1)

    order = generator(seed, "groups").permutation(len(counts))
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    wanted = np.outer(list(shares.values()), counts.sum(axis=0))
    held, part_of = np.zeros_like(wanted), np.empty(len(counts), dtype=np.int64)
    for group in order:
        added = counts[group]
        # (held + added - wanted)**2 / wanted grows by this much, but for a term that is the same in every part.
        growth = (added * (2 * held + added) / wanted).sum(axis=1)
        part_of[group] = part = growth.round(9).argmin()  # rounded, so that ties are ties on every machine
        held[part] += added
    parts = np.array(list(shares), dtype=object)[part_of][group_of]
    for part, share in shares.items():
        if part not in parts:
            raise InputError(
                f"{len(labels)} images in {len(counts)} groups are too few: the part with a share of {share:.3g} would "
                "be empty. Use more images, fewer parts or folds, or larger shares."
            )
    return parts


def _splits(
    samples: Samples, parts: np.ndarray, groups: np.ndarray, notes: list[str], shares: dict[str, float]
) -> Splits:
    crossing = _crossing(groups, parts)
    if crossing:
        known = np.isin(groups[~np.isin(parts, ("train", "val"))], groups[parts == "train"]).mean()
        notes = [
            *notes,
            f"groups were not respected: {_few(crossing)} lie in more than one part; {known:.1%} of the test images "
            "have another of their group in train",
        ]
    tests = sorted(set(parts) - {"train", "val"})
    rows = {part: np.flatnonzero(parts == part) for part in ("train", "val", *tests)}
    notes = [*notes, *_drift(samples, {part: index for part, index in rows.items() if len(index)}, shares)]
    return Splits(
        train=samples.take(rows["train"]),
        val=samples.take(rows["val"]) if len(rows["val"]) else None,
        tests={part: samples.take(rows[part]) for part in tests},
        notes=tuple(notes),
    )


def _crossing(groups: np.ndarray, parts: np.ndarray) -> list[str]:
    # A patient in two test parts tells the training nothing: test parts count as one side.
    side = {part: part if part in ("train", "val") else "test" for part in set(parts)}
    sides = defaultdict(set)
    for group, part in zip(groups, parts, strict=True):
        sides[group].add(side[part])
    return [group for group, held in sides.items() if len(held) > 1]


def _few(groups: list[str]) -> str:
    return f"{len(groups)} groups ({', '.join(groups[:3])}{', ...' if len(groups) > 3 else ''})"


def _drift(samples: Samples, rows: dict[str, np.ndarray], shares: dict[str, float]) -> list[str]:
    """What the reader has to know about parts and classes that are not as large as wanted."""
    notes, k = [], len(samples.class_names)
    labels = samples.known_labels
    whole = np.bincount(labels, minlength=k) / len(samples)
    for part, index in rows.items():
        size = len(index) / len(samples)
        if abs(size - shares.get(part, size)) > DRIFT:
            notes.append(f"{part} has {size:.1%} of the images; {shares[part]:.1%} were wanted")
        share = np.bincount(labels[index], minlength=k) / len(index)
        for name, here, all_over in zip(samples.class_names, share, whole, strict=True):
            if all_over and not here:
                notes.append(f"{part} has no image of class {name}")
            elif abs(here - all_over) > DRIFT:
                points = 100 * (here - all_over)
                notes.append(
                    f"class {name} is {here:.1%} of {part} and {all_over:.1%} of the whole ({points:+.1f} points)"
                )
    return notes
