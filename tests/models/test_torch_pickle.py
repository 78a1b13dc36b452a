import io
import pickle
from pathlib import Path

import pytest

from tlkeras.errors import InputError
from tlkeras.models.torch_pickle import Storage, View, follow_pickle

PATH = Path("state.pth")
STORAGE = b"(X\x07\x00\x00\x00storagectorch.cuda\nHalfStorage\nX\x01\x00\x00\x007X\x06\x00\x00\x00cuda:0K\x06tQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\x02K\x04\x85K\x01\x85\x89NtR"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_are_what_pickle_makes_of_them_and_the_stream_stands_behind(protocol):
    value = {"a": [1, -70000, 2**40, 0.5, None, True, False], "b": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)), "c": {}}
    value["d"] = value["a"]  # once more, out of the memo
    stream = io.BytesIO(pickle.dumps(value, protocol=protocol) + b"rest")
    made = follow_pickle(stream, PATH)
    assert made == value
    assert made["d"] is made["a"]
    assert stream.read() == b"rest"


def test_tensors_come_as_they_are_described():
    view = View(Storage("7", "f2", 6), 2, (4,), (1,))
    assert follow_pickle(io.BytesIO(b"\x80\x02" + TENSOR + b"."), PATH) == view
    parameter = b"\x80\x02ctorch._utils\n_rebuild_parameter\n(" + TENSOR + b"\x88ccollections\nOrderedDict\n)RtR."
    assert follow_pickle(io.BytesIO(parameter), PATH) == view


def test_dicts_may_be_made_of_pairs_and_carry_what_is_dropped():
    pairs = b"\x80\x02ccollections\nOrderedDict\n(](](U\x01aK\x01eetR}U\x09_metadataK\x01sb."  # as Python 2 does
    assert follow_pickle(io.BytesIO(pairs), PATH) == {"a": 1}


def test_a_name_is_refused_before_anything_behind_it_is_looked_at():
    with pytest.raises(InputError, match=r"state\.pth names os\.system.*Nothing of it was run"):
        follow_pickle(io.BytesIO(b"cos\nsystem\n" + b"\xff"), PATH)
