"""A network as a file that runs without Keras: writing it, and running what was written."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.errors import InputError

if TYPE_CHECKING:
    import keras

Run = Callable[[np.ndarray], np.ndarray]  # float32 (n, H, W, 3) to probabilities (n, k), n of any size


@dataclass(frozen=True)
class Format:
    """A format that a network can be written in.

    Attributes:
        name: its key in `FORMATS`.
        keras_name: what keras.Model.export calls it.
        default_name: of the file or folder.
        suffix: that its name must have; empty for a folder.
        runtime: the distribution that runs it.
        packages: {import name: distribution} it needs beyond tlkeras' own, the extra of its name.
        open: loads a file afresh: (what runs it, how the same is called in Python).
    """

    name: str
    keras_name: str
    default_name: str
    suffix: str
    runtime: str
    packages: dict[str, str]
    open: Callable[[Path], tuple[Run, str]]


def get_format(name: str) -> Format:
    """The row of that name.

    Raises:
        InputError: there is none, or a package that it needs is not installed.
    """
    if name not in FORMATS:
        raise InputError(f"format: received {name!r}; accepted are {', '.join(FORMATS)}.")
    packages = FORMATS[name].packages
    missing = [packages[module] for module in packages if importlib.util.find_spec(module) is None]
    if missing:
        raise InputError(
            f"format: {name} needs {', '.join(missing)}, not installed here. pip install 'tlkeras[{name}]'"
        )
    return FORMATS[name]


def write_network(model: keras.Model, image_size: tuple[int, int], path: Path, format: Format) -> None:
    """Writes a network over pixels (n, H, W, 3) to `path`, n free and the sides those of `image_size`.

    Raises:
        InputError: it cannot be converted.
    """
    from tlkeras.backend import keras

    # A network may leave the sides of its images open, a converter may not.
    pixels = keras.InputSpec(shape=(None, *image_size, 3), dtype="float32", name="pixels")
    try:
        model.export(str(path), format=format.keras_name, verbose=False, input_signature=[pixels])
    except Exception as error:  # the converters raise whatever they run into
        raise InputError(
            f"format: this network cannot be written as {format.name} ({type(error).__name__}: {str(error)[:300]}). "
            f"Choose another of {', '.join(FORMATS)}."
        ) from error


def in_float32(model: keras.Model) -> keras.Model:
    """The same layers and weights, computing in float32."""
    from tlkeras.backend import keras
    from tlkeras.models.layers import copy_weights

    def exact(operation):
        if isinstance(operation, keras.Model):  # a member of an average
            return in_float32(operation)
        config = operation.get_config()
        if isinstance(operation, keras.layers.Layer):  # x[..., ::-1] is none, and has no precision
            config["dtype"] = "float32"
        return type(operation).from_config(config)

    twin = keras.models.clone_model(model, clone_function=exact)
    twin.name = model.name
    copy_weights(model, twin)
    return twin


def _open_savedmodel(path: Path) -> tuple[Run, str]:
    from tlkeras.backend import keras

    layer = keras.layers.TFSMLayer(str(path), call_endpoint="serve")
    call = "network = tensorflow.saved_model.load(folder); network.serve(pixels)"  # it must outlive the call
    return lambda pixels: keras.ops.convert_to_numpy(layer(pixels)), call


def _open_onnx(path: Path) -> tuple[Run, str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    call = f'onnxruntime.InferenceSession(file).run(None, {{"{name}": pixels}})[0]'
    return lambda pixels: session.run(None, {name: pixels})[0], call


def _open_tflite(path: Path) -> tuple[Run, str]:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner()
    (given,), (answer,) = runner.get_input_details(), runner.get_output_details()
    call = f'ai_edge_litert.interpreter.Interpreter(file).get_signature_runner()({given}=pixels)["{answer}"]'
    return lambda pixels: runner(**{given: pixels})[answer], call


FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        Format("savedmodel", "tf_saved_model", "savedmodel", "", "tensorflow", {}, _open_savedmodel),
        Format(
            name="onnx",
            keras_name="onnx",
            default_name="model.onnx",
            suffix=".onnx",
            runtime="onnxruntime",
            packages={"tf2onnx": "tf2onnx", "onnx": "onnx", "onnxruntime": "onnxruntime"},
            open=_open_onnx,
        ),
        # TensorFlow's own tf.lite.Interpreter is to be removed; LiteRT is what it became, and what devices run.
        Format(
            name="tflite",
            keras_name="litert",
            default_name="model.tflite",
            suffix=".tflite",
            runtime="ai-edge-litert",
            packages={"ai_edge_litert": "ai-edge-litert"},
            open=_open_tflite,
        ),
    )
}
