"""TrivialAugment and RandAugment as TensorFlow ops: what each image draws, its affine maps, its colours.

The fourteen operations, and the ends of their ranges, are those of the papers as torchvision has them (Müller & Hutter
2021, table 1, "wide"; Cubuk et al. 2020). Maps are about the image's centre and go into the warp's one resampling;
what changes colours comes after it, in the order drawn, on grey levels that keep their fractions.
"""

import math
from typing import NamedTuple, cast

from tlkeras.backend import tf
from tlkeras.data.augmentation import Augmentation, RandAugment

OPERATIONS = (
    *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast"),
    *("sharpness", "posterize", "solarize", "autocontrast", "equalize"),
)
MAPS, COLOURS = OPERATIONS[1:6], OPERATIONS[6:]
BINS = 31  # magnitudes are 0..30
# The largest values: part of the other side, pixels or part of the side, degrees, part more or less, bits taken.
_WIDE = {"shear": 0.99, "translate": 32.0, "rotate": 135.0, "blend": 0.99, "posterize": 6.0}
_RAND = {"shear": 0.3, "translate": 150 / 331, "rotate": 30.0, "blend": 0.9, "posterize": 4.0}
_GREY = (0.299, 0.587, 0.114)
# PIL's filter SMOOTH, which leaves the outermost pixels.
_SMOOTH = [[1 / 13, 1 / 13, 1 / 13], [1 / 13, 5 / 13, 1 / 13], [1 / 13, 1 / 13, 1 / 13]]


class PolicyDraws(NamedTuple):
    """What was drawn for b images of n operations each, in the order they act."""

    operation: tf.Tensor  # int32 (b, n), into OPERATIONS
    part: tf.Tensor  # float64 (b, n), magnitude as a part of the largest, 0..1
    sign: tf.Tensor  # float64 (b, n), -1 or 1, of what goes both ways


def n_operations(augmentation: Augmentation) -> int:
    """How many operations each image gets."""
    if augmentation.policy is None:
        return 0
    return augmentation.policy.operations if isinstance(augmentation.policy, RandAugment) else 1


def draws_of(augmentation: Augmentation, uniform: tf.Tensor) -> PolicyDraws:
    """The draws that uniform numbers in [0, 1), float64 (b, n, 3), stand for."""
    which, how_much, way = tf.unstack(uniform, axis=-1)
    operation = tf.cast(which * len(OPERATIONS), tf.int32)
    if isinstance(augmentation.policy, RandAugment):
        part = tf.fill(tf.shape(operation), tf.constant(augmentation.policy.magnitude / (BINS - 1), tf.float64))
    else:
        part = tf.floor(how_much * BINS) / (BINS - 1)
    return PolicyDraws(
        operation, part, tf.where(way < 0.5, tf.constant(-1.0, tf.float64), tf.constant(1.0, tf.float64))
    )


def policy_matrices(draws: PolicyDraws, augmentation: Augmentation, image_size: tuple[int, int]) -> tf.Tensor:
    """From each pixel of the result to the one that all maps of an image bring there: float64 (b, 3, 3), as in
    `warp.transform_matrices`."""
    height, width = image_size
    ends = _ends(augmentation)
    amount = draws.part * draws.sign
    zero, one = tf.zeros_like(amount), tf.ones_like(amount)

    def drawn(name: str, largest: float) -> tf.Tensor:
        return tf.where(draws.operation == OPERATIONS.index(name), amount * largest, zero)

    angle = drawn("rotate", ends["rotate"]) * (math.pi / 180)
    # Pixels where the paper counts pixels, parts of the side where it counts these.
    across, down = (1, 1) if augmentation.policy == "trivial" else (width, height)
    shift_x, shift_y = (
        drawn("translate_x", ends["translate"] * across),
        drawn("translate_y", ends["translate"] * down),
    )
    shear_x, shear_y = drawn("shear_x", ends["shear"]), drawn("shear_y", ends["shear"])
    # Of one operation all but one of these are 0, so that they add.
    xx, xy = tf.cos(angle), shear_x - tf.sin(angle)
    yx, yy = shear_y + tf.sin(angle), tf.cos(angle)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    x = centre_x + shift_x - xx * centre_x - xy * centre_y
    y = centre_y + shift_y - yx * centre_x - yy * centre_y
    each = tf.stack([xx, xy, x, yx, yy, y, zero, zero, one], axis=-1)
    each = tf.reshape(each, [-1, n_operations(augmentation), 3, 3])
    together = each[:, 0]
    for number in range(1, n_operations(augmentation)):
        together = together @ each[:, number]
    return together


def apply_colours(pixels: tf.Tensor, draws: PolicyDraws, augmentation: Augmentation) -> tf.Tensor:
    """The images after what changes their colours: float32 (b, H, W, 3) in [0, 255], of such images."""
    ends = _ends(augmentation)
    n = n_operations(augmentation)

    @tf.autograph.experimental.do_not_convert
    def one_image(given):
        image, operation, part, sign = given
        for number in range(n):
            image = _recoloured(image, operation[number], part[number], sign[number], ends)
        return image

    return tf.map_fn(one_image, (pixels, *draws), fn_output_signature=tf.TensorSpec(pixels.shape[1:], tf.float32))


def _ends(augmentation: Augmentation) -> dict[str, float]:
    return _RAND if isinstance(augmentation.policy, RandAugment) else _WIDE


def _recoloured(image: tf.Tensor, operation: tf.Tensor, part: tf.Tensor, sign: tf.Tensor, ends: dict) -> tf.Tensor:
    part, factor = tf.cast(part, tf.float32), tf.cast(1 + part * sign * ends["blend"], tf.float32)
    bits = tf.round(part * ends["posterize"])
    step = 2.0**bits
    acts = {
        "brightness": lambda: _blend(tf.zeros_like(image), image, factor),
        "color": lambda: _blend(_grey(image), image, factor),
        "contrast": lambda: _blend(tf.reduce_mean(_grey(image)), image, factor),
        "sharpness": lambda: _blend(_smooth(image), image, factor),
        "posterize": lambda: tf.floor(image / step) * step,
        "solarize": lambda: tf.where(image < 255 * (1 - part), image, 255 - image),
        "autocontrast": lambda: _stretched(image),
        "equalize": lambda: _equalized(image),
    }
    first = OPERATIONS.index(COLOURS[0])
    return tf.switch_case(tf.maximum(operation - first, -1) + 1, [lambda: image, *(acts[name] for name in COLOURS)])


def _blend(other: tf.Tensor, image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(other + factor * (image - other), 0.0, 255.0)


def _grey(image: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(image * tf.constant(_GREY), axis=-1, keepdims=True)


def _smooth(image: tf.Tensor) -> tf.Tensor:
    kernel = tf.constant(_SMOOTH)[:, :, None, None] * tf.ones([1, 1, 3, 1])
    inner = tf.nn.depthwise_conv2d(image[None], kernel, [1, 1, 1, 1], "VALID")[0]
    height, width = cast(tuple[int, int], tuple(image.shape[:2]))  # static, as in the warp
    rows, columns = tf.range(height)[:, None, None], tf.range(width)[None, :, None]
    inside = (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
    return tf.where(inside, tf.pad(inner, [[1, 1], [1, 1], [0, 0]]), image)


def _stretched(image: tf.Tensor) -> tf.Tensor:
    low, high = tf.reduce_min(image, (0, 1)), tf.reduce_max(image, (0, 1))
    return tf.where(high > low, (image - low) * 255 / tf.maximum(high - low, 1e-3), image)


def _equalized(image: tf.Tensor) -> tf.Tensor:
    """PIL's: each channel by its own histogram of whole grey levels."""
    channels = []
    for given in tf.unstack(image, axis=-1):
        level = tf.cast(tf.round(given), tf.int32)
        counts = tf.math.bincount(tf.reshape(level, [-1]), minlength=256, maxlength=256)
        step = (tf.reduce_sum(counts) - counts[tf.reduce_max(level)]) // 255
        table = (step // 2 + tf.cumsum(counts, exclusive=True)) // tf.maximum(step, 1)
        equal = tf.cast(tf.gather(tf.clip_by_value(table, 0, 255), level), tf.float32)
        channels.append(tf.where(step > 0, equal, given))
    return tf.stack(channels, axis=-1)
