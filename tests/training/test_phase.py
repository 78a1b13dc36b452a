import keras
import pytest

import tlkeras as tl


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"epochs": 0}, r"Phase\.epochs: received 0; accepted is an integer of at least 1"),
        ({"epochs": 2.5}, r"Phase\.epochs"),
        ({"learning_rate": 0}, r"Phase\.learning_rate: received 0"),
        ({"learning_rate": float("nan")}, r"Phase\.learning_rate"),
        ({"optimizer": "muon"}, r"Phase\.optimizer: received 'muon'; accepted: 'adam', 'sgd', 'adamw'"),
        ({"warmup": -1}, r"Phase\.warmup: received -1"),
        ({"warmup": 1}, r"Phase\.warmup: received 1 of 1 epochs; accepted are fewer"),
        ({"epochs": 3, "warmup": 1, "schedule": "one_cycle"}, r"Phase\.warmup: .*'one_cycle', which rises by itself"),
        ({"epochs": 3, "warmup": 1, "schedule": "cosine_by_epoch"}, 'Phase\\.warmup: .*Take "cosine"'),
        ({"stage_decay": 0}, r"Phase\.stage_decay: received 0; accepted is a number in \(0, 1\]"),
        ({"weight_decay": -0.1}, r"Phase\.weight_decay: received -0\.1"),
        ({"clip_norm": 0}, r"Phase\.clip_norm: received 0"),
        ({"accumulate": 0}, r"Phase\.accumulate: received 0"),
        ({"monitor": "accuracy"}, r"Phase\.monitor"),
        ({"keep": "first"}, r"Phase\.keep"),
        ({"batch_norm": True}, r"Phase\.batch_norm"),
        ({"patience": 0}, r"Phase\.patience"),
        (
            {"schedule": "linear"},
            r"Phase\.schedule: received 'linear'; accepted: 'cosine', .*, or StepDecay",
        ),
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


def test_the_words_of_a_phase_name_what_is_its_own():
    plain = tl.Phase(3, 1e-3, monitor="val_loss")
    assert plain.words() == {
        "epochs per phase": "3",
        "optimizer": "adam",
        "learning rate": "0.001",
        "schedule": "none",
        "warm-up": "none",
        "rate of each stage": "the next one's",
        "weight decay": "none",
        "image size of the phase": "the recipe's",
        "gradients": "as they are",
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
        warmup=1.5,
        stage_decay=0.7,
        weight_decay=0.05,
        clip_norm=1,
        accumulate=4,
        average=tl.EMA(0.98),
        image_size=(64, 48),
        least_steps=300,
    )
    assert list(other.words().values())[1:] == [
        "sgd, momentum 0.5",
        "0.001",
        "every=2, factor=0.1",
        "1.5 epochs",
        "0.7 of the next one's",
        "0.05",
        "64x48",
        "of a norm of at most 1, averaged over 4 batches",
        "[block1, block5]",
        "train, momentum 0.25",
        "after 4 epochs without a better val_roc_auc",
        "last, averaged (EMA, decay=0.98)",
    ]
    assert tl.Phase(3, 1e-3, unfreeze_from="block5").words()["backbone layers that learn"] == "from block5"


def test_the_decay_of_weights_is_kerass_own_where_none_is_given():
    import keras

    assert tl.Phase(1, 0.1).words()["weight decay"] == "none"
    assert tl.Phase(1, 0.1, optimizer="adamw").decay == keras.optimizers.AdamW().weight_decay
    assert tl.Phase(1, 0.1, optimizer="adamw", weight_decay=0).decay == 0


def test_the_cosine_of_an_earlier_version_moved_between_epochs():
    described = {"epochs": 3, "learning_rate": 0.1, "schedule": "cosine"}
    assert tl.Phase(**tl.Phase.of_earlier(described)).schedule == "cosine_by_epoch"
    assert tl.Phase(**tl.Phase.of_earlier({**described, "warmup": 0})).schedule == "cosine"


def test_for_smoke_one_epoch_needs_no_more():
    smoke = tl.Phase(9, 0.1, warmup=2, average=tl.SWA(3), stage_decay=0.5).for_smoke()
    assert smoke == tl.Phase(1, 0.1, stage_decay=0.5)
    assert tl.Phase(9, 0.1, average=tl.EMA()).for_smoke().average == tl.EMA()


def test_a_momentum_of_batch_norm_needs_one_that_learns():
    with pytest.raises(tl.InputError, match=r"Phase\.batch_norm_momentum: received 0\.9, and batch_norm is 'frozen'"):
        tl.Phase(3, 1e-3, batch_norm_momentum=0.9)
    with pytest.raises(
        tl.InputError, match=r"Phase\.batch_norm_momentum: received 1; accepted is a number in \[0, 1\)"
    ):
        tl.Phase(3, 1e-3, batch_norm="train", batch_norm_momentum=1)


def test_an_optimizers_own_options_and_the_phases_do_not_cross():
    assert tl.Phase(1, 1e-2, optimizer=keras.optimizers.SGD(momentum=0.5)).momentum == 0.5
    with pytest.raises(tl.InputError, match=r"Phase.momentum: received 0.95.*0.5"):
        tl.Phase(1, 1e-2, optimizer=keras.optimizers.SGD(momentum=0.5), momentum=0.95)
    with pytest.raises(tl.InputError, match=r"Phase.clip_norm: received 1.0.*clipnorm"):
        tl.Phase(1, 1e-2, optimizer=keras.optimizers.Adam(clipnorm=1.0), clip_norm=1.0)


def test_steps_count_the_batches_that_one_takes():
    phase = tl.Phase(2, 1e-4, least_steps=300, accumulate=4)
    assert phase.with_enough_steps(10).epochs == 120
    assert phase.with_enough_steps(10**6).epochs == 2
    assert tl.Phase(2, 1e-4).with_enough_steps(1).epochs == 2
