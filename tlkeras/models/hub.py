"""Networks of keras-hub whose output is tokens (ViT, DeiT, DINOv2, DINOv3, Swin) as backbones.

Such a network stays one layer of ours, for its own layers cannot all be built from what they say of themselves, as
Keras' flat graphs have to be; so it is frozen, or it learns, as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.checks import one_of
from tlkeras.errors import InputError
from tlkeras.files import atomic_write
from tlkeras.machine import keras_home
from tlkeras.models.backbones import HUB, PREPROCESSING, Backbone, PublishedWeights

if TYPE_CHECKING:
    import keras

TOKENS = ("patches", "class")
_LAYER = "hub"
_LARGEST_PREFIX = 16  # class, distillation and register tokens in front of those of the patches; DINOv3 has five


@dataclass(frozen=True)
class HubNetwork:
    """What builds a network of keras-hub, as `Backbone.constructor` wants it.

    Attributes:
        kind: its class in keras_hub.models.
        config: what its constructor takes; the image shape and the precision are set at each call.
        scale, offset: what its pixels in 0..255 are multiplied by, and what is added then; None where they come scaled.
        tokens: see `Backbone.from_hub`.
    """

    kind: str
    config: Mapping[str, Any] = field(hash=False)
    scale: float | tuple[float, ...] | None = None
    offset: float | tuple[float, ...] | None = None
    tokens: str = "patches"

    def __call__(self, input_tensor: keras.KerasTensor, weights: None = None) -> keras.KerasTensor:
        """Features (B, h, w, d) of the patches, or (B, 1, 1, d) of the class token, for images (B, H, W, 3)."""
        from tlkeras.backend import keras

        pixels = input_tensor
        if self.scale is not None or self.offset is not None:
            scale, offset = (1.0 if self.scale is None else self.scale), (0.0 if self.offset is None else self.offset)
            pixels = keras.layers.Rescaling(scale, offset, dtype="float32", name="hub_rescaling")(pixels)
        height, width = pixels.shape[1:3]
        network = self._build(height, width)
        named = isinstance(network.input, dict)
        output = network(dict.fromkeys(network.input, pixels) if named else pixels)
        if len(output.shape) == 4:
            return output
        rows, columns = height // self.stride, width // self.stride
        before = output.shape[1] - rows * columns
        if not 0 <= before <= _LARGEST_PREFIX or (self.tokens == "class" and before == 0):
            raise InputError(
                f"{self.kind}: images of {height}x{width} pixels give {output.shape[1]} tokens, "
                + ("none of them a class token" if before == 0 else f"but have {rows * columns} patches")
                + '; accepted are networks with tokens="patches", all of them kept.'
            )
        if self.tokens == "class":
            return keras.layers.Reshape((1, 1, output.shape[-1]), name="hub_class")(output[:, :1])
        return keras.layers.Reshape((rows, columns, output.shape[-1]), name="hub_patches")(output[:, before:])

    @property
    def stride(self) -> int:
        """How many pixels high and wide the part of the image is that one token stands for."""
        patch = self.config.get("patch_size", 1)
        patch = patch if isinstance(patch, int) else patch[0]
        return patch * 2 ** (len(self.config.get("depths", (1,))) - 1)  # Swin halves between its stages

    def _build(self, height: int, width: int) -> keras.Model:
        from tlkeras.backend import keras

        hub = keras_hub_module()
        config = {
            **self.config,
            "image_shape": (height, width, 3),
            "dtype": keras.config.dtype_policy().name,
            "name": _LAYER,
        }
        try:
            network = getattr(hub.models, self.kind).from_config(config)
        except ValueError as error:
            raise InputError(f"image_size: {self.kind} cannot be built for {height}x{width} pixels: {error}") from error
        for layer in network._flatten_layers():  # Keras has no public way to the layers that layers hold
            if type(layer).__module__.startswith(HUB):
                _keep_interpolated(layer)
                _give_rules(layer)
        return network


def from_hub(preset: str, *, tokens: str, preprocessing: str | None) -> Backbone:
    """See `Backbone.from_hub`."""
    one_of(*TOKENS).check("tokens", tokens)
    if preprocessing is not None:
        one_of(*PREPROCESSING).check("preprocessing", preprocessing)
    hub = keras_hub_module()
    try:
        network = hub.models.Backbone.from_preset(preset)
    except (
        Exception
    ) as error:  # what keras-hub, Kaggle and Hugging Face raise where nothing is found has no common type
        raise InputError(
            f"preset: {preset!r} cannot be had ({type(error).__name__}: {error}). Give the folder of a preset, or a "
            "name that keras_hub.models.Backbone.from_preset knows, where there is a network."
        ) from error
    _require_fit(network, preset)
    network = _without_mask_token(network)
    config = network.get_config()
    shape = config["image_shape"]
    scale = offset = None
    if preprocessing is None:
        try:
            converter = hub.layers.ImageConverter.from_preset(preset)
        except Exception as error:  # as above
            raise InputError(
                f"preprocessing: the preset {preset!r} does not say how its pixels are scaled ({error}). Give one of "
                f"{', '.join(PREPROCESSING)}."
            ) from error
        scale, offset = _plain(converter.scale), _plain(converter.offset)
    name = Path(preset).name
    constructor = HubNetwork(
        kind=type(network).__name__,
        config={key: _plain(value) for key, value in config.items() if key not in ("dtype", "image_shape", "name")},
        scale=scale,
        offset=offset,
        tokens=tokens,
    )
    return Backbone(
        name=name,
        constructor=constructor,
        preprocessing=preprocessing or "none",
        native_size=shape[0],
        min_size=constructor.stride,
        stages={"block1": 0},
        paper=f"keras-hub preset {name}",
        weights=(PublishedWeights(_keep_weights(network, name)),),
    )


def keras_hub_module() -> Any:
    """keras_hub, imported.

    Raises:
        InputError: it is not installed.
    """
    from tlkeras.backend import keras  # noqa: F401 (the backend is looked at before keras-hub loads one)

    try:
        import keras_hub
    except ImportError as error:
        raise InputError(f"keras-hub cannot be imported ({error}). Install it: pip install 'tlkeras[hub]'.") from error
    return keras_hub


def is_hub_network(registered_name: str) -> bool:
    """Whether what keras-hub has registered under this name is a network, and no tokenizer that reads files."""
    hub = keras_hub_module()  # which registers it
    from tlkeras.backend import keras

    registered = keras.saving.get_registered_object(registered_name)
    return isinstance(registered, type) and issubclass(registered, hub.models.Backbone)


def _require_fit(network: keras.Model, preset: str) -> None:
    """Refuses what takes no images, or holds layers that need a policy of ours inside."""
    from tlkeras.backend import keras

    inputs = keras.tree.flatten(network.input)
    config = network.get_config()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or "image_shape" not in config:
        raise InputError(
            f"preset: {preset!r} is a {type(network).__name__}, which takes {len(inputs)} inputs of shapes "
            f"{', '.join(str(tensor.shape) for tensor in inputs)}; accepted is a network that takes images alone."
        )
    outputs = keras.tree.flatten(network.output)
    if len(outputs) != 1 or len(outputs[0].shape) not in (3, 4):
        raise InputError(
            f"preset: {preset!r} is a {type(network).__name__}, which gives "
            f"{', '.join(str(tensor.shape) for tensor in outputs)}; accepted is one tensor of tokens (B, n, d)."
        )
    norms = [layer.name for layer in network._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    if norms:
        raise InputError(
            f"preset: {preset!r} is a {type(network).__name__} with {len(norms)} BatchNorm layers, which would learn "
            "wherever the network does. Accepted are networks without; convolutional ones are names of tl.BACKBONES."
        )


def _without_mask_token(network: keras.Model) -> keras.Model:
    """The same network without the token that stands for hidden patches, which nothing here hides: it cannot learn."""
    config = network.get_config()
    if not config.get("use_mask_token"):
        return network
    twin = type(network).from_config(config | {"use_mask_token": False})
    values = {weight.path: weight for weight in network.weights}
    for weight in twin.weights:
        weight.assign(values[weight.path])
    return twin


def _keep_weights(network: keras.Model, name: str) -> str:
    """Keeps the weights in Keras' cache, where "imagenet" looks for them; returns the file's name."""
    from tlkeras.models.identity import identity_of

    file = f"{name}.{identity_of(network)[:16]}.weights.h5"
    path = keras_home() / "models" / file
    if not path.is_file():
        with atomic_write(path) as temporary:
            network.save_weights(temporary)
    return file


def _keep_interpolated(layer: keras.layers.Layer) -> None:
    """DINOv2's position embeddings, fitted to the image size, stand still: keras-hub 0.32 saves those of the first size
    alone, so that what these learn is lost."""
    fitted = getattr(layer, "interpolated_position_embeddings", None)
    if fitted is not None:
        fitted.trainable = False
        layer._trainable_variables.pop([each is fitted for each in layer._trainable_variables].index(True))
        layer._non_trainable_variables.insert(0, fitted)  # files number the variables through, those that learn first


def _give_rules(layer: keras.layers.Layer) -> None:
    """Names how a layer's tokens, position embeddings and biases are drawn: those of keras-hub tell nobody.

    The deviation is that of ViT and Swin (Dosovitskiy et al. 2021, Liu et al. 2021): 0.02, cut off at two of it.
    """
    from tlkeras.backend import keras

    for variable in layer._trainable_variables + layer._non_trainable_variables:
        rule = f"{variable.name}_initializer"
        numbers = keras.ops.convert_to_numpy(variable)
        fitted = variable.name.startswith("interpolated_")  # to the image size, from the others
        known = isinstance(getattr(layer, rule, None), keras.initializers.Initializer)
        if not known and not fitted and numbers.std() > 0:
            setattr(layer, rule, keras.initializers.TruncatedNormal(stddev=0.02))


def _plain(value: Any) -> Any:
    """A configuration's value as JSON keeps it, sequences as tuples."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value
