import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tlkeras.errors import InputError
from tlkeras.models.torch_pickle import Storage, View, unpickle

PATH = Path("state.pth")
STORAGE = b"(X\x07\x00\x00\x00storagectorch.cuda\nHalfStorage\nX\x01\x00\x00\x007X\x06\x00\x00\x00cuda:0K\x06tQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\x02K\x04\x85K\x01\x85\x89NtR"


def made_of(instructions):
    return unpickle(io.BytesIO(instructions), PATH)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_are_what_pickle_makes_of_them_and_the_stream_stands_behind(protocol):
    value = {"a": [1, -70000, 2**40, 0.5, None, True, False], "b": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)), "c": {}}
    value["d"] = value["a"]  # once more, out of the memo
    stream = io.BytesIO(pickle.dumps(value, protocol=protocol) + b"rest")
    made = unpickle(stream, PATH)
    assert made == value
    assert made["d"] is made["a"]
    assert stream.read() == b"rest"


def test_tensors_come_as_they_are_described():
    view = View(Storage("7", "f2", 6), 2, (4,), (1,), False)
    assert made_of(b"\x80\x02" + TENSOR + b".") == view
    parameter = b"\x80\x02ctorch._utils\n_rebuild_parameter\n(" + TENSOR + b"\x88ccollections\nOrderedDict\n)RtR."
    assert made_of(parameter) == view


def test_dicts_may_be_made_of_pairs_and_carry_what_is_dropped():
    pairs = b"\x80\x02ccollections\nOrderedDict\n(](](U\x01bK\x02e](U\x01aK\x01eetR}U\x09_metadataK\x01sb."  # Python 2
    assert list(made_of(pairs).items()) == [("b", 2), ("a", 1)]


def test_a_name_is_refused_before_anything_behind_it_is_looked_at():
    with pytest.raises(InputError, match=r"state\.pth names os\.system.*Nothing of it was run"):
        made_of(b"cos\nsystem\n" + b"\xff")


def test_no_instruction_of_the_others_is_followed():
    text = pickle.BINUNICODE + b"\x01\0\0\0a"
    for name in ("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT4", "PERSID", "GET", "DICT", "LIST", "LONG4", "DUP"):
        with pytest.raises(ValueError, match="instruction that PyTorch writes in no state dict"):
            made_of(pickle.PROTO + b"\x02" + text + text + getattr(pickle, name) + b"\x01\0\0\0.")
    with pytest.raises(ValueError, match="instruction"):
        made_of(b"\xff")


@pytest.mark.parametrize("named", [b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", TENSOR])
def test_nothing_but_a_dict_is_given_a_state(named):
    state = b"N}X\x0c\x00\x00\x00__defaults__)s\x86"  # (None, {"__defaults__": ()}), which pickle sets one by one
    with pytest.raises(ValueError, match="gives a state"):
        made_of(b"\x80\x02" + named + state + b"b.")
    assert View(1, 2, 3, 4).hooks is None


NESTED = 1_000_000 * b"\x85"  # (((...),),)
PAIRS = b"K\x01" + b"".join(b"q\x01h\x01\x86" for _ in range(60))  # 60 levels of (t, t)


@pytest.mark.parametrize(
    "attack",
    [
        b"\x80\x02})" + NESTED + b"K\x01s.",  # its hash overflows the stack
        b"\x80\x02}(" + b")" + NESTED + b"K\x01u.",
        b"\x80\x02ccollections\nOrderedDict\n)R)" + NESTED + b"K\x01s.",
        b"\x80\x02}" + PAIRS + b"K\x01s.",  # its hash takes 2**60 steps
        b"\x80\x02ccollections\nOrderedDict\n]](" + PAIRS + b"K\x01ea\x85R.",
        b"\x80\x02}r\xff\xff\xff\x7f})r\xff\xff\xff\xffK\x01s.",  # the C unpickler takes 64 GB for its memory
    ],
    ids=["deep", "deep among many", "deep in an OrderedDict", "wide", "wide in pairs", "memory"],
)
def test_what_brings_down_pythons_unpickler_written_in_c_is_refused_at_once(tmp_path, attack):
    (tmp_path / "attack").write_bytes(attack)
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom tlkeras.models.torch_pickle import unpickle\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\n"
        "try:\n    unpickle(open(sys.argv[1], 'rb'), Path('state.pth'))\n"
        "except ValueError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "attack")], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "a dict of names" in done.stdout


def test_copies_of_a_long_list_of_pairs_are_not_made():
    # Twenty bytes of the file for each of 1,000 pairs, and 4 for each of 1,000 dicts of all of them.
    pairs = b"](" + b"".join(b"](X\x04\0\0\0%04dK\x01e" % number for number in range(1000)) + b"e\x85q\x01"
    made = made_of(b"\x80\x02](ccollections\nOrderedDict\nq\x00" + pairs + b"R" + 1000 * b"h\x00h\x01R" + b"e.")
    assert [len(one) for one in made] == [1000] + 1000 * [0]
