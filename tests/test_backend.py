import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.backend import pinned_state

STRANGE = {
    "image_data_format": "channels_first",
    "floatx": "float16",
    "epsilon": 0.1,
    "max_steps_per_epoch": 1,
}


@pytest.fixture
def strange_state():
    """What a user's keras.json, variables or script may have set."""
    before = {name: getattr(keras.config, name)() for name in STRANGE}
    for name, value in STRANGE.items():
        getattr(keras.config, f"set_{name}")(value)
    yield
    for name, value in before.items():
        getattr(keras.config, f"set_{name}")(value)


def state():
    return {name: getattr(keras.config, name)() for name in STRANGE}


def fitted(toy_pixels):
    images, labels = toy_pixels
    tuner = tiny_tuner(head=tl.Head(hidden=(), pooling="avg"), phases=tl.Phase(1, 1e-2, unfreeze="all"))
    return tuner.fit((images[:28], labels[:28]), (images[28:], labels[28:]), seed=0, store=False)


def answers(classifier, toy_pixels):
    samples = tl.from_arrays(np.tile(toy_pixels[0], (2, 1, 1, 1)), None)  # more than one batch
    return classifier.predict(samples).probs, classifier.features(samples), classifier.features(samples, layer="conv1")


def test_what_else_was_set_in_keras_moves_no_result(toy_pixels, request):
    plain = fitted(toy_pixels)
    expected = answers(plain, toy_pixels)
    request.getfixturevalue("strange_state")
    strange = fitted(toy_pixels)
    assert strange.history.drop(columns="seconds").equals(plain.history.drop(columns="seconds"))
    for ours, theirs in zip(answers(strange, toy_pixels), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert state() == STRANGE  # what is the user's is left to the user


@pytest.mark.usefixtures("strange_state")
def test_networks_are_built_and_loaded_for_channels_last_in_float32(tmp_path):
    model = tl.build_classifier(TINY, n_classes=2, image_size=(32, 32))
    encoder = tl.build_encoder("resnet18", weights=None, image_size=(64, 64))
    classifier = tl.TunedClassifier(model=model, class_names=("a", "b"), image_size=(32, 32))
    loaded = tl.load(classifier.save(tmp_path))
    assert encoder.output_shape == (None, 512)
    for network in (model, encoder, loaded.model):
        assert {layer.data_format for layer in network.layers if hasattr(layer, "data_format")} == {"channels_last"}
        assert {weight.dtype for weight in network.weights} == {"float32"}
    assert state() == STRANGE


@pytest.mark.usefixtures("strange_state")
def test_the_state_is_back_when_the_last_one_is_outside_also_after_an_error():
    @pinned_state()
    def fails():
        with pinned_state():
            pass
        assert keras.config.image_data_format() == "channels_last"
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert state() == STRANGE


def run(code, home, **variables):
    paths = os.pathsep.join([str(Path(tl.__file__).parents[1]), str(Path(__file__).parent)])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KERAS_")}
    environment |= {"KERAS_HOME": str(home), "PYTHONPATH": paths} | variables
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["torch", "no such"])
def test_another_backend_is_refused_before_it_is_loaded(name, tmp_path):
    code = "import sys, tlkeras as tl\n"
    doors = ("tl.read_pixels", "tl.build_classifier", "tl.load", "tl.grad_cam", "tl.Tuner('vgg16').fit(1, seed=0)")
    for door in doors:
        code += f"try:\n    {door}\nexcept tl.InputError as error:\n    print(error)\n"
    done = run(code + f"print({{'keras', {name!r}}} & set(sys.modules))", tmp_path, KERAS_BACKEND=name)
    said = (
        f"Keras' backend is {name!r}, says the variable KERAS_BACKEND; tlkeras decodes and computes with TensorFlow. "
        "Set KERAS_BACKEND=tensorflow before Python starts, or before Keras is first imported."
    )
    assert done.stdout.splitlines() == [said] * len(doors) + ["set()"]


def test_a_backend_that_keras_json_names_is_refused_with_the_file(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    done = run("import tlkeras as tl; tl.load", tmp_path)
    assert f"InputError: Keras' backend is 'jax', says {tmp_path / 'keras.json'};" in done.stderr


def test_declarations_and_tables_do_not_ask_for_the_backend(tmp_path):
    assert run("import tlkeras as tl; tl.Tuner('vgg16'); tl.score", tmp_path, KERAS_BACKEND="torch").returncode == 0


@pytest.mark.slow
def test_a_users_keras_json_moves_no_result(tmp_path):
    code = "import numpy as np, tlkeras as tl; from tiny import tiny_tuner; rng = np.random.default_rng(0)\n"
    code += "train = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8), np.arange(40) % 2\n"
    code += "fitted = tiny_tuner().fit(train, train, seed=0, store=False)\n"
    code += "print(fitted.probe(), list(fitted.history.val_loss))"
    (tmp_path / "keras.json").write_text(json.dumps({**STRANGE, "backend": "tensorflow"}))
    strange = run(code, tmp_path, KERAS_MAX_STEPS_PER_EPOCH="1")
    plain = run(code, tmp_path / "none")
    assert plain.stdout.startswith("[0.")
    assert strange.stdout == plain.stdout
