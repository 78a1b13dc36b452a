"""What networks run on."""

from __future__ import annotations

from tlkeras.backend import keras


def device_name() -> str:
    """What Keras runs networks on: "CPU", or the GPUs."""
    gpus = keras.distribution.list_devices("gpu")
    return f"GPU ({', '.join(gpus)})" if gpus else "CPU"
