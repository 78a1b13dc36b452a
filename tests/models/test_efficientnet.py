import inspect

import keras
import numpy as np
import pytest

from tlkeras.models.classifier import build_encoder
from tlkeras.models.efficientnet import efficientnet

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.mark.slow
def test_with_a_file_of_imagenet_weights_the_features_are_those_of_keras_own_network(tmp_path, monkeypatch):
    theirs = keras.applications.EfficientNetB0(weights=None, include_top=False)
    rng = np.random.default_rng(0)
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
        if isinstance(layer, keras.layers.Normalization):  # as the published file has them: deviations for variances
            layer.set_weights([MEAN, DEVIATION, *layer.get_weights()[2:]])
    file = tmp_path / "efficientnetb0_notop.weights.h5"
    theirs.save_weights(file)
    module = inspect.getmodule(keras.applications.EfficientNetB0)
    monkeypatch.setattr(module.file_utils, "get_file", lambda *arguments, **options: str(file))
    theirs = keras.applications.EfficientNetB0(
        weights="imagenet", include_top=False, pooling="avg", input_shape=(64, 48, 3)
    )
    ours = build_encoder("efficientnetb0", image_size=(64, 48), weights=file, pooling="avg")
    pixels = rng.integers(0, 256, (2, 64, 48, 3)).astype(np.float32)
    expected = theirs(pixels).numpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(ours(pixels), expected, rtol=1e-3, atol=1e-4 * expected.std())


def test_the_networks_own_normalization_then_gives_pixels_in_units_of_imagenets_deviation():
    pixels = keras.Input((32, 32, 3))
    features = efficientnet(pixels, variant="EfficientNetB0")
    layers = {type(layer): layer for layer in keras.Model(pixels, features).layers[:4]}
    normalization = layers[keras.layers.Normalization]
    normalization.set_weights([MEAN, DEVIATION, *normalization.get_weights()[2:]])
    normalization.finalize_state()  # as Keras does when it reads a file
    given = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.float32)
    seen = keras.Model(pixels, normalization.output)(given)
    np.testing.assert_allclose(seen, (given / 255 - MEAN) / DEVIATION, rtol=0, atol=1e-5)
