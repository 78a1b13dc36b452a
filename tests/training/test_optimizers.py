import gc
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import tiny_tuner

import tlkeras as tl
from tlkeras.training.optimizer_names import OPTIMIZERS, KerasOptimizer
from tlkeras.training.optimizers import build_optimizer

START = np.array([[1.0, -2.0, 0.5], [0.2, 0.1, -0.3]], np.float32)
GRADIENTS = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)


def stepped(optimizer, steps=3, variables=1):
    """Where variables that begin alike end."""
    learning = [keras.Variable(START) for _ in range(variables)]
    optimizer.build(learning)
    for gradient in GRADIENTS[:steps]:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)] * variables, learning)
    return [variable.numpy() for variable in learning]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_is_kerass_own(name):
    ours = build_optimizer(tl.Phase(1, 1e-2, optimizer=name, momentum=0.5))
    keras_own = getattr(keras.optimizers, OPTIMIZERS[name])(1e-2, **({"momentum": 0.5} if name == "sgd" else {}))
    found, theirs = (each.get_config() | {"name": ""} for each in (ours, keras_own))
    assert found == theirs
    np.testing.assert_array_equal(stepped(ours)[0], stepped(keras_own)[0])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_part_of_the_rate_is_a_lower_rate_in_steps_and_in_decay(name):
    def end(rate, parts):
        optimizer = build_optimizer(tl.Phase(1, rate, optimizer=name, weight_decay=0.1))
        optimizer.rates = parts
        return stepped(optimizer, variables=len(parts))

    whole, part = end(1e-2, (1.0, 0.25))
    np.testing.assert_array_equal(whole, end(1e-2, (1.0,))[0])
    np.testing.assert_allclose(part, end(2.5e-3, (1.0,))[0], rtol=1e-6)


def test_weights_decay_beside_the_gradient_and_biases_do_not():
    optimizer = build_optimizer(tl.Phase(1, 0.1, optimizer="sgd", momentum=0.0, weight_decay=0.5))
    kernel, bias = keras.Variable(START), keras.Variable(START[0])
    optimizer.build([kernel, bias])
    optimizer.apply([keras.ops.zeros((2, 3)), keras.ops.zeros(3)], [kernel, bias])
    np.testing.assert_allclose(kernel.numpy(), START * (1 - 0.1 * 0.5), rtol=1e-6)
    np.testing.assert_array_equal(bias.numpy(), START[0])


def test_gradients_that_are_too_long_together_are_shortened():
    ends = stepped(build_optimizer(tl.Phase(1, 1.0, optimizer="sgd", momentum=0.0, clip_norm=0.1)), 1, variables=2)
    moved = np.stack([end - START for end in ends])
    assert np.linalg.norm(moved) == pytest.approx(0.1, rel=1e-4)
    np.testing.assert_allclose(moved[0], -GRADIENTS[0] * 0.1 / np.linalg.norm([GRADIENTS[0]] * 2), rtol=1e-4)


def test_batches_that_add_up_make_one_step_of_their_mean():
    (found,) = stepped(build_optimizer(tl.Phase(1, 0.1, optimizer="sgd", momentum=0.0, accumulate=2)), steps=5)
    expected = START - 0.1 * (GRADIENTS[0] + GRADIENTS[1]) / 2 - 0.1 * (GRADIENTS[2] + GRADIENTS[3]) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_averages_are_kept_beside_the_weights_and_lent_to_them():
    optimizer = build_optimizer(tl.Phase(1, 0.1, optimizer="sgd", momentum=0.0, average=tl.EMA()))
    learning, statistic = keras.Variable(START), keras.Variable(np.float32(4), trainable=False)
    optimizer.to_average = [learning, statistic]
    optimizer.build([learning])
    statistic.assign(8)
    optimizer.average_share.assign(0.25)
    optimizer.apply([keras.ops.convert_to_tensor(GRADIENTS[0])], [learning])
    last = START - 0.1 * GRADIENTS[0]
    with optimizer.averages():
        np.testing.assert_allclose(learning.numpy(), 0.75 * START + 0.25 * last, rtol=1e-5)
        assert statistic.numpy() == 5
    np.testing.assert_allclose(learning.numpy(), last, rtol=1e-6)
    assert statistic.numpy() == 8
    optimizer.take_averages()
    assert statistic.numpy() == 5


def test_an_object_of_keras_is_kept_as_its_name_and_what_is_its_own():
    def phase(optimizer, rate=1e-2):
        return tl.Phase(1, rate, optimizer=optimizer)

    assert phase(keras.optimizers.Adam()) == phase("adam")
    assert phase(keras.optimizers.Adam(learning_rate=1e-2)) == phase("adam")
    assert phase(keras.optimizers.SGD(momentum=0.5)) == tl.Phase(1, 1e-2, optimizer="sgd", momentum=0.5)
    lion = phase(keras.optimizers.Lion(beta_1=0.95))
    assert lion.optimizer == KerasOptimizer("lion", {"beta_1": 0.95})
    assert lion.words()["optimizer"] == "lion, beta_1=0.95"
    np.testing.assert_array_equal(
        stepped(build_optimizer(lion))[0], stepped(keras.optimizers.Lion(1e-2, beta_1=0.95))[0]
    )
    nesterov = phase(keras.optimizers.SGD(momentum=0.5, nesterov=True))
    assert nesterov.words()["optimizer"] == "sgd, nesterov=True, momentum 0.5"


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        (
            lambda: keras.optimizers.Adam(3e-4),
            r"Phase\.learning_rate: received 0\.01, and an optimizer whose own is 0\.0003",
        ),
        (lambda: keras.optimizers.Adam(weight_decay=0.1), r"weight_decay=0\.1 of Adam; give Phase\.weight_decay"),
        (lambda: keras.optimizers.Adam(global_clipnorm=1.0), r"global_clipnorm=1\.0 .*Phase\.clip_norm"),
        (lambda: keras.optimizers.Adam(use_ema=True), r"use_ema=True of Adam; give Phase\.average"),
        (lambda: keras.optimizers.Muon(), "accepted are the names adam, sgd"),
        (
            lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 10)),
            r"Phase\.learning_rate: .* A schedule is Phase\.schedule",
        ),
    ],
)
def test_an_object_that_says_what_the_phase_says_is_refused(optimizer, said):
    with pytest.raises(tl.InputError, match=said):
        tl.Phase(1, 1e-2, optimizer=optimizer())


def graphs():
    gc.collect()
    return sum(type(each).__name__.endswith("FuncGraph") for each in gc.get_objects())


@pytest.mark.slow
def test_no_graph_of_a_step_outlives_its_classifier(toy_pixels, tmp_path):
    def fit():
        classifier = tiny_tuner(phases=tl.Phase(1, 1e-2, unfreeze=("block3",))).fit(
            toy_pixels, toy_pixels, seed=0, store=str(tmp_path)
        )
        classifier.predict(tl.from_arrays(*toy_pixels))

    fit()
    before = graphs()
    fit()
    assert graphs() <= before


@pytest.mark.slow
def test_a_search_in_one_process_does_not_grow():
    code = """
import gc, sys
import numpy as np, tlkeras as tl
from tiny import tiny_tuner
from tlkeras.machine import anonymous_memory_mb
images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8), np.arange(24) % 2
for _ in range(4):
    recipe = tiny_tuner(phases=tl.Phase(1, 1e-3, unfreeze="all", keep="last"))
    tl.Search(recipe, {"batch_size": (4, 6, 8)}, tl.KFold(2)).fit(images, seed=0, store=False)
    gc.collect()
    print(anonymous_memory_mb())
"""
    paths = os.pathsep.join([str(Path(tl.__file__).parents[1]), str(Path(__file__).parents[1])])
    said = subprocess.check_output([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, text=True)
    first, *_, last = map(int, said.split())
    assert last - first < 15  # of 21 trainings; 6 MB stayed of each


def test_biases_of_attention_do_not_decay():
    attention = keras.layers.MultiHeadAttention(2, 3)
    attention.build((None, 4, 6), (None, 4, 6))
    optimizer = build_optimizer(tl.Phase(1, 1e-2, weight_decay=0.1))
    optimizer.build(attention.trainable_variables)
    decays = {variable.name for variable in attention.trainable_variables if optimizer._use_weight_decay(variable)}
    assert decays == {"kernel"}
    assert "bias" in {variable.name for variable in attention.trainable_variables}
