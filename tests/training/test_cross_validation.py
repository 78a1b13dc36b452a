import joblib
import numpy as np
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl

EXTRACTOR = tl.Extractor(TINY, "logistic_regression", weights=None, image_size=(32, 32))
TUNER = tiny_tuner(phases=tl.Phase(1, 1e-2))


@pytest.fixture(scope="module")
def patients(toy_pixels):
    """40 images of 20 patients."""
    images, labels = toy_pixels
    return tl.from_arrays(images, labels, groups=[f"p{number // 4}{number % 2}" for number in range(40)])


def test_each_image_is_predicted_by_the_fold_that_held_it_out(patients):
    found = tl.cross_validate(EXTRACTOR, patients, folds=4, seeds=(3,))
    (predictions,), (fold_of,) = found.predictions, found.fold_of
    for fold, splits in enumerate(tl.KFold(4, val=0.15).folds(patients, seed=3)):
        rows = np.flatnonzero(fold_of == fold)
        assert list(patients.sample_ids[rows]) == list(splits.test.sample_ids)
        theirs = EXTRACTOR.fit(splits.train, splits.val, seed=3).predict(splits.test)
        np.testing.assert_allclose(predictions.probs[rows], theirs.probs, atol=1e-6)
        assert set(splits.test.groups).isdisjoint(splits.train.groups)
    assert predictions.samples is patients
    assert found.classifiers == ()


def test_folds_tell_what_each_alone_would_have_said(patients):
    found = tl.cross_validate(EXTRACTOR, patients, folds=tl.KFold(2), seeds=(0, 1))
    table = found.by_fold(["accuracy"])
    assert list(table.columns) == ["seed", "fold", "images", "groups", "accuracy"]
    assert list(zip(table["seed"], table["fold"], strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    right = found.predictions[1].correct[found.fold_of[1] == 0]
    assert table["accuracy"][2] == pytest.approx(right.mean())
    assert table["images"][2] == len(right)
    assert table["groups"].sum() == 40  # each of 20 in one fold of each seed
    assert (found.fold_of[0] != found.fold_of[1]).any()


@pytest.mark.slow
def test_seeds_are_taken_together_by_intervals_and_pairs(patients):
    one, other = (tl.cross_validate(recipe, patients, folds=2, seeds=(0, 1)) for recipe in (EXTRACTOR, TUNER))
    shown = tl.intervals(one.predictions, metrics=["accuracy"])
    assert shown.loc["accuracy", "groups"] == 20
    table = tl.paired(one.predictions, other.predictions)
    difference = np.mean(
        [b.correct.mean() - a.correct.mean() for a, b in zip(one.predictions, other.predictions, strict=True)]
    )
    assert table["difference"].iloc[0] == pytest.approx(difference)


@pytest.mark.slow
def test_classifiers_of_folds_make_an_ensemble(patients):
    found = tl.cross_validate(TUNER, patients, folds=2, keep_classifiers=True)
    ((first, second),) = found.classifiers
    held_out = np.flatnonzero(found.fold_of[0] == 1)
    np.testing.assert_allclose(
        second.predict(patients.take(held_out)).probs, found.predictions[0].probs[held_out], atol=1e-6
    )
    ensemble = tl.Ensemble(found.classifiers[0])
    expected = (first.predict(patients).probs + second.predict(patients).probs) / 2
    np.testing.assert_allclose(ensemble.predict(patients).probs, expected, atol=1e-6)


def test_frozen_layers_run_once_per_image(patients, tmp_path):
    store = tl.FeatureStore(tmp_path)
    tl.cross_validate(EXTRACTOR, patients, folds=4, store=store)
    before = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    tl.cross_validate(EXTRACTOR, patients, folds=5, store=store)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) == before


@pytest.mark.slow
def test_other_processes_find_the_same(patients):
    alone = tl.cross_validate(TUNER, patients, folds=3)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        spread = tl.cross_validate(TUNER, patients, folds=3)
    np.testing.assert_allclose(alone.predictions[0].probs, spread.predictions[0].probs, atol=1e-6)


def test_a_fold_that_lacks_a_class_is_named_before_anything_is_fitted(patients):
    few = patients.take(np.flatnonzero((patients.known_labels == 0) | (patients.groups == "p01")))
    with pytest.raises(tl.InputError, match=r"seed 0, fold \d of 3: train: no training image of 1"):
        tl.cross_validate(EXTRACTOR, few, folds=tl.KFold(3))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"recipe": "mobilenetv2"}, "recipe: received str"),
        ({"folds": 1}, "folds: received 1"),
        ({"seeds": ()}, "seeds: received"),
        ({"seeds": (0, 0)}, r"seeds: received \(0, 0\).*each once"),
        ({"recipe": tiny_tuner(precision="auto")}, "recipe: its precision"),
        ({"folds": 30}, "folds"),
    ],
)
def test_what_cannot_be_is_refused(patients, given, said):
    with pytest.raises(tl.InputError, match=said):
        tl.cross_validate(given.pop("recipe", EXTRACTOR), patients, **given)
