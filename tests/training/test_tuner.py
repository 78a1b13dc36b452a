import dataclasses

import pytest

import tlkeras as tl


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"epochs": 0}, r"Phase\.epochs: received 0; accepted is an integer of at least 1"),
        ({"epochs": 2.5}, r"Phase\.epochs"),
        ({"learning_rate": 0}, r"Phase\.learning_rate: received 0"),
        ({"learning_rate": float("nan")}, r"Phase\.learning_rate"),
        ({"optimizer": "rmsprop"}, r"Phase\.optimizer: received 'rmsprop'; accepted: 'adam', 'sgd'"),
        ({"monitor": "accuracy"}, r"Phase\.monitor"),
        ({"keep": "first"}, r"Phase\.keep"),
        ({"batch_norm": True}, r"Phase\.batch_norm"),
        ({"patience": 0}, r"Phase\.patience"),
        ({"schedule": "linear"}, r"Phase\.schedule: received 'linear'; accepted: 'cosine', None, or StepDecay"),
        ({"unfreeze": -1}, r"Phase\.unfreeze"),
        ({"unfreeze": True}, r"Phase\.unfreeze"),
        ({"unfreeze": 3, "unfreeze_from": "block4"}, "give one\\."),
    ],
)
def test_a_phase_says_what_it_accepts(fields, said):
    with pytest.raises(tl.InputError, match=said):
        tl.Phase(**({"epochs": 1, "learning_rate": 1e-3} | fields))


def test_a_bare_stage_name_is_refused_naming_both_spellings():
    with pytest.raises(tl.InputError, match=r"unfreeze=\('block5',\).*unfreeze_from='block5'"):
        tl.Phase(1, 1e-3, unfreeze="block5")


def test_schedules_give_the_rates_of_their_formulas():
    constant = tl.Phase(4, 0.1)
    assert [constant.learning_rate_at(epoch) for epoch in (1, 4)] == [0.1, 0.1]
    step = tl.Phase(5, 0.1, schedule=tl.StepDecay(every=2, factor=0.5))
    assert [step.learning_rate_at(epoch) for epoch in range(1, 6)] == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025])
    cosine = tl.Phase(4, 0.1, schedule="cosine")
    # 0.1 (1 + cos(pi e / 4)) / 2 for e = 0, 1, 2, 3
    expected = [0.1, 0.0853553, 0.05, 0.0146447]
    assert [cosine.learning_rate_at(epoch) for epoch in range(1, 5)] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"backbone": "mobilenet_v2"}, "mobilenetv2"),
        ({"image_size": 128}, r"image_size: received 128; accepted is \(height, width\)"),
        ({"image_size": (16, 32)}, "each at least 32"),
        ({"preprocessing": "tf"}, r"Tuner\.preprocessing"),
        ({"imbalance": "both"}, r"Tuner\.imbalance"),
        ({"batch_size": 0}, r"Tuner\.batch_size"),
        ({"head": (128,)}, r"Tuner\.head"),
        ({"phases": ()}, r"Tuner\.phases"),
        ({"augment_val": True}, r"Tuner\.augment_val"),
        ({"phases": (tl.Phase(1, 1e-3), tl.Phase(1, 1e-3, monitor="val_accuracy"))}, "cannot be compared"),
    ],
)
def test_a_tuner_says_what_it_accepts(fields, said):
    fields = {"backbone": "mobilenetv2"} | fields
    with pytest.raises(tl.InputError, match=said):
        tl.Tuner(fields.pop("backbone"), **fields)


def test_a_tuner_is_a_value():
    tuner = tl.Tuner("vgg16")
    assert tuner == tl.Tuner("vgg16")
    assert tuner.image_size == (224, 224)
    assert tl.Tuner("xception").image_size == (299, 299)
    assert dataclasses.replace(tuner, batch_size=8).batch_size == 8
    assert tuner.batch_size == 32
    with pytest.raises(dataclasses.FrozenInstanceError):
        tuner.batch_size = 8
