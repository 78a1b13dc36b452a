from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tiny import TINY

import tlkeras as tl
from tlkeras.evaluation.intervals import intervals
from tlkeras.reviewing import learning_curve as module
from tlkeras.reviewing.learning_curve import PowerLaw, fit_power_law, learning_curve

EXTRACTOR = tl.Extractor(TINY, "logistic_regression", weights=None, image_size=(32, 32))


@pytest.fixture(scope="module")
def splits():
    """240 images of 120 patients of three classes, one of them rare, told apart by brightness with much noise."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(120), 2)
    labels = np.where(patient % 12 == 0, 2, patient % 2)
    level = rng.normal(60 + 60 * labels, 40)
    images = np.clip(rng.normal(level[:, None, None, None], 30, (240, 32, 32, 3)), 0, 255).astype(np.uint8)
    samples = tl.from_arrays(images, labels, groups=[f"p{number}" for number in patient])
    return tl.Holdout(val=0.0, test=0.3).split(samples, seed=0)


def test_the_law_that_made_the_values_is_found():
    sizes = [100, 200, 400, 800, 1600, 3200]
    for law in (PowerLaw(0.9, 2.0, 0.5, False), PowerLaw(0.3, 4.0, 0.4, True)):
        found = fit_power_law(sizes, law(np.array(sizes)), falls=law.falls)
        np.testing.assert_allclose(found(np.array([50, 6400, 51200])), law(np.array([50, 6400, 51200])), atol=2e-3)
        assert found.exponent == pytest.approx(law.exponent, abs=0.03)


def test_a_law_of_noisy_values_has_the_least_squares():
    from scipy.optimize import minimize

    sizes = np.array([100, 200, 400, 800, 1600])
    values = PowerLaw(0.9, 2.0, 0.5, False)(sizes) + np.random.default_rng(0).normal(0, 0.01, 5)
    found = fit_power_law(sizes, values, falls=False)
    squares = np.square(found(sizes) - values).sum()

    def loss(parameters):
        limit, scale, exponent = parameters
        return np.square(1 - limit - scale * (sizes / 1600) ** -exponent - values).sum()

    starts = ([0.1, 0.1, 0.3], [0.0, 0.2, 0.2], [0.05, 0.1, 1.0])
    bounds = [(0, None), (0, None), (0, 2)]
    assert squares <= min(minimize(loss, start, bounds=bounds).fun for start in starts) * 1.001 + 1e-12


def test_few_sizes_and_undefined_figures_have_no_law():
    assert fit_power_law([1, 2, 3], np.array([0.1, 0.2, 0.3]), falls=False) is None
    assert fit_power_law([1, 2, 3, 4], np.array([0.1, np.nan, 0.3, 0.4]), falls=False) is None


def test_whole_groups_are_drawn_larger_sizes_hold_smaller_and_every_class_is_there(splits, monkeypatch):
    fitted = []
    fit = module._fitting(EXTRACTOR, None, True)

    def seen(recipe, folder, store):
        def fit_and_note(train, val, *, seed):
            fitted.append((seed, train))
            return fit(train, val, seed=seed)

        return fit_and_note

    monkeypatch.setattr(module, "_fitting", seen)
    curve = learning_curve(EXTRACTOR, splits, sizes=[6, 12, 84], seeds=(0, 1))
    groups_of = {group: (splits.train.groups == group).sum() for group in set(splits.train.groups)}
    of_seed = {0: [], 1: []}
    for seed, train in fitted:
        drawn = list(train.groups)
        assert all(drawn.count(group) == groups_of[group] for group in set(drawn))
        assert set(train.labels) == {0, 1, 2}
        of_seed[seed].append(set(drawn))
    for all_groups, twelve, six in of_seed.values():
        assert [len(all_groups), len(twelve), len(six)] == [84, 12, 6]
        assert six < twelve < all_groups
    assert of_seed[0][1] != of_seed[1][1]
    assert curve.table.index.tolist() == [6, 12, 84]
    np.testing.assert_allclose(curve.table["images"], [12, 24, 168])
    assert curve.law is None  # of three sizes


def test_the_table_holds_the_figures_of_the_recipe_itself_and_the_one_engine_s_intervals(splits):
    curve = learning_curve(EXTRACTOR, splits, sizes=[84], seeds=(3,), metric="macro_f1")
    predictions = EXTRACTOR.fit(splits.train, seed=3).predict(splits.test)
    np.testing.assert_allclose(curve.predictions[84][0].probs, predictions.probs, atol=1e-6)
    expected = intervals([predictions], metrics=["macro_f1"]).loc["macro_f1", ["value", "low", "high"]]
    np.testing.assert_allclose(curve.table.loc[84, ["value", "low", "high"]], expected, atol=1e-9)


@pytest.mark.slow
def test_a_fit_that_no_seed_moves_is_fitted_once_to_the_same_images(splits, tmp_path):
    saved = tl.Tuner(TINY, weights=None, image_size=(32, 32), phases=tl.Phase(1, 1e-3), head=tl.Head((), pooling="avg"))
    saved.fit(splits.train, seed=0, store=False).save(tmp_path)
    fixed = tl.Extractor(TINY, "logistic_regression", weights=str(tmp_path), image_size=(32, 32))
    curve = learning_curve(fixed, splits, sizes=[12, 84], seeds=(0, 1, 2), store=str(tmp_path / "store"))
    small, large = curve.predictions[12], curve.predictions[84]
    assert large[0] is large[1] is large[2]
    assert len({each.probs.tobytes() for each in small}) == 3  # of other groups
    np.testing.assert_array_equal(large[0].probs, fixed.fit(splits.train, seed=2).predict(splits.test).probs)
    drawn = tl.Extractor(TINY, "random_forest", weights=str(tmp_path), image_size=(32, 32))
    large = learning_curve(drawn, splits, sizes=[84], seeds=(0, 1), store=str(tmp_path / "store")).predictions[84]
    assert large[0].probs.tobytes() != large[1].probs.tobytes()


@pytest.mark.slow
def test_more_groups_help_and_the_gain_has_an_interval(splits):
    curve = learning_curve(EXTRACTOR, splits, sizes=5, seeds=(0, 1, 2), metric="log_loss")
    assert len(curve.table) == 5
    assert curve.table.index[-1] == 84
    assert curve.law.falls
    value, low, high = curve.gain(2)
    assert low <= value <= high
    assert value <= 0
    assert curve.at(84)[0] == pytest.approx(curve.table["curve"].iloc[-1])
    again = learning_curve(EXTRACTOR, splits, sizes=5, seeds=(0, 1, 2), metric="log_loss")
    np.testing.assert_array_equal(again.table, curve.table)
    assert again.gain(2) == (value, low, high)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"metric": "ece"}, "metric: received 'ece'"),
        ({"sizes": [2, 84]}, r"sizes: received \[2, 84\]; accepted is how many, or numbers of groups in 3..84"),
        ({"sizes": [85]}, r"\[85\]"),
        ({"sizes": "all"}, "'all'"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, r"seeds: received \(1, 1\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(splits, given, said):
    with pytest.raises(tl.InputError, match=said):
        learning_curve(EXTRACTOR, splits, **given)


def test_without_a_law_what_more_would_bring_is_not_said(splits):
    curve = learning_curve(EXTRACTOR, splits, sizes=[10, 84], seeds=(0,))
    with pytest.raises(tl.InputError, match="4 sizes"):
        curve.gain()


def test_a_figure_that_does_not_improve_says_so_and_sizes_of_one_are_all_groups(splits):
    falling = fit_power_law([100, 200, 400, 800], np.array([0.8, 0.79, 0.78, 0.78]), falls=False)
    curve = module.LearningCurve("accuracy", pd.DataFrame({"value": [0, 0]}, [100, 800]), (0,), falling, (falling,), {})
    assert not curve.improves
    with pytest.raises(tl.InputError, match="times: received 0"):
        curve.gain(0)
    assert module._sizes(1, 84, 3) == [84]
