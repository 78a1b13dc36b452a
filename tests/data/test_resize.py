"""How images of another aspect ratio come to the size asked for: the same at every door."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.data.images import resize_pixels
from tlkeras.data.pipeline import decode_all, decoded_batches, pixel_batches


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """48 high, 80 wide, a JPEG: a pattern that has another value at every place."""
    rows, columns = np.mgrid[:48, :80]
    pixels = np.stack([rows * 5, columns * 3, rows + columns], axis=-1).astype(np.uint8)
    path = tmp_path_factory.mktemp("wide") / "wide.png"
    Image.fromarray(pixels).save(path)
    return pixels, str(path)


def test_crop_is_the_middle_stretched_to_the_size(wide):
    pixels, _ = wide
    got = resize_pixels(pixels, (24, 24), resize="crop").numpy()
    middle = resize_pixels(np.ascontiguousarray(pixels[:, 16:64]), (24, 24)).numpy()
    np.testing.assert_array_equal(got[:, 1:-1], middle[:, 1:-1])
    # At the cut the filter looks on to what was cut off.
    np.testing.assert_allclose(got.astype(int), middle, atol=2)


def test_pad_is_the_whole_between_black_edges(wide):
    pixels, _ = wide
    got = resize_pixels(pixels, (40, 40), resize="pad").numpy()
    np.testing.assert_array_equal(got[8:32], resize_pixels(pixels, (24, 40)).numpy())
    assert not got[:8].any()
    assert not got[32:].any()


@pytest.mark.parametrize("resize", ["crop", "pad"])
def test_an_image_of_the_wanted_aspect_ratio_is_squashed_alike(wide, resize):
    pixels, _ = wide
    np.testing.assert_array_equal(
        resize_pixels(pixels, (24, 40), resize=resize), resize_pixels(pixels, (24, 40), resize="squash")
    )
    np.testing.assert_array_equal(resize_pixels(pixels, (48, 80), resize=resize), pixels)


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_every_reader_gives_the_same_pixels(wide, resize):
    _, path = wide
    samples = tl.Samples(images=(path,), labels=None, class_names=())
    read = tl.read_pixels(path, (20, 20), resize)
    np.testing.assert_array_equal(read, tl.read_pixels(tl.read_pixels(path, None).astype(np.uint8), (20, 20), resize))
    np.testing.assert_array_equal(read, decode_all(samples, (20, 20), resize=resize)[0])
    np.testing.assert_array_equal(read, next(decoded_batches(samples, (20, 20), 4, resize=resize))[0])
    np.testing.assert_array_equal(read, next(iter(pixel_batches(samples, (20, 20), 4, resize)))[0])
    assert (read != tl.read_pixels(path, (20, 20))).any() == (resize != "squash")


def test_a_jpeg_decoded_at_a_reduced_scale_is_cropped_alike(tmp_path):
    """Of 401x801 pixels a quarter's last row and column show a part only."""
    rows, columns = np.mgrid[:401, :801]
    pixels = np.stack([rows // 2, columns // 4, (rows + columns) // 6], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.jpg", quality=100, subsampling=0)
    for resize in ("crop", "pad"):
        got = tl.read_pixels(tmp_path / "large.jpg", (32, 32), resize)
        whole = resize_pixels(np.asarray(Image.open(tmp_path / "large.jpg")), (32, 32), resize=resize).numpy()
        np.testing.assert_allclose(got[1:-1, 1:-1], whole[1:-1, 1:-1], atol=3)


def test_what_is_not_a_way_is_refused():
    with pytest.raises(tl.InputError, match=r"resize: received 'stretch'.*'squash', 'crop', 'pad'"):
        tl.read_pixels(np.zeros((4, 4, 3), np.uint8), (2, 2), "stretch")
    with pytest.raises(tl.InputError, match=r"Tuner.resize: received 'stretch'"):
        tiny_tuner(resize="stretch")


@pytest.fixture(scope="module")
def wide_set(tmp_path_factory):
    """Twelve images 24x64, bright on the left (one class) or on the right: the middle alone does not tell."""
    folder, rng = tmp_path_factory.mktemp("wide_set"), np.random.default_rng(0)
    for name, side in (("left", slice(0, 12)), ("right", slice(52, 64))):
        (folder / name).mkdir()
        for number in range(6):
            pixels = rng.integers(0, 60, (24, 64, 3)).astype(np.uint8)
            pixels[:, side] += 180
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return tl.from_folders(folder)


@pytest.mark.parametrize(
    ("resize", "store"),
    [
        ("pad", True),
        *(pytest.param(*given, marks=pytest.mark.slow) for given in (("crop", True), ("crop", False), ("pad", False))),
    ],
)
def test_training_prediction_and_what_is_saved_see_the_same_pixels(wide_set, resize, store, tmp_path):
    fields = {"image_size": (24, 24), "phases": tl.Phase(1, 1e-2), "head": tl.Head((), pooling="flatten")}
    fitted = tiny_tuner(resize=resize, **fields).fit(wide_set, wide_set, seed=0, store=store)
    pixels = np.stack([tl.read_pixels(path, fitted.image_size, fitted.resize) for path in wide_set.images])
    theirs = tiny_tuner(**fields).fit(
        (pixels.astype(np.uint8), wide_set.known_labels),
        (pixels.astype(np.uint8), wide_set.known_labels),
        seed=0,
        store=store,
    )
    np.testing.assert_allclose(fitted.model.get_weights()[-2], theirs.model.get_weights()[-2], atol=1e-6)
    np.testing.assert_allclose(fitted.predict(wide_set).probs, fitted.predict_pixels(pixels), atol=1e-6)
    fitted.save(tmp_path)
    again = tl.load(tmp_path)
    assert again.resize == resize
    np.testing.assert_allclose(again.predict(wide_set).probs, fitted.predict_pixels(pixels), atol=1e-6)


def test_features_of_other_ways_are_not_taken_from_the_store(wide_set):
    probes = {
        resize: tl.Extractor(TINY, "knn", resize=resize, weights=None, image_size=(24, 24))
        .fit(wide_set, seed=0)
        .features(wide_set)
        for resize in ("squash", "crop", "pad")
    }
    assert not np.array_equal(probes["squash"], probes["crop"])
    assert not np.array_equal(probes["squash"], probes["pad"])


def test_a_card_without_it_was_squashed(wide_set, tmp_path):
    tiny_tuner(phases=tl.Phase(1, 1e-2)).fit(wide_set, seed=0).save(tmp_path)
    card = json.loads((tmp_path / "classifier.json").read_text())
    assert card.pop("resize") == "squash"
    (tmp_path / "classifier.json").write_text(json.dumps(card))
    assert tl.load(tmp_path).resize == "squash"
