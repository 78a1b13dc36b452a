"""Recipes as plain values, as run folders keep them."""

from __future__ import annotations

import dataclasses
import functools
import json


def describe(value: object) -> object:
    """A recipe, split or table row as plain JSON values, class names included, so that two can be compared."""
    if hasattr(value, "describe") and not isinstance(value, type):  # it says itself what is to be kept of it
        return describe(value.describe())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, functools.partial):
        return {"partial": describe(value.func), "arguments": describe([*value.args, value.keywords])}
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, tuple | list | range):
        return [describe(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return getattr(value, "__qualname__", str(value))


def describe_in_words(value: object) -> int | float | str:
    """A described value as a table's column holds it: numbers and words as they are, anything else as its JSON."""
    plain = describe(value)
    return plain if isinstance(plain, int | float | str) else json.dumps(plain)


def first_difference(made_with: dict, settings: dict) -> tuple[str, object, object] | None:
    """The first setting that differs: its name ("recipe.phases.0.epochs"), what it was, and what it is now."""
    before, now = _flat(made_with), _flat(settings)
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            return name, before.get(name), now.get(name)
    return None


def _flat(value: object, name: str = "") -> dict[str, object]:
    """{"recipe.phases.0.epochs": 5, ...} of nested dicts and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {name: value}
    flat = {}
    for key, item in items:
        flat |= _flat(item, f"{name}.{key}" if name else str(key))
    return flat
