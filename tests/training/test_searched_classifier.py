"""What a search returns has the faces of the classifier in it."""

import pickle

import numpy as np
import pandas as pd
import pytest
from tiny import tiny_tuner

import tlkeras as tl
from tlkeras.files import read_json


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8), np.arange(12) % 2


@pytest.fixture(scope="module")
def searched(images):
    recipe = tiny_tuner(phases=tl.Phase(1, 1e-3, keep="last"), image_size=(16, 16))
    return tl.Search(recipe, {"epochs": (1, 2)}, tl.KFold(2)).fit(images, seed=0, store=False)


def test_the_network_its_log_and_its_features_are_the_classifiers(searched, images):
    samples = tl.from_arrays(*images)
    assert searched.model is searched.classifier.model
    pd.testing.assert_frame_equal(searched.history, searched.classifier.history)
    assert len(searched.history) == searched.best["epochs"]
    np.testing.assert_array_equal(searched.features(samples), searched.classifier.features(samples))
    heatmap = tl.grad_cam(searched, images[0][0], label=0)
    np.testing.assert_array_equal(heatmap.heat, tl.grad_cam(searched.classifier, images[0][0], label=0).heat)


def test_a_saved_one_is_loaded_as_the_classifier_it_holds(searched, images, tmp_path):
    loaded = tl.load(searched.save(tmp_path))
    np.testing.assert_allclose(loaded.predict_pixels(images[0]), searched.predict_pixels(images[0]), atol=1e-6)


def test_it_can_be_pickled(searched, images):
    twin = pickle.loads(pickle.dumps(searched))
    np.testing.assert_array_equal(twin.predict_pixels(images[0]), searched.predict_pixels(images[0]))
    assert (twin.best, twin.ranking.equals(searched.ranking)) == (searched.best, True)


@pytest.mark.slow
def test_a_run_tells_how_many_trainings_were_kept(searched, tmp_path, images):
    found = searched.write_run(tmp_path / "run")["search"]
    assert (found["trainings"], found["kept"]) == (2, 0)
    search = tl.Search(searched.recipe, {"epochs": (1, 2)}, tl.KFold(2))
    options = {"seed": 0, "store": False, "folder": tmp_path / "search"}
    assert search.fit(images, **options).n_kept == 0
    again = search.fit(images, **options)
    assert (again.n_trainings, again.n_kept) == (2, 2)
    assert read_json(tmp_path / "run" / "classifier.json")["image_size"] == [16, 16]


def test_trees_have_no_network(images):
    trees = tl.PixelBaseline("decision_tree", image_size=(8, 8))
    found = tl.Search(trees, {"pixels": ("raw", "rescaled")}, tl.KFold(2)).fit(images, seed=0)
    assert not hasattr(found, "model")
    with pytest.raises(tl.InputError, match="works with every classifier"):
        tl.grad_cam(found, images[0][0])


def test_a_precision_that_is_timed_anew_in_every_training_is_refused():
    with pytest.raises(tl.InputError, match='precision "auto" is timed anew'):
        tl.Search(tiny_tuner(precision="auto"), {"batch_size": (4, 8)})
