import itertools
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

import tlkeras as tl
from tlkeras.progress import silenced
from tlkeras.seeds import derive_seed
from tlkeras.training import pixel_trees
from tlkeras.training.pixel_baseline import PixelBaseline

NAMES = ("nv", "akiec", "mel")  # not in the order of the alphabet
TREE = PixelBaseline("decision_tree", image_size=(8, 8))
FOREST = PixelBaseline("random_forest", image_size=(8, 8), n_trees=25)
MODELS = pytest.mark.parametrize("recipe", [TREE, FOREST], ids=lambda recipe: recipe.classifier)


def noise(n, seed=0):
    """n images of noise and labels without a pattern: every tree of another seed is another tree."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return tl.from_arrays(images, np.arange(n) % 3, class_names=NAMES)


TRAIN, TEST = noise(40), noise(50, seed=1).images


def sklearns_own(recipe, features, labels, seed):
    state = derive_seed(seed, "pixel_baseline")
    if recipe.classifier == "decision_tree":
        return DecisionTreeClassifier(random_state=state).fit(features, labels)
    return RandomForestClassifier(recipe.n_trees, random_state=state).fit(features, labels)


def nodes(classifier):
    """Feature and threshold of every node of every tree."""
    trees = getattr(classifier.estimator, "estimators_", [classifier.estimator])
    return [(tree.tree_.feature.tolist(), tree.tree_.threshold.tolist()) for tree in trees]


BY_HAND = {
    "raw": lambda x: x,
    "rescaled": lambda x: x / np.float32(127.5) - 1,
    "normalised": lambda x: (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True),
}


@pytest.mark.parametrize("pixels", BY_HAND)
@pytest.mark.parametrize(("name", "n_trees"), [("decision_tree", None), ("random_forest", 25)])
def test_the_trees_are_scikit_learns_own_on_flattened_pixels(name, n_trees, pixels, monkeypatch):
    monkeypatch.setattr(pixel_trees, "n_cores", lambda: 1)  # 25 trees are then grown in steps of 10, 10 and 5
    recipe = PixelBaseline(name, image_size=(8, 8), pixels=pixels, n_trees=n_trees)
    samples = noise(300)  # fewer make trees so shallow that a limit on depth would not show
    classifier = recipe.fit(samples, seed=3)
    train, test = (
        BY_HAND[pixels](images.reshape(len(images), -1).astype(np.float32)) for images in (samples.images, TEST)
    )
    expected = sklearns_own(recipe, train, samples.labels, seed=3)
    probs = classifier.predict_pixels(TEST)
    assert classifier.class_names == NAMES
    assert (probs.shape, probs.dtype) == ((50, 3), np.float32)
    np.testing.assert_array_equal(probs, expected.predict_proba(test).astype(np.float32))
    assert len(np.unique(probs.argmax(axis=1))) == 3
    assert getattr(classifier.estimator, "n_estimators", None) == n_trees


@MODELS
def test_the_same_seed_grows_the_same_trees_and_another_seed_others(recipe):
    first, again, other = (recipe.fit(TRAIN, seed=seed) for seed in (0, 0, 1))
    assert nodes(first) == nodes(again)
    np.testing.assert_array_equal(first.predict_pixels(TEST), again.predict_pixels(TEST))
    assert nodes(first) != nodes(other)


def test_the_number_of_cores_changes_nothing(monkeypatch):
    grown = []
    for cores in (1, 2, 3):
        monkeypatch.setattr(pixel_trees, "n_cores", lambda cores=cores: cores)
        grown.append(FOREST.fit(TRAIN, seed=0))
    assert nodes(grown[0]) == nodes(grown[1]) == nodes(grown[2])
    for classifier in grown[1:]:
        np.testing.assert_array_equal(classifier.predict_pixels(TEST), grown[0].predict_pixels(TEST))


@MODELS
def test_train_and_val_are_both_learnt_from(recipe):
    both = recipe.fit(TRAIN.take(range(30)), TRAIN.take(range(30, 40)), seed=0)
    assert nodes(both) == nodes(recipe.fit(TRAIN, seed=0))
    assert nodes(both) != nodes(recipe.fit(TRAIN.take(range(30)), seed=0))


def test_pairs_of_images_and_labels_are_taken_too():
    pairs = [(TRAIN.images[rows], TRAIN.labels[rows]) for rows in (slice(30), slice(30, 40))]
    classifier = TREE.fit(*pairs, seed=0)
    assert classifier.class_names == ("0", "1", "2")
    assert nodes(classifier) == nodes(TREE.fit(TRAIN, seed=0))


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [("raw", [0, 255, 0, 255, 255, 0]), ("rescaled", [-1, 1, -1, 1, 1, -1]), ("normalised", [-1, 1, -1, 1, 1, -1])],
)
def test_features_of_an_image_of_two_pixels(pixels, expected):
    image = np.array([[[[0, 255, 0], [255, 255, 0]]]], np.uint8)  # mean and deviation are both 127.5
    features = pixel_trees.PixelFeatures((1, 2), pixels).of_pixels(image)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, [expected])
    np.testing.assert_array_equal(
        pixel_trees.PixelFeatures((1, 2), pixels).of_pixels(image.astype(np.float64)), [expected]
    )


@pytest.mark.parametrize("level", [0, 7, 255])
def test_an_image_of_one_grey_level_has_nothing_to_normalise(level):
    images = np.full((2, 31, 33, 3), level, np.uint8)
    assert not pixel_trees.PixelFeatures((31, 33), "normalised").of_pixels(images).any()


def test_normalised_pixels_do_not_know_brightness_and_raw_ones_do():
    images = TEST // 2
    for pixels, same in (("normalised", True), ("raw", False)):
        classifier = PixelBaseline("decision_tree", image_size=(8, 8), pixels=pixels).fit(TRAIN, seed=0)
        before, after = classifier.predict_pixels(images), classifier.predict_pixels(images + 100)
        assert np.array_equal(before, after) == same


def test_files_are_learnt_and_predicted_as_read_pixels_sees_them(tmp_path):
    rng = np.random.default_rng(0)
    for name, level in (("bright", 180), ("dark", 60)):
        (tmp_path / name).mkdir()
        for number in range(4):
            pixels = np.clip(rng.normal(level, 40, (20, 15, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    samples = tl.from_folders(tmp_path)
    read = np.stack([tl.read_pixels(path, (8, 8)) for path in samples.images])
    classifier = FOREST.fit(samples, seed=0)
    assert nodes(classifier) == nodes(FOREST.fit((read, samples.labels), seed=0))
    predictions = classifier.predict(samples)
    np.testing.assert_array_equal(predictions.probs, classifier.predict_pixels(read))
    assert predictions.samples is samples


def test_predictions_keep_every_sample_in_order_over_several_batches(monkeypatch):
    monkeypatch.setattr(pixel_trees, "_BATCH", 16)
    samples = TRAIN.take(np.random.default_rng(0).permutation(40))
    classifier = TREE.fit(TRAIN, seed=0)
    predictions = classifier.predict(samples)  # a tree without limits knows what it learnt by heart
    np.testing.assert_array_equal(predictions.probs, np.eye(3)[samples.labels])
    np.testing.assert_array_equal(classifier.predict_pixels(samples.images), predictions.probs)
    assert predictions.samples.sample_ids.tolist() == samples.sample_ids.tolist()


def test_the_share_of_a_leafs_training_images_is_the_probability():
    image = np.full((1, 8, 8, 3), 9, np.uint8)  # four times the same image: no split tells them apart
    samples = tl.from_arrays(np.repeat(image, 4, axis=0), [0, 1, 1, 1], class_names=["a", "b"])
    assert TREE.fit(samples, seed=0).predict_pixels(image).tolist() == [[0.25, 0.75]]


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((2, 16, 16, 3), np.uint8), r"accepted is \(n, 8, 8, 3\)"),
        (np.zeros((8, 8, 3), np.uint8), r"received shape \(8, 8, 3\)"),
        (np.full((1, 8, 8, 3), 0.5), "Multiply by 255"),
    ],
)
def test_pixels_that_do_not_fit_are_refused(images, said):
    with pytest.raises(tl.InputError, match=said):
        TREE.fit(TRAIN, seed=0).predict_pixels(images)


def test_no_images_get_no_probabilities_and_no_samples_are_refused():
    classifier = TREE.fit(TRAIN, seed=0)
    probs = classifier.predict_pixels(TEST[:0])
    assert (probs.shape, probs.dtype) == ((0, 3), np.float32)
    with pytest.raises(tl.InputError, match="there are none to predict"):
        classifier.predict(TRAIN.take([]))


def test_samples_without_labels_take_the_classifiers_class_names_and_other_classes_are_refused():
    classifier = TREE.fit(TRAIN, seed=0)
    assert classifier.predict(tl.from_arrays(TEST, None)).samples.class_names == NAMES
    with pytest.raises(tl.InputError, match="are not those trained on"):
        classifier.predict(tl.from_arrays(TEST[:3], [0, 1, 2], class_names=["akiec", "mel", "nv"]))


def test_a_forest_has_a_hundred_trees_where_nothing_is_said_and_a_tree_is_one():
    assert PixelBaseline("random_forest").n_trees == 100
    assert PixelBaseline("random_forest", n_trees=7).n_trees == 7
    assert PixelBaseline("decision_tree").n_trees is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"classifier": "forest"},
            "PixelBaseline.classifier: received 'forest'; accepted: 'decision_tree', 'random_forest'",
        ),
        ({"pixels": "unit"}, "PixelBaseline.pixels: received 'unit'; accepted: 'raw', 'normalised', 'rescaled'"),
        ({"image_size": 64}, r"image_size: received 64; accepted is \(height, width\)"),
        ({"image_size": (0, 8)}, r"image_size: received \(0, 8\)"),
        ({"n_trees": 10}, "PixelBaseline.n_trees: received 10 for a decision_tree; accepted is None: it has one tree"),
        ({"classifier": "random_forest", "n_trees": 0}, "n_trees: received 0; accepted is an integer of at least 1"),
        ({"classifier": "random_forest", "n_trees": 2.0}, "n_trees: received 2.0"),
        ({"classifier": "random_forest", "n_trees": True}, "n_trees: received True"),
    ],
)
def test_a_wrong_field_is_named(fields, said):
    with pytest.raises(tl.InputError, match=said):
        PixelBaseline(**({"classifier": "decision_tree"} | fields))


def test_a_class_without_training_image_is_refused_though_val_has_it():
    with pytest.raises(tl.InputError, match="no training image of mel"):
        TREE.fit(TRAIN.take([0, 1]), TRAIN, seed=0)


def nowhere(n):
    """Samples whose files are not there: decoding them fails."""
    return tl.Samples(tuple(f"nowhere/{row}.png" for row in range(n)), np.arange(n) % 2, ("a", "b"))


def test_features_that_do_not_fit_into_memory_are_refused_before_anything_is_decoded(monkeypatch, heard):
    large = PixelBaseline("random_forest", image_size=(100, 200))  # 240 KB per image
    monkeypatch.setattr(pixel_trees, "available_memory", lambda: 2_600_000)
    said = (
        r"^random_forest: 10 images \(training and validation: it learns from both\) "
        r"at 100x200, raw pixels, take 2\.4 MB of memory, and 2\.6 MB are free\. "
        r"Take smaller images \(image_size, --image-size\)\.$"
    )
    with pytest.raises(tl.InputError, match=said):  # a tenth is left to the trees
        large.fit(nowhere(6), nowhere(4), seed=0)
    assert heard.text() == ""
    with pytest.raises(tl.InputError, match=r"nowhere/0\.png"):
        large.fit(nowhere(6), nowhere(3), seed=0)
    assert heard.text() == (
        "random_forest: 9 images (training and validation: it learns from both) "
        "at 100x200, raw pixels, take 2.2 MB of the 2.6 MB of memory that are free\n"
    )


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (PixelBaseline("decision_tree", image_size=(8, 8)), "64 s"),  # tried on every 64th pixel value
        (PixelBaseline("random_forest", image_size=(8, 8), n_trees=30), "10 s"),  # one of 30 trees, three at a time
        (PixelBaseline("random_forest", image_size=(8, 8), n_trees=1), "1 s"),  # two cores have nothing to do
        (PixelBaseline("random_forest", image_size=(8, 8), n_trees=280), "2 min"),
    ],
)
def test_memory_and_the_time_it_will_take_are_said_on_large_work(recipe, told, monkeypatch, heard):
    ticks = itertools.count()  # a clock that every look moves on by a second
    monkeypatch.setattr(pixel_trees, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    monkeypatch.setattr(pixel_trees, "_QUICK", 0)
    monkeypatch.setattr(pixel_trees, "n_cores", lambda: 3)
    monkeypatch.setattr(pixel_trees, "available_memory", lambda: 10**9)
    classifier = recipe.fit(TRAIN, seed=0)
    assert heard.lines() == [
        f"{recipe.classifier}: 40 images (training and validation: it learns from both) "
        "at 8x8, raw pixels, take 31 KB of the 1.0 GB of memory that are free",
        f"growing takes about {told}",
        f"{recipe.classifier} grown in 1.0 s",
    ]
    monkeypatch.setattr(pixel_trees, "_QUICK", 10**9)
    assert nodes(classifier) == nodes(recipe.fit(TRAIN, seed=0))  # the trial leaves no trace in the trees
    assert "growing takes about" not in heard.text()


@MODELS
def test_where_nothing_is_to_be_said_no_tree_is_timed(recipe, monkeypatch):
    monkeypatch.setattr(pixel_trees, "_QUICK", 0)
    monkeypatch.setattr(pixel_trees, "_say_time", None)
    with silenced():
        recipe.fit(TRAIN, seed=0)


def test_declaring_a_baseline_loads_neither_scikit_learn_nor_tensorflow():
    code = "import sys, tlkeras as tl; tl.PixelBaseline('random_forest'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"sklearn", "tensorflow", "keras"} & set(done.stdout.split())


def test_a_tree_is_explained_by_the_half_it_looks_at():
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(40) % 2
    images[:, :, :4] = 200 * labels[:, None, None, None]  # the left half tells the class, the right one is noise
    classifier = TREE.fit((images, labels), seed=0)
    halves = np.repeat([[0, 0, 0, 0, 1, 1, 1, 1]], 8, axis=0)
    explanation = tl.explain(classifier, images[1], seed=0, n_samples=20, segmentation=halves, hide=0)
    assert (explanation.class_name, explanation.probability) == ("1", 1)
    assert explanation.weights[0] > 0.5 > 0.1 > abs(explanation.weights[1])


def test_a_recipe_is_the_same_at_another_size():
    recipe = PixelBaseline("random_forest", image_size=(64, 48), pixels="normalised", n_trees=7)
    assert recipe.resized((8, 12)) == PixelBaseline("random_forest", image_size=(8, 12), pixels="normalised", n_trees=7)
    assert recipe.for_smoke(8) == recipe.resized((8, 8))
    assert recipe.for_smoke(8).fit(TRAIN, seed=0).image_size == (8, 8)
    assert PixelBaseline("decision_tree").for_smoke(8) == TREE
    with pytest.raises(tl.InputError, match="image_size: received 64"):
        recipe.resized(64)
    assert recipe.network is None


def test_a_run_keeps_no_file(tmp_path):
    assert TREE.fit(TRAIN, seed=0).write_run(tmp_path) == {"device": "CPU"}
    assert list(tmp_path.iterdir()) == []
