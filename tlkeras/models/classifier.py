"""From raw pixels to probabilities: preprocessing, backbone and head as one flat model."""

from __future__ import annotations

import os

import numpy as np

from tlkeras.backend import computing_in, keras, pinned_state
from tlkeras.checks import check_image_size, check_whole, one_of
from tlkeras.errors import InputError
from tlkeras.models.backbones import HEAD_PREFIX, PREPROCESSING, PREPROCESSING_PREFIX, Backbone, backbone_layers
from tlkeras.models.head import POOLINGS, Head, build_head, build_pooling
from tlkeras.models.layers import named_layer, settle
from tlkeras.models.weights import find_weights, load_weights, read_whole
from tlkeras.models.weights_file import WeightsFile
from tlkeras.models.zoo import get_backbone
from tlkeras.schema import PRECISIONS
from tlkeras.seeds import derive_seed

# Rescaling(scale, offset) of RGB in 0..255; "caffe" after the channels are turned round to BGR. ImageNet's mean and
# deviation are those that the published networks were trained with.
_RESCALINGS = {
    "unit": (1 / 255, 0.0),
    "symmetric": (1 / 127.5, -1.0),
    "imagenet": ([1 / (255 * sd) for sd in (0.229, 0.224, 0.225)], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]),
    "caffe": (1.0, [-103.939, -116.779, -123.68]),
}


def build_classifier(
    backbone: str | Backbone,
    *,
    n_classes: int,
    image_size: tuple[int, int],
    weights: str | os.PathLike | WeightsFile | None = None,
    head: Head = Head(),  # noqa: B008 (frozen)
    preprocessing: str = "backbone",
    precision: str = "float32",
    seed: int = 0,
    weights_folder: str | os.PathLike | None = None,
) -> keras.Model:
    """A classifier over raw pixels, all its layers in one flat graph.

    Args:
        backbone: a name of `BACKBONES`, or a Backbone of your own.
        n_classes: k, at least 2.
        image_size: (height, width) in pixels.
        weights: None for random ones, "imagenet", a path, or what `find_weights` returned.
        head: what is put on the backbone.
        preprocessing: see `tlkeras.models.classifier.preprocess`.
        precision: "float32", "bfloat16" or "float16": what backbone and head compute in. Preprocessing, softmax and the
            weights themselves stay float32.
        seed: random weights and dropout are functions of it; no global generator matters.
        weights_folder: searched first for "imagenet".

    Returns:
        keras.Model, float32 (B, H, W, 3) RGB in [0, 255] -> float32 (B, k), rows sum to 1. Its name is the backbone's.

    Raises:
        InputError: an image smaller than the network can take, or an argument that does not fit.
    """
    n_classes, seed = check_whole("n_classes", n_classes, 2), check_whole("seed", seed)
    backbone = get_backbone(backbone)
    with _checked_precision(precision):
        body = _build_body(backbone, image_size, weights, preprocessing, seed, weights_folder)
        return keras.Model(body.input, build_head(body.output, head, n_classes, seed), name=backbone.name)


def build_encoder(
    backbone: str | Backbone,
    *,
    image_size: tuple[int, int],
    weights: str | os.PathLike | WeightsFile | None = None,
    layer: str | None = None,
    pooling: str = "avg",
    preprocessing: str = "backbone",
    precision: str = "float32",
    seed: int = 0,
    weights_folder: str | os.PathLike | None = None,
) -> keras.Model:
    """A network as a feature extractor; arguments as in `build_classifier`, and

    Args:
        layer: the name of the layer whose output is taken; None takes the backbone's last. Layers of the head
            ("head_dense_1") are those of the classifier that `weights` names, a .keras file or the folder of an
            earlier run, at the image size and with the preprocessing and precision that it was trained with.
        pooling: what is made of a layer's positions: "avg", "max", or "flatten" for all of them.

    Returns:
        keras.Model, float32 (B, H, W, 3) RGB in [0, 255] -> features float32 (B, d), whatever the precision: d
        channels for pooling "avg" and "max", h * w * channels for "flatten", the units of a dense layer.

    Raises:
        InputError: a layer that is not there, with names that are near; or an argument that does not fit.
    """
    one_of(*POOLINGS).check("pooling", pooling)
    backbone = get_backbone(backbone)
    weights = find_weights(backbone, weights, folder=weights_folder)
    with _checked_precision(precision):
        if layer is not None and layer.startswith(HEAD_PREFIX):
            body = _read_whole(backbone, weights, layer, image_size)
        else:
            body = _build_body(backbone, image_size, weights, preprocessing, seed, weights_folder)
        return encoder_of(body, layer=layer, pooling=pooling)


@pinned_state()
def encoder_of(model: keras.Model, *, layer: str | None = None, pooling: str = "avg") -> keras.Model:
    """A network up to one of its layers, as `build_encoder` returns it; the layers are the network's own.

    Args:
        model: flat, a classifier or a backbone.
        layer: None takes what the head begins with, without a head the output.
        pooling: see `build_encoder`.
    """
    if layer is not None:
        output = named_layer(model, layer).output
    else:
        head = [layer for layer in model.layers if layer.name.startswith(HEAD_PREFIX)]
        output = head[0].input if head else model.output
    if len(output.shape) == 4:
        rows = build_pooling(output, pooling, dtype="float32")
    else:
        rows = keras.layers.Flatten(name=f"{HEAD_PREFIX}features", dtype="float32")(output)
    return keras.Model(model.input, rows, name=model.name)


def _read_whole(backbone: Backbone, weights: WeightsFile | None, layer: str, image_size) -> keras.Model:
    """The classifier a layer of a head is taken from, preprocessing, backbone and head."""
    if weights is None or weights.path.suffix != ".keras":
        raise InputError(
            f"layer: {layer} is a layer of a head, and weights {None if weights is None else str(weights.path)!r} hold "
            "none. Give the folder of an earlier run, or a .keras file."
        )
    model = read_whole(weights)
    if model.name != backbone.name or model.input_shape[1:3] != tuple(image_size):
        raise InputError(
            f"layer: {layer} is taken from {weights.path}, a classifier on {model.name} for images of "
            f"{model.input_shape[1:3]}; received backbone {backbone.name}, image_size {tuple(image_size)}. Give those "
            "it was trained with."
        )
    return model


def preprocess(x: keras.KerasTensor, backbone: Backbone, mode: str = "backbone") -> keras.KerasTensor:
    """Puts preprocessing on pixels, as plain layers that save and load with the model.

    Args:
        x: float32 (B, H, W, 3), RGB in [0, 255].
        backbone: whose own preprocessing "backbone" stands for.
        mode: "backbone", or in its place one of `tlkeras.models.backbones.PREPROCESSING`. A network that scales inside
            (MobileNetV3) scales after that too: "unit" in front of it is the common fault.

    Returns:
        float32 (B, H, W, 3).
    """
    if mode not in ("backbone", *PREPROCESSING):
        raise InputError(f"preprocessing: received {mode!r}; accepted: backbone, {', '.join(PREPROCESSING)}.")
    form = backbone.preprocessing if mode == "backbone" else mode
    if form == "none":
        return x
    if form == "caffe":
        x = x[..., ::-1]
    # Always float32: half precision cannot tell all 256 grey levels apart once they are scaled.
    return keras.layers.Rescaling(*_RESCALINGS[form], dtype="float32", name=f"{PREPROCESSING_PREFIX}{form}")(x)


def _checked_precision(precision: str):
    one_of(*PRECISIONS).check("precision", precision)
    return computing_in(precision)


def _build_body(backbone, image_size, weights, preprocessing, seed, weights_folder) -> keras.Model:
    """Preprocessing and backbone: pixels -> features (B, h, w, channels)."""
    image_size = check_image_size(image_size, smallest=backbone.min_size, network=backbone.name)
    weights = find_weights(backbone, weights, folder=weights_folder)
    pixels = keras.Input((*image_size, 3), name="pixels")
    body = _connect(backbone, pixels, preprocess(pixels, backbone, preprocessing))
    if weights is None:
        _draw_weights(backbone_layers(body), seed)
    else:
        load_weights(body, weights)
    return body


def _connect(backbone, pixels, preprocessed) -> keras.Model:
    features = backbone.build(preprocessed)
    try:
        body = keras.Model(pixels, features, name=backbone.name)
    except ValueError as error:
        raise InputError(
            f"{backbone.name}: its constructor has to build on `input_tensor` and return the features, a tensor of "
            "shape (B, h, w, channels), or a keras.Model over keras.utils.get_source_inputs(input_tensor)."
        ) from error
    if len(backbone_layers(body)) != len(body.layers) - len(keras.Model(pixels, preprocessed).layers):
        raise InputError(
            f"{backbone.name}: its layer names must not begin with {PREPROCESSING_PREFIX!r} or {HEAD_PREFIX!r}: these "
            "mark the layers around it."
        )
    return body


def _draw_weights(layers, seed):
    """Draws every weight again, by its layer's own rule: Keras seeds those rules from a global generator."""
    for index, outer in enumerate(layers):
        for number, layer in enumerate(outer._flatten_layers()):  # ConvNeXt's stem and its like hold others
            for variable in layer._trainable_variables + layer._non_trainable_variables:
                _draw(layer, variable, seed, index, *[number] * (number > 0), variable.name)
        settle(outer)


def _draw(layer, variable, seed, *names) -> None:
    rule = _initializer_of(layer, variable.name)
    if rule is not None:
        config = rule.get_config()
        if "seed" in config:
            config["seed"] = derive_seed(seed, "backbone", *names)
        variable.assign(type(rule).from_config(config)(variable.shape, dtype=variable.dtype))
    elif variable.trainable and not _is_constant(variable):  # the others are statistics, counted up from a constant
        raise InputError(
            f"weights: received None, but how {layer.name} draws its weight {variable.name!r} is not known, so it "
            f"cannot follow the seed. Let the layer keep the rule, a keras.initializers.Initializer, as "
            f"`{variable.name}_initializer`, or give a weights file."
        )


def _is_constant(variable) -> bool:
    """Whether all its numbers are the same, which no draw gives: ConvNeXt's scales begin so."""
    numbers = np.asarray(variable)
    return numbers.size > 1 and bool((numbers == numbers.flat[0]).all())


def _initializer_of(layer, weight_name) -> keras.initializers.Initializer | None:
    # Conv2D: kernel, kernel_initializer. DepthwiseConv2D: kernel, depthwise_initializer.
    # SeparableConv2D: depthwise_kernel, depthwise_initializer, and so on.
    stems = (weight_name, weight_name.removesuffix("_kernel"), "depthwise" if weight_name == "kernel" else weight_name)
    rules = (getattr(layer, f"{stem}_initializer", None) for stem in stems)
    return next((rule for rule in rules if isinstance(rule, keras.initializers.Initializer)), None)
