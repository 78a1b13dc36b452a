import numpy as np
import pytest

from tlkeras.data.balance import class_weights, oversample, sample_weights
from tlkeras.errors import InputError

LABELS = np.array([0] * 6 + [1] * 3 + [2])  # 10 images, 3 classes


def test_class_weights_are_n_over_k_times_count():
    np.testing.assert_allclose(class_weights(LABELS, 3), [10 / (3 * 6), 10 / (3 * 3), 10 / (3 * 1)], rtol=1e-15)
    assert class_weights(LABELS, 3).dtype == np.float64


def test_sample_weights_have_mean_one_and_give_every_class_the_same_sum():
    weights = sample_weights(LABELS, 3)
    assert weights.dtype == np.float32
    assert weights.mean() == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(np.bincount(LABELS, weights=weights), [10 / 3] * 3, rtol=1e-6)


def test_oversample_brings_every_class_to_the_largest():
    labels = np.array([0] * 7 + [1] * 3 + [2])
    indices = oversample(labels, 3, seed=0)
    assert indices.dtype == np.int64
    assert np.bincount(labels[indices]).tolist() == [7, 7, 7]
    times = np.bincount(indices, minlength=11)
    assert times[:7].tolist() == [1] * 7
    assert sorted(times[7:10]) == [2, 2, 3]  # 7 = 2 * 3 + 1
    assert times[10] == 7


def test_what_is_left_is_drawn_without_replacement():
    indices = oversample(np.array([0] * 150 + [1] * 100), 2, seed=0)
    assert np.bincount(np.bincount(indices)[150:]).tolist() == [0, 50, 50]  # half of the 100 come twice, none thrice


def test_oversample_is_a_function_of_its_seed():
    labels = np.array([0] * 150 + [1] * 100)
    assert np.array_equal(oversample(labels, 2, seed=0), oversample(labels, 2, seed=0))
    assert not np.array_equal(oversample(labels, 2, seed=0), oversample(labels, 2, seed=1))


@pytest.mark.parametrize("call", [class_weights, sample_weights, lambda *a: oversample(*a[:2], 0, a[2])])
def test_a_class_without_training_images_is_named(call):
    with pytest.raises(InputError, match="no training image of class vasc"):
        call(LABELS, 4, ["akiec", "bcc", "bkl", "vasc"])


def test_labels_beyond_the_classes_are_refused():
    with pytest.raises(InputError, match=r"0\.\.2; with 2 classes"):
        class_weights(LABELS, 2)
    with pytest.raises(InputError, match="float64"):
        class_weights(LABELS.astype(float), 3)
