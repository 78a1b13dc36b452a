import dataclasses

import keras
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.training import memory
from tlkeras.training.memory import check_memory, memory_in_words


def build_wide(input_tensor, weights=None):
    """A network whose first layer gives 64 GiB an image of 128x128, with a kernel of 12 MB."""
    x = keras.layers.Conv2D(2**20, 1, use_bias=False, name="wide")(input_tensor)
    x = keras.layers.Conv2D(1, 1, name="narrow")(x)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="wide")


def test_a_batch_that_no_memory_holds_is_refused_before_it_is_tried(toy_pixels):
    wide = dataclasses.replace(TINY, name="wide", constructor=build_wide, stages={"all": "wide"})
    phases = (tl.Phase(1, 1e-3, unfreeze="all"),)
    recipe = dataclasses.replace(tiny_tuner(), backbone=wide, image_size=(128, 128), phases=phases)
    with pytest.raises(
        tl.InputError, match=r"batch_size: training 16 images at a time takes at least 1\.\d TB of memory"
    ):
        recipe.fit(toy_pixels, seed=0)


def two_layers():
    inputs = keras.Input((5,))
    return keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Dense(5)(inputs)))


def check(model, optimizer, batch_size):
    optimizer.build(model.trainable_variables)
    check_memory(model, optimizer, batch_size)


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (2568, None),
        (2567, r"Try batch_size=16\."),
        (900, r"Try batch_size=4\."),
        (500, r"Take a smaller image_size"),
    ],
)
def test_the_batch_size_to_try_is_what_surely_fits(there, said, monkeypatch):
    """Two layers of five units: 60 weights, for which Adam keeps 2 * 60 numbers, its steps and its rate, 488 bytes; an
    image takes their inputs, 2 * 5 numbers. Half of the 2079 left of 2567 holds 25."""
    model, adam = two_layers(), keras.optimizers.Adam(1e-3)
    monkeypatch.setattr(memory, "available_memory", lambda: there)
    monkeypatch.setattr(memory, "anonymous_memory_mb", lambda: 0)
    if said is None:
        check(model, adam, 52)
        return
    with pytest.raises(tl.InputError, match=said):
        check(model, adam, 52)


def test_what_the_optimizer_does_not_keep_is_not_counted(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 2100)
    monkeypatch.setattr(memory, "anonymous_memory_mb", lambda: 0)
    check(two_layers(), keras.optimizers.SGD(1e-3), 52)
    with pytest.raises(tl.InputError, match="Try"):
        check(two_layers(), keras.optimizers.SGD(1e-3, momentum=0.9), 52)


def test_layers_that_do_not_learn_hold_nothing(monkeypatch):
    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(5, trainable=False)(inputs))
    monkeypatch.setattr(memory, "available_memory", lambda: 100)
    monkeypatch.setattr(memory, "anonymous_memory_mb", lambda: None)
    check(model, keras.optimizers.SGD(1e-3), 10**9)
    model.trainable = model.layers[-1].trainable = True
    with pytest.raises(tl.InputError, match="at least 20 GB "):  # of 10**9 images the 5 numbers that it is given
        check(model, keras.optimizers.SGD(1e-3), 10**9)


def test_a_batch_larger_than_the_set_counts_as_the_set(toy_pixels, monkeypatch):
    images, labels = toy_pixels
    recipe = tiny_tuner(phases=tl.Phase(1, 1e-3), batch_size=2**40)
    history = recipe.fit((images[:8], labels[:8]), seed=0).history
    assert len(history) == 1


def test_an_allocation_that_fails_is_said_with_the_remedy():
    said = r"^the memory does not suffice for it\. Do that\.$"
    with pytest.raises(tl.InputError, match=said), memory_in_words("it", "Do that."):
        raise MemoryError
    for message in ("Too many open files", "No space left on device"):  # which TensorFlow reports by the same type
        error = type("ResourceExhaustedError", (Exception,), {})(message)
        with pytest.raises(type(error), match=message), memory_in_words("it", "Do that."):
            raise error
    with pytest.raises(ZeroDivisionError), memory_in_words("it", "Do that."):
        1 / 0  # noqa: B018


@pytest.mark.slow
def test_what_the_backend_cannot_allocate_is_said_too(toy_pixels):
    recipe = tiny_tuner(head=tl.Head(hidden=(2**45,)))
    said = r"memory does not suffice for tiny at \(32, 32\)\. Take a smaller image_size, or another head\."
    with pytest.raises(tl.InputError, match=said):
        recipe.fit(toy_pixels, seed=0)
