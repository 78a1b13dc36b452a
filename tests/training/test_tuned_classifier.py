import copy
import dataclasses
import gc
import pickle
import weakref

import keras
import numpy as np
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl


@pytest.fixture(scope="module")
def classifier():
    model = tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), seed=5)
    return tl.TunedClassifier(model=model, class_names=["dark", "bright"], image_size=[32, 32])


def test_predictions_keep_every_sample_in_order(classifier, toy_pixels):
    images, labels = np.tile(toy_pixels[0], (2, 1, 1, 1)), np.tile(toy_pixels[1], 2)  # 80: not a multiple of the batch
    samples = tl.from_arrays(images, labels, class_names=["dark", "bright"])
    predictions = classifier.predict(samples)
    assert predictions.probs.shape == (80, 2)
    np.testing.assert_allclose(predictions.probs.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(predictions.probs[:40], predictions.probs[40:], atol=1e-6)
    np.testing.assert_allclose(classifier.predict_pixels(images), predictions.probs, atol=1e-6)


def test_files_and_arrays_of_other_sizes_are_resized_as_read_pixels_does(classifier, tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    for name in ("dark", "bright"):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "a.png")
    samples = tl.from_folders(tmp_path)
    samples = tl.Samples(samples.images, None, ("dark", "bright"))
    probs = classifier.predict(samples).probs
    read = tl.read_pixels(samples.images[0], (32, 32))
    np.testing.assert_array_equal(classifier.predict_pixels(np.stack([read, read])), probs)


def test_a_file_that_cannot_be_read_is_named(classifier, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(tl.InputError, match=r"broken\.png"):
        classifier.predict(tl.Samples((str(tmp_path / "broken.png"),), None, ("dark", "bright")))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((2, 16, 16, 3), np.uint8), r"accepted is \(n, 32, 32, 3\)"),
        (np.zeros((32, 32, 3), np.uint8), r"received shape \(32, 32, 3\)"),
        (np.full((1, 32, 32, 3), 0.5), "Multiply by 255"),
    ],
)
def test_pixels_that_do_not_fit_are_refused(classifier, images, said):
    with pytest.raises(tl.InputError, match=said):
        classifier.predict_pixels(images)


def test_an_image_gets_the_same_probabilities_whatever_their_number(classifier):
    images = np.random.default_rng(0).integers(0, 256, (150, 32, 32, 3), dtype=np.uint8)  # over two batches
    probs = classifier.predict_pixels(images)
    assert (probs.shape, probs.dtype) == ((150, 2), np.float32)
    for rows in ([149], [3, 70], range(64), range(100, 150)):
        np.testing.assert_allclose(classifier.predict_pixels(images[list(rows)]), probs[list(rows)], atol=1e-6)
    np.testing.assert_array_equal(classifier.predict_pixels(images.astype(np.float64)), probs)
    assert classifier.predict_pixels(images[:0]).shape == (0, 2)


def test_a_model_gets_floats_and_no_more_than_a_batch_at_a_time():
    seen = []

    class Watched(keras.Model):
        def call(self, pixels):
            seen.append((pixels.shape[0], keras.backend.standardize_dtype(pixels.dtype)))
            brightness = keras.ops.mean(pixels, axis=(1, 2, 3))[:, None] / 255
            return keras.ops.concatenate([1 - brightness, brightness], axis=1)

    model = Watched()
    model.run_eagerly = True  # so that `call` is reached in every batch
    watched = tl.TunedClassifier(model=model, class_names=("dark", "bright"), image_size=(8, 8))
    images = np.arange(150, dtype=np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)
    probs = watched.predict_pixels(images)
    assert seen == [(64, "float32"), (64, "float32"), (22, "float32")]
    np.testing.assert_allclose(probs[:, 1], np.arange(150) / 255, atol=1e-6)


def test_samples_of_other_classes_are_refused(classifier, toy_pixels):
    with pytest.raises(tl.InputError, match="are not those trained on"):
        classifier.predict(tl.from_arrays(*toy_pixels))


def test_samples_without_labels_take_the_classifiers_class_names(classifier, toy_pixels):
    assert classifier.predict(tl.from_arrays(toy_pixels[0], None)).samples.class_names == ("dark", "bright")
    turned = tl.Samples(toy_pixels[0], None, ("bright", "dark"))  # would swap every name
    with pytest.raises(tl.InputError, match="are not those trained on"):
        classifier.predict(turned)


@pytest.mark.parametrize("names", [("a", "a"), ("a", ""), ("a", "b", "c")])
def test_class_names_that_could_not_be_loaded_again_are_refused_at_once(names):
    pixels = keras.Input((32, 32, 3))
    model = keras.Model(pixels, keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(pixels)))
    with pytest.raises(tl.InputError, match="class_names: received"):
        tl.TunedClassifier(model=model, class_names=names, image_size=(32, 32))
    with pytest.raises(tl.InputError, match="image_size"):
        tl.TunedClassifier(model=model, class_names=("a", "b"), image_size=(32,))


def test_predict_takes_samples_and_says_so(classifier, toy_pixels):
    with pytest.raises(tl.InputError, match=r"samples: received tuple; accepted are tl\.Samples: tl\.from_arrays"):
        classifier.predict(toy_pixels)


def by_keras(model, layer, images):
    """What the layer of that name puts out, in inference mode."""
    return np.asarray(keras.Model(model.input, model.get_layer(layer).output)(images.astype(np.float32)))


def test_features_are_what_a_layer_makes_of_every_sample(classifier):
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)  # over two batches
    samples, maps = tl.Samples(images, None, ("any", "classes")), by_keras(classifier.model, "relu3", images)
    for arguments, expected in (
        ({}, maps.mean(axis=(1, 2))),
        ({"pooling": "flatten"}, maps.reshape(70, -1)),
        ({"layer": "relu3", "pooling": "max"}, maps.max(axis=(1, 2))),
        ({"layer": "conv2"}, by_keras(classifier.model, "conv2", images).mean(axis=(1, 2))),
        ({"layer": "head_probs"}, classifier.predict_pixels(images)),
    ):
        found = classifier.features(samples, **arguments)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    rows = [69, 3, 3]
    np.testing.assert_array_equal(classifier.features(samples.take(rows)), classifier.features(samples)[rows])
    assert classifier.features(samples.take([])).shape == (0, 8)


def test_features_of_a_layer_that_is_not_there_or_a_file_that_cannot_be_read_are_refused(classifier, tmp_path):
    with pytest.raises(tl.InputError, match=r"'relu33', which the model does not have\. Near: relu3"):
        classifier.features(tl.Samples(np.zeros((1, 32, 32, 3), np.uint8), None, ()), layer="relu33")
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(tl.InputError, match=r"broken\.png"):
        classifier.features(tl.Samples((str(tmp_path / "broken.png"),), None, ()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Cut in two by the feature store in both phases: its layers belong to several graphs."""
    rng, labels = np.random.default_rng(1), np.arange(20) % 2
    images = np.clip(rng.normal(70 + 110 * labels[:, None, None, None], 30, (20, 32, 32, 3)), 0, 255).astype(np.uint8)
    tuner = tiny_tuner(phases=(tl.Phase(1, 1e-2), tl.Phase(1, 1e-3, unfreeze=("block3",))))
    samples = tl.from_arrays(images, labels)
    return tuner.fit(samples, seed=0, store=str(tmp_path_factory.mktemp("store"))), samples


@pytest.mark.slow
def test_features_of_a_trained_classifier_are_those_it_gives_after_load(trained, tmp_path):
    classifier, samples = trained
    loaded = tl.load(classifier.save(tmp_path))
    for layer in (None, "relu1", "add2", "head_dense_1"):
        found = classifier.features(samples, layer=layer)
        np.testing.assert_allclose(loaded.features(samples, layer=layer), found, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, by_keras(loaded.model, "head_dense_1", samples.images), rtol=1e-4, atol=1e-5)
    head, features = loaded.model.get_layer("head_dense_1"), classifier.features(samples, pooling="flatten")  # by hand
    np.testing.assert_allclose(
        np.maximum(features @ np.asarray(head.kernel) + np.asarray(head.bias), 0), found, rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(loaded.predict(samples).probs, classifier.predict(samples).probs, atol=1e-6)


def test_a_saved_classifier_says_what_fit_saw(trained, tmp_path):
    classifier, _ = trained
    assert classifier.images == {"train": {"0": 10, "1": 10}}
    assert tl.load(classifier.save(tmp_path)).images == classifier.images
    assert "It learnt from 20 images: 10 0, 10 1." in (tmp_path / "model_card.md").read_text()


def test_a_run_keeps_the_model_its_history_its_layers_and_facts(trained, tmp_path):
    import pandas as pd

    classifier, samples = trained
    facts = classifier.write_run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("classifier.json", "history.csv", "layers.csv", "model.keras")
    ]
    history = pd.read_csv(tmp_path / "history.csv")
    assert history[["phase", "epoch"]].to_numpy().tolist() == [[1, 1], [2, 1]]
    np.testing.assert_allclose(history["loss"], classifier.history["loss"], rtol=1e-5)
    assert pd.read_csv(tmp_path / "layers.csv").shape == classifier.layers.shape
    assert facts["parameters"] == sum(weight.size for weight in classifier.model.get_weights())
    assert (facts["weights"], facts["precision"]["name"]) == (None, "float32")
    assert facts["device"].startswith("GPU (") if keras.distribution.list_devices("gpu") else facts["device"] == "CPU"
    np.testing.assert_allclose(tl.load(tmp_path).predict(samples).probs, classifier.predict(samples).probs, atol=1e-6)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda classifier: pickle.loads(pickle.dumps(classifier))])
def test_a_copy_predicts_as_the_original_and_by_its_own_weights(trained, copied):
    classifier, samples = trained
    before = classifier.predict(samples).probs
    twin = copied(classifier)
    assert twin.kept_features is None
    np.testing.assert_allclose(twin.predict(samples).probs, before, atol=1e-6)
    assert twin.history.equals(classifier.history)
    assert twin.layers.equals(classifier.layers)
    twin.model.set_weights([0 * weight for weight in twin.model.get_weights()])
    np.testing.assert_array_equal(twin.predict(samples).probs, 0.5)  # nothing tells the classes apart
    np.testing.assert_array_equal(classifier.predict(samples).probs, before)


def test_kept_features_are_the_models_and_follow_its_weights(trained):
    classifier, samples = trained
    same = dataclasses.replace(copy.copy(classifier), class_names=("x", "y"))
    assert same.kept_features is classifier.kept_features is not None
    weights = classifier.model.get_weights()
    try:
        classifier.model.set_weights([2 * weight for weight in weights])
        np.testing.assert_allclose(
            classifier.predict(samples).probs, classifier.predict_pixels(samples.images), atol=1e-6
        )
    finally:
        classifier.model.set_weights(weights)


def test_kept_features_go_with_their_model(toy_pixels, tmp_path):
    classifier = tiny_tuner(phases=tl.Phase(1, 1e-2)).fit(toy_pixels, seed=0, store=str(tmp_path))
    classifier.predict(tl.from_arrays(*toy_pixels))
    cut = weakref.ref(classifier.kept_features[0])
    del classifier
    gc.collect()
    assert cut() is None
