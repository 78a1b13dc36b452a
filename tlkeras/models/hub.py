"""Networks of keras-hub whose output is tokens (ViT, DeiT, DINOv2, DINOv3, Swin) as backbones.

Such a network stays one layer of ours, for its own layers cannot all be built from what they say of themselves, as
Keras' flat graphs have to be; so it is frozen, or it learns, as a whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class _Family:
    """What a class of keras_hub.models does not say of itself.

    Attributes:
        prefix_tokens: how many (class, distillation, registers) it puts in front of those of the patches.
        one_size: its position embeddings are those of the preset's image size.
        square: it counts its tokens as if images were square.
    """

    prefix_tokens: Callable[[Mapping[str, Any]], int]
    one_size: bool = False
    square: bool = False


def _class_and_registers(config: Mapping[str, Any]) -> int:
    return 1 + config["num_register_tokens"]


FAMILIES = {
    "ViTBackbone": _Family(lambda config: int(config["use_class_token"]), one_size=True),
    "DeiTBackbone": _Family(lambda config: 2, one_size=True),
    "DINOV2Backbone": _Family(_class_and_registers, square=True),
    "DINOV3Backbone": _Family(_class_and_registers, square=True),
    "SwinTransformerBackbone": _Family(lambda config: 0),
}
# Tokens for hidden patches have nothing to learn here; stochastic depth of DINOv2 and 3 fails in training (keras-hub
# 0.32: it takes the shape of a batch of unknown size).
_SWITCHED_OFF = {"use_mask_token": False, "drop_path_rate": 0.0}


@dataclass(frozen=True)
class HubNetwork:
    """What builds a network of keras-hub, as `Backbone.constructor` wants it.

    Attributes:
        kind: its class in keras_hub.models, one of `FAMILIES`.
        config: what its constructor takes; the image shape and the precision are set at each call.
        image_size: (height, width) of its preset, in pixels.
        scale, offset: what its pixels in 0..255 are multiplied by, and what is added then; None where they come scaled.
        tokens: see `Backbone.from_hub`.
    """

    kind: str
    config: Mapping[str, Any] = field(hash=False)
    image_size: tuple[int, int]
    scale: float | tuple[float, ...] | None = None
    offset: float | tuple[float, ...] | None = None
    tokens: str = "patches"

    def __call__(self, input_tensor: keras.KerasTensor, weights: None = None) -> keras.KerasTensor:
        """Features (B, h, w, d) of the patches, or (B, 1, 1, d) of the class token, for images (B, H, W, 3).

        Raises:
            InputError: images of a size that the network cannot take.
        """
        from tlkeras.backend import keras

        pixels = input_tensor
        if self.scale is not None or self.offset is not None:
            scale, offset = (1.0 if self.scale is None else self.scale), (0.0 if self.offset is None else self.offset)
            pixels = keras.layers.Rescaling(scale, offset, dtype="float32", name="hub_rescaling")(pixels)
        height, width = pixels.shape[1:3]
        self._check_size(height, width)
        network = self._build(height, width)
        named = isinstance(network.input, dict)
        output = network(dict.fromkeys(network.input, pixels) if named else pixels)
        if self.tokens == "class":
            return keras.layers.Reshape((1, 1, output.shape[-1]), name="hub_class")(output[:, :1])
        shape = (height // self.stride, width // self.stride, output.shape[-1])
        return keras.layers.Reshape(shape, name="hub_patches")(output[:, self.prefix_tokens :])

    @property
    def prefix_tokens(self) -> int:
        """How many tokens stand in front of those of the patches."""
        return FAMILIES[self.kind].prefix_tokens(self.config)

    @property
    def stride(self) -> int:
        """How many pixels high and wide the part of the image is that one token stands for."""
        patch = self.config["patch_size"]
        patch = patch if isinstance(patch, int) else patch[0]
        return patch * 2 ** (len(self.config.get("depths", (1,))) - 1)  # Swin halves between its stages

    @property
    def smallest(self) -> int:
        """The smallest height and width it can take, in pixels."""
        if FAMILIES[self.kind].one_size:
            return min(self.image_size)
        return self.stride * self.config.get("window_size", 1)  # Swin's last stage has to fill a window

    def _check_size(self, height: int, width: int) -> None:
        family = FAMILIES[self.kind]
        if family.one_size and (height, width) != tuple(self.image_size):
            accepted = f"{self.image_size[0]}x{self.image_size[1]}, for which it has position embeddings"
        elif family.square and height != width:
            accepted = "squares, as which keras-hub counts its tokens"
        elif height % self.stride or width % self.stride or min(height, width) < self.smallest:
            accepted = f"sides of at least {self.smallest} that {self.stride} divides"
        else:
            return
        raise InputError(f"image_size: received {height}x{width}; accepted by this {self.kind}: {accepted}.")

    def _build(self, height: int, width: int) -> keras.Model:
        from tlkeras.backend import keras

        config = {
            **self.config,
            "image_shape": (height, width, 3),
            "dtype": keras.config.dtype_policy().name,
            "name": _LAYER,
        }
        network = getattr(keras_hub_module().models, self.kind).from_config(config)
        for layer in network._flatten_layers():  # Keras has no public way to the layers that layers hold
            if type(layer).__module__.startswith(HUB):
                _keep_interpolated(layer)
                _give_rules(layer)
        return network


def from_hub(preset: str | os.PathLike, *, tokens: str, preprocessing: str | None) -> Backbone:
    """See `Backbone.from_hub`."""
    one_of(*TOKENS).check("tokens", tokens)
    if preprocessing is not None:
        one_of(*PREPROCESSING).check("preprocessing", preprocessing)
    preset = os.fspath(preset)
    hub = keras_hub_module()
    from tlkeras.backend import computing_in, pinned_state

    name = _name_of(preset)
    with pinned_state(), computing_in("float32"):
        network = _read_preset(hub, preset)
        scale, offset = _scaling_of(hub, preset) if preprocessing is None else (None, None)
        config = network.get_config()
        constructor = HubNetwork(
            kind=type(network).__name__,
            config={key: _plain(value) for key, value in config.items() if key not in ("dtype", "image_shape", "name")},
            image_size=tuple(config["image_shape"][:2]),
            scale=scale,
            offset=offset,
            tokens=tokens,
        )
        if tokens == "class" and constructor.prefix_tokens == 0:
            raise InputError(f"tokens: received 'class', and {preset!r} has no class token; accepted is 'patches'.")
        file = _keep_weights(network, name)
    return Backbone(
        name=name,
        constructor=constructor,
        preprocessing=preprocessing or "none",
        native_size=constructor.image_size[0],
        min_size=constructor.smallest,
        stages={"block1": 0},
        paper=f"keras-hub preset {name}",
        weights=(PublishedWeights(file),),
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


def is_of_hub(registered: object) -> bool:
    """Whether what is registered, under whatever name, came with keras-hub."""
    return getattr(registered, "__module__", "").startswith((HUB, "tensorflow_text."))


def is_hub_network(registered: object) -> bool:
    """Whether it is one of `FAMILIES`: keras-hub's tokenizers read files, and its other networks none of ours."""
    return is_of_hub(registered) and getattr(registered, "__name__", "") in FAMILIES


def _read_preset(hub: Any, preset: str) -> keras.Model:
    try:
        network = hub.models.Backbone.from_preset(preset, dtype="float32")
    except Exception as error:  # what keras-hub, Kaggle and Hugging Face raise for what is not found has no common type
        raise InputError(
            f"preset: {preset!r} cannot be read ({type(error).__name__}: {error}). Give the folder of a preset, or a "
            "name that keras_hub.models.Backbone.from_preset knows, where there is a network."
        ) from error
    if type(network).__name__ not in FAMILIES:
        raise InputError(
            f"preset: {preset!r} is a {type(network).__name__}; accepted: {', '.join(FAMILIES)}. Convolutional "
            "networks are names of tl.BACKBONES."
        )
    config = network.get_config()
    off = {name: value for name, value in _SWITCHED_OFF.items() if config.get(name)}
    if not off:
        return network
    twin, values = type(network).from_config(config | off), {weight.path: weight for weight in network.weights}
    for weight in twin.weights:
        weight.assign(values[weight.path])
    return twin


def _scaling_of(hub: Any, preset: str) -> tuple[Any, Any]:
    """(scale, offset) of the pixels that a preset was trained on."""
    try:
        converter = hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # as where the network is read
        reason, converter = f" ({error})", None
    else:
        reason = ""
    scaling = (None, None) if converter is None else (_plain(converter.scale), _plain(converter.offset))
    if scaling == (None, None):
        raise InputError(
            f"preprocessing: the preset {preset!r} does not say how its pixels are scaled{reason}. Give one of "
            f"{', '.join(PREPROCESSING)}."
        )
    return scaling


def _name_of(preset: str) -> str:
    """The last part of a folder or an address that is no version number, as layers and files may be called."""
    whole = os.path.abspath(preset) if os.path.isdir(preset) else preset
    parts = [part for part in re.split(r"[/\\]+", whole) if part and not part.isdigit()]
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", parts[-1] if parts else "").strip("_.-") or "hub"


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
