import io
import json
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from make_resnet18_reference import REFERENCE, write_safetensors

from tlkeras.errors import InputError, MissingInputError
from tlkeras.models import torch_file
from tlkeras.models.torch_file import read_torch_file

MAGIC = 0x1950A86A20F9469CFC6C
NUMBERS = np.arange(6, dtype=np.float32)


class Attack:
    """What runs a command where it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


# Pickle instructions of a state dict, as `python -m pickletools` shows them.
def number(value):
    return b"J" + struct.pack("<i", value)


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


def storage(key="0", length=6, kind="FloatStorage", last=b""):
    return tuple_of(text("storage"), f"ctorch\n{kind}\n".encode(), text(key), text("cpu"), number(length), last) + b"Q"


def tensor(size=(2, 3), stride=(3, 1), offset=0, kept=None, rebuild="_rebuild_tensor_v2"):
    numbers = [tuple_of(*map(number, values)) for values in (size, stride)]
    arguments = tuple_of(kept or storage(), number(offset), *numbers, b"\x89", b"ccollections\nOrderedDict\n)R")
    return f"ctorch._utils\n{rebuild}\n".encode() + arguments + b"R"


def state(**tensors):
    items = b"".join(text(name) + made for name, made in tensors.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u."


def write_zip(path, pickled, stored=None, order=b"little", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("name/data.pkl", pickled)
        archive.writestr("name/byteorder", order)
        for key, content in ({"0": NUMBERS.tobytes()} if stored is None else stored).items():
            archive.writestr(f"name/data/{key}", content)
    return path


def write_legacy(path, pickled, stored=None):
    parts = [pickle.dumps(part, protocol=2) for part in (MAGIC, 1001, {"little_endian": True})] + [pickled]
    stored = {"0": NUMBERS} if stored is None else stored
    parts.append(pickle.dumps(list(stored), protocol=2))
    parts += [struct.pack("<q", len(numbers)) + numbers.tobytes() for numbers in stored.values()]
    path.write_bytes(b"".join(parts))
    return path


def write_header(path, header, body=b""):
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content + body)
    return path


WRITERS = {"zip": write_zip, "legacy": write_legacy}
both = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_what_torch_saved_is_read_as_it_was(tmp_path, form):
    reference = np.load(REFERENCE)
    path = tmp_path / "state.pth"
    path.write_bytes(reference[f"{form}_file"].tobytes())
    arrays = read_torch_file(path)
    dtypes = {"half": "f2", "double": "f8", "count": "i8", "flags": "?"}
    assert list(arrays) == ["whole", "part", "parameter", "half", "bfloat16", "double", "count", "flags", "empty"]
    for name, array in arrays.items():
        assert array.dtype == np.dtype(dtypes.get(name, "f4"))
        np.testing.assert_array_equal(array, reference[f"small_{name}"])
    np.testing.assert_array_equal(arrays["whole"], np.arange(12).reshape(3, 4) / 8)
    np.testing.assert_array_equal(arrays["part"], arrays["whole"][1:, 1:].T)
    np.testing.assert_array_equal(arrays["bfloat16"], np.float32([1, -3.140625, 1.0002555517e30]))


@both
def test_files_made_by_hand_are_read(tmp_path, write):
    path = write(tmp_path / "state.pt", state(a=tensor(), b=tensor((2,), (1,), 4, rebuild="_rebuild_tensor")))
    arrays = read_torch_file(path)
    np.testing.assert_array_equal(arrays["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(arrays["b"], [4, 5])


def test_big_endian_files_are_read(tmp_path):
    path = write_zip(tmp_path / "big.pt", state(a=tensor()), {"0": NUMBERS.astype(">f4").tobytes()}, order=b"big")
    array = read_torch_file(path)["a"]
    np.testing.assert_array_equal(array, NUMBERS.reshape(2, 3))
    assert array.dtype.isnative


def test_safetensors_are_read(tmp_path):
    arrays = {
        "a": NUMBERS.reshape(2, 3),
        "b": np.array(3, dtype=np.int64),
        "c": np.array([0.5, 65504], dtype=np.float16),
        "d": np.zeros((0, 4), dtype=np.float64),
    }
    write_safetensors(tmp_path / "some.safetensors", arrays)
    read = read_torch_file(tmp_path / "some.safetensors")
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    bits = struct.pack("<2H", 0x3F80, 0xC049)  # the upper halves of 1.0 and -3.140625
    entry = {"dtype": "BF16", "shape": [2, 1], "data_offsets": [0, 4]}
    read = read_torch_file(write_header(tmp_path / "half.safetensors", {"a": entry}, bits))
    np.testing.assert_array_equal(read["a"], np.float32([[1], [-3.140625]]))


@both
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("at", ["whole", "value"])
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path, write, protocol, at):
    ran = tmp_path / "ran"
    attack = Attack(f"touch {ran}")
    pickled = pickle.dumps(attack if at == "whole" else {"conv1.weight": attack}, protocol=protocol)
    path = write(tmp_path / "attack.pth", pickled)
    with pytest.raises(InputError, match=r"attack\.pth names (posix|nt)\.system.*can run code"):
        read_torch_file(path)
    assert not ran.exists()
    pickle.loads(pickled)
    assert ran.exists()  # the same pickle does run code where it is unpickled


@pytest.mark.parametrize("first", [True, False])
def test_code_in_any_pickle_of_the_older_format_is_refused(tmp_path, first):
    attack = pickle.dumps(Attack(f"touch {tmp_path / 'ran'}"), protocol=2)
    path = write_legacy(tmp_path / "attack.pth", state(a=tensor()))
    whole = path.read_bytes()
    keys = pickle.dumps(["0"], protocol=2)
    path.write_bytes(attack + whole if first else whole.replace(keys, attack))
    with pytest.raises(InputError, match="can run code"):
        read_torch_file(path)
    assert not (tmp_path / "ran").exists()


@both
@pytest.mark.parametrize(
    ("pickled", "said"),
    [
        (b"\x80\x02cbuiltins\neval\n(X\x01\x00\x00\x001tR.", r"names builtins\.eval"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v3\n.", r"names torch\._utils\._rebuild_tensor_v3"),
        (b"\x80\x02ctorch.storage\nFloatStorage\n.", r"names torch\.storage\.FloatStorage"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "not callable"),
        (b"\x80\x02}(X\x01\x00\x00\x00aK\x01u)R.", "not callable"),
        (b"\x80\x02ccollections\nOrderedDict\n}b.", "gives a state"),
        (b"\x80\x02(iposix\nsystem\n.", "has an instruction"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "has an instruction"),
        (b"\x80\x02}((K\x01tK\x02u.", "a dict of names"),
        (b"\x80\x02" + storage(kind="FloatStorage")[:-1] + b".", "no state dict"),
        (state(a=number(3)), "'a' in it is no tensor"),
        (state(a=tensor(kept=number(3))), "'a' in it is no tensor"),
        (state(a=tensor(kept=tuple_of(text("module"), number(1)) + b"Q")), "other than the storage"),
        (state(a=tensor(kept=storage(last=text("view")))), "other than the storage"),
        (
            state(
                a=tensor(kept=tuple_of(text("storage"), tuple_of(text("f4")), text("0"), text("cpu"), number(6)) + b"Q")
            ),
            "other than the storage",
        ),
        (state(a=tensor(kept=storage(length=-6))), "other than the storage"),
        (state(), "no state dict"),
        (state(a=tensor())[:-1], "cannot be read"),
        (b"\x80\x02h\x05.", "cannot be read"),  # memory that was never filled
        (b"\x80\x02r\xff\xff\xff\xff.", "cannot be read"),  # of which Python's own unpickler takes 64 GB
    ],
)
def test_pickles_of_anything_but_tensors_are_refused(tmp_path, write, pickled, said):
    with pytest.raises(InputError, match=said):
        read_torch_file(write(tmp_path / "state.pth", pickled))


def test_a_key_nested_without_end_neither_crashes_nor_passes(tmp_path):
    nested = b"\x80\x02})" + 1_000_000 * b"\x85" + b"K\x01s."  # Python's hash of it overflows the stack
    path = write_zip(tmp_path / "deep.pth", nested)
    code = f"from tlkeras.models.torch_file import read_torch_file; read_torch_file({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "InputError" in done.stderr
    assert "a dict of names" in done.stderr


@both
@pytest.mark.parametrize(
    "made",
    [
        tensor((2, 3), (3, 1), 1),
        tensor((2, 3), (4, 1)),
        tensor((7,), (1,)),
        tensor((1,), (1,), 6),
        tensor((), (), 6),
        tensor((1,), (1,), -1),
        tensor((2, 3), (-3, 1), 3),
        tensor((-1, 3), (3, 1)),
        tensor((2, 3), (3,)),
        tensor((10_000, 10_000), (0, 0)),  # no byte outside, but 400 MB out of 24 bytes
        tensor((1,) * 65, (1,) * 65),
    ],
)
def test_tensors_outside_their_storage_are_refused(tmp_path, write, made):
    with pytest.raises(InputError, match="does not fit into its storage of 6 numbers"):
        read_torch_file(write(tmp_path / "state.pth", state(good=tensor(), bad=made)))


@both
def test_a_shape_of_tuples_in_tuples_is_refused_at_once(tmp_path, write):
    # 60 levels of (t, t): written out they would be 2**60 numbers.
    nested = tuple_of(number(1)) + b"".join(b"q\x01h\x01\x86" for _ in range(60)) + b"\x85"
    arguments = tuple_of(storage(), number(0), nested, tuple_of(number(1)), b"\x89", b"ccollections\nOrderedDict\n)R")
    made = b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"
    with pytest.raises(InputError, match="the shape of bad does not fit into its storage of 6 numbers"):
        read_torch_file(write(tmp_path / "state.pth", state(bad=made)))


def test_a_member_of_another_size_is_refused_unread(tmp_path):
    path = write_zip(tmp_path / "state.pth", state(a=tensor()), stored={"0": bytes(10_000)})
    with pytest.raises(InputError, match="has 10,000 bytes in place of 24"):
        read_torch_file(path)


@both
def test_a_storage_that_is_not_what_the_file_says_is_refused(tmp_path, write):
    def refused(said, *tensors, **stored):
        path = write(tmp_path / "state.pth", state(**dict(zip("ab", tensors, strict=False))), **stored)
        with pytest.raises(InputError, match=said):
            read_torch_file(path)

    refused("in place of", tensor(kept=storage(length=7)))
    refused("in place of", tensor((5,), (1,), kept=storage(length=5)))
    refused("described in two ways", tensor(), tensor((1,), (1,), kept=storage(length=6, kind="HalfStorage")))
    refused("would take more than", tensor((1,), (1,), kept=storage(length=2**31 - 1)))
    refused("in place of 24|no item named", tensor(), stored={})
    refused(r"names torch\.QUInt8Storage", tensor(kept=storage(kind="QUInt8Storage")))


def test_archives_that_torch_did_not_write_are_refused(tmp_path):
    path = write_zip(tmp_path / "state.pth", state(a=tensor()), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="is compressed"):
        read_torch_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.txt", "none")
    with pytest.raises(InputError, match=r"with 0 data\.pkl"):
        read_torch_file(path)
    with pytest.raises(InputError, match="middle"):
        read_torch_file(write_zip(path, state(a=tensor()), order=b"middle"))


@both
def test_a_key_is_no_path(tmp_path, write):
    (tmp_path / "0").write_bytes(NUMBERS.tobytes())
    for key in ("../../0", str(tmp_path / "0"), "..\\0"):
        with pytest.raises(InputError, match=r"no item named|belong to no tensor"):
            read_torch_file(write(tmp_path / "state.pth", state(a=tensor(kept=storage(key=key)))))


@both
def test_a_pickle_of_more_bytes_than_a_state_dict_needs_is_refused(tmp_path, write, monkeypatch):
    path = write(tmp_path / "state.pth", state(a=tensor()))
    monkeypatch.setattr(torch_file, "LARGEST_PICKLE", 200)  # the tensor takes some 180, and the older format some more
    assert write is write_legacy or list(read_torch_file(path)) == ["a"]
    path = write(path, state(a=tensor(), b=tensor()))
    with pytest.raises(InputError, match=r"more than 200 bytes|ends in the middle"):
        read_torch_file(path)


def test_numbers_that_no_tensor_has_are_refused(tmp_path):
    path = write_legacy(tmp_path / "state.pth", state(a=tensor()), {"0": NUMBERS, "1": NUMBERS})
    with pytest.raises(InputError, match="belong to no tensor"):
        read_torch_file(path)


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_a_file_cut_anywhere_is_refused(tmp_path, form):
    path = tmp_path / f"state.{form}"
    if form == "safetensors":
        write_safetensors(path, {"a": NUMBERS, "b": NUMBERS})
    else:
        path.write_bytes(np.load(REFERENCE)[f"{form}_file"].tobytes())
    whole = path.read_bytes()
    read_torch_file(path)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="cannot be read"):
            read_torch_file(path)


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_no_damage_to_a_byte_raises_anything_but_input_error(tmp_path, form):
    path = tmp_path / f"state.{form}"
    if form == "safetensors":
        write_safetensors(path, {"a": NUMBERS.reshape(2, 3), "b": NUMBERS})
    else:
        path.write_bytes(np.load(REFERENCE)[f"{form}_file"].tobytes())
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    saved, refused = read_torch_file(path), []
    for place, value in zip(rng.integers(0, len(whole), 500), rng.integers(0, 256, 500), strict=True):
        path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
        try:
            read = read_torch_file(path)
        except InputError as error:
            refused.append(str(error))
            assert whole[place] != value
            continue
        assert all(isinstance(numbers, np.ndarray) for numbers in read.values())
        if form == "zip":  # which has a checksum of its numbers
            assert [(name, read[name].tolist()) for name in read] == [(name, saved[name].tolist()) for name in saved]
    assert refused
    assert all(str(path) in said for said in refused)


GOOD = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"a": GOOD | {"data_offsets": [0, 28]}}, "cannot lie"),
        ({"a": GOOD | {"data_offsets": [4, 28]}}, "cannot lie"),
        ({"a": GOOD | {"data_offsets": [24, 0]}}, "cannot lie"),
        ({"a": GOOD | {"shape": [3, 3], "data_offsets": [0, 36]}}, "cannot lie"),
        ({"a": GOOD | {"shape": [2, 2]}}, "cannot lie"),
        ({"a": GOOD | {"data_offsets": [-24, 0]}}, "no array can be"),
        ({"a": GOOD | {"shape": [-2, -3]}}, "no array can be"),
        ({"a": GOOD | {"shape": [2.0, 3]}}, "no array can be"),
        ({"a": GOOD | {"shape": [6] + 64 * [1]}}, "no array can be"),
        ({"a": GOOD, "b": GOOD}, "cannot lie"),  # over one another
        ({"a": GOOD | {"shape": [4], "data_offsets": [0, 16]}}, "8 bytes at its end"),
        (
            {"a": GOOD | {"shape": [2], "data_offsets": [16, 24]}, "b": GOOD | {"shape": [2], "data_offsets": [0, 8]}},
            "lie",
        ),
        ({"a": GOOD | {"dtype": "F8_E4M3"}}, "is of dtype 'F8_E4M3'"),
        ({"a": {"dtype": "F32", "shape": [2, 3]}}, "cannot be read"),
        ([GOOD], "cannot be read"),
        (b'{"a": %s, "a": %s}' % (2 * (json.dumps(GOOD).encode(),)), "a name twice"),
        (b"{", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (200_000 * b"[", "cannot be read"),
    ],
)
def test_safetensors_headers_that_do_not_fit_the_file_are_refused(tmp_path, header, said):
    with pytest.raises(InputError, match=said):
        read_torch_file(write_header(tmp_path / "some.safetensors", header, NUMBERS.tobytes()))
    read_torch_file(write_header(tmp_path / "some.safetensors", {"a": GOOD}, NUMBERS.tobytes()))


@pytest.mark.parametrize("length", [2**63, 100_000_001, 61])
def test_an_absurd_header_length_is_refused(tmp_path, length):
    path = tmp_path / "some.safetensors"
    path.write_bytes(struct.pack("<Q", length) + 60 * b" ")
    with pytest.raises(InputError, match=f"its header would take {length:,} of 68 bytes"):
        read_torch_file(path)


def test_what_is_no_file_of_torch_is_named(tmp_path):
    with pytest.raises(MissingInputError, match=r"there is no file .*nowhere\.pth"):
        read_torch_file(tmp_path / "nowhere.pth")
    path = tmp_path / "state.pth"
    for content in (b"", b"<html>not found</html>", b"\x89HDF\r\n\x1a\n" + bytes(600), pickle.dumps({"a": 1}, 2)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"state\.pth cannot be read"):
            read_torch_file(path)
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO(b""))
    with pytest.raises(InputError, match=r"resnet18-f37072fd\.pth in place of resnet18-5c106cde\.pth"):
        read_torch_file(path)


def test_the_pickles_above_are_what_torch_writes():
    ours = {opcode.name for opcode, _, _ in pickletools.genops(state(a=tensor()))}
    archive = zipfile.ZipFile(io.BytesIO(np.load(REFERENCE)["zip_file"].tobytes()))
    (name,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
    real = {opcode.name for opcode, _, _ in pickletools.genops(archive.read(name))}
    assert ours - {"BININT"} <= real  # which torch writes for numbers above 65535
