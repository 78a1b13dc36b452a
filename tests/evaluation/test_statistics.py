from __future__ import annotations

import numpy as np
import pytest

from tlkeras.evaluation.statistics import accuracy_interval
from tlkeras.schema import InputError, Predictions, Samples


def predictions_of(correct, groups=None):
    correct = np.asarray(correct, dtype=bool)
    labels = np.zeros(len(correct), dtype=np.int64)
    probs = np.where(correct[:, None], [[0.9, 0.1]], [[0.1, 0.9]]).astype(np.float32)
    return Predictions(
        Samples(tuple(f"{i}.png" for i in range(len(correct))), labels, ("a", "b"), groups=groups), probs
    )


def interval_group_by_group(predictions, draws, seed):
    # The definition, written out: draw whole groups, pool their images.
    rng = np.random.default_rng(seed)
    names = np.unique(predictions.samples.groups.astype(str))
    images = [predictions.correct[predictions.samples.groups == name] for name in names]
    means = [np.concatenate([images[i] for i in rng.integers(0, len(names), len(names))]).mean() for _ in range(draws)]
    return np.quantile(means, [0.025, 0.975])


def test_single_images_give_the_binomial_interval():
    # 400 images, 80 % right: the standard error is sqrt(0.8 * 0.2 / 400) = 0.02.
    low, high = accuracy_interval(predictions_of(np.arange(400) < 320), draws=20_000)
    assert low == pytest.approx(0.8 - 1.96 * 0.02, abs=0.004)
    assert high == pytest.approx(0.8 + 1.96 * 0.02, abs=0.004)


def test_groups_of_four_equal_images_double_the_width():
    correct = np.repeat(np.arange(100) < 80, 4)
    groups = np.repeat(np.arange(100).astype(str), 4)
    low, high = accuracy_interval(predictions_of(correct, groups), draws=20_000)
    assert (high - low) == pytest.approx(2 * 1.96 * 0.04, abs=0.01)


def test_agrees_with_drawing_group_by_group_when_sizes_differ():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(60), rng.integers(1, 9, 60)).astype(str)
    ability = rng.uniform(0.4, 1, 60)[groups.astype(int)]
    predictions = predictions_of(rng.random(len(groups)) < ability, groups)
    expected = interval_group_by_group(predictions, draws=4000, seed=1)
    np.testing.assert_allclose(accuracy_interval(predictions, draws=4000), expected, atol=0.01)


def test_is_a_function_of_the_seed():
    predictions = predictions_of(np.arange(50) < 40)
    assert accuracy_interval(predictions, seed=1) == accuracy_interval(predictions, seed=1)
    assert accuracy_interval(predictions, seed=1, draws=99) != accuracy_interval(predictions, seed=2, draws=99)


def test_a_lower_level_is_narrower():
    predictions = predictions_of(np.arange(200) < 150)
    low, high = accuracy_interval(predictions)
    inner_low, inner_high = accuracy_interval(predictions, level=0.5)
    assert low < inner_low < 0.75 < inner_high < high


@pytest.mark.parametrize("unknown", ["", None, np.nan])
def test_an_unknown_group_is_a_group_of_its_own(unknown):
    correct = np.arange(100) < 70
    groups = np.array([unknown] * 100, dtype=object)
    assert accuracy_interval(predictions_of(correct, groups)) == accuracy_interval(predictions_of(correct))


def test_one_group_has_no_interval_and_no_errors_give_no_width():
    assert np.isnan(accuracy_interval(predictions_of([1, 0, 1], np.array(["p"] * 3)))).all()
    assert accuracy_interval(predictions_of([1] * 9)) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("options", "words"), [({"level": 95}, "level: received 95"), ({"draws": 0}, "draws: received 0")]
)
def test_bad_options_are_refused_in_words(options, words):
    with pytest.raises(InputError, match=words):
        accuracy_interval(predictions_of([1, 0]), **options)


def test_no_predictions_are_refused_in_words():
    with pytest.raises(InputError, match="at least one sample"):
        accuracy_interval(predictions_of([]))
