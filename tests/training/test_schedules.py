import math

import keras
import numpy as np
import pytest

import tlkeras as tl
from tlkeras.training.schedules import rate_factor

EPOCHS, BATCHES = 4, 10


def rates(**phase):
    """The rate of each step of a phase, as training asks for them."""
    phase = tl.Phase(EPOCHS, 0.1, **phase)
    return [phase.learning_rate_at(epoch, batch, BATCHES) for epoch in range(1, 5) for batch in range(1, 11)]


def test_a_rate_without_a_schedule_stays():
    assert rates() == [0.1] * 40


def test_a_step_decay_falls_between_epochs():
    assert rates(schedule=tl.StepDecay(every=2, factor=0.5)) == pytest.approx([0.1] * 20 + [0.05] * 20)


def test_a_cosine_is_kerass_over_the_steps_of_the_phase():
    keras_own = keras.optimizers.schedules.CosineDecay(0.1, 40)
    assert rates(schedule="cosine") == pytest.approx([float(keras_own(step)) for step in range(40)], abs=1e-8)


def test_a_cosine_after_a_warm_up_is_kerass_and_the_rise_ends_at_the_rate():
    keras_own = keras.optimizers.schedules.CosineDecay(0.0, 25, warmup_target=0.1, warmup_steps=15)
    found = rates(schedule="cosine", warmup=1.5)
    assert found[:15] == pytest.approx([0.1 * step / 15 for step in range(1, 16)])
    assert found[15:] == pytest.approx([float(keras_own(step)) for step in range(15, 40)], abs=1e-8)


def test_a_warm_up_before_a_constant_rate():
    assert rates(warmup=0.5) == pytest.approx([0.02, 0.04, 0.06, 0.08] + [0.1] * 36)


def test_one_cycle_is_that_of_fastai():
    def cosine(start, end, part):
        return start + (1 + math.cos(math.pi * (1 - part))) * (end - start) / 2

    passed = np.arange(40) / 40
    expected = [cosine(0.004, 0.1, p / 0.25) if p < 0.25 else cosine(0.1, 1e-6, (p - 0.25) / 0.75) for p in passed]
    assert rates(schedule="one_cycle") == pytest.approx(expected)


def test_a_cosine_by_epoch_stands_still_within_them():
    # 0.1 (1 + cos(pi e / 4)) / 2 for e = 0, 1, 2, 3
    expected = np.repeat([0.1, 0.0853553, 0.05, 0.0146447], BATCHES)
    assert rates(schedule="cosine_by_epoch") == pytest.approx(expected, abs=1e-7)


def test_the_factor_at_the_beginning_of_a_phase_is_one():
    assert rate_factor("cosine", done=0, epochs=3) == 1
