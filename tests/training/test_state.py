"""What a training comes back to, asked of the state itself: a network of two layers whose weights are set by hand."""

import keras
import numpy as np
import pytest

import tlkeras as tl
from tlkeras.errors import InputError
from tlkeras.schema import EpochLog, Precision
from tlkeras.training.checkpoint import CheckpointFile
from tlkeras.training.state import TrainingState

FIRST, SECOND = frozenset({2}), frozenset({1, 2})  # the head learns in both phases, the layer before it in the second


def two_phases(keep="best"):
    return (tl.Phase(3, 1e-2, keep=keep, monitor="val_loss"),) * 2


PHASES = two_phases()


def two_layers(units=3):
    """Its layers are the input, and then two with weights."""
    inputs = keras.Input((2,))
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dense(units)(inputs)))


def fill(model, value):
    model.set_weights([np.full(weight.shape, value, np.float32) for weight in model.get_weights()])


def values(model):
    """The number that all weights of a layer are, of both layers."""
    return [float(layer.kernel[0, 0]) for layer in model.layers[1:]]


def log(phase, epoch, val_loss=None):
    return EpochLog(phase, epoch, 0.1, 1.0, 0.5, val_loss, None if val_loss is None else 0.5)


def trained(state, model, *epochs, phases=PHASES):
    """Each epoch is (phase, epoch, val_loss, what the weights of the layers that learn are after it)."""
    optimizer = keras.optimizers.SGD(momentum=0.9)
    optimizer.build(model.trainable_variables)
    for phase, epoch, val_loss, value in epochs:
        for layer in (FIRST, SECOND)[phase - 1]:
            model.layers[layer].set_weights([np.full(w.shape, value, np.float32) for w in model.layers[layer].weights])
        state.judge(log(phase, epoch, val_loss), phases[phase - 1], model)
        state.keep(model, optimizer)
    return optimizer


@pytest.fixture
def model():
    built = two_layers()
    fill(built, 0.0)
    return built


def new_state(model, phases=PHASES, **files):
    return TrainingState(model, (FIRST, SECOND), phases, Precision(), **files)


def kept(state):
    return [(each.phase, each.epoch) for each in state.marked_history() if each.kept]


def test_the_best_epoch_of_all_phases_comes_back_with_every_layer_as_it_was(model):
    state = new_state(model)
    trained(state, model, (1, 1, 0.9, 1.0), (1, 2, 0.5, 2.0), (1, 3, 0.5, 3.0), (2, 1, 0.7, 4.0))
    assert (values(model), kept(state)) == ([4, 4], [(2, 1)])
    assert state.take_best(model)
    # An epoch that is only as good is no better; the first layer had not learnt yet.
    assert (values(model), kept(state)) == ([0, 2], [(1, 2)])
    assert state.fall_back(model) == "phase 1, epoch 2"


def test_without_a_best_the_last_good_weights_come_back(model):
    phases = two_phases(keep="last")
    state = new_state(model, phases)
    state.begin(1, model)
    assert state.fall_back(model) is None  # nothing has been trained
    trained(state, model, (1, 1, 0.5, 1.0), (1, 2, 0.9, 2.0), phases=phases)
    assert not state.take_best(model)
    fill(model, np.nan)
    assert state.fall_back(model) == "phase 1, epoch 2"
    assert values(model)[1] == 2
    model.layers[1].set_weights([np.zeros_like(weight) for weight in model.layers[1].get_weights()])
    state.begin(2, model)  # in which the first layer learns, too
    fill(model, np.nan)
    assert state.fall_back(model) == "phase 1, epoch 2"
    assert values(model) == [0, 2]


def test_without_validation_no_epoch_is_best(model):
    state = new_state(model)
    trained(state, model, (1, 1, None, 1.0), (1, 2, None, 2.0))
    assert not state.take_best(model)
    assert kept(state) == [(1, 2)]


@pytest.mark.parametrize("keep", ["best", "last"])
def test_what_is_written_is_what_another_process_goes_on_from(model, tmp_path, keep, heard):
    phases = two_phases(keep)
    file = CheckpointFile(tmp_path / "c.npz", {"seed": 0})
    assert file.read() is None
    state = new_state(model, phases, file=file)
    optimizer = trained(state, model, (1, 1, 0.5, 1.0), (1, 2, 0.9, 2.0), phases=phases)
    for number, variable in enumerate(optimizer.variables):
        variable.assign(np.full(variable.shape, number))
    file._took = 0  # however long the last one took
    state.judge(log(1, 3, 0.7), phases[0], model)
    state.keep(model, optimizer)

    other, again = two_layers(), CheckpointFile(tmp_path / "c.npz", {"seed": 0})
    fill(other, 0.0)
    started = again.read()
    assert heard.lines() == ["goes on after epoch 3 of phase 1, from c.npz"]
    assert (started.phase, started.precision) == (1, Precision())
    assert started.best_epoch == ((1, 1) if keep == "best" else None)
    resumed = new_state(other, phases, file=again, started=started)
    assert (resumed.begins_in, resumed.history) == (1, state.history)
    assert (values(other), kept(resumed)) == ([0, 2], [(1, 3)])
    variables = keras.optimizers.SGD(momentum=0.9)
    variables.build(other.trainable_variables)
    resumed.restore_optimizer(variables)
    assert [float(np.ravel(variable)[0]) for variable in variables.variables] == list(range(len(variables.variables)))
    assert resumed.take_best(other) == (keep == "best")
    assert values(other) == ([0, 1] if keep == "best" else [0, 2])
    trained(resumed, other, (2, 1, 0.6, 5.0), phases=phases)  # better than the last, and not than the best
    assert resumed.take_best(other) == (keep == "best")
    assert values(other) == ([0, 1] if keep == "best" else [5, 5])


def test_another_networks_weights_are_refused(model, tmp_path):
    file = CheckpointFile(tmp_path / "c.npz", {})
    trained(new_state(model, file=file), model, (1, 1, 0.5, 1.0))
    with pytest.raises(InputError, match=r"weights of another network.*1 of 2 do not fit"):
        new_state(two_layers(units=4), started=file.read())
