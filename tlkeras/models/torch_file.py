"""Reads the tensors of a PyTorch weights file with NumPy alone. Nothing that is in the file is executed."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tlkeras.errors import InputError, MissingInputError
from tlkeras.models.model_file import reading
from tlkeras.models.torch_pickle import BFLOAT16, LARGEST_PICKLE, Storage, View, all_whole, unpickle

LARGEST_HEADER = 100_000_000  # bytes, the limit that the safetensors format sets
_MOST_AXES = 64  # of a NumPy array
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001  # what the format before PyTorch 1.6 begins with

# {the file's name of a dtype: NumPy's}
_SAFETENSORS = {
    **{"F16": "f2", "F32": "f4", "F64": "f8", "BF16": BFLOAT16, "BOOL": "?"},
    **{f"{kind}{8 * size}": f"{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
}


def read_torch_file(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors in a weights file of PyTorch.

    Three formats are read: safetensors (https://github.com/huggingface/safetensors), and what
    `torch.save(model.state_dict(), path)` writes, both since PyTorch 1.6 (a zip archive) and before (see
    torch/serialization.py). The pickles inside the last two may put together a dict of tensors and do
    nothing else: the first other instruction, or name, refuses the file.

    Args:
        path: a file that ends in .safetensors, or one of PyTorch's, whatever its ending.

    Returns:
        {name: array}, in the file's order, each of the dtype it was saved in; bfloat16 as the float32 of equal value.

    Raises:
        MissingInputError: there is no such file.
        InputError: the file is damaged, is something else, or names code that would have to be run.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(f"there is no file {path}. Give a weights file of PyTorch: .safetensors, .pth or .pt.")
    with reading(path):
        content = path.read_bytes()
        if path.suffix == ".safetensors":
            return _read_safetensors(content)
        if content.startswith(b"PK\3\4"):
            return _read_zip(content, path)
        if content[257:262] == b"ustar":
            raise InputError(
                f"{path} is a tar file, PyTorch's format of 2016, which is not read. torchvision has published its "
                "files again since, with the same weights: resnet18-f37072fd.pth in place of resnet18-5c106cde.pth. "
                "Any other, load and save again with PyTorch."
            )
        return _read_legacy(content, path)


def _read_safetensors(content: bytes) -> dict[str, np.ndarray]:
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > min(LARGEST_HEADER, len(content) - 8):
        raise ValueError(f"its header would take {size:,} of {len(content):,} bytes")
    header = json.loads(content[8 : 8 + size].decode("utf-8"), object_pairs_hook=_each_once)
    header.pop("__metadata__", None)
    body, arrays, end = memoryview(content)[8 + size :], {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        shape, (begin, stop) = entry["shape"], entry["data_offsets"]
        if entry["dtype"] not in _SAFETENSORS:
            raise ValueError(f"{name} is of dtype {entry['dtype']!r}; accepted: {', '.join(_SAFETENSORS)}")
        if not isinstance(shape, list) or len(shape) > _MOST_AXES or not all_whole([begin, stop, *shape]):
            raise ValueError(f"{name} is of shape {shape} in bytes {begin} to {stop}, which no array can be")
        kind = _SAFETENSORS[entry["dtype"]]
        # The format allows neither gaps nor overlaps.
        if begin != end or stop != begin + math.prod(shape) * _item_size(kind) or stop > len(body):
            raise ValueError(
                f"{name} of shape {shape} and dtype {entry['dtype']} cannot lie in bytes {begin} to {stop}, behind "
                f"{end} bytes of other tensors and with {len(body)} in all"
            )
        arrays[name] = _numbers(body[begin:stop], kind).reshape(shape)
        end = stop
    if end != len(body):
        raise ValueError(f"{len(body) - end} bytes at its end belong to no tensor")
    return arrays


def _read_zip(content: bytes, path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        folders = [
            name.removesuffix("data.pkl") for name in names if name.count("/") == 1 and name.endswith("/data.pkl")
        ]
        if len(folders) != 1:
            raise ValueError(f"it is a zip archive with {len(folders)} data.pkl; PyTorch writes one")
        folder = folders[0]

        def member(name, size=None):
            info = archive.getinfo(folder + name)
            if size is not None and info.file_size != size:
                raise ValueError(f"{info.filename} in it has {info.file_size:,} bytes in place of {size:,}")
            # PyTorch compresses nothing; what is compressed can unpack to any size.
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(content):
                raise ValueError(f"{info.filename} in it is compressed, which PyTorch's files are not")
            return archive.read(info)

        if archive.getinfo(folder + "data.pkl").file_size > LARGEST_PICKLE:
            raise ValueError(f"data.pkl in it has more than {LARGEST_PICKLE:,} bytes")
        order = member("byteorder") if folder + "byteorder" in names else b"little"
        state = unpickle(io.BytesIO(member("data.pkl")), path)
        storages = _storages_of(state, len(content))
        stored = {key: member(f"data/{key}", _size_of(storage)) for key, storage in storages.items()}
    return _arrays(state, storages, stored, {b"little": "<", b"big": ">"}[order])


def _read_legacy(content: bytes, path: Path) -> dict[str, np.ndarray]:
    stream = io.BytesIO(content[:LARGEST_PICKLE])
    if [unpickle(stream, path) for _ in range(2)] != [_MAGIC, _VERSION]:
        raise ValueError("it does not begin as PyTorch's files do")
    unpickle(stream, path)  # the machine it was written on; the numbers are little-endian on every one
    state, keys = (unpickle(stream, path) for _ in range(2))
    storages, stored, begin = _storages_of(state, len(content)), {}, stream.tell()
    if not isinstance(keys, list) or any(not isinstance(key, str) or key not in storages for key in keys):
        raise ValueError("it lists numbers that belong to no tensor")
    for key in keys:
        length, begin = int.from_bytes(content[begin : begin + 8], "little"), begin + 8
        if length != storages[key].length:
            raise ValueError(f"storage {key} holds {length} numbers in place of {storages[key].length}")
        stored[key] = memoryview(content)[begin : begin + _size_of(storages[key])]
        begin += _size_of(storages[key])
    return _arrays(state, storages, stored, "<")


def _storages_of(state: object, limit: int) -> dict[str, Storage]:
    """{key: storage} of a state dict, which together take no more than `limit` bytes."""
    if not isinstance(state, dict) or not state:
        raise ValueError("it holds no state dict; torch.save(model.state_dict(), path) writes one")
    storages = {}
    for name, view in state.items():
        if not isinstance(view, View) or not isinstance(view.storage, Storage):
            raise ValueError(f"{name!r} in it is no tensor; torch.save(model.state_dict(), path) writes tensors alone")
        if storages.setdefault(view.storage.key, view.storage) != view.storage:
            raise ValueError(f"the storage of {name} is described in two ways")
    if sum(_size_of(storage) for storage in storages.values()) > limit:
        raise ValueError(f"its tensors would take more than its {limit:,} bytes")
    return storages


def _arrays(
    state: Mapping[str, View],
    storages: Mapping[str, Storage],
    stored: Mapping[str, bytes | memoryview],
    order: str,
) -> dict[str, np.ndarray]:
    numbers = {}
    for key, storage in storages.items():
        held = len(stored.get(key, b""))
        if held != _size_of(storage):
            raise ValueError(f"storage {key} has {held:,} bytes in place of {_size_of(storage):,}")
        numbers[key] = _numbers(stored[key], storage.kind, order)
    return {name: _array(name, view, numbers[view.storage.key]) for name, view in state.items()}


def _array(name: str, view: View, numbers: np.ndarray) -> np.ndarray:
    offset, size, stride = view.offset, view.size, view.stride
    sound = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= _MOST_AXES
    sound = sound and all_whole([offset, *size, *stride]) and math.prod(size) <= len(numbers)
    if sound and 0 in size:
        return np.empty(size, numbers.dtype)
    if not sound or offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) >= len(numbers):
        # The shape comes unchecked out of the file: tuples in tuples can take forever to write out.
        raise ValueError(f"the shape of {name} does not fit into its storage of {len(numbers)} numbers")
    steps = [step * numbers.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(numbers[offset:], size, steps, writeable=False)


def _numbers(stored: bytes | memoryview, kind: str, order: str = "<") -> np.ndarray:
    """(n,) numbers in the order of this machine's bytes."""
    if kind == BFLOAT16:
        return (np.frombuffer(stored, f"{order}u2").astype(np.uint32) << 16).view(np.float32)
    numbers = np.frombuffer(stored, f"{order}{kind}")
    return numbers.astype(numbers.dtype.newbyteorder("="), copy=False)


def _item_size(kind: str) -> int:
    return 2 if kind == BFLOAT16 else np.dtype(kind).itemsize


def _size_of(storage: Storage) -> int:
    return storage.length * _item_size(storage.kind)


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("its header has a name twice")
    return dict(pairs)
