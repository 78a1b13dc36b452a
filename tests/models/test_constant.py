import keras
import numpy as np
import pytest
from tiny import TINY

from tlkeras.models import constant
from tlkeras.models.classifier import build_encoder
from tlkeras.models.constant import fastest_exact

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)


def encoder(gamma=1.0, variance=1.0):
    """TINY with statistics under which every BatchNorm multiplies by gamma / sqrt(variance), and still adds."""
    rng = np.random.default_rng(1)
    model = build_encoder(TINY, image_size=(32, 32))
    for layer in batch_norms(model):
        beta, mean = rng.normal(size=(2, *layer.beta.shape))
        full = np.ones(layer.beta.shape, np.float32)
        layer.set_weights([gamma * full, beta, mean, variance * full - np.float32(layer.epsilon)])
    return model


def batch_norms(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def assert_the_same_bits(one, other, pixels=PIXELS):
    outputs = [keras.tree.flatten(model.predict_on_batch(pixels)) for model in (one, other)]
    assert len(outputs[0]) == len(outputs[1])
    for ours, theirs in zip(*outputs, strict=True):
        assert ours.std() > 0
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def bits_stay(network, pixels=PIXELS):
    """Whether the network with constants rounds as the network does: it is the processor's kernels that decide."""
    constants = keras.Model(network.input, constant._Constant(network)(network.input))
    outputs = [keras.tree.flatten(model.predict_on_batch(pixels)) for model in (constants, network)]
    return all(np.array_equal(ours, theirs) for ours, theirs in zip(*outputs, strict=True))


def faster_than(network, pixels=PIXELS):
    """The network with constants, where this processor rounds alike with them."""
    faster = fastest_exact(network, pixels)
    if not bits_stay(network, pixels):
        assert faster is network
        pytest.skip("with constant weights this processor's kernels round otherwise, so the network stays as it is")
    assert faster is not network
    return faster


@pytest.mark.parametrize(("gamma", "variance"), [(1, 1), (2, 4), (0.5, 0.25)])
def test_where_batch_norm_multiplies_by_one_the_weights_become_constants_and_the_bits_stay(gamma, variance):
    network = encoder(gamma, variance)
    faster = faster_than(network)
    assert not faster.weights
    assert_the_same_bits(faster, network)
    assert_the_same_bits(faster, network, PIXELS[::-1] / 2)


def test_two_outputs_stay_two():
    whole = encoder()
    network = keras.Model(whole.input, [whole.get_layer("add2").output, whole.output])
    faster = faster_than(network)
    assert [tuple(output.shape) for output in faster.outputs] == [tuple(output.shape) for output in network.outputs]
    assert_the_same_bits(faster, network)


def test_later_weights_do_not_change_the_constants_and_the_network_is_left_as_it_was():
    network = encoder()
    before = [np.asarray(weight) for weight in network.weights]
    faster = faster_than(network)
    for weight, value in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    features = faster.predict_on_batch(PIXELS)
    network.get_layer("conv1").kernel.assign(2 * network.get_layer("conv1").kernel)
    np.testing.assert_array_equal(faster.predict_on_batch(PIXELS), features)
    assert not np.array_equal(network.predict_on_batch(PIXELS), features)


def one_channel_off():
    network = encoder()
    gamma = batch_norms(network)[-1].gamma
    gamma.assign(np.append(np.asarray(gamma)[:-1], np.nextafter(np.float32(1), np.float32(2))))
    return network


def without_batch_norm():
    pixels = keras.Input((32, 32, 3))
    return keras.Model(pixels, keras.layers.Conv2D(2, 3)(pixels))


@pytest.mark.parametrize("make", [lambda: encoder(0.9, 1.3), one_channel_off, without_batch_norm])
def test_any_other_network_is_left_as_it_is(make):
    network = make()
    assert fastest_exact(network, PIXELS) is network


def test_a_network_that_is_too_large_is_left_as_it_is(monkeypatch):
    network = encoder()
    monkeypatch.setattr(constant, "LARGEST", network.count_params() - 1)
    assert fastest_exact(network, PIXELS) is network
    monkeypatch.setattr(constant, "LARGEST", network.count_params())
    faster_than(network)


def test_other_bits_are_noticed_whatever_the_batch_norms_look_like(monkeypatch):
    network = encoder(0.9, 1.3)
    monkeypatch.setattr(constant, "_has_idle_batch_norm", lambda network: True)
    assert_the_same_bits(fastest_exact(network, PIXELS), network)


@pytest.mark.real
@pytest.mark.slow
def test_the_folded_mobilenetv2_takes_the_constant_way(real_weights):
    network = build_encoder("mobilenetv2", image_size=(96, 96), weights="imagenet", weights_folder=real_weights)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 96, 96, 3)).astype(np.float32)
    faster = faster_than(network, pixels)
    assert_the_same_bits(faster, network, pixels[:4])
