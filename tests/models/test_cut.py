from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers
from tiny import TINY

import tlkeras as tl
from tlkeras.models.cut import cut
from tlkeras.models.freezing import set_trainable
from tlkeras.models.zoo import BACKBONES

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)


def with_statistics(model):
    """BatchNorms left as they were built would hide that one is missing."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return model


def build(row=TINY, pooling="avg", **choice):
    head = tl.Head(hidden=(4,), input_dropout=0.5, pooling=pooling)
    model = with_statistics(tl.build_classifier(row, n_classes=2, image_size=(32, 32), head=head))
    set_trainable(model, row, **choice)
    return model


def row_of(*chain):
    """A backbone of one's own: these layers, one after the other."""

    def constructor(input_tensor, weights):
        for layer in chain:
            input_tensor = layer(input_tensor)
        return input_tensor

    return replace(TINY, constructor=constructor, stages={"block1": 0})


def assert_the_same_bits(model, found, pixels=PIXELS, compiled=False):
    features, probs = found.trunk(pixels, training=False), model(pixels, training=False)
    assert np.asarray(probs).std() > 0
    np.testing.assert_array_equal(found.tail(features, training=False), probs)
    if compiled:  # TensorFlow's graph compiler sees other graphs in the two parts than in the whole
        features = found.trunk.predict_on_batch(pixels)
        np.testing.assert_array_equal(found.tail.predict_on_batch(features), model.predict_on_batch(pixels))


@pytest.mark.parametrize(
    ("choice", "layer"),
    [
        ({"pooling": "flatten"}, "head_flatten"),
        ({"pooling": "avg"}, "head_avg"),
        ({"pooling": "max"}, "head_max"),
        ({"unfreeze_from": "block3"}, "add2"),
        ({"unfreeze": ("block2",)}, "relu1"),  # conv2 lies in the branch: its input does not make add2 known
        ({"unfreeze_from": "bn2", "batch_norm": "train"}, "relu1"),
        ({"unfreeze_from": "bn3", "batch_norm": "train"}, "conv3"),
        ({"unfreeze_from": "bn1", "batch_norm": "train"}, "conv1"),
        ({"unfreeze_from": "bn1"}, "relu1"),  # BatchNorm in front of conv2 stays frozen
        ({"unfreeze": "all"}, None),
        ({"unfreeze": ("block1",)}, None),  # only the preprocessing, without weights, lies before it
    ],
)
def test_the_cut_is_the_last_tensor_that_all_passes_and_nothing_changes(choice, layer):
    model = build(**choice)
    found = cut(model)
    assert (found and found.layer) == layer
    if layer is not None:
        assert_the_same_bits(model, found)
        assert not found.trunk.trainable_weights


def test_a_batch_norm_that_learns_nothing_but_updates_ends_the_trunk():
    updating = layers.BatchNormalization(center=False, scale=False, name="updating")
    model = build(row_of(layers.Conv2D(4, 3, name="first"), updating))
    assert cut(model).layer == "head_avg"
    updating.trainable = True
    assert not updating.trainable_weights
    assert cut(model).layer == "first"


class Wrapped(layers.Layer):
    """Says nothing of training, but Keras tells the layer inside."""

    def __init__(self, inner, **options):
        super().__init__(**options)
        self.inner = inner

    def call(self, x):
        return self.inner(x)


def nested(*inner):
    return keras.Sequential([keras.Input((30, 30, 4)), *inner], name="nested")


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        (lambda: layers.ReLU(), "head_avg"),
        (lambda: layers.Dropout(0.5), "head_avg"),
        (lambda: layers.SpatialDropout2D(0.5), "head_avg"),
        (lambda: layers.GaussianNoise(1.0), "head_avg"),
        (lambda: layers.RandomFlip(), "first"),
        (lambda: Wrapped(layers.ReLU()), "head_avg"),
        (lambda: Wrapped(layers.Dropout(0.5)), "head_avg"),
        (lambda: Wrapped(Wrapped(layers.GaussianNoise(1.0))), "head_avg"),
        (lambda: nested(layers.Conv2D(4, 3), layers.BatchNormalization()), "head_avg"),
        (lambda: nested(layers.ReLU(), layers.Dropout(0.5)), "head_avg"),
    ],
)
def test_what_differs_in_training_ends_the_trunk_of_a_frozen_backbone_of_ones_own(make, layer):
    extra = make()
    extra.trainable = False  # or a nested model would be asked how it draws its weights
    model = build(row_of(layers.Conv2D(4, 3, name="first"), extra, layers.Conv2D(4, 3, name="last")))
    found = cut(model)
    assert found.layer == layer
    assert_the_same_bits(model, found)
    np.testing.assert_array_equal(found.trunk(PIXELS, training=True), found.trunk(PIXELS, training=False))


def test_arithmetic_on_tensors_leaves_them_as_they_are():
    row = row_of(layers.Conv2D(4, 3, name="conv"), lambda x: 2 * x + keras.ops.square(x))
    model = build(row)
    found = cut(model)
    assert found.layer == "head_avg"  # behind the arithmetic
    assert_the_same_bits(model, found)


def test_a_nested_model_that_learns_ends_the_trunk():
    inner = nested(layers.Conv2D(4, 3), layers.ReLU())
    inner.trainable = False
    model = build(row_of(layers.Conv2D(4, 3, name="first"), inner))
    inner.trainable = True
    assert cut(model).layer == "first"


class NoiseInCall(keras.Model):
    def call(self, x, training=None):
        return x + keras.random.normal(keras.ops.shape(x)) if training else x


def test_a_nested_model_whose_own_call_differs_in_training_ends_the_trunk():
    model = build(row_of(layers.Conv2D(4, 3, name="first"), NoiseInCall(name="noise")))
    assert cut(model).layer == "first"


def of_pixels(connect, n_inputs=1):
    """A model over `n_inputs` inputs; its frozen layers are those named so."""
    inputs = [keras.Input((32, 32, 3)) for _ in range(n_inputs)]
    model = keras.Model(inputs[0] if n_inputs == 1 else inputs, connect(*inputs))
    for layer in model.layers:
        if layer.name.startswith("frozen"):
            layer.trainable = False
    return model


def conv(name):
    return layers.Conv2D(3, 3, padding="same", name=name)


def two_paths(pixels):
    x = conv("frozen_stem")(pixels)
    x = layers.Add(name="first_merge")([conv("frozen_a")(x), conv("frozen_b")(x)])
    # The frozen path is the longer one, and goes deeper than the first merge.
    deep = conv("frozen_3")(conv("frozen_2")(conv("frozen_1")(x)))
    x = layers.Add(name="second_merge")([deep, conv("learning")(x)])
    return layers.Dense(2)(layers.Flatten()(conv("frozen_last")(x)))


def past_everything(pixels):
    x = layers.Concatenate()([conv("frozen_2")(conv("frozen_1")(pixels)), conv("learning")(pixels)])
    return layers.Dense(2)(layers.Flatten()(x))


def two_outputs_of_one_operation(pixels):
    left, right = keras.ops.split(conv("frozen")(pixels), 2, axis=1)
    return layers.Dense(2)(layers.Flatten()(layers.Add()([left, conv("learning")(right)])))


def frozen_as_made(pixels):
    made = layers.Conv2D(3, 3, trainable=False, name="made")
    return layers.Dense(2)(layers.Flatten()(conv("learning")(made(pixels))))


@pytest.mark.parametrize(
    ("connect", "layer"),
    [
        (two_paths, "first_merge"),
        (past_everything, None),
        (two_outputs_of_one_operation, "frozen"),
        (frozen_as_made, "made"),
    ],
)
def test_other_graphs_are_cut_where_all_paths_meet_before_anything_learns(connect, layer):
    model = of_pixels(connect)
    found = cut(model)
    assert (found and found.layer) == layer
    if layer is not None:
        assert not found.trunk.trainable_weights
        assert_the_same_bits(model, found)


@pytest.mark.parametrize("make", [layers.ReLU, lambda name: conv(name)])
def test_a_layer_may_be_used_on_both_sides_of_the_cut(make):
    shared = make(name="frozen_too")
    model = of_pixels(lambda x: layers.Dense(2)(layers.Flatten()(shared(conv("learning")(shared(conv("frozen")(x)))))))
    found = cut(model)
    assert found.layer in ("frozen", "frozen_too")
    assert not found.trunk.trainable_weights
    assert_the_same_bits(model, found)


def test_several_inputs_or_outputs_are_refused():
    for model, said in (
        (of_pixels(lambda one, other: layers.Add()([one, other]), n_inputs=2), "received 2 inputs and 1 outputs"),
        (of_pixels(lambda x: [conv("a")(x), conv("b")(x)]), "received 1 inputs and 2 outputs"),
    ):
        with pytest.raises(tl.InputError, match=said):
            cut(model)


def test_the_layers_of_both_parts_are_the_models_own_and_follow_its_weights():
    model = build(unfreeze_from="block3")
    found = cut(model)
    own = [layer for layer in (*found.trunk.layers, *found.tail.layers) if not isinstance(layer, layers.InputLayer)]
    assert [layer.name for layer in own] == [layer.name for layer in model.layers[1:]]
    assert all(layer is model.get_layer(layer.name) for layer in own)
    before = np.asarray(found.trunk(PIXELS)), np.asarray(model(PIXELS))
    for name, part in (("conv1", 0), ("conv3", 1)):
        layer = model.get_layer(name)
        layer.kernel.assign(2 * layer.kernel)
        after = np.asarray(found.trunk(PIXELS)), np.asarray(model(PIXELS))
        assert not np.array_equal(before[part], after[part])
        assert_the_same_bits(model, found, compiled=True)


def test_dropout_in_the_tail_stays_active_in_training():
    found = cut(build())
    features = found.trunk(PIXELS)
    in_training, in_prediction = (np.asarray(found.tail(features, training=training)) for training in (True, False))
    assert not np.array_equal(in_training, in_prediction)


def test_the_cut_follows_the_flags_whatever_was_cut_before():
    model = build()
    for choice, layer in (({}, "head_avg"), ({"unfreeze_from": "block2"}, "relu1"), ({}, "head_avg")):
        set_trainable(model, TINY, **choice)
        found = cut(model)
        assert found.layer == layer
        assert_the_same_bits(model, found)


def test_a_model_that_was_cut_saves_and_loads_as_before(tmp_path):
    model = build(unfreeze_from="block3")
    assert cut(model) is not None
    for number, each in enumerate((model, keras.Model(model.input, model.output))):
        each.save(tmp_path / f"{number}.keras")
        again = keras.saving.load_model(tmp_path / f"{number}.keras", safe_mode=True)
        assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
        np.testing.assert_array_equal(again(PIXELS), model(PIXELS))


# The smallest of each family, whose widths and depths are built alike.
ROWS = ("vgg16", "resnet18", "resnet50", "resnet50v2", "inceptionv3", "inceptionresnetv2", "xception", "densenet121")
ROWS += ("mobilenet_025", "mobilenetv2_035", "mobilenetv3small", "efficientnetb0", "efficientnetv2b0", "nasnetmobile")


@pytest.fixture(scope="module", params=ROWS)
def published(request):
    """Each row once, at the smallest image it takes, and its pixels."""
    size = max(32, BACKBONES[request.param].min_size)
    head = tl.Head(hidden=(4,), input_dropout=0.5)
    model = with_statistics(tl.build_classifier(request.param, n_classes=2, image_size=(size, size), head=head))
    yield model, np.random.default_rng(2).integers(0, 256, (2, size, size, 3)).astype(np.float32)
    keras.backend.clear_session()


def deepest_by_search(model):
    """The cut by definition: the last operation without which the output is out of reach, and which, like all before
    it, neither learns nor drops."""
    sources = {
        o.name: [t._keras_history.operation.name for t in o._inbound_nodes[0].input_tensors] for o in model.operations
    }
    changing = {
        layer.name
        for layer in model.layers
        if layer.trainable_weights or (isinstance(layer, layers.Dropout) and layer.rate > 0)
    }

    def reached(name, without=None):
        seen, waiting = set(), [name]
        while waiting:
            name = waiting.pop()
            if name not in seen and name != without:
                seen.add(name)
                waiting.extend(sources[name])
        return seen

    output, pixels = model.operations[-1].name, model.operations[0].name
    candidates = [o.name for o in model.operations[:-1] if not reached(o.name) & changing]
    return [name for name in candidates if pixels not in reached(output, without=name)][-1]


@pytest.mark.slow
def test_a_frozen_convnext_is_cut_behind_its_dense_layers():
    # Keras tells Dense of training. (By definition, as below, is more than its nested layers let be searched for.)
    model = tl.build_classifier("convnexttiny", n_classes=2, image_size=(32, 32), head=tl.Head(hidden=(4,)))
    set_trainable(model, BACKBONES["convnexttiny"])
    found = cut(model)
    assert found.layer == "head_flatten"
    assert_the_same_bits(model, found)


CHOICES = [
    ({"unfreeze": 0}, dict.fromkeys(ROWS, "head_flatten")),
    (
        {"unfreeze_from": "block5"},
        {"vgg16": "block4_pool", "resnet50": "conv4_block6_out", "densenet121": "pool4_relu"},
    ),
    ({"unfreeze": 2, "batch_norm": "train"}, {"vgg16": "block5_conv1", "resnet50": "conv5_block2_out"}),
    ({"unfreeze": ("block3",)}, {"vgg16": "block2_pool", "mobilenetv2_035": "block_2_add"}),
    ({"unfreeze_from": "conv5_block2_2_conv"}, {"resnet50": "conv5_block1_out"}),
    ({"alone": "conv5_block2_2_conv"}, {"resnet50": "conv5_block1_out"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("choice", "layer"), CHOICES, ids=[str(next(iter(choice.values()))) for choice, _ in CHOICES])
def test_every_row_is_cut_where_it_can_be_and_gives_the_same_bits(published, choice, layer):
    model, pixels = published
    if "conv5_block2_2_conv" in choice.values() and model.name != "resnet50":
        pytest.skip("a layer of ResNet50")
    if "alone" in choice:
        set_trainable(model, BACKBONES[model.name])
        model.get_layer(choice["alone"]).trainable = True
    else:
        set_trainable(model, BACKBONES[model.name], **choice)
    found = cut(model)
    assert not found.trunk.trainable_weights
    assert found.layer == deepest_by_search(model) == layer.get(model.name, found.layer)
    assert_the_same_bits(model, found, pixels, compiled=True)
