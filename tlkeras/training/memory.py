"""Memory that does not suffice: known before training where it can be, said in words where it comes out on the way."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

from tlkeras.backend import keras
from tlkeras.errors import InputError
from tlkeras.machine import anonymous_memory_mb, available_memory, format_size

_SIGNS = ("RESOURCE_EXHAUSTED", "OOM when allocating", "failed to allocate memory", "Out of memory")
_OTHERS = ("Too many open files", "No space left on device")  # which TensorFlow calls exhausted resources, too


@contextlib.contextmanager
def memory_in_words(what: str, remedy: str) -> Iterator[None]:
    """Says that the memory (of a GPU, where there is one) does not suffice for `what`, and the remedy.

    Raises:
        InputError: an allocation inside failed.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # Keras hands on what its backend raises, each backend a type of its own
        named = type(error).__name__ == "ResourceExhaustedError" or isinstance(error, MemoryError)
        signed = any(sign in str(error) for sign in _SIGNS)
        if not (named or signed) or any(other in str(error) for other in _OTHERS):
            raise
        raise InputError(f"the memory does not suffice for {what}. {remedy}") from None


def check_memory(model: keras.Model, optimizer: keras.optimizers.Optimizer, batch_size: int) -> None:
    """Refuses a batch that cannot be trained in the memory of this machine: the system kills a process that tries, and
    TensorFlow's convolutions end in a segmentation fault.

    Only what training surely holds at one time is counted: what the optimizer keeps, and either the inputs of all
    layers that learn, which their gradients are made from, or the gradients. A GPU's memory is not known before; there
    the attempt tells.

    Args:
        model: its trainable flags set.
        optimizer: built for it.
        batch_size: images of the largest step.

    Raises:
        InputError: names the batch size to try.
    """
    if keras.distribution.list_devices("gpu"):
        return
    inputs = {
        id(tensor): tensor
        for layer in model.layers
        if layer.trainable_weights
        for tensor in keras.tree.flatten(getattr(layer, "input", None))
        if tensor is not None
    }
    per_image = sum(_bytes((1, *tensor.shape[1:]), tensor.dtype) for tensor in inputs.values())
    kept = sum(_bytes(variable.shape, variable.dtype) for variable in optimizer.variables)
    gradients = sum(_bytes(weight.shape, weight.dtype) for weight in model.trainable_weights)
    needed = kept + max(gradients, batch_size * per_image)
    # What this process holds already counts as there: it is given back, or used again.
    there = available_memory() + (anonymous_memory_mb() or 0) * 2**20
    if needed <= there:
        return
    fits = (there - kept) // (2 * per_image)  # half of what this lower bound allows
    if fits >= 1 and kept + gradients <= there:
        remedy = f"Try batch_size={min(2 ** int(math.log2(fits)), batch_size - 1)}."
    else:
        remedy = "Take a smaller image_size, a smaller head, or unfreeze fewer layers."
    raise InputError(
        f"batch_size: training {batch_size} images at a time takes at least {format_size(needed)} of memory, and "
        f"{format_size(there)} are there. {remedy}"
    )


def _bytes(shape: tuple[int | None, ...], dtype: str) -> int:
    sides = [side or 1 for side in shape]  # one that is open counts for nothing
    return math.prod(sides) * (2 if str(dtype).endswith("float16") else 4)
