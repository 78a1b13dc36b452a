"""Unpickles a state dict of PyTorch, and nothing else: no function that the file names is called."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tlkeras.errors import InputError

LARGEST_PICKLE = 10_000_000  # bytes, which describe some 50,000 tensors and unpickled take a hundred times as much
BFLOAT16 = "bfloat16"  # NumPy has none; the other kinds are its names

# {the file's name of a dtype: NumPy's}
_STORAGES = {
    **{"HalfStorage": "f2", "FloatStorage": "f4", "DoubleStorage": "f8", "BFloat16Storage": BFLOAT16},
    **{"CharStorage": "i1", "ShortStorage": "i2", "IntStorage": "i4", "LongStorage": "i8"},
    **{"ByteStorage": "u1", "BoolStorage": "?"},
}


class Storage(NamedTuple):
    """A run of `length` numbers of dtype `kind`, kept in the file under `key`."""

    key: str
    kind: str
    length: int


class View(NamedTuple):
    """A tensor as the pickle describes it, with all that PyTorch gives for one: nothing about it is checked."""

    storage: Any
    offset: Any
    size: Any
    stride: Any
    requires_grad: object = None
    hooks: object = None
    metadata: object = None


def unpickle(stream: BinaryIO, path: Path) -> Any:
    """What one pickle of the file `path` puts together, its tensors as `View`s; the stream stands behind it.

    Raises:
        InputError: it names what is no part of a state dict.
        Exception: of any type, where it is damaged or has an instruction that no state dict has.
    """
    return _Unpickler(stream, path).load()


def all_whole(values: Sequence[object]) -> bool:
    """Whether each is an int of at least 0."""
    return all(type(value) is int and value >= 0 for value in values)


class _Named(dict):
    """{name: value}. Python would have to hash any other key, which of tuples in tuples takes all of the stack, or all
    of time."""

    __slots__ = ()

    def __init__(self, pairs: list | None = None):
        super().__init__()
        for name, value in pairs or ():
            self[name] = value
        if pairs:
            pairs.clear()  # the pickle may refer to them again, and copies of copies fill any memory

    def __setitem__(self, name: object, value: object) -> None:
        if not isinstance(name, str):
            raise ValueError("its pickle fills something other than a list or a dict of names")
        super().__setitem__(name, value)


class _Kind(NamedTuple):
    """What a file names where it names the type of a storage."""

    kind: str


_NAMED = {
    "collections.OrderedDict": _Named,
    "torch._utils._rebuild_tensor_v2": View,
    "torch._utils._rebuild_tensor": View,
    "torch._utils._rebuild_parameter": lambda tensor, requires_grad, hooks: tensor,
    **{f"{module}.{name}": _Kind(kind) for module in ("torch", "torch.cuda") for name, kind in _STORAGES.items()},
}
_INSTRUCTIONS = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE "
    "BINSTRING SHORT_BINSTRING EMPTY_LIST APPEND APPENDS SETITEM SETITEMS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BINPERSID"
)


class _Whole(NamedTuple):
    """A stream that ends where it has less than it is asked for: half a name would be taken for another one."""

    stream: BinaryIO

    def read(self, size: int) -> bytes:
        content = self.stream.read(size)
        if len(content) < size:
            raise EOFError("it ends in the middle")
        return content

    def readline(self) -> bytes:
        line = self.stream.readline()
        if not line.endswith(b"\n"):
            raise EOFError("it ends in the middle")
        return line


def _refuse(unpickler: pickle._Unpickler) -> None:
    raise ValueError("its pickle has an instruction that PyTorch writes in no state dict")


_IN_PYTHON: Any = pickle._Unpickler  # no stub knows what it has


class _Unpickler(_IN_PYTHON):
    """Python's unpickler with the instructions, and the names, of a state dict alone.

    It is the unpickler written in Python, because the one written in C cannot be restricted to some instructions, and
    falls to files that name nothing forbidden (tests/models/test_torch_pickle.py has them): it makes room for 2**32
    memorised values at the request of five bytes, sets the attributes of any function it was given, and hashes whatever
    is a key of a dict: tuples a million deep end the process, and sixty pairs of the pair before take 2**60 steps.
    """

    dispatch = dict.fromkeys(range(256), _refuse) | {
        code: _IN_PYTHON.dispatch[code] for code in (getattr(pickle, name)[0] for name in _INSTRUCTIONS.split())
    }

    def __init__(self, stream: BinaryIO, path: Path):
        super().__init__(_Whole(stream), encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> object:
        full = f"{module}.{name}"
        if full not in _NAMED:
            raise InputError(
                f"{self._path} names {full:.100}, which is no part of a state dict: a file that does can run code when "
                "PyTorch loads it. Nothing of it was run here. Save the tensors alone, with "
                "torch.save(model.state_dict(), path), or take a .safetensors file."
            )
        return _NAMED[full]

    def persistent_load(self, pid: object) -> Storage:
        # ("storage", its type, its key, the device, how many numbers) and, in the older format, None
        if isinstance(pid, tuple) and len(pid) >= 5 and pid[:1] == ("storage",) and pid[5:] in ((), (None,)):
            _, kind, key, _, length = pid[:5]
            if isinstance(kind, _Kind) and isinstance(key, str) and all_whole([length]):
                return Storage(key, kind.kind, length)
        raise ValueError("it refers to something other than the storage of a tensor")

    def _new_dict(self) -> None:
        self.append(_Named())

    dispatch[pickle.EMPTY_DICT[0]] = _new_dict

    def _drop_state(self) -> None:
        self.stack.pop()  # the versions of the modules, which state_dict() hangs on its dict
        if not isinstance(self.stack[-1], _Named):
            raise ValueError("it gives a state to something that has none")

    dispatch[pickle.BUILD[0]] = _drop_state
