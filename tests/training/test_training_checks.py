import numpy as np
import pytest
from tiny import tiny_tuner

import tlkeras as tl
from tlkeras.training.checks import as_samples, check_pixels, check_samples

SIZE = (4, 5)
PIXELS = np.arange(6 * 4 * 5 * 3, dtype=np.uint8).reshape(6, *SIZE, 3) % 250
LABELS = np.array([0, 1, 0, 1, 0, 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64])
def test_pixels_of_any_dtype_come_in_batches(dtype):
    batches = check_pixels(PIXELS.astype(dtype), SIZE, 4)
    assert [len(batch) for batch in batches] == [4, 2]
    np.testing.assert_array_equal(np.concatenate(batches), PIXELS)


def test_no_images_one_image_black_images_and_a_list_of_images():
    assert check_pixels(PIXELS[:0].astype(float), SIZE, 4) == []
    assert [len(batch) for batch in check_pixels(PIXELS[:1], SIZE, 4)] == [1]
    assert len(check_pixels(np.zeros((2, *SIZE, 3)), SIZE, 4)) == 1
    assert len(check_pixels(list(PIXELS), SIZE, 4)) == 2


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.where(PIXELS == 7, np.nan, PIXELS), r"values nan\.\.nan; accepted is 0\.\.255"),
        (np.where(PIXELS == 7, np.inf, PIXELS), r"values 0\.0\.\.inf"),
        (np.where(PIXELS == 7, np.nan, PIXELS).astype(np.float16), r"values nan\.\.nan"),
        (PIXELS / 127.5 - 1, r"values -1\.0\.\."),
        (PIXELS.astype(np.uint16) * 257, r"accepted is 0\.\.255"),
        (PIXELS.astype(np.int16) - 1, r"values -1\.\."),
        (PIXELS / 255, r"lie in 0\.\.1.*Multiply by 255"),
        ((PIXELS > 100).astype(np.float32), r"lie in 0\.\.1.*images\.astype\('uint8'\)"),
        (PIXELS > 7, "dtype bool"),
        (PIXELS.astype(object), "dtype object"),
        (PIXELS.astype(complex), "dtype complex128"),
        (PIXELS.astype(str), "dtype <U"),
        (PIXELS[0], r"shape \(4, 5, 3\); accepted is \(n, 4, 5, 3\)"),
        (PIXELS[..., :1], "shape"),
        (np.moveaxis(PIXELS, 1, 2), "shape"),
        ([PIXELS[0], PIXELS[0, :1]], "different sizes"),
    ],
)
def test_pixels_that_would_give_probabilities_of_nothing_are_refused(images, said):
    with pytest.raises(tl.InputError, match=f"images: .*{said}"):
        check_pixels(images, SIZE, 4)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((PIXELS / 255, LABELS), r"train: images: received floats.*255 \* images"),
        ((np.where(PIXELS == 7, np.nan, PIXELS), LABELS), "train: images: received NaN in"),
        ((PIXELS[:0], LABELS[:0]), "train: images: received shape.*no pixels"),
        ((PIXELS[:1], LABELS[:1]), r"train: .*two or more"),
        ((PIXELS, LABELS[:-1]), "train: labels: received shape"),
        ((PIXELS, np.eye(2)[LABELS] / 2), "train: labels: received shape"),
        ((PIXELS, LABELS / 2), "train: labels: received"),
        ((PIXELS, np.where(LABELS, np.nan, 0.0)), "train: labels: no label for images 1, 3, 5"),
        ((PIXELS, LABELS - 1), r"train: labels: received values -1\.\.0"),
        ((PIXELS, 2 * LABELS), "train: no training image of 1"),
        ((PIXELS, 0 * LABELS), "train: .*two or more"),
        ((PIXELS, None), "train: these samples have no labels"),
        (PIXELS, "received ndarray; accepted are"),
        ((PIXELS,), "received tuple; accepted are"),
        (tl.Samples(PIXELS, np.zeros(6, int), ("a",)), r"train: found the classes \['a'\]"),
        (tl.Samples(PIXELS, LABELS, ("a", "A")), "train: .*differ only in case"),
    ],
)
def test_fit_refuses_arrays_that_cannot_be_learnt_from(given, said):
    with pytest.raises(tl.InputError, match=said):
        tiny_tuner(image_size=(8, 8)).fit(given, seed=0)


def test_validation_arrays_take_the_classes_of_training_and_no_others():
    train = as_samples("train", (PIXELS, LABELS))
    check_samples(train, as_samples("val", (PIXELS[:1], LABELS[:1]), train.class_names))  # one image will do
    with pytest.raises(tl.InputError, match=r"val: labels: received values 2\.\.2; with 2 class"):
        as_samples("val", (PIXELS[:1], [2]), train.class_names)
    with pytest.raises(tl.InputError, match="val: its classes"):
        check_samples(train, as_samples("val", (PIXELS[:3], [0, 1, 2])))
    with pytest.raises(tl.InputError, match=r"val: there are no samples in it\. Give None instead"):
        check_samples(train, train.take([]))
    with pytest.raises(tl.InputError, match="train: there are no samples"):
        check_samples(train.take([]), None)
