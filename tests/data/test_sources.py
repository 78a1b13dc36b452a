import os

import pandas as pd
import pytest

from tlkeras.data.sources import from_csv, from_dataframe, from_folders
from tlkeras.schema import InputError, MissingInputError


def touch(root, *names):
    """Files whose bytes are their names: these readers never open an image."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))
    return root


# --- folders ---------------------------------------------------------------------------------------------------------


def test_class_folders(tmp_path):
    touch(
        tmp_path, "dog/b.JPG", "dog/a.png", "cat/c.webp", "cat/.DS_Store", "cat/Thumbs.db", ".cache/x.jpg", "README.md"
    )
    samples = from_folders(tmp_path)
    assert samples.class_names == ("cat", "dog")
    assert samples.images == tuple(str(tmp_path / name) for name in ("cat/c.webp", "dog/a.png", "dog/b.JPG"))
    assert samples.labels.tolist() == [0, 1, 1]
    assert samples.sample_ids.tolist() == ["cat/c.webp", "dog/a.png", "dog/b.JPG"]
    assert samples.parts is None
    assert samples.groups is None


def test_part_folders_with_a_class_missing_in_one(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "Validation/cat/3.jpg", "test1/cat/4.jpg", "test2/owl/5.jpg")
    samples = from_folders(tmp_path)
    assert samples.class_names == ("cat", "dog", "owl")
    by_id = dict(zip(samples.sample_ids, zip(samples.parts, samples.labels.tolist(), strict=True), strict=True))
    assert by_id == {
        "Validation/cat/3.jpg": ("val", 0),
        "test1/cat/4.jpg": ("test1", 0),
        "test2/owl/5.jpg": ("test2", 2),
        "train/cat/1.jpg": ("train", 0),
        "train/dog/2.jpg": ("train", 1),
    }


def test_named_parts_leave_the_rest_aside(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "test/cat/3.jpg", "copy/train/cat/1.jpg")
    assert set(from_folders(tmp_path, parts=("train", "test")).parts) == {"train", "test"}
    with pytest.raises(MissingInputError, match=r"no folder .*val"):
        from_folders(tmp_path, parts=("train", "val"))


def test_group_of_sees_the_path_below_root(tmp_path):
    touch(tmp_path, "train/cat/tom_1.jpg", "train/cat/tom_2.jpg", "train/dog/rex_1.jpg", "test/dog/rex_2.jpg")
    samples = from_folders(tmp_path, group_of=lambda name: name.rsplit("_", 1)[0])
    assert samples.groups.tolist() == ["test/dog/rex", "train/cat/tom", "train/cat/tom", "train/dog/rex"]


def test_names_that_are_not_utf8(tmp_path):
    touch(tmp_path, "cat/1.jpg", os.fsdecode(b"dog/\xff.jpg"))
    assert os.fsencode(from_folders(tmp_path).images[1]).endswith(b"dog/\xff.jpg")
    assert os.path.isfile(from_folders(os.fsencode(tmp_path)).images[1])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat/1.jpg", "dog/.hidden.jpg"], "dog holds no image"),
        (["cat/1.jpg"], r"classes \['cat'\]"),
        (["cat/1.jpg", "Cat/2.jpg"], "'Cat' and 'cat' differ only in case"),
        (["train/cat/1.jpg", "test/dog/1.jpg", "test/DOG/1.jpg"], "'DOG' and 'dog' differ only in case"),
        (["cat/1.jpg", "dog/kennel/2.jpg"], "dog holds folders: kennel"),
        (["cat/1.jpg", "dog/2.jpg", "dog/x.jpg/y"], r"dog holds folders: x\.jpg"),
        (["cat/1.jpg", "dog/2.jpg", "dog/notes.txt"], r"notes\.txt are not images .*Convert"),
        (["cat/1.jpg", "dog/2.jpg", "3.jpg"], r"3\.jpg lie outside the class folders"),
        (["train/1.jpg", "test/2.jpg"], "lie outside the class folders"),
        (["valid/cat/1.jpg", "val/dog/1.jpg"], "name a part twice"),
        (["notes.txt"], "holds no class folders"),
    ],
)
def test_folders_of_another_form_are_refused(tmp_path, names, message):
    with pytest.raises(InputError, match=message):
        from_folders(touch(tmp_path, *names))


def test_missing_root(tmp_path):
    with pytest.raises(MissingInputError, match="nowhere"):
        from_folders(tmp_path / "nowhere")


# --- tables ----------------------------------------------------------------------------------------------------------


def csv(folder, text, encoding="utf-8"):
    file = folder / "table.csv"
    file.write_text(text, encoding=encoding)
    return file


@pytest.fixture
def animals(tmp_path):
    return touch(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")


def test_csv_with_every_column(animals):
    file = csv(
        animals,
        "file,dx,patient,split,age\na.jpg,nv,007,train,5\nb.jpg,mel,007,Valid,\nsub/../c.jpg,nv,010,test_b,9\n",
        encoding="utf-8-sig",
    )
    samples = from_csv(file, path="file", label="dx", group="patient", part="split")
    assert samples.images == tuple(str(animals / name) for name in ("a.jpg", "b.jpg", "c.jpg"))
    assert samples.class_names == ("mel", "nv")
    assert samples.labels.tolist() == [1, 0, 1]
    assert samples.groups.tolist() == ["007", "007", "010"]
    assert samples.parts.tolist() == ["train", "val", "test_b"]
    assert samples.metadata.columns.tolist() == ["age"]
    assert samples.metadata["age"].isna().tolist() == [False, True, False]
    assert samples.sample_ids.tolist() == ["a.jpg", "b.jpg", "c.jpg"]


def test_integer_labels_sort_by_value_and_a_class_may_be_called_none(animals):
    assert from_csv(csv(animals, "path,label\na.jpg,10\nb.jpg,9\n")).class_names == ("9", "10")
    assert from_csv(csv(animals, "path,label\na.jpg,None\nb.jpg,glioma\n")).class_names == ("None", "glioma")


def test_dataframe_below_root(animals):
    frame = pd.DataFrame({"path": ["b.jpg", str(animals / "a.jpg")], "label": [1, 0]}, index=[7, 7])
    samples = from_dataframe(frame, root=animals)
    assert samples.sample_ids.tolist() == ["b.jpg", "a.jpg"]
    assert samples.labels.tolist() == [1, 0]
    assert samples.metadata is None


def test_dataframe_without_root_takes_the_current_folder(animals, monkeypatch):
    monkeypatch.chdir(animals)
    assert from_dataframe(pd.DataFrame({"path": ["a.jpg", "b.jpg"], "label": ["x", "y"]})).root == str(animals)


def test_root_is_optional_for_paths_elsewhere(animals):
    folder = animals / "tables"
    folder.mkdir()
    samples = from_csv(csv(folder, f"path,label\n../a.jpg,x\n{animals}/b.jpg,y\n"))
    assert samples.images == (str(animals / "a.jpg"), str(animals / "b.jpg"))
    assert samples.root is None


def test_nothing_outside_root_is_read(animals):
    root = animals / "root"
    touch(root, "in.jpg")
    (root / "link.jpg").symlink_to(animals / "a.jpg")
    (root / "folder").symlink_to(animals)
    for path in ("../a.jpg", "link.jpg", "folder/b.jpg", str(animals / "a.jpg")):
        with pytest.raises(InputError, match="outside root"):
            from_csv(csv(animals, f"path,label\nin.jpg,x\n{path},y\n"), root=root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.jpg,x\n", "no.* one column for path='path'; it has file, label"),
        ("path,label\na.jpg,x\nb.jpg,\n,y\n", "'path' is empty in rows 3 "),
        ("path,label\na.jpg,x\nb.jpg,\nc.jpg, \n", "'label' is empty in rows 2, 3 "),
        ("path,label\na.jpg,x\nb.jpg,y\n./a.jpg,x\n", r"a\.jpg \(rows 1 and 3, twice\)"),
        ("path,label\na.jpg,x\nb.jpg,y\na.jpg,y\n", r"a\.jpg \(rows 1 and 3, as x and as y\)"),
        ("path,label\na.jpg,x\nb.jpg,X\n", "differ only in case"),
        ("path,label\na.jpg,x\nb.jpg,x\n", "two or more"),
        ("path,label\n", "no rows"),
        ("", "not a comma-separated"),
    ],
)
def test_tables_that_cannot_be_used(animals, text, message):
    with pytest.raises(InputError, match=message):
        from_csv(csv(animals, text))


def test_missing_files_are_counted(animals):
    with pytest.raises(MissingInputError, match=r"2 of 3 images are not there: .*gone\.jpg"):
        from_csv(csv(animals, "path,label\na.jpg,x\ngone.jpg,y\nlost.jpg,y\n"))
    with pytest.raises(MissingInputError, match="no file"):
        from_csv(animals / "none.csv")


def test_a_table_that_is_not_utf8_is_named(animals):
    file = csv(animals, "path,label\na.jpg,café\n", encoding="latin-1")
    with pytest.raises(InputError, match=r"table\.csv is not a comma-separated UTF-8"):
        from_csv(file)


def test_missing_and_decimal_values_in_a_dataframe(animals):
    frame = pd.DataFrame({"path": ["a.jpg", "b.jpg"], "label": ["x", "y"], "patient": ["p", None]})
    with pytest.raises(InputError, match="'patient' is empty in rows 2 "):
        from_dataframe(frame, group="patient", root=animals)
    with pytest.raises(InputError, match="'label' holds decimal numbers"):
        from_dataframe(frame.assign(label=[0.0, 1.0]), root=animals)


def test_a_test_set_without_a_class_takes_the_classifiers_class_names(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(b"")
    samples = from_folders(tmp_path, class_names=("bird", "cat", "dog"))
    assert samples.class_names == ("bird", "cat", "dog")
    assert list(samples.labels) == [1]
    with pytest.raises(InputError, match="cat are not among class_names"):
        from_folders(tmp_path, class_names=("bird", "dog"))
    frame = pd.DataFrame({"path": [str(tmp_path / "cat" / "a.png")], "label": ["dog"]})
    assert list(from_dataframe(frame, class_names=("bird", "cat", "dog")).labels) == [2]
