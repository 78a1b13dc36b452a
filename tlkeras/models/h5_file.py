"""Looks through an HDF5 file before anything is read out of it."""

from __future__ import annotations

import io
import math
import mmap
from pathlib import Path
from typing import Any

import h5py

from tlkeras.errors import InputError

FREE_SIZE = 64 * 2**20  # bytes that may unpack out of less
LARGEST_RATIO = 100  # beyond that, bytes unpacked per byte stored; weights hardly pack at all, zeros 1000 times
_HEAP = b"GCOL\1\0\0\0"  # https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, "Global Heap"
_NUMBERS = "fiubV"  # NumPy's kinds of dtype; bfloat16 is void to it


def count_numbers(content: Path | bytes, name: object) -> int:
    """How many numbers the arrays of an HDF5 file hold, once it is clear that all of them lie in the file itself.

    Nothing but the file's structure is read. Links other than hard ones, arrays that take their numbers from other
    files or other arrays, and references are refused wherever they stand, whether Keras would come by or not.

    Args:
        content: the file, or its bytes.
        name: what messages call it.

    Raises:
        InputError: something in it leads out of it, is no array of numbers, or unpacks to far more than is stored.
        Exception: h5py's, of no common type, where the file is damaged.
    """
    numbers, unpacked, seen = 0, 0, set()
    if isinstance(content, Path):
        with open(content, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            _check_heaps(mapped)
    else:
        _check_heaps(content)
    with h5py.File(content if isinstance(content, Path) else io.BytesIO(content), "r") as file:
        pending = [file["/"]]
        while pending:
            group = pending.pop()
            _check_attributes(group, name)
            for key in group:
                where = f"{group.name.rstrip('/')}/{key}"
                link = group.get(key, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    raise _refused(name, where, {h5py.SoftLink: "a link"}.get(type(link), "a link to another file"))
                found = group[key]
                address = h5py.h5o.get_info(found.id).addr
                if address in seen:  # a group may hold itself
                    continue
                seen.add(address)
                if isinstance(found, h5py.Group):
                    pending.append(found)
                    continue
                numbers += math.prod(_checked_shape(found, name, where))
                unpacked += _unpacked(found, name, where)
                _check_attributes(found, name)
        stored = file.id.get_filesize()
    if unpacked > max(FREE_SIZE, LARGEST_RATIO * stored):
        raise _bomb(name, "together its arrays", unpacked, stored)
    return numbers


def _check_heaps(content: bytes | mmap.mmap) -> None:
    """Refuses a heap of texts with a gap of no length, in which HDF5 (1.14.6) would look for the next text for ever."""
    heap = content.find(_HEAP)
    while heap != -1:
        place = heap + 16
        end = min(heap + int.from_bytes(content[heap + 8 : place], "little"), len(content))
        while place + 16 <= end:
            index = int.from_bytes(content[place : place + 2], "little")
            size = int.from_bytes(content[place + 8 : place + 16], "little")
            if index == 0 and size == 0:
                raise ValueError(f"its texts at byte {heap:,} have no end")
            place += 16 + -(-size // 8) * 8 if index else size  # a gap counts its own header
        heap = content.find(_HEAP, heap + 1)


def _checked_shape(found: Any, name: object, where: str) -> tuple[int, ...]:
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        raise _refused(name, where, "something other than an array")
    if found.external or found.is_virtual:
        raise _refused(name, where, "an array whose numbers lie elsewhere")
    if found.dtype.kind not in _NUMBERS or found.dtype.names is not None:
        raise _refused(name, where, f"an array of {found.dtype}")
    return found.shape


def _unpacked(found: h5py.Dataset, name: object, where: str) -> int:
    size, stored = math.prod(found.shape) * found.dtype.itemsize, found.id.get_storage_size()
    if size > max(FREE_SIZE, LARGEST_RATIO * stored):
        raise _bomb(name, where, size, stored)
    return size


def _check_attributes(found: h5py.HLObject, name: object) -> None:
    for key in found.attrs:
        attribute = found.attrs.get_id(key)
        where = f"{found.name}, attribute {key}"
        if h5py.check_ref_dtype(attribute.dtype) is not None:
            raise _refused(name, where, "a reference")
        size = math.prod(attribute.shape or ()) * attribute.dtype.itemsize
        if size > FREE_SIZE:
            raise _bomb(name, where, size, FREE_SIZE)


def _refused(name: object, where: str, found: str) -> InputError:
    return InputError(
        f"{name} holds {found} at {where:.200}; accepted are arrays of numbers that lie in the file itself. Nothing "
        "that it points at was read. Save the weights again with Keras."
    )


def _bomb(name: object, where: str, size: int, stored: int) -> InputError:
    return InputError(
        f"{name}: {where:.200} would unpack {size:,} bytes out of {stored:,}; no network's weights do. Copy the file "
        "again from where it was saved, or save it again with Keras."
    )
