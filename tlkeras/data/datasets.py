"""The data sets that the experiments know: where they come from, how they lie, what must be in them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tlkeras.data.ham10000 import DIAGNOSES, IMAGE_FOLDERS, METADATA, count_ham10000, load_ham10000
from tlkeras.data.sources import from_folders
from tlkeras.schema import InputError, MissingInputError, Samples


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


@dataclass(frozen=True)
class DatasetRow:
    """A published data set that the experiments know.

    Attributes:
        name: its key in `DATASETS` and the name of its folder.
        title: its name in prose.
        layout: the tree of folders and files that is expected.
        licence: the terms of use.
        citation: what to cite.
        source: where to get it.
        entries: what lies at the top of its folder.
        counts: images per class, "train/NORMAL" or "NORMAL" where the set has no parts of its own.
        count: counts the images found in a folder, keyed as `counts`; empty where none can be counted.
        load: reads a folder.
    """

    name: str
    title: str
    layout: str
    licence: str
    citation: str
    source: str
    entries: tuple[str, ...]
    counts: dict[str, int]
    count: Callable[[str], dict[str, int]]
    load: Callable[[str], Samples]

    def how_to_get(self) -> str:
        """Where the set comes from and how it must lie, in lines for an error message."""
        return f"Get {self.title} ({self.licence}) from {self.source}, and unpack it so that it lies as\n{self.layout}"


def load_dataset(name: str, root: str | os.PathLike, *, check_counts: bool = True) -> Samples:
    """A data set of the `DATASETS` table, read from disk.

    Args:
        name: its key in the table.
        root: the folder that holds a folder of that name, or this folder itself.
        check_counts: refuse a folder without exactly the expected images of each class. False takes a smaller copy;
            everything else is checked all the same.

    Raises:
        InputError: for an unknown name, or a folder that is not complete: what was found, and where to get it.
        MissingInputError: where there is no such folder, or files of it are not there.
    """
    if name not in DATASETS:
        raise InputError(
            f"name: received {name!r}; accepted are {', '.join(DATASETS)}. For your own data: from_folders."
        )
    row, root = DATASETS[name], os.path.abspath(os.fsdecode(root))
    folder = _dataset_folder(row, root)
    differences = _told_counts(row, folder) if check_counts else []
    try:
        samples = row.load(folder)
    except InputError as error:
        raise type(error)("\n".join([str(error), *differences, row.how_to_get()])) from error
    if differences:
        raise InputError("\n".join([*differences, row.how_to_get()]))
    return samples


def _told_counts(row: DatasetRow, folder: str) -> list[str]:
    """Where the images of a class are not as many as expected: lines for an error message."""
    found = row.count(folder)
    if found in ({}, row.counts):
        return []
    return [
        f"{folder} does not hold the expected images of each class; found",
        *(f"  {key}: {found.get(key, 0):,} of {row.counts.get(key, 0):,}" for key in {**row.counts, **found}),
        "Unpack it again, or pass check_counts=False to take another number of images.",
    ]


def _dataset_folder(row: DatasetRow, root: str) -> str:
    below = os.path.join(root, row.name)
    candidates = [below, root]
    if os.path.basename(root) == row.name:
        candidates.reverse()  # the published chest X-ray archive holds a folder of its own name
    for folder in candidates:
        if any(os.path.exists(os.path.join(folder, entry)) for entry in row.entries):
            return folder
    held = ", ".join(sorted(os.listdir(root))[:10]) or "nothing" if os.path.isdir(root) else "no such folder"
    raise MissingInputError(
        f"{row.title}: found none of {', '.join(row.entries)} in {below} or {root} (which holds: {held}).\n"
        f"{row.how_to_get()}"
    )


def _chest_xray_parts(folder: str) -> list[str]:
    # By name: the published archive also holds a second copy of itself.
    return [part for part in ("train", "val", "test") if os.path.isdir(os.path.join(folder, part))]


def _count_chest_xray(folder: str) -> dict[str, int]:
    return {
        f"{part}/{class_folder.name}": sum(1 for _ in class_folder.glob("[!.]*.jp*g"))
        for part in _chest_xray_parts(folder)
        for class_folder in Path(folder, part).glob("[!.]*/")
    }


def _load_chest_xray(folder: str) -> Samples:
    return from_folders(folder, parts=_chest_xray_parts(folder), group_of=chest_xray_group)


DATASETS: dict[str, DatasetRow] = {
    row.name: row
    for row in (
        DatasetRow(
            name="chest_xray",
            title="Chest X-ray images (pneumonia)",
            layout=(
                "chest_xray/\n"
                "  train/NORMAL/     1,341 images, e.g. IM-0115-0001.jpeg\n"
                "  train/PNEUMONIA/  3,875 images, e.g. person1_bacteria_1.jpeg\n"
                "  val/NORMAL/           8 images\n"
                "  val/PNEUMONIA/        8 images\n"
                "  test/NORMAL/        234 images\n"
                "  test/PNEUMONIA/     390 images"
            ),
            licence="CC BY 4.0",
            citation=(
                "Kermany DS, Goldbaum M, Cai W, et al. Identifying Medical Diagnoses and Treatable Diseases by "
                "Image-Based Deep Learning. Cell 172(5):1122-1131, 2018. doi:10.1016/j.cell.2018.02.010"
            ),
            source="Kaggle, https://www.kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia",
            entries=("train", "val", "test"),
            counts={
                "train/NORMAL": 1341,
                "train/PNEUMONIA": 3875,
                "val/NORMAL": 8,
                "val/PNEUMONIA": 8,
                "test/NORMAL": 234,
                "test/PNEUMONIA": 390,
            },
            count=_count_chest_xray,
            load=_load_chest_xray,
        ),
        DatasetRow(
            name="ham10000",
            title="HAM10000 dermatoscopic images",
            layout=(
                "ham10000/\n"
                "  HAM10000_metadata.csv    lesion_id,image_id,dx,dx_type,age,sex,localization\n"
                "  HAM10000_images_part_1/  5,000 images, e.g. ISIC_0024306.jpg\n"
                "  HAM10000_images_part_2/  5,015 images"
            ),
            licence="CC BY-NC 4.0",
            citation=(
                "Tschandl P, Rosendahl C, Kittler H. The HAM10000 dataset, a large collection of multi-source "
                "dermatoscopic images of common pigmented skin lesions. Scientific Data 5:180161, 2018. "
                "doi:10.1038/sdata.2018.161"
            ),
            source="Harvard Dataverse, https://doi.org/10.7910/DVN/DBW86T",
            entries=(METADATA, *IMAGE_FOLDERS),
            counts=DIAGNOSES,
            count=count_ham10000,
            load=load_ham10000,
        ),
    )
}
