import keras
import numpy as np
import pytest
from tiny import tiny_tuner

import tlkeras as tl
from tlkeras.training.linear_probe import solutions

LINEAR = tl.Head(hidden=(), pooling="avg", input_dropout=0.3)
PENALTIES = (1.0, 0.1, 0.01)


def probing(*then, **fields):
    return tiny_tuner(**({"head": LINEAR, "phases": (tl.LinearProbe(PENALTIES), *then)} | fields))


def parts(toy_pixels):
    images, labels = toy_pixels
    return (images[:28], labels[:28]), (images[28:], labels[28:])


def layer_of(classifier):
    return classifier.model.layers[-1].get_weights()


def features_of(classifier, images):
    encoder = keras.Model(classifier.model.input, classifier.model.get_layer("head_avg").output)
    return np.asarray(encoder(images.astype(np.float32)))


@pytest.mark.parametrize("store", [True, False])
def test_the_head_is_the_solution_that_validation_finds_best(toy_pixels, store):
    train, val = parts(toy_pixels)
    classifier = probing().fit(train, val, seed=0, store=store)
    history = classifier.history
    assert list(history["epoch"]) == [1, 2, 3]
    best = int(history["val_loss"].idxmin())
    assert history["kept"].idxmax() == best
    found = list(
        solutions(features_of(classifier, train[0]), train[1], PENALTIES, n_classes=2, weights=np.ones(len(train[1])))
    )
    for ours, theirs in zip(layer_of(classifier), found[best], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    probs = classifier.predict_pixels(train[0])
    assert history["accuracy"][best] == pytest.approx((probs.argmax(axis=1) == train[1]).mean())
    assert history["loss"][best] == pytest.approx(-np.log(probs[np.arange(28), train[1]]).mean(), rel=1e-3)


def test_images_are_shown_as_they_are_whatever_changes_them_later(toy_pixels):
    train, val = parts(toy_pixels)
    plain = probing().fit(train, val, seed=0)
    augmented = probing(augmentation=tl.Augmentation(rotation_range=90)).fit(train, val, seed=0)
    for one, other in zip(layer_of(plain), layer_of(augmented), strict=True):
        np.testing.assert_array_equal(one, other)


def test_classes_weigh_as_the_recipe_says(toy_pixels):
    train, val = parts(toy_pixels)
    rows = np.r_[np.flatnonzero(train[1] == 0), np.flatnonzero(train[1] == 1)[:3]]
    few = train[0][rows], train[1][rows]
    classifier = probing(imbalance="class_weights", phases=tl.LinearProbe(0.1)).fit(few, val, seed=0)
    share = np.array([1.0, np.mean(few[1] == 0) / np.mean(few[1] == 1)])
    weights = share[few[1]] / share[few[1]].mean()
    (expected,) = solutions(features_of(classifier, few[0]), few[1], (0.1,), n_classes=2, weights=weights)
    np.testing.assert_allclose(layer_of(classifier)[0], expected[0], atol=1e-3)


def test_what_follows_begins_with_the_solution(toy_pixels):
    train, val = parts(toy_pixels)
    still = tl.Phase(1, 1e-12, unfreeze="all", optimizer="sgd", keep="last")
    probe, tuned = (probing(*then).fit(train, val, seed=0) for then in ((), (still,)))
    for one, other in zip(layer_of(probe), layer_of(tuned), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert list(tuned.history["phase"]) == [1, 1, 1, 2]


def test_without_validation_images_folds_of_the_training_images_choose(toy_pixels):
    train, _ = parts(toy_pixels)
    classifier = probing().fit(train, seed=0)
    history = classifier.history
    assert history["val_loss"].isna().all()
    assert list(history["kept"]) == [False] * (len(history) - 1) + [True]
    *_, found = solutions(
        features_of(classifier, train[0]), train[1], PENALTIES[: len(history)], n_classes=2, weights=np.ones(28)
    )
    np.testing.assert_allclose(layer_of(classifier)[0], found[0], atol=1e-3)


def test_it_is_refused_where_the_head_is_more_than_one_linear_layer():
    with pytest.raises(tl.InputError, match=r"Tuner.head: received hidden=\(8,\).*LinearProbe"):
        probing(head=tl.Head(hidden=(8,)))
    with pytest.raises(tl.InputError, match=r"Tuner.augment_val: received True.*LinearProbe"):
        probing(augment_val=True, augmentation=tl.Augmentation(rotation_range=9))
    with pytest.raises(tl.InputError, match=r"Tuner.phases.*tl.LinearProbe"):
        probing(phases=("probe",))
