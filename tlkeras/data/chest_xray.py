"""The chest X-ray set on disk: its parts, and the patient in a file name."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tlkeras.data.sources import from_folders
from tlkeras.errors import InputError
from tlkeras.schema import Samples


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
    return from_folders(folder, parts=_parts(folder), group_of=chest_xray_group)


def count_chest_xray(folder: str) -> dict[str, int]:
    """{"train/NORMAL": images that are there, ...} for every class folder."""
    return {
        f"{part}/{class_folder.name}": sum(1 for _ in class_folder.glob("[!.]*.jp*g"))
        for part in _parts(folder)
        for class_folder in Path(folder, part).glob("[!.]*/")
    }


def _parts(folder: str) -> list[str]:
    # By name: the published archive also holds a second copy of itself.
    return [part for part in ("train", "val", "test") if os.path.isdir(os.path.join(folder, part))]
