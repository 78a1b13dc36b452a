"""An Augmentation as TensorFlow ops: one interpolation per image, drawn from that image's own seed.

Rotation, shift, shear, zoom and flips are one affine map, so an image is resampled (and blurred) once, and a flip is
the sign of a zoom factor. Nothing depends on the batch an image is in, on its place there, or on the order of calls:
the callables repeat exactly in a parallel `Dataset.map`.
"""

import math
import numbers
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

from tlkeras.backend import tf
from tlkeras.checks import check_image_size
from tlkeras.data.augmentation import Augmentation
from tlkeras.data.policy import PolicyDraws, apply_colours, draws_of, n_operations, policy_matrices

# Raise it when some image comes out otherwise than before: features that are kept of such images are then made again.
WARP = 1

# What is drawn beside the warp, by seeds derived from an image's own.
_CROP, _ERASED, _NOISE, _POLICY = 1, 2, 4, 6
_CROP_RATIO = (3 / 4, 4 / 3)  # width to height, as in torchvision
# Of a box that is erased (Zhong et al. 2020, as in torchvision): parts of the area, longer to shorter side.
_ERASED_AREA, _LONGEST = (0.02, 0.33), 1 / 0.3


class WarpParameters(NamedTuple):
    """What was drawn for b images, each float64 (b,) or bool (b,)."""

    theta: tf.Tensor  # rotation, degrees
    tx: tf.Tensor  # shift along the width, pixels
    ty: tf.Tensor  # shift along the height, pixels
    shear: tf.Tensor  # degrees
    zx: tf.Tensor  # factor along the width
    zy: tf.Tensor  # factor along the height
    flip_horizontal: tf.Tensor
    flip_vertical: tf.Tensor
    channel_shift: tf.Tensor  # grey levels
    brightness: tf.Tensor  # factor
    crop: tf.Tensor  # (b, 4): width and height of the crop as parts of the image's, its left and top edge in pixels
    erased: tf.Tensor  # (b, 4): left, top, right and bottom edge of the box, in parts of width and height
    noise: tf.Tensor  # int32 (b, 2): the seed that what fills it is drawn from
    policy: PolicyDraws | None = None


def build_warp(augmentation: Augmentation, image_size: tuple[int, int]) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The function that augments a batch of images of `image_size` (height, width).

    Returns:
        `warp(pixels, seeds)`: float32 (b, H, W, 3) in [0, 255] and int32 (b, 2) (`Augmentation.example_seeds`) to
        float32 (b, H, W, 3) in [0, 255]; to be called eagerly or inside `tf.data`.
    """
    height, width = check_image_size(image_size)
    signature = [tf.TensorSpec((None, height, width, 3), tf.float32), tf.TensorSpec((None, 2), tf.int32)]

    @tf.function(input_signature=signature, autograph=False)
    def warp(pixels, seeds):
        return apply_parameters(pixels, sample_parameters(augmentation, (height, width), seeds), augmentation)

    return warp


def sample_parameters(augmentation: Augmentation, image_size: tuple[int, int], seeds: tf.Tensor) -> WarpParameters:
    """What each image's seed draws.

    All ten numbers of the warp are drawn whatever is asked for, so an image keeps its angle when, say, a flip is added;
    crop, policy and erasing draw from seeds that are derived from its own.

    Args:
        augmentation: the ranges.
        image_size: (height, width), which fractions of a shift refer to.
        seeds: int32 (b, 2).
    """
    height, width = check_image_size(image_size)
    one_image = lambda seed: tf.random.stateless_uniform([10], seed, dtype=tf.float64, alg="philox")  # noqa: E731
    # In float64 throughout: TensorFlow's float32 sine differs in the last bit with an image's place in the batch.
    draws = tf.map_fn(one_image, seeds, fn_output_signature=tf.TensorSpec([10], tf.float64))
    theta, tx, ty, shear, zx, zy, horizontal, vertical, channel, bright = tf.unstack(draws, axis=1)
    return WarpParameters(
        theta=_between(theta, -augmentation.rotation_range, augmentation.rotation_range),
        tx=_shift(tx, augmentation.width_shift_range, width),
        ty=_shift(ty, augmentation.height_shift_range, height),
        shear=_between(shear, -augmentation.shear_range, augmentation.shear_range),
        zx=_between(zx, *augmentation.zoom_limits),
        zy=_between(zy, *augmentation.zoom_limits),
        flip_horizontal=(horizontal < 0.5) & augmentation.horizontal_flip,
        flip_vertical=(vertical < 0.5) & augmentation.vertical_flip,
        channel_shift=_between(channel, -augmentation.channel_shift_range, augmentation.channel_shift_range),
        brightness=_between(bright, *(augmentation.brightness_range or (1, 1))),
        crop=_whole(seeds, 1, 1, 0, 0)
        if augmentation.crop_scale is None
        else _per_image(seeds, partial(_crop, augmentation.crop_scale, (height, width))),
        erased=_whole(seeds, 0, 0, 0, 0)
        if not augmentation.erasing
        else _per_image(seeds, partial(_erased_box, augmentation.erasing)),
        noise=seeds,
        policy=None if augmentation.policy is None else _policy_draws(augmentation, seeds),
    )


def transform_matrices(parameters: WarpParameters, image_size: tuple[int, int]) -> tf.Tensor:
    """From each pixel of the result to the place in the source that it shows: float64 (b, 3, 3).

    A matrix acts on (column, row, 1), counted from the middle of the first pixel. It is ImageDataGenerator's
    rotation · shift · shear · zoom about the image's centre, after the flips. With the angles t of the rotation and
    s of the shear, rotation · shear is [[cos t, -sin(t + s)], [sin t, cos(t + s)]]. Keras' last ImageDataGenerator
    moves images along the width by `height_shift_range` and the other way round, and turns images that are not
    square about another point than their centre; here the names hold. On square images with equal shift ranges the
    two are the same.
    """
    height, width = check_image_size(image_size)
    radians = tf.constant(math.pi / 180, tf.float64)
    rotation, sheared = parameters.theta * radians, (parameters.theta + parameters.shear) * radians
    # A flip about the centre is the sign of the zoom.
    zx = tf.where(parameters.flip_horizontal, -parameters.zx, parameters.zx)
    zy = tf.where(parameters.flip_vertical, -parameters.zy, parameters.zy)
    xx, xy = zx * tf.cos(rotation), -zy * tf.sin(sheared)
    yx, yy = zx * tf.sin(rotation), zy * tf.cos(sheared)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    shift_x = tf.cos(rotation) * parameters.tx - tf.sin(rotation) * parameters.ty
    shift_y = tf.sin(rotation) * parameters.tx + tf.cos(rotation) * parameters.ty
    x = centre_x + shift_x - xx * centre_x - xy * centre_y
    y = centre_y + shift_y - yx * centre_x - yy * centre_y
    # The crop comes first, and what is said above of the whole image holds of it.
    part_x, part_y, left, top = tf.unstack(parameters.crop, axis=1)
    xx, xy, x = part_x * xx, part_x * xy, part_x * (x + 0.5) + left - 0.5
    yx, yy, y = part_y * yx, part_y * yy, part_y * (y + 0.5) + top - 0.5
    zero, one = tf.zeros_like(x), tf.ones_like(x)
    return tf.reshape(tf.stack([xx, xy, x, yx, yy, y, zero, zero, one], axis=1), [-1, 3, 3])


def apply_parameters(pixels: tf.Tensor, parameters: WarpParameters, augmentation: Augmentation) -> tf.Tensor:
    """Augments images by given parameters: ImageDataGenerator's warp, channel shift and brightness, then
    a policy's colours and erasing.

    `augmentation` says which of these steps there are, and the fill mode. Unlike the generator, brightness keeps
    fractions of a grey level.

    Args:
        pixels: float32 (b, H, W, 3) in [0, 255], of static height and width.
        parameters: for the b images.
        augmentation: what is asked for.

    Returns:
        float32 (b, H, W, 3) in [0, 255].
    """
    if _moves(augmentation):
        matrices = transform_matrices(parameters, _sides(pixels))
        if parameters.policy is not None:
            matrices = matrices @ policy_matrices(parameters.policy, augmentation, _sides(pixels))
        pixels = _resample(pixels, matrices, augmentation)
    per_image = lambda values: tf.cast(values, tf.float32)[:, None, None, None]  # noqa: E731
    if augmentation.channel_shift_range:
        lowest = tf.reduce_min(pixels, axis=(1, 2, 3), keepdims=True)
        highest = tf.reduce_max(pixels, axis=(1, 2, 3), keepdims=True)
        pixels = tf.clip_by_value(pixels + per_image(parameters.channel_shift), lowest, highest)
    if augmentation.brightness_range is not None:
        pixels = tf.minimum(pixels * per_image(parameters.brightness), 255.0)
    if parameters.policy is not None:
        pixels = apply_colours(pixels, parameters.policy, augmentation)
    if augmentation.erasing:
        pixels = _erase(pixels, parameters)
    return pixels


def seed_for(seed: tf.Tensor, purpose: int) -> tf.Tensor:
    """Another seed, int32 (2,), for what is drawn beside the warp from an image's own, int32 (2,)."""
    return cast(tf.Tensor, tf.random.fold_in(seed, purpose, alg="philox"))


def _whole(seeds: tf.Tensor, *numbers: float) -> tf.Tensor:
    return tf.repeat(tf.constant([numbers], tf.float64), tf.shape(seeds)[0], axis=0)


def _per_image(seeds: tf.Tensor, draw: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec([4], tf.float64))


def _uniform(seed: tf.Tensor, purpose: int, n: int) -> list[tf.Tensor]:
    return tf.unstack(tf.random.stateless_uniform([n], seed_for(seed, purpose), dtype=tf.float64, alg="philox"))


def _policy_draws(augmentation: Augmentation, seeds: tf.Tensor) -> PolicyDraws:
    shape = [n_operations(augmentation), 3]
    one_image = lambda seed: tf.reshape(_uniform(seed, _POLICY, math.prod(shape)), shape)  # noqa: E731
    return draws_of(augmentation, tf.map_fn(one_image, seeds, fn_output_signature=tf.TensorSpec(shape, tf.float64)))


def _box(area: tf.Tensor, log_ratio: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Width and height of a part of the area, as parts of the image's, each at most 1."""
    root = tf.exp(log_ratio / 2)
    return tf.minimum(tf.sqrt(area) * root, 1.0), tf.minimum(tf.sqrt(area) / root, 1.0)


def _crop(scale: tuple[float, float], image_size: tuple[int, int], seed: tf.Tensor) -> tf.Tensor:
    height, width = image_size
    area, ratio, x, y = _uniform(seed, _CROP, 4)
    area = _between(area, *scale)
    low, high = (math.log(limit * height / width) for limit in _CROP_RATIO)  # of parts, not of pixels
    part_x, part_y = _box(area, _between(ratio, low, high))
    return tf.stack([part_x, part_y, (1 - part_x) * width * x, (1 - part_y) * height * y])


def _erased_box(probability: float, seed: tf.Tensor) -> tf.Tensor:
    happens, area, ratio, x, y = _uniform(seed, _ERASED, 5)
    part_x, part_y = _box(_between(area, *_ERASED_AREA), _between(ratio, -math.log(_LONGEST), math.log(_LONGEST)))
    left, top = (1 - part_x) * x, (1 - part_y) * y
    box = tf.stack([left, top, left + part_x, top + part_y])
    return tf.where(happens < probability, box, tf.zeros_like(box))


def _erase(pixels: tf.Tensor, parameters: WarpParameters) -> tf.Tensor:
    height, width = _sides(pixels)

    def draw(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform([height, width, 3], seed_for(seed, _NOISE), maxval=255.0, alg="philox")

    noise = tf.map_fn(draw, parameters.noise, fn_output_signature=tf.TensorSpec([height, width, 3], tf.float32))
    x = (tf.range(width, dtype=tf.float64)[None, None, :] + 0.5) / width
    y = (tf.range(height, dtype=tf.float64)[None, :, None] + 0.5) / height
    left, top, right, bottom = (edge[:, None, None] for edge in tf.unstack(parameters.erased, axis=1))
    inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    return tf.where(inside[..., None], noise, pixels)


def _between(uniform: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return float(low) + uniform * float(high - low)


def _shift(uniform: tf.Tensor, shift_range: float | tuple[float, ...], side: int) -> tf.Tensor:
    if isinstance(shift_range, tuple | numbers.Integral):
        sizes = shift_range if isinstance(shift_range, tuple) else range(max(shift_range, 1))
        scale = side if max(sizes) < 1 else 1
        choices = [float(sign * size * scale) for size in sizes for sign in (-1, 1)]
        return tf.gather(tf.constant(choices, tf.float64), tf.cast(uniform * len(choices), tf.int32))
    limit = shift_range * side if shift_range < 1 else shift_range
    return _between(uniform, -limit, limit)


def _moves(augmentation: Augmentation) -> bool:
    still = Augmentation()
    names = ("rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_limits")
    names += ("horizontal_flip", "vertical_flip", "crop_scale", "policy")
    return any(getattr(augmentation, name) != getattr(still, name) for name in names)


def _resample(pixels: tf.Tensor, matrices: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    if augmentation.fill_mode == "wrap":
        return _resample_wrapped(pixels, matrices)
    height, width = _sides(pixels)
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels,
        transforms=tf.cast(tf.reshape(matrices, [-1, 9])[:, :8], tf.float32),
        output_shape=[height, width],
        interpolation="BILINEAR",
        fill_mode="REFLECT" if augmentation.fill_mode == "reflect" else "NEAREST",
        fill_value=0.0,
    )
    if augmentation.fill_mode == "constant":
        # The op's own CONSTANT blends the edge with the constant over one pixel; ImageDataGenerator's does not.
        x, y = _source_coordinates(matrices, (height, width))
        inside = _inside(x, width) & _inside(y, height)
        warped = tf.where(tf.expand_dims(inside, -1), warped, tf.constant(augmentation.cval, tf.float32))
    return warped


def _resample_wrapped(pixels: tf.Tensor, matrices: tf.Tensor) -> tf.Tensor:
    # The op's own WRAP has another period than ImageDataGenerator's, and none at all beyond the first repetition.
    height, width = _sides(pixels)
    x, y = _source_coordinates(matrices, (height, width))
    x, left, right = _wrapped(x, width)
    y, top, bottom = _wrapped(y, height)
    flat = tf.reshape(pixels, [-1, height * width, 3])
    pixel = lambda row, column: tf.gather(flat, row * width + column, batch_dims=1)  # noqa: E731
    upper = pixel(top, left) * (1 - x) + pixel(top, right) * x
    lower = pixel(bottom, left) * (1 - x) + pixel(bottom, right) * x
    return upper * (1 - y) + lower * y


def _sides(pixels: tf.Tensor) -> tuple[int, int]:
    return cast(tuple[int, int], tuple(pixels.shape[1:3]))  # static, see `apply_parameters`


def _source_coordinates(matrices: tf.Tensor, image_size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    height, width = image_size
    matrices = tf.cast(matrices, tf.float32)[:, :, :, None, None]
    columns = tf.range(width, dtype=tf.float32)[None, None, :]
    rows = tf.range(height, dtype=tf.float32)[None, :, None]
    x, y = (matrices[:, axis, 0] * columns + matrices[:, axis, 1] * rows + matrices[:, axis, 2] for axis in (0, 1))
    return x, y


def _inside(coordinate: tf.Tensor, side: int) -> tf.Tensor:
    # A thousandth of a pixel outside is rounding: a quarter turn must not lose its edge.
    return (coordinate >= -1e-3) & (coordinate <= side - 1 + 1e-3)


def _wrapped(coordinate: tf.Tensor, side: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    # The period is one pixel short of the side: the last pixel lies on the first of the next repetition.
    inside = tf.clip_by_value(coordinate, 0.0, side - 1.0)
    coordinate = tf.where(_inside(coordinate, side), inside, tf.math.floormod(coordinate, max(side - 1.0, 1.0)))
    first = tf.minimum(tf.floor(coordinate), max(side - 2.0, 0.0))
    index = tf.cast(first, tf.int32)
    return (coordinate - first)[..., None], index, tf.minimum(index + 1, side - 1)
