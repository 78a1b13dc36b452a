"""Sheets of images: what was predicted of each, and pairs that look alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlkeras.errors import InputError
from tlkeras.evaluation.plots import GREEN, VERMILLION
from tlkeras.user_text import in_figure


def draw_predictions_sheet(
    images: Sequence[np.ndarray], actual: Sequence[str], predicted: Sequence[str], axes: np.ndarray
) -> np.ndarray:
    """Images with their actual and predicted class names; right ones in green with a tick, wrong ones red with a cross.

    Args:
        images: n of (H, W, 3), RGB, 0..255.
        actual: n class names.
        predicted: n class names.
        axes: array of at least n Axes; those left over stay blank.
    """
    n, places = len(images), np.ravel(axes)
    if not n == len(actual) == len(predicted) <= len(places):
        raise InputError(
            f"received {n} images, {len(actual)} actual and {len(predicted)} predicted names and {len(places)} axes; "
            "accepted are as many names as images, and an Axes for each."
        )
    for ax in places:
        ax.set_axis_off()
    for ax, image, truth, guess in zip(places, images, actual, predicted, strict=False):
        right = truth == guess
        color = GREEN if right else VERMILLION
        ax.imshow(np.rint(image).astype(np.uint8))
        ax.set_axis_on()
        ax.set(xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set(color=color, linewidth=2)
        words = f"actual {in_figure(truth)}\n{'✓' if right else '✗'} predicted {in_figure(guess)}"
        ax.set_title(words, fontsize=7, color=color)
    return axes


def draw_pairs_sheet(
    images: Sequence[np.ndarray], names: Sequence[str], similarity: Sequence[float], axes: np.ndarray
) -> np.ndarray:
    """Pairs of images side by side, with what each is called and how alike they are.

    Args:
        images: 2 n of (H, W, 3), RGB, 0..255, the two of a pair behind each other.
        names: 2 n, of each image.
        similarity: n, of each pair.
        axes: rows of an even number of Axes, at least 2 n; those left over stay blank.
    """
    places = np.ravel(axes)
    if not len(images) == len(names) == 2 * len(similarity) <= len(places):
        raise InputError(
            f"received {len(images)} images, {len(names)} names, {len(similarity)} pairs and {len(places)} axes; "
            "accepted are two images and names of each pair, and an Axes for each."
        )
    for ax in places:
        ax.set_axis_off()
    for number, (ax, image, name) in enumerate(zip(places, images, names, strict=False)):
        ax.imshow(np.rint(image).astype(np.uint8))
        pair = number // 2
        ax.set_title(f"pair {pair + 1}: {similarity[pair]:.2f}\n{in_figure(name)}", fontsize=7)
    return axes
