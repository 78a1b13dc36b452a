import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from corpus import BAD, COLOURS, FILES, ORIENTATIONS, exif, pillow
from test_perceptual_hash import scene

import tlkeras as tl
from tlkeras.data import image_index
from tlkeras.data.digests import DIGEST_BYTES, file_digest, pixel_digests
from tlkeras.data.image_index import ImageIndex
from tlkeras.data.images import read_pixels
from tlkeras.data.measures import Levels
from tlkeras.data.perceptual_hash import perceptual_hashes
from tlkeras.schema import Samples


def of_files(*paths):
    return ImageIndex().digests(Samples(images=tuple(map(str, paths)), labels=None, class_names=("a", "b")))


def test_equal_bytes_have_equal_digests_whatever_the_name(tmp_path):
    (tmp_path / "one.png").write_bytes(b"the same")
    (tmp_path / "folder").mkdir()
    shutil.copy(tmp_path / "one.png", tmp_path / "folder" / "two.jpeg")
    odd = tmp_path / os.fsdecode(b"\xff.png")
    shutil.copy(tmp_path / "one.png", odd)
    (tmp_path / "other.png").write_bytes(b"the sane")
    (tmp_path / "empty.png").write_bytes(b"")
    paths = [
        tmp_path / "one.png",
        tmp_path / "other.png",
        tmp_path / "folder" / "two.jpeg",
        tmp_path / "empty.png",
        odd,
    ]
    digests = of_files(*paths)
    assert digests[0] == digests[2] == digests[4]
    assert len(set(digests)) == 3
    assert {len(each) for each in digests} == {DIGEST_BYTES} == {16}
    assert of_files(*reversed(paths)) == digests[::-1]


def test_what_cannot_be_read_has_a_digest_of_its_own(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "whole.png").write_bytes(os.fsencode(tmp_path / "gone.png"))  # nor that of a file that holds its name
    digests = of_files(*(tmp_path / name for name in ("gone.png", "folder.png", "lost.png", "whole.png", "gone.png")))
    assert len(set(digests)) == 4
    assert digests[0] == digests[4]
    assert {len(each) for each in digests} == {16}


def test_rows_of_an_array_are_told_apart_by_their_pixels():
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    images[2] = images[0]
    images[3] = images[0]
    images[3, -1, -1, -1] ^= 1
    digests = ImageIndex().digests(Samples(images=images, labels=None, class_names=("a", "b")))
    assert digests == pixel_digests(images)
    assert digests[0] == digests[2]
    assert len(set(digests)) == 3
    assert {len(each) for each in digests} == {16}


# ---- What is remembered, and for how long


@pytest.fixture
def samples(tmp_path):
    """Four files of five bytes, last changed long ago."""
    paths = [tmp_path / name for name in ("a.png", "b.png", "c\udcff.png", "d.png")]
    for number, path in enumerate(paths):
        path.write_bytes(b"file%d" % number)
        os.utime(path, (1000, 1000))
    return Samples(tuple(map(str, paths)), None, ("a", "b"))


@pytest.fixture
def read(monkeypatch):
    """The names of the files that are read, sorted, letter by letter; changes count as settled at once."""
    names, read_bytes = [], image_index.read_bytes
    monkeypatch.setattr(image_index, "_SETTLED", -(10**12))
    monkeypatch.setattr(
        image_index, "read_bytes", lambda path: (names.append(os.path.basename(path)[0]), read_bytes(path))[1]
    )
    return names


def digests_now(samples):
    return [file_digest(Path(path).read_bytes()) for path in samples.images]


def kept(file, samples, *, verify=False):
    """The digests as another process finds them, which keeps them."""
    index = ImageIndex()
    index.recall(file)
    if verify:
        index.forget(samples)
    found = index.digests(samples)
    index.keep(file, samples)
    return found


def test_a_file_is_read_once_in_a_process_and_its_digest_once_in_all(samples, tmp_path, read):
    file = tmp_path / "store" / "digests.bin"
    index = ImageIndex()
    for _ in range(2):
        assert index.digests(samples) == digests_now(samples)
    index.keep(file, samples)
    assert kept(file, samples) == digests_now(samples)
    assert sorted(read) == ["a", "b", "c", "d"]
    assert kept(file, samples, verify=True) == digests_now(samples)
    assert sorted(read[4:]) == ["a", "b", "c", "d"]
    assert index.digests(samples.take([2, 0, 2])) == [digests_now(samples)[row] for row in (2, 0, 2)]
    assert len(read) == 8


@pytest.mark.parametrize("time", [2000, 1000])
def test_a_file_overwritten_by_another_of_its_size_is_read_again(samples, tmp_path, read, time):
    """Also where its time is put back: the system keeps another, which nobody can set."""
    file = tmp_path / "digests.bin"
    before = kept(file, samples)
    with open(samples.images[1], "r+b") as image:
        image.write(b"FILE1")
    os.utime(samples.images[1], (time, time))
    after = kept(file, samples)
    assert after == digests_now(samples)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True, True]
    assert read[4:] == ["b"]


def test_what_size_times_and_inode_do_not_show_is_found_when_it_is_verified(samples, tmp_path, read, monkeypatch):
    monkeypatch.setattr(image_index, "_status", lambda path: (5, 1000, 1000, 1))
    file = tmp_path / "digests.bin"
    before = kept(file, samples)
    with open(samples.images[1], "r+b") as image:
        image.write(b"FILE1")
    assert kept(file, samples) == before
    for verify in (True, False):  # and it is remembered
        assert kept(file, samples, verify=verify) == digests_now(samples) != before


def test_a_file_that_changed_just_now_is_not_remembered(samples, read, monkeypatch):
    monkeypatch.setattr(image_index, "_SETTLED", 10**12)
    index = ImageIndex()
    for _ in range(2):
        index.digests(samples)
    assert sorted(read) == sorted(["a", "b", "c", "d"] * 2)


def test_no_more_is_remembered_than_so_many_files(samples, read, monkeypatch):
    monkeypatch.setattr(image_index, "_AT_MOST", 3)
    index = ImageIndex()
    for _ in range(2):
        index.digests(samples)
    assert sorted(read[4:]) == ["a"]  # the oldest


def flipped(file):
    contents = file.read_bytes().replace(b'"', b"'", 1)
    file.write_bytes(contents)


def cut(file):
    os.truncate(file, file.stat().st_size // 2)


def emptied(file):
    file.write_bytes(b"")


def a_folder(file):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("damage", [flipped, cut, emptied, a_folder])
def test_a_damaged_table_costs_time_only(samples, tmp_path, read, damage):
    file = tmp_path / "digests.bin"
    kept(file, samples)
    damage(file)
    assert kept(file, samples) == digests_now(samples)
    assert sorted(read[4:]) == ["a", "b", "c", "d"]


def test_what_another_process_kept_meanwhile_stays(samples, tmp_path, read):
    file = tmp_path / "digests.bin"
    first, second = ImageIndex(), ImageIndex()
    for index, rows in ((first, [0, 1]), (second, [2])):
        index.digests(samples.take(rows))
        index.keep(file, samples.take(rows))
    kept(file, samples.take([0, 1, 2]))
    assert sorted(read) == ["a", "b", "c"]


def test_files_that_are_gone_have_their_digests(samples):
    index = ImageIndex()
    before = index.digests(samples)
    os.unlink(samples.images[0])
    after = index.digests(samples)
    assert after[1:] == before[1:]
    assert after[0] != before[0]


# ---- What decoding shows


def files(folder, contents):
    """Samples of {name: bytes}, written into a folder."""
    for name, each in contents.items():
        (folder / name).write_bytes(each)
    return Samples(tuple(str(folder / name) for name in contents), None, ("a", "b"))


def test_one_reading_tells_digest_size_levels_and_hash(tmp_path, read):
    # Sides at which the decoder of the 64x64 pixels that are hashed takes another scale of a JPEG, and does not.
    contents = {f"{side}.jpeg": pillow(scene(3, side, 300), "JPEG") for side in (64, 255, 256, 700)}
    contents |= {"png": pillow(scene(3, 700, 600), "PNG"), **{name: FILES[name][0] for name in ("gif", "bmp")}}
    samples, index = files(tmp_path, contents), ImageIndex()
    for look, path in zip(index.looks(samples, hashed=True), samples.images, strict=True):
        pixels = read_pixels(path, None).astype(np.uint8)
        small = read_pixels(path, (64, 64)).astype(np.uint8)
        assert (look.reason, look.size, look.levels) == ("", pixels.shape[:2], Levels.of(pixels))
        np.testing.assert_array_equal(look.hashed.bits, perceptual_hashes(small[np.newaxis])[0])
        assert look.hashed.pixels == pixel_digests(pixels[np.newaxis])[0]
    assert index.digests(samples) == digests_now(samples)
    index.looks(samples)
    assert len(read) == len(contents)


def test_an_array_is_told_as_the_files_of_its_pixels_are(tmp_path):
    images = np.stack([scene(seed, 80, 90) for seed in range(3)])
    arrays = Samples(images, None, ("a", "b"))
    of_files = files(tmp_path, {f"{row}.png": pillow(image, "PNG") for row, image in enumerate(images)})
    ours, theirs = ImageIndex().looks(arrays, hashed=True), ImageIndex().looks(of_files, hashed=True)
    assert [(look.size, look.levels, look.hashed) for look in ours] == [
        (look.size, look.levels, look.hashed) for look in theirs
    ]
    assert [look.digest for look in ours] == pixel_digests(images) == [look.hashed.pixels for look in theirs]


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_sides_are_those_of_the_upright_image(tmp_path, name):
    orientation, endian = ORIENTATIONS[name]
    stored = pillow(COLOURS, "JPEG", exif=exif(orientation, endian))  # 48 high, 64 wide
    (look,) = ImageIndex().looks(files(tmp_path, {"x": stored}))
    assert look.size == ((64, 48) if orientation >= 5 else (48, 64))


def test_what_cannot_be_read_is_told_and_asked_for_again(tmp_path, read):
    bad = ("empty file", "not an image", "truncated: first three bytes")
    samples = files(tmp_path, {name.split()[0]: BAD[name] for name in bad})
    index = ImageIndex()
    for _ in range(2):
        for look, name in zip(index.looks(samples, hashed=True), bad, strict=True):
            assert name.split(":")[0] in look.reason
            assert look.hashed is None
    assert len(read) == 2 * len(bad)
    assert index.digests(samples) == digests_now(samples)


def test_check_split_audit_and_training_read_a_file_once_beside_decoding_it_for_training(toy_chest_xray, read):
    """Through the process' own index; what training decodes to its own size is read by TensorFlow."""
    samples = tl.from_folders(toy_chest_xray / "chest_xray" / "train")
    image_index.INDEX.forget(samples)
    splits = tl.Holdout(val=0.2, test=0.2).split(samples, seed=0)
    n_same_size = len(read)
    tl.audit(splits)
    tl.check_images(samples)
    tl.Holdout(val=0.2, test=0.2).split(samples, seed=1)
    assert n_same_size < len(samples)
    assert len(read) == n_same_size + len(samples)
