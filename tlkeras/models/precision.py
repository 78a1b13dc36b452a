"""In what precision a network computes. Its weights stay float32 in each. Importing this module loads no Keras."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import numpy as np

PRECISIONS = ("float32", "bfloat16", "float16")
_REPEATS = 3


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Layers made inside compute in `precision`, one of `PRECISIONS`; models made inside scale the loss for float16.

    Nothing else of Keras' global state matters inside: see `tlkeras.backend.pinned_state`.
    """
    from tlkeras.backend import keras, pinned_state

    with pinned_state():
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)


def milliseconds_per_image(build: Callable[[str], keras.Model], pixels: np.ndarray) -> dict[str, float]:
    """How long a forward pass takes in float32 and in bfloat16 here and now, the fastest of three.

    Which is faster depends on the network and the machine: bfloat16 helps large dense convolutions on processors that
    know it and slows depthwise ones down.

    Args:
        build: makes the model for a precision.
        pixels: one batch, (b, H, W, 3) in [0, 255].

    Returns:
        {precision: milliseconds}.
    """
    from tlkeras.backend import keras

    found = {}
    for precision in ("float32", "bfloat16"):
        model, batch = build(precision), keras.ops.cast(pixels, "float32")
        model.predict_on_batch(batch)  # the first call also compiles
        seconds = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            model.predict_on_batch(batch)
            seconds.append(time.perf_counter() - start)
        found[precision] = 1000 * min(seconds) / len(pixels)
    return found
