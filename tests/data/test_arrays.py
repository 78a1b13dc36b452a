import numpy as np
import pandas as pd
import pytest

from tlkeras.data.arrays import from_arrays
from tlkeras.errors import InputError

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
        ((PIXELS > 60).astype(np.float32), r"0\.0\.\.1\.0.*np\.rint\(255 \* images\).*images\.astype\('uint8'\)"),
        (np.ones((2, 4, 5, 3)), r"floats in 1\.0\.\.1\.0"),
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
        (np.where(PIXELS == 7, np.inf, PIXELS), r"0\.0\.\.inf"),
        (np.where(PIXELS == 7, -np.inf, PIXELS), r"-inf\.\.119"),
        (PIXELS.astype(complex), "dtype complex128"),
        (PIXELS.astype(object), "dtype object"),
        (PIXELS.astype(str), "dtype <U"),
        (PIXELS.astype(np.int16) - 1, r"-1\.\.118"),
        (np.zeros((0, 3)), "shape"),
        (np.zeros((4, 0, 5, 3), np.uint8), "no pixels"),
        (["a.jpg", "b.jpg"], r"shape \(2,\)"),
        (None, r"shape \(\)"),
    ],
)
def test_pixels_that_would_lose_something_are_refused(images, message):
    with pytest.raises(InputError, match=message):
        from_arrays(images, None)


def test_zeros_and_ones_are_grey_levels_where_their_dtype_is_one_of_whole_numbers():
    for dtype in (np.uint8, np.int64):
        assert from_arrays((PIXELS > 60).astype(dtype), None).images.max() == 1
    assert not from_arrays(np.zeros((2, 4, 5, 3)), None).images.any()  # black by either reading


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (np.eye(4)[:, :3], None, "hold a single 1, and else 0"),
        (np.full((4, 2), 0.5), None, r"\(4, 2\); accepted .* \(4,\)"),
        ([0, 1, 0], None, r"\(3,\); accepted .* \(4,\)"),
        ([0.0, 2.0**60, 0.0, 1.0], None, "float64"),
        ([0, 1, 2, 0], ["a", "b"], r"0\.\.2"),
        ([0, -1, 1, 0], None, r"-1\.\.1"),
        (["a", "b", "c", "a"], ["a", "b"], "c are not among"),
        ([0, 0, 0, 0], None, "two or more"),
        (["a", "a", "a", "a"], None, "two or more"),
        ([[0], [1], [0], [1]], None, r"\(4, 1\).*labels\.ravel\(\)"),
        ([[0], [1, 2], [0], [1]], None, "different lengths"),
        ([0.0, np.nan, 1.0, np.nan], None, "no label for images 1, 3. Fill"),
        ([0.5, 1.0, 0.0, 1.0], None, r"dtype float64; accepted are integers or class names\.$"),
        ([True, False, True, False], None, r"dtype bool.*astype\(int\)\?"),
        ([0.0, np.inf, 1.0, 0.0], None, r"dtype float64; accepted are integers or class names\.$"),
        ([1j, 0, 0, 1], None, r"dtype complex128"),
        (["a", "b", None, "a"], None, "no label for images 2"),
        (["a", "b", float("nan"), ""], None, "no label for images 2, 3"),
        (np.array(["a", "nan", "b", "a"]), None, "no label for images 1"),
        (["a", 1, "b", "a"], None, "received 1 of image 1; accepted are integers, or class names for all"),
        (np.array([0, 1.5, 1, 0], dtype=object), None, "received 0 of image 0, 1.5 of image 1"),
        ([0, -1, -2, -1], None, r"values -2\.\.0; accepted are 0\.\.k-1"),
        ([0, 10**12, 0, 1], None, rf"values 0\.\.{10**12}; accepted are 0\.\.k-1"),
        ([0, 2**80, 0, 1], None, rf"up to {2**80}"),
        (np.array([0, 2**64 - 1, 0, 1], np.uint64), ["a", "b"], r"accepted are 0\.\.1\.$"),
        ([0, 1, 0, 1], "ab", "class_names: received 'ab'"),
        ([0, 1, 0, 1], ["a", " "], "a class is called ' '"),
        ([0, 1, 0, 1], ["a", "a"], "names a class twice"),
        ("abab", None, r"shape \(\)"),
    ],
)
def test_labels_that_do_not_fit(labels, names, message):
    with pytest.raises(InputError, match=message):
        from_arrays(PIXELS, labels, class_names=names)


def test_whole_floats_and_one_hot_rows_are_labels():
    assert from_arrays(PIXELS, [0.0, 1.0, 0.0, 1.0]).labels.tolist() == [0, 1, 0, 1]
    for dtype in (int, np.float32, bool):
        samples = from_arrays(PIXELS, np.eye(3, dtype=dtype)[[1, 0, 1, 0]])
        assert (samples.labels.tolist(), samples.class_names) == ([1, 0, 1, 0], ("0", "1", "2"))
    assert from_arrays(PIXELS, [[1, 0], [0, 1], [1, 0], [1, 0]], ["a", "b"]).class_names == ("a", "b")


def test_names_in_two_spellings_are_refused_or_joined():
    labels, groups = ["nv", "NV", "mel", "nv"], ["P1", "p01", "P2", "P2"]
    with pytest.raises(InputError, match="'nv' and 'NV' differ only"):
        from_arrays(PIXELS, labels)
    with pytest.raises(InputError, match="groups: the names 'P1' and 'p01' differ only"):
        from_arrays(PIXELS, [0, 1, 0, 1], groups=groups)
    samples = from_arrays(PIXELS, labels, groups=groups, normalise="join")
    assert (samples.class_names, samples.groups.tolist()) == (("mel", "nv"), ["P1", "P1", "P2", "P2"])
    with pytest.raises(InputError, match="normalise: received 'all'"):
        from_arrays(PIXELS, [0, 1, 0, 1], normalise="all")


def test_an_image_without_group_is_named():
    with pytest.raises(InputError, match="no group for images 1, 3"):
        from_arrays(PIXELS, [0, 1, 0, 1], groups=["a", None, "b", float("nan")])


def test_one_image_of_one_pixel_is_enough():
    samples = from_arrays(np.full((1, 1, 1, 3), 7, np.uint8), [1])
    assert (samples.class_names, samples.labels.tolist()) == (("0", "1"), [1])


def test_labels_in_other_wrappings_are_the_same_labels():
    for labels in (
        pd.Series([0, 2, 1, 2], index=[9, 9, 9, 9]),
        pd.Series([0, 2, 1, 2], dtype="Int64"),
        np.array([0, 2, 1, 2], dtype=object),
        (0, 2, 1, 2),
    ):
        assert from_arrays(PIXELS, labels).labels.tolist() == [0, 2, 1, 2]
    for names in (
        pd.Series(["a", "c", "b", "c"], dtype="category"),
        pd.Series(["a", "c", "b", "c"]),
        np.array(["a", "c", "b", "c"], dtype=np.dtypes.StringDType()),
        ["a", np.str_("c"), "b", "c"],
    ):
        assert from_arrays(PIXELS, names).labels.tolist() == [0, 2, 1, 2]


def test_a_missing_label_in_a_column_is_no_class():
    for labels in (
        pd.Series([0, None, 1, 1], dtype="Int64"),
        pd.Series(["a", None, "b", "b"]),
        pd.Series(["a", None, "b", "b"], dtype="category"),
    ):
        with pytest.raises(InputError, match="no label for images 1"):
            from_arrays(PIXELS, labels)
