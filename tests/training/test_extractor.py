"""The recipe, and which features it takes of which network."""

import subprocess
import sys
from importlib import import_module

import keras
import numpy as np
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.models.classifier import build_encoder
from tlkeras.training.extractor import CLASSIFIERS
from tlkeras.training.feature_store import FeatureStore

SIZE = (16, 24)
IMAGES = np.random.default_rng(0).integers(0, 256, (70, *SIZE, 3), dtype=np.uint8)
SAMPLES = tl.from_arrays(IMAGES, np.arange(70) % 2)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A classifier that was trained, its BatchNorm too, and the folder it was saved in."""
    phases = (tl.Phase(1, 1e-2), tl.Phase(1, 1e-2, unfreeze_from="block2", batch_norm="train"))
    tuner = tiny_tuner(image_size=SIZE, phases=phases, head=tl.Head(hidden=(5, 4), dropout=0.3, pooling="max"))
    classifier = tuner.fit(SAMPLES, seed=2, store=False)
    return classifier, str(classifier.save(tmp_path_factory.mktemp("earlier")))


def extractor(classifier="naive_bayes", **fields):
    return tl.Extractor(TINY, classifier, **({"weights": None, "image_size": SIZE} | fields))


def features(samples=SAMPLES, train=SAMPLES, *, seed=0, store=True, **fields):
    return extractor(**fields).fit(train, seed=seed, store=store).features(samples)


def by_keras(model, layer, images=IMAGES):
    """What the layer of that name puts out, in inference mode."""
    return np.asarray(keras.Model(model.input, model.get_layer(layer).output)(images.astype(np.float32)))


POOLED = {
    "avg": lambda maps: maps.mean(axis=(1, 2)),
    "max": lambda maps: maps.max(axis=(1, 2)),
    "flatten": lambda maps: maps.reshape(len(maps), -1),
}


@pytest.mark.parametrize("pooling", POOLED)
@pytest.mark.parametrize("layer", [None, "relu1"])
def test_features_are_a_layers_output_pooled(layer, pooling, earlier):
    classifier, folder = earlier
    expected = POOLED[pooling](by_keras(classifier.model, layer or "relu3"))
    found = features(weights=folder, layer=layer, pooling=pooling)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_weights_of_an_earlier_run_are_not_those_it_started_from(earlier):
    trained, untrained = features(weights=earlier[1]), features(weights=None, seed=2)
    assert np.abs(trained - untrained).max() > 0.01


@pytest.mark.parametrize(("layer", "units"), [("head_dense_1", 5), ("head_dense_2", 4), ("head_max", 8)])
def test_a_layer_of_an_earlier_runs_head(layer, units, earlier):
    classifier, folder = earlier
    expected = by_keras(classifier.model, layer)
    assert expected.shape == (70, units)
    for weights in (folder, f"{folder}/model.keras"):
        np.testing.assert_allclose(features(weights=weights, layer=layer), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"layer": "head_dense_9"}, r"'head_dense_9', which the model does not have\. Near: head_dense_"),
        ({"layer": "conv9"}, r"'conv9', which the model does not have\. Near: conv"),
        ({"layer": "head_dense_1", "image_size": (24, 16)}, r"for images of \(16, 24\); received .*\(24, 16\)"),
        ({"layer": "head_dense_1", "weights": None}, "weights None hold none. Give the folder of an earlier run"),
        ({"weights": "nowhere"}, "there is no file nowhere"),
        ({"weights": "imagenet"}, "no ImageNet file is known for tiny"),
    ],
)
def test_layers_and_weights_that_are_not_there_are_refused_in_words(fields, said, earlier):
    with pytest.raises(tl.InputError, match=said):
        features(**({"weights": earlier[1]} | fields))


def test_features_are_those_without_a_store_whatever_images_come_with_them(tmp_path):
    order = np.random.default_rng(1).permutation(70)
    network = build_encoder(TINY, image_size=SIZE, seed=0)
    stored, without = (features(store=store) for store in (str(tmp_path), False))
    assert stored.shape == (70, network.output_shape[1])
    np.testing.assert_allclose(stored, without, rtol=1e-5, atol=1e-6)
    for store in (str(tmp_path), False):
        found = features(SAMPLES.take(order), SAMPLES.take(range(20)), store=store)
        np.testing.assert_array_equal(found, (without if store is False else stored)[order])


def test_each_image_passes_the_network_once_whatever_is_fitted_to_its_features(earlier, tmp_path, computed):
    train, test = SAMPLES.take(range(50)), SAMPLES.take(range(50, 70))
    for seed, name in enumerate(("knn", "svm", "decision_tree")):
        classifier = extractor(name, weights=earlier[1]).fit(train, seed=seed, store=str(tmp_path))
        classifier.predict(test)
        classifier.predict(train)
    assert sum(computed) == 70
    # Another split of the same images, and a fit that shares the open store.
    store = FeatureStore(tmp_path)
    extractor(weights=earlier[1]).fit(SAMPLES.take(range(30, 70)), seed=0, store=store)
    assert sum(computed) == 70
    (entry,) = store.entries()
    assert (entry["rows"], entry["layer"], entry["image_size"]) == (70, "head_avg", [16, 24])


def test_a_computation_in_half_precision_is_near(earlier):
    exact, half = (features(weights=earlier[1], precision=precision) for precision in ("float32", "bfloat16"))
    assert (exact != half).any()
    np.testing.assert_allclose(half, exact, atol=0.03 * np.abs(exact).max())


def test_preprocessing_can_be_chosen():
    own, unit = (features(layer="conv1", preprocessing=name) for name in ("backbone", "unit"))
    assert np.abs(own - unit).max() > 0.1
    np.testing.assert_array_equal(own, features(layer="conv1", preprocessing="symmetric"))


def test_files_are_read_as_read_pixels_sees_them(toy_chest_xray):
    samples = tl.from_folders(toy_chest_xray / "chest_xray" / "train").take(range(0, 32, 3))
    classifier = extractor("decision_tree").fit(samples, seed=0)
    read = np.stack([tl.read_pixels(path, SIZE) for path in samples.images])
    expected = classifier.source.network(read.astype(np.float32), training=False)
    np.testing.assert_allclose(classifier.features(samples), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"classifier": "SVM"},
            "Extractor.classifier: received 'SVM'; accepted: 'knn', 'svm', 'logistic_regression', ",
        ),
        ({"pooling": "mean"}, "Extractor.pooling: received 'mean'"),
        ({"scaling": None}, "Extractor.scaling: received None; accepted: 'standard', 'none'"),
        ({"preprocessing": "tf"}, "Extractor.preprocessing: received 'tf'; accepted: 'backbone', 'unit'"),
        ({"precision": "auto"}, "Extractor.precision: received 'auto'; accepted: 'float32', 'bfloat16', 'float16'"),
        ({"feature_dtype": "int8"}, "Extractor.feature_dtype: received 'int8'; accepted: 'float32', 'float16'"),
        ({"layer": 3}, "Extractor.layer: received 3; accepted is the name of a layer, or None"),
        ({"arguments": [3]}, r"Extractor.arguments: received \[3\]; accepted is a dict"),
        ({"image_size": (4, 40)}, r"image_size: received \(4, 40\).*each at least 8 for tiny"),
    ],
)
def test_a_wrong_field_is_named(fields, said):
    with pytest.raises(tl.InputError, match=said):
        extractor(**fields)


def test_the_networks_native_size_is_taken_where_none_is_given():
    assert tl.Extractor(TINY).image_size == (32, 32)
    assert tl.Extractor("vgg16", "svm").image_size == (224, 224)


def test_a_recipe_is_changed_in_one_field():
    recipe = extractor("knn", layer="conv1", weights="run", arguments={"n_neighbors": 5})
    assert recipe.resized((8, 8)) == extractor(
        "knn", layer="conv1", weights="run", arguments={"n_neighbors": 5}, image_size=(8, 8)
    )
    assert recipe.starting_from("other").weights == "other"
    assert recipe.in_precision("float16").precision == "float16"
    assert recipe.network is recipe
    assert recipe.starting_from("run") == recipe
    assert hash(recipe.starting_from("run")) == hash(recipe)
    with pytest.raises(tl.InputError, match="each at least 8"):
        recipe.resized((4, 8))


def test_the_arguments_are_the_recipes_own():
    given = {"n_neighbors": 5}
    recipe = extractor("knn", arguments=given)
    given["n_neighbors"] = 7
    assert recipe.arguments == {"n_neighbors": 5}


@pytest.mark.parametrize(("layer", "smoke_layer"), [("conv1", "conv1"), ("head_dense_1", None)])
def test_a_smoke_run_takes_random_weights_and_small_images(layer, smoke_layer):
    recipe = extractor("knn", weights="nowhere", layer=layer, pooling="max", image_size=(64, 96)).for_smoke(8)
    assert recipe == extractor("knn", layer=smoke_layer, pooling="max", image_size=(8, 8))
    assert recipe.fit(SAMPLES, seed=0).predict(SAMPLES).probs.shape == (70, 2)
    assert recipe.for_smoke(3).image_size == (8, 8)  # what the network needs


def test_declaring_one_loads_neither_scikit_learn_nor_tensorflow():
    code = "import sys, tlkeras as tl; tl.Extractor('vgg16', 'svm'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"sklearn", "tensorflow", "keras"} & set(done.stdout.split())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, {}) for name in CLASSIFIERS if name != "svm"),
        ("logistic_regression", {"solver": "saga", "max_iter": 3}),
    ],
)
def test_whether_a_fit_draws_is_what_scikit_learn_s_random_state_does(name, arguments):
    rng = np.random.default_rng(0)
    features, labels, others = rng.normal(size=(90, 6)), rng.integers(0, 3, 90), rng.normal(size=(40, 6))
    module, kind, defaults = CLASSIFIERS[name]
    found = set()
    for state in range(3):
        made = getattr(import_module(module), kind)(**(defaults | arguments))
        if "random_state" in made.get_params():
            made.set_params(random_state=state)
        found.add(made.fit(features, labels).predict_proba(others).tobytes())
    assert tl.Extractor("vgg16", name, arguments=arguments).draws == (len(found) > 1)


def test_an_svm_draws_the_folds_of_its_temperature():
    assert tl.Extractor("vgg16", "svm").draws
