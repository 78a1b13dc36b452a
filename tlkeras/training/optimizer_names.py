"""The optimizers of Keras that a phase can name, or be given as an object. Loads no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tlkeras.errors import InputError

# By Keras' names. Muon and MultiOptimizer hold several in one, ScheduleFreeAdamW two sets of weights.
OPTIMIZERS = {
    name.lower(): name
    for name in (
        "Adam",
        "SGD",
        "AdamW",
        "Lion",
        "Nadam",
        "RMSprop",
        "Adagrad",
        "Adadelta",
        "Adamax",
        "Adafactor",
        "Ftrl",
    )
}
# What Keras decays by where a phase does not say.
OWN_WEIGHT_DECAY = {"adamw": 0.004}

# Arguments of every optimizer that a phase has fields for, and what Keras calls them.
_OF_THE_PHASE = {
    "weight_decay": "weight_decay",
    "global_clipnorm": "clip_norm",
    "gradient_accumulation_steps": "accumulate",
    "use_ema": "average",
    "learning_rate": "learning_rate",
}
_OF_NO_RESULT = ("name", "ema_momentum", "ema_overwrite_frequency", "loss_scale_factor")


@dataclass(frozen=True)
class KerasOptimizer:
    """An optimizer of keras.optimizers with options of its own: what a Phase makes of an object it is given.

    Attributes:
        name: the class, in lower case, one of OPTIMIZERS.
        options: {argument: value} of what is not at Keras' default, without what the phase has fields for.
    """

    name: str
    options: Mapping[str, Any] = field(hash=False)

    def __post_init__(self):
        if self.name not in OPTIMIZERS:
            raise InputError(f"KerasOptimizer.name: received {self.name!r}; accepted: {', '.join(OPTIMIZERS)}.")

    def words(self) -> str:
        """As pages print it: "lion, beta_1=0.95"."""
        return ", ".join([self.name, *(f"{name}={value}" for name, value in self.options.items())])


def read_optimizer(given: Any, learning_rate: float) -> tuple[str | KerasOptimizer, float | None]:
    """What a phase keeps of an object of keras.optimizers, and the momentum where it is an SGD.

    Raises:
        InputError: not one of OPTIMIZERS, or an argument is set that the phase has a field for.
    """
    kind = type(given)
    name = kind.__name__.lower()
    if OPTIMIZERS.get(name) != kind.__name__ or not kind.__module__.startswith("keras."):
        raise InputError(
            f"Phase.optimizer: received {given!r}; accepted are the names {', '.join(OPTIMIZERS)}, or an object of one "
            "of these classes of keras.optimizers."
        )
    own, config = kind().get_config(), given.get_config()
    differs = {key: value for key, value in config.items() if value != own.get(key) and key not in _OF_NO_RESULT}
    rate = differs.pop("learning_rate", None)
    if rate is not None and not (isinstance(rate, float) and abs(rate - learning_rate) <= 1e-6 * learning_rate):
        raise InputError(
            f"Phase.learning_rate: received {learning_rate!r}, and an optimizer whose own is {rate!r}; leave it out "
            "there. A schedule is Phase.schedule."
        )
    for argument, of_phase in _OF_THE_PHASE.items():
        if argument in differs:
            raise InputError(
                f"Phase.optimizer: received {argument}={differs[argument]!r} of {kind.__name__}; give "
                f"Phase.{of_phase} instead."
            )
    momentum = config["momentum"] if name == "sgd" else None
    if name == "sgd":
        differs.pop("momentum", None)
    return (KerasOptimizer(name, differs) if differs else name), momentum
