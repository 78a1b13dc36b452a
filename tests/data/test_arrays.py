import numpy as np
import pytest

from tlkeras.data.arrays import from_arrays
from tlkeras.schema import InputError

PIXELS = np.arange(4 * 2 * 5 * 3, dtype=np.uint8).reshape(4, 2, 5, 3)


def test_arrays_as_they_are():
    samples = from_arrays(PIXELS, [0, 2, 1, 2], groups=[5, 5, 6, 7])
    assert samples.images is PIXELS
    assert samples.class_names == ("0", "1", "2")
    assert samples.groups.tolist() == ["5", "5", "6", "7"]


@pytest.mark.parametrize("dtype", ["int64", "uint16", "float32", "float64"])
def test_whole_numbers_of_another_dtype_are_cast_without_loss(dtype):
    samples = from_arrays(PIXELS.astype(dtype), [0, 1, 0, 1])
    assert samples.images.dtype == np.uint8
    assert np.array_equal(samples.images, PIXELS)


def test_labels_by_name():
    samples = from_arrays(PIXELS, ["dog", "cat", "dog", "cat"])
    assert samples.class_names == ("cat", "dog")
    assert samples.labels.tolist() == [1, 0, 1, 0]
    assert from_arrays(PIXELS, ["b", "a", "b", "a"], class_names=["b", "a"]).labels.tolist() == [0, 1, 0, 1]
    assert from_arrays(PIXELS, None, class_names=["b", "a"]).labels is None
    assert from_arrays(PIXELS, None).class_names == ()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (PIXELS / np.float32(255), r"np\.rint\(255 \* images\)"),
        (PIXELS + 0.5, r"np\.rint\(images\)"),
        (PIXELS.astype(float) - 127.5, r"-127\.5.*Bring them back"),
        (PIXELS.astype(np.uint16) * 257, "Bring them back"),
        (np.where(PIXELS == 7, np.nan, PIXELS), "NaN in 1 images"),
        (PIXELS[..., 0], r"np\.repeat\(images\[\.\.\., np\.newaxis\], 3, axis=-1\)"),
        (PIXELS[..., :1], r"np\.repeat\(images, 3, axis=-1\)"),
        (PIXELS[0], r"images\[np\.newaxis\]"),
        (np.moveaxis(PIXELS, -1, 1), "shape"),
        (PIXELS > 3, "dtype bool"),
        (PIXELS[:0], "no pixels"),
        ([PIXELS[0], PIXELS[0, :1]], "different sizes"),
    ],
)
def test_pixels_that_would_lose_something_are_refused(images, message):
    with pytest.raises(InputError, match=message):
        from_arrays(images, None)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (np.eye(4), None, "argmax"),
        ([0, 1, 0], None, r"\(3,\); accepted .* \(4,\)"),
        ([0.0, 1.0, 0.0, 1.0], None, "float64"),
        ([0, 1, 2, 0], ["a", "b"], r"0\.\.2"),
        ([0, -1, 1, 0], None, r"-1\.\.1"),
        (["a", "b", "c", "a"], ["a", "b"], "c are not among"),
        ([0, 0, 0, 0], None, "two or more"),
    ],
)
def test_labels_that_do_not_fit(labels, names, message):
    with pytest.raises(InputError, match=message):
        from_arrays(PIXELS, labels, class_names=names)


def test_an_image_without_group_is_named():
    with pytest.raises(InputError, match="no group for images 1, 3"):
        from_arrays(PIXELS, [0, 1, 0, 1], groups=["a", None, "b", float("nan")])
