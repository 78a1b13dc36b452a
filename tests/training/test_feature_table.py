import mmap
import os
from contextlib import contextmanager

import numpy as np
import pytest

from tlkeras.data.digests import digest
from tlkeras.errors import UnwritableError
from tlkeras.files import write_at
from tlkeras.training import feature_table
from tlkeras.training.feature_table import CARD, INDEX, ROWS, DamagedTable, FeatureTable, read_card


def is_mapped(array):
    """Whether its values lie in a mapped file."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array.obj if isinstance(array, memoryview) else array, mmap.mmap)


def open_table(folder, shape=(3,), dtype="float32"):
    return FeatureTable(folder, {"layer": "pool", "row_shape": list(shape), "dtype": dtype})


def named(kind, numbers):
    return [digest(kind, bytes([number])) for number in numbers]


def features(numbers, shape=(3,), dtype="float32"):
    """Row i holds values that no other row has."""
    rows = [np.random.default_rng(number).normal(0, 100, shape).astype(dtype) for number in numbers]
    return np.array(rows, dtype).reshape(-1, *shape)


def add(table, numbers):
    """Images 0..255, each from a source of its own."""
    rows = dict(zip(named(b"image", numbers), features(numbers, table.shape, table.dtype), strict=True))
    table.add(named(b"source", numbers), named(b"image", numbers), rows)


@pytest.mark.parametrize(("shape", "dtype"), [((3,), "float32"), ((2, 5, 4), "float32"), ((2, 4), "float16")])
def test_rows_are_found_by_their_source_after_reopening(tmp_path, shape, dtype):
    table = open_table(tmp_path / "new" / "table", shape, dtype)
    add(table, [4, 2])
    table.commit()
    add(table, [9])
    table.commit()
    again = open_table(tmp_path / "new" / "table", shape, dtype)
    rows = again.find(named(b"source", [9, 4, 7, 2, 9]))
    assert rows.dtype == np.int64
    assert rows.tolist() == [2, 0, -1, 1, 2]
    mapped = again.mapped()
    assert is_mapped(mapped)
    assert mapped.dtype == np.dtype(dtype)
    assert np.array_equal(mapped, features([4, 2, 9], shape, dtype))
    assert len(again) == len(table) == 3
    assert (tmp_path / "new" / "table" / ROWS).stat().st_size == 3 * np.prod(shape) * np.dtype(dtype).itemsize
    assert [again.holds(image) for image in named(b"image", [2, 7])] == [True, False]


def test_sources_with_the_same_pixels_share_one_row(tmp_path):
    table = open_table(tmp_path)
    sources, images = named(b"source", [1, 2, 3]), named(b"image", [1, 1, 3])
    table.add(sources, images, dict(zip(images, features([1, 1, 3]), strict=True)))
    table.commit()
    table = open_table(tmp_path)
    table.add(named(b"source", [4]), named(b"image", [3]), {})  # what is held needs no features
    table.commit()
    table = open_table(tmp_path)
    assert table.find(named(b"source", [1, 2, 3, 4])).tolist() == [0, 0, 1, 1]
    assert np.array_equal(table.mapped(), features([1, 3]))


def test_an_empty_table_leaves_nothing_on_the_disk(tmp_path):
    table = open_table(tmp_path / "table", (2, 3), "float16")
    table.commit()
    assert not (tmp_path / "table").exists()
    assert len(table) == 0
    assert table.find(named(b"source", [1, 2])).tolist() == [-1, -1]
    assert table.find([]).tolist() == []
    assert (table.mapped().shape, table.mapped().dtype) == ((0, 2, 3), np.float16)


def test_rows_are_committed_once_enough_are_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_table, "_COMMIT_BYTES", 3 * 12)
    table = open_table(tmp_path)
    add(table, [1, 2])
    assert not (tmp_path / INDEX).exists()
    add(table, [3])
    add(table, [4])
    assert open_table(tmp_path).find(named(b"source", [1, 2, 3, 4])).tolist() == [0, 1, 2, -1]


def test_the_rows_are_on_the_disk_before_the_index_names_them(tmp_path, monkeypatch):
    written = []

    def spied(name):
        write = getattr(feature_table, name)
        monkeypatch.setattr(feature_table, name, lambda path, *rest: written.append(path.name) or write(path, *rest))

    spied("write_at")
    spied("atomic_write")
    table = open_table(tmp_path)
    add(table, [1])
    table.commit()
    assert written == [ROWS, INDEX]
    table.commit()
    assert written == [ROWS, INDEX]
    table.add(named(b"source", [2]), named(b"image", [1]), {})  # a new name of an old image: no row
    table.commit()
    assert written == [ROWS, INDEX, INDEX]


class Killed(BaseException):
    """Nothing in the code catches it."""


@contextmanager
def killed_before_the_index(path):
    raise Killed
    yield


def killed_half_way(path, offset, pieces):
    write_at(path, offset, [b"".join(pieces)[:20]])  # a row and two thirds of one
    raise Killed


@pytest.mark.parametrize("committed", [[], [1, 2]])
@pytest.mark.parametrize(("seam", "killed"), [("write_at", killed_half_way), ("atomic_write", killed_before_the_index)])
def test_what_a_killed_writer_left_is_never_taken_for_whole(tmp_path, monkeypatch, committed, seam, killed):
    table = open_table(tmp_path)
    add(table, committed)
    table.commit()
    with monkeypatch.context() as patch:
        patch.setattr(feature_table, seam, killed)
        add(table, [3, 4, 5])
        with pytest.raises(Killed):
            table.commit()
    assert (tmp_path / ROWS).stat().st_size > len(committed) * 12
    (tmp_path / ".writing-index.npz").write_bytes(b"what else it left")
    again = open_table(tmp_path)
    assert len(again) == len(again.mapped()) == len(committed)
    assert again.find(named(b"source", [3, 4, 5])).tolist() == [-1, -1, -1]
    add(again, [6])
    again.commit()
    whole = open_table(tmp_path)
    assert (tmp_path / ROWS).stat().st_size == (len(committed) + 1) * 12
    assert np.array_equal(whole.mapped(), features([*committed, 6]))
    assert whole.find(named(b"source", [*committed, 6])).tolist() == list(range(len(committed) + 1))
    assert {path.name for path in tmp_path.iterdir()} == {CARD, ROWS, INDEX}


def test_rows_cut_short_are_refused_with_the_folder(tmp_path):
    table = open_table(tmp_path / "table")
    add(table, [1, 2])
    table.commit()
    with open(tmp_path / "table" / ROWS, "r+b") as file:
        file.truncate(23)
    with pytest.raises(DamagedTable, match=rf"{tmp_path / 'table' / ROWS} holds 23 bytes, its index names 24"):
        open_table(tmp_path / "table")


def flip(path, byte):
    """One bit of the file."""
    contents = bytearray(path.read_bytes())
    contents[byte] ^= 4
    path.write_bytes(contents)


def filled(folder, numbers=(1, 2, 3)):
    table = open_table(folder)
    add(table, list(numbers))
    table.commit()
    return table


def test_rows_that_are_not_what_was_written_are_counted(tmp_path):
    filled(tmp_path)
    flip(tmp_path / ROWS, 12 + 5)  # a row takes 12 bytes
    table = open_table(tmp_path)
    assert [table.damaged(np.array(rows)) for rows in ([0, 2], [1], [1, 0, 1, -1], [])] == [0, 1, 1, 0]
    with open(tmp_path / ROWS, "r+b") as rows:  # what a disk gives after a power loss
        rows.write(bytes(24))
    assert open_table(tmp_path).damaged(np.arange(3)) == 2
    add(table, [7])
    table.commit()
    assert open_table(tmp_path).damaged(np.array([3])) == 0


@pytest.mark.parametrize("name", [INDEX, CARD])
def test_any_bit_of_index_and_card_that_changed_is_found(tmp_path, name):
    filled(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for byte in range(len(whole)):
        flip(tmp_path / name, byte)
        with pytest.raises(DamagedTable, match=f"{tmp_path / name} (is not what was written|is damaged)"):
            open_table(tmp_path)
        (tmp_path / name).write_bytes(whole)
    for size in (0, 1, len(whole) - 2):
        (tmp_path / name).write_bytes(whole[:size])
        with pytest.raises(DamagedTable):
            open_table(tmp_path)


@pytest.mark.parametrize("name", [CARD, INDEX, ROWS, ""])
def test_no_link_is_followed(tmp_path, name):
    filled(tmp_path / "table")
    path, target = tmp_path / "table" / name, tmp_path / "elsewhere"
    path.rename(target)
    path.symlink_to(target)
    with pytest.raises(DamagedTable, match=r"table.* is a link"):
        open_table(tmp_path / "table")


@pytest.mark.parametrize("name", [CARD, ROWS])
def test_a_file_that_is_gone_is_named(tmp_path, name):
    filled(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises((DamagedTable, FileNotFoundError), match=name):
        open_table(tmp_path)


def test_rows_that_cannot_be_written_stay_in_memory(tmp_path, monkeypatch):
    filled(tmp_path, [1])
    table = open_table(tmp_path)

    def full(path, offset, pieces):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feature_table, "write_at", full)
    add(table, [2, 3])
    table.commit()
    assert "No space left" in str(table.unwritten)
    add(table, [4])
    table.commit()
    assert np.array_equal(table.mapped(), features([1, 2, 3, 4]))
    assert table.find(named(b"source", [1, 2, 3, 4, 5])).tolist() == [0, 1, 2, 3, -1]
    assert len(open_table(tmp_path)) == 1
    monkeypatch.setattr(feature_table, "available_memory", lambda: 4 * 12)
    with pytest.raises(UnwritableError, match=rf"{tmp_path} cannot be written.*too much for the memory.*--no-store"):
        add(table, [5])


def test_mapped_rows_stay_as_they_are_whatever_happens_to_either_side(tmp_path):
    table = open_table(tmp_path)
    add(table, [1])
    table.commit()
    mapped = table.mapped()
    add(table, [2])
    table.commit()
    assert np.array_equal(mapped, features([1]))
    assert np.array_equal(table.mapped(), features([1, 2]))
    mapped[:] = 0
    assert np.array_equal(open_table(tmp_path).mapped(), features([1, 2]))


def test_the_card_says_what_the_table_holds_and_when_it_was_used(tmp_path):
    table = open_table(tmp_path, (2, 4), "float16")
    add(table, [1, 2, 3])
    table.commit()
    os.utime(tmp_path / CARD, (1000, 1000))
    card = {"layer": "pool", "row_shape": [2, 4], "dtype": "float16"}
    assert read_card(tmp_path) == card | {"folder": tmp_path, "rows": 3, "bytes": 48, "used": 1000}
    table.touch()
    assert read_card(tmp_path)["used"] > 1000


def test_a_table_may_be_larger_than_memory(tmp_path):
    """Of a file with holes, which takes no room: mapping it sets no memory aside."""
    table = open_table(tmp_path / "table", (1024,), "float32")
    add(table, [1])
    table.commit()
    rows = 10**8  # 400 GB
    with open(tmp_path / "table" / ROWS, "r+b") as file:
        file.truncate(rows * 4096)
        table._map(file.fileno(), rows)
    assert table.mapped().shape == (rows, 1024)
    assert table.mapped()[-1].sum() == 0
