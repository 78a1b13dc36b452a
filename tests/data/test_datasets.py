import os
import re

import pytest

from tlkeras.data.class_folders import chest_xray_group
from tlkeras.data.datasets import DATASETS, load_dataset
from tlkeras.errors import InputError, MissingInputError

CHEST = {
    "train/NORMAL": ["IM-0115-0001.jpeg", "NORMAL2-IM-0115-0001.jpeg"],
    "train/PNEUMONIA": ["person1_bacteria_1.jpeg", "person1_virus_6.jpeg", "person1_bacteria_2.jpeg"],
    "test/NORMAL": ["IM-0001-0001.jpeg"],
    "test/PNEUMONIA": ["person80_virus_150.jpeg"],
}


@pytest.fixture
def chest(tmp_path):
    for folder, names in CHEST.items():
        (tmp_path / "chest_xray" / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / "chest_xray" / folder / name).write_bytes(name.encode())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("IM-0023-0001.jpeg", "IM-0023"),
        ("NORMAL2-IM-0023-0001.jpeg", "NORMAL2-IM-0023"),
        ("train/NORMAL/IM-0482-0001-0002.jpeg", "IM-0482"),
        ("person5_virus_7.jpeg", "person5_virus"),
        ("person5_bacteria_15.jpeg", "person5_bacteria"),
        ("person447_virus_921_1.jpeg", "person447_virus"),
    ],
)
def test_chest_xray_group_keeps_prefix_and_agent(name, group):
    assert chest_xray_group(name) == group


@pytest.mark.parametrize("name", ["IM-0023.jpeg", "person5_7.jpeg", "IM-0023-0001 (1).jpeg", "XIM-0023-0001.jpeg"])
def test_a_name_of_another_form_is_named(name):
    with pytest.raises(InputError, match=re.escape(name)):
        chest_xray_group(name)


@pytest.mark.parametrize("below", ["", "chest_xray"])
def test_chest_xray(chest, below):
    (chest / "chest_xray" / "chest_xray" / "train").mkdir(parents=True)  # the published archive holds itself again
    samples = load_dataset("chest_xray", chest / below, check_counts=False)
    assert samples.class_counts() == {"NORMAL": 3, "PNEUMONIA": 4}
    assert samples.sample_ids[0] == "train/NORMAL/IM-0115-0001.jpeg"
    assert samples.parts.tolist() == ["train"] * 5 + ["test"] * 2
    assert len(set(samples.groups)) == 6


def test_half_unpacked_says_what_was_found_and_where_to_get_it(chest):
    with pytest.raises(InputError) as caught:
        load_dataset("chest_xray", chest)
    message = str(caught.value)
    assert "train/NORMAL: 2 of 1,341" in message
    assert "val/PNEUMONIA: 0 of 8" in message
    assert DATASETS["chest_xray"].source in message
    assert DATASETS["chest_xray"].layout in message


def test_a_missing_data_set_says_where_to_get_it(tmp_path):
    (tmp_path / "chest_xray.zip").touch()
    with pytest.raises(MissingInputError, match=r"chest_xray\.zip[^$]*kaggle\.com[^$]*train/NORMAL/"):
        load_dataset("chest_xray", tmp_path)
    with pytest.raises(MissingInputError, match="no such folder"):
        load_dataset("ham10000", tmp_path / "nowhere")


def test_an_unknown_name_lists_the_known(tmp_path):
    with pytest.raises(InputError, match=r"'cifar'; accepted are chest_xray, ham10000[^$]*medmnist/ with pathmnist"):
        load_dataset("cifar", tmp_path)


def test_rows_tell_the_same_numbers_twice():
    for row in DATASETS.values():
        printed = sum(int(number.replace(",", "")) for number in re.findall(r"([\d,]+) images", row.layout))
        assert printed == sum(row.counts.values())
    assert sum(DATASETS["chest_xray"].counts.values()) == 5_856
    assert sum(DATASETS["ham10000"].counts.values()) == 10_015
    assert sum(DATASETS["nct_crc_he_100k"].counts.values()) == 100_000
    assert sum(DATASETS["afhq"].counts.values()) == 14_630 + 1_500


def test_what_is_published_of_each_set():
    sets = {name: row for name, row in DATASETS.items() if not row.is_one_file}  # test_medmnist.py has the others
    told = {name: (row.n_images, row.n_classes, row.published_pixels) for name, row in sets.items()}
    assert told == {
        "chest_xray": (5_856, 2, "varying"),
        "ham10000": (10_015, 7, "600x450"),
        "nct_crc_he_100k": (100_000, 9, "224x224"),
        "prostate_tiles": (None, 3, "300x300"),
        "afhq": (16_130, 3, "512x512"),
        "tumor": (None, 2, ""),
    }
    for row in sets.values():
        assert len({key.rsplit("/")[-1] for key in row.counts}) in (0, row.n_classes)
        assert (row.count is None) == (row.counts == {})


@pytest.fixture
def data():
    if "TLKERAS_DATA" not in os.environ:
        pytest.skip("TLKERAS_DATA is not set: it names the folder that holds chest_xray and ham10000")
    return os.environ["TLKERAS_DATA"]


@pytest.mark.real
def test_real_chest_xray_has_no_group_in_two_parts(data):
    samples = load_dataset("chest_xray", data)
    assert len(samples) == 5_856
    assert len({*zip(samples.groups, samples.parts, strict=True)}) == len(set(samples.groups))
