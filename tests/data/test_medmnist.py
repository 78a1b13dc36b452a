import numpy as np
import pytest

import tlkeras as tl
from tlkeras.data.medmnist import PARTS, SETS, load_medmnist

BREAST, BLOOD = (next(each for each in SETS if each.name == name) for name in ("breastmnist", "bloodmnist"))
COUNTS = {"train": 5, "val": 2, "test": 3}


def write(folder, name, *, side=28, channels=(), n_classes=2, counts=COUNTS, **changed):
    """A file as the collection has them; of each array another one in `changed`, or None for none."""
    rng, arrays = np.random.default_rng(0), {}
    for part, n in counts.items():
        arrays[f"{part}_images"] = rng.integers(0, 256, (n, side, side, *channels), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(n, dtype=np.uint8) % n_classes)[:, None]
    arrays = {key: value for key, value in (arrays | changed).items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    return arrays


def test_grey_images_become_rgb_and_parts_labels_and_classes_are_those_of_the_file(tmp_path):
    arrays = write(tmp_path / "medmnist", "breastmnist")
    samples = tl.load_dataset("medmnist/breastmnist", tmp_path, check_counts=False)
    assert samples.images.shape == (10, 28, 28, 3)
    np.testing.assert_array_equal(samples.images[5:7], np.stack([arrays["val_images"]] * 3, axis=-1))
    assert samples.parts.tolist() == ["train"] * 5 + ["val"] * 2 + ["test"] * 3
    assert samples.labels.tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 1, 0]
    assert samples.class_names == ("malignant", "normal, benign")
    assert samples.sample_ids[[0, 5, 9]].tolist() == ["train/000000", "val/000000", "test/000002"]
    splits = tl.Predefined().split(samples, seed=0)
    assert [len(part) for part in splits.parts().values()] == [5, 2, 3]


def test_coloured_images_of_another_size_stay_as_they_are(tmp_path):
    arrays = write(tmp_path, "bloodmnist_64", side=64, channels=(3,), n_classes=8)
    samples = tl.load_dataset("medmnist/bloodmnist_64", tmp_path, check_counts=False)  # the folder itself
    np.testing.assert_array_equal(samples.images, np.concatenate([arrays[f"{part}_images"] for part in PARTS]))


def test_numbers_of_images_are_those_published_or_it_says_so(tmp_path):
    write(tmp_path / "medmnist", "breastmnist")
    with pytest.raises(tl.InputError, match=r"train: 5 of 546[^$]*zenodo\.org/records/10519652"):
        tl.load_dataset("medmnist/breastmnist", tmp_path)
    whole = dict(zip(PARTS, BREAST.counts, strict=True))
    write(tmp_path / "medmnist", "breastmnist", counts=whole)
    assert len(tl.load_dataset("medmnist/breastmnist", tmp_path)) == 780


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"val_labels": None}, "holds no val_labels"),
        ({"train_images": np.zeros((5, 28, 28), np.float32)}, r"train_images are float32 \(5, 28, 28\)"),
        ({"train_images": np.zeros((5, 64, 64), np.uint8)}, r"uint8 \(5, 64, 64\)"),
        ({"test_labels": np.zeros((3, 14), np.uint8)}, r"uint8 \(3, 14\).*one label for each image"),
        ({"test_labels": np.array([[0], [2], [1]])}, r"test_labels lie in 0\.\.2; breastmnist has the labels 0\.\.1"),
        ({"train_labels": np.array([[0]] * 4)}, r"train_labels int64 \(4, 1\)"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, changed, said):
    write(tmp_path, "breastmnist", **changed)
    with pytest.raises(tl.InputError, match=said):
        tl.load_dataset("medmnist/breastmnist", tmp_path, check_counts=False)


def test_half_a_file_objects_and_a_missing_one_are_refused(tmp_path):
    write(tmp_path, "breastmnist")
    file = tmp_path / "breastmnist.npz"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(tl.InputError, match=r"breastmnist\.npz cannot be read"):
        load_medmnist(str(tmp_path), BREAST, 28)
    write(tmp_path, "breastmnist", train_labels=np.array([{}] * 5, dtype=object)[:, None])  # would run code
    with pytest.raises(tl.InputError, match=r"breastmnist\.npz"):
        load_medmnist(str(tmp_path), BREAST, 28)
    with pytest.raises(tl.errors.MissingInputError, match=r"bloodmnist\.npz"):
        tl.load_dataset("medmnist/bloodmnist", tmp_path)


def test_ten_sets_in_four_sizes_are_rows_whose_numbers_agree():
    rows = {name: row for name, row in tl.DATASETS.items() if row.folder == "medmnist"}
    assert len(rows) == 40
    assert len({each.name for each in SETS}) == 10
    for row in rows.values():
        assert sum(row.counts.values()) == row.n_images
        assert row.licence in row.how_to_get()
    assert rows["medmnist/pathmnist"].n_images == 107_180
    assert rows["medmnist/tissuemnist_224"].n_images == 236_386
    assert rows["medmnist/dermamnist"].licence == "CC BY-NC 4.0"


def test_doctor_lists_the_files_that_are_there(tmp_path):
    from tlkeras.command.doctor import examine_data

    write(tmp_path / "medmnist", "breastmnist", counts=dict(zip(PARTS, BREAST.counts, strict=True)))
    write(tmp_path / "medmnist", "bloodmnist_64", side=64, channels=(3,), n_classes=8)
    section = examine_data(tmp_path)
    told = {row["data set"]: row["state"] for row in section.table.to_dict("records") if "/" in row["data set"]}
    assert told == {"medmnist/breastmnist": "complete", "medmnist/bloodmnist_64": "incomplete"}
