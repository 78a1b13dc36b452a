import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from tiny import TINY

import tlkeras as tl
from tlkeras.models.formats import FORMATS, get_format, in_float32, write_network
from tlkeras.terminal import quiet_terminal

# Its preprocessing turns the channels round with an operation that is no layer.
CAFFE = replace(TINY, preprocessing="caffe")


def needs(name):
    missing = [module for module in FORMATS[name].packages if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed (tlkeras[{name}])")


def network(backbone=CAFFE, image_size=(32, 24), **arguments):
    head = tl.Head(hidden=(), dropout=0.5, pooling="avg")
    model = tl.build_classifier(backbone, n_classes=3, image_size=image_size, head=head, seed=1, **arguments)
    for variable in model.layers[-1].weights or model.layers[-2].weights:
        variable.assign(variable / 100)  # grey levels that were not scaled would make it sure of everything
    return model


def noise(n, image_size=(32, 24)):
    return np.random.default_rng(0).integers(0, 256, (n, *image_size, 3)).astype(np.float32)


def written(name, folder, model, image_size=(32, 24)):
    path, format = folder / FORMATS[name].default_name, get_format(name)
    with quiet_terminal():
        write_network(model, image_size, path, format)
    return path


def tensorflow(path):
    import tensorflow as tf

    network = tf.saved_model.load(str(path))
    return lambda pixels: network.serve(pixels).numpy()


def litert(path):
    from ai_edge_litert.interpreter import Interpreter

    def run(pixels):
        interpreter = Interpreter(str(path))
        ((given,), (answer,)) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(given["index"], pixels.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], pixels)
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])

    return run


def onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    return lambda pixels: session.run(None, {"pixels": pixels})[0]


@pytest.mark.parametrize(
    ("name", "runtime"),
    [
        ("savedmodel", tensorflow),
        pytest.param("tflite", litert, marks=[needs("tflite"), pytest.mark.slow]),
        pytest.param("onnx", onnx, marks=[needs("onnx"), pytest.mark.slow]),
    ],
)
def test_what_is_written_answers_as_the_network_for_any_number_of_images(name, runtime, tmp_path):
    model, pixels = network(), noise(5)
    path = written(name, tmp_path, model)
    expected = model.predict_on_batch(pixels)
    assert np.ptp(expected, axis=0).max() > 0.01
    run, call = FORMATS[name].open(path)
    for n in (1, 5):
        np.testing.assert_allclose(run(pixels[:n]), expected[:n], atol=1e-6)
        np.testing.assert_allclose(runtime(path)(pixels[:n]), expected[:n], atol=1e-6)
    assert "pixels" in call


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2_035", "vgg16"])
@pytest.mark.parametrize(
    "name", ["savedmodel", pytest.param("tflite", marks=needs("tflite")), pytest.param("onnx", marks=needs("onnx"))]
)
def test_networks_of_the_table_can_be_written(name, backbone, tmp_path):
    model, pixels = network(backbone, (64, 64)), noise(3, (64, 64))
    run, _ = FORMATS[name].open(written(name, tmp_path, model, (64, 64)))
    np.testing.assert_allclose(run(pixels), model.predict_on_batch(pixels), atol=1e-5)


def test_sides_that_a_network_leaves_open_are_those_of_the_image_size(tmp_path):
    import keras

    pixels = keras.Input((None, None, 3))
    model = keras.Model(pixels, keras.layers.Dense(2, "softmax")(keras.layers.GlobalAveragePooling2D()(pixels)))
    run, _ = FORMATS["savedmodel"].open(written("savedmodel", tmp_path, model))
    np.testing.assert_allclose(run(noise(2)), model.predict_on_batch(noise(2)), atol=1e-6)
    with pytest.raises(Exception, match="16"):
        run(noise(2, (16, 16)))


def test_in_float32_is_the_network_of_these_weights_in_float32():
    half, exact = network(precision="bfloat16"), network(precision="float32")
    twin, pixels = in_float32(half), noise(4)
    assert {layer.compute_dtype for layer in twin.layers} == {"float32"}
    np.testing.assert_array_equal(twin.predict_on_batch(pixels), exact.predict_on_batch(pixels))
    assert np.abs(half.predict_on_batch(pixels) - exact.predict_on_batch(pixels)).max() > 1e-5
    assert "bfloat16" in {layer.compute_dtype for layer in half.layers}  # as it was


def test_a_network_that_cannot_be_converted_is_refused_in_words(tmp_path):
    class Odd:
        def export(self, *arguments, **options):
            raise RuntimeError("no such operation")

    with pytest.raises(tl.InputError, match=r"cannot be written as onnx \(RuntimeError: no such operation\)"):
        write_network(Odd(), (8, 8), tmp_path / "a.onnx", FORMATS["onnx"])


def test_unknown_formats_and_missing_packages_are_named(monkeypatch):
    with pytest.raises(tl.InputError, match="received 'torch'; accepted are savedmodel, onnx, tflite"):
        get_format("torch")
    packages = {"json": "json", "no_such_module": "no-such-package"}
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], packages=packages))
    with pytest.raises(tl.InputError, match=r"needs no-such-package, not .* pip install 'tlkeras\[onnx\]'"):
        get_format("onnx")
