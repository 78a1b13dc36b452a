import io
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from tiny import TINY, build_tiny

from tlkeras.errors import InputError
from tlkeras.models.classifier import build_encoder
from tlkeras.models.h5_file import FREE_SIZE, count_numbers

SECRET = np.arange(16, dtype=np.float32)


def written(fill):
    """The bytes of a file that holds what `fill(file)` puts there."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        fill(file)
    return content.getvalue()


def link_out(file, folder):
    file["layer/kernel"] = h5py.ExternalLink(str(folder / "secret.h5"), "/numbers")


def link_inside(file, folder):
    file["layer/bias"] = SECRET
    file["layer/kernel"] = h5py.SoftLink("/layer/bias")


def take_the_bytes_of_another_file(file, folder):
    file.create_dataset("layer/kernel", (16,), "f4", external=[(str(folder / "secret.bin"), 0, 64)])


def take_the_numbers_of_another_file(file, folder):
    layout = h5py.VirtualLayout((16,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "numbers", (16,))
    file.create_virtual_dataset("layer/kernel", layout)


def declare_terabytes(file, folder):
    file.create_dataset("layer/kernel", (2**40,), "f4", chunks=(2**20,), compression="gzip")


def declare_many(file, folder):
    for number in range(8):
        file.create_dataset(f"layer/kernel{number}", (FREE_SIZE // 4,), "f4", chunks=(2**20,))


def refer(file, folder):
    file["layer/bias"] = SECRET
    file.create_dataset("layer/kernel", data=[file["layer/bias"].ref], dtype=h5py.ref_dtype)


def refer_in_an_attribute(file, folder):
    file["layer/bias"] = SECRET
    file["layer"].attrs["weight_names"] = file["layer/bias"].ref


def hold_text(file, folder):
    file["layer/kernel"] = ["/etc/passwd"]


def hold_a_type(file, folder):
    file["layer/kernel"] = np.dtype("f4")


def hold_nothing(file, folder):
    file["layer/kernel"] = h5py.Empty("f4")


EVIL = {
    link_out: r"holds a link to another file at /layer/kernel",
    link_inside: r"holds a link at /layer/kernel",
    take_the_bytes_of_another_file: r"holds an array whose numbers lie elsewhere at /layer/kernel",
    take_the_numbers_of_another_file: r"holds an array whose numbers lie elsewhere at /layer/kernel",
    declare_terabytes: r"/layer/kernel would unpack 4,398,046,511,104 bytes out of 0",
    declare_many: r"together its arrays would unpack 536,870,912 bytes",
    refer: r"holds an array of object at /layer/kernel",
    refer_in_an_attribute: r"holds a reference at /layer, attribute weight_names",
    hold_text: r"holds an array of object at /layer/kernel",
    hold_a_type: r"holds something other than an array at /layer/kernel",
    hold_nothing: r"holds something other than an array at /layer/kernel",
}
evil = pytest.mark.parametrize(("fill", "said"), EVIL.items(), ids=[fill.__name__ for fill in EVIL])


@pytest.fixture
def outside(tmp_path):
    """A folder with files that nobody gave."""
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["numbers"] = SECRET
    return tmp_path


@evil
def test_what_leads_out_of_a_file_or_swells_is_refused(outside, fill, said):
    content = written(lambda file: fill(file, outside))
    with pytest.raises(InputError, match=rf"some\.h5.*{said}"):
        count_numbers(content, "some.h5")
    (outside / "some.h5").write_bytes(content)
    with pytest.raises(InputError, match=said):
        count_numbers(outside / "some.h5", outside / "some.h5")


@evil
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_it_is_refused_for_weights_before_a_number_is_loaded(outside, fill, said, suffix):
    path = outside / f"weights{suffix}"
    path.write_bytes(written(lambda file: fill(file, outside)))
    with pytest.raises(InputError, match=said):
        build_encoder(TINY, image_size=(32, 32), weights=path)


def test_numbers_are_counted_once_each(tmp_path):
    def fill(file):
        file["a/b"] = np.zeros((2, 3), np.float32)
        file["a/c"] = np.zeros((), np.int64)
        file["a/d"] = np.zeros((4, 0), np.float16)
        file["e"] = file["a/b"]  # the same array under another name
        file["a/again"] = file["/"]  # a group that holds itself
        file["a"].attrs["name"] = "conv1"

    assert count_numbers(written(fill), "some.h5") == 7


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_keras_saves_is_taken(tmp_path, dtype):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, dtype=dtype)])
    model.save_weights(tmp_path / "a.weights.h5")
    assert count_numbers(tmp_path / "a.weights.h5", "a") == 18
    tiny = build_tiny(keras.Input((32, 32, 3)))
    tiny.save_weights(tmp_path / "b.weights.h5")
    assert count_numbers(tmp_path / "b.weights.h5", "b") == tiny.count_params()


def test_arrays_that_pack_well_are_taken():
    content = written(lambda file: file.create_dataset("a", data=np.zeros(2**20, np.float32), compression="gzip"))
    assert len(content) < 2**16
    assert count_numbers(content, "some.h5") == 2**20


@pytest.fixture
def endless(tmp_path):
    """A file in which HDF5 looks for a text for ever."""
    content = bytearray(written(lambda file: file.attrs.create("layer_names", ["conv1", "conv2"])))
    heap = content.find(b"GCOL")
    content[heap + 16 : heap + 32] = bytes(16)  # the first text becomes a gap of length 0
    (tmp_path / "endless.h5").write_bytes(content)
    return tmp_path / "endless.h5"


def test_a_heap_of_texts_without_end_does_not_stop_the_process(endless):
    with pytest.raises(ValueError, match=r"its texts at byte \d+ have no end"):
        count_numbers(endless, endless)
    with pytest.raises(InputError, match=r"endless\.h5 does not load into tiny"):
        build_encoder(TINY, image_size=(32, 32), weights=endless)


@pytest.mark.slow
def test_hdf5_itself_never_comes_back_from_it(endless):  # once it does, the check above can go
    read = f"import h5py; h5py.File({str(endless)!r}).attrs['layer_names']"
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", read], timeout=5, capture_output=True)
