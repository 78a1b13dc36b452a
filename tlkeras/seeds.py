"""Explicit seeds from words: every draw in the package names what it is for, so no draw depends on an earlier one."""

from __future__ import annotations

import hashlib

import numpy as np

from tlkeras.checks import check_whole


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A seed in 0..2**31-1 that is a function of `seed` and `purpose` only.

    The same on every machine and in every Python process (unlike `hash`). Purposes are words and numbers, e.g.
    `derive_seed(0, "dropout", phase, epoch, layer)`: entering epoch 7 needs none of the draws of epochs 1 to 6.

    Raises:
        InputError: a seed that is no integer.
    """
    key = "/".join([str(check_whole("seed", seed)), *(str(word) for word in purpose)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little") & 0x7FFFFFFF


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A NumPy generator of its own for this purpose."""
    return np.random.default_rng(derive_seed(seed, *purpose))
