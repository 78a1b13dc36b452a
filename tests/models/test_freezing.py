from dataclasses import replace

import keras
import numpy as np
import pytest
from tiny import TINY

import tlkeras as tl
from tlkeras.models.cut import cut
from tlkeras.models.freezing import layer_table, noise_of, restore_noise, set_trainable


@pytest.fixture(scope="module")
def model():
    return tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), head=tl.Head(hidden=(4,), batch_norm=True))


HEAD = ["head_dense_1", "head_batch_norm_1", "head_probs"]


@pytest.mark.parametrize(
    ("choice", "learning"),
    [
        ({"unfreeze": 0}, []),
        ({"unfreeze": "all"}, ["conv1", "conv2", "conv3"]),
        ({"unfreeze": "all", "batch_norm": "train"}, ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3"]),
        ({"unfreeze": 2}, ["conv3"]),
        ({"unfreeze": 3, "batch_norm": "train"}, ["bn2", "conv3", "bn3"]),
        ({"unfreeze": ("block1", "block3")}, ["conv1", "conv3"]),
        ({"unfreeze_from": "block2"}, ["conv2", "conv3"]),
        ({"unfreeze_from": "bn2", "batch_norm": "train"}, ["bn2", "conv3", "bn3"]),
    ],
)
def test_exactly_the_chosen_layers_learn(model, choice, learning):
    summary = set_trainable(model, TINY, **choice)
    found = [layer.name for layer in model.layers if layer.trainable_weights]
    assert found == learning + HEAD
    assert summary.backbone_layers_trainable == len(learning)
    assert summary.first_trainable == (learning[0] if learning else None)
    assert summary.parameters_trainable == sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    trained = sum(name.startswith("bn") for name in learning)
    assert (summary.backbone_layers, summary.batch_norm_trainable) == (6, trained)
    if learning:
        batch_norm = "trained" if trained else "frozen"
        said = f"{len(learning)} of 6 backbone layers trainable from {learning[0]}, BatchNorm {batch_norm}; "
    else:
        said = "backbone frozen; "
    assert str(summary).startswith(said)


def test_the_choice_does_not_depend_on_the_one_before(model):
    set_trainable(model, TINY, unfreeze="all", batch_norm="train")
    set_trainable(model, TINY, unfreeze=("block2",))
    assert [layer.name for layer in model.layers if layer.trainable_weights] == ["conv2", *HEAD]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"unfreeze_from": "blok2"}, "its stages are block1, block2, block3, or give a layer name. Near: block2"),
        ({"unfreeze": ("block4",)}, "has no 'block4'; its stages are block1, block2, block3"),
        ({"unfreeze": 7}, "has 6 layers with weights"),
        ({"unfreeze": 1}, "nothing would learn"),  # the last layer with weights is bn3, and BatchNorm is frozen
    ],
)
def test_unknown_layers_are_refused_with_what_there_is(model, choice, said):
    with pytest.raises(tl.InputError, match=said):
        set_trainable(model, TINY, **choice)


def test_the_layer_table_says_what_learns(model):
    set_trainable(model, TINY, unfreeze=("block3",))
    table = layer_table(model).set_index("layer")
    assert table.loc["conv3", "trainable"] == "yes"
    assert table.loc["bn3", "trainable"] == "no"
    assert table.loc["add2", "trainable"] == "-"
    assert table.loc["conv1", "parameters"] == 3 * 3 * 3 * 4 + 4
    assert table["parameters"].sum() == model.count_params()
    learning = (
        3 * 3 * 4 * 8 + 8 + (8 * 8 * 8 * 4 + 4) + 2 * 4 + (4 * 2 + 2)
    )  # conv3 and the head, BatchNorm's averages not
    assert table["trainable_parameters"].sum() == learning


def test_momentum_of_batch_norm_is_that_of_the_phase_and_its_own_again_afterwards():
    model = tl.build_classifier(TINY, n_classes=2, image_size=(32, 32))
    own = model.get_layer("bn1").momentum
    momenta = []
    for momentum in (0.5, None):
        set_trainable(model, TINY, unfreeze="all", batch_norm="train", batch_norm_momentum=momentum)
        momenta.append(model.get_layer("bn1").momentum)
    assert momenta == [0.5, own]


def build_dropping(input_tensor, weights=None):
    """Two convolutions, each behind what training disturbs."""
    from keras import layers

    x = layers.Conv2D(4, 3, name="conv1")(input_tensor)
    x = layers.SpatialDropout2D(0.5, name="drop1")(x)
    x = layers.Conv2D(4, 3, name="conv2")(x)
    return layers.GaussianNoise(0.1, name="noise2")(x)


DROPPING = replace(TINY, name="dropping", constructor=build_dropping, stages={"block1": "conv1", "block2": "conv2"})


@pytest.fixture(scope="module")
def dropping():
    return tl.build_classifier(DROPPING, n_classes=2, image_size=(16, 16), head=tl.Head(hidden=(), dropout=0.25))


def noise(model):
    names = {"drop1": "rate", "noise2": "stddev", "head_dropout": "rate"}
    return {layer.name: getattr(layer, names[layer.name]) for layer in model.layers if layer.name in names}


@pytest.mark.parametrize(
    ("choice", "active"),
    [
        ({"unfreeze": 0}, {"drop1": 0, "noise2": 0}),
        ({"unfreeze": "all"}, {"drop1": 0.5, "noise2": 0.1}),
        ({"unfreeze": ("block2",)}, {"drop1": 0, "noise2": 0.1}),
        ({"unfreeze": ("block1",)}, {"drop1": 0.5, "noise2": 0}),
    ],
)
def test_frozen_layers_drop_and_disturb_nothing(dropping, choice, active):
    set_trainable(dropping, DROPPING, **choice)
    assert {name: value for name, value in noise(dropping).items() if not name.startswith("head")} == active
    features = keras.Model(dropping.input, dropping.get_layer("noise2").output)
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.float32)
    same = np.array_equal(features(images, training=True), features(images, training=False))
    assert same is not any(active.values())


def test_a_layer_of_ones_own_keeps_its_rate():
    class Sampled(keras.layers.Layer):
        rate = 3  # in pixels

        def call(self, inputs, training=None):
            return inputs

    class StochasticDepth(Sampled):  # called as ConvNeXt's is
        drop_path_rate = 0.5

    assert noise_of(Sampled()) is None
    assert noise_of(StochasticDepth()) is None
    assert noise_of(keras.layers.SpatialDropout2D(0.5)) == "rate"


def test_after_training_every_layer_has_what_it_came_with(dropping):
    set_trainable(dropping, DROPPING, unfreeze=0)
    restore_noise(dropping)
    assert noise(dropping)["drop1"] == 0.5
    assert noise(dropping)["noise2"] == 0.1


def test_a_frozen_network_with_dropout_inside_is_cut_behind_it(dropping):
    set_trainable(dropping, DROPPING, unfreeze=0)
    assert cut(dropping).layer == "noise2" or cut(dropping).layer.startswith("head_")
    set_trainable(dropping, DROPPING, unfreeze=("block2",))
    assert cut(dropping).layer == "drop1"
