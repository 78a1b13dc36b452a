"""Training and prediction with the feature store give what they give without it, and compute each image once."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_tuner

import tlkeras as tl
from tlkeras.training import feed
from tlkeras.training.feature_store import FeatureStore

HEAD_ONLY = tl.Phase(2, 1e-2)
THEN_CONV3 = (HEAD_ONLY, tl.Phase(2, 1e-3, unfreeze_from="conv3"))
TURNED = {"rotation_range": 20, "horizontal_flip": True}
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def parts():
    """70 images of 32x32 in two classes told apart by brightness: 44 to train on, 14 to validate, 12 to test."""
    rng = np.random.default_rng(1)
    labels = np.arange(70) % 2
    images = np.clip(rng.normal(110 + 40 * labels[:, None, None, None], 40, (70, 32, 32, 3)), 0, 255).astype(np.uint8)
    samples = tl.from_arrays(images, labels)
    return samples.take(range(44)), samples.take(range(44, 58)), samples.take(range(58, 70))


def fit(parts, store, *, seed=0, memory_budget=None, **fields):
    tuner = tiny_tuner(**({"phases": THEN_CONV3} | fields))
    return tuner.fit(*parts[:2], seed=seed, store=store, memory_budget=memory_budget)


@pytest.fixture(scope="module")
def uncut(parts):
    """Trained without a store."""
    return fit(parts, False)


@pytest.fixture(scope="module")
def stored(parts, tmp_path_factory):
    """Trained with a store that was empty, and the folder of that store."""
    folder = tmp_path_factory.mktemp("store")
    return fit(parts, str(folder)), folder


def numbers(classifier):
    return classifier.history.drop(columns="seconds").to_numpy(float)


def assert_equal(first, second, samples):
    """Bit for bit: history, weights, predictions."""
    np.testing.assert_array_equal(numbers(first), numbers(second))
    for one, other in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first.predict(samples).probs, second.predict(samples).probs)


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


# The largest difference measured is 0: with TensorFlow 2.21 on an x86 CPU all of these are equal to the bit.
@pytest.mark.parametrize(
    ("fields", "layer"),
    [
        pytest.param({"phases": (HEAD_ONLY,)}, "head_flatten", id="head", marks=slow),
        pytest.param({"phases": THEN_CONV3}, "add2", id="partial", marks=slow),
        pytest.param(
            {"phases": (HEAD_ONLY, tl.Phase(2, 1e-3, unfreeze=("block2",)))}, "relu1", id="residual branch", marks=slow
        ),
        pytest.param(
            {"phases": (HEAD_ONLY, tl.Phase(2, 1e-3, unfreeze_from="bn3", batch_norm="train"))},
            "conv3",
            id="BatchNorm trained",
            marks=slow,
        ),
        pytest.param(
            {"phases": (HEAD_ONLY,), "head": tl.Head(hidden=(8,), dropout=0.3, input_dropout=0.3, batch_norm=True)},
            "head_flatten",
            id="head with Dropout first and BatchNorm",
            marks=slow,
        ),
        pytest.param({"phases": THEN_CONV3, "imbalance": "oversample"}, "add2", id="oversample", marks=slow),
        pytest.param({"phases": THEN_CONV3, "imbalance": "class_weights"}, "add2", id="class weights", marks=slow),
        pytest.param(
            {"phases": (tl.Phase(3, 1e-2),), "augmentation": tl.Augmentation(**TURNED, views=2)},
            "head_flatten",
            id="views",
            marks=slow,
        ),
        pytest.param(
            {
                "phases": (tl.Phase(3, 1e-2), THEN_CONV3[1]),
                "augmentation": tl.Augmentation(**TURNED, views=2),
                "augment_val": True,
                "imbalance": "oversample",
            },
            "add2",
            id="views, oversample, augment_val",
            marks=slow,
        ),
        pytest.param(
            {"phases": THEN_CONV3, "augmentation": tl.Augmentation(**TURNED)},
            "add2",
            id="fresh augmentation",
            marks=slow,
        ),
        pytest.param(
            {"phases": (HEAD_ONLY,), "augmentation": tl.Augmentation(**TURNED), "augment_val": True},
            "head_flatten",
            id="fresh augmentation, augment_val",
            marks=slow,
        ),
        pytest.param({"precision": "bfloat16"}, "add2", id="bfloat16", marks=slow),
    ],
)
def test_history_and_predictions_are_those_without_a_store(parts, tmp_path, fields, layer):
    train, val, test = parts
    parts = (train.take(np.flatnonzero((train.labels == 0) | (np.arange(44) < 20))), val, test)  # 22 and 10: unequal
    with_store, without = fit(parts, str(tmp_path), **fields), fit(parts, False, **fields)
    assert with_store.kept_features[0].layer == layer
    assert without.kept_features is None
    np.testing.assert_allclose(numbers(with_store), numbers(without), rtol=0, atol=1e-5)
    difference = with_store.predict(test).probs - without.predict(test).probs
    assert np.abs(difference).max() <= 1e-5
    assert np.ptp(numbers(without)[:, 2]) > 1e-3  # something was learnt, or anything would be equal


def test_a_warm_store_gives_the_bits_of_a_cold_one_and_computes_nothing(parts, uncut, stored, computed):
    cold, folder = stored
    np.testing.assert_allclose(numbers(cold), numbers(uncut), rtol=0, atol=1e-5)
    warm = fit(parts, str(folder))
    assert computed == []
    assert_equal(cold, warm, parts[1])


def test_each_image_passes_the_trunk_once_whatever_phases_seeds_and_splits_need_it(parts, uncut, tmp_path, computed):
    train, val, test = parts
    uncut.save(tmp_path / "weights")  # with random weights every seed has a trunk of its own
    fields = {"weights": str(tmp_path / "weights"), "store": str(tmp_path / "store")}
    classifier = fit(parts, **fields)
    assert sum(computed) == len(train) + len(val)  # in one pass for both phases
    classifier.predict(train)
    classifier.predict(val)
    other = fit(parts, seed=1, **fields)
    assert (numbers(other) != numbers(classifier)).any()
    assert sum(computed) == len(train) + len(val)
    for fitted in (classifier, other):
        fitted.predict(test)
        assert sum(computed) == 70
    # Another split of the same images; those that were only predicted so far lack what the first phase needs.
    images, labels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels"))
    mixed = tl.from_arrays(images, labels).take(np.random.default_rng(0).permutation(70))
    fit((mixed.take(range(50)), mixed.take(range(50, 70))), seed=2, **fields)
    assert sum(computed) == 70 + len(test)


def test_fresh_augmentation_computes_only_validation_images_once(parts, tmp_path, computed):
    fit(parts, str(tmp_path), augmentation=tl.Augmentation(**TURNED), phases=(HEAD_ONLY,))
    assert sum(computed) == len(parts[1])


@pytest.mark.slow
def test_a_store_that_is_too_small_says_so_and_training_goes_on_without(parts, uncut, tmp_path, heard):
    small = fit(parts, FeatureStore(tmp_path, limit="1KB"))
    said = heard.text()
    for layer in ("head_flatten", "add2"):
        assert f"features up to {layer} of 58 images are more than the feature store may hold (1.0 KB)" in said
    assert small.kept_features is None
    assert files_in(tmp_path) == []
    assert_equal(small, uncut, parts[2])


def test_nothing_is_stored_where_everything_learns(parts, tmp_path, computed):
    phases = (tl.Phase(1, 1e-3, unfreeze="all"), tl.Phase(1, 1e-4, unfreeze="all"))
    classifier = fit(parts, str(tmp_path), phases=phases)
    classifier.predict(parts[2])
    assert classifier.kept_features is None
    assert (computed, files_in(tmp_path)) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("with_store", [True, pytest.param(False, marks=slow)])
def test_pixels_beyond_the_memory_budget_are_mapped_from_a_file_without_a_name(
    parts, tmp_path, monkeypatch, with_store
):
    scratches, decode_all = [], feed.decode_all

    def noting(*args, scratch, **options):
        scratches.append(scratch)
        return decode_all(*args, scratch=scratch, **options)

    monkeypatch.setattr(feed, "decode_all", noting)
    monkeypatch.setenv("TLKERAS_STORE", str(tmp_path / "cache"))  # where they go without a store
    # Everything learns in the second phase, so that pixels are needed with a store too.
    fields = {"phases": (tl.Phase(1, 1e-2), tl.Phase(1, 1e-3, unfreeze="all"))}
    store = str(tmp_path / "store") if with_store else False
    mapped, in_memory = (fit(parts, store, memory_budget=budget, **fields) for budget in ("1KB", "1MB"))
    expected = tmp_path / ("store" if with_store else "cache")
    assert scratches == [expected, expected, None, None]  # train and val
    assert_equal(mapped, in_memory, parts[2])
    assert files_in(tmp_path / "cache") == []
    names = {Path(name).name for name in files_in(tmp_path / "store") if not name.startswith("locks")}
    assert names == ({"index.bin", "rows.bin", "table.json"} if with_store else set())


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ({"memory_budget": "4 elephants"}, "memory_budget: received '4 elephants'"),
        ({"store": 3}, "store: received 3; accepted: True, False, a folder, or a FeatureStore"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(parts, argument, said):
    with pytest.raises(tl.InputError, match=said):
        fit(parts, **({"store": False} | argument))


def test_predictions_from_features_are_those_of_the_model_and_survive_saving(parts, stored, tmp_path):
    classifier, _ = stored
    test = parts[2]
    probs = classifier.predict(test).probs
    assert classifier.kept_features is not None
    np.testing.assert_allclose(probs, classifier.model.predict(test.images.astype(np.float32), verbose=0), atol=1e-6)
    loaded = tl.load(classifier.save(tmp_path))
    assert loaded.kept_features is None
    np.testing.assert_allclose(loaded.predict(test).probs, probs, atol=1e-6)
    np.testing.assert_array_equal(classifier.predict(test).probs, probs)


def test_predicted_files_are_resized_and_named_where_they_cannot_be_read(stored, tmp_path):
    import cv2

    classifier, _ = stored
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8))
    probs = classifier.predict(tl.Samples((path,), None, ("0", "1"))).probs
    expected = classifier.model.predict(tl.read_pixels(path, (32, 32))[np.newaxis], verbose=0)
    np.testing.assert_allclose(probs, expected, atol=1e-6)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(tl.InputError, match=r"broken\.png"):
        classifier.predict(tl.Samples((path, str(tmp_path / "broken.png")), None, ("0", "1")))


@pytest.mark.slow
def test_features_in_half_precision_take_half_the_room(parts, stored, tmp_path):
    half = fit(parts, str(tmp_path), feature_dtype="float16")
    tables = [{entry["layer"]: entry for entry in FeatureStore(folder).entries()} for folder in (tmp_path, stored[1])]
    for layer in ("head_flatten", "add2"):
        ours, theirs = (table[layer] for table in tables)
        assert (ours["dtype"], theirs["dtype"]) == ("float16", "float32")
        assert ours["bytes"] / ours["rows"] == theirs["bytes"] / theirs["rows"] / 2
    cut, kept = half.kept_features
    found = kept.of(feed.Part(parts[2], (32, 32)).sources, feed.Part(parts[2], (32, 32)).stream)
    assert found.table.dtype == np.float16
    exact = cut.trunk.predict(parts[2].images.astype(np.float32), verbose=0)
    np.testing.assert_allclose(found.table[found.rows], exact, rtol=2**-11, atol=1e-6)
    assert not np.array_equal(found.table[found.rows], exact)
    np.testing.assert_allclose(numbers(half), numbers(stored[0]), atol=0.05)


@pytest.mark.slow
def test_weights_kept_from_an_earlier_phase_predict_right_from_features(parts, tmp_path):
    """The trunk of the last phase holds conv2, which the phases before have moved away from what is kept."""
    ruin = {"optimizer": "sgd", "momentum": 0.0}
    phases = (
        tl.Phase(2, 1e-2),
        tl.Phase(1, 0.5, unfreeze=("block2",), keep="last", **ruin),
        tl.Phase(1, 10.0, unfreeze_from="conv3", **ruin),
    )
    classifier = fit(parts, str(tmp_path), phases=phases)
    history = classifier.history
    assert history.loc[history["kept"], "phase"].tolist() == [1]
    cut, _ = classifier.kept_features
    assert (cut.layer, "conv2" in [layer.name for layer in cut.trunk.layers]) == ("add2", True)
    val = parts[1]
    probs = classifier.predict(val).probs
    np.testing.assert_allclose(probs, classifier.model.predict(val.images.astype(np.float32), verbose=0), atol=1e-6)
    loss = -np.log(probs[np.arange(len(val)), val.labels]).mean()
    assert loss == pytest.approx(history.loc[history["kept"], "val_loss"].item(), rel=1e-4)


FLATTENED, ADDED = 8 * 8 * 8 * 4, 16 * 16 * 4 * 4  # bytes of a row of head_flatten and of add2


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"augment_val": True}, pytest.param({"imbalance": "oversample"}, marks=slow)])
def test_views_are_kept_all_or_not_at_all(parts, tmp_path, computed, fields):
    train, val, _ = parts
    train = train.take([*np.flatnonzero(train.labels == 0), *np.flatnonzero(train.labels == 1)[:2]])  # 22 and 2
    store = FeatureStore(tmp_path, limit=(2 * len(train) + len(val)) * FLATTENED)  # less than all views take
    augmentation = tl.Augmentation(**TURNED, views=2)
    fit((train, val), store, phases=(tl.Phase(4, 1e-2),), augmentation=augmentation, **fields)
    all_views = {"augment_val": 2 * (len(train) + len(val)), "imbalance": 2 * (22 + 22) + len(val)}
    # Else the table is emptied in every epoch, and images pass the trunk again and again.
    assert sum(computed) <= all_views[next(iter(fields))]


def test_prediction_keeps_to_the_limit_of_the_store(parts, tmp_path):
    store = FeatureStore(tmp_path, limit=58 * FLATTENED)
    classifier = fit(parts, store, phases=(tl.Phase(1, 1e-2),))
    images = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), dtype=np.uint8)
    probs = classifier.predict(tl.Samples(images, None, ("0", "1"))).probs
    np.testing.assert_allclose(probs, classifier.predict_pixels(images), atol=1e-6)
    assert sum(entry["bytes"] for entry in store.entries()) <= store.limit


def test_what_is_kept_is_not_said_to_be_computed_in_every_epoch(parts, tmp_path, heard):
    store = FeatureStore(tmp_path, limit=58 * ADDED + 10)  # room for either, not for both
    classifier = fit(parts, store, phases=(tl.Phase(1, 1e-2), tl.Phase(1, 1e-3, unfreeze_from="conv3")))
    assert classifier.kept_features is not None
    assert "computed in every epoch" not in heard.text()


_CHILD = """
import re, sys, threading, time
from dataclasses import replace
from functools import partial
from pathlib import Path

images, number, store, tests = sys.argv[1:]
sys.path.insert(0, tests)
import numpy as np
import tlkeras as tl
from tiny import TINY, build_tiny

peak = 0

def watch():
    global peak
    while True:
        status = Path("/proc/self/status").read_text()
        peak = max(peak, 1024 * int(re.search(r"RssAnon:\\s+(\\d+) kB", status)[1]))
        time.sleep(0.005)

files = tuple(map(str, sorted(Path(images).iterdir())[: int(number)]))
samples = tl.Samples(files, np.arange(len(files)) % 2, ("a", "b"))
threading.Thread(target=watch, daemon=True).start()
tl.Tuner(
    replace(TINY, constructor=partial(build_tiny, filters=11)),
    weights=None,
    image_size=(96, 96),
    head=tl.Head(hidden=(), dropout=0),
    phases=(tl.Phase(2, 1e-4), tl.Phase(1, 1e-5, unfreeze="all")),  # features, then pixels
).fit(samples, seed=0, store=store, memory_budget="10MB")
print(peak)
"""


@slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from Linux' /proc")
def test_neither_pixels_nor_features_have_to_fit_into_memory(tmp_path):
    import cv2

    rng, images = np.random.default_rng(0), tmp_path / "images"
    images.mkdir()
    for number in range(4500):
        cv2.imwrite(str(images / f"{number}.bmp"), rng.integers(0, 256, (96, 96, 3), dtype=np.uint8))

    def peak_and_features(n):
        """The most anonymous memory that a run over n images took, and what its features take, in bytes."""
        store, tests = tmp_path / f"store{n}", Path(__file__).parents[1]
        command = [sys.executable, "-c", _CHILD, images, str(n), store, tests]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        (table,) = FeatureStore(store).entries()
        assert table["rows"] == n
        return int(done.stdout), table["bytes"]

    (few, _), (many, features) = map(peak_and_features, (64, 4500))
    assert min(4500 * 96 * 96 * 3, features) > 120e6
    assert many - few < 100e6  # of which 64 MB are rows that wait to be written
