"""What a recipe's network computes in: chosen by the clock where asked, its cost in accuracy measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tlkeras.backend import keras
from tlkeras.data.pipeline import decoded_batches
from tlkeras.models.layers import copy_weights
from tlkeras.progress import say
from tlkeras.schema import Precision, Samples
from tlkeras.training.tuned_classifier import TunedClassifier
from tlkeras.training.tuner import Tuner

# What bfloat16 has to take of float32's time to be chosen: near a tie the next run would choose otherwise.
MARGIN = 0.9
_REPEATS = 3


def milliseconds_per_image(build: Callable[[str], keras.Model], pixels: np.ndarray) -> dict[str, float]:
    """How long a forward pass takes in float32 and in bfloat16 here and now, the fastest of three.

    Which is faster depends on the network and the machine: bfloat16 helps large dense convolutions on processors that
    know it and slows depthwise ones down.

    Args:
        build: makes the model for a precision.
        pixels: one batch, (b, H, W, 3) in [0, 255].

    Returns:
        {precision: milliseconds}.
    """
    found = {}
    for precision in ("float32", "bfloat16"):
        model, batch = build(precision), keras.ops.cast(pixels, "float32")
        model.predict_on_batch(batch)  # the first call also compiles
        seconds = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            model.predict_on_batch(batch)
            seconds.append(time.perf_counter() - start)
        found[precision] = 1000 * min(seconds) / len(pixels)
    return found


def faster(milliseconds: dict[str, float]) -> str:
    """The precision "auto" stands for, by what a forward pass takes in each."""
    return "bfloat16" if milliseconds["bfloat16"] < MARGIN * milliseconds["float32"] else "float32"


def choose_precision(recipe: Tuner, train: Samples, build: Callable[[str], keras.Model]) -> Precision:
    """The precision a recipe names; for "auto" bfloat16 if it is at least a tenth faster on the first batch.

    `build` makes the recipe's model for a precision.
    """
    if recipe.precision != "auto":
        return Precision(recipe.precision)
    images = train.take(np.arange(min(recipe.batch_size, len(train))))
    measured = milliseconds_per_image(
        build, next(decoded_batches(images, recipe.image_size, len(images), resize=recipe.resize))
    )
    name = faster(measured)
    said = ", ".join(f"{precision} {value:.2f} ms" for precision, value in measured.items())
    say(f"precision: {name} (forward pass per image: {said})")
    return Precision(name, milliseconds=measured)


def compared_with_float32(
    classifier: TunedClassifier,
    build: Callable[[str], keras.Model],
    val: Samples | None,
) -> Precision:
    """The classifier's precision with what it costs: its validation accuracy, and that of its weights in float32.

    Without validation samples, and in float32, there is nothing to compare.
    """
    name = classifier.precision.name
    if name == "float32" or val is None:
        return classifier.precision
    exact = build("float32")
    copy_weights(classifier.model, exact)
    reference = replace(classifier, model=exact)
    ours, theirs = (float(each.predict(val).correct.mean()) for each in (classifier, reference))
    say(f"validation accuracy {ours:.4f} in {name}, {theirs:.4f} with the same weights in float32")
    return replace(classifier.precision, val_accuracy=ours, val_accuracy_float32=theirs)
