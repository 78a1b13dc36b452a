import dataclasses

import numpy as np
import pytest
from PIL import Image

from tlkeras.data.class_folders import count_images
from tlkeras.data.datasets import DATASETS, load_dataset
from tlkeras.errors import InputError, MissingInputError

NCT = {
    "nct_crc_he_100k/MUS/MUS-AAAMHQMK.tif",
    "nct_crc_he_100k/MUS/MUS-AAEQDPRN.tif",
    "nct_crc_he_100k/NORM/NORM-AAALQERY.tif",
    "nct_crc_he_100k/STR/STR-AAFMQPNN.tif",
}
AFHQ = {
    "afhq/train/cat/flickr_cat_000002.jpg",
    "afhq/train/cat/pixabay_cat_000003.jpg",
    "afhq/train/dog/flickr_dog_000002.jpg",
    "afhq/train/wild/flickr_wild_000002.jpg",
    "afhq/val/cat/flickr_cat_000008.jpg",
    "afhq/val/dog/flickr_dog_000043.jpg",
    "afhq/val/wild/flickr_wild_000004.jpg",
}
PROSTATE = {
    "prostate_tiles/gland/gl.1001.jpg",
    "prostate_tiles/nongland/ng.1001.jpg",
    "prostate_tiles/nongland/ng.1002.jpg",
    "prostate_tiles/tumor/tu.1001.jpg",
}
TUMOR = {
    "tumor/train/no_tumor/a.png",
    "tumor/train/tumor/b.png",
    "tumor/test1/no_tumor/c.png",
    "tumor/test1/tumor/d.png",
    "tumor/test2/no_tumor/e.png",
    "tumor/test2/tumor/f.png",
}
HIDDEN = (".DS_Store", "Thumbs.db", "._MUS-AAAMHQMK.tif")


def write(root, names):
    """Images of 3x2 pixels, each of its own grey."""
    for grey, name in enumerate(sorted(names)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 3, 3), 40 + grey, np.uint8)).save(root / name)
    return root


def load(root, name):
    return load_dataset(name, root, check_counts=False)


def refused(root, name, kind=InputError):
    """The error message, which names the layout whatever else it says."""
    with pytest.raises(InputError) as caught:
        load(root, name)
    assert type(caught.value) is kind
    assert DATASETS[name].layout in str(caught.value)
    assert DATASETS[name].source in str(caught.value)
    return str(caught.value)


def with_counts(monkeypatch, name, counts):
    monkeypatch.setitem(DATASETS, name, dataclasses.replace(DATASETS[name], counts=counts))


# --- NCT-CRC-HE-100K -------------------------------------------------------------------------------------------------


def test_nct_crc_he_100k(tmp_path):
    write(tmp_path, NCT)
    samples = load(tmp_path, "nct_crc_he_100k")
    assert samples.class_counts() == {"MUS": 2, "NORM": 1, "STR": 1}
    assert samples.sample_ids.tolist() == [
        "MUS/MUS-AAAMHQMK.tif",
        "MUS/MUS-AAEQDPRN.tif",
        "NORM/NORM-AAALQERY.tif",
        "STR/STR-AAFMQPNN.tif",
    ]
    assert (samples.parts, samples.groups) == (None, None)
    as_unpacked = (tmp_path / "nct_crc_he_100k").rename(tmp_path / "NCT-CRC-HE-100K")
    assert load(as_unpacked, "nct_crc_he_100k").sample_ids.tolist() == samples.sample_ids.tolist()


def test_tif_tiles_are_read(tmp_path):
    from tlkeras.data.images import read_pixels

    samples = load(write(tmp_path, NCT), "nct_crc_he_100k")
    assert [int(read_pixels(path, (2, 3)).mean()) for path in samples.images] == [40, 41, 42, 43]


def test_nct_counts_are_told_without_the_hidden_files(tmp_path):
    write(tmp_path, NCT)
    for name in HIDDEN:
        (tmp_path / "nct_crc_he_100k" / "MUS" / name).touch()
    with pytest.raises(InputError) as caught:
        load_dataset("nct_crc_he_100k", tmp_path)
    message = str(caught.value)
    assert "MUS: 2 of 13,536" in message
    assert "DEB: 0 of 11,512" in message
    assert "zenodo.1214456" in message
    assert len(load(tmp_path, "nct_crc_he_100k")) == 4


def test_the_expected_counts_are_taken(tmp_path, monkeypatch):
    write(tmp_path, NCT | AFHQ)
    with_counts(monkeypatch, "nct_crc_he_100k", {"MUS": 2, "NORM": 1, "STR": 1})
    assert len(load_dataset("nct_crc_he_100k", tmp_path)) == 4
    afhq = {f"{part}/{name}": 1 for part in ("train", "val") for name in ("cat", "dog", "wild")} | {"train/cat": 2}
    with_counts(monkeypatch, "afhq", afhq)
    assert len(load_dataset("afhq", tmp_path)) == 7
    with_counts(monkeypatch, "afhq", afhq | {"val/dog": 2})
    with pytest.raises(InputError, match="val/dog: 1 of 2"):
        load_dataset("afhq", tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nct_crc_he_100k/CRC-VAL-HE-7K/ADI/ADI-TCGA-AAICEQFN.tif", "CRC-VAL-HE-7K; accepted class folders are ADI"),
        ("nct_crc_he_100k/MUS/more/MUS-AAAAAAAA.tif", "MUS holds folders: more"),
        ("nct_crc_he_100k/MUS-AAAAAAAA.tif", "lie outside the class folders"),
    ],
)
def test_an_nct_folder_that_holds_something_else(tmp_path, name, message):
    write(tmp_path, NCT | {name})
    assert message in refused(tmp_path, "nct_crc_he_100k")


def test_one_tissue_is_too_few(tmp_path):
    write(tmp_path, {"nct_crc_he_100k/MUS/MUS-AAAMHQMK.tif"})
    assert "needs two or more" in refused(tmp_path, "nct_crc_he_100k")


# --- animal faces ----------------------------------------------------------------------------------------------------


def test_afhq_keeps_its_parts(tmp_path):
    samples = load(write(tmp_path, AFHQ | {"afhq/test/cat/x.jpg"}), "afhq")
    assert samples.class_names == ("cat", "dog", "wild")
    assert samples.labels.tolist() == [0, 0, 1, 2, 0, 1, 2]
    assert samples.parts.tolist() == ["train"] * 4 + ["val"] * 3
    assert samples.sample_ids[0] == "train/cat/flickr_cat_000002.jpg"
    assert samples.groups is None
    assert count_images(tmp_path / "afhq") == {
        "train/cat": 2,
        "train/dog": 1,
        "train/wild": 1,
        "val/cat": 1,
        "val/dog": 1,
        "val/wild": 1,
    }


def test_afhq_without_a_part_or_with_another_animal(tmp_path):
    write(tmp_path, {name for name in AFHQ if "/train/" in name})
    assert set(load(tmp_path, "afhq").parts) == {"train"}
    with pytest.raises(InputError, match=r"val/cat: 0 of 500[^$]*kaggle\.com/datasets/andrewmvd/animal-faces"):
        load_dataset("afhq", tmp_path)
    write(tmp_path, {"afhq/train/owl/1.jpg"})
    assert "owl; accepted class folders are cat, dog, wild" in refused(tmp_path, "afhq")


def test_afhq_needs_its_train_part(tmp_path):
    write(tmp_path, {name for name in AFHQ if "/val/" in name})
    assert "there is no folder" in refused(tmp_path, "afhq", MissingInputError)


# --- prostate tiles --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [str.lower, str.title])
def test_prostate_tiles_in_any_case(tmp_path, written):
    names = {f"prostate_tiles/{written(name.split('/')[1])}/{name.split('/')[2]}" for name in PROSTATE}
    samples = load_dataset("prostate_tiles", write(tmp_path, names))  # no counts are known
    assert samples.class_counts() == {"Gland": 1, "Nongland": 2, "Tumor": 1}
    assert [name.lower() for name in samples.sample_ids] == sorted(name.split("/", 1)[1] for name in PROSTATE)
    assert (samples.parts, samples.groups, samples.metadata) == (None, None, None)


def test_labels_hold_where_cases_are_mixed(tmp_path):
    names = {"prostate_tiles/gland/1.jpg", "prostate_tiles/Nongland/2.jpg", "prostate_tiles/Tumor/3.jpg"}
    samples = load(write(tmp_path, names), "prostate_tiles")
    by_id = {name: samples.class_names[label] for name, label in zip(samples.sample_ids, samples.labels, strict=True)}
    assert by_id == {"gland/1.jpg": "Gland", "Nongland/2.jpg": "Nongland", "Tumor/3.jpg": "Tumor"}


def test_prostate_tiles_in_the_folders_of_their_archives(tmp_path):
    archives = ("01_case_western_native", "02_training_native")
    names = {name.replace("prostate_tiles", f"prostate_tiles/{archive}") for name in PROSTATE for archive in archives}
    samples = load(write(tmp_path, names), "prostate_tiles")
    assert samples.class_counts() == {"Gland": 2, "Nongland": 4, "Tumor": 2}
    assert samples.metadata["archive"].tolist() == [archives[0]] * 4 + [archives[1]] * 4
    assert samples.sample_ids[0] == "01_case_western_native/gland/gl.1001.jpg"
    assert samples.parts is None
    write(tmp_path, PROSTATE)
    assert "(no class folders beside them)" in refused(tmp_path, "prostate_tiles")


def test_prostate_tiles_that_lack_a_class_or_have_another(tmp_path):
    write(tmp_path, {name for name in PROSTATE if "/tumor/" not in name})
    assert "no class folder Tumor" in refused(tmp_path, "prostate_tiles", MissingInputError)
    write(tmp_path, PROSTATE | {"prostate_tiles/artifacts/1.jpg"})
    message = refused(tmp_path, "prostate_tiles")
    assert "artifacts; accepted class folders are Gland, Nongland, Tumor" in message
    assert "licence: see the record" in message


# --- a tumour folder of one's own ------------------------------------------------------------------------------------


def test_tumor_has_two_test_parts(tmp_path):
    samples = load_dataset("tumor", write(tmp_path, TUMOR))
    assert samples.class_names == ("no_tumor", "tumor")
    by_id = dict(zip(samples.sample_ids, zip(samples.parts, samples.labels.tolist(), strict=True), strict=True))
    assert by_id == {
        "train/no_tumor/a.png": ("train", 0),
        "train/tumor/b.png": ("train", 1),
        "test1/no_tumor/c.png": ("test1", 0),
        "test1/tumor/d.png": ("test1", 1),
        "test2/no_tumor/e.png": ("test2", 0),
        "test2/tumor/f.png": ("test2", 1),
    }


def test_tumor_takes_any_two_names_a_val_part_and_a_test_part_of_one_class(tmp_path):
    names = {name.replace("no_tumor", "clear") for name in TUMOR - {"tumor/test2/tumor/f.png"}}
    samples = load(write(tmp_path, names | {"tumor/val/clear/g.png", "tumor/val/tumor/h.png"}), "tumor")
    assert samples.class_names == ("clear", "tumor")
    assert sorted(set(samples.parts)) == ["test1", "test2", "train", "val"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (TUMOR | {"tumor/train/unclear/x.png"}, "classes no_tumor, tumor, unclear; accepted are exactly two"),
        (TUMOR | {"tumor/test3/tumor/x.png"}, "test3; accepted parts are train, val, test1, test2"),
        (TUMOR - {"tumor/train/tumor/b.png"}, "train has no images of class tumor"),
        (TUMOR | {"tumor/test1/Tumor/x.png"}, "differ only in case"),
    ],
)
def test_a_tumor_folder_of_another_form(tmp_path, names, message):
    assert message in refused(write(tmp_path, names), "tumor")


def test_a_tumor_folder_without_its_second_test_part(tmp_path):
    write(tmp_path, {name for name in TUMOR if "test2" not in name})
    assert "no part test2; needed are" in refused(tmp_path, "tumor", MissingInputError)


# --- nothing there ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("nct_crc_he_100k", "https://doi.org/10.5281/zenodo.1214456"),
        ("prostate_tiles", "https://doi.org/10.5281/zenodo.4789576"),
        ("afhq", "https://www.kaggle.com/datasets/andrewmvd/animal-faces"),
        ("tumor", "The course data of liang2024 were not published"),
    ],
)
def test_a_set_that_is_not_there_names_its_source(tmp_path, name, source):
    (tmp_path / "archive.zip").touch()
    message = refused(tmp_path, name, MissingInputError)
    assert source in message
    assert "archive.zip" in message
