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


def test_the_words_of_a_phase_name_what_is_its_own():
    plain = tl.Phase(3, 1e-3, monitor="val_loss")
    assert plain.words() == {
        "epochs per phase": "3",
        "optimizer": "adam",
        "learning rate": "0.001",
        "schedule": "none",
        "backbone layers that learn": "none",
        "backbone's BatchNorm": "frozen",
        "early stop": "none",
        "weights kept": "best val_loss",
    }
    other = tl.Phase(
        3,
        1e-3,
        unfreeze=("block1", "block5"),
        optimizer="sgd",
        momentum=0.5,
        schedule=tl.StepDecay(2),
        patience=4,
        monitor="val_roc_auc",
        keep="last",
        batch_norm="train",
        batch_norm_momentum=0.25,
    )
    assert list(other.words().values())[1:] == [
        "sgd, momentum 0.5",
        "0.001",
        "every=2, factor=0.1",
        "[block1, block5]",
        "train, momentum 0.25",
        "after 4 epochs without a better val_roc_auc",
        "last",
    ]
    assert tl.Phase(3, 1e-3, unfreeze_from="block5").words()["backbone layers that learn"] == "from block5"


def test_a_momentum_of_batch_norm_needs_one_that_learns():
    with pytest.raises(tl.InputError, match=r"Phase\.batch_norm_momentum: received 0\.9, and batch_norm is 'frozen'"):
        tl.Phase(3, 1e-3, batch_norm_momentum=0.9)
    with pytest.raises(
        tl.InputError, match=r"Phase\.batch_norm_momentum: received 1; accepted is a number in \[0, 1\)"
    ):
        tl.Phase(3, 1e-3, batch_norm="train", batch_norm_momentum=1)
