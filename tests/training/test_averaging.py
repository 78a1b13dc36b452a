import numpy as np
import pytest

import tlkeras as tl


def averaged(phase, weights, batches):
    """The average after each step, of weights that were 0 before the first one."""
    average, seen = 0.0, []
    for step, weight in enumerate(weights):
        average += (weight - average) * phase.average_share_at(step // batches + 1, step % batches + 1, batches)
        seen.append(average)
    return seen


def test_an_exponential_average_is_tensorflows():
    tf = pytest.importorskip("tensorflow")
    weights = np.random.default_rng(0).normal(size=12)
    variable, theirs = tf.Variable(0.0), []
    for step, weight in enumerate(weights, start=1):
        ema = tf.train.ExponentialMovingAverage(0.4, num_updates=step)
        before = theirs[-1] if theirs else 0.0
        variable.assign(before)
        ema.apply([variable])
        variable.assign(weight)
        ema.apply([variable])
        theirs.append(float(ema.average(variable)))
    assert averaged(tl.Phase(3, 0.1, average=tl.EMA(0.4)), weights, 4) == pytest.approx(theirs, rel=1e-5)


def test_an_exponential_average_moves_with_steps_not_with_batches_that_only_add_up():
    phase = tl.Phase(2, 0.1, average=tl.EMA(0.5), accumulate=3)
    shares = [phase.average_share_at(epoch, batch, 4) for epoch in (1, 2) for batch in range(1, 5)]
    assert shares == pytest.approx([0, 0, 1 - 2 / 11, 0, 0, 1 - 3 / 12, 0, 0])


def test_stochastic_weight_averaging_is_the_mean_of_the_last_epochs_ends():
    phase, weights = tl.Phase(5, 0.1, average=tl.SWA(3)), np.random.default_rng(0).normal(size=10)
    found = averaged(phase, weights, 2)
    assert [found[5], found[7], found[9]] == pytest.approx([weights[5], weights[[5, 7]].mean(), weights[5::2].mean()])
    assert [phase.is_averaged(epoch) for epoch in range(1, 6)] == [False, False, True, True, True]


def test_without_an_average_nothing_is_averaged():
    assert not tl.Phase(2, 0.1).is_averaged(2)
    assert tl.Phase(2, 0.1).average_share_at(2, 3, 3) == 0


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (lambda: tl.EMA(1), r"EMA\.decay: received 1; accepted is a number in \(0, 1\)"),
        (lambda: tl.SWA(1), r"SWA\.epochs: received 1; accepted is an integer of at least 2"),
        (lambda: tl.Phase(2, 0.1, average=tl.SWA(3)), r"Phase\.average: received SWA\(epochs=3\), with epochs=2"),
        (lambda: tl.Phase(4, 0.1, average=tl.SWA(3), patience=2), r"Phase\.average: .* patience=2"),
        (lambda: tl.Phase(4, 0.1, average="ema"), r"Phase\.average: received 'ema'; accepted: None, or EMA\(decay\)"),
    ],
)
def test_an_average_that_cannot_be_is_refused(declared, said):
    with pytest.raises(tl.InputError, match=said):
        declared()
