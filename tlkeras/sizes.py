"""Sizes in words: "4GB" to a number of bytes and back."""

from __future__ import annotations

import re

from tlkeras.schema import InputError

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_size(name: str, size: str | int) -> int:
    """Bytes from "20GB", "500 MB" or a number of bytes; KB to TB are powers of 1000.

    Raises:
        InputError: names the argument `name`, what it received and what is accepted.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]B)?", str(size).strip().upper())
    if found is None or (found[2] is None and float(found[1]) % 1):  # half a byte
        raise InputError(
            f'{name}: received {size!r}; accepted is a size such as "4GB" or "500MB", or a number of bytes.'
        )
    return int(float(found[1]) * _UNITS.get(found[2], 1))


def format_size(size: int) -> str:
    """A number of bytes for people: "1.6 GB"."""
    for unit in ("KB", "MB", "GB"):
        if size < 1000 * _UNITS[unit]:
            return f"{size / _UNITS[unit]:.{0 if size >= 10 * _UNITS[unit] else 1}f} {unit}"
    return f"{size / _UNITS['TB']:.1f} TB"
