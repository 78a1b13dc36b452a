import os
import shutil

import numpy as np
import pytest

from tlkeras.data.digests import DIGEST_BYTES, digest, listing_digest, pixel_digests, sealed, source_digests, unsealed
from tlkeras.errors import MissingInputError
from tlkeras.schema import Samples


def of_files(*paths):
    return source_digests(Samples(images=tuple(map(str, paths)), labels=None, class_names=("a", "b")))


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
    digests = source_digests(Samples(images=images, labels=None, class_names=("a", "b")))
    assert digests == pixel_digests(images)
    assert digests[0] == digests[2]
    assert len(set(digests)) == 3
    assert {len(each) for each in digests} == {16}


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (lambda images: images[:, ::-1, ::-1][:, ::-1, ::-1], True),  # strides
        (lambda images: images.transpose(0, 3, 2, 1).copy().transpose(0, 3, 2, 1), True),
        (lambda images: images.reshape(2, 5, 6, 3), False),  # the same bytes in another shape
        (lambda images: images.view(np.int8), False),
        (lambda images: images.astype(np.float32), False),
    ],
)
def test_digests_of_pixels_depend_on_values_shape_and_dtype_only(other, same):
    images = np.random.default_rng(0).integers(0, 128, (2, 6, 5, 3), dtype=np.uint8)
    pairs = zip(pixel_digests(images), pixel_digests(other(images)), strict=True)
    assert [ours == theirs for ours, theirs in pairs] == [same, same]


def test_no_images_have_no_digests():
    assert pixel_digests(np.empty((0, 6, 5, 3), np.uint8)) == []
    assert of_files() == []


def test_what_is_sealed_comes_back_whole_or_not_at_all():
    seal = sealed(b"contents")
    assert unsealed(seal) == b"contents"
    assert unsealed(sealed(b"")) == b""
    changed = [seal[:i] + bytes([seal[i] ^ 1]) + seal[i + 1 :] for i in range(len(seal))]
    assert {unsealed(other) for other in (*changed, seal[:-1], seal + b"s", b"")} == {None}


def test_a_digest_depends_on_every_piece_in_order():
    # `python -c "import hashlib; print(hashlib.blake2b(b'abc', digest_size=16).hexdigest())"`
    assert digest(b"a", memoryview(b"bc")).hex() == digest(b"abc").hex() == "cf4ab791c62b8d2b2109c90275287816"
    assert len({digest(b"a", b"b"), digest(b"b", b"a"), digest(b"a"), digest(b"b")}) == 4


def test_a_listing_names_a_file_that_is_gone(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"a")
    samples = Samples((str(tmp_path / "a.jpg"),), None, ("a", "b"))
    before = listing_digest(samples)
    (tmp_path / "a.jpg").write_bytes(b"ab")
    assert listing_digest(samples) != before
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(MissingInputError, match=r"a\.jpg' is not there"):
        listing_digest(samples)
