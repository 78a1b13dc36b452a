import os

import numpy as np
import pytest
from corpus import FILES

from tlkeras.data.readable import check_images, require_readable, unreadable
from tlkeras.errors import InputError
from tlkeras.schema import Samples


@pytest.fixture
def folder(tmp_path):
    for name in ("png", "jpeg"):
        (tmp_path / name).write_bytes(FILES[name][0])
    return tmp_path


def samples_of(paths):
    return Samples(images=tuple(os.fspath(path) for path in paths), labels=None, class_names=("a", "b"))


def test_check_images_names_rows_in_order(folder, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    paths = [folder / "png", tmp_path / "absent", folder / "jpeg", tmp_path / "empty.png"]
    frame = check_images(samples_of(paths), workers=2)
    assert frame.to_dict("list") == {
        "row": [0, 1, 3],
        "path": [os.fspath(path) for path in (paths[0], paths[1], paths[3])],
        "reason": ["4 of 256 levels", "missing", "empty file"],
        "readable": [True, False, False],
    }
    assert unreadable(samples_of(paths))["row"].tolist() == [1, 3]


def test_pixels_in_an_array_are_readable():
    samples = Samples(images=np.zeros((3, 4, 4, 3), np.uint8), labels=None, class_names=("a",))
    assert unreadable(samples).empty
    require_readable(samples)


def test_require_readable_lists_twenty_files_and_the_remedy(tmp_path):
    paths = [tmp_path / f"absent {i:02d}.jpg" for i in range(23)]
    with pytest.raises(InputError, match="23 of 23") as caught:
        require_readable(samples_of(paths))
    message = str(caught.value)
    assert "absent 19" in message
    assert "absent 20" not in message
    assert "and 3 more" in message
    assert "--skip-unreadable" in message
