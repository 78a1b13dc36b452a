"""The table of backbones: every network of keras.applications, and ResNet-18. A new one is a row.

Declarations: importing this module loads no Keras.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from tlkeras.errors import InputError
from tlkeras.models.backbones import Backbone, PublishedWeights
from tlkeras.models.efficientnet import efficientnet
from tlkeras.models.resnet18 import resnet18

_KERNELS = "weights_tf_dim_ordering_tf_kernels"
_GOOGLE = "https://storage.googleapis.com"


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


def _published(folder: str, file: str, md5: str | None = None, sha256: str | None = None) -> tuple[PublishedWeights]:
    url = f"{_GOOGLE}/tensorflow/keras-applications/{folder}/{file}"
    return (PublishedWeights(file, url=url, md5=md5, sha256_prefix=sha256),)


def _stages(*first_layers: str | int) -> dict[str, str | int]:
    return {f"block{number}": layer for number, layer in enumerate(first_layers, start=1)}


# Every network has five stages, and each halves height and width once: block s leaves 1/2**s of the image; ConvNeXt's
# stem quarters it, and its block2 leaves it as it is. They begin where the network's own units do, at a tensor that
# everything passes through, so never inside a residual branch; NASNet has no such tensor, since its cells look back two
# cells: there they begin with the cells that reduce. A pooling or transition that lies between two units opens the
# later one, except in VGG, whose blocks end with it. A layer is given by its number where Keras makes up names that
# change from build to build.


def _vgg() -> Iterator[Backbone]:
    for name, md5 in (("VGG16", "6d6bbae143d832006294945121d1f1fc"), ("VGG19", "253f8cb515780f3b799900260a226db6")):
        yield Backbone(
            name=name.lower(),
            constructor=name,
            preprocessing="caffe",
            native_size=224,
            stages=_stages("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"),
            paper="Simonyan & Zisserman 2015, arXiv:1409.1556",
            weights=_published(name.lower(), f"{name.lower()}_{_KERNELS}_notop.h5", md5),
        )


def _resnet18() -> Iterator[Backbone]:
    file = "resnet18-f37072fd.pth"
    yield Backbone(
        name="resnet18",
        constructor=resnet18,
        preprocessing="imagenet",
        native_size=224,
        stages=_stages("conv1_pad", "maxpool_pad", "layer2_0_conv1_pad", "layer3_0_conv1_pad", "layer4_0_conv1_pad"),
        paper="He et al. 2016, arXiv:1512.03385",
        weights=(PublishedWeights(file, url=f"https://download.pytorch.org/models/{file}", sha256_prefix="f37072fd"),),
        torch_names=True,
    )


def _resnet() -> Iterator[Backbone]:
    for name, md5 in (
        ("ResNet50", "4d473c1dd8becc155b73f8504c6f6626"),
        ("ResNet101", "88cf7a10940856eca736dc7b7e228a21"),
        ("ResNet152", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    ):
        yield Backbone(
            name=name.lower(),
            constructor=name,
            preprocessing="caffe",
            native_size=224,
            stages=_stages(
                "conv1_pad", "pool1_pad", "conv3_block1_1_conv", "conv4_block1_1_conv", "conv5_block1_1_conv"
            ),
            paper="He et al. 2016, arXiv:1512.03385",
            weights=_published("resnet", f"{name.lower()}_{_KERNELS}_notop.h5", md5),
        )


def _resnet_v2() -> Iterator[Backbone]:
    # Here the last unit of a stack has the stride: it opens the later stage. {units in the second and third stack}
    for name, md5, second, third in (
        ("ResNet50V2", "fac2f116257151a9d068a22e544a4917", 4, 6),
        ("ResNet101V2", "c0ed64b8031c3730f411d2eb4eea35b5", 4, 23),
        ("ResNet152V2", "ed17cf2e0169df9d443503ef94b23b33", 8, 36),
    ):
        last_units = ("conv2_block3", f"conv3_block{second}", f"conv4_block{third}")
        yield Backbone(
            name=name.lower(),
            constructor=name,
            preprocessing="symmetric",
            native_size=224,
            stages=_stages("conv1_pad", "pool1_pad", *(f"{unit}_preact_bn" for unit in last_units)),
            paper="He et al. 2016, arXiv:1603.05027",
            weights=_published("resnet", f"{name.lower()}_{_KERNELS}_notop.h5", md5),
        )


def _inception() -> Iterator[Backbone]:
    yield Backbone(
        name="inceptionv3",
        constructor="InceptionV3",
        preprocessing="symmetric",
        native_size=299,
        # conv2d, max_pooling2d, max_pooling2d_1, and the first layers of modules mixed3 and mixed8
        stages=_stages(0, 9, 16, 86, 228),
        paper="Szegedy et al. 2016, arXiv:1512.00567",
        min_size=75,
        weights=_published("inception_v3", f"inception_v3_{_KERNELS}_notop.h5", "bcbd6486424b2319ff4ef7d526e38f63"),
    )
    yield Backbone(
        name="inceptionresnetv2",
        constructor="InceptionResNetV2",
        preprocessing="symmetric",
        native_size=299,
        # conv2d, max_pooling2d, max_pooling2d_1, and the first layers of modules mixed_6a and mixed_7a
        stages=_stages(0, 9, 16, 260, 594),
        paper="Szegedy et al. 2017, arXiv:1602.07261",
        min_size=75,
        weights=_published(
            "inception_resnet_v2", f"inception_resnet_v2_{_KERNELS}_notop.h5", "d19885ff4a710c122648d3b5c3b684e4"
        ),
    )


def _xception() -> Iterator[Backbone]:
    yield Backbone(
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
        weights=_published("xception", f"xception_{_KERNELS}_notop.h5", "b0042744bf5b25fce3cb969f33bebb97"),
    )


def _densenet() -> Iterator[Backbone]:
    for name, md5 in (
        ("DenseNet121", "30ee3e1110167f948a6b9946edeeb738"),
        ("DenseNet169", "b8c4d4c20dd625c148057b9ff1c1176b"),
        ("DenseNet201", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    ):
        yield Backbone(
            name=name.lower(),
            constructor=name,
            preprocessing="imagenet",
            native_size=224,
            # zero_padding2d, zero_padding2d_1 before pool1, and the transitions before the later dense blocks
            stages=_stages(0, 4, "pool2_bn", "pool3_bn", "pool4_bn"),
            paper="Huang et al. 2017, arXiv:1608.06993",
            weights=_published("densenet", f"{name.lower()}_{_KERNELS}_notop.h5", md5),
        )


def _mobilenet() -> Iterator[Backbone]:
    # Always the file trained at 224 pixels, whatever the image size: at 128 to 192 pixels Keras would take another one,
    # trained separately. It publishes no hash for this family, nor for the next.
    for width, file in ((1.0, "1_0"), (0.75, "7_5"), (0.5, "5_0"), (0.25, "2_5")):
        yield Backbone(
            name="mobilenet" if width == 1 else f"mobilenet_{100 * width:03.0f}",
            constructor="MobileNet",
            preprocessing="symmetric",
            native_size=224,
            arguments={} if width == 1 else {"alpha": width},
            stages=_stages("conv1", "conv_pad_2", "conv_pad_4", "conv_pad_6", "conv_pad_12"),
            paper="Howard et al. 2017, arXiv:1704.04861",
            weights=_published("mobilenet", f"mobilenet_{file}_224_tf_no_top.h5"),
        )


def _mobilenet_v2() -> Iterator[Backbone]:
    folded = PublishedWeights("mobilenet_v2_1.0_224_no_top.bn_folded.h5", batch_norm_folded=True)
    for width in (1.0, 0.75, 0.5, 0.35, 1.3, 1.4):
        yield Backbone(
            name="mobilenetv2" if width == 1 else f"mobilenetv2_{100 * width:03.0f}",
            constructor="MobileNetV2",
            preprocessing="symmetric",
            native_size=224,
            arguments={} if width == 1 else {"alpha": width},
            stages=_stages("Conv1", "block_1_expand", "block_3_expand", "block_6_expand", "block_13_expand"),
            paper="Sandler et al. 2018, arXiv:1801.04381",
            weights=_published("mobilenet_v2", f"mobilenet_v2_{_KERNELS}_{width}_224_no_top.h5")
            + (folded,) * (width == 1),
        )


def _mobilenet_v3() -> Iterator[Backbone]:
    for size, md5, units in (
        ("Small", "d3e8ec802a04aa4fc771ee12a9a9b836", ("_depthwise_pad", "_1_expand", "_3_expand", "_8_expand")),
        ("Large", "07fb09a5933dd0c8eaafa16978110389", ("_1_expand", "_3_expand", "_6_expand", "_12_expand")),
    ):
        yield Backbone(
            name=f"mobilenetv3{size.lower()}",
            constructor=f"MobileNetV3{size}",
            preprocessing="none",
            native_size=224,
            stages=_stages(0, *(f"expanded_conv{unit}" for unit in units)),  # 0: its own rescaling
            paper="Howard et al. 2019, arXiv:1905.02244",
            weights=_published("mobilenet_v3", f"weights_mobilenet_v3_{size.lower()}_224_1.0_float_no_top_v2.h5", md5),
        )


_EFFICIENTNET_UNITS = tuple(f"block{number}a_expand_conv" for number in (2, 3, 4, 6))


def _efficientnet() -> Iterator[Backbone]:
    for number, (side, md5) in enumerate(
        (
            (224, "50bc09e76180e00e4465e1a485ddc09d"),
            (240, "74c4e6b3e1f6a1eea24c589628592432"),
            (260, "111f8e2ac8aa800a7a99e3239f7bfb39"),
            (300, "af6d107764bb5b1abb91932881670226"),
            (380, "ebc24e6d6c33eaebbd558eafbeedf1ba"),
            (456, "38879255a25d3c92d5e44e04ae6cec6f"),
            (528, "9ecce42647a20130c1f39a5d4cb75743"),
            (600, "cbcfe4450ddf6f3ad90b1b398090fe4a"),
        )
    ):
        name = f"efficientnetb{number}"
        file = f"{name}_notop.h5"
        yield Backbone(
            name=name,
            constructor=efficientnet,
            preprocessing="none",
            native_size=side,
            arguments={"variant": f"EfficientNetB{number}"},
            stages=_stages(0, *_EFFICIENTNET_UNITS),  # 0: its own rescaling
            paper="Tan & Le 2019, arXiv:1905.11946",
            weights=(PublishedWeights(file, url=f"{_GOOGLE}/keras-applications/{file}", md5=md5),),
        )


def _efficientnet_v2() -> Iterator[Backbone]:
    for variant, side, md5 in (
        ("B0", 224, "893217f2bb855e2983157299931e43ff"),
        ("B1", 240, "0e80663031ca32d657f9caa404b6ec37"),
        ("B2", 260, "1dfe2e7a5d45b6632553a8961ea609eb"),
        ("B3", 300, "f6abf7b5849ac99a89b50dd3fd532856"),
        ("S", 384, "af0682fb74e8c54910f2d4393339c070"),
        ("M", 480, "1b8dc055df72dde80d614482840fe342"),
        ("L", 480, "b0b66b5c863aef5b46e8608fe1711615"),
    ):
        yield Backbone(
            name=f"efficientnetv2{variant.lower()}",
            constructor=f"EfficientNetV2{variant}",
            preprocessing="none",
            native_size=side,
            stages=_stages(0, *_EFFICIENTNET_UNITS),  # 0: its own rescaling
            paper="Tan & Le 2021, arXiv:2104.00298",
            weights=_published("efficientnet_v2", f"efficientnetv2-{variant.lower()}_notop.h5", md5),
        )


def _convnext() -> Iterator[Backbone]:
    for size, sha256 in (
        ("Tiny", "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"),
        ("Small", "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab"),
        ("Base", "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"),
        ("Large", "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd"),
        ("XLarge", "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05"),
    ):
        prefix = f"convnext_{size.lower()}"
        yield Backbone(
            name=f"convnext{size.lower()}",
            constructor=f"ConvNeXt{size}",
            preprocessing="none",
            native_size=224,
            stages=_stages(
                0,  # its own normalization
                f"{prefix}_stage_0_block_0_depthwise_conv",
                *(f"{prefix}_downsampling_block_{number}" for number in range(3)),
            ),
            paper="Liu et al. 2022, arXiv:2201.03545",
            weights=_published("convnext", f"{prefix}_notop.h5", sha256=sha256),
        )


def _nasnet() -> Iterator[Backbone]:
    for size, side, md5, cells in (
        ("Mobile", 224, "1ed92395b5b598bdda52abe5c0dbfd63", ("stem_1", "stem_2", "reduce_4", "reduce_8")),
        ("Large", 331, "d81d89dc07e6e56530c4e77faddd61b5", ("stem_1", "stem_2", "reduce_6", "reduce_12")),
    ):
        yield Backbone(
            name=f"nasnet{size.lower()}",
            constructor=f"NASNet{size}",
            preprocessing="symmetric",
            native_size=side,
            stages=_stages("stem_conv1", *(f"reduction_conv_1_{cell}" for cell in cells)),
            paper="Zoph et al. 2018, arXiv:1707.07012",
            weights=_published("nasnet", f"NASNet-{size.lower()}-no-top.h5", md5),
        )


# sha256 of ImageNet's values themselves: all arrays in layer order, little-endian float32. A file with these values is
# the published one in another container.
IMAGENET_VALUES = {
    "vgg16": "d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd",
    "xception": "dd8fa9fc31ba124382395512a133fe425aa5c6667b16e5832bb79910d1b77829",
}

BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for family in (
        *(_vgg, _resnet18, _resnet, _resnet_v2, _inception, _xception, _densenet, _mobilenet, _mobilenet_v2),
        *(_mobilenet_v3, _efficientnet, _efficientnet_v2, _convnext, _nasnet),
    )
    for backbone in family()
}
