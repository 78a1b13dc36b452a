"""A backbone: who builds it, what it wants to see, where its stages begin, where its weights lie.

Declarations: importing this module loads no Keras. The table of them is `zoo`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from tlkeras.checks import Constraint, check_fields, flag, is_whole, one_of, whole
from tlkeras.errors import InputError

if TYPE_CHECKING:
    import keras

# Layers with these prefixes are ours; every other layer of a model, its input apart, belongs to the backbone.
PREPROCESSING_PREFIX = "preprocess_"
HEAD_PREFIX = "head_"

HUB = "keras_hub."  # how the modules begin that hold keras-hub's layers

PREPROCESSING = ("unit", "symmetric", "imagenet", "caffe", "none")


@dataclass(frozen=True)
class PublishedWeights:
    """A weights file of a backbone trained on ImageNet; a classifier that it holds too is not read.

    Attributes:
        file: its name, in a weights folder and in Keras' cache.
        url: where it can be downloaded, or None.
        md5: the hash keras.applications publishes for it, or None where it publishes none.
        sha256_prefix: how the hash begins that PyTorch publishes, in the file's name, or None for other files.
        batch_norm_folded: BatchNorm lies folded in the kernels: the published network only while BatchNorm is frozen.
    """

    file: str
    url: str | None = None
    md5: str | None = None
    sha256_prefix: str | None = None
    batch_norm_folded: bool = False


@dataclass(frozen=True)
class Backbone:
    """A convolutional network without its classifier. One of your own works wherever a name of the table does.

    Attributes:
        name: what tables and error messages call it.
        constructor: the name of a function in keras.applications, or a callable of your own that is called as
            `constructor(input_tensor=tensor, weights=None, **arguments)` and puts plain layers on that tensor. It
            returns the features (B, h, w, channels), or a keras.Model that ends in them. Layer names must not begin
            with "preprocess_" or "head_".
        preprocessing: what it was trained to see, from RGB in 0..255: "unit" (0..1), "symmetric" (-1..1), "imagenet"
            (0..1, then ImageNet's mean and deviation), "caffe" (BGR minus ImageNet's mean), "none" (as it comes; the
            network scales inside).
        native_size: height and width of its ImageNet training images, in pixels.
        stages: {stage: its first layer}, in order, the first stage beginning with the first layer. A layer is a name,
            or its number among the backbone's layers where Keras makes up names that change from build to build.
        paper: who proposed it, and where.
        min_size: the smallest height and width it can take, in pixels.
        arguments: further arguments of the constructor.
        weights: its published files, the official one first.
        torch_names: its layers have the names of a PyTorch network's modules, with "_" in place of ".", and its weights
            can be read from that network's .pth, .pt and .safetensors files.
    """

    name: str
    constructor: str | Callable[..., keras.Model | keras.KerasTensor]
    preprocessing: str
    native_size: int
    stages: Mapping[str, str | int] = field(hash=False)
    paper: str = ""
    min_size: int = 32
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    weights: tuple[PublishedWeights, ...] = ()
    torch_names: bool = False

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "preprocessing": one_of(*PREPROCESSING),
        "native_size": whole(1).also(" (pixels)"),
        "min_size": whole(1).also(" (pixels)"),
        "torch_names": flag(),
    }

    def __post_init__(self):
        check_fields(self, self._accepts, f" of {self.name}")
        if not self.stages:
            raise InputError(f'Backbone.stages of {self.name}: there are none; a single one is {{"block1": 0}}.')

    @classmethod
    def from_hub(
        cls, preset: str | os.PathLike, *, tokens: str = "patches", preprocessing: str | None = None
    ) -> Backbone:
        """A network of keras-hub whose output is tokens: ViT, DeiT, DINOv2, DINOv3, Swin. Needs `tlkeras[hub]`.

        It is one stage: frozen, or learning as a whole, DINOv2's position embeddings apart. ViT and DeiT take images of
        the preset's size alone, DINOv2 and 3 squares. Its weights are kept in Keras' cache, and `weights="imagenet"`
        stands for them, whatever they were trained on.

        Args:
            preset: the folder of a preset (keras-hub's `save_to_preset`), or one of its names, such as
                "vit_base_patch16_224_imagenet" or "dinov2_small", which keras-hub downloads.
            tokens: what becomes of them: "patches" keeps those of the patches, as features (B, h, w, d) that a head
                pools and Grad-CAM shows; "class" the class token alone, (B, 1, 1, d).
            preprocessing: what it was trained to see, see above, for a preset that does not say so. Where it does, the
                network scales inside.

        Raises:
            InputError: keras-hub is not installed, the preset cannot be read, or is no such network.
        """
        from tlkeras.models.hub import from_hub

        return from_hub(preset, tokens=tokens, preprocessing=preprocessing)

    def build(self, input_tensor: keras.KerasTensor) -> keras.KerasTensor:
        """Features (B, h, w, channels) of preprocessed images (B, H, W, 3); the weights are random."""
        from tlkeras.backend import keras

        constructor: Any = self.constructor
        arguments = dict(self.arguments)
        if isinstance(constructor, str):
            constructor, arguments["include_top"] = getattr(keras.applications, constructor, None), False
        if not callable(constructor):
            raise InputError(
                f"Backbone.constructor of {self.name}: received {self.constructor!r}; accepted is the name of a "
                "function in keras.applications, or a callable."
            )
        built: Any = constructor(input_tensor=input_tensor, weights=None, **arguments)
        return built.output if isinstance(built, keras.Model) else built


def backbone_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The backbone's layers in `model`, in Keras' order, the same after saving and loading.

    Without the input, preprocessing and head.
    """
    from tlkeras.backend import keras

    return [
        layer
        for layer in model.layers
        if not isinstance(layer, keras.layers.InputLayer)
        and not layer.name.startswith((PREPROCESSING_PREFIX, HEAD_PREFIX))
    ]


def resolve_stages(backbone: Backbone, layers: Sequence[keras.layers.Layer]) -> dict[str, range]:
    """{stage: range of indices into `layers`}, in order; together they hold every layer once.

    Args:
        backbone: the row that names the stages.
        layers: what `backbone_layers` returned for a model built from it.

    Raises:
        InputError: a stage begins at a layer that the network does not have, or before the stage named ahead of it.
    """
    names = [layer.name for layer in layers]
    starts = []
    for stage, first in backbone.stages.items():
        index = names.index(first) if first in names else first
        if not is_whole(index) or not 0 <= index < len(layers):
            raise InputError(
                f"Backbone.stages of {backbone.name}: {stage} begins at {first!r}, but the network has no such layer "
                f"among its {len(layers)}: {names[0]} .. {names[-1]}."
            )
        starts.append(index)
    if starts[0] != 0 or sorted(set(starts)) != starts:
        raise InputError(
            f"Backbone.stages of {backbone.name}: they begin at layers {starts}; the first has to begin at 0, and each "
            "after the one before."
        )
    return {
        stage: range(start, end)
        for stage, start, end in zip(backbone.stages, starts, [*starts[1:], len(layers)], strict=True)
    }
