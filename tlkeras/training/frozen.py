"""Which layers of a model run once per image: the cut of each phase, which features one pass can give, and whether they
can be kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tlkeras.backend import keras
from tlkeras.machine import format_size
from tlkeras.models.cut import Cut, cut
from tlkeras.progress import say
from tlkeras.schema import Samples
from tlkeras.training.feature_store import FeatureStore, output_layer
from tlkeras.training.linear_probe import AnyPhase
from tlkeras.training.tuner import Tuner


@dataclass(frozen=True, eq=False)
class Frozen:
    """What a phase need not compute again.

    Attributes:
        cut: the model in two parts, for this phase.
        trunks: the cut's trunk, then those of later phases that no phase until then changes: the same pass over the
            pixels computes the features of all of them.
    """

    cut: Cut
    trunks: tuple[keras.Model, ...]


def find_frozen(
    model: keras.Model,
    phases: Sequence[AnyPhase],
    set_phase: Callable[[AnyPhase], object],
    has_room: Callable[[tuple[keras.Model, ...]], bool],
) -> list[Frozen | None]:
    """One entry per phase, None where the phase has to run the whole model.

    Args:
        model: as `build_classifier` made it.
        phases: what will be trained, in order.
        set_phase: sets the model's trainable flags for a phase; they stay those of the last one.
        has_room: whether the features of these trunks can be kept.
    """
    cuts, learning = [], []
    for phase in phases:
        set_phase(phase)
        found = cut(model)
        cuts.append(found if found is not None and has_room((found.trunk,)) else None)
        learning.append({layer.name for layer in model.layers if layer.weights and layer.trainable})
    return [
        None if now is None else Frozen(now, _together(number, cuts, learning, has_room))
        for number, now in enumerate(cuts)
    ]


def _together(number, cuts, learning, has_room) -> tuple[keras.Model, ...]:
    trunks, layers = (cuts[number].trunk,), {cuts[number].layer}
    changed = set(learning[number])
    for later in range(number + 1, len(cuts)):
        found = cuts[later]
        if found is not None and found.layer not in layers:
            unchanged = changed.isdisjoint(layer.name for layer in found.trunk.layers)
            if unchanged and has_room((*trunks, found.trunk)):
                trunks, layers = (*trunks, found.trunk), layers | {found.layer}
        changed |= learning[later]
    return trunks


def can_be_kept(
    trunks: Sequence[keras.Model],
    store: FeatureStore | None,
    recipe: Tuner,
    train: Samples,
    val: Samples | None,
    watched: Samples | None,
) -> bool:
    """Whether the features of the images that stay the same from epoch to epoch can be kept; says where not."""
    if store is None:
        return False
    n_images = _n_rows(recipe, train, val) + (0 if watched is None else len(watched))
    has_room = store.has_room(trunks, n_images, recipe.feature_dtype)
    if not has_room and len(trunks) == 1:  # several together are only a saving
        say(
            f"features up to {output_layer(trunks[0])} of {n_images:,} images are more than the feature store may hold "
            f"({format_size(store.limit)}) or the disk has free: they are computed in every epoch"
        )
    return has_room


def _n_rows(recipe: Tuner, train: Samples, val: Samples | None) -> int:
    """How many different inputs a fit shows that come again in later epochs."""
    n_train, n_val = len(train), 0 if val is None else len(val)
    if recipe.augmentation is None:
        return n_train + n_val
    if recipe.imbalance in ("oversample", "balanced_sampling"):
        counts = np.array([count for count in train.class_counts().values() if count])
        shown = counts.max() if recipe.imbalance == "oversample" else math.ceil(n_train / len(counts))
        # Each showing of an image in an epoch is a view of its own.
        n_train = int((counts * np.ceil(shown / counts)).sum())
    views = recipe.augmentation.views or 0  # where they are drawn anew, none comes again
    return views * n_train + (views if recipe.augment_val else 1) * n_val
