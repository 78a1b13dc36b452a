from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tlkeras.data.images import read_pixels
from tlkeras.data.pipeline import cpu_tensor, decode_all, epoch_batches, pixel_batches
from tlkeras.schema import InputError, Samples

N, H, W = 10, 6, 8
PIXELS = np.random.default_rng(0).integers(0, 256, (N, H, W, 3), dtype=np.uint8)
LABELS = np.arange(N) % 3
WEIGHTS = np.linspace(0.5, 1.5, N)
ORDER = np.array([9, 0, 0, 3, 7, 3, 1])  # repeats, and rows left out


@pytest.fixture
def files(tmp_path) -> Samples:
    paths = [os.fspath(tmp_path / f"{row}.png") for row in range(N)]
    for path, pixels in zip(paths, PIXELS, strict=True):
        cv2.imwrite(path, pixels[..., ::-1])
    return Samples(images=tuple(paths), labels=LABELS, class_names=("a", "b", "c"))


@pytest.fixture
def arrays() -> Samples:
    return Samples(images=PIXELS, labels=LABELS, class_names=("a", "b", "c"))


def collect(batches: tf.data.Dataset) -> list[np.ndarray]:
    """Each component of the batches, put together again."""
    parts = [batch if isinstance(batch, tuple) else (batch,) for batch in batches.as_numpy_iterator()]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


@pytest.mark.parametrize("image_size", [(H, W), (3, 5), (13, 9)])
def test_files_and_arrays_give_the_same_pixels_in_order(files, arrays, image_size):
    from_files = decode_all(files, image_size, progress=False)
    assert (from_files.dtype, from_files.shape) == (np.uint8, (N, *image_size, 3))
    np.testing.assert_array_equal(from_files, decode_all(arrays, image_size))
    np.testing.assert_array_equal(from_files[4], read_pixels(files.images[4], image_size))
    for samples in (files, arrays):
        (streamed,) = collect(pixel_batches(samples, image_size, 4))
        assert streamed.dtype == np.float32
        np.testing.assert_array_equal(streamed, from_files)


def test_native_size_is_bit_identical(files):
    np.testing.assert_array_equal(decode_all(files, (H, W)), PIXELS)


def test_no_sample_is_dropped_and_no_batch_is_padded(files):
    assert [len(batch) for batch in pixel_batches(files, (H, W), 4)] == [4, 4, 2]
    assert [len(batch) for batch in epoch_batches(PIXELS, ORDER, batch_size=3)] == [3, 3, 1]


def test_no_samples_no_pixels(files):
    assert decode_all(files.take([]), (H, W)).shape == (0, H, W, 3)
    assert list(pixel_batches(files.take([]), (H, W), 4)) == []
    assert list(epoch_batches(PIXELS, np.arange(0), batch_size=4)) == []


def test_a_file_lost_under_way_is_named_without_a_tensorflow_traceback(files):
    os.remove(files.images[3])
    with open(files.images[5], "wb"):
        pass
    with pytest.raises(InputError) as caught:
        decode_all(files, (H, W), progress=False)
    assert f"{files.images[3]!r}: missing" in str(caught.value)
    assert f"{files.images[5]!r}: empty file" in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("held", [lambda pixels: pixels, cpu_tensor])
def test_an_epoch_follows_its_order(held):
    pixels, labels, weights = collect(
        epoch_batches(held(PIXELS), ORDER, labels=LABELS, weights=WEIGHTS, batch_size=3),
    )
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, PIXELS[ORDER])
    np.testing.assert_array_equal(labels, LABELS[ORDER])
    np.testing.assert_array_equal(weights, WEIGHTS[ORDER].astype(np.float32))


def test_an_epoch_without_labels_gives_pixels_only():
    (pixels,) = collect(epoch_batches(PIXELS, ORDER, batch_size=3))
    np.testing.assert_array_equal(pixels, PIXELS[ORDER])


def test_each_position_is_warped_with_its_own_seed():
    seeds = np.stack([np.arange(len(ORDER)), 100 + np.arange(len(ORDER))], axis=1).astype(np.int32)

    def warp(images, seeds):
        return images + tf.cast(tf.reduce_sum(seeds, axis=1), tf.float32)[:, None, None, None]

    batches = epoch_batches(PIXELS, ORDER, labels=LABELS, batch_size=3, warp=warp, example_seeds=seeds)
    warped, labels = collect(batches)
    expected = PIXELS[ORDER].astype(np.float32) + seeds.sum(axis=1)[:, None, None, None]
    np.testing.assert_array_equal(warped, expected)
    np.testing.assert_array_equal(labels, LABELS[ORDER])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"order": [0, N]}, "order"),
        ({"order": [-1]}, "order"),
        ({"labels": LABELS[:-1]}, "labels"),
        ({"labels": LABELS, "weights": WEIGHTS[:-1]}, "weights"),
        ({"weights": WEIGHTS}, "weights"),
        ({"warp": lambda images, seeds: images}, "example_seeds"),
        ({"example_seeds": np.zeros((len(ORDER), 2), np.int32)}, "warp"),
        ({"warp": lambda images, seeds: images, "example_seeds": np.zeros((N, 2), np.int32)}, "example_seeds"),
    ],
)
def test_what_does_not_fit_together_is_refused(wrong, named):
    with pytest.raises(InputError, match=named):
        epoch_batches(PIXELS, **({"order": ORDER, "batch_size": 2} | wrong))


@pytest.mark.parametrize("read", [decode_all, lambda samples, size: pixel_batches(samples, size, 4)])
def test_a_wrong_image_size_is_refused(files, read):
    with pytest.raises(InputError, match="height, width"):
        read(files, 224)


@pytest.mark.real
def test_real_chest_x_rays_agree_with_pillow():
    from pathlib import Path

    from PIL import Image

    root = os.environ.get("TLKERAS_DATA")
    if not root:
        pytest.skip("TLKERAS_DATA is not set")
    paths = sorted(Path(root, "chest_xray", "test", "NORMAL").iterdir())[:20]
    if not paths:
        pytest.skip("no chest X-rays under TLKERAS_DATA")
    samples = Samples(images=tuple(map(os.fspath, paths)), labels=None, class_names=("a",))
    for path, pixels in zip(paths, decode_all(samples, (64, 64)), strict=True):
        expected = Image.open(path).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
        assert np.abs(pixels.astype(int) - np.asarray(expected)).max() <= 2


def test_no_dataset_has_a_tuning_thread_that_its_end_waits_for():
    pixels = np.zeros((4, 8, 8, 3), np.uint8)
    samples = Samples(images=pixels, labels=None, class_names=())
    for dataset in (epoch_batches(pixels, np.arange(4), batch_size=2), pixel_batches(samples, (8, 8), 2)):
        assert dataset.options().autotune.enabled is False
