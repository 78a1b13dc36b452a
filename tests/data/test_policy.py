import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

import tlkeras as tl
from tlkeras.data.policy import BINS, OPERATIONS, PolicyDraws, apply_colours, draws_of, n_operations, policy_matrices
from tlkeras.data.warp import build_warp, sample_parameters

TRIVIAL, RAND = tl.Augmentation(policy="trivial"), tl.Augmentation(policy=tl.RandAugment(2, 15))


def draws(*operations, part=1.0, sign=1.0):
    """Of one image, these operations in this order."""
    shape = (1, len(operations))
    return PolicyDraws(
        tf.constant([[OPERATIONS.index(name) for name in operations]]),
        tf.fill(shape, tf.constant(part, tf.float64)),
        tf.fill(shape, tf.constant(sign, tf.float64)),
    )


def image_of(height=12, width=16, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(20, 220, (height, width, 3)).astype(np.uint8)


def recoloured(image, *operations, augmentation=TRIVIAL, **given):
    pixels = tf.constant(image[None].astype(np.float32))
    return apply_colours(pixels, draws(*operations, **given), augmentation).numpy()[0]


def pillows(name, image, part, sign, bits=6):
    image, factor = Image.fromarray(image), 1 + sign * 0.99 * part
    return np.asarray(
        {
            "identity": lambda: image,
            "brightness": lambda: ImageEnhance.Brightness(image).enhance(factor),
            "color": lambda: ImageEnhance.Color(image).enhance(factor),
            "contrast": lambda: ImageEnhance.Contrast(image).enhance(factor),
            "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(factor),
            "posterize": lambda: ImageOps.posterize(image, 8 - round(bits * part)),
            "solarize": lambda: ImageOps.solarize(image, math.ceil(255 * (1 - part))),
            "autocontrast": lambda: ImageOps.autocontrast(image),
            "equalize": lambda: ImageOps.equalize(image),
        }[name]()
    ).astype(np.float32)


@pytest.mark.parametrize("part", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("name", ["identity", *OPERATIONS[6:]])
def test_colours_are_pillows_to_the_grey_level(name, sign, part):
    image = image_of(40, 60)
    got = recoloured(image, name, part=part, sign=sign)
    # Pillow rounds what it blends with, and the result.
    within = 0.01 if name in ("identity", "posterize", "solarize", "equalize") else 2.0
    np.testing.assert_allclose(got, pillows(name, image, part, sign), atol=within)
    assert got.min() >= 0
    assert got.max() <= 255


def test_an_even_image_stays_what_it_is_where_nothing_can_be_stretched():
    even = np.full((6, 6, 3), 77, np.uint8)
    for name in ("autocontrast", "equalize", "contrast", "sharpness"):
        np.testing.assert_allclose(recoloured(even, name), 77, atol=1e-3)


def test_several_act_in_the_order_drawn():
    image = image_of()
    one_way = recoloured(image, "solarize", "brightness", augmentation=RAND)
    other_way = recoloured(image, "brightness", "solarize", augmentation=RAND)
    step = recoloured(recoloured(image, "solarize").astype(np.uint8), "identity", "brightness", augmentation=RAND)
    np.testing.assert_allclose(one_way, step, atol=2)
    assert np.abs(one_way - other_way).max() > 50


def matrix(*operations, augmentation=TRIVIAL, size=(31, 41), **given):
    fields = tl.Augmentation(policy=tl.RandAugment(len(operations), 15)) if augmentation is RAND else augmentation
    return policy_matrices(draws(*operations, **given), fields, size).numpy()[0]


@pytest.mark.parametrize(
    ("name", "augmentation", "linear", "shift"),
    [
        ("shear_x", TRIVIAL, [[1, 0.99], [0, 1]], (0, 0)),
        ("shear_y", RAND, [[1, 0], [0.3, 1]], (0, 0)),
        ("translate_x", TRIVIAL, np.eye(2), (32, 0)),
        ("translate_y", RAND, np.eye(2), (0, 31 * 150 / 331)),
        ("rotate", RAND, [[math.cos(math.pi / 6), -0.5], [0.5, math.cos(math.pi / 6)]], (0, 0)),
        ("solarize", TRIVIAL, np.eye(2), (0, 0)),
    ],
)
def test_maps_are_about_the_middle(name, augmentation, linear, shift):
    found = matrix(name, augmentation=augmentation)
    np.testing.assert_allclose(found[:2, :2], linear, atol=1e-12)
    middle = np.array([20.0, 15.0, 1.0])
    np.testing.assert_allclose(found @ middle, [*(middle[:2] + shift), 1], atol=1e-9)


def test_two_maps_are_one_after_the_other():
    first, second = matrix("rotate", augmentation=RAND), matrix("translate_x", augmentation=RAND)
    both = matrix("rotate", "translate_x", augmentation=RAND)
    np.testing.assert_allclose(both, first @ second, atol=1e-9)


def test_every_operation_and_magnitude_is_drawn_as_often():
    uniform = tf.random.stateless_uniform([20000, 1, 3], [1, 2], dtype=tf.float64)
    found = draws_of(TRIVIAL, uniform)
    of_operation = np.bincount(found.operation.numpy().ravel(), minlength=len(OPERATIONS)) / 20000
    np.testing.assert_allclose(of_operation, 1 / len(OPERATIONS), atol=0.01)
    of_magnitude = np.bincount(np.rint(found.part.numpy().ravel() * (BINS - 1)).astype(int), minlength=BINS) / 20000
    np.testing.assert_allclose(of_magnitude, 1 / BINS, atol=0.006)
    assert abs(found.sign.numpy().mean()) < 0.03
    assert n_operations(RAND) == 2
    assert (draws_of(RAND, tf.reshape(uniform, [10000, 2, 3])).part.numpy() == 0.5).all()


@pytest.mark.parametrize("augmentation", [TRIVIAL, RAND])
def test_an_image_is_changed_alike_wherever_it_stands_in_a_batch(augmentation):
    images = tf.constant(np.stack([image_of(16, 16, seed) for seed in range(8)]).astype(np.float32))
    seeds = tf.constant([[5, index] for index in range(8)])
    warp = build_warp(augmentation, (16, 16))
    whole = warp(images, seeds).numpy()
    for row in (0, 3, 7):
        np.testing.assert_array_equal(warp(images[row : row + 1], seeds[row : row + 1]).numpy()[0], whole[row])
    assert (np.abs(whole - images.numpy()).max(axis=(1, 2, 3)) > 1).any()


def test_a_policy_leaves_the_other_draws_as_they_were():
    seeds = tf.constant([[5, index] for index in range(4)])
    plain = sample_parameters(tl.Augmentation(rotation_range=30, erasing=0.5), (16, 16), seeds)
    more = sample_parameters(tl.Augmentation(rotation_range=30, erasing=0.5, policy="trivial"), (16, 16), seeds)
    np.testing.assert_array_equal(plain.theta, more.theta)
    np.testing.assert_array_equal(plain.erased, more.erased)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: tl.Augmentation(policy="auto"), "Augmentation.policy: received 'auto'.*'trivial'.*tl.RandAugment"),
        (lambda: tl.RandAugment(0), "RandAugment.operations: received 0"),
        (lambda: tl.RandAugment(2, 31), "RandAugment.magnitude: received 31"),
    ],
)
def test_what_cannot_be_is_refused(make, said):
    with pytest.raises(tl.InputError, match=said):
        make()
