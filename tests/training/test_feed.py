import keras
import numpy as np
import pytest
from PIL import Image
from tiny import TINY

import tlkeras as tl
from tlkeras.data.warp import build_warp
from tlkeras.errors import InputError
from tlkeras.models.cut import cut
from tlkeras.models.freezing import set_trainable
from tlkeras.schema import Samples
from tlkeras.training import feed as feed_module
from tlkeras.training.feature_store import FeatureStore
from tlkeras.training.feed import Augmenting, Feed, KeptFeatures, Part

SIZE = (32, 32)
ORDER = np.array([5, 0, 39, 5, 12, 7, 7])  # repeats, and samples left out
WEIGHTS = np.linspace(0.5, 2, 40)
TURNED = {"rotation_range": 30, "horizontal_flip": True}


@pytest.fixture(scope="module")
def trunk():
    model = tl.build_classifier(TINY, n_classes=2, image_size=SIZE)
    set_trainable(model, TINY)
    return cut(model).trunk


@pytest.fixture
def samples(toy_pixels):
    return tl.from_arrays(*toy_pixels)


@pytest.fixture
def decodings(monkeypatch):
    """The names of the functions that decoded, in order."""
    calls = []

    def noting(name, decode):
        def decode_and_note(*args, **options):
            calls.append(name)
            return decode(*args, **options)

        monkeypatch.setattr(feed_module, name, decode_and_note)

    for name in ("decode_all", "decoded_batches"):
        noting(name, getattr(feed_module, name))
    return calls


def shown(feed, epoch=1, order=ORDER, examples=None, **options):
    """Each component of an epoch's batches, put together again."""
    batches = feed.batches(epoch, order, examples=order if examples is None else examples, batch_size=3, **options)
    return [np.concatenate(column) for column in zip(*batches.as_numpy_iterator(), strict=True)]


def kept(folder, trunk):
    return KeptFeatures(FeatureStore(folder), (trunk,))


def turning(samples, views, phase=1):
    augmentation = tl.Augmentation(**TURNED, views=views)
    return Augmenting(augmentation, build_warp(augmentation, SIZE), seed=0, phase=phase)


def test_pixels_are_decoded_when_first_asked_for_and_once(samples, decodings):
    part = Part(samples, SIZE)
    assert decodings == []
    for _ in range(2):
        np.testing.assert_array_equal(part.pixels, samples.images)
    assert decodings == ["decode_all"]


def test_a_stream_is_read_from_the_disk_and_holds_nothing_or_from_the_pixels_that_are_held(samples, decodings):
    part, positions = Part(samples, SIZE), np.tile(ORDER, 20)  # more than a batch
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(part.stream(positions))), samples.images[positions])
    assert decodings == ["decoded_batches"] * 2
    assert "pixels" not in vars(part)
    held = Part(samples, SIZE, hold=True)  # a later phase needs the pixels: nothing is decoded twice
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(held.stream(positions))), held.pixels[positions])
    assert decodings == ["decoded_batches"] * 2 + ["decode_all"]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_pixels_and_features_are_shown_in_the_same_order_with_the_same_labels_and_weights(
    samples, trunk, tmp_path, weights
):
    # The table holds other images too, in another order.
    shown(Feed(Part(samples.take(range(37, 2, -1)), SIZE), kept=kept(tmp_path, trunk)), order=np.arange(3))
    of_pixels = shown(Feed(Part(samples, SIZE)), weights=weights)
    of_features = shown(Feed(Part(samples, SIZE), kept=kept(tmp_path, trunk)), weights=weights)
    np.testing.assert_array_equal(of_pixels[0], samples.images[ORDER])
    np.testing.assert_allclose(of_features[0], trunk(of_pixels[0]), rtol=1e-5, atol=1e-6)
    for components in (of_pixels, of_features):
        np.testing.assert_array_equal(components[1], samples.labels[ORDER])
        if weights is not None:
            np.testing.assert_array_equal(components[2], WEIGHTS[ORDER].astype(np.float32))
        assert len(components) == (2 if weights is None else 3)


def test_features_that_are_in_the_store_need_no_pixels(samples, trunk, tmp_path, computed, decodings):
    first = shown(Feed(Part(samples, SIZE), kept=kept(tmp_path, trunk)))
    # All images are computed, though this epoch shows only some of them; none of their pixels are held.
    assert (sum(computed), decodings) == (40, ["decoded_batches"])
    again = shown(Feed(Part(samples, SIZE), kept=kept(tmp_path, trunk)))
    assert (sum(computed), decodings) == (40, ["decoded_batches"])
    np.testing.assert_array_equal(first[0], again[0])


@pytest.mark.parametrize("with_trunk", [False, True])
def test_what_is_shown_is_the_warped_image_or_the_trunk_of_it(samples, trunk, tmp_path, with_trunk):
    augmenting, examples = turning(samples, views=2), np.array([5, 0, 39, 45, 12, 7, 47])  # 45: image 5, second showing
    feed = Feed(Part(samples, SIZE), kept=kept(tmp_path, trunk) if with_trunk else None, augmenting=augmenting)
    seeds = augmenting.augmentation.example_seeds(0, 1, 1, examples)
    expected = augmenting.warp(samples.images[ORDER].astype(np.float32), seeds)
    expected = keras.ops.convert_to_numpy(trunk(expected) if with_trunk else expected)
    found, labels = shown(feed, examples=examples)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 if with_trunk else 1e-3)
    np.testing.assert_array_equal(labels, samples.labels[ORDER])
    for one, other in ((0, 3), (5, 6)):  # the same image drawn twice is another view of it
        assert np.abs(found[one] - found[other]).max() > 0.1


def test_views_that_come_again_come_from_the_store_bit_for_bit(samples, trunk, tmp_path, computed):
    order = np.arange(40)
    feed = Feed(Part(samples, SIZE), kept=kept(tmp_path, trunk), augmenting=turning(samples, views=2))
    epochs, rows = [], []
    for epoch in (1, 2, 3, 4):
        before = sum(computed)
        # Another order each time: a view belongs to an image, not to a place.
        turned = np.roll(order, epoch)
        epochs.append(np.roll(shown(feed, epoch, turned)[0], -epoch, axis=0))
        rows.append(sum(computed) - before)
    assert rows == [40, 40, 0, 0]
    np.testing.assert_array_equal(epochs[2], epochs[0])
    np.testing.assert_array_equal(epochs[3], epochs[1])
    assert (np.abs(epochs[0] - epochs[1]).max(axis=1) > 0.1).all()


def test_views_are_shared_across_phases_and_by_recipes_with_more_of_them(samples, trunk, tmp_path, computed, decodings):
    order = np.arange(40)

    def rows(epoch, **views):
        """How many images were computed, whether any were decoded, and what was shown."""
        before = sum(computed)
        decodings.clear()
        feed = Feed(Part(samples, SIZE), kept=kept(tmp_path, trunk), augmenting=turning(samples, **views))
        features = shown(feed, epoch, order)[0]
        return sum(computed) - before, len(decodings), features

    # Two views: epoch 1 shows number 1, epoch 2 number 0. Three: numbers 1, 2, 0.
    (*first, one), (*second, zero) = rows(1, views=2), rows(2, views=2)
    assert first == second == [40, 1]
    for epoch, views, same in ((1, 3, one), (3, 3, zero), (6, 3, zero)):
        *found, features = rows(epoch, views=views)
        assert found == [0, 0]
        np.testing.assert_array_equal(features, same)
    assert rows(2, views=3)[:2] == (40, 1)
    assert rows(1, views=2, phase=2)[:2] == (0, 0)


def test_only_views_that_lack_are_computed_each_with_its_own_seed(samples, trunk, tmp_path, computed):
    def views(folder, order):
        return shown(Feed(Part(samples, SIZE), kept=kept(folder, trunk), augmenting=turning(samples, 2)), order=order)

    whole = views(tmp_path / "at once", np.arange(40))[0]
    views(tmp_path / "in parts", np.arange(0, 40, 3))
    before = sum(computed)
    np.testing.assert_allclose(views(tmp_path / "in parts", np.arange(40))[0], whole, atol=1e-6)
    assert sum(computed) - before == 40 - 14


@pytest.mark.parametrize("hold", [False, True])
def test_a_file_that_changes_before_it_is_decoded_is_named_and_its_features_are_not_kept(tmp_path, trunk, hold):
    """Its row would stand for the earlier bytes for good."""
    images = np.random.default_rng(0).integers(0, 256, (4, *SIZE, 3), dtype=np.uint8)
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    samples = Samples(tuple(map(str, paths)), np.array([0, 1, 0, 1]), ("a", "b"))
    part, earlier = Part(samples, SIZE, hold=hold), paths[1].read_bytes()
    assert len(part.sources) == 4
    paths[1].write_bytes(paths[2].read_bytes())
    features = kept(tmp_path / "store", trunk)
    with pytest.raises(InputError, match=r"1\.png' changed while they were read.*Start again"):
        shown(Feed(part, kept=features), order=np.arange(4))
    paths[1].write_bytes(earlier)
    again = shown(Feed(Part(samples, SIZE, hold=hold), kept=features), order=np.arange(4))
    np.testing.assert_allclose(again[0], trunk(images.astype(np.float32)), rtol=1e-5, atol=1e-6)
