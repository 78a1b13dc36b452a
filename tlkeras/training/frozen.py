"""Which layers of a model run once per image: the cut of each phase, and which features one pass can give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras

from tlkeras.models.cut import Cut, cut
from tlkeras.training.tuner import Phase


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
    phases: Sequence[Phase],
    set_phase: Callable[[Phase], object],
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
