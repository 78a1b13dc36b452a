import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

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
        (["caf\u00e9/1.jpg", "cafe\u0301/2.jpg"], "how an accent is stored"),
        (["cat/1.jpg", os.fsdecode(b"d\xffg/2.jpg")], r"class name 'd\\udcffg' is not UTF-8"),
        (["train/1.jpg", "train/cat/1.jpg", "test/cat/2.jpg"], r"train: 1\.jpg lie outside"),
        (["train/cat/1.jpg", "test/dog/1.jpg", "bus/2.jpg"], "test holds folders: dog"),
    ],
)
def test_folders_of_another_form_are_refused(tmp_path, names, message):
    with pytest.raises(InputError, match=message):
        from_folders(touch(tmp_path, *names))


def test_what_systems_leave_behind_is_skipped(tmp_path):
    left = (".DS_Store", "Thumbs.db", "desktop.ini", "._1.jpg", ".ipynb_checkpoints/1-checkpoint.jpg", "__MACOSX/1.jpg")
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg", *left, *(f"cat/{name}" for name in left))
    assert from_folders(tmp_path).sample_ids.tolist() == ["cat/1.jpg", "dog/2.jpg"]


def test_a_class_may_be_called_like_a_part(tmp_path):
    names = ["bus/1.jpg", "train/2.jpg"]
    assert from_folders(touch(tmp_path / "vehicles", *names)).class_names == ("bus", "train")
    samples = from_folders(
        touch(tmp_path / "parts", *(f"{part}/{name}" for part in ("train", "val") for name in names))
    )
    assert samples.class_names == ("bus", "train")
    assert samples.parts.tolist() == ["train", "train", "val", "val"]


def test_links_to_folders_and_files_are_followed(tmp_path):
    touch(tmp_path / "elsewhere", "cat/1.jpg", "x.jpg")
    root = touch(tmp_path / "root", "dog/2.jpg")
    (root / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    (root / "dog" / "3.jpg").symlink_to(tmp_path / "elsewhere" / "x.jpg")
    assert from_folders(root).sample_ids.tolist() == ["cat/1.jpg", "dog/2.jpg", "dog/3.jpg"]


@pytest.mark.parametrize(
    ("link", "target", "message"),
    [
        ("bird", "nowhere", "the links bird lead nowhere. Mend or remove them"),
        ("bird", "bird", "the links bird lead nowhere"),  # in a circle
        ("bird", "cat", "cat and .*bird are one folder, through a link"),
        ("bird", ".", "bird holds folders: bird, cat, dog"),
        ("cat/loop", "../cat", "cat holds folders: loop"),
        ("cat/loop", "loop", r"cat: loop are not images"),
    ],
)
def test_links_that_make_no_class_are_refused(tmp_path, link, target, message):
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    (tmp_path / link).symlink_to(target)
    with pytest.raises(InputError, match=message):
        from_folders(tmp_path)


def test_a_part_that_is_a_link_to_another_is_refused(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "test/cat/3.jpg")
    (tmp_path / "val").symlink_to("test")
    with pytest.raises(InputError, match="one folder, through a link"):
        from_folders(tmp_path)
    (tmp_path / "val").unlink()
    (tmp_path / "val").symlink_to("validation")
    with pytest.raises(InputError, match="the links val lead nowhere"):
        from_folders(tmp_path)


def by_brute_force(root):
    """{path below root: class name} of all visible files, the class being the folder that a file lies in."""
    hidden = lambda name: name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")  # noqa: E731
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not hidden(name)]
        for name in files:
            if not hidden(name) and folder != str(root):
                found[os.path.relpath(os.path.join(folder, name), root)] = os.path.basename(folder)
    return found


NAMES = st.sampled_from(["cat", "Cat", "dog", "train", "test", "val", ".hidden", "🫁", "Grüße", os.fsdecode(b"\xff")])
IMAGES = st.sampled_from(
    ["1.jpg", "2.PNG", ".3.jpg", "._4.jpg", "Thumbs.db", ".DS_Store", "🫁.gif", "a\nb.jpg", "notes.txt"]
)
TREES = st.sets(
    st.one_of(
        st.tuples(NAMES, IMAGES),
        st.tuples(st.sampled_from(["train", "test", "Val"]), NAMES, IMAGES),
        st.tuples(NAMES, st.sampled_from(["cat", ".ipynb_checkpoints"]), IMAGES),
    ),
    min_size=1,
    max_size=8,
)


@given(tree=TREES)
@example(tree={("cat", "1.jpg"), ("🫁", "🫁.gif"), ("cat", "._4.jpg"), (".hidden", "1.jpg")})
@example(
    tree={("train", "cat", "1.jpg"), ("train", "dog", "a\nb.jpg"), ("Val", "cat", "1.jpg"), ("Val", "dog", "2.PNG")}
)
@settings(max_examples=80, deadline=None, derandomize=True, database=None)
def test_any_tree_is_refused_or_read_as_by_brute_force(tree):
    with tempfile.TemporaryDirectory() as root:
        for *folders, name in tree:
            folder = Path(root, *folders)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        try:
            samples = from_folders(root)
        except InputError as error:
            if root not in str(error):
                raise
            return
        names = [samples.class_names[label] for label in samples.labels]
        assert dict(zip(samples.sample_ids, names, strict=True)) == by_brute_force(root)
        if samples.parts is not None:
            parts = {"train": "train", "test": "test", "val": "val", "Val": "val"}
            assert [parts[name.split("/")[0]] for name in samples.sample_ids] == samples.parts.tolist()


@pytest.mark.parametrize("given", [None, 3, ["a"]])
def test_what_is_no_path_is_refused(given):
    frame = pd.DataFrame({"path": ["a.jpg", "b.jpg"], "label": ["x", "y"]})
    for name, read in (
        ("root", lambda: from_folders(given)),
        ("file", lambda: from_csv(given)),
        ("root", lambda: from_dataframe(frame, root=given or 0)),
    ):
        with pytest.raises(InputError, match=rf"{name}: received .*; accepted is a path"):
            read()
    with pytest.raises(InputError, match=r"parts: received 'train'; accepted are several names, e\.g\. \('train',\)"):
        from_folders("/", parts="train")


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


def test_two_labels_of_one_file_through_a_link_are_refused(animals):
    (animals / "again.jpg").symlink_to("a.jpg")
    with pytest.raises(
        InputError, match=r"one file two labels through links: .*again\.jpg \(row 3, y; as .*row 1, x\)"
    ):
        from_csv(csv(animals, "path,label\na.jpg,x\nb.jpg,y\nagain.jpg,y\n"))
    assert len(from_csv(csv(animals, "path,label\na.jpg,x\nb.jpg,y\nagain.jpg,x\n"))) == 3
    os.link(animals / "a.jpg", animals / "hard.jpg")  # as tools do that store equal files once
    assert len(from_csv(csv(animals, "path,label\na.jpg,x\nhard.jpg,y\n"))) == 2


def test_two_dots_behind_a_link_are_not_folded_away(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg", "other/a.jpg", "other/deep/c.jpg")
    (tmp_path / "link").symlink_to("other/deep")
    file = csv(tmp_path, "path,label\nlink/../a.jpg,x\nb.jpg,y\n")  # the system opens other/a.jpg
    with pytest.raises(InputError, match=r"link/\.\./a\.jpg leave the folder of a link"):
        from_csv(file)


def test_what_is_no_file_is_no_image(animals):
    os.mkfifo(animals / "pipe.jpg")
    (animals / "folder.jpg").mkdir()
    (animals / "circle.jpg").symlink_to("circle.jpg")
    with pytest.raises(InputError, match=r"pipe\.jpg, .*folder\.jpg are no files"):
        from_csv(csv(animals, "path,label\na.jpg,x\npipe.jpg,y\nfolder.jpg,y\n"))
    with pytest.raises(MissingInputError, match=r"1 of 2 images are not there: .*circle\.jpg"):
        from_csv(csv(animals, "path,label\na.jpg,x\ncircle.jpg,y\n"))


@pytest.mark.parametrize("name", ["a\0.jpg", "\ud800.jpg"])
@pytest.mark.parametrize("rooted", [True, False])
def test_names_that_no_file_can_have(animals, name, rooted):
    frame = pd.DataFrame({"path": [str(animals / "a.jpg"), name], "label": ["x", "y"]})
    with pytest.raises(InputError, match="no file can be called"):
        from_dataframe(frame, root=animals if rooted else None)


def test_a_name_of_other_bytes_or_of_odd_letters_is_a_name(animals):
    names = [os.fsdecode(b"\xff.jpg"), "🫁\n.jpg"]
    touch(animals, *names)
    samples = from_dataframe(pd.DataFrame({"path": names, "label": ["x", "y"]}), root=animals)
    assert samples.sample_ids.tolist() == names


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, np.nan], "'label' is empty in rows 2 "),
        ([None, "x"], "'label' is empty in rows 1 "),
        (["x", pd.NaT], "'label' is empty in rows 2 "),
        (["x", ("a", "b")], r"'label' holds \('a', 'b'\) in row 2; accepted are text and integers"),
        ([b"x", "y"], "'label' holds b'x' in row 1"),
        ([1 + 2j, 2j], r"'label' holds \(1\+2j\) in row 1"),
        (["x", 1.5], r"'label' holds 1\.5 in row 2"),
    ],
)
def test_labels_of_a_dataframe_that_are_none(animals, labels, message):
    with pytest.raises(InputError, match=message):
        from_dataframe(pd.DataFrame({"path": ["a.jpg", "b.jpg"], "label": labels}), root=animals)


def test_a_column_that_comes_twice_in_a_dataframe(animals):
    frame = pd.DataFrame([["a.jpg", "x", "y"], ["b.jpg", "y", "x"]], columns=["path", "label", "label"])
    with pytest.raises(InputError, match="not one column for label='label'; it has path, label, label"):
        from_dataframe(frame, root=animals)


def test_an_image_that_a_link_puts_into_a_second_class_is_refused(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").touch()
    (tmp_path / "dog" / "again.png").symlink_to(tmp_path / "dog" / "dog.png")  # of one class: an image that comes twice
    assert list(from_folders(tmp_path).labels) == [0, 1, 1]
    (tmp_path / "dog" / "x.png").symlink_to(tmp_path / "cat" / "cat.png")
    with pytest.raises(
        InputError, match=r"x\.png and .*cat\.png are one image, through a link: it would be dog and cat"
    ):
        from_folders(tmp_path)
