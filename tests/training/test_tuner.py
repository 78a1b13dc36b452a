import dataclasses

import pytest

import tlkeras as tl


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
