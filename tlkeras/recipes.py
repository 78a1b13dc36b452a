"""Recipes by their names: each gives a `tl.Tuner`, of which any field can be given in place of its own.

    tl.recipes.linear_probe("mobilenetv2")   seconds where features are kept: what a frozen network knows
    tl.recipes.two_phase("vgg16")            what the replicated documents do
    tl.recipes.fine_tune("mobilenetv2")      all layers learn, from the solved head on
    tl.recipes.strong("xception")            the same three times as long, with more that changes the images

Importing this module loads no TensorFlow.
"""

from __future__ import annotations

from typing import Any

from tlkeras.data.augmentation import Augmentation
from tlkeras.models.backbones import Backbone
from tlkeras.models.head import Head
from tlkeras.training.averaging import EMA
from tlkeras.training.linear_probe import LinearProbe
from tlkeras.training.loss import Loss
from tlkeras.training.phase import Phase
from tlkeras.training.tuner import Tuner

LINEAR = Head(hidden=(), dropout=0.0, pooling="avg")


def linear_probe(backbone: str | Backbone, **fields: Any) -> Tuner:
    """One linear layer on the pooled features of the frozen network, solved; see `tl.LinearProbe`."""
    return _tuner(backbone, fields, head=LINEAR, phases=LinearProbe())


def two_phase(backbone: str | Backbone, **fields: Any) -> Tuner:
    """A dense head on all positions, 10 epochs on the frozen network, then 10 of everything at a tenth of the rate."""
    phases = (Phase(10, 1e-4), Phase(10, 1e-5, unfreeze="all"))
    return _tuner(backbone, fields, head=Head(hidden=(128,), dropout=0.5, pooling="flatten"), phases=phases)


def fine_tune(backbone: str | Backbone, **fields: Any) -> Tuner:
    """The solved linear head, then 12 epochs (at least 300 steps) of all layers but BatchNorm: Adam at 3e-4, one epoch
    rising, the others falling along a cosine, flips left and right, the last weights."""
    phase = Phase(12, 3e-4, unfreeze="all", schedule="cosine", warmup=1, least_steps=300, keep="last")
    return _tuner(
        backbone,
        fields,
        head=LINEAR,
        phases=(LinearProbe(), phase),
        augmentation=Augmentation(horizontal_flip=True),
    )


def strong(backbone: str | Backbone, **fields: Any) -> Tuner:
    """`fine_tune` for 36 epochs (at least 1,000 steps), with turns, zooms and brightness beside the flips, smoothed
    labels, and averaged weights."""
    phase = Phase(
        36, 3e-4, unfreeze="all", schedule="cosine", warmup=1, least_steps=1000, keep="last", average=EMA(0.99)
    )
    augmentation = Augmentation(horizontal_flip=True, rotation_range=20, zoom_range=0.1, brightness_range=(0.9, 1.1))
    return _tuner(
        backbone,
        fields,
        head=LINEAR,
        phases=(LinearProbe(), phase),
        augmentation=augmentation,
        loss=Loss(label_smoothing=0.1),
    )


def _tuner(backbone: str | Backbone, fields: dict[str, Any], **own: Any) -> Tuner:
    return Tuner(backbone, **(own | fields))
