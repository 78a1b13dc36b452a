"""Keras on TensorFlow: the one place that imports them, and what of Keras' global state decides results."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tlkeras.errors import InputError

BACKEND = "tensorflow"


def _require_backend(name: str, said_by: str) -> None:
    if name != BACKEND:
        raise InputError(
            f"Keras' backend is {name!r}, says {said_by}; tlkeras decodes and computes with TensorFlow. Set "
            f"KERAS_BACKEND={BACKEND} before Python starts, or before Keras is first imported."
        )


def _chosen_backend() -> tuple[str, str]:
    """The backend Keras will take, and where that is said: looked up as Keras does, but without loading it."""
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"], "the variable KERAS_BACKEND"
    file = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "keras.json"
    try:
        return json.loads(file.read_bytes())["backend"], str(file)
    except (OSError, ValueError, KeyError, TypeError):  # Keras then takes its default, too
        return BACKEND, ""


if "keras" not in sys.modules:
    _require_backend(*_chosen_backend())  # another one may not be installed, and takes seconds to load
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402, F401 (which loads Keras, too)

_require_backend(keras.config.backend(), "Keras, which was imported before")

# Layers take the first two when they are made, Keras' loss the third; the last is for debugging, and has `fit` and
# `predict` leave batches out.
_PINNED = {
    "image_data_format": "channels_last",
    "floatx": "float32",
    "epsilon": 1e-7,
    "max_steps_per_epoch": None,
}
_lock, _inside, _outside = threading.Lock(), 0, {}


@contextlib.contextmanager
def pinned_state() -> Iterator[None]:
    """Inside, what Keras reads from keras.json, variables and its setters is what it comes with; then as it was before.

    For all threads, until the last one is outside again. Also a decorator.
    """
    global _inside
    with _lock:
        if not _inside:
            _outside.update({name: getattr(keras.config, name)() for name in _PINNED})
            _set(_PINNED)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _set(_outside)


def free_kernels() -> None:
    """Gives back what TensorFlow keeps of every function that ran, also of models that are gone: 1 to 7 MB a fit.

    `keras.utils.clear_session` does it too, but forgets with it the names of layers and the dtype policy, which may be
    the user's. Nothing public does it alone.
    """
    from tensorflow.python.eager import context

    context.context().clear_kernel_cache()


def _set(state: dict) -> None:
    for name, value in state.items():
        getattr(keras.config, f"set_{name}")(value)


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Layers made inside compute in `precision`, one of `PRECISIONS`; models made inside scale the loss for float16.

    Nothing else of Keras' global state matters inside: see `pinned_state`.
    """
    with pinned_state():
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)


def device_name() -> str:
    """What Keras runs networks on: "CPU", or the GPUs."""
    gpus = keras.distribution.list_devices("gpu")
    return f"GPU ({', '.join(gpus)})" if gpus else "CPU"
