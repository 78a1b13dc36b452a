import keras
import numpy as np
import pytest

from tlkeras.errors import InputError
from tlkeras.models.backbones import backbone_layers
from tlkeras.models.classifier import build_classifier
from tlkeras.models.head import Head, build_head

SUBNETS2022 = Head(hidden=(128,), dropout=0.0, input_dropout=0.5, pooling="flatten", batch_norm=True)


def head_model(head, n_classes=3, seed=0):
    features = keras.Input((2, 3, 4))
    return keras.Model(features, build_head(features, head, n_classes, seed))


@pytest.mark.parametrize(
    ("head", "names"),
    [
        (Head(), ["head_flatten", "head_dense_1", "head_dropout_1", "head_probs"]),
        (Head(hidden=(), pooling="avg"), ["head_avg", "head_probs"]),
        (SUBNETS2022, ["head_flatten", "head_input_dropout", "head_dense_1", "head_batch_norm_1", "head_probs"]),
        (
            Head(hidden=(8, 4), dropout=0.2, pooling="max", batch_norm=True),
            ["head_max"]
            + [f"head_{kind}_{number}" for number in (1, 2) for kind in ("dense", "batch_norm", "dropout")]
            + ["head_probs"],
        ),
    ],
)
def test_layers_come_in_the_order_that_the_head_says(head, names):
    assert [layer.name for layer in head_model(head).layers[1:]] == names


def test_probabilities_are_float32_and_sum_to_one_in_half_precision_too():
    features = np.random.default_rng(0).normal(size=(5, 2, 3, 4)).astype(np.float32)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        probs = head_model(Head(hidden=(16,))).predict(features, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)


def test_weights_and_dropout_are_functions_of_the_seed_alone():
    features = np.ones((4, 2, 3, 4), np.float32)
    outcomes = []
    for seed, global_seed in ((7, 1), (7, 2), (8, 1)):
        keras.utils.set_random_seed(global_seed)
        model = head_model(Head(hidden=(16, 16), input_dropout=0.3), seed=seed)
        outcomes.append(np.asarray(model(features, training=True)))
        assert not np.array_equal(model.layers[3].kernel[:16], model.layers[5].kernel[:16])
    np.testing.assert_array_equal(outcomes[0], outcomes[1])
    assert not np.array_equal(outcomes[0], outcomes[2])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hidden": (0,)}, r"Head.hidden: received \(0,\); accepted are integers of at least 1"),
        ({"hidden": (1.5,)}, "Head.hidden"),
        ({"hidden": "128"}, "Head.hidden"),
        ({"dropout": 1.0}, r"Head.dropout: received 1.0; accepted is a number in \[0, 1\)"),
        ({"input_dropout": -0.1}, "Head.input_dropout"),
        ({"pooling": "mean"}, "Head.pooling: received 'mean'; accepted: 'flatten', 'avg', 'max'"),
        ({"activation": "rleu"}, "Head.activation: received 'rleu'"),
    ],
)
def test_a_head_that_cannot_be_is_refused(fields, words):
    with pytest.raises(InputError, match=words):
        Head(**fields)


def test_a_single_hidden_layer_may_be_a_number():
    assert Head(hidden=64) == Head(hidden=[64]) == Head(hidden=(64,))


@pytest.mark.parametrize(
    ("backbone", "parameters", "trainable"),
    [
        ("mobilenetv2", 4_880_967, 2_622_727),
        pytest.param("densenet201", 22_255_687, 3_933_447, marks=pytest.mark.slow),
    ],
)
def test_the_head_of_the_subnets_document_has_its_published_parameter_counts(backbone, parameters, trainable):
    model = build_classifier(backbone, n_classes=7, image_size=(128, 128), head=SUBNETS2022)
    for layer in backbone_layers(model):
        layer.trainable = False
    assert model.count_params() == parameters
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == trainable
