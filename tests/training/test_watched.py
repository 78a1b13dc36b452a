"""One run to the most epochs answers for fewer of them, and looking on changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import tiny_tuner

import tlkeras as tl
from tlkeras.errors import DivergedError
from tlkeras.training.loop import fit_tuner
from tlkeras.training.watched import Watched

SIZE = 16
TURNED = {"rotation_range": 20, "horizontal_flip": True}
HEAD = tl.Head(hidden=(8,), dropout=0.3, input_dropout=0.2, batch_norm=True)


@pytest.fixture(scope="module")
def parts():
    """24 images to train on, 16 and 8 of two classes that overlap, and 10 to look at."""
    rng = np.random.default_rng(3)
    labels = (np.arange(34) % 3 == 0).astype(int)
    images = np.clip(rng.normal(110 + 30 * labels[:, None, None, None], 40, (34, SIZE, SIZE, 3)), 0, 255)
    samples = tl.from_arrays(images.astype(np.uint8), labels)
    return samples.take(range(24)), samples.take(range(24, 34))


def recipe(*phases, **fields):
    return tiny_tuner(phases=phases, image_size=(SIZE, SIZE), batch_size=8, **fields)


def watch(tuner, train, test, moments, **options):
    watched = Watched(test, frozenset(moments))
    return fit_tuner(tuner, train, None, seed=0, watched=watched, **options), watched.probs


def numbers(classifier):
    return classifier.history.drop(columns="seconds").to_numpy(float)


# Measured: equal to the bit in every case.
@pytest.mark.parametrize(
    "tuner",
    [
        pytest.param(
            recipe(tl.Phase(1, 1e-2), tl.Phase(3, 1e-2, unfreeze_from="conv3", batch_norm="train"), head=HEAD),
            id="two phases, partly unfrozen, BatchNorm trained, dropout",
            marks=pytest.mark.slow,
        ),
        pytest.param(recipe(tl.Phase(3, 1e-2)), id="frozen", marks=pytest.mark.slow),
        pytest.param(
            recipe(tl.Phase(3, 1e-2, unfreeze="all", batch_norm="train", optimizer="sgd")),
            id="all of it, BatchNorm trained",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            recipe(tl.Phase(1, 1e-2, schedule="cosine"), tl.Phase(3, 1e-2, schedule=tl.StepDecay(1, 0.5))),
            id="schedules",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            recipe(tl.Phase(3, 1e-2), augmentation=tl.Augmentation(**TURNED), imbalance="oversample"),
            id="fresh augmentation, oversample",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            recipe(
                tl.Phase(3, 1e-2, unfreeze_from="conv3"),
                augmentation=tl.Augmentation(**TURNED, views=2),
                imbalance="class_weights",
            ),
            id="views, class weights",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_run_to_more_epochs_answers_for_fewer_and_is_the_run_that_nobody_watched(parts, tmp_path, tuner):
    train, test = parts
    last = len(tuner.phases)
    watched, probs = watch(tuner, train, test, {(last, 1), (last, 3)}, store=str(tmp_path))
    assert set(probs) == {(last, 1), (last, 3)}
    for epochs in (1, 3):
        phases = (*tuner.phases[:-1], replace(tuner.phases[-1], epochs=epochs))
        alone = replace(tuner, phases=phases).fit(train, seed=0, store=str(tmp_path))
        np.testing.assert_array_equal(probs[last, epochs], alone.predict(test).probs)
    assert np.abs(probs[last, 1] - probs[last, 3]).max() > 1e-4  # or anything would be equal
    np.testing.assert_array_equal(numbers(watched), numbers(alone))
    for ours, theirs in zip(watched.model.get_weights(), alone.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_without_a_store_the_answers_are_the_same(parts, tmp_path):
    train, test = parts
    tuner = recipe(tl.Phase(1, 1e-2), tl.Phase(1, 1e-2, unfreeze_from="conv3"))
    moments = {(1, 1), (2, 1)}
    _, stored = watch(tuner, train, test, moments, store=str(tmp_path))
    classifier, plain = watch(tuner, train, test, moments, store=False)
    assert set(stored) == set(plain) == moments
    for moment in moments:
        np.testing.assert_allclose(stored[moment], plain[moment], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(plain[2, 1], classifier.predict(test).probs)


def test_what_came_before_a_training_diverged_stays(parts):
    train, test = parts
    hopeless = tl.Phase(3, 1e30, optimizer="sgd")
    watched = Watched(test, frozenset({(1, 1), (2, 2), (2, 3)}))
    with pytest.raises(DivergedError, match=r"phase 2, epoch 1, with learning rate 1e\+30 \(sgd, batches of 8"):
        fit_tuner(recipe(tl.Phase(1, 1e-2), hopeless), train, None, seed=0, watched=watched)
    assert set(watched.probs) == {(1, 1)}
    assert np.isfinite(watched.probs[1, 1]).all()


def test_watched_images_pass_the_frozen_layers_once(parts, tmp_path, computed):
    train, test = parts
    moments = {(1, epoch) for epoch in (1, 2, 3)}
    _, probs = watch(recipe(tl.Phase(3, 1e-2)), train, test, moments, store=str(tmp_path))
    assert set(probs) == moments
    assert sum(computed) == len(train) + len(test)
