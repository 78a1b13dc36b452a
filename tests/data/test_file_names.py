import os

import pytest

from tlkeras.data.file_names import Spellings, is_image, visible


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_what_is_called_as_an_image():
    assert all(map(is_image, ("a.jpg", "a.JPEG", "a.jpe", "a.jfif", "a.b.png", ".tif")))
    assert not any(map(is_image, ("jpg", "a.txt", "a.jpg.txt", "a")))


def test_hidden_entries_are_left_out(tmp_path):
    touch(tmp_path, ".a.jpg", "Thumbs.db", "b.txt", "a.jpg", "folder/x", ".folder/x")
    assert visible(str(tmp_path)) == (["folder"], ["a.jpg", "b.txt"])


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("scans/a.jpg", ["Scans/A.jpg", "scans/a.jpg"][1:]),
        ("SCANS/b.jpg", ["Scans/b.JPG"]),
        ("scans\\a", ["scans/a.jpg"]),
        ("a", ["a.jpg", "a.png"]),
        ("a.gif", []),
        ("notes", []),
        ("folder", []),
        ("scans/../A.JPG", ["a.jpg"]),
        ("", []),
    ],
)
def test_the_files_that_a_path_may_mean(tmp_path, path, found):
    touch(tmp_path, "Scans/b.JPG", "scans/a.jpg", "a.jpg", "a.png", "notes.txt", "folder.png/x")
    found = [str(tmp_path / name) for name in found]
    assert [os.path.normpath(name) for name in Spellings().of(path, str(tmp_path))] == found
    assert [os.path.normpath(name) for name in Spellings().of(f"{tmp_path}/{path}", "/nowhere")] == found
