"""A classifier of scikit-learn on features: that it is scikit-learn's own, and what is refused."""

import copy
import pickle
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from tiny import TINY

import tlkeras as tl
from tlkeras.models.classifier import build_encoder
from tlkeras.progress import silenced
from tlkeras.seeds import derive_seed
from tlkeras.training.extractor import CLASSIFIERS

NAMES = ("nv", "akiec", "mel")  # not in the order of the alphabet
RECIPES = pytest.mark.parametrize("name", CLASSIFIERS)


def clouds(n, seed, classes=NAMES):
    """n images of 16x16, classes told apart by brightness, with much overlap."""
    rng, labels = np.random.default_rng(seed), np.random.default_rng(seed).permutation(np.arange(n) % len(classes))
    level = 80 + 25 * labels + rng.normal(0, 15, n)
    images = np.clip(rng.normal(level[:, None, None, None], 40, (n, 16, 16, 3)), 0, 255).astype(np.uint8)
    return tl.from_arrays(images, labels, class_names=classes)


TRAIN, VAL, TEST = clouds(48, 0), clouds(9, 1), clouds(60, 2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The folder of an earlier run: with random weights every seed has a network of its own."""
    model = tl.build_classifier(TINY, n_classes=3, image_size=(16, 16), seed=5)
    classifier = tl.TunedClassifier(model=model, class_names=NAMES, image_size=(16, 16))
    return str(classifier.save(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def features(weights):
    """The features of TRAIN and TEST by a plain forward pass."""
    network = build_encoder(TINY, image_size=(16, 16), weights=weights)
    return [np.asarray(network(part.images.astype(np.float32), training=False)) for part in (TRAIN, TEST)]


@pytest.fixture
def fit(weights, tmp_path_factory):
    """Fits a recipe over TINY; the features of one network are computed once in this file."""

    def fit(name="knn", train=TRAIN, val=None, *, seed=0, store=True, **fields):
        recipe = tl.Extractor(TINY, name, **({"weights": weights, "image_size": (16, 16)} | fields))
        return recipe.fit(train, val, seed=seed, store=store)

    return fit


def scaled(train, test):
    mean, deviation = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    return [(part - mean) / deviation for part in (train, test)]


def scikit_learns_own(name, seed, **arguments):
    module, kind, _ = CLASSIFIERS[name]
    classifier = getattr(import_module(module), kind)(**arguments)
    if "random_state" in classifier.get_params():
        classifier.set_params(random_state=derive_seed(seed, "extractor"))
    return classifier


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("knn", {"n_neighbors": 3}),
        ("logistic_regression", {}),
        ("random_forest", {}),
        ("decision_tree", {}),
        ("naive_bayes", {}),
    ],
)
def test_predictions_are_scikit_learns_own_on_scaled_features(name, arguments, fit, features):
    train, test = scaled(*features)
    expected = scikit_learns_own(name, 3, **arguments).fit(train, TRAIN.labels).predict_proba(test)
    predictions = fit(name, seed=3).predict(TEST)
    assert predictions.samples is TEST
    assert predictions.probs.dtype == np.float32
    np.testing.assert_allclose(predictions.probs, expected, atol=1e-4)
    assert len(np.unique(predictions.predicted)) == 3
    assert 0.4 < predictions.correct.mean() < 1  # something was learnt, and not by heart


@pytest.mark.parametrize("classes", [NAMES, NAMES[:2]])
def test_a_support_vector_machines_decisions_stay_and_one_temperature_makes_them_probabilities(classes, fit, weights):
    train, test = clouds(48, 0, classes), clouds(60, 2, classes)
    network = build_encoder(TINY, image_size=(16, 16), weights=weights)
    ours = [np.asarray(network(part.images.astype(np.float32), training=False)) for part in (train, test)]
    train_rows, test_rows = scaled(*ours)
    machine = SVC(kernel="rbf").fit(train_rows, train.labels)
    decisions = machine.decision_function(test_rows)
    if len(classes) == 2:
        np.testing.assert_array_equal(machine.predict(test_rows), decisions > 0)
        decisions = np.stack([-decisions, decisions], axis=1)
    probs = fit("svm", train).predict(test).probs.astype(np.float64)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(probs.argmax(axis=1), decisions.argmax(axis=1))
    if len(classes) > 2:
        tied = SVC(kernel="rbf", break_ties=True).fit(train_rows, train.labels)
        np.testing.assert_array_equal(probs.argmax(axis=1), tied.predict(test_rows))
    assert len(np.unique(probs.argmax(axis=1))) == len(classes)
    # softmax(b * decisions) for one b above 0: differences of log probabilities are those of decisions, b times.
    log_ratios, distances = np.log(probs[:, 1:] / probs[:, :1]), decisions[:, 1:] - decisions[:, :1]
    inverse_temperature = (log_ratios * distances).sum() / (distances**2).sum()
    assert inverse_temperature > 0
    np.testing.assert_allclose(log_ratios, inverse_temperature * distances, atol=1e-3)


def test_features_can_be_left_unscaled(fit, features):
    expected = GaussianNB().fit(features[0], TRAIN.labels).predict_proba(features[1])
    np.testing.assert_allclose(fit("naive_bayes", scaling="none").predict(TEST).probs, expected, atol=1e-3)
    # Scaling changes who is near.
    unscaled = KNeighborsClassifier(3).fit(features[0], TRAIN.labels).predict_proba(features[1])
    np.testing.assert_allclose(fit(scaling="none").predict(TEST).probs, unscaled, atol=1e-6)
    assert (fit().predict(TEST).probs != unscaled).any()


def test_arguments_reach_scikit_learn(fit, features):
    train, test = scaled(*features)
    expected = KNeighborsClassifier(7, weights="distance").fit(train, TRAIN.labels).predict_proba(test)
    found = fit(arguments={"n_neighbors": 7, "weights": "distance"}).predict(TEST).probs
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert len(fit("random_forest", arguments={"n_estimators": 7}).estimator[-1].estimators_) == 7


def test_the_random_state_is_an_argument_like_others(fit):
    given = {"random_state": 7}
    np.testing.assert_array_equal(
        fit("random_forest", seed=0, arguments=given).predict(TEST).probs,
        fit("random_forest", seed=1, arguments=given).predict(TEST).probs,
    )


@RECIPES
def test_nothing_is_fitted_to_validation_images(name, fit):
    probs = [fit(name, val=val).predict(TEST).probs for val in (None, VAL, TEST)]
    np.testing.assert_array_equal(probs[0], probs[1])
    np.testing.assert_array_equal(probs[0], probs[2])


def test_predictions_of_an_image_do_not_depend_on_the_others(fit):
    classifier = fit("naive_bayes")
    whole = classifier.predict(TEST).probs
    np.testing.assert_array_equal(classifier.predict(TEST.take([7])).probs, whole[[7]])
    np.testing.assert_array_equal(classifier.predict(TEST.take(range(59, -1, -1))).probs, whole[::-1])


@RECIPES
def test_the_same_seed_gives_the_same_bits(name, fit):
    first, again = (fit(name, seed=4).predict(TEST).probs for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_another_seed_grows_another_forest(fit):
    first, other = (fit("random_forest", seed=seed).predict(TEST).probs for seed in (0, 1))
    assert (first != other).any()


def test_random_weights_are_a_function_of_the_seed(fit):
    first, again, other = (fit(weights=None, seed=seed).features(TEST) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all(axis=0).any()


@RECIPES
def test_pixels_in_memory_get_the_probabilities_of_samples(name, fit):
    classifier = fit(name)
    images = np.concatenate([TEST.images, TEST.images[:20]])  # over two batches
    probs, expected = classifier.predict_pixels(images), classifier.predict(TEST).probs
    assert (probs.shape, probs.dtype) == ((80, 3), np.float32)
    np.testing.assert_allclose(probs, np.concatenate([expected, expected[:20]]), atol=1e-5)


def test_no_pixels_get_no_probabilities_and_no_samples_are_refused(fit):
    classifier = fit()
    probs = classifier.predict_pixels(TEST.images[:0])
    assert (probs.shape, probs.dtype) == ((0, 3), np.float32)
    with pytest.raises(tl.InputError, match="there are none to predict"):
        classifier.predict(TEST.take([]))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((2, 8, 8, 3), np.uint8), r"accepted is \(n, 16, 16, 3\)"),
        (np.full((1, 16, 16, 3), 0.5), "Multiply by 255"),
    ],
)
def test_pixels_that_do_not_fit_are_refused(images, said, fit):
    with pytest.raises(tl.InputError, match=said):
        fit().predict_pixels(images)


def test_classes_keep_their_order(fit):
    classifier = fit()
    assert classifier.class_names == NAMES
    with pytest.raises(tl.InputError, match="are not those trained on"):
        classifier.predict(tl.Samples(TEST.images, TEST.labels, sorted(NAMES)))
    assert classifier.predict(tl.from_arrays(TEST.images, None)).samples.class_names == NAMES


def test_pairs_of_images_and_labels_are_taken_too(fit):
    classifier = fit(train=(TRAIN.images, TRAIN.labels), val=(VAL.images, VAL.labels))
    assert classifier.class_names == ("0", "1", "2")
    np.testing.assert_array_equal(classifier.predict_pixels(TEST.images[:3]), fit().predict_pixels(TEST.images[:3]))


def test_half_precision_of_what_is_kept_changes_little(fit):
    exact, half = (fit("logistic_regression", feature_dtype=dtype) for dtype in ("float32", "float16"))
    np.testing.assert_array_equal(half.features(TEST), exact.features(TEST).astype(np.float16))
    np.testing.assert_allclose(half.predict(TEST).probs, exact.predict(TEST).probs, atol=0.01)


@RECIPES
def test_two_images_of_each_class_are_enough(name, fit):
    rows = np.concatenate([np.flatnonzero(TRAIN.labels == label)[:2] for label in range(3)])
    probs = fit(name, TRAIN.take(rows)).predict(TEST).probs
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in ("naive_bayes", "svm")])
def test_images_that_are_all_the_same_teach_nothing_and_warn_of_nothing(name, fit):
    same = tl.from_arrays(np.full((12, 16, 16, 3), 9, np.uint8), np.arange(12) % 3, class_names=NAMES)
    for scaling in ("standard", "none"):
        probs = fit(name, same, scaling=scaling).predict(same.take([0])).probs
        np.testing.assert_allclose(probs, np.full((1, 3), 1 / 3), atol=0.05)


def test_naive_bayes_refuses_features_without_variance(fit):
    same = tl.from_arrays(np.full((12, 16, 16, 3), 9, np.uint8), np.arange(12) % 3, class_names=NAMES)
    for scaling in ("standard", "none"):
        with pytest.raises(tl.InputError, match="the same features for all 12 images, of which naive_bayes"):
            fit("naive_bayes", same, scaling=scaling)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("knn", {"k": 5}, "received k; accepted of scikit-learn's KNeighborsClassifier: .*n_neighbors"),
        ("naive_bayes", {"n_jobs": 2, 3: 4}, "received n_jobs, 3; accepted of scikit-learn's GaussianNB"),
        ("svm", {"probability": True}, "received probability; accepted of scikit-learn's SVC: C, "),
        ("random_forest", {"oob_score": True}, "received oob_score, which holds out image by image"),
        ("svm", {"decision_function_shape": "ovo"}, "received decision_function_shape; accepted"),
        ("knn", {"n_neighbors": 49}, "n_neighbors=49, and there are 48 training images"),
        ("knn", {"n_neighbors": 0}, r"received {'n_neighbors': 0}, with which .*n_neighbors.* in the range \[1"),
        ("knn", {"n_neighbors": "3"}, "received {'n_neighbors': '3'}, with which"),
        ("svm", {"C": -1}, "received {'C': -1}, with which svm cannot be fitted: "),
        ("naive_bayes", {"priors": [0.5, 0.5]}, "Number of priors must match number of classes"),
    ],
)
def test_arguments_that_scikit_learn_does_not_take_are_refused_in_words(name, arguments, said, fit):
    with pytest.raises(tl.InputError, match=rf"^Extractor\.arguments: .*{said}"):
        fit(name, arguments=arguments)


def test_fewer_images_than_neighbours_or_folds_are_refused_before_anything_is_computed(fit, computed):
    alone = TRAIN.take([*np.flatnonzero(TRAIN.labels == 0)[:4], *(TRAIN.labels.tolist().index(i) for i in (1, 2))])
    with pytest.raises(tl.InputError, match=r"train: .* svm .* groups .*'nv': 4, 'akiec': 1, 'mel': 1}"):
        fit("svm", alone, weights=None)
    patients = np.where(TRAIN.labels == 0, "one", np.arange(48).astype(str))  # all of class nv are one patient's
    with pytest.raises(tl.InputError, match=r"train: .* svm .* groups .*'nv': 1, 'akiec': 16"):
        fit("svm", replace(TRAIN, groups=patients), weights=None)
    every_class = np.arange(48) // 3 % 2  # two patients with images of all classes: one is held out, one learnt from
    assert fit("svm", replace(TRAIN, groups=every_class)).predict(TEST).probs.shape == (60, 3)
    computed.clear()
    with pytest.raises(tl.InputError, match="n_neighbors=3, and there are 2 training images"):
        fit("knn", clouds(2, 0, NAMES[:2]), weights=None)
    assert computed == []


def test_a_class_without_training_image_and_samples_without_labels_are_refused(fit):
    with pytest.raises(tl.InputError, match="no training image of mel"):
        fit(train=TRAIN.take(np.flatnonzero(TRAIN.labels < 2)), val=VAL)
    with pytest.raises(tl.InputError, match="train: these samples have no labels"):
        fit(train=tl.Samples(TRAIN.images, None, NAMES))
    with pytest.raises(tl.InputError, match="val: its classes"):
        fit(val=clouds(4, 0, NAMES[:2]))


def test_what_is_done_is_said(weights, tmp_path, heard):
    recipe = tl.Extractor(TINY, "knn", weights=weights, image_size=(16, 16))
    recipe.fit(TRAIN, seed=0, store=str(tmp_path))
    said = heard.lines()
    assert said[0] == "tiny, weights: model.keras"
    assert said[1] == "frozen layers up to head_avg: 48 images to compute, 0 are in the feature store"
    assert said[2].startswith("knn on 8 features of 48 images, fitted in ")
    with silenced():
        recipe.fit(TRAIN, seed=0, store=str(tmp_path))
    assert heard.lines() == []


def test_a_run_keeps_facts_and_writes_no_file(fit, tmp_path):
    facts = fit().write_run(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert (facts["features"], facts["weights"]["path"], facts["weights"]["source"]) == (8, "model.keras", "run")
    assert fit(weights=None).write_run(tmp_path)["weights"] is None


def test_it_is_explained_by_hiding_regions_and_not_by_gradients(fit):
    images, labels = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8), np.arange(40) % 2
    images[:, :, :8] = 200 * labels[:, None, None, None]  # the left half tells the class, the right one is noise
    classifier = fit("logistic_regression", (images, labels))
    halves = np.repeat([[0] * 8 + [1] * 8], 16, axis=0)
    explanation = tl.explain(classifier, images[1], seed=0, n_samples=20, segmentation=halves, hide=0)
    assert explanation.class_name == "1"
    assert explanation.weights[0] > 0.5 > abs(explanation.weights[1])
    with pytest.raises(tl.InputError, match=r"received FeatureClassifier, whose `\.model` is not .*tl\.explain works"):
        tl.grad_cam(classifier, images[1])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda classifier: pickle.loads(pickle.dumps(classifier))])
def test_a_copy_predicts_as_the_original_and_by_its_own_network(fit, copied):
    classifier = fit("logistic_regression")
    expected = classifier.predict(TEST).probs
    twin = copied(classifier)
    np.testing.assert_array_equal(twin.predict(TEST).probs, expected)
    twin.source.network.set_weights([0 * weight for weight in twin.source.network.get_weights()])
    assert np.ptp(twin.predict(TEST).probs, axis=0).max() < 1e-6  # every image gives the same features
    np.testing.assert_array_equal(classifier.predict(TEST).probs, expected)
