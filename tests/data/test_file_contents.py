import csv
import gzip
import io
import os
import subprocess
import sys
import zipfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tlkeras.data.file_contents import MAX_BYTES, Unreadable, read_bytes, read_rows, read_text, unfit_to_read
from tlkeras.data.sources import from_csv
from tlkeras.errors import InputError, MissingInputError


def test_bytes_as_they_lie(tmp_path):
    (tmp_path / "a").write_bytes(b"\0\xff")
    (tmp_path / "b").symlink_to("a")
    assert read_bytes(tmp_path / "a") == read_bytes(os.fspath(tmp_path / "b")) == b"\0\xff"
    assert unfit_to_read(tmp_path / "a") is None


def test_what_only_reading_shows_is_not_unfit(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    for name, said in (("absent", "missing"), ("circle", "Too many levels"), ("a\0", "no file can have this name")):
        assert unfit_to_read(tmp_path / name) is None
        with pytest.raises(Unreadable, match=said):
            read_bytes(tmp_path / name)


def test_a_file_may_be_as_large_as_the_limit_and_no_larger(tmp_path):
    with open(tmp_path / "a", "wb") as file:
        file.truncate(MAX_BYTES)  # takes no room
        assert unfit_to_read(tmp_path / "a") is None
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(Unreadable, match=r"absurd size \(1\.0 GiB; at most 1 GiB"):
        read_bytes(tmp_path / "a")
    assert unfit_to_read(tmp_path / "a").startswith("absurd size")


def test_a_file_that_is_closed_to_this_user(tmp_path):
    """In a child that has given up root's right to read everything."""
    path = tmp_path / "closed.jpg"
    path.write_bytes(b"bytes")
    path.chmod(0)
    code = (
        "import ctypes, os, sys\n"
        "if len(sys.argv) == 3:\n"  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH are gone after the next exec
        "    for right in (1, 2): ctypes.CDLL(None).prctl(24, right, 0, 0, 0)\n"
        "    os.execv(sys.executable, [sys.executable, '-c', sys.orig_argv[2], *sys.argv[1:], 'again'])\n"
        "if os.access(sys.argv[1], os.R_OK, effective_ids=True): sys.exit('readable all the same')\n"
        "from tlkeras.data.file_contents import Unreadable, read_bytes\n"
        "from tlkeras.data.file_names import visible\n"
        "from tlkeras.schema import InputError\n"
        "try: read_bytes(sys.argv[1])\n"
        "except Unreadable as error: print(error)\n"
        "try: visible(sys.argv[2])\n"
        "except InputError as error: print(error)\n"
    )
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "closed")], capture_output=True, text=True
    )
    (tmp_path / "closed").chmod(0o700)  # so that it can be removed
    if "readable all the same" in done.stderr:
        pytest.skip("this user may read every file, and cannot give that up")
    assert done.stdout.splitlines() == [
        "no permission to read it",
        f"{tmp_path / 'closed'} cannot be listed: Permission denied. Give it to this user to read, or name another "
        "folder.",
    ]


FILES = [f"{letter}.jpg" for letter in "abcdef"]
ROWS = [["path", "label", "age"], ["a.jpg", "x", "5"], ["b.jpg", "y", ""], ["c.jpg", "x", "7"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images that are only named, and a table beside them."""
    folder = tmp_path_factory.mktemp("tables")
    for name in FILES:
        (folder / name).touch()
    return folder


def write(folder, contents):
    file = folder / "table.csv"
    file.write_bytes(contents if isinstance(contents, bytes) else contents.encode("utf-8", "surrogatepass"))
    return file


@pytest.mark.parametrize(
    "contents",
    [
        "path,label,age\na.jpg,x,5\nb.jpg,y,\nc.jpg,x,7\n",
        "path,label,age\r\na.jpg,x,5\r\nb.jpg,y,\r\nc.jpg,x,7\r\n",
        "path,label,age\ra.jpg,x,5\rb.jpg,y,\rc.jpg,x,7\r",
        "path,label,age\r\na.jpg,x,5\nb.jpg,y,\r\r\nc.jpg,x,7",
        "\ufeffpath,label,age\na.jpg,x,5\n\n , ,\nb.jpg,y,\nc.jpg,x,7\n \n",
        '"path","label","age"\n"a.jpg","x",5\n"b.jpg","y",""\nc.jpg,"x","7"\n',
    ],
    ids=["unix", "windows", "old mac", "mixed", "byte order mark and empty lines", "quotes"],
)
def test_one_table_written_in_many_ways(folder, contents):
    file = write(folder, contents)
    assert read_rows(file) == (ROWS[0], ROWS[1:])
    samples = from_csv(file)
    assert [os.path.basename(path) for path in samples.images] == ["a.jpg", "b.jpg", "c.jpg"]
    assert samples.labels.tolist() == [0, 1, 0]
    assert samples.metadata["age"].fillna(-1).tolist() == [5, -1, 7]


def test_cells_keep_commas_quotes_and_line_ends(folder):
    (folder / "o, no.jpg").touch()
    file = write(folder, 'path,label,note\n"o, no.jpg",x,"two\r\nlines"\na.jpg,"y ""quoted""",\u2028\n')
    assert read_rows(file)[1] == [["o, no.jpg", "x", "two\r\nlines"], ["a.jpg", 'y "quoted"', "\u2028"]]
    samples = from_csv(file)
    assert samples.class_names == ("x", 'y "quoted"')
    assert samples.metadata["note"].tolist() == ["two\r\nlines", "\u2028"]


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    return file.getvalue()


GOOD = b"path,label\na.jpg,x\nb.jpg,y\n"


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"", "it is empty"),
        (b"\xef\xbb\xbf\n\n", "it is empty"),
        (gzip.compress(GOOD, mtime=0), "it is gzip. Unpack it"),
        (zipped(), "a zip archive or an Excel workbook.*save the table as CSV"),
        (GOOD.decode().encode("utf-16"), "Save it as UTF-8"),
        (b"path,label\na.jpg,x\0\nb.jpg,y\n", "NUL byte in line 2"),
        ("path,label\na.jpg,x\nb.jpg,café\n".encode("latin-1"), "0xe9.*in line 3. Save it as UTF-8"),
        (b"path;label\na.jpg;x\nb.jpg;y\n", "'path;label'. Separate the columns by commas, not by semicolons"),
        (b"path\tlabel\na.jpg\tx\nb.jpg\ty\n", "not by tabs"),
        (b'path,label\na.jpg,"x\nb.jpg,y\n', "in line 3. Correct its quotes"),
        (b'path,label\na.jpg,"x"y\nb.jpg,y\n', "in line 2. Correct its quotes"),
    ],
)
def test_what_is_no_csv_is_refused_with_the_reason(folder, contents, said):
    file = write(folder, contents)
    for read in (read_rows, from_csv):
        with pytest.raises(InputError, match=rf"table\.csv is not a comma-separated UTF-8 table.*{said}"):
            read(file)


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        # pandas would take the first column for the names of the rows, and x for a path.
        ("path,label\na.jpg,x,1\nb.jpg,y,2\n", r"line 2 has 3, line 3 has 3 cells, its header 2"),
        ("path,label\na.jpg\nb.jpg,y\n", "line 2 has 1 cells, its header 2"),
        ('path,label\na.jpg,x\nb.jpg, "x"\n', "a space stands before a quote in line 3. Remove such spaces"),
        ("path,label,label\na.jpg,x,y\n", "names a column twice: label. Keep one"),
    ],
)
def test_a_table_that_can_be_read_in_two_ways_is_refused(folder, contents, said):
    with pytest.raises(InputError, match=rf"table\.csv.*{said}"):
        from_csv(write(folder, contents))


@pytest.mark.parametrize("value", ["NaN", "nan", " ", "<NA>"])
def test_a_label_that_is_none_is_refused(folder, value):
    with pytest.raises(InputError, match=r"table\.csv: column 'label' is empty in rows 2 "):
        from_csv(write(folder, f"path,label\na.jpg,x\nb.jpg,{value}\nc.jpg,y\n"))


def test_columns_without_a_name_are_left_alone(folder):
    samples = from_csv(write(folder, ",path,label,\n0,a.jpg,x,\n1,b.jpg,y,\n"))
    assert samples.labels.tolist() == [0, 1]
    assert samples.metadata.iloc[:, 0].tolist() == [0, 1]


def test_a_table_that_is_no_file(tmp_path):
    with pytest.raises(MissingInputError, match="there is no file"):
        read_text(tmp_path / "none.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="a pipe, not a file"):
        from_csv(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="a folder"):
        from_csv(tmp_path)


CELL = st.text(st.sampled_from([*'abc01.,;"\n\r\t \0é🫁x', "\ufeff", "\u2028"]), max_size=4)
LINE = st.lists(st.one_of(st.sampled_from([*FILES, "x", "y", "nan", "path", "label", '"x"', ""]), CELL), max_size=4)
TEXT = st.builds(
    lambda header, lines, ends: "".join(
        line + end for line, end in zip([header, *map(",".join, lines)], ends * 9, strict=False)
    ),
    st.sampled_from(["path,label", "label,path", "path,label,age", '\ufeff"path","label"', "path;label", "path,path"]),
    st.lists(LINE, max_size=5),
    st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=1, max_size=3),
)


def plain_reader(folder, text):
    """(path, label) of every row, as csv.DictReader has them."""
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    return [(os.path.normpath(folder / row["path"]), row["label"]) for row in rows]


@given(text=TEXT)
@example(text="path,label\na.jpg,x\r\nb.jpg,y\n")
@example(text="label,path\rx,a.jpg\ry,b.jpg\r")
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_any_text_is_refused_or_read_as_a_plain_reader_does(folder, text):
    file = write(folder, text)
    try:
        samples = from_csv(file)
    except InputError as error:
        if str(folder) not in str(error):
            raise
        return
    names = [samples.class_names[label] for label in samples.labels]
    assert list(zip(samples.images, names, strict=True)) == plain_reader(folder, text)


@given(contents=st.binary(max_size=60))
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_any_bytes_behind_a_good_table_are_refused_or_read(folder, contents):
    file = write(folder, GOOD + contents)
    try:
        samples = from_csv(file)
    except InputError:
        return
    assert [os.path.basename(path) for path in samples.images[:2]] == ["a.jpg", "b.jpg"]


LABELS = st.sampled_from(["x", "y", "z", "10", "9"])


@given(rows=st.lists(st.tuples(st.sampled_from(FILES), LABELS), min_size=2, max_size=6, unique_by=lambda row: row[0]))
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
def test_every_good_table_is_read(folder, rows):
    file = write(folder, "path,label\r\n" + "".join(f"{path},{label}\r\n" for path, label in rows))
    if len({label for _, label in rows}) < 2:
        with pytest.raises(InputError, match="two or more"):
            from_csv(file)
        return
    samples = from_csv(file)
    assert [samples.class_names[label] for label in samples.labels] == [label for _, label in rows]
    assert [os.path.basename(path) for path in samples.images] == [path for path, _ in rows]


def test_a_cell_may_be_long(folder):
    mask = "1 " * 100_000
    samples = from_csv(write(folder, f"path,label,mask\na.jpg,x,{mask}\nb.jpg,y,\n"))
    assert samples.metadata["mask"][0] == mask
