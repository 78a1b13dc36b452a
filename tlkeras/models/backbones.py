"""The table of backbones: who builds each, what it wants to see, where its stages begin, where its weights lie.

Declarations: importing this module loads no Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar

from tlkeras.checks import Constraint, check_fields, flag, is_whole, one_of, whole
from tlkeras.errors import InputError
from tlkeras.models.resnet18 import resnet18

if TYPE_CHECKING:
    import keras

# Layers with these prefixes are ours; every other layer of a model, its input apart, belongs to the backbone.
PREPROCESSING_PREFIX = "preprocess_"
HEAD_PREFIX = "head_"

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

    def build(self, input_tensor: keras.KerasTensor) -> keras.KerasTensor:
        """Features (B, h, w, channels) of preprocessed images (B, H, W, 3); the weights are random."""
        from tlkeras.backend import keras

        constructor, arguments = self.constructor, dict(self.arguments)
        if isinstance(constructor, str):
            constructor, arguments["include_top"] = getattr(keras.applications, constructor, None), False
        if not callable(constructor):
            raise InputError(
                f"Backbone.constructor of {self.name}: received {self.constructor!r}; accepted is the name of a "
                "function in keras.applications, or a callable."
            )
        built = constructor(input_tensor=input_tensor, weights=None, **arguments)
        return built.output if isinstance(built, keras.Model) else built


def get_backbone(backbone: str | Backbone) -> Backbone:
    """The row of that name; a Backbone is returned as it is."""
    if isinstance(backbone, Backbone):
        return backbone
    if not isinstance(backbone, str) or backbone not in BACKBONES:
        near = get_close_matches(str(backbone), BACKBONES, n=3)
        raise InputError(
            f"backbone: received {backbone!r}; accepted: {', '.join(BACKBONES)}, or a tl.Backbone of your own."
            + (f" Near: {', '.join(near)}." if near else "")
        )
    return BACKBONES[backbone]


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


def _published(folder: str, file: str, md5: str | None = None) -> PublishedWeights:
    url = f"https://storage.googleapis.com/tensorflow/keras-applications/{folder}/{file}"
    return PublishedWeights(file=file, url=url, md5=md5)


def _stages(*first_layers: str | int) -> dict[str, str | int]:
    return {f"block{number}": layer for number, layer in enumerate(first_layers, start=1)}


_SUFFIX = "weights_tf_dim_ordering_tf_kernels"
_VGG = {
    "preprocessing": "caffe",
    "native_size": 224,
    "stages": _stages("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"),
    "paper": "Simonyan & Zisserman 2015, arXiv:1409.1556",
}
_MOBILENETV2 = {
    "constructor": "MobileNetV2",
    "preprocessing": "symmetric",
    "native_size": 224,
    "stages": _stages("Conv1", "block_1_expand", "block_3_expand", "block_6_expand", "block_13_expand"),
    "paper": "Sandler et al. 2018, arXiv:1801.04381",
}
_MOBILENETV3 = {"preprocessing": "none", "native_size": 224, "paper": "Howard et al. 2019, arXiv:1905.02244"}

# Every network has five stages, and each halves height and width once: block s leaves 1/2**s of the image. They begin
# where the network's own units do, at a tensor that everything passes through (so never inside a residual branch); a
# pooling or transition that lies between two units opens the later one, except in VGG, whose blocks end with it.
# MobileNetV2 and MobileNet: always the file trained at 224 pixels, whatever the image size. At 96 to 192 pixels Keras
# would take another one, trained separately. It publishes no hash for these two families.
BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            name="vgg16",
            constructor="VGG16",
            weights=(_published("vgg16", f"vgg16_{_SUFFIX}_notop.h5", "6d6bbae143d832006294945121d1f1fc"),),
            **_VGG,
        ),
        Backbone(
            name="vgg19",
            constructor="VGG19",
            weights=(_published("vgg19", f"vgg19_{_SUFFIX}_notop.h5", "253f8cb515780f3b799900260a226db6"),),
            **_VGG,
        ),
        Backbone(
            name="resnet18",
            constructor=resnet18,
            preprocessing="imagenet",
            native_size=224,
            stages=_stages(
                "conv1_pad", "maxpool_pad", "layer2_0_conv1_pad", "layer3_0_conv1_pad", "layer4_0_conv1_pad"
            ),
            paper="He et al. 2016, arXiv:1512.03385",
            weights=(
                PublishedWeights(
                    "resnet18-f37072fd.pth",
                    url="https://download.pytorch.org/models/resnet18-f37072fd.pth",
                    sha256_prefix="f37072fd",
                ),
            ),
            torch_names=True,
        ),
        Backbone(
            name="resnet50",
            constructor="ResNet50",
            preprocessing="caffe",
            native_size=224,
            stages=_stages(
                "conv1_pad", "pool1_pad", "conv3_block1_1_conv", "conv4_block1_1_conv", "conv5_block1_1_conv"
            ),
            paper="He et al. 2016, arXiv:1512.03385",
            weights=(_published("resnet", f"resnet50_{_SUFFIX}_notop.h5", "4d473c1dd8becc155b73f8504c6f6626"),),
        ),
        Backbone(
            name="inceptionv3",
            constructor="InceptionV3",
            preprocessing="symmetric",
            native_size=299,
            # conv2d, max_pooling2d, max_pooling2d_1, and the first layers of modules mixed3 and mixed8
            stages=_stages(0, 9, 16, 86, 228),
            paper="Szegedy et al. 2016, arXiv:1512.00567",
            min_size=75,
            weights=(
                _published("inception_v3", f"inception_v3_{_SUFFIX}_notop.h5", "bcbd6486424b2319ff4ef7d526e38f63"),
            ),
        ),
        Backbone(
            name="xception",
            constructor="Xception",
            preprocessing="symmetric",
            native_size=299,
            # The paper's blocks 1, 2, 3, 4 to 12, 13 and 14.
            stages=_stages(
                "block1_conv1", "block2_sepconv1", "block3_sepconv1_act", "block4_sepconv1_act", "block13_sepconv1_act"
            ),
            paper="Chollet 2017, arXiv:1610.02357",
            min_size=71,
            weights=(_published("xception", f"xception_{_SUFFIX}_notop.h5", "b0042744bf5b25fce3cb969f33bebb97"),),
        ),
        Backbone(
            name="densenet201",
            constructor="DenseNet201",
            preprocessing="imagenet",
            native_size=224,
            # zero_padding2d, zero_padding2d_1 before pool1, and the transitions before the later dense blocks
            stages=_stages(0, 4, "pool2_bn", "pool3_bn", "pool4_bn"),
            paper="Huang et al. 2017, arXiv:1608.06993",
            weights=(_published("densenet", f"densenet201_{_SUFFIX}_notop.h5", "c13680b51ded0fb44dff2d8f86ac8bb1"),),
        ),
        Backbone(
            name="mobilenetv2",
            weights=(
                _published("mobilenet_v2", f"mobilenet_v2_{_SUFFIX}_1.0_224_no_top.h5"),
                PublishedWeights("mobilenet_v2_1.0_224_no_top.bn_folded.h5", batch_norm_folded=True),
            ),
            **_MOBILENETV2,
        ),
        Backbone(
            name="mobilenetv2_050",
            arguments={"alpha": 0.5},
            weights=(_published("mobilenet_v2", f"mobilenet_v2_{_SUFFIX}_0.5_224_no_top.h5"),),
            **_MOBILENETV2,
        ),
        Backbone(
            name="mobilenetv2_035",
            arguments={"alpha": 0.35},
            weights=(_published("mobilenet_v2", f"mobilenet_v2_{_SUFFIX}_0.35_224_no_top.h5"),),
            **_MOBILENETV2,
        ),
        Backbone(
            name="mobilenetv3small",
            constructor="MobileNetV3Small",
            stages=_stages(
                0,  # its own rescaling
                "expanded_conv_depthwise_pad",
                "expanded_conv_1_expand",
                "expanded_conv_3_expand",
                "expanded_conv_8_expand",
            ),
            weights=(
                _published(
                    "mobilenet_v3",
                    "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
                    "d3e8ec802a04aa4fc771ee12a9a9b836",
                ),
            ),
            **_MOBILENETV3,
        ),
        Backbone(
            name="mobilenetv3large",
            constructor="MobileNetV3Large",
            stages=_stages(
                0,  # its own rescaling
                "expanded_conv_1_expand",
                "expanded_conv_3_expand",
                "expanded_conv_6_expand",
                "expanded_conv_12_expand",
            ),
            weights=(
                _published(
                    "mobilenet_v3",
                    "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
                    "07fb09a5933dd0c8eaafa16978110389",
                ),
            ),
            **_MOBILENETV3,
        ),
        Backbone(
            name="mobilenet_025",
            constructor="MobileNet",
            preprocessing="symmetric",
            native_size=224,
            arguments={"alpha": 0.25},
            stages=_stages("conv1", "conv_pad_2", "conv_pad_4", "conv_pad_6", "conv_pad_12"),
            paper="Howard et al. 2017, arXiv:1704.04861",
            weights=(_published("mobilenet", "mobilenet_2_5_224_tf_no_top.h5"),),
        ),
    )
}
