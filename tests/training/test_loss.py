import keras
import numpy as np
import pytest

import tlkeras as tl

COUNTS = np.array([70, 20, 10])
PROBS = np.random.default_rng(0).dirichlet(np.ones(3), size=16).astype(np.float32)
LABELS = np.eye(3, dtype=np.float32)[np.arange(16) % 3]


def ours(labels=LABELS, probs=PROBS, **fields):
    return keras.ops.convert_to_numpy(tl.Loss(**fields).function(COUNTS)(labels, keras.ops.convert_to_tensor(probs)))


def test_the_plain_one_is_cross_entropy():
    assert tl.Loss().is_plain
    assert not tl.Loss(focal=1).is_plain
    np.testing.assert_allclose(ours(), -np.log(PROBS[LABELS == 1]), rtol=1e-6)


def test_smoothing_is_kerass():
    theirs = keras.losses.CategoricalCrossentropy(label_smoothing=0.1, reduction=None)(LABELS, PROBS)
    np.testing.assert_allclose(ours(label_smoothing=0.1), theirs, rtol=1e-5)


def test_focal_loss_is_kerass():
    theirs = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0, reduction=None)(LABELS, PROBS)
    np.testing.assert_allclose(ours(focal=2), theirs, rtol=1e-4)


def test_an_adjustment_is_the_softmax_of_logits_that_know_the_classes_shares():
    logits = np.log(PROBS) + 1.5 * np.log(COUNTS / 100)
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[LABELS == 1]
    np.testing.assert_allclose(ours(logit_adjustment=1.5), expected, rtol=1e-5)


def test_all_three_together():
    logits = np.log(PROBS.astype(np.float64)) + np.log(COUNTS / 100)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wanted = LABELS * 0.8 + 0.2 / 3
    expected = -(wanted * (1 - probs) ** 2 * np.log(probs)).sum(axis=1)
    np.testing.assert_allclose(ours(label_smoothing=0.2, focal=2, logit_adjustment=1), expected, rtol=1e-4)


@pytest.mark.parametrize("fields", [{"focal": 0.5}, {"label_smoothing": 0.1}, {"logit_adjustment": 1}, {"focal": 2}])
@pytest.mark.parametrize("logits", [[0.0, 0.0, 0.0], [60.0, 0.0, -60.0], [-60.0, 0.0, 60.0]])
def test_the_slope_is_a_number_however_sure_the_network_is(fields, logits):
    import tensorflow as tf

    given = tf.constant([logits])
    with tf.GradientTape() as tape:
        tape.watch(given)
        loss = tl.Loss(**fields).function(COUNTS)(LABELS[:1], keras.activations.softmax(given))
    slope = tape.gradient(loss, given).numpy()
    assert np.isfinite(loss).all()
    assert np.isfinite(slope).all()
    if logits[0] < 0:  # wrong, and sure of it
        assert slope[0, 0] < -0.3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"label_smoothing": 1}, r"Loss\.label_smoothing: received 1; accepted is a number in \[0, 1\)"),
        ({"focal": -1}, r"Loss\.focal: received -1"),
        ({"logit_adjustment": "menon"}, r"Loss\.logit_adjustment: received 'menon'"),
    ],
)
def test_a_loss_says_what_it_accepts(fields, said):
    with pytest.raises(tl.InputError, match=said):
        tl.Loss(**fields)
