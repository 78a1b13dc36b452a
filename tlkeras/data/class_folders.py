"""Sets that lie as class folders and nothing else: chest X-rays, tissue tiles, animal faces, a tumour folder of one's
own."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from tlkeras.data.file_names import is_image, visible
from tlkeras.data.names import few
from tlkeras.data.sources import from_folders
from tlkeras.errors import InputError, MissingInputError
from tlkeras.schema import Samples

# The published number of tiles of each tissue.
NCT_TISSUES = {
    "ADI": 10407,
    "BACK": 10566,
    "DEB": 11512,
    "LYM": 11557,
    "MUC": 8896,
    "MUS": 13536,
    "NORM": 8763,
    "STR": 10446,
    "TUM": 14317,
}
# The published number of faces, first version of the set.
AFHQ_ANIMALS = {
    "train/cat": 5153,
    "train/dog": 4739,
    "train/wild": 4738,
    "val/cat": 500,
    "val/dog": 500,
    "val/wild": 500,
}
PROSTATE_TISSUES = ("Gland", "Nongland", "Tumor")
PROSTATE_ARCHIVES = "_native"  # how the folders of the published archives end, e.g. 01_case_western_native
TUMOR_PARTS = ("train", "val", "test1", "test2")


def chest_xray_group(file_name: str) -> str:
    """The patient key in a file name of the chest X-ray set, with its prefix and agent.

    "NORMAL2-IM-0115-0001.jpeg" gives "NORMAL2-IM-0115", "person5_virus_7.jpeg" gives "person5_virus". The number alone
    is used twice for different patients. An assumption: the set has no table of patients.
    """
    match = re.fullmatch(
        r"((?:NORMAL\d*-)?IM-\d+)-\d+(?:-\d+)?|(person\d+_(?:bacteria|virus))_\d+(?:_\d+)?",
        os.path.splitext(os.path.basename(file_name))[0],
    )
    if match is None:
        raise InputError(
            f"{file_name} is no name of the chest X-ray set, such as IM-0115-0001.jpeg, NORMAL2-IM-0023-0001.jpeg or "
            "person5_virus_7.jpeg. Remove it, or read the folder as your own data with from_folders."
        )
    return match[1] or match[2]


def load_chest_xray(folder: str) -> Samples:
    """The images below train, val and test, grouped by patient."""
    return from_folders(folder, parts=_chest_xray_parts(folder), group_of=chest_xray_group)


def count_chest_xray(folder: str) -> dict[str, int]:
    """{"train/NORMAL": images that are there, ...} for every class folder."""
    return {
        f"{part}/{class_folder.name}": sum(1 for _ in class_folder.glob("[!.]*.jp*g"))
        for part in _chest_xray_parts(folder)
        for class_folder in Path(folder, part).glob("[!.]*/")
    }


def _chest_xray_parts(folder: str) -> list[str]:
    # By name: the published archive also holds a second copy of itself.
    return [part for part in ("train", "val", "test") if os.path.isdir(os.path.join(folder, part))]


def load_nct_crc_he(folder: str) -> Samples:
    """The tiles of NCT-CRC-HE-100K; a copy with some of the nine tissues has the classes that are there.

    The suffix of a file name is random, so `groups` is None: tiles of one patient may come on two sides of a split.

    Raises:
        InputError: for a folder that is none of the tissues, an empty one, or files that are not images.
    """
    _refuse_others(folder, NCT_TISSUES)
    return from_folders(folder)


def load_afhq(folder: str) -> Samples:
    """The faces of AFHQ, with `parts` "train" and "val" as they lie; the names tell no animal, so `groups` is None.

    Raises:
        InputError: for a folder in a part that is none of the animals, an empty one, or files that are not images.
        MissingInputError: where there is no train folder.
    """
    parts = ["train", *(["val"] if os.path.isdir(os.path.join(folder, "val")) else [])]
    for part in parts:
        if os.path.isdir(os.path.join(folder, part)):
            _refuse_others(os.path.join(folder, part), ("cat", "dog", "wild"))
    return from_folders(folder, parts=parts)


def load_prostate_tiles(folder: str) -> Samples:
    """The prostate tiles, from three class folders or from the folders of the archives, each with class folders.

    Class folders may be written in any case; the class names are those of `PROSTATE_TISSUES`. Files are numbered
    without a name of the case, so `groups` is None.

    Returns:
        Samples; read from archives, `metadata` says in its column "archive" (institution and scanner) which one each
        tile is from.

    Raises:
        InputError: for a folder that is no class, or archives and class folders side by side.
        MissingInputError: where a class has no folder at all.
    """
    folders = visible(folder)[0]
    archives = [name for name in folders if name.endswith(PROSTATE_ARCHIVES)]
    if archives:
        _refuse_others(folder, archives, kind="folders of archives (no class folders beside them)")
        homes = [os.path.join(folder, archive) for archive in archives]
        folders = [name for home in homes for name in visible(home)[0]]
    for home in homes if archives else [folder]:
        _refuse_others(home, PROSTATE_TISSUES, any_case=True)
    absent = [name for name in PROSTATE_TISSUES if name.casefold() not in map(str.casefold, folders)]
    if absent:
        raise MissingInputError(
            f"{folder} has no class folder {', '.join(absent)}; needed are {', '.join(PROSTATE_TISSUES)}. "
            "Unpack every archive you took."
        )
    # By casefold: "Tumor" would else come before "gland", and the labels would be others.
    written = sorted(set(folders), key=str.casefold)
    samples = from_folders(folder, parts=archives or None, class_names=written)
    samples = replace(samples, class_names=PROSTATE_TISSUES)
    return _with_archives(samples) if archives else samples


def load_tumor(folder: str) -> Samples:
    """A folder of one's own with train, test1 and test2 (and val, where there is one), each of the same two classes.

    Classes come in the order of their names. A test part may lack one, training needs both. Nothing says which
    images are of one patient or slide, so `groups` is None.

    Raises:
        InputError: for other folders, more or fewer than two classes, or a class without training images.
        MissingInputError: where train, test1 or test2 is not there.
    """
    folders = visible(folder)[0]
    _refuse_others(folder, TUMOR_PARTS, kind="parts")
    absent = [part for part in TUMOR_PARTS if part != "val" and part not in folders]
    if absent:
        raise MissingInputError(
            f"{folder} has no part {', '.join(absent)}; needed are train, test1 and test2, and val is allowed. "
            "With other parts, read the folder with from_folders."
        )
    samples = from_folders(folder, parts=[part for part in TUMOR_PARTS if part in folders])
    if len(samples.class_names) != 2:
        raise InputError(
            f"{folder} has the classes {', '.join(samples.class_names)}; accepted are exactly two, of the same names "
            "in every part. Rename or remove class folders."
        )
    trained = set(samples.known_labels[samples.parts == "train"].tolist())
    untrained = [name for label, name in enumerate(samples.class_names) if label not in trained]
    if untrained:
        raise InputError(
            f"{os.path.join(folder, 'train')} has no images of class {', '.join(untrained)}, which other parts have. "
            "Training needs both classes; a class has the same name in every part."
        )
    return samples


def count_images(folder: str) -> dict[str, int]:
    """{"ADI": images that are there, ...}, or {"train/cat": ..., ...} where class folders lie in train and val."""
    folders = visible(folder)[0]
    parts = [part for part in ("train", "val") if part in folders]
    classes = [f"{part}/{name}" for part in parts for name in visible(os.path.join(folder, part))[0]] or folders
    return {name: sum(map(is_image, visible(os.path.join(folder, name))[1])) for name in classes}


def _with_archives(samples: Samples) -> Samples:
    """Where each tile is from as metadata: an archive is no training or test part."""
    import pandas as pd

    return replace(samples, parts=None, metadata=pd.DataFrame({"archive": samples.parts}))


def _refuse_others(folder: str, accepted: Collection[str], kind: str = "class folders", any_case: bool = False) -> None:
    """Refuses folders in `folder` that are not among `accepted`."""
    written = str.casefold if any_case else str
    names = {written(name) for name in accepted}
    others = [name for name in visible(folder)[0] if written(name) not in names]
    if others:
        raise InputError(
            f"{folder} holds {few(others)}; accepted {kind} are {', '.join(accepted)}. "
            "Rename what is meant by one of these, and move the rest elsewhere."
        )
