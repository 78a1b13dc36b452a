import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import tlkeras as tl
from tlkeras.training.linear_probe import log_losses, penalty_by_folds, solutions


def problem(n_classes, n=90, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    features = rng.normal(size=(n, 5)) * [1, 10, 0.1, 3, 1] + [0, 50, -2, 0, 7]
    features[:, 0] += labels
    features[:, 4] = 7  # says nothing, and has no deviation
    return features.astype(np.float32), labels, rng.uniform(0.5, 1.5, n)


def probabilities(features, kernel, bias):
    logits = features.astype(np.float64) @ kernel + bias
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_solution_is_where_the_penalised_loss_has_no_slope(n_classes):
    features, labels, weights = problem(n_classes)
    deviation = features.std(axis=0, dtype=np.float64)
    deviation[4] = 1
    scaled = (features - features.mean(axis=0)) / deviation
    for penalty, (kernel, bias) in zip(
        (1.0, 0.1), solutions(features, labels, (1.0, 0.1), n_classes=n_classes, weights=weights), strict=True
    ):
        missed = weights[:, None] * (probabilities(features, kernel, bias) - np.eye(n_classes)[labels])
        # Of two classes scikit-learn keeps one row w, which is -w / 2 and w / 2 here: its square counts double.
        pull = penalty * kernel * deviation[:, None] * (2 if n_classes == 2 else 1)
        slope = scaled.T @ missed / len(labels) + pull
        np.testing.assert_allclose(slope, 0, atol=2e-3)
        np.testing.assert_allclose(missed.sum(axis=0) / len(labels), 0, atol=2e-3)
        assert kernel.dtype == bias.dtype == np.float32
        assert np.abs(kernel[4]).max() < 1e-6


def test_what_training_adds_to_the_logits_prediction_leaves_out():
    features, labels, weights = problem(3)
    prior = np.log([0.7, 0.2, 0.1])
    ((kernel, bias),) = solutions(features, labels, (0.1,), n_classes=3, weights=weights)
    ((same, adjusted),) = solutions(features, labels, (0.1,), n_classes=3, weights=weights, prior=prior)
    np.testing.assert_array_equal(same, kernel)
    np.testing.assert_allclose(
        probabilities(features, kernel, bias), probabilities(features, same, adjusted + prior), rtol=1e-5
    )


def test_log_losses_are_those_of_the_softmax():
    features, labels, weights = problem(3)
    (layer,) = solutions(features, labels, (0.1,), n_classes=3, weights=weights)
    expected = -np.log(probabilities(features, *layer)[np.arange(len(labels)), labels])
    np.testing.assert_allclose(log_losses(features, labels, *layer), expected, rtol=1e-4)


def test_folds_choose_what_scikit_learn_finds_best_on_what_they_hold_out():
    features, labels, _ = problem(3, n=60, seed=4)
    fold_of, penalties = np.arange(60) // 20, (3.0, 0.1, 1e-3)
    folds = [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(3)]
    losses = np.zeros(3)
    for learnt, out in folds:
        mean, deviation = features[learnt].mean(axis=0), features[learnt].std(axis=0)
        deviation[4] = 1
        for number, penalty in enumerate(penalties):
            model = LogisticRegression(C=1 / (penalty * len(learnt)), max_iter=1000)
            model.fit((features[learnt] - mean) / deviation, labels[learnt])
            found = model.predict_proba((features[out] - mean) / deviation)
            losses[number] -= np.log(found[np.arange(len(out)), labels[out]]).sum()
    chosen = penalty_by_folds(features, labels, folds, penalties, n_classes=3, weights=np.ones(60))
    assert chosen == penalties[int(np.argmin(losses))]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"penalties": ()}, "penalties"),
        ({"penalties": (1.0, 0.0)}, "penalties"),
        ({"monitor": "loss"}, "monitor.*loss"),
    ],
)
def test_what_cannot_be_is_refused(fields, said):
    with pytest.raises(tl.InputError, match=f"LinearProbe.{said}"):
        tl.LinearProbe(**fields)


def test_one_penalty_may_stand_alone():
    assert tl.LinearProbe(0.5).penalties == (0.5,)
    assert tl.LinearProbe(0.5).epochs == 1
