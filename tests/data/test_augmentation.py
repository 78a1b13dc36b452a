from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from tlkeras.data.augmentation import Augmentation
from tlkeras.errors import InputError


def test_the_default_asks_for_nothing():
    augmentation = Augmentation()
    assert augmentation.zoom_limits == (1, 1)
    assert augmentation == Augmentation(rotation_range=0, fill_mode="nearest")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rotation_range", -1, "[0, 360]"),
        ("rotation_range", "20", "degrees"),
        ("rotation_range", float("nan"), "degrees"),
        ("width_shift_range", -0.1, "fraction below 1"),
        ("height_shift_range", (), "several numbers"),
        ("height_shift_range", (1, -2), "several numbers"),
        ("shear_range", 90, "[0, 90)"),
        ("zoom_range", 1, "[0, 1)"),
        ("zoom_range", (1.2, 0.8), "low, high"),
        ("zoom_range", (0, 1), "above 0"),
        ("zoom_range", (0.8, 1.0, 1.2), "two numbers"),
        ("zoom_range", "0.2", "two numbers"),
        ("horizontal_flip", 1, "True or False"),
        ("vertical_flip", "yes", "True or False"),
        ("brightness_range", 0.2, "factors"),
        ("brightness_range", (-0.5, 1), "factors"),
        ("channel_shift_range", 300, "grey levels"),
        ("channel_shift_range", True, "grey levels"),
        ("fill_mode", "mirror", "'nearest', 'reflect', 'wrap', 'constant'"),
        ("cval", 256, "[0, 255]"),
        ("views", 0, "at least 1"),
        ("views", 2.0, "at least 1"),
    ],
)
def test_a_refusal_names_the_argument_the_value_and_what_is_accepted(name, value, words):
    with pytest.raises(InputError) as refusal:
        Augmentation(**{name: value})
    message = str(refusal.value)
    assert name in message
    assert repr(value) in message
    assert words in message


def test_zoom_limits_of_a_number_and_of_a_pair():
    assert Augmentation(zoom_range=0.25).zoom_limits == (0.75, 1.25)
    assert Augmentation(zoom_range=[0.5, 1]).zoom_limits == (0.5, 1)


def test_survives_json_and_is_hashable():
    augmentation = Augmentation(zoom_range=(0.8, 1.1), width_shift_range=[1, 3], brightness_range=(0.5, 1.5), views=3)
    again = Augmentation(**json.loads(json.dumps(dataclasses.asdict(augmentation))))
    assert again == augmentation
    assert hash(again) == hash(augmentation)


def test_example_seeds_do_not_depend_on_the_company():
    augmentation = Augmentation()
    together = augmentation.example_seeds(7, 1, 3, np.arange(100))
    assert together.shape == (100, 2)
    assert together.dtype == np.int32
    np.testing.assert_array_equal(augmentation.example_seeds(7, 1, 3, [42, 5]), together[[42, 5]])
    assert augmentation.example_seeds(7, 1, 3, np.array([2**31 - 1]))[0, 1] == 2**31 - 1


def test_seed_phase_epoch_and_example_each_change_the_seed():
    augmentation = Augmentation()
    one = lambda *when, example=0: tuple(augmentation.example_seeds(*when, [example])[0])  # noqa: E731
    pairs = {one(seed, phase, epoch) for seed in range(4) for phase in range(4) for epoch in range(4)}
    assert len(pairs) == 64
    assert one(0, 1, 1) != one(0, 1, 1, example=1)


def test_fixed_views_repeat_every_k_epochs_and_in_every_phase():
    augmentation = Augmentation(views=3)
    epochs = [augmentation.example_seeds(0, 1, epoch, [0, 1]) for epoch in range(1, 7)]
    for first, again in zip(epochs[:3], epochs[3:], strict=True):
        np.testing.assert_array_equal(first, again)
    assert len({int(seeds[0, 0]) for seeds in epochs}) == 3
    np.testing.assert_array_equal(augmentation.example_seeds(0, 2, 4, [0, 1]), epochs[0])
    assert [augmentation.view_of(epoch) for epoch in range(4)] == [0, 1, 2, 0]
    assert Augmentation().view_of(11) == 11


@pytest.mark.parametrize("indices", [[0.5], [[1, 2]], [-1], [2**31]])
def test_indices_that_are_none_are_refused(indices):
    with pytest.raises(InputError, match="indices"):
        Augmentation().example_seeds(0, 1, 1, indices)


def test_declaring_an_augmentation_loads_no_tensorflow():
    code = "import sys, tlkeras.data.augmentation; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
