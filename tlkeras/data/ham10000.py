"""HAM10000 on disk: its table of metadata and its images, held against each other before anything is used."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlkeras.data.file_contents import read_rows
from tlkeras.data.file_names import visible
from tlkeras.data.names import few, label_numbers, normal_form, spelled_alike, told_alike
from tlkeras.errors import InputError, MissingInputError
from tlkeras.schema import Samples

if TYPE_CHECKING:
    import pandas as pd

METADATA = "HAM10000_metadata.csv"
IMAGE_FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
# The published number of images of each dx.
DIAGNOSES = {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142}
OLDEST = 120  # years


def load_ham10000(folder: str) -> Samples:
    """The images of HAM10000 in the order of its metadata, grouped by lesion.

    Only the metadata and the two image folders are read. Hidden files are skipped, whatever else lies in `folder` is
    left aside.

    Args:
        folder: holds the metadata (comma-separated, UTF-8) and the image folders.

    Returns:
        Samples with the dx as class and the lesion as group. `metadata` has image_id, dx_type, age (years, float64, NaN
        where the cell is empty), sex, localization and any column beyond the published ones, all but age as written.

    Raises:
        InputError: metadata and images do not fit together, or a cell cannot be used. One error tells every problem of
            the folder, each on its own line with its count and up to three examples.
        MissingInputError: the same, where all that is wrong is that the metadata or images are not there.
    """
    paths, problems = _find_images(folder)
    try:
        rows = _read_metadata(os.path.join(folder, METADATA))
    except InputError as error:
        problems.append(_Problem(str(error), missing=isinstance(error, MissingInputError)))
    else:
        problems = [*_row_problems(rows, paths, folder), *problems]
    if problems:
        kind = MissingInputError if all(problem.missing for problem in problems) else InputError
        lines = "".join(f"\n  - {problem.line}" for problem in problems)
        raise kind(
            f"{folder} cannot be used as it is, and nothing was changed or left out. To be put right (rows are of "
            f"{METADATA}, 1 the first below the header):{lines}"
        )
    labels, class_names = label_numbers(rows["dx"].tolist(), None, METADATA)
    return Samples(
        images=tuple(paths[image_id] for image_id in rows["image_id"]),
        labels=labels,
        class_names=class_names,
        groups=rows["lesion_id"].to_numpy(dtype=object),
        metadata=rows.drop(columns=["dx", "lesion_id"]).assign(age=[float(age or "nan") for age in rows["age"]]),
        root=folder,
    )


def count_ham10000(folder: str) -> dict[str, int]:
    """{dx: images that are there}; empty where the metadata cannot be read, which `load_ham10000` tells."""
    try:
        rows = _read_metadata(os.path.join(folder, METADATA))
    except InputError:
        return {}
    if not {"image_id", "dx"} <= set(rows.columns):
        return {}
    there = rows["image_id"].isin(_find_images(folder)[0].keys()) & rows["dx"].isin(DIAGNOSES.keys())
    return {str(dx): count for dx, count in rows.loc[there, "dx"].value_counts().items()}


@dataclass(frozen=True)
class _Problem:
    line: str
    missing: bool = False  # something is not there, as opposed to something that is wrong


def _find_images(folder: str) -> tuple[dict[str, str], list[_Problem]]:
    """{image id: path} over both image folders, and what is wrong with these."""
    paths, twice, strange = {}, [], []
    for part in IMAGE_FOLDERS:
        if not os.path.isdir(os.path.join(folder, part)):
            continue  # its images may lie in the other folder; where they do not, their rows are told
        folders, names = visible(os.path.join(folder, part))
        strange += [f"{part}/{_shown(name)}" for name in folders]
        for name in names:
            image_id, suffix = os.path.splitext(name)
            path = os.path.join(folder, part, name)
            if suffix != ".jpg" or not os.path.isfile(path):
                strange.append(f"{part}/{_shown(name)}")
            elif image_id in paths:
                twice.append(_shown(name))
            else:
                paths[image_id] = path
    problems = []
    if twice:
        problems.append(_Problem(_told("images that lie in both image folders", twice, "Keep one of each.")))
    if strange:
        accepted = "Accepted are files named like ISIC_0024306.jpg; move others elsewhere."
        problems.append(_Problem(_told("entries of the image folders that are no .jpg files", strange, accepted)))
    return paths, problems


def _read_metadata(file: str) -> pd.DataFrame:
    """Every cell as written, as text; an InputError where the file is no table."""
    import pandas as pd

    try:
        header, body = read_rows(file)
    except MissingInputError as error:
        raise MissingInputError(f"there is no file {METADATA}. Put it beside the image folders.") from error
    except InputError as error:
        raise InputError(f"{error} Or take {METADATA} as it was published.") from error
    return pd.DataFrame(body, columns=header, dtype=str)


def _row_problems(rows: pd.DataFrame, paths: dict[str, str], folder: str) -> Iterator[_Problem]:
    """What is wrong with the metadata, alone and against the images. A column that is lacking is told once."""
    lacking = [column for column in COLUMNS if column not in rows]
    if lacking:
        has = ", ".join(_shown(column) for column in rows.columns)
        yield _Problem(f"{METADATA} has no column {', '.join(lacking)}; it has {has}. Add what is lacking.")
    if not len(rows):
        yield _Problem(f"{METADATA} has no rows. Take it as it was published.")
        return
    if "image_id" in rows:
        yield from _id_problems(rows["image_id"].tolist(), paths, folder)
    ids = rows["image_id"] if "image_id" in rows else [""] * len(rows)
    names = [_shown(image_id) or f"row {row}" for row, image_id in enumerate(ids, start=1)]
    if "dx" in rows:
        wrong = [f"{name} {_quoted(dx)}" for name, dx in zip(names, rows["dx"], strict=True) if dx not in DIAGNOSES]
        if wrong:
            yield _Problem(_told("rows with an unknown dx", wrong, f"Accepted are {', '.join(DIAGNOSES)}."))
    if "age" in rows:
        wrong = [f"{name} {_quoted(age)}" for name, age in zip(names, rows["age"], strict=True) if not _is_age(age)]
        if wrong:
            accepted = f"Accepted are years from 0 to {OLDEST}, such as 45.0, and an empty cell where it is not known."
            yield _Problem(_told("rows with an age that is none", wrong, accepted))
    if "lesion_id" in rows:
        yield from _lesion_problems(rows, names)


def _id_problems(ids: list[str], paths: dict[str, str], folder: str) -> Iterator[_Problem]:
    rows_of = {}
    for row, image_id in enumerate(ids, start=1):
        rows_of.setdefault(image_id, []).append(row)
    empty = [f"row {row}" for row in rows_of.pop("", [])]
    if empty:
        yield _Problem(_told("rows with an empty image_id", empty, "Fill or remove them."))
    repeated = [
        f"{_shown(each)} (rows {few([str(row) for row in rows])})" for each, rows in rows_of.items() if len(rows) > 1
    ]
    if repeated:
        yield _Problem(_told("image ids with more than one row", repeated, "Keep one row per image."))
    absent = [_shown(image_id) for image_id in rows_of if image_id not in paths]
    if absent:
        no_folder = [part for part in IMAGE_FOLDERS if not os.path.isdir(os.path.join(folder, part))]
        remedy = "".join(f"There is no folder {part}. " for part in no_folder) + "Unpack both image archives."
        spelled = {normal_form(image_id): image_id for image_id in paths}
        meant = [(image_id, spelled[form]) for image_id in absent if (form := normal_form(image_id)) in spelled]
        if meant:
            remedy += f" {meant[0][0]} is there as {meant[0][1]}.jpg: write ids as files are called."
        yield _Problem(_told("rows whose image is not there", absent, remedy), missing=True)
    unknown = [_shown(image_id) for image_id in paths if image_id not in rows_of]
    if unknown:
        yield _Problem(_told("images without a row", unknown, f"Remove them, or take the whole {METADATA}."))


def _lesion_problems(rows: pd.DataFrame, names: Sequence[str]) -> Iterator[_Problem]:
    lesions = rows["lesion_id"]
    empty = [name for name, lesion in zip(names, lesions, strict=True) if not lesion.strip()]
    if empty:
        remedy = "Fill them: images of one lesion must not come apart into training and test."
        yield _Problem(_told("rows with an empty lesion_id", empty, remedy))
    # "HAM_1" and "HAM_1 " would be two lesions, and could come apart.
    alike = [told_alike([names]) for names in spelled_alike(lesion for lesion in lesions if lesion.strip())]
    if alike:
        yield _Problem(_told("lesion ids written in two ways", alike, "Write each in one."))
    if "dx" in rows:
        diagnoses = rows.loc[lesions.str.strip() != ""].groupby("lesion_id", sort=False)["dx"].unique()
        several = [(str(lesion), dx) for lesion, dx in diagnoses.items() if len(dx) > 1]
        two = [f"{_shown(lesion)} ({', '.join(map(_shown, dx))})" for lesion, dx in several]
        if two:
            yield _Problem(_told("lesions with more than one dx", two, "Give all images of a lesion the same."))


def _is_age(cell: str) -> bool:
    return cell == "" or (re.fullmatch(r"[0-9]+(\.[0-9]*)?", cell) is not None and float(cell) <= OLDEST)


def _told(what: str, examples: Sequence[str], remedy: str) -> str:
    return f"{what}: {len(examples):,}, e.g. {', '.join(examples[:3])}. {remedy}"


def _shown(text: str) -> str:
    """`text` short and on one line, however odd the cell or file name."""
    return text if text.isprintable() and text == text.strip() and len(text) <= 60 else _quoted(text)


def _quoted(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:60]!r}..."
