import numpy as np
import pytest

from tlkeras.data.digests import digest, listing_digest, pixel_digests, sealed, unsealed
from tlkeras.errors import MissingInputError
from tlkeras.schema import Samples


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
