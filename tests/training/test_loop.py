import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.models.freezing import set_trainable
from tlkeras.progress import silenced
from tlkeras.seeds import generator
from tlkeras.training.epoch import Trained, _showing, batch_norm_learns, seed_dropout
from tlkeras.training.feed import Feed


def parts(toy_pixels):
    images, labels = toy_pixels
    return (images[:28], labels[:28]), (images[28:], labels[28:])


def weights_of(classifier):
    return classifier.model.get_weights()


def equal(a, b):
    return all((x == y).all() for x, y in zip(a, b, strict=True))


def test_history_has_a_row_per_epoch_and_the_task_is_learnt(toy_pixels):
    train, val = parts(toy_pixels)
    classifier = tiny_tuner(phases=(tl.Phase(8, 1e-2), tl.Phase(2, 1e-3, unfreeze="all"))).fit(train, val, seed=0)
    history = classifier.history
    columns = ["phase", "epoch", "seconds", "loss", "accuracy", "val_loss", "val_accuracy", "kept"]
    assert list(history.columns) == columns
    assert history["kept"].idxmax() == history["val_loss"].idxmin()
    assert history["kept"].sum() == 1
    assert list(history["phase"]) == [1] * 8 + [2] * 2
    assert list(history["epoch"]) == [1, 2, 3, 4, 5, 6, 7, 8, 1, 2]
    assert (classifier.predict_pixels(val[0]).argmax(axis=1) == val[1]).mean() > 0.9


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(toy_pixels):
    train, val = parts(toy_pixels)
    phases = (tl.Phase(1, 1e-2), tl.Phase(1, 1e-3, unfreeze="all"))
    augmentation = tl.Augmentation(rotation_range=20, horizontal_flip=True)
    tuner = tiny_tuner(phases=phases, augmentation=augmentation, imbalance="oversample")
    first = tuner.fit(train, val, seed=3)
    keras.utils.set_random_seed(99)  # no global generator may matter
    second, other = (tuner.fit(train, val, seed=seed) for seed in (3, 4))
    assert equal(weights_of(first), weights_of(second))
    assert first.history.drop(columns="seconds").equals(second.history.drop(columns="seconds"))
    assert not equal(weights_of(first), weights_of(other))


@pytest.mark.slow
def test_an_epoch_is_a_function_of_its_number_not_of_the_ones_before(toy_pixels, monkeypatch):
    """Epoch 2 entered directly, from the weights that epoch 1 left, gives what the unbroken run gives."""
    from tlkeras.training import loop

    train, val = parts(toy_pixels)
    # SGD without momentum keeps no state of its own, so the weights are all that epoch 1 hands on.
    phase = tl.Phase(2, 1e-2, optimizer="sgd", momentum=0.0, keep="last")
    tuner = tiny_tuner(phases=(phase,), augmentation=tl.Augmentation(width_shift_range=0.2))
    whole = tuner.fit(train, val, seed=0)

    after_one = dataclasses.replace(tuner, phases=(dataclasses.replace(phase, epochs=1),)).fit(train, val, seed=0)
    original = loop.train_epoch

    def only_the_second(stage, optimizer, job, phase, number, epoch):
        if epoch == 1:
            stage.model.set_weights(weights_of(after_one))
            return Trained(0.0, 0.0, 0.0)
        return original(stage, optimizer, job, phase, number, epoch)

    monkeypatch.setattr(loop, "train_epoch", only_the_second)
    entered = tuner.fit(train, val, seed=0)
    assert equal(weights_of(whole), weights_of(entered))


EMA_PHASES = (
    tl.Phase(2, 1e-2, average=tl.EMA(0.6)),
    tl.Phase(2, 1e-2, unfreeze="all", batch_norm="train", average=tl.EMA(0.6)),
)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"phases": EMA_PHASES}, id="ema"),
        pytest.param(
            {"phases": (tl.Phase(3, 1e-2, keep="last", average=tl.SWA(2)),)}, id="swa", marks=pytest.mark.slow
        ),
        pytest.param({"loss": tl.Loss(label_smoothing=0.2, focal=1)}, id="features", marks=pytest.mark.slow),
        pytest.param(
            {"loss": tl.Loss(logit_adjustment=1), "augmentation": tl.Augmentation(horizontal_flip=True)}, id="pixels"
        ),
    ],
)
def test_validation_sees_the_weights_that_are_kept_and_plain_cross_entropy(toy_pixels, fields):
    train, val = parts(toy_pixels)
    fitted = tiny_tuner(**fields).fit(train, val, seed=0)
    probs = fitted.predict_pixels(val[0])
    kept = fitted.history[fitted.history["kept"]].iloc[0]
    assert kept["val_loss"] == pytest.approx(-np.log(probs[np.arange(len(probs)), val[1]]).mean(), rel=1e-4)
    assert kept["val_accuracy"] == pytest.approx((probs.argmax(axis=1) == val[1]).mean())


def test_an_average_goes_beside_the_weights_that_learn(toy_pixels):
    """The next epoch goes on from the weights of the last step: an average that is only looked at changes no loss."""
    train, val = parts(toy_pixels)
    plain = tl.Phase(3, 1e-2, unfreeze="all", keep="last")
    averaged = dataclasses.replace(plain, average=tl.EMA(0.9))
    one, other = (tiny_tuner(phases=(phase,)).fit(train, val, seed=0) for phase in (plain, averaged))
    assert one.history["loss"].tolist() == other.history["loss"].tolist()
    assert one.history["val_loss"].tolist() != other.history["val_loss"].tolist()
    assert not equal(weights_of(one), weights_of(other))


def test_stages_learn_at_rates_that_fall_towards_the_pixels(toy_pixels):
    """SGD without momentum moves each layer, in one step, in proportion to its rate."""
    train, _ = parts(toy_pixels)
    phase = tl.Phase(1, 1e-2, unfreeze="all", optimizer="sgd", momentum=0.0)
    start = None
    moved = []
    for decay in (1, 0.5):
        tuner = tiny_tuner(phases=(dataclasses.replace(phase, stage_decay=decay),), batch_size=64)
        start = tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), head=tuner.head, seed=_weights_seed(0))
        model = tuner.fit(train, seed=0).model
        moved.append(
            {
                layer.name: layer.kernel.numpy() - start.get_layer(layer.name).kernel.numpy()
                for layer in model.layers
                if hasattr(layer, "kernel")
            }
        )
    for name, part in {"conv1": 0.125, "conv2": 0.25, "conv3": 0.5, "head_dense_1": 1}.items():
        np.testing.assert_allclose(moved[1][name], part * moved[0][name], rtol=2e-2, atol=1e-7)


def test_frozen_weights_do_not_move_and_batch_norm_only_when_asked(toy_pixels):
    train, val = parts(toy_pixels)

    def after(**phase):
        tuner = tiny_tuner(phases=(tl.Phase(2, 1e-2, keep="last", **phase),))
        model = tuner.fit(train, val, seed=0).model
        start = tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), head=tuner.head, seed=_weights_seed(0))
        moved = {}
        for layer, fresh in zip(model.layers, start.layers, strict=True):
            if layer.weights:
                moved[layer.name] = not equal(layer.get_weights(), fresh.get_weights())
        return moved

    frozen = after()
    assert not any(frozen[name] for name in ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3"))
    assert frozen["head_dense_1"]
    part = after(unfreeze=("block2",))
    assert part["conv2"]
    assert not part["bn2"]
    assert not part["conv1"]
    trained = after(unfreeze=("block2",), batch_norm="train")
    assert trained["bn2"]
    assert not trained["bn1"]


def _weights_seed(seed):
    from tlkeras.seeds import derive_seed

    return derive_seed(seed, "weights")


def test_best_weights_are_kept_across_phases(toy_pixels):
    train, val = parts(toy_pixels)
    # Labels turned round in training: whatever the second phase learns makes validation worse.
    phases = (tl.Phase(1, 1e-12), tl.Phase(3, 1e-2, unfreeze="all"))
    classifier = tiny_tuner(phases=phases).fit((train[0], 1 - train[1]), val, seed=0)
    history = classifier.history
    best = history["val_loss"].min()
    assert history.loc[history["phase"] == 1, "val_loss"].min() == best
    assert history["val_loss"].iloc[-1] > 2 * best
    probs = classifier.predict_pixels(val[0])
    assert -np.log(probs[np.arange(len(val[1])), val[1]]).mean() == pytest.approx(best, rel=1e-4)


def test_keep_last_keeps_the_last(toy_pixels):
    train, val = parts(toy_pixels)
    classifier = tiny_tuner(phases=(tl.Phase(3, 1e-2, keep="last"),)).fit(train, val, seed=0)
    probs = classifier.predict_pixels(val[0])
    expected = -np.log(probs[np.arange(len(val[1])), val[1]]).mean()
    assert classifier.history["val_loss"].iloc[-1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_the_epoch_that_is_kept_is_marked_and_said(toy_pixels, heard, tmp_path):
    train, val = parts(toy_pixels)
    first, hopeless = tl.Phase(2, 1e-2), tl.Phase(2, 10.0, unfreeze="all", optimizer="sgd", momentum=0.0)
    for keep, kept in (("best", 1), ("last", 2)):
        phases = (first, dataclasses.replace(hopeless, keep=keep))
        classifier = tiny_tuner(phases=phases).fit(train, val, seed=0)
        history, said = classifier.history, heard.lines()
        assert history.loc[history["kept"], "phase"].tolist() == [kept]
        epoch = history.loc[history["kept"], "epoch"].item()
        expected = f"phase {kept}, epoch {epoch} of 2" + ("; no epoch of phase 2 was better" if kept == 1 else "")
        assert classifier.kept == expected
        assert [line for line in said if line.startswith("kept: ")][1:] == [f"kept: {expected}"]
        assert said[-1] == f"kept: {expected}"
    assert tl.load(classifier.save(tmp_path)).kept == expected
    assert f"| weights kept | {expected} |" in " ".join((tmp_path / "model_card.md").read_text().split())
    history = tiny_tuner().fit(train, None, seed=0).history
    assert history["kept"].tolist() == [False, False, False, True]


def test_patience_ends_a_phase(toy_pixels):
    train, val = parts(toy_pixels)
    # At a rate of 1e-12 nothing gets better after the first epoch's rounding.
    phase = tl.Phase(20, 1e-12, patience=2, monitor="val_accuracy")
    history = tiny_tuner(phases=(phase,)).fit(train, val, seed=0).history
    assert len(history) == 3


def test_schedules_reach_the_optimizer(toy_pixels):
    train, _ = parts(toy_pixels)
    common = {"optimizer": "sgd", "momentum": 0.0}
    still = tl.Phase(3, 1e-2, schedule=tl.StepDecay(every=1, factor=1e-9), **common)
    once = tl.Phase(1, 1e-2, **common)
    stepped, single = (tiny_tuner(phases=(p,)).fit(train, seed=0) for p in (still, once))
    # After the first epoch the rate is 1e-11: three epochs end where one ends.
    for a, b in zip(weights_of(stepped), weights_of(single), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_class_weights_are_in_the_training_loss_only(toy_pixels):
    images, labels = toy_pixels
    images = np.concatenate([images[labels == 0], images[labels == 1][:4]])
    labels = np.repeat([0, 1], [20, 4])
    phase = tl.Phase(1, 1e-12, keep="last")  # so small that one epoch leaves the weights as they were
    tuner = tiny_tuner(phases=(phase,), imbalance="class_weights", head=tl.Head(hidden=(), dropout=0), batch_size=24)
    classifier = tuner.fit((images, labels), (images, labels), seed=0)
    probs = classifier.predict_pixels(images)
    loss = -np.log(probs[np.arange(24), labels])
    weights = np.where(labels == 0, 24 / (2 * 20), 24 / (2 * 4))  # inverse frequency, mean 1
    row = classifier.history.iloc[0]
    assert row["loss"] == pytest.approx((weights * loss).mean(), rel=1e-4)
    assert row["val_loss"] == pytest.approx(loss.mean(), rel=1e-4)


@pytest.mark.slow
def test_validation_images_are_augmented_only_when_the_fault_is_asked_for(toy_pixels):
    train, val = parts(toy_pixels)
    phases = (tl.Phase(1, 1e-12, keep="last"),)
    darker = tl.Augmentation(brightness_range=(0.2, 0.2))

    def first_val_loss(**fields):
        return tiny_tuner(phases=phases, **fields).fit(train, val, seed=0).history["val_loss"][0]

    plain = first_val_loss()
    assert first_val_loss(augmentation=darker) == plain
    assert first_val_loss(augmentation=darker, augment_val=True) != plain


def test_without_validation_the_last_weights_are_kept_and_that_is_said(toy_pixels, heard):
    train, _ = parts(toy_pixels)
    classifier = tiny_tuner(phases=(tl.Phase(1, 1e-2),)).fit(train, seed=0)
    said = heard.text()
    assert "tiny on CPU, weights: random" in said
    assert "phase 1 of 1: backbone frozen" in said
    assert "kept: phase 1, epoch 1 of 1 (no validation samples: the last one)\n" in said
    assert classifier.history["val_loss"].isna().all()


def test_a_silenced_fit_says_nothing(toy_pixels, heard, capfd):
    train, val = parts(toy_pixels)
    with silenced():
        tiny_tuner(phases=(tl.Phase(1, 1e-2),)).fit(train, val, seed=0)
    assert heard.lines() == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("train", "val", "said"),
    [
        ("images", None, "train: received str"),
        ((np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, int)), None, "no"),
        ((np.zeros((4, 8, 8, 3), np.uint8), None), None, "have no labels"),
        ((np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 0, 2, 2])), None, "no training image of 1"),
        (
            (np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1])),
            (np.zeros((3, 8, 8, 3), np.uint8), np.array([0, 1, 2])),
            r"val: labels: received values 0\.\.2",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_words(train, val, said):
    with pytest.raises(tl.InputError, match=said):
        tiny_tuner().fit(train, val, seed=0)


def test_a_stage_of_the_second_phase_is_checked_before_the_first_is_trained(toy_pixels, heard):
    tuner = tiny_tuner(phases=(tl.Phase(1, 1e-2), tl.Phase(1, 1e-3, unfreeze_from="blok2")))
    with pytest.raises(tl.InputError, match="has no 'blok2'"):
        tuner.fit(toy_pixels, seed=0)
    assert "epoch" not in heard.text()


@pytest.mark.parametrize(
    "fields",
    [
        {"phases": (tl.Phase(1, 1e-2, patience=1),)},
        {"augmentation": tl.Augmentation(horizontal_flip=True), "augment_val": True},
    ],
)
def test_what_needs_validation_samples_says_so(toy_pixels, fields):
    with pytest.raises(tl.InputError, match="val: received None"):
        tiny_tuner(**fields).fit(toy_pixels, seed=0)


def test_a_dropout_inside_a_layer_is_seeded_too():
    class Block(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.dropout = keras.layers.Dropout(0.5)

        def call(self, x, training=False):
            return self.dropout(x, training=training)

    inputs = keras.Input((100,))
    model = keras.Model(inputs, Block()(inputs))
    draws = []
    for epoch in (1, 2, 1):
        seed_dropout(model, 0, 1, epoch)
        draws.append(np.asarray(model(np.ones((1, 100), np.float32), training=True)))
    assert (draws[0] == draws[2]).all()
    assert (draws[0] != draws[1]).any()


def test_a_showing_counts_the_entries_before_it():
    assert list(_showing(np.array([5, 2, 5, 5, 2, 7]))) == [0, 0, 1, 2, 1, 0]


def test_an_oversampled_image_looks_different_each_time_it_comes(toy_pixels, monkeypatch):
    images, labels = toy_pixels
    few = np.r_[np.flatnonzero(labels == 0)[:4], np.flatnonzero(labels == 1)[:12]]  # so each of the 4 comes three times
    seen, batches = [], Feed.batches

    def noting(feed, *given, **options):
        seen.append(batches(feed, *given, **options))
        return seen[-1]

    monkeypatch.setattr(Feed, "batches", noting)
    tuner = tiny_tuner(
        phases=(tl.Phase(1, 1e-3),), imbalance="oversample", augmentation=tl.Augmentation(rotation_range=40)
    )
    tuner.fit((images[few], labels[few]), seed=0)
    shown, of = (np.concatenate(column) for column in zip(*seen[0].as_numpy_iterator(), strict=True))
    assert np.bincount(of).tolist() == [12, 12]
    assert len(np.unique(shown.round(2).reshape(24, -1), axis=0)) == 24


def test_an_earlier_run_is_a_source_of_weights(toy_pixels, tmp_path):
    train, val = parts(toy_pixels)
    first = tiny_tuner(phases=(tl.Phase(2, 1e-2, unfreeze="all", batch_norm="train"),)).fit(train, val, seed=0)
    first.save(tmp_path)
    carried = tiny_tuner(weights=str(tmp_path), phases=(tl.Phase(1, 1e-2),), head=tl.Head(hidden=(3,)))
    second = carried.fit(train, val, seed=1)
    for layer in second.model.layers:
        if layer.name in ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3"):
            assert equal(layer.get_weights(), first.model.get_layer(layer.name).get_weights())


def test_folded_batch_norm_cannot_be_trained(toy_pixels, tmp_path):
    from tlkeras.files import write_text

    write_text(tmp_path / "mobilenet_v2_1.0_224_no_top.bn_folded.h5", "not read before it is refused")
    phase = tl.Phase(1, 1e-3, unfreeze="all", batch_norm="train")
    tuner = tl.Tuner("mobilenetv2", image_size=(32, 32), phases=(phase,))
    with pytest.raises(tl.InputError, match="folded into the kernels"):
        tuner.fit(toy_pixels, seed=0, weights_folder=str(tmp_path))


def test_statistics_of_batch_norm_follow_with_the_momentum_of_the_phase(toy_pixels):
    # With momentum 0 nothing of the old is kept: what is stored is the mean of the one batch, all 40 images.
    phase = tl.Phase(1, 1e-30, unfreeze="all", batch_norm="train", batch_norm_momentum=0.0)
    model = tiny_tuner(phases=phase, batch_size=40).fit(toy_pixels, seed=0).model
    seen = keras.Model(model.input, model.get_layer("conv1").output).predict(toy_pixels[0].astype("float32"), verbose=0)
    np.testing.assert_allclose(model.get_layer("bn1").moving_mean, seen.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)


def test_batch_norm_never_keeps_what_a_single_image_says(toy_pixels):
    # 33 images in batches of 32. At this rate no kernel moves, so what BatchNorm is given can be computed afterwards.
    images, labels = toy_pixels[0][:33], toy_pixels[1][:33]
    head = tl.Head(hidden=(4,), dropout=0, pooling="avg", batch_norm=True)
    tuner = tiny_tuner(phases=tl.Phase(1, 1e-30), head=head, batch_size=32)
    model = tuner.fit((images, labels), seed=0).model
    order = generator(0, "order", 1, 1).permutation(33)
    given = keras.Model(model.input, model.get_layer("head_dense_1").output)(images[order].astype("float32")).numpy()
    kept = np.ones(4)
    for batch in (given[:17], given[17:]):
        kept = 0.99 * kept + 0.01 * batch.var(axis=0)
    np.testing.assert_allclose(model.get_layer("head_batch_norm_1").moving_variance, kept, rtol=1e-5)


@pytest.mark.parametrize(
    ("head", "phase", "learns"),
    [
        (tl.Head(hidden=(4,)), tl.Phase(1, 1e-3, unfreeze="all"), False),
        (tl.Head(hidden=(4,)), tl.Phase(1, 1e-3, batch_norm="train"), False),  # all of the backbone is frozen
        (tl.Head(hidden=(4,)), tl.Phase(1, 1e-3, unfreeze=("block3",), batch_norm="train"), True),
        (tl.Head(hidden=(4,), batch_norm=True), tl.Phase(1, 1e-3), True),
    ],
)
def test_batch_norm_learns_in_an_unfrozen_part_that_trains_it_and_in_a_head_that_has_it(head, phase, learns):
    model = tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), head=head)
    set_trainable(model, TINY, unfreeze=phase.unfreeze, batch_norm=phase.batch_norm)
    assert batch_norm_learns(model) is learns


@pytest.mark.slow
def test_two_processes_agree_bit_for_bit_with_a_parallel_pipeline(toy_chest_xray, tmp_path):
    """Files decoded by several threads, augmentation, dropout and oversampling; another hash seed in each process."""
    code = """
import sys
import numpy as np
from tiny import tiny_tuner
import tlkeras as tl
from tlkeras.data import pipeline

pipeline.n_cores = lambda: 4  # threads of tf.data, whatever this machine has
splits = tl.Predefined(val=0.25).split(tl.load_dataset("chest_xray", sys.argv[1], check_counts=False), seed=0)
recipe = tiny_tuner(augmentation=tl.Augmentation(rotation_range=20, zoom_range=0.1), imbalance="oversample")
classifier = recipe.fit(splits.train, splits.val, seed=7, store=False)
np.save(sys.argv[2], classifier.predict(splits.test).probs)
"""
    found = []
    for number in (1, 2):
        place = tmp_path / f"{number}.npy"
        environment = os.environ | {"PYTHONHASHSEED": str(number), "PYTHONPATH": str(Path(__file__).parents[1])}
        subprocess.run([sys.executable, "-c", code, str(toy_chest_xray), str(place)], env=environment, check=True)
        found.append(np.load(place))
    assert found[0].std() > 0
    assert found[0].tobytes() == found[1].tobytes()


def small_first(*phases, **fields):
    phases = phases or (tl.Phase(2, 1e-2, unfreeze="all", image_size=(16, 24)), tl.Phase(1, 1e-3, unfreeze="all"))
    return tiny_tuner(**({"head": tl.Head(hidden=(4,), pooling="avg"), "phases": phases} | fields))


def test_a_phase_at_smaller_images_trains_the_same_weights_on_them(toy_pixels):
    """One step of a phase at 16x24 is one step of a recipe at 16x24; validation is judged at the recipe's size."""
    train, val = parts(toy_pixels)
    step = tl.Phase(1, 0.1, unfreeze="all", optimizer="sgd", keep="last")
    fields = {"batch_size": 28, "head": tl.Head(hidden=(), pooling="avg")}
    whole = tiny_tuner(phases=step, image_size=(16, 24), **fields).fit(train, val, seed=0)
    part = tiny_tuner(phases=dataclasses.replace(step, image_size=(16, 24)), **fields).fit(train, val, seed=0)
    assert part.image_size == (32, 32)
    assert equal(weights_of(whole), weights_of(part))
    assert part.history["loss"][0] == whole.history["loss"][0]
    judged = -np.log(part.predict_pixels(val[0])[np.arange(len(val[1])), val[1]]).mean()
    assert part.history["val_loss"][0] == pytest.approx(judged, rel=1e-5)
    assert part.history["val_loss"][0] != pytest.approx(whole.history["val_loss"][0], rel=1e-5)


def test_the_best_epoch_may_be_one_of_smaller_images(toy_pixels):
    train, val = parts(toy_pixels)
    first = tl.Phase(2, 1e-2, unfreeze="all", image_size=(16, 24))
    fitted = small_first(first, tl.Phase(1, 50.0, unfreeze="all")).fit(train, val, seed=0)
    kept = fitted.history[fitted.history["kept"]].iloc[0]
    assert kept["phase"] == 1
    judged = -np.log(fitted.predict_pixels(val[0])[np.arange(len(val[1])), val[1]]).mean()
    assert kept["val_loss"] == pytest.approx(judged, rel=1e-5)


@pytest.mark.slow
def test_averages_of_smaller_images_are_judged_and_kept(toy_pixels):
    train, val = parts(toy_pixels)
    phase = tl.Phase(2, 1e-2, unfreeze="all", image_size=(16, 24), average=tl.EMA(0.5), keep="last")
    fitted = small_first(phase).fit(train, val, seed=0)
    judged = -np.log(fitted.predict_pixels(val[0])[np.arange(len(val[1])), val[1]]).mean()
    assert fitted.history["val_loss"].iloc[-1] == pytest.approx(judged, rel=1e-5)


def test_a_flattened_head_has_one_size():
    with pytest.raises(tl.InputError, match=r"Tuner.head: received pooling='flatten'.*image_size=\(16, 24\)"):
        small_first(head=tl.Head())
    with pytest.raises(tl.InputError, match=r"Phase.image_size: received \(4, 4\).*at least 8"):
        small_first(tl.Phase(1, 0.1, image_size=(4, 4)))


@pytest.mark.parametrize(("imbalance", "epochs"), [(None, 5), ("oversample", 4)])
def test_of_few_images_there_are_as_many_epochs_as_hold_the_steps(toy_pixels, imbalance, epochs):
    """19 images in batches of 8 are 3 steps an epoch, and 28, as many of either class, are 4."""
    (images, labels), _ = parts(toy_pixels)
    few = np.r_[np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:5]]
    assert len(few) == 19
    phase = tl.Phase(1, 1e-3, schedule="cosine", least_steps=14)
    fitted = tiny_tuner(phases=phase, batch_size=8, imbalance=imbalance).fit((images[few], labels[few]), seed=0)
    assert len(fitted.history) == epochs
    same = tiny_tuner(
        phases=dataclasses.replace(phase, epochs=epochs, least_steps=None), batch_size=8, imbalance=imbalance
    ).fit((images[few], labels[few]), seed=0)
    assert equal(weights_of(fitted), weights_of(same))


def test_of_enough_images_the_epochs_are_those_declared(toy_pixels):
    train, val = parts(toy_pixels)
    fitted = tiny_tuner(phases=tl.Phase(2, 1e-3, least_steps=3), batch_size=8).fit(train, val, seed=0)
    assert len(fitted.history) == 2
