from dataclasses import replace

import keras
import numpy as np
import pytest
from tiny import TINY

import tlkeras as tl
from tlkeras.backend import computing_in
from tlkeras.models.backbones import backbone_layers
from tlkeras.schema import PRECISIONS
from tlkeras.training.precision import milliseconds_per_image

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)


def classifier(precision):
    head = tl.Head(hidden=(8,), batch_norm=True, input_dropout=0.5)
    return tl.build_classifier(TINY, n_classes=7, image_size=(32, 32), head=head, precision=precision)


def test_the_precisions_are_three():
    assert PRECISIONS == ("float32", "bfloat16", "float16")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_backbone_and_head_compute_in_it_and_pixels_probs_and_weights_stay_float32(precision):
    model = classifier(precision)
    computed = {layer.name: layer.compute_dtype for layer in model.layers[1:]}
    assert model.input.dtype == computed.pop("preprocess_symmetric") == computed.pop("head_probs") == "float32"
    assert set(computed) > {layer.name for layer in backbone_layers(model)} | {"head_flatten", "head_dense_1"}
    assert set(computed.values()) == {precision}
    assert model.get_layer("relu3").output.dtype == precision
    assert {variable.dtype for variable in model.weights} == {"float32"}
    probs = model.predict_on_batch(100 * PIXELS)  # far from even probabilities, where half precision errs most
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=0, atol=1e-6)


def test_the_weights_of_a_seed_do_not_depend_on_it():
    for first, *others in zip(*(classifier(precision).get_weights() for precision in PRECISIONS), strict=True):
        for other in others:
            np.testing.assert_array_equal(first, other)


def test_a_loaded_model_computes_in_it_again(tmp_path):
    model = classifier("bfloat16")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert [layer.compute_dtype for layer in again.layers[1:]] == [layer.compute_dtype for layer in model.layers[1:]]
    np.testing.assert_array_equal(again(PIXELS), model(PIXELS))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_encoder_gives_float32_features_pooled_in_float32(precision):
    encoder = tl.build_encoder(TINY, image_size=(32, 32), precision=precision)
    assert {layer.compute_dtype for layer in backbone_layers(encoder)} == {precision}
    body = keras.Model(encoder.input, backbone_layers(encoder)[-1].output)
    grid, features = keras.ops.cast(body(PIXELS), "float32"), encoder.predict_on_batch(PIXELS)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, np.mean(grid, axis=(1, 2)), rtol=1e-6)
    for pooling in ("flatten", "max"):
        model = tl.build_encoder(TINY, image_size=(32, 32), precision=precision, pooling=pooling)
        assert model.predict_on_batch(PIXELS).dtype == np.float32


def test_half_precision_is_near_float32_and_not_it():
    exact, *halves = (
        tl.build_encoder(TINY, image_size=(32, 32), precision=precision).predict_on_batch(PIXELS)
        for precision in PRECISIONS
    )
    for features, digits in zip(halves, (2**-8, 2**-11), strict=True):
        error = abs(features - exact).max() / exact.max()
        assert digits / 100 < error < 10 * digits


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "float64", "auto", None])
def test_another_precision_is_refused(precision):
    said = rf"precision: received {precision!r}; accepted: 'float32', 'bfloat16', 'float16'\."
    with pytest.raises(tl.InputError, match=said):
        tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), precision=precision)
    with pytest.raises(tl.InputError, match=said):
        tl.build_encoder(TINY, image_size=(32, 32), precision=precision)


def fail_inside():
    with computing_in("float16"):
        assert keras.config.dtype_policy().name == "mixed_float16"
        raise ZeroDivisionError


def fail_while_building():
    def broken(input_tensor, weights):
        assert keras.config.dtype_policy().name == "mixed_float16"
        raise ZeroDivisionError

    tl.build_encoder(replace(TINY, constructor=broken), image_size=(32, 32), precision="float16")


@pytest.mark.parametrize("before", ["float32", "mixed_bfloat16"])
def test_the_global_policy_is_the_one_before_also_after_an_error(before):
    keras.config.set_dtype_policy(before)
    try:
        with computing_in("float32"):
            assert keras.config.dtype_policy().name == "float32"
        assert keras.config.dtype_policy().name == before
        for fail in (fail_inside, fail_while_building):
            with pytest.raises(ZeroDivisionError):
                fail()
            assert keras.config.dtype_policy().name == before
        assert {layer.compute_dtype for layer in backbone_layers(classifier("float32"))} == {"float32"}
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_forward_pass_is_timed_in_both_precisions_on_the_batch_as_given():
    built = []

    def build(precision):
        built.append(precision)
        return classifier(precision)

    found = milliseconds_per_image(build, PIXELS.astype(np.uint8))
    assert list(found) == built == ["float32", "bfloat16"]
    assert all(np.isfinite(value) and value > 0 for value in found.values())
