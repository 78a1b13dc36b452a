"""Two training images as one: mixup and cutmix, labels mixed in the same parts, drawn from each image's own seed.

Image i of a batch of b is mixed with image b - 1 - i, which every batch in a new order makes another one.
"""

from collections.abc import Callable

from tlkeras.backend import tf
from tlkeras.data.augmentation import Augmentation
from tlkeras.data.warp import seed_for

_WAY, _PARTS = 3, 5  # what mixing draws is told apart by these from what the warp draws from the same seed
_LEAST = 1e-300  # a gamma of a small alpha may be 0, and two of them have no ratio


def build_mix(augmentation: Augmentation) -> Callable:
    """The function that mixes the images of a batch.

    Where both ways are asked for, each image takes one of them with probability 1/2.

    Returns:
        `mix(images, labels, seeds)`: float32 (b, H, W, 3), float32 (b, k) and int32 (b, 2)
        (`Augmentation.example_seeds`) to images and labels of the same shapes.
    """

    @tf.autograph.experimental.do_not_convert
    def mix(images, labels, seeds):
        height, width = images.shape[1:3]
        share, box = sample_mixes(augmentation, (height, width), seeds)
        rows, columns = tf.range(height)[None, :, None, None], tf.range(width)[None, None, :, None]
        top, left, bottom, right = (edge[:, None, None, None] for edge in tf.unstack(box, axis=1))
        pasted = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
        of_pixel = tf.where(pasted, 1.0, share[:, None, None, None])
        boxes = tf.cast((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]), tf.float32) / (height * width)
        of_label = (share + boxes * (1 - share))[:, None]  # of the two, one is always 0
        images += (images[::-1] - images) * of_pixel
        labels += (labels[::-1] - labels) * of_label
        return images, labels

    return mix


def sample_mixes(augmentation: Augmentation, image_size: tuple[int, int], seeds: tf.Tensor) -> tuple:
    """What each image's seed draws: how much of the partner every pixel takes, float32 (b,), and the box that is the
    partner's alone, int32 (b, 4): top, left, bottom, right.

    mixup (Zhang et al. 2018) takes 1 - l of the partner, l ~ Beta(alpha, alpha); cutmix (Yun et al. 2019) a box of
    1 - l of the area about any pixel, cut off at the edges.
    """
    height, width = image_size

    @tf.autograph.experimental.do_not_convert
    def one_image(seed):
        of_way, of_parts = (seed_for(seed, purpose) for purpose in (_WAY, _PARTS))
        way, row, column = tf.unstack(tf.random.stateless_uniform([3], of_way, alg="philox"))
        cuts = way < 0.5 if augmentation.mixup and augmentation.cutmix else bool(augmentation.cutmix)
        alpha = tf.cast(tf.where(cuts, float(augmentation.cutmix), float(augmentation.mixup)), tf.float64)
        gammas = tf.maximum(tf.random.stateless_gamma([2], of_parts, alpha, dtype=tf.float64), _LEAST)
        taken = tf.cast(gammas[1] / (gammas[0] + gammas[1]), tf.float32)
        half = tf.sqrt(taken) / 2
        box = [
            tf.clip_by_value(tf.cast(tf.round((at + sign * half) * side), tf.int32), 0, side)
            for sign in (-1, 1)
            for at, side in ((row, height), (column, width))
        ]
        return tf.where(cuts, 0.0, taken), tf.where(cuts, tf.stack(box), tf.zeros(4, tf.int32))

    return tf.map_fn(one_image, seeds, fn_output_signature=(tf.TensorSpec([]), tf.TensorSpec([4], tf.int32)))
