"""Puts together what a state dict's pickle describes, without unpickling it: no function that it names is called."""

from __future__ import annotations

import pickletools
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tlkeras.errors import InputError

BFLOAT16 = "bfloat16"  # NumPy has none; the others are its names
_STORAGES = {
    **{"HalfStorage": "f2", "FloatStorage": "f4", "DoubleStorage": "f8", "BFloat16Storage": BFLOAT16},
    **{"CharStorage": "i1", "ShortStorage": "i2", "IntStorage": "i4", "LongStorage": "i8"},
    **{"ByteStorage": "u1", "BoolStorage": "?"},
}
_STORAGES = {f"{module}.{name}": kind for module in ("torch", "torch.cuda") for name, kind in _STORAGES.items()}
_ORDERED_DICT = "collections.OrderedDict"
_TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
_PARAMETER = "torch._utils._rebuild_parameter"


class Storage(NamedTuple):
    """A run of `length` numbers of dtype `kind`, kept in the file under `key`."""

    key: str
    kind: str
    length: int


class View(NamedTuple):
    """A tensor as the pickle describes it: nothing about it is checked."""

    storage: object
    offset: object
    size: object
    stride: object


class _Name(NamedTuple):
    """A class or function that the pickle names: one of those above."""

    text: str


def follow_pickle(stream: BinaryIO, path: Path) -> object:
    """What one pickle puts together, out of the instructions that a state dict needs; the stream stands behind it.

    pickletools takes the pickle apart and runs nothing. Functions and classes stay names here, those of a state dict
    are followed by hand, and the name of any other refuses the file.
    """
    stack, below, memo = [], [], {}
    for opcode, value, _ in pickletools.genops(stream):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING":
                stack.append(value)
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(value)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[opcode.name]())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                length = int(opcode.name[-1])
                stack[-length:] = [tuple(stack[-length:])]
            case "MARK":
                below.append(stack)
                stack = []
            case "TUPLE" | "APPENDS" | "SETITEMS":
                items, stack = stack, below.pop()
                if opcode.name == "TUPLE":
                    stack.append(tuple(items))
                else:
                    _fill(stack[-1], items)
            case "APPEND":
                _fill(stack[-2], [stack.pop()])
            case "SETITEM":
                item, key = stack.pop(), stack.pop()
                _fill(stack[-1], [key, item])
            case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if value is None else value] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "GLOBAL":
                stack.append(_named(value.replace(" ", "."), path))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_named(f"{module}.{name}", path))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_made(stack.pop(), arguments))
            case "BUILD":
                if not isinstance(stack[-2], dict):
                    raise ValueError("it gives a state to something that has none")
                stack.pop()  # the versions of the modules, which state_dict() hangs on its dict
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "STOP":
                return stack.pop()
            case _:
                raise ValueError(f"its pickle has the instruction {opcode.name}, which PyTorch writes in no state dict")
    raise ValueError("its pickle has no end")


def all_whole(values: Sequence[object]) -> bool:
    """Whether each is an int of at least 0."""
    return all(type(value) is int and value >= 0 for value in values)


def _named(name: str, path: Path) -> _Name:
    if name not in (_ORDERED_DICT, _PARAMETER, *_TENSORS, *_STORAGES):
        raise InputError(
            f"{path} names {name:.100}, which is no part of a state dict: a file that does can run code when PyTorch "
            "loads it. Nothing of it was run here. Save the tensors alone, with torch.save(model.state_dict(), path), "
            "or take a .safetensors file."
        )
    return _Name(name)


def _fill(target: object, items: list) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, dict) and all(isinstance(key, str) for key in items[::2]):
        target.update(zip(items[::2], items[1::2], strict=True))
    else:
        raise ValueError("its pickle fills something other than a list or a dict of names")


def _made(called: object, arguments: object) -> object:
    """What the call of a function that the file names stands for."""
    if not isinstance(called, _Name) or called.text in _STORAGES or not isinstance(arguments, tuple):
        raise ValueError("its pickle calls something that is no function of a state dict")
    if called.text in _TENSORS:
        return View(*arguments[:4])
    if called.text == _PARAMETER:
        return arguments[0]
    made = {}
    for key, item in arguments[0] if arguments else ():
        _fill(made, [key, item])
    return made


def _storage(reference: object) -> Storage:
    # ("storage", its type, its key, the device, how many numbers) and, in the older format, None
    whole = isinstance(reference, tuple) and reference[:1] == ("storage",) and reference[5:] in ((), (None,))
    name, key, length = (reference[1], reference[2], reference[4]) if whole else (None, None, None)
    if not isinstance(name, _Name) or name.text not in _STORAGES or not isinstance(key, str) or not all_whole([length]):
        raise ValueError("it refers to something other than the storage of a tensor")
    return Storage(key, _STORAGES[name.text], length)
