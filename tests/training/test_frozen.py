import pytest
from tiny import TINY

import tlkeras as tl
from tlkeras.models.freezing import set_trainable
from tlkeras.training.feature_store import output_layer
from tlkeras.training.frozen import find_frozen

HEAD, ALL = {}, {"unfreeze": "all"}
BLOCK1, BLOCK2, BLOCK3 = ({"unfreeze": (f"block{number}",)} for number in (1, 2, 3))
CONV3 = {"unfreeze_from": "conv3"}


@pytest.fixture(scope="module")
def model():
    return tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), head=tl.Head(hidden=(4,)))


def frozen_of(model, choices, has_room=lambda trunks: True):
    """find_frozen's answer, and in names: per phase None, or the layers its trunks end with."""
    phases = [tl.Phase(1, 1e-3, **choice) for choice in choices]

    def set_phase(phase):
        set_trainable(
            model, TINY, unfreeze=phase.unfreeze, unfreeze_from=phase.unfreeze_from, batch_norm=phase.batch_norm
        )

    found = find_frozen(model, phases, set_phase, has_room)
    assert all(each is None or each.trunks[0] is each.cut.trunk for each in found)
    return found, [each and tuple(map(output_layer, each.trunks)) for each in found]


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ([HEAD], [("head_flatten",)]),
        ([ALL], [None]),
        ([BLOCK1, ALL], [None, None]),  # nothing with weights lies before block1
        ([HEAD, CONV3], [("head_flatten", "add2"), ("add2",)]),
        # bn3 moves its averages, conv3 before it does not learn.
        ([HEAD, {"unfreeze_from": "bn3", "batch_norm": "train"}], [("head_flatten", "conv3"), ("conv3",)]),
        # What a phase has passed comes too late to be joined, and what learns until then changes the features.
        ([CONV3, HEAD], [("add2",), ("head_flatten",)]),
        ([HEAD, BLOCK1, BLOCK3], [("head_flatten",), None, ("add2",)]),
        ([HEAD, BLOCK2, CONV3], [("head_flatten", "relu1"), ("relu1",), ("add2",)]),
        # A later phase may leave a trunk alone that the one between changes behind its cut.
        ([HEAD, BLOCK3, BLOCK2], [("head_flatten", "add2", "relu1"), ("add2", "relu1"), ("relu1",)]),
        ([HEAD, ALL, HEAD], [("head_flatten",), None, ("head_flatten",)]),
        ([HEAD, HEAD], [("head_flatten",), ("head_flatten",)]),  # the same cut once
        ([HEAD, CONV3, CONV3], [("head_flatten", "add2"), ("add2",), ("add2",)]),
    ],
)
def test_a_pass_gives_its_own_features_and_those_of_later_phases_that_stay_as_they_are(model, choices, expected):
    assert frozen_of(model, choices)[1] == expected


@pytest.mark.parametrize(
    ("has_room", "expected"),
    [
        (lambda layers: False, [None, None]),
        (lambda layers: len(layers) == 1, [("head_flatten",), ("add2",)]),
        (lambda layers: "add2" not in layers, [("head_flatten",), None]),
        (lambda layers: "head_flatten" not in layers, [None, ("add2",)]),
    ],
)
def test_what_there_is_no_room_for_is_not_kept(model, has_room, expected):
    asked = lambda trunks: has_room([output_layer(trunk) for trunk in trunks])  # noqa: E731
    assert frozen_of(model, [HEAD, CONV3], asked)[1] == expected


def test_each_phase_has_a_cut_of_its_own_and_the_flags_are_left_as_in_the_last(model):
    (first, second), _ = frozen_of(model, [HEAD, CONV3])
    assert (first.cut.layer, second.cut.layer) == ("head_flatten", "add2")
    assert first.trunks[1] is second.cut.trunk
    assert [layer.name for layer in model.layers if layer.trainable_weights] == ["conv3", "head_dense_1", "head_probs"]
