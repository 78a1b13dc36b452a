"""Several networks, or several views of an image, averaged into one: a classifier like any other.

The average is a network of its own around the members' layers, so that it predicts, explains, saves and exports by the
doors that are there. Probabilities are averaged (Lakshminarayanan et al., NeurIPS 2017).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

from tlkeras.backend import keras
from tlkeras.checks import check_whole
from tlkeras.errors import InputError
from tlkeras.models.layers import functional_model
from tlkeras.schema import Precision
from tlkeras.training.tuned_classifier import TunedClassifier

# As parts of the side: a view moves no further than a network's own augmentation usually does.
_SHIFT = 1 / 16
# (mirrored, steps down, steps right) of each view, in this order.
_STEPS = ((0, 0), (0, -1), (0, 1), (-1, 0), (1, 0))
VIEWS = tuple((mirrored, *step) for step in _STEPS for mirrored in (False, True))


def Ensemble(classifiers: Sequence[TunedClassifier]) -> TunedClassifier:
    """The average of several classifiers' probabilities: of seeds, folds or backbones.

    It is one network: `predict`, `tl.explain`, `save` and `tlkeras export` work on it, and `tl.load` reads it again.
    Its layers are its members, so Grad-CAM and activations are asked of these.

    Args:
        classifiers: two or more TunedClassifiers of the same classes, image size, resizing and precision.

    Raises:
        InputError: fewer, others, or classifiers that differ in one of these.
    """
    members = tuple(classifiers)
    if len(members) < 2 or not all(isinstance(member, TunedClassifier) for member in members):
        raise InputError(
            f"classifiers: received {[type(member).__name__ for member in members]}; accepted are two or more "
            "tl.TunedClassifier, which are networks (of a Search its `classifier`); of others average the "
            "probabilities that they predict."
        )
    first = members[0]
    for name in ("class_names", "image_size", "resize", "precision"):
        found = [getattr(member, name) for member in members]
        if name == "precision":
            found = [precision.name for precision in found]
        if len(set(found)) > 1:
            received = " and ".join(map(str, dict.fromkeys(found)))
            raise InputError(f"classifiers: received {name} {received}; accepted is one.")
    pixels = keras.Input((*first.image_size, 3), name="pixels")
    models = _of_their_own([functional_model(member) for member in members])
    probs = [_renamed(model, f"member_{number}")(pixels) for number, model in enumerate(models, start=1)]
    average = keras.layers.Average(name="average", dtype="float32")(probs)
    return TunedClassifier(
        model=keras.Model(pixels, average, name=f"ensemble_of_{len(members)}"),
        class_names=first.class_names,
        image_size=first.image_size,
        precision=Precision(first.precision.name),
        images=first.images if all(member.images == first.images for member in members) else None,
        resize=first.resize,
    )


def with_views(classifier: TunedClassifier, views: int, *, flips: str = "horizontal") -> TunedClassifier:
    """A classifier that averages the probabilities of several views of each image (test-time augmentation).

    The first view is the image, the second its mirror image; then come both shifted by a sixteenth of the side to the
    left, the right, up and down, edges repeated.

    Args:
        classifier: of which the layers are shared.
        views: how many, 1..10; with `flips="both"` twice as many are shown, each also upside down.
        flips: "horizontal", or "both" where images have no upper side, as under a microscope.

    Raises:
        InputError: an argument out of range.
    """
    views = check_whole("views", views, 1, len(VIEWS))
    if flips not in ("horizontal", "both"):
        raise InputError(f"flips: received {flips!r}; accepted: 'horizontal', 'both'.")
    if views == 1 and flips == "horizontal":
        return classifier
    height, width = classifier.image_size
    pixels = keras.Input((height, width, 3), name="pixels")
    network = _renamed(functional_model(classifier), "seen")
    probs = []
    for upside_down in (False, True) if flips == "both" else (False,):
        for mirrored, down, right in VIEWS[:views]:
            shown = _shifted(pixels, round(down * height * _SHIFT), round(right * width * _SHIFT))
            axes = [axis for axis, flipped in ((1, upside_down), (2, mirrored)) if flipped]
            probs.append(network(keras.ops.flip(shown, axes) if axes else shown))
    average = keras.layers.Average(name="average", dtype="float32")(probs)
    return replace(classifier, model=keras.Model(pixels, average, name=f"{classifier.model.name}_views"))


def _of_their_own(models: Sequence[keras.Model]) -> list[keras.Model]:
    """The models, copied where they hold a layer of an earlier one: Keras saves it once, and reads it as two."""
    seen: set[int] = set()
    apart = []
    for model in models:
        layers = {id(layer) for layer in model._flatten_layers(include_self=False)}
        apart.append(copy.deepcopy(model) if layers & seen else model)
        seen |= layers
    return apart


def _renamed(model: keras.Model, name: str) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
    """The same layers under another name: two networks in one cannot share theirs."""
    return keras.Model(model.input, model.output, name=name)


def _shifted(pixels: keras.KerasTensor, down: int, right: int) -> keras.KerasTensor:
    if not (down or right):
        return pixels
    before_after = [(max(by, 0), max(-by, 0)) for by in (down, right)]
    padded = keras.ops.pad(pixels, [(0, 0), *before_after, (0, 0)], mode="symmetric")
    return keras.layers.Cropping2D([(after, before) for before, after in before_after])(padded)
