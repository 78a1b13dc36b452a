import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tlkeras.data.sources import from_csv, from_dataframe, from_folders
from tlkeras.errors import InputError, MissingInputError


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


def test_group_of_sees_the_name_and_group_of_path_the_path_below_root(tmp_path):
    touch(tmp_path, "train/cat/tom_1.jpg", "train/cat/tom_2.jpg", "train/dog/tom_1.jpg", "test/cat/tom_3.jpg")
    patient = lambda name: name.rsplit("_", 1)[0]  # noqa: E731
    assert from_folders(tmp_path, group_of=patient).groups.tolist() == ["tom"] * 4
    by_path = from_folders(tmp_path, group_of_path=patient).groups.tolist()
    assert by_path == ["test/cat/tom", "train/cat/tom", "train/cat/tom", "train/dog/tom"]
    with pytest.raises(InputError, match="group_of and group_of_path: received both"):
        from_folders(tmp_path, group_of=patient, group_of_path=patient)
    with pytest.raises(InputError, match="group_of: received 'tom'; accepted is a function"):
        from_folders(tmp_path, group_of="tom")


def test_groups_of_file_names_in_two_spellings(tmp_path):
    touch(tmp_path, "cat/Tom_1.jpg", "cat/tom_2.jpg", "dog/rex_01.jpg", "dog/rex_1.png")
    patient = lambda name: name.split("_")[0]  # noqa: E731
    with pytest.raises(InputError, match="groups: the names 'Tom' and 'tom' differ only in case"):
        from_folders(tmp_path, group_of=patient)
    assert from_folders(tmp_path, group_of=patient, normalise="join").groups.tolist() == ["Tom", "Tom", "rex", "rex"]
    assert len(from_folders(tmp_path)) == 4  # rex_01.jpg and rex_1.png are names of files, not of patients


def test_class_folders_in_two_spellings_are_joined_on_request(tmp_path):
    samples = from_folders(touch(tmp_path, "cat/1.jpg", "Cat/2.jpg", "Cat/3.jpg", "dog/4.jpg"), normalise="join")
    assert samples.class_names == ("Cat", "dog")
    assert dict(zip(samples.sample_ids, samples.labels.tolist(), strict=True)) == {
        "Cat/2.jpg": 0,
        "Cat/3.jpg": 0,
        "cat/1.jpg": 0,
        "dog/4.jpg": 1,
    }
    with pytest.raises(InputError, match="normalise: received 'fold'"):
        from_folders(tmp_path, normalise="fold")


def test_part_folders_by_other_words(tmp_path):
    names = [f"{part}/{name}" for part in ("Training", "dev", "Testing") for name in ("cat/1.jpg", "dog/2.jpg")]
    assert from_folders(touch(tmp_path, *names)).parts.tolist() == ["test", "test", "train", "train", "val", "val"]
    touch(tmp_path, "valid/cat/3.jpg", "valid/dog/4.jpg")
    with pytest.raises(InputError, match="'dev' and 'valid' mean the same part"):
        from_folders(tmp_path)
    assert from_folders(tmp_path, normalise="join").parts.tolist() == ["test"] * 2 + ["train"] * 2 + ["val"] * 4


def test_a_folder_beside_the_parts_is_named_with_how_to_leave_it_aside(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg", "exclude/cat/4.jpg")
    with pytest.raises(InputError, match=r"are exclude no classes\? .*parts=\('train', 'val'\)"):
        from_folders(tmp_path)
    assert set(from_folders(tmp_path, parts=("train", "val")).parts) == {"train", "val"}
    with pytest.raises(InputError, match="accepted is every part once"):
        from_folders(tmp_path, parts=("train", "train"))


def test_every_suffix_of_jpeg_is_an_image(tmp_path):
    touch(tmp_path, "cat/1.jfif", "cat/2.JPE", "dog/3.jpeg", "dog/4.jpg")
    assert len(from_folders(tmp_path)) == 4


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
        (["valid/cat/1.jpg", "val/dog/1.jpg"], "'val' and 'valid' mean the same part"),
        (["notes.txt"], "holds no class folders"),
        (["caf\u00e9/1.jpg", "cafe\u0301/2.jpg"], "how an accent or a wide letter is stored"),
        (["nv/1.jpg", "nv\u200b/2.jpg"], r"'nv' and 'nv\\u200b' differ only"),
        (["1/1.jpg", "01/2.jpg"], "'01' and '1' differ only"),
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
    with pytest.raises(InputError, match=r"'label' holds 0\.5 in row 1; accepted are text and whole numbers"):
        from_dataframe(frame.assign(label=[0.5, 1.0]), root=animals)
    with pytest.raises(InputError, match=r"'patient' holds 1e\+16 in row 1"):  # the last digits are lost
        from_dataframe(frame.assign(patient=[1e16, 1.0]), group="patient", root=animals)


def test_whole_numbers_that_pandas_holds_as_decimals_are_whole_numbers(animals):
    frame = pd.DataFrame({"path": ["a.jpg", "b.jpg", "c.jpg"], "label": [0.0, 1.0, 0.0], "patient": [7.0, None, 10.0]})
    samples = from_dataframe(frame.drop(index=1).assign(label=[1.0, 0.0]), group="patient", root=animals)
    assert (samples.class_names, samples.labels.tolist(), samples.groups.tolist()) == (("0", "1"), [1, 0], ["7", "10"])
    mixed = frame.assign(label=pd.Series([0.0, 1, 1.0], dtype=object))
    assert from_dataframe(mixed, root=animals).class_names == ("0", "1")


@pytest.mark.parametrize("value", [1, 1.0, True, "1", "1.0"])
def test_one_hot_columns_name_the_classes(animals, value):
    frame = pd.DataFrame({"path": ["a.jpg", "b.jpg", "c.jpg"], "nv": [0, 0, 0], "mel": [0, 0, 0]}, dtype=object)
    frame.loc[[0, 2], "nv"] = frame.loc[1, "mel"] = value
    samples = from_dataframe(frame, label=["nv", "mel"], root=animals)
    assert (samples.class_names, samples.labels.tolist(), samples.metadata) == (("nv", "mel"), [0, 1, 0], None)
    samples = from_dataframe(frame, label=("nv", "mel"), class_names=("mel", "nv"), root=animals)
    assert (samples.class_names, samples.labels.tolist()) == (("mel", "nv"), [1, 0, 1])


def test_one_hot_columns_of_a_file(animals):
    samples = from_csv(csv(animals, "path,nv,mel,age\na.jpg,1.0,0.0,5\nb.jpg,0.0,1.0,6\n"), label=["mel", "nv"])
    assert (samples.class_names, samples.labels.tolist()) == (("mel", "nv"), [1, 0])
    assert samples.metadata.columns.tolist() == ["age"]


@pytest.mark.parametrize(
    ("cells", "label", "message"),
    [
        (([1, 1], [1, 0]), ["nv", "mel"], "rows 1 .* single 1, and else 0, in the label columns nv, mel"),
        (([0, 1], [0, 0]), ["nv", "mel"], "rows 1 "),
        (([1, 0.5], [0, 0.5]), ["nv", "mel"], "rows 2 "),
        (([1, None], [0, 1]), ["nv", "mel"], "rows 2 "),
        (([1, "yes"], [0, 0]), ["nv", "mel"], "rows 2 "),
        (([1, 0], [0, 1]), ["nv"], r"label: received \['nv'\]; accepted are a column, or two or more"),
        (([1, 0], [0, 1]), ["nv", "nv"], r"label: received \['nv', 'nv'\]"),
        (([1, 0], [0, 1]), None, "label: received None"),
        (([1, 0], [0, 1]), ["nv", "bcc"], r"not one column for label='bcc'"),
    ],
)
def test_one_hot_columns_that_give_an_image_no_class_or_two(animals, cells, label, message):
    frame = pd.DataFrame({"path": ["a.jpg", "b.jpg"], "nv": cells[0], "mel": cells[1]})
    with pytest.raises(InputError, match=message):
        from_dataframe(frame, label=label, root=animals)


@pytest.mark.parametrize("column", ["group", "part", "label"])
def test_names_of_a_column_in_two_spellings(animals, column):
    text = {"group": "P1", "part": "north", "label": "nv"}[column]
    frame = pd.DataFrame({"path": ["a.jpg", "b.jpg", "c.jpg"], "label": ["x", "y", "y"], "who": "p", "where": "train"})
    columns = {"label": "label", "group": "who", "part": "where"}
    frame[columns[column]] = [text, f"{text.upper()} \u200b", "other"]
    with pytest.raises(InputError, match=rf"frame.*'{text}' and '{text.upper()} .*normalise=\"join\""):
        from_dataframe(frame, **columns, root=animals)
    samples = from_dataframe(frame, **columns, root=animals, normalise="join")
    found = {"group": samples.groups, "part": samples.parts, "label": np.array(samples.class_names)[samples.labels]}
    assert found[column].tolist() == [text, text, "other"]


def test_one_patient_in_many_spellings_is_one_on_request(animals):
    frame = pd.DataFrame({"path": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], "label": [0, 1, 0, 1]})
    frame = frame.assign(patient=["001", 1, "1.0", "\uff11"])
    with pytest.raises(InputError, match=r"column 'patient': groups '001' and '1' and '1\.0'"):
        from_dataframe(frame, group="patient", root=animals)
    assert set(from_dataframe(frame, group="patient", root=animals, normalise="join").groups) == {"001"}


# --- paths that are not there ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "there", "argument"),
    [
        ("ISIC_1", "ISIC_1.jpg", 'suffix=".jpg"'),
        ("scan.1", "scan.1.PNG", 'suffix=".PNG"'),
        ("isic_1", "ISIC_1.jpg", 'normalise="join"'),
        ("ISIC_1.JPG", "ISIC_1.jpg", 'normalise="join"'),
        ("train\\1.jpg", "train/1.jpg", 'normalise="join"'),
        ("Train/1.jpg", "train/1.jpg", 'normalise="join"'),
        ("./train/0001.jpg", "train/1.jpg", 'normalise="join"'),
        ("cafe\u0301.jpg", "caf\u00e9.jpg", 'normalise="join"'),
        ("1.jpg ", "1.jpg", 'normalise="join"'),
        (1, "1.jpg", 'suffix=".jpg"'),
    ],
)
def test_a_path_in_another_spelling_is_told_and_taken_on_request(tmp_path, name, there, argument):
    touch(tmp_path, "b.jpg", there)
    frame = pd.DataFrame({"path": ["b.jpg", name], "label": ["x", "y"]})
    with pytest.raises(MissingInputError) as error:
        from_dataframe(frame, root=tmp_path)
    assert f"{str(name)!r} is there as {there!r}: {argument} takes 1 of them so" in str(error.value)
    given = dict([argument.replace('"', "").split("=")])
    if isinstance(name, str):
        far = frame.assign(path=[str(tmp_path / "b.jpg"), f"{tmp_path}/{name}"])
        with pytest.raises(MissingInputError) as error:
            from_dataframe(far)
        assert f"is there as {str(tmp_path / there)!r}: {argument}" in str(error.value)
    assert from_dataframe(frame, root=tmp_path, **given).sample_ids.tolist() == ["b.jpg", there]


def test_a_path_that_may_mean_two_files_or_none_is_told_without_either(tmp_path):
    touch(tmp_path, "b.jpg", "1.jpg", "1.png")
    for name in ("1", "2.jpg", "nowhere/1.jpg"):
        frame = pd.DataFrame({"path": ["b.jpg", name], "label": ["x", "y"]})
        for normalise in (None, "join"):
            with pytest.raises(MissingInputError, match="1 of 2 images are not there") as error:
                from_dataframe(frame, root=tmp_path, normalise=normalise)
            assert "is there as" not in str(error.value)
            assert 'missing="drop" leaves such rows out' in str(error.value)


def test_a_path_that_is_taken_in_another_spelling_is_no_second_row_of_its_file_and_stays_below_root(tmp_path):
    root = touch(tmp_path / "root", "b.jpg")
    touch(tmp_path, "c.jpg")
    for name, message in (("B.JPG", "more than once"), ("../C.JPG", "outside root")):
        frame = pd.DataFrame({"path": ["b.jpg", name], "label": ["x", "y"]})
        with pytest.raises(InputError, match=message):
            from_dataframe(frame, root=root, normalise="join")


def test_a_suffix_is_added_where_a_path_has_none(animals):
    frame = pd.DataFrame({"path": ["a", "b.jpg"], "label": ["x", "y"]})
    assert from_dataframe(frame, root=animals, suffix=".jpg").sample_ids.tolist() == ["a.jpg", "b.jpg"]
    touch(animals, "c_small.png", "d_small.png")
    file = csv(animals, "path,label\nc,x\nd,y\n")
    assert from_csv(file, suffix="_small.png").sample_ids.tolist() == ["c_small.png", "d_small.png"]
    for suffix in ("jpg", ".txt", 1):
        with pytest.raises(InputError, match=rf"suffix: received {suffix!r}; accepted are \.jpg"):
            from_dataframe(frame, root=animals, suffix=suffix)


def test_rows_without_their_image_are_dropped_on_request_with_a_count(animals):
    file = csv(animals, "path,label,who,age\ngone.jpg,x,p,1\na.jpg,x,q,2\nlost.jpg,,r,3\nb.jpg,y,s,4\n")
    with pytest.warns(UserWarning, match=r"2 of 4 images are not there and are left out: .*gone\.jpg, .*lost\.jpg"):
        samples = from_csv(file, group="who", missing="drop")
    assert samples.sample_ids.tolist() == ["a.jpg", "b.jpg"]
    assert (samples.groups.tolist(), samples.metadata["age"].tolist()) == (["q", "s"], [2, 4])
    for text, message in (
        ("gone.jpg,x\na.jpg,x\nb.jpg,\n", "'label' is empty in rows 3 "),
        ("a.jpg,x\ngone.jpg,x\na.jpg,y\n", r"\(rows 1 and 3, as x and as y\)"),
    ):
        with pytest.warns(UserWarning, match="1 of 3 images"), pytest.raises(InputError, match=message):
            from_csv(csv(animals, f"path,label\n{text}"), missing="drop")
    with pytest.raises(MissingInputError, match="none of the 1 images is there"):
        from_csv(csv(animals, "path,label\ngone.jpg,x\n"), missing="drop")
    with pytest.raises(InputError, match="missing: received 'skip'; accepted are 'drop'"):
        from_csv(file, missing="skip")


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
        (["x", ("a", "b")], r"'label' holds \('a', 'b'\) in row 2; accepted are text and whole numbers"),
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
