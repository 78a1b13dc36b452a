"""The head: the layers that turn a backbone's features into probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tlkeras.checks import Constraint, check_fields, flag, one_of, real, several, whole
from tlkeras.given import Given, default
from tlkeras.models.backbones import HEAD_PREFIX
from tlkeras.seeds import derive_seed

if TYPE_CHECKING:
    import keras

POOLINGS = ("flatten", "avg", "max")
ACTIVATIONS = ("relu", "elu", "selu", "gelu", "silu", "leaky_relu", "tanh", "sigmoid", "linear")


@dataclass(frozen=True)
class Head:
    """What is put on the backbone: pooling, dropout, then per hidden layer dense, BatchNorm, dropout; then softmax.

    Args:
        hidden: units of each hidden dense layer; () for none.
        dropout: share of units dropped after each hidden layer in training, in [0, 1).
        input_dropout: the same, on the pooled features.
        pooling: "flatten" keeps every position, "avg" and "max" take one number per channel.
        batch_norm: put BatchNormalization after each hidden dense layer.
        activation: of the hidden layers.

    Raises:
        InputError: names the field, what it received and what it accepts.
    """

    hidden: Given[int | Sequence[int], tuple[int, ...]] = default((128,))
    dropout: float = 0.5
    input_dropout: float = 0.0
    pooling: str = "flatten"
    batch_norm: bool = False
    activation: str = "relu"

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "hidden": several(whole(1), "integers of at least 1, the units of each hidden layer", least=0),
        "dropout": real(least=0, below=1),
        "input_dropout": real(least=0, below=1),
        "pooling": one_of(*POOLINGS),
        "batch_norm": flag(),
        "activation": one_of(*ACTIVATIONS),
    }

    def __post_init__(self):
        if not isinstance(self.hidden, list | tuple):
            object.__setattr__(self, "hidden", (self.hidden,))
        check_fields(self, self._accepts)


def build_pooling(x: keras.KerasTensor, pooling: str, dtype: str | None = None) -> keras.KerasTensor:
    """Features (B, h, w, channels) to (B, d): d is h * w * channels for "flatten", else channels.

    `dtype` is what comes out; None leaves it to the precision the model is built in.
    """
    from tlkeras.backend import keras

    layer = {
        "flatten": keras.layers.Flatten,
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
    }[pooling]
    return layer(name=HEAD_PREFIX + pooling, dtype=dtype)(x)


def build_head(x: keras.KerasTensor, head: Head, n_classes: int, seed: int) -> keras.KerasTensor:
    """Puts `head` on features (B, h, w, channels) and returns probabilities, float32 (B, n_classes).

    Every initial weight and every dropout draw is a function of `seed` and the layer's name, which begins with "head_".
    """
    from tlkeras.backend import keras

    def dense(x, units, activation, name, dtype=None):
        kernel = keras.initializers.GlorotUniform(seed=derive_seed(seed, "head", name))
        name = HEAD_PREFIX + name
        return keras.layers.Dense(units, activation=activation, kernel_initializer=kernel, dtype=dtype, name=name)(x)

    def dropout(x, rate, name):
        if not rate:
            return x
        return keras.layers.Dropout(rate, seed=derive_seed(seed, "head", name), name=HEAD_PREFIX + name)(x)

    x = build_pooling(x, head.pooling)
    x = dropout(x, head.input_dropout, "input_dropout")
    for number, units in enumerate(head.hidden, start=1):
        x = dense(x, units, head.activation, f"dense_{number}")
        if head.batch_norm:
            x = keras.layers.BatchNormalization(name=f"{HEAD_PREFIX}batch_norm_{number}")(x)
        x = dropout(x, head.dropout, f"dropout_{number}")
    # In half precision the probabilities of a row would not sum to 1.
    return dense(x, n_classes, "softmax", "probs", dtype="float32")
