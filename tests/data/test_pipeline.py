from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tlkeras.data.images import read_pixels
from tlkeras.data.pipeline import cpu_tensor, decode_all, decoded_batches, epoch_batches, pixel_batches
from tlkeras.errors import InputError
from tlkeras.schema import Samples

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
    from_files = decode_all(files, image_size)
    assert (from_files.dtype, from_files.shape) == (np.uint8, (N, *image_size, 3))
    np.testing.assert_array_equal(from_files, decode_all(arrays, image_size))
    np.testing.assert_array_equal(from_files[4], read_pixels(files.images[4], image_size))
    for samples in (files, arrays):
        (streamed,) = collect(pixel_batches(samples, image_size, 4))
        assert streamed.dtype == np.float32
        np.testing.assert_array_equal(streamed, from_files)


@pytest.mark.parametrize("given", ["files", "arrays"])
def test_pixels_mapped_from_a_scratch_file_are_those_in_memory_and_leave_no_name(given, request, tmp_path):
    samples, scratch = request.getfixturevalue(given), tmp_path / "made" / "for it"
    mapped = decode_all(samples, (3, 5), scratch=scratch)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, decode_all(samples, (3, 5)))
    assert list(scratch.iterdir()) == []
    assert decode_all(samples.take([]), (3, 5), scratch=scratch).shape == (0, 3, 5, 3)


def test_native_size_is_bit_identical(files):
    np.testing.assert_array_equal(decode_all(files, (H, W)), PIXELS)


def test_no_sample_is_dropped_and_no_batch_is_padded(files):
    assert [len(batch) for batch in pixel_batches(files, (H, W), 4)] == [4, 4, 2]
    assert [len(batch) for batch in epoch_batches(PIXELS, ORDER, batch_size=3)] == [3, 3, 1]


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [
        (33, 32, [17, 16]),
        (65, 32, [32, 17, 16]),
        (40, 32, [20, 20]),
        (41, 32, [32, 9]),  # more than a quarter
        (64, 32, [32, 32]),
        (1, 32, [1]),
        (4, 3, [2, 2]),
        (3, 2, [2, 1]),  # there is no other way
        (3, 1, [1, 1, 1]),
        (0, 4, []),
    ],
)
def test_a_small_last_batch_is_shared_with_the_one_before_where_that_is_asked_for(n, batch_size, sizes):
    numbers = np.arange(n, dtype=np.float32)
    batches = epoch_batches(numbers, np.arange(n)[::-1], labels=numbers, batch_size=batch_size, even_out=True)
    assert len(batches) == len(sizes)
    shown = [(inputs.numpy(), labels.numpy()) for inputs, labels in batches]
    assert [len(inputs) for inputs, _ in shown] == sizes
    for one in zip(*shown, strict=True):
        np.testing.assert_array_equal(np.concatenate(one), numbers[::-1])
    plain = epoch_batches(numbers, np.arange(n), batch_size=batch_size)
    assert [len(batch) for batch in plain] == [min(batch_size, n - start) for start in range(0, n, batch_size)]


def test_streamed_samples_come_in_order_as_they_are_asked_for(files, arrays):
    for samples in (files, arrays):
        batches = list(decoded_batches(samples, (3, 5), 4))
        assert [(len(batch), batch.dtype) for batch in batches] == [(4, np.uint8), (4, np.uint8), (2, np.uint8)]
        np.testing.assert_array_equal(np.concatenate(batches), decode_all(samples, (3, 5)))
    os.remove(files.images[9])
    assert len(next(decoded_batches(files, (3, 5), 2))) == 2  # the last file is not looked at yet


def test_no_samples_no_pixels(files):
    assert decode_all(files.take([]), (H, W)).shape == (0, H, W, 3)
    assert list(pixel_batches(files.take([]), (H, W), 4)) == []
    assert list(epoch_batches(PIXELS, np.arange(0), batch_size=4)) == []


@pytest.mark.parametrize(
    "read",
    [
        lambda samples: decode_all(samples, (H, W)),
        lambda samples: list(decoded_batches(samples, (H, W), 4)),
    ],
)
def test_a_file_lost_under_way_is_named_without_a_tensorflow_traceback(files, read):
    os.remove(files.images[3])
    with open(files.images[5], "wb"):
        pass
    with pytest.raises(InputError) as caught:
        read(files)
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


@pytest.mark.parametrize("n_rows", [4, 25])
@pytest.mark.parametrize("held", [lambda inputs: inputs, cpu_tensor])
def test_inputs_follow_the_rows_while_labels_and_weights_follow_the_order(held, n_rows):
    """Fewer inputs than samples where images are equal, more where a table of features holds other images too."""
    features = np.random.default_rng(1).normal(size=(n_rows, 2, 3)).astype(np.float32)
    row_of_sample = np.random.default_rng(2).integers(0, n_rows, N)
    rows = row_of_sample[ORDER]
    shown, labels, weights = collect(
        epoch_batches(held(features), ORDER, rows=rows, labels=LABELS, weights=WEIGHTS, batch_size=3)
    )
    np.testing.assert_array_equal(shown, features[rows])
    np.testing.assert_array_equal(labels, LABELS[ORDER])
    np.testing.assert_array_equal(weights, WEIGHTS[ORDER].astype(np.float32))
    (alone,) = collect(epoch_batches(held(features), ORDER, rows=rows, batch_size=3))
    np.testing.assert_array_equal(alone, features[rows])


def test_features_in_float16_are_shown_in_float32():
    features = np.linspace(-3, 3, 20).astype(np.float16).reshape(10, 2)
    (shown,) = collect(epoch_batches(features, ORDER, rows=ORDER[::-1], batch_size=3))
    assert shown.dtype == np.float32
    np.testing.assert_array_equal(shown, features[ORDER[::-1]])


def _shares_memory(array: np.ndarray) -> bool:
    tensor = cpu_tensor(array)
    np.testing.assert_array_equal(tensor.numpy(), array)
    return np.from_dlpack(tensor).ctypes.data == array.ctypes.data


def test_a_tensor_shares_the_memory_of_decoded_pixels_and_mapped_rows(arrays, tmp_path):
    for scratch in (None, tmp_path):
        for image_size in ((H, W), (3, 5), (13, 9)):
            assert _shares_memory(decode_all(arrays, image_size, scratch=scratch))
    rows = np.arange(30, dtype=np.float32).reshape(10, 3)
    (tmp_path / "rows").write_bytes(rows.tobytes())
    assert _shares_memory(np.memmap(tmp_path / "rows", np.float32, mode="c", shape=(10, 3)))


def test_what_cannot_be_shared_is_copied_whole(tmp_path):
    pixels = decode_all(Samples(PIXELS, None, ()), (64, 64))  # begins where TensorFlow wants it
    (tmp_path / "rows").write_bytes(pixels.tobytes())
    read_only = pixels.copy()
    read_only.flags.writeable = False
    for array in (
        pixels.reshape(-1)[1:-2].reshape(-1, 3),  # begins one byte later
        pixels[:, ::2],
        pixels[..., ::-1],
        read_only,
        np.memmap(tmp_path / "rows", np.uint8, mode="r", shape=pixels.shape),
    ):
        assert not _shares_memory(array)
    assert cpu_tensor(pixels[:0]).shape == (0, 64, 64, 3)


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
        ({"order": [[0, 1]]}, "order"),
        ({"labels": LABELS[:-1]}, "labels"),
        ({"rows": np.arange(3)}, "rows: received 3 for an order of 7"),
        ({"rows": np.full(len(ORDER), N)}, r"rows: accepted are row numbers \(m,\) in 0\.\.9"),
        ({"rows": np.full(len(ORDER), -1)}, "rows: accepted"),
        ({"rows": np.zeros((len(ORDER), 1), int)}, "rows: accepted"),
        # With rows it is the labels that say how many samples there are: ORDER names sample 9.
        ({"rows": ORDER[::-1], "labels": np.zeros(9)}, r"order: accepted are row numbers \(m,\) in 0\.\.8"),
        ({"rows": ORDER[::-1], "order": ORDER - 1}, "order: accepted"),
        ({"rows": ORDER[::-1], "labels": LABELS, "weights": WEIGHTS[:-1]}, "weights: received 9 rows for 10"),
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
