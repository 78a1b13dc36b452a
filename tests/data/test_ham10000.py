import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkeras.data.datasets import load_dataset
from tlkeras.data.ham10000 import COLUMNS
from tlkeras.errors import InputError, MissingInputError

HEADER = ",".join(COLUMNS)
ROWS = (
    "HAM_1,ISIC_3,nv,histo,,male,back",
    "HAM_1,ISIC_1,nv,histo,45.0,male,back",
    "HAM_2,ISIC_2,df,histo,50.0,male,face",
    "HAM_3,ISIC_4,mel,histo,0.0,female,ear",
)
PART_OF = {"ISIC_1": 1, "ISIC_2": 1, "ISIC_3": 2, "ISIC_4": 2}


def write_ham10000(root, rows=ROWS, header=HEADER, part_of=PART_OF):
    """A set whose images are a few bytes: loading looks at names alone."""
    folder = root / "ham10000"
    for image_id, part in part_of.items():
        image = folder / f"HAM10000_images_part_{part}" / f"{image_id}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(image_id.encode())
    (folder / "HAM10000_metadata.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return folder


@pytest.fixture
def ham(tmp_path):
    return write_ham10000(tmp_path)


def load(folder):
    return load_dataset("ham10000", folder, check_counts=False)


def problems(folder, kind=InputError):
    """The lines that tell a problem each."""
    with pytest.raises(InputError) as caught:
        load(folder)
    assert type(caught.value) is kind
    return [line.removeprefix("  - ") for line in str(caught.value).splitlines() if line.startswith("  - ")]


def with_row(number, **cells):
    """ROWS with some cells of one row replaced."""
    changed = dict(zip(COLUMNS, ROWS[number].split(","), strict=True)) | cells
    return [*ROWS[:number], ",".join(changed.values()), *ROWS[number + 1 :]]


def test_rows_become_samples_in_their_order(ham):
    samples = load(ham.parent)
    assert samples.sample_ids.tolist() == [
        "HAM10000_images_part_2/ISIC_3.jpg",
        "HAM10000_images_part_1/ISIC_1.jpg",
        "HAM10000_images_part_1/ISIC_2.jpg",
        "HAM10000_images_part_2/ISIC_4.jpg",
    ]
    assert [os.path.basename(image) for image in samples.images] == [f"ISIC_{number}.jpg" for number in (3, 1, 2, 4)]
    assert samples.class_names == ("df", "mel", "nv")
    assert samples.labels.tolist() == [2, 2, 0, 1]
    assert samples.groups.tolist() == ["HAM_1", "HAM_1", "HAM_2", "HAM_3"]


def test_metadata_keeps_the_other_columns_and_tells_an_empty_age_as_nan(tmp_path):
    rows = [f"{row},{extra}" for row, extra in zip(ROWS, ("007", "NA", "", "path"), strict=True)]
    metadata = load(write_ham10000(tmp_path, rows, f"{HEADER},path")).metadata
    assert metadata.columns.tolist() == ["image_id", "dx_type", "age", "sex", "localization", "path"]
    assert metadata["age"].dtype == np.float64
    assert metadata["age"].isna().tolist() == [True, False, False, False]
    assert metadata["age"].tolist()[1:] == [45, 50, 0]
    assert metadata["path"].tolist() == ["007", "NA", "", "path"]


def test_counts_are_checked_per_class_and_told_with_every_other_problem(ham):
    with pytest.raises(InputError, match="nv: 2 of 6,705"):
        load_dataset("ham10000", ham)
    (ham / "HAM10000_images_part_2" / "ISIC_3.jpg").unlink()
    with pytest.raises(MissingInputError, match=r"(?s)not there: 1, e\.g\. ISIC_3\..*nv: 1 of 6,705.*Dataverse"):
        load_dataset("ham10000", ham)


def test_hidden_files_and_other_entries_of_the_folder_are_left_aside(ham):
    for name in (".DS_Store", "._ISIC_1.jpg", "Thumbs.db", "desktop.ini"):
        (ham / "HAM10000_images_part_1" / name).touch()
    (ham / "original_600x450_sample").mkdir()
    (ham / "original_600x450_sample" / "ISIC_1.jpg").touch()
    (ham / "subset_lesion_grouped.csv").write_text("lesion_id\n")
    assert len(load(ham)) == 4


def test_one_folder_may_hold_all_images(ham):
    for image in (ham / "HAM10000_images_part_2").iterdir():
        image.rename(ham / "HAM10000_images_part_1" / image.name)
    (ham / "HAM10000_images_part_2").rmdir()
    assert len(load(ham)) == 4


def test_images_that_are_missing(ham):
    (ham / "HAM10000_images_part_1" / "ISIC_2.jpg").unlink()
    shutil.rmtree(ham / "HAM10000_images_part_2")
    assert problems(ham, MissingInputError) == [
        "rows whose image is not there: 3, e.g. ISIC_3, ISIC_2, ISIC_4. There is no folder HAM10000_images_part_2. "
        "Unpack both image archives."
    ]


def test_missing_metadata(ham):
    (ham / "HAM10000_metadata.csv").unlink()
    (line,) = problems(ham, MissingInputError)
    assert line.startswith("there is no file HAM10000_metadata.csv.")


def test_an_image_without_a_row(ham):
    for number in range(5, 10):
        (ham / "HAM10000_images_part_1" / f"ISIC_{number}.jpg").touch()
    assert problems(ham) == [
        "images without a row: 5, e.g. ISIC_5, ISIC_6, ISIC_7. Remove them, or take the whole HAM10000_metadata.csv."
    ]


def test_an_image_in_both_folders(ham):
    shutil.copy(ham / "HAM10000_images_part_1" / "ISIC_1.jpg", ham / "HAM10000_images_part_2")
    assert problems(ham) == ["images that lie in both image folders: 1, e.g. ISIC_1.jpg. Keep one of each."]


def test_entries_that_are_no_image_of_the_set(ham):
    images = ham / "HAM10000_images_part_2"
    (images / "ISIC_5.png").touch()
    (images / "notes\n.txt").touch()
    (images / "more").mkdir()
    (images / "ISIC_4.jpg").unlink()
    (images / "ISIC_4.jpg").symlink_to("nowhere.jpg")
    absent, strange = problems(ham)
    assert "not there: 1, e.g. ISIC_4." in absent
    assert strange.startswith(
        "entries of the image folders that are no .jpg files: 4, e.g. HAM10000_images_part_2/more, "
        "HAM10000_images_part_2/ISIC_4.jpg, HAM10000_images_part_2/ISIC_5.png. "
    )


@pytest.mark.parametrize(
    ("number", "cells", "told"),
    [
        (
            2,
            {"dx": "NV"},
            "rows with an unknown dx: 1, e.g. ISIC_2 'NV'. Accepted are akiec, bcc, bkl, df, mel, nv, vasc.",
        ),
        (2, {"dx": ""}, "rows with an unknown dx: 1, e.g. ISIC_2 ''. "),
        (2, {"age": "-5.0"}, "rows with an age that is none: 1, e.g. ISIC_2 '-5.0'. "),
        (2, {"age": "121"}, "rows with an age that is none: 1, e.g. ISIC_2 '121'. "),
        (2, {"age": "fifty"}, "rows with an age that is none: 1, e.g. ISIC_2 'fifty'. "),
        (2, {"age": "x" * 999}, f"rows with an age that is none: 1, e.g. ISIC_2 '{'x' * 60}'.... "),
        (2, {"lesion_id": ""}, "rows with an empty lesion_id: 1, e.g. ISIC_2. "),
        (2, {"lesion_id": "  "}, "rows with an empty lesion_id: 1, e.g. ISIC_2. "),
        (1, {"lesion_id": "HAM_1 "}, "lesion ids written in two ways: 1, e.g. 'HAM_1' and 'HAM_1 '. "),
        (1, {"dx": "mel"}, "lesions with more than one dx: 1, e.g. HAM_1 (nv, mel). "),
    ],
)
def test_a_cell_that_cannot_be_used(tmp_path, number, cells, told):
    (line,) = problems(write_ham10000(tmp_path, with_row(number, **cells)))
    assert line.startswith(told)


def test_an_image_id_that_comes_twice(tmp_path):
    assert problems(write_ham10000(tmp_path, [*ROWS, ROWS[1]])) == [
        "image ids with more than one row: 1, e.g. ISIC_1 (rows 2, 5). Keep one row per image."
    ]


def test_an_empty_image_id(tmp_path):
    empty, unknown = problems(write_ham10000(tmp_path, with_row(3, image_id="", age="old")))[:2]
    assert empty.startswith("rows with an empty image_id: 1, e.g. row 4. ")
    assert unknown.startswith("images without a row: 1, e.g. ISIC_4. ")


def test_columns_that_are_lacking_do_not_hide_what_is_wrong_in_the_others(tmp_path):
    folder = write_ham10000(tmp_path, ["ISIC_1,nv,-1", "ISIC_9,nv,5"], "image_id,dx,age")
    lacking, absent, unknown, age = problems(folder)
    assert lacking == (
        "HAM10000_metadata.csv has no column lesion_id, dx_type, sex, localization; it has image_id, dx, age. "
        "Add what is lacking."
    )
    assert "not there: 1, e.g. ISIC_9." in absent
    assert "without a row: 3, e.g. ISIC_2, " in unknown
    assert "e.g. ISIC_1 '-1'." in age


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a comma-separated UTF-8 table with a header: it is empty."),
        (HEADER.encode(), "has no rows."),
        (b"\xff\xfel\x00e\x00", "is not a comma-separated UTF-8 table"),
        (HEADER.encode() + b'\n"HAM_1,ISIC_1,nv', "Correct its quotes."),
        (b"dx,age,dx\n", "names a column twice: dx."),
        (
            f"{HEADER}\n{ROWS[0]}\n\n{ROWS[1]},x\nHAM_2,ISIC_2,df\n".encode(),
            "line 4 has 8, line 5 has 3 cells, its header 7.",
        ),
        (f"{HEADER}\n{ROWS[0]}\n".replace(",", ";").encode(), "Separate the columns by commas, not by semicolons."),
        (f"{HEADER}\n{ROWS[0]}\n".replace(",", "\t").encode(), "Separate the columns by commas, not by tabs."),
    ],
)
def test_metadata_that_is_no_such_table(ham, content, told):
    (ham / "HAM10000_metadata.csv").write_bytes(content)
    (line,) = problems(ham)
    assert "HAM10000_metadata.csv" in line
    assert told in line


def test_a_byte_order_mark_windows_line_ends_and_quoted_cells_are_read(ham):
    content = "\ufeff" + "\r\n".join([HEADER, *ROWS, ""]).replace("back", '"lower back, left"')
    (ham / "HAM10000_metadata.csv").write_bytes(content.encode())
    assert load(ham).metadata["localization"].tolist() == ["lower back, left"] * 2 + ["face", "ear"]


DAMAGES = {
    "rows with an unknown dx": {2: {"dx": "nevus"}},
    "rows with an age that is none": {1: {"age": "-1"}},
    "rows with an empty lesion_id": {3: {"lesion_id": ""}},
    "lesions with more than one dx": {0: {"dx": "bkl"}},
    "image ids with more than one row": "a fifth row",
    "images that lie in both image folders": "a copy",
    "images without a row": "a further image",
    "rows whose image is not there": "a removed image",
    "entries of the image folders that are no .jpg files": "a text file",
}


@settings(max_examples=30, deadline=None)
@given(st.sets(st.sampled_from(sorted(DAMAGES))))
def test_one_error_tells_every_problem_and_no_other(tmp_path_factory, chosen):
    table = [dict(zip(COLUMNS, row.split(","), strict=True)) for row in ROWS]
    for damage in chosen:
        if isinstance(DAMAGES[damage], dict):
            for row, cells in DAMAGES[damage].items():
                table[row] |= cells
    if "image ids with more than one row" in chosen:
        table.append(table[2])
    folder = write_ham10000(tmp_path_factory.mktemp("ham"), [",".join(row.values()) for row in table])
    first, second = folder / "HAM10000_images_part_1", folder / "HAM10000_images_part_2"
    if "images that lie in both image folders" in chosen:
        shutil.copy(first / "ISIC_1.jpg", second)
    if "images without a row" in chosen:
        (first / "ISIC_8.jpg").touch()
    if "rows whose image is not there" in chosen:
        (first / "ISIC_2.jpg").unlink()
    if "entries of the image folders that are no .jpg files" in chosen:
        (second / "notes.txt").touch()
    if not chosen:
        assert len(load(folder)) == 4
        return
    kind = MissingInputError if chosen == {"rows whose image is not there"} else InputError
    assert {line.split(":")[0] for line in problems(folder, kind)} == chosen


@pytest.mark.real
def test_real_ham10000(real_data):
    samples = load_dataset("ham10000", real_data)
    assert len(samples) == 10_015
    assert len(set(samples.groups)) == 7_470
    assert (np.unique(samples.groups.astype(str), return_counts=True)[1] > 1).sum() == 1_956
    assert samples.metadata["age"].isna().sum() == 57
