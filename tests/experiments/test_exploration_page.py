from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from ham10000_exploration.page import write_exploration
from PIL import Image

from tlkeras.errors import InputError
from tlkeras.schema import Samples

CITATION, LICENCE = "A. Author, A set of images, 2018.", "CC BY-NC 4.0"


def read_flat(path, image_size):
    """Pixels of one value each: image i is 10 * i + 0.6, so shown as 10 * i + 1."""
    return np.full((*image_size, 3), 10 * int(path[-5]) + 0.6, np.float32)


@pytest.fixture(scope="module")
def folder(toy_lesions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("eda") / "new"
    page = write_exploration(toy_lesions, folder, read_image=read_flat, citation=CITATION, licence=LICENCE)
    assert page == folder / "eda.md"
    return folder


def test_every_figure_is_written_with_its_numbers_and_shown_on_the_page(folder):
    table = pd.read_csv(folder / "eda.csv")
    assert set(table.groupby("figure")["images"].sum()) == {6}
    figures = table["figure"].unique()
    written = {path.name for path in folder.iterdir()}
    assert written == {
        "eda.md",
        "eda.csv",
        "summary.csv",
        "sheet_samples.png",
        *(f"{figure}.png" for figure in figures),
    }
    page = (folder / "eda.md").read_text()
    assert all(f"]({figure}.png)" in page for figure in figures)
    assert "](sheet_samples.png)" not in page  # it is not published, and a page must not show a hole
    assert pd.read_csv(folder / "summary.csv").loc[0, ["unknown", "max"]].tolist() == [1, 80]


def test_the_page_tells_the_numbers_in_words(folder):
    page = (folder / "eda.md").read_text()
    assert f"6 images of 5 lesions. Data: {CITATION} Licence: {LICENCE}." in page
    assert "1 ages are not recorded; they were filled with the mean of the others, 51.00." in page
    assert "is Melanocytic nevi (nv), 3 images, the least frequent Melanoma (mel), 1: 3 to 1." in page
    assert "1 lesions (20.0 %) have more than one image; 2 images (33.3 %) have a sibling" in page
    # nv has two lesions: the one with two images is shown once.
    shown = [line for line in page.splitlines() if line.startswith("| Melanocytic nevi ") and "ISIC" in line]
    assert len(shown) == 1
    assert shown[0].count("ISIC_") == 2
    assert "ISIC_2" in shown[0]


def test_thumbnails_are_125_by_100_pixels_of_the_file(folder):
    sheet = np.asarray(Image.open(folder / "sheet_samples.png").convert("RGB"))[:, :, 0]
    # mel has one image, number 3; edges of letters may have its value too.
    full = [row for row in sheet if np.count_nonzero(row == 31) >= 125]
    assert len(full) == 100
    assert all("".join("x" if value == 31 else " " for value in row).split()[-1] == "x" * 125 for row in full)


def test_arrays_are_refused(tmp_path):
    arrays = Samples(images=np.zeros((1, 4, 4, 3), np.uint8), labels=np.array([0]), class_names=("nv",))
    with pytest.raises(InputError, match="received arrays"):
        write_exploration(arrays, tmp_path / "eda", read_image=read_flat, citation=CITATION, licence=LICENCE)
    assert not (tmp_path / "eda").exists()
