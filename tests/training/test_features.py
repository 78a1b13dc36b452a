import numpy as np
import pytest
from tiny import TINY

import tlkeras as tl
from tlkeras.models.classifier import build_encoder
from tlkeras.training import features
from tlkeras.training.feature_store import FeatureStore
from tlkeras.training.features import features_of, run_network

IMAGES = np.random.default_rng(0).integers(0, 256, (70, 16, 24, 3), dtype=np.uint8)  # more than one batch
SAMPLES = tl.Samples(IMAGES, None, ("a", "b"))


@pytest.fixture(scope="module")
def network():
    return build_encoder(TINY, image_size=(16, 24), seed=3)


@pytest.fixture(scope="module")
def expected(network):
    return np.asarray(network(IMAGES.astype(np.float32), training=False))


def without_a_store(network, samples):
    return features_of(network, samples, store=None)


def test_features_are_a_plain_forward_pass_with_and_without_a_store(network, expected, tmp_path):
    for store in (None, FeatureStore(tmp_path), FeatureStore(tmp_path)):  # none, empty, filled
        found = features_of(network, SAMPLES, store=store)
        assert (found.shape, found.dtype) == ((70, 8), np.float32)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_an_images_features_depend_neither_on_its_place_nor_on_the_others(network, tmp_path):
    whole, order = without_a_store(network, SAMPLES), np.random.default_rng(1).permutation(70)
    for rows in (order, [69], [3, 3, 64]):
        np.testing.assert_array_equal(without_a_store(network, SAMPLES.take(rows)), whole[rows])
    store = FeatureStore(tmp_path)
    few = features_of(network, SAMPLES.take(order[:20]), store=store)
    all_of_them = features_of(network, SAMPLES, store=store)
    np.testing.assert_array_equal(all_of_them[order[:20]], few)
    np.testing.assert_array_equal(features_of(network, SAMPLES.take(order), store=store), all_of_them[order])


def test_an_image_passes_the_network_once(network, tmp_path, computed):
    store = FeatureStore(tmp_path)
    features_of(network, SAMPLES.take(range(30)), store=store)
    features_of(network, SAMPLES, store=store)
    features_of(network, SAMPLES, store=FeatureStore(tmp_path))
    assert sum(computed) == 70
    (entry,) = store.entries()
    assert (entry["rows"], entry["layer"], entry["row_shape"]) == (70, "head_avg", [8])


def test_what_is_computed_is_said(network, tmp_path, heard):
    for _ in range(2):
        features_of(network, SAMPLES, store=FeatureStore(tmp_path))
    assert heard.lines() == ["frozen layers up to head_avg: 70 images to compute, 0 are in the feature store"]


def test_no_images_have_no_features(network, tmp_path):
    for store in (None, FeatureStore(tmp_path)):
        found = features_of(network, SAMPLES.take([]), store=store)
        assert (found.shape, found.dtype) == ((0, 8), np.float32)


def test_a_store_without_room_is_left_alone(network, expected, tmp_path):
    found = features_of(network, SAMPLES, store=FeatureStore(tmp_path, limit=70 * 8 * 4 - 1))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert list(tmp_path.iterdir()) == []


def test_half_precision_rounds_what_is_kept(network, tmp_path):
    exact = features_of(network, SAMPLES, store=FeatureStore(tmp_path))
    half = features_of(network, SAMPLES, store=FeatureStore(tmp_path), dtype="float16")
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, exact.astype(np.float16).astype(np.float32))
    assert (half != exact).any()


def test_features_beyond_memory_are_refused_before_anything_is_read(network, monkeypatch):
    nowhere = tl.Samples(tuple(f"nowhere/{row}.png" for row in range(1000)), None, ("a", "b"))  # 32 KB
    monkeypatch.setattr(features, "available_memory", lambda: 35_000)
    said = r"1,000 images give 32 KB of features \(8 each\), and 35 KB of memory are free\. Take pooling=\"avg\""
    with pytest.raises(tl.InputError, match=said):
        without_a_store(network, nowhere)
    monkeypatch.setattr(features, "available_memory", lambda: 36_000)
    with pytest.raises(tl.InputError, match=r"nowhere/0\.png"):
        without_a_store(network, nowhere)


@pytest.mark.parametrize("kept", [True, False])
def test_features_that_are_not_finite_are_refused(kept, tmp_path):
    broken = build_encoder(TINY, image_size=(16, 24))
    bias = broken.get_layer("conv3").bias
    bias.assign(np.full(bias.shape, np.inf, np.float32))
    with pytest.raises(tl.InputError, match="gives values that are not finite"):
        features_of(broken, SAMPLES, store=FeatureStore(tmp_path) if kept else None)


def test_a_smaller_batch_gives_as_many_rows_and_floats_are_taken(network, expected):
    for n in (0, 1, 64):
        np.testing.assert_allclose(run_network(network, IMAGES[:n]), expected[:n], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(run_network(network, IMAGES[:5].astype(np.float64)), run_network(network, IMAGES[:5]))
