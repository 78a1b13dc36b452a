from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import tensorflow as tf

from tlkeras.data.augmentation import Augmentation
from tlkeras.data.warp import WarpParameters, apply_parameters, build_warp, sample_parameters, transform_matrices
from tlkeras.errors import InputError

EVERYTHING = Augmentation(
    rotation_range=30,
    width_shift_range=0.2,
    height_shift_range=0.1,
    shear_range=15,
    zoom_range=0.3,
    horizontal_flip=True,
    vertical_flip=True,
    brightness_range=(0.7, 1.4),
    channel_shift_range=25,
)
STILL = {
    "theta": 0.0,
    "tx": 0.0,
    "ty": 0.0,
    "shear": 0.0,
    "zx": 1.0,
    "zy": 1.0,
    "channel_shift": 0.0,
    "brightness": 1.0,
    "crop": (1.0, 1.0, 0.0, 0.0),
    "erased": (0.0, 0.0, 0.0, 0.0),
}
COMBINATIONS = [
    {"theta": 24},
    {"tx": 3.5, "ty": -2.25},
    {"shear": 18},
    {"zx": 0.7, "zy": 1.3},
    {"flip_horizontal": True},
    {"flip_vertical": True},
    {"theta": -40, "tx": 4, "ty": 1.5, "shear": 12, "zx": 0.8, "zy": 1.15},
    {"theta": 160, "tx": -2, "shear": -30, "zx": 1.6, "zy": 0.6, "flip_horizontal": True, "flip_vertical": True},
    {"theta": 10, "ty": 40, "zx": 1.9, "zy": 2.1, "flip_vertical": True},
]


def parameters_of(**given) -> WarpParameters:
    flips = {name: tf.constant([given.pop(name, False)]) for name in ("flip_horizontal", "flip_vertical")}
    return WarpParameters(
        **{name: tf.constant([value], tf.float64) for name, value in (STILL | given).items()},
        **flips,
        noise=tf.constant([[3, 4]]),
    )


def generator_result(image: np.ndarray, fill_mode: str = "nearest", cval: float = 0.0, **given) -> np.ndarray:
    """Keras' own answer. Its `tx` runs along the height in name and along the width in fact: see transform_matrices."""
    generator = tf.keras.preprocessing.image.ImageDataGenerator(fill_mode=fill_mode, cval=cval)
    if "channel_shift" in given:
        given["channel_shift_intensity"] = given.pop("channel_shift")
    with warnings.catch_warnings():
        # The old generator calls SciPy by a deprecated name.
        warnings.filterwarnings("ignore", message="Please import `affine_transform`", category=DeprecationWarning)
        return generator.apply_transform(image, given)


def smooth_image(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 6 + c) * np.cos(y / 7 - c) for c in range(3)]
    return (127 + 110 * np.stack(waves, axis=-1)).astype(np.float32)


def seeds_of(n: int, augmentation: Augmentation = EVERYTHING) -> tf.Tensor:
    return tf.constant(augmentation.example_seeds(0, 1, 1, np.arange(n)))


def draw(augmentation: Augmentation, image_size: tuple[int, int], seeds: tf.Tensor) -> WarpParameters:
    return tf.function(lambda seeds: sample_parameters(augmentation, image_size, seeds))(seeds)


def random_pixels(n: int, height: int = 20, width: int = 28) -> tf.Tensor:
    return tf.random.stateless_uniform((n, height, width, 3), (1, 2), 0, 255)


@pytest.mark.parametrize("given", COMBINATIONS)
def test_matrices_equal_the_generators(given):
    # An image of coordinates comes back as the place that each pixel was read from, so it shows the generator's matrix.
    side = 32
    y, x = np.mgrid[:side, :side].astype(np.float64)
    shown = generator_result(np.stack([x, y, 0 * x], axis=-1), **given)[..., :2].reshape(-1, 2)
    matrix = transform_matrices(parameters_of(**given), (side, side)).numpy()[0]
    expected = np.stack([x, y, 1 + 0 * x], axis=-1).reshape(-1, 3) @ matrix.T
    inside = ((expected[:, :2] > 0) & (expected[:, :2] < side - 1)).all(axis=1)
    assert inside.sum() > 0
    np.testing.assert_allclose(shown[inside], expected[inside, :2], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(matrix[2], [0, 0, 1])


@pytest.mark.parametrize("image_size", [(32, 32), (20, 45)])
def test_matrices_are_rotation_shift_shear_zoom_about_the_centre(image_size):
    height, width = image_size
    theta, shear, tx, ty, zx, zy = 0.4, -0.3, 5.0, -2.0, 0.8, 1.3
    centre = np.array([[1, 0, width / 2 - 0.5], [0, 1, height / 2 - 0.5], [0, 0, 1]])
    rotation = np.array([[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0], [0, 0, 1]])
    shift = np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
    shearing = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    expected = centre @ rotation @ shift @ shearing @ np.diag([zx, zy, 1]) @ np.linalg.inv(centre)
    given = parameters_of(theta=np.rad2deg(theta), tx=tx, ty=ty, shear=np.rad2deg(shear), zx=zx, zy=zy)
    np.testing.assert_allclose(transform_matrices(given, image_size).numpy()[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("fill_mode", ["nearest", "reflect", "wrap", "constant"])
@pytest.mark.parametrize("given", COMBINATIONS)
def test_pixels_equal_the_generators_on_the_whole_image(fill_mode, given):
    image = smooth_image(48, 48)
    result = apply_parameters(
        image[None], parameters_of(**given), Augmentation(rotation_range=1, fill_mode=fill_mode, cval=31)
    )
    np.testing.assert_allclose(result[0], generator_result(image, fill_mode, 31, **given), rtol=0, atol=0.02)


def test_channel_shift_is_cut_at_the_images_own_limits():
    image = smooth_image(16, 16)
    result = apply_parameters(image[None], parameters_of(channel_shift=-60), Augmentation(channel_shift_range=60))
    np.testing.assert_allclose(result[0], generator_result(image, channel_shift=-60), rtol=0, atol=1e-4)
    assert result.numpy().min() == image.min()


def test_brightness_is_a_factor_cut_at_255():
    image = smooth_image(16, 16)
    result = apply_parameters(image[None], parameters_of(brightness=1.5), Augmentation(brightness_range=(1, 2)))
    np.testing.assert_allclose(result[0], np.minimum(image * np.float32(1.5), 255))
    # The generator drops the fraction of a grey level before and after the factor: at most 1.5 + 1 apart.
    np.testing.assert_allclose(result[0], generator_result(image, brightness=1.5), rtol=0, atol=2.5)


def test_everything_at_once_in_the_generators_order():
    image = smooth_image(40, 40)
    given = {"theta": 20, "tx": 3, "shear": 8, "zx": 0.9, "zy": 1.1, "flip_horizontal": True, "channel_shift": 20}
    result = apply_parameters(image[None], parameters_of(**given, brightness=0.8), EVERYTHING)
    np.testing.assert_allclose(result[0], generator_result(image, **given, brightness=0.8), rtol=0, atol=1.9)


def test_flips_are_exact_reversals():
    pixels = random_pixels(1)
    both = parameters_of(flip_horizontal=True, flip_vertical=True)
    for fill_mode in ("nearest", "wrap", "constant"):
        result = apply_parameters(pixels, both, Augmentation(horizontal_flip=True, fill_mode=fill_mode))
        np.testing.assert_array_equal(result, pixels[:, ::-1, ::-1])


def test_a_quarter_turn_keeps_the_edges():
    pixels = random_pixels(1, 24, 24)
    turn = Augmentation(rotation_range=90, fill_mode="constant", cval=255)
    result = apply_parameters(pixels, parameters_of(theta=90), turn)
    np.testing.assert_allclose(result[0], np.rot90(pixels[0], k=1), rtol=0, atol=0.01)


@pytest.mark.parametrize(("name", "axis"), [("width_shift_range", 2), ("height_shift_range", 1)])
def test_shifts_move_along_the_axis_in_their_name(name, axis):
    pixels = random_pixels(16)
    augmentation = Augmentation(**{name: (3,)}, fill_mode="constant")
    moved = build_warp(augmentation, (20, 28))(pixels, seeds_of(16)).numpy()
    rolled = {pixel_shift: np.roll(pixels, pixel_shift, axis) for pixel_shift in (-3, 3)}
    middle = (slice(3, -3), slice(3, -3))
    matches = [
        pixel_shift
        for i, image in enumerate(moved)
        for pixel_shift in rolled
        if np.array_equal(image[middle], rolled[pixel_shift][i][middle])
    ]
    assert len(matches) == 16
    assert set(matches) == {-3, 3}


@pytest.mark.parametrize("fill_mode", ["nearest", "reflect", "wrap", "constant"])
def test_an_augmentation_that_asks_for_nothing_returns_the_pixels(fill_mode):
    pixels = random_pixels(3)
    result = build_warp(Augmentation(fill_mode=fill_mode), (20, 28))(pixels, seeds_of(3))
    np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize("fill_mode", ["nearest", "wrap", "constant"])
def test_an_image_is_augmented_alike_in_any_batch_and_in_a_parallel_map(fill_mode):
    augmentation = Augmentation(**{**vars(EVERYTHING), "fill_mode": fill_mode})
    warp, pixels, seeds = build_warp(augmentation, (20, 28)), random_pixels(23), seeds_of(23)
    expected = warp(pixels, seeds).numpy()
    assert np.abs(expected - pixels).max(axis=(1, 2, 3)).min() > 1
    order = np.random.default_rng(0).permutation(23)
    np.testing.assert_array_equal(warp(tf.gather(pixels, order), tf.gather(seeds, order)), expected[order])
    for batch_size in (1, 7):
        batches = tf.data.Dataset.from_tensor_slices((pixels, seeds)).batch(batch_size)
        results = list(batches.map(warp, num_parallel_calls=4).as_numpy_iterator())
        np.testing.assert_array_equal(np.concatenate(results), expected)


def test_results_stay_pixels():
    bright = Augmentation(**{**vars(EVERYTHING), "brightness_range": (2, 3), "fill_mode": "constant", "cval": 255})
    result = build_warp(bright, (20, 28))(random_pixels(8), seeds_of(8)).numpy()
    assert result.dtype == np.float32
    assert result.shape == (8, 20, 28, 3)
    assert result.min() >= 0
    assert result.max() == 255


def test_draws_fill_their_ranges_uniformly_and_independently():
    n, image_size = 2000, (100, 200)
    drawn = draw(EVERYTHING, image_size, seeds_of(n))
    limits = {
        "theta": (-30, 30),
        "tx": (-40, 40),
        "ty": (-10, 10),
        "shear": (-15, 15),
        "zx": (0.7, 1.3),
        "zy": (0.7, 1.3),
        "channel_shift": (-25, 25),
        "brightness": (0.7, 1.4),
    }
    columns = [drawn.flip_horizontal.numpy(), drawn.flip_vertical.numpy()]
    for name, (low, high) in limits.items():
        uniform = (getattr(drawn, name).numpy() - low) / (high - low)
        assert uniform.min() >= 0
        assert uniform.max() <= 1
        # Kolmogorov's bound: a uniform sample of n is farther off than 2 / sqrt(n) once in 1,500 times.
        assert np.abs(np.sort(uniform) - np.arange(n) / n).max() < 2 / np.sqrt(n), name
        columns.append(uniform)
    for flips in columns[:2]:
        assert abs(flips.mean() - 0.5) < 4 * 0.5 / np.sqrt(n)
    correlations = np.corrcoef(np.array(columns, dtype=float))
    assert np.abs(correlations - np.eye(10)).max() < 4.5 / np.sqrt(n)
    for column in columns[2:]:
        assert abs(np.corrcoef(column[1:], column[:-1])[0, 1]) < 4 / np.sqrt(n)


def test_neighbouring_epochs_draw_independently():
    n = 2000
    epochs = [
        draw(EVERYTHING, (10, 10), tf.constant(EVERYTHING.example_seeds(0, 1, epoch, np.arange(n)))).theta
        for epoch in (1, 2, 3)
    ]
    for one, other in itertools.combinations(epochs, 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(n)


@pytest.mark.parametrize(
    ("shift_range", "possible"),
    [
        (3, {-2, -1, 0, 1, 2}),
        (1, {0}),
        ((2, 5), {-5, -2, 2, 5}),
        ((0.25,), {-10, 10}),
    ],
)
def test_whole_numbers_and_lists_of_shifts_are_chosen_from(shift_range, possible):
    drawn = draw(Augmentation(width_shift_range=shift_range), (20, 40), seeds_of(300)).tx.numpy()
    assert set(drawn) == possible


def test_a_float_of_one_and_more_is_pixels():
    drawn = draw(Augmentation(height_shift_range=1.5), (20, 40), seeds_of(300)).ty.numpy()
    assert 1.4 < np.abs(drawn).max() <= 1.5
    assert len(set(drawn)) == 300


def test_numbers_from_numpy_mean_what_python_numbers_do():
    of_numpy = Augmentation(
        rotation_range=np.float32(8), width_shift_range=np.int64(4), height_shift_range=np.float32(0.5)
    )
    of_python = Augmentation(rotation_range=8, width_shift_range=4, height_shift_range=0.5)
    for one, other in zip(*(draw(each, (8, 8), seeds_of(20)) for each in (of_numpy, of_python)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_asking_for_more_leaves_the_other_draws_as_they_were():
    alone = draw(Augmentation(brightness_range=(0.5, 1)), (8, 8), seeds_of(5)).brightness
    among = draw(
        Augmentation(brightness_range=(0.5, 1), rotation_range=9, horizontal_flip=True), (8, 8), seeds_of(5)
    ).brightness
    np.testing.assert_array_equal(alone, among)


@pytest.mark.parametrize("image_size", [224, (0, 3), (1, 2, 3), (9.5, 9), "99", None])
def test_an_image_size_that_is_none_is_refused(image_size):
    with pytest.raises(InputError, match="image_size"):
        build_warp(Augmentation(), image_size)


def test_images_of_one_row_pass():
    wrap = Augmentation(rotation_range=20, width_shift_range=0.4, fill_mode="wrap")
    pixels = random_pixels(2, 1, 5)
    assert np.isfinite(build_warp(wrap, (1, 5))(pixels, seeds_of(2))).all()


def image_of(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)


def changed(image, augmentation, **given):
    return apply_parameters(tf.constant(image[None]), parameters_of(**given), augmentation).numpy()[0]


def test_a_crop_is_pillows_enlargement_of_it():
    from PIL import Image

    image = image_of(24, 36)
    got = changed(image, Augmentation(crop_scale=(0.2, 1)), crop=(0.5, 0.75, 6.0, 3.0))
    for channel in range(3):
        box = Image.fromarray(image[..., channel])
        # Pillow's own resize sees nothing beyond the crop; its affine map takes the box from the whole.
        matrix = (0.5, 0, 6.0, 0, 0.75, 3.0)
        theirs = np.asarray(box.transform((36, 24), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))
        np.testing.assert_allclose(got[2:-2, 2:-2, channel], theirs[2:-2, 2:-2], atol=1e-2)


def test_a_crop_and_a_flip_are_one_resampling_of_the_flipped_crop():
    image = image_of(16, 16)
    cropped = changed(image, Augmentation(crop_scale=(0.2, 1)), crop=(0.6, 0.8, 3.0, 1.0))
    both = changed(
        image, Augmentation(crop_scale=(0.2, 1), horizontal_flip=True), crop=(0.6, 0.8, 3.0, 1.0), flip_horizontal=True
    )
    np.testing.assert_allclose(both, cropped[:, ::-1], atol=1e-2)


def test_crops_are_of_the_parts_and_shapes_that_were_asked_for():
    crops = draw(Augmentation(crop_scale=(0.25, 0.5)), (60, 90), seeds_of(500)).crop.numpy()
    part_x, part_y, left, top = crops.T
    area, ratio = part_x * part_y, part_x * 90 / (part_y * 60)
    assert 0.25 <= area.min() < 0.26
    assert 0.49 < area.max() <= 0.5
    assert 0.75 <= ratio.min() + 1e-9 < 0.77
    assert 1.31 < ratio.max() - 1e-9 <= 4 / 3
    assert (left >= 0).all()
    assert (left + part_x * 90 <= 90 + 1e-9).all()
    assert (top + part_y * 60 <= 60 + 1e-9).all()
    assert np.median(left / ((1 - part_x) * 90)) == pytest.approx(0.5, abs=0.05)


def test_a_box_is_erased_as_often_and_as_large_as_was_asked_for():
    boxes = draw(Augmentation(erasing=0.25), (60, 90), seeds_of(1000)).erased.numpy()
    left, top, right, bottom = boxes.T
    area = (right - left) * (bottom - top)
    assert (area > 0).mean() == pytest.approx(0.25, abs=0.04)
    assert area[area > 0].min() >= 0.02 - 1e-9
    assert area.max() <= 0.33 + 1e-9
    image = image_of(10, 20)
    got = changed(image, Augmentation(erasing=1), erased=(0.25, 0.2, 0.5, 0.7))
    other = (got != image).all(axis=2)
    expected = np.zeros((10, 20), bool)
    expected[2:7, 5:10] = True
    np.testing.assert_array_equal(other, expected)
    assert got.min() >= 0
    assert got.max() <= 255


def test_what_is_added_leaves_the_other_draws_as_they_were():
    plain = sample_parameters(Augmentation(rotation_range=30), (32, 32), seeds_of(5))
    more = sample_parameters(Augmentation(rotation_range=30, crop_scale=(0.3, 1), erasing=0.5), (32, 32), seeds_of(5))
    np.testing.assert_array_equal(plain.theta, more.theta)


def test_an_image_is_cropped_and_erased_alike_wherever_it_stands_in_a_batch():
    augmentation = Augmentation(crop_scale=(0.3, 1), erasing=0.8)
    images = np.stack([image_of(16, 16, seed) for seed in range(6)])
    warp = build_warp(augmentation, (16, 16))
    whole = warp(tf.constant(images), seeds_of(6)).numpy()
    for i in range(6):
        np.testing.assert_array_equal(warp(tf.constant(images[i : i + 1]), seeds_of(6)[i : i + 1]).numpy()[0], whole[i])
