"""What a recipe's network computes in: chosen by the clock where asked, its cost in accuracy measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tlkeras.backend import keras
from tlkeras.data.pipeline import decoded_batches
from tlkeras.models.layers import copy_weights
from tlkeras.models.precision import milliseconds_per_image
from tlkeras.schema import Precision, Samples
from tlkeras.training.tuned_classifier import TunedClassifier
from tlkeras.training.tuner import Tuner

# What bfloat16 has to take of float32's time to be chosen: near a tie the next run would choose otherwise.
MARGIN = 0.9


def faster(milliseconds: dict[str, float]) -> str:
    """The precision "auto" stands for, by what a forward pass takes in each."""
    return "bfloat16" if milliseconds["bfloat16"] < MARGIN * milliseconds["float32"] else "float32"


def choose_precision(
    recipe: Tuner, train: Samples, build: Callable[[str], keras.Model], say: Callable[[str], None]
) -> Precision:
    """The precision a recipe names; for "auto" bfloat16 if it is at least a tenth faster on the first batch.

    `build` makes the recipe's model for a precision.
    """
    if recipe.precision != "auto":
        return Precision(recipe.precision)
    images = train.take(np.arange(min(recipe.batch_size, len(train))))
    measured = milliseconds_per_image(build, next(decoded_batches(images, recipe.image_size, len(images))))
    name = faster(measured)
    said = ", ".join(f"{precision} {value:.2f} ms" for precision, value in measured.items())
    say(f"precision: {name} (forward pass per image: {said})")
    return Precision(name, milliseconds=measured)


def compared_with_float32(
    classifier: TunedClassifier,
    build: Callable[[str], keras.Model],
    val: Samples | None,
    say: Callable[[str], None],
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
