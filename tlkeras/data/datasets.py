"""The data sets that the experiments know: where they come from, how they lie, what must be in them."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tlkeras.data.class_folders import (
    AFHQ_ANIMALS,
    NCT_TISSUES,
    PROSTATE_ARCHIVES,
    PROSTATE_TISSUES,
    count_chest_xray,
    count_images,
    load_afhq,
    load_chest_xray,
    load_nct_crc_he,
    load_prostate_tiles,
    load_tumor,
)
from tlkeras.data.ham10000 import DIAGNOSES, IMAGE_FOLDERS, METADATA, count_ham10000, load_ham10000
from tlkeras.data.medmnist import COLLECTION, PARTS, SETS, SIZES, SOURCE, MedMNIST, count_medmnist, load_medmnist, named
from tlkeras.errors import InputError, MissingInputError
from tlkeras.schema import Samples


@dataclass(frozen=True)
class DatasetRow:
    """A published data set that the experiments know.

    Attributes:
        name: its key in `DATASETS`, and the name of its folder; of a set that is a file, folder/file without ending.
        title: its name in prose.
        layout: the tree of folders and files that is expected.
        licence: the terms of use.
        citation: what to cite.
        source: where to get it; empty for a layout of one's own images.
        published_pixels: width x height of the images as published, "varying" where they differ, empty where none are
            published. A copy on the disk may have others: `tl.audit` measures them.
        entries: what lies at the top of its folder, "*" for any text.
        n_classes: how many classes it has as published.
        counts: images per class, "train/NORMAL" or "NORMAL" where the set has no parts of its own, or per part where
            no more is published; empty where the published numbers are not known, and then none are checked.
        load: reads a folder.
        count: counts the images found in a folder, keyed as `counts`; empty where none can be counted. None goes with
            empty `counts`.
    """

    name: str
    title: str
    layout: str
    licence: str
    citation: str
    source: str
    published_pixels: str
    entries: tuple[str, ...]
    n_classes: int
    counts: dict[str, int]
    load: Callable[[str], Samples]
    count: Callable[[str], dict[str, int]] | None = None

    @property
    def n_images(self) -> int | None:
        """How many images the set has over all parts and classes, as published; None where that is not known."""
        return sum(self.counts.values()) if self.counts else None

    @property
    def folder(self) -> str:
        """The name of the folder that it lies in."""
        return self.name.split("/", maxsplit=1)[0]

    @property
    def is_one_file(self) -> bool:
        """Whether it is one of the files of a collection, which lie in one folder and which nobody has all of."""
        return self.folder != self.name

    def how_to_get(self) -> str:
        """Where the set comes from and how it must lie, in lines for an error message."""
        if not self.source:
            return f"{self.title}: {self.citation} Lay out your own images as\n{self.layout}"
        return f"Get {self.title} ({self.licence}) from {self.source}, and unpack it so that it lies as\n{self.layout}"


def load_dataset(name: str, root: str | os.PathLike, *, check_counts: bool = True) -> Samples:
    """A data set of the `DATASETS` table, read from disk.

    Args:
        name: its key in the table.
        root: the folder that holds a folder of that name (of "medmnist/pathmnist" one of the name medmnist), or this
            folder itself.
        check_counts: refuse a folder without exactly the expected images of each class, where the published numbers
            are known. False takes a smaller copy; everything else is checked all the same.

    Raises:
        InputError: for an unknown name, or a folder that is not complete: what was found, and where to get it.
        MissingInputError: where there is no such folder, or files of it are not there.
    """
    if name not in DATASETS:
        whole = ", ".join(name for name, row in DATASETS.items() if not row.is_one_file)
        sets = ", ".join(described.name for described in SETS)
        raise InputError(
            f"name: received {name!r}; accepted are {whole}, and medmnist/ with {sets}, at more than {SIZES[0]} pixels "
            f"{', '.join(f'_{size}' for size in SIZES[1:])} behind it. For your own data: from_folders."
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
    if not row.counts or row.count is None:
        return []
    found = row.count(folder)
    if found in ({}, row.counts):
        return []
    return [
        f"{folder} does not hold the expected images of each class; found",
        *(f"  {key}: {found.get(key, 0):,} of {row.counts.get(key, 0):,}" for key in {**row.counts, **found}),
        "Unpack it again, or pass check_counts=False to take another number of images.",
    ]


def _dataset_folder(row: DatasetRow, root: str) -> str:
    below = os.path.join(root, row.folder)
    candidates = [below, root]
    if os.path.basename(root) == row.folder:
        candidates.reverse()  # the published chest X-ray archive holds a folder of its own name
    for folder in candidates:
        if any(glob.glob(os.path.join(glob.escape(folder), entry)) for entry in row.entries):
            return folder
    held = ", ".join(sorted(os.listdir(root))[:10]) or "nothing" if os.path.isdir(root) else "no such folder"
    raise MissingInputError(
        f"{row.title}: found none of {', '.join(row.entries)} in {below} or {root} (which holds: {held}).\n"
        f"{row.how_to_get()}"
    )


def _medmnist_row(described: MedMNIST, size: int) -> DatasetRow:
    name = named(described.name, size)
    parts = ", ".join(f"{part} {n:,} images" for part, n in zip(PARTS, described.counts, strict=True))
    return DatasetRow(
        name=f"medmnist/{name}",
        title=f"{described.title} ({size}x{size} pixels)",
        layout=f"medmnist/\n  {name}.npz  {parts}",
        licence=described.licence,
        citation=f"{COLLECTION}. The images: {described.cite}",
        source=f"{SOURCE} ({name}.npz)",
        published_pixels=f"{size}x{size}",
        entries=(f"{name}.npz",),
        n_classes=len(described.class_names),
        counts=dict(zip(PARTS, described.counts, strict=True)),
        load=partial(load_medmnist, described=described, size=size),
        count=partial(count_medmnist, described=described, size=size),
    )


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
            published_pixels="varying",
            entries=("train", "val", "test"),
            n_classes=2,
            counts={
                "train/NORMAL": 1341,
                "train/PNEUMONIA": 3875,
                "val/NORMAL": 8,
                "val/PNEUMONIA": 8,
                "test/NORMAL": 234,
                "test/PNEUMONIA": 390,
            },
            count=count_chest_xray,
            load=load_chest_xray,
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
            published_pixels="600x450",
            entries=(METADATA, *IMAGE_FOLDERS),
            n_classes=7,
            counts=DIAGNOSES,
            count=count_ham10000,
            load=load_ham10000,
        ),
        DatasetRow(
            name="nct_crc_he_100k",
            title="NCT-CRC-HE-100K, tiles of colorectal tissue",
            layout=(
                "nct_crc_he_100k/  (the folder NCT-CRC-HE-100K of the archive, renamed; not NCT-CRC-HE-100K-NONORM)\n"
                "  ADI/   10,407 images, e.g. ADI-AAAMHQMK.tif\n"
                "  BACK/  10,566 images\n"
                "  DEB/   11,512 images\n"
                "  LYM/   11,557 images\n"
                "  MUC/    8,896 images\n"
                "  MUS/   13,536 images\n"
                "  NORM/   8,763 images\n"
                "  STR/   10,446 images\n"
                "  TUM/   14,317 images"
            ),
            licence="CC BY 4.0",
            citation=(
                "Kather JN, Halama N, Marx A. 100,000 histological images of human colorectal cancer and healthy "
                "tissue. Zenodo, 2018. doi:10.5281/zenodo.1214456"
            ),
            source="Zenodo, https://doi.org/10.5281/zenodo.1214456 (NCT-CRC-HE-100K.zip)",
            published_pixels="224x224",
            entries=tuple(NCT_TISSUES),
            n_classes=9,  # habel2023 writes eight
            counts=NCT_TISSUES,
            count=count_images,
            load=load_nct_crc_he,
        ),
        DatasetRow(
            name="prostate_tiles",
            title="Prostate tiles (Datasets digital pathology and artifacts, part 1)",
            layout=(
                "prostate_tiles/\n"
                "  Gland/\n"
                "  Nongland/\n"
                "  Tumor/     tiles, e.g. tu.1001.jpg\n"
                "or with a folder for each archive, in which its class folders lie:\n"
                "  01_case_western_native/{gland,nongland,tumor}/\n"
                "  02_training_native/{gland,nongland,tumor}/  and so on"
            ),
            licence="licence: see the record",
            citation=(
                "Tolkach Y. Datasets digital pathology and artifacts, part 1. Zenodo, 2021. "
                "doi:10.5281/zenodo.4789576; Schömig-Markiefka B, et al. Quality control stress test for deep "
                "learning-based diagnostic model in digital pathology. Modern Pathology 34(12):2098-2108, 2021. "
                "doi:10.1038/s41379-021-00859-x"
            ),
            source="Zenodo, https://doi.org/10.5281/zenodo.4789576",
            published_pixels="300x300",  # as habel2023 prints it
            entries=(*PROSTATE_TISSUES, *map(str.lower, PROSTATE_TISSUES), f"*{PROSTATE_ARCHIVES}"),
            n_classes=3,
            counts={},  # habel2023 writes 120,000 in all; the record's own numbers could not be looked up
            load=load_prostate_tiles,
        ),
        DatasetRow(
            name="afhq",
            title="Animal Faces-HQ (AFHQ), first version",
            layout=(
                "afhq/\n"
                "  train/cat/   5,153 images, e.g. flickr_cat_000008.jpg\n"
                "  train/dog/   4,739 images\n"
                "  train/wild/  4,738 images\n"
                "  val/cat/       500 images\n"
                "  val/dog/       500 images\n"
                "  val/wild/      500 images"
            ),
            licence="CC BY-NC 4.0",
            citation=(
                "Choi Y, Uh Y, Yoo J, Ha J-W. StarGAN v2: Diverse Image Synthesis for Multiple Domains. CVPR, 2020. "
                "arXiv:1912.01865"
            ),
            source=(
                "Kaggle, https://www.kaggle.com/datasets/andrewmvd/animal-faces, or "
                "https://github.com/clovaai/stargan-v2 (afhq-dataset)"
            ),
            published_pixels="512x512",
            entries=("train", "val"),
            n_classes=3,
            counts=AFHQ_ANIMALS,
            count=count_images,
            load=load_afhq,
        ),
        DatasetRow(
            name="tumor",
            title="Tumour or no tumour, images of one's own",
            layout=(
                "tumor/  (any two names of classes, the same in every part)\n"
                "  train/no_tumor/  train/tumor/\n"
                "  test1/no_tumor/  test1/tumor/\n"
                "  test2/no_tumor/  test2/tumor/\n"
                "  val/no_tumor/    val/tumor/    (may be left out)"
            ),
            licence="terms of their owner",
            citation="The course data of liang2024 were not published; nothing can be downloaded.",
            source="",
            published_pixels="",
            entries=("train", "test1", "test2"),
            n_classes=2,
            counts={},
            load=load_tumor,
        ),
        *(_medmnist_row(described, size) for described in SETS for size in SIZES),
    )
}
