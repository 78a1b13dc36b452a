import keras
import pytest
from tiny import TINY, build_tiny

from tlkeras.models.classifier import build_encoder
from tlkeras.models.model_file import read_model
from tlkeras.schema import InputError


def test_a_model_comes_back_uncompiled(tmp_path):
    model = build_tiny(keras.Input((32, 32, 3)))
    model.compile("adam", "mse")
    model.save(tmp_path / "tiny.keras")
    back = read_model(tmp_path / "tiny.keras")
    assert not back.compiled
    for ours, theirs in zip(back.get_weights(), model.get_weights(), strict=True):
        assert (ours == theirs).all()


@pytest.mark.parametrize("read", [read_model, lambda path: build_encoder(TINY, image_size=(32, 32), weights=path)])
def test_code_in_a_file_is_not_run_whatever_the_file_is_wanted_for(tmp_path, read):
    trace = str(tmp_path / "trace")
    leave = lambda x, path=trace: __import__("pathlib").Path(path).touch() or x  # noqa: E731
    pixels = keras.Input((32, 32, 3))
    keras.Model(pixels, build_tiny(keras.layers.Lambda(leave)(pixels)).output).save(tmp_path / "code.keras")
    (tmp_path / "trace").unlink()  # building the model ran it
    with pytest.raises(InputError, match="holds a Lambda, whose code would come out of the file"):
        read(tmp_path / "code.keras")
    assert not (tmp_path / "trace").exists()
