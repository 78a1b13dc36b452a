from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predicted import predictions_of, two_methods
from scipy.stats import permutation_test, rankdata

from tlkeras.evaluation import resampling
from tlkeras.evaluation.resampling import exchange_p, figures_under
from tlkeras.evaluation.weighted_scores import weighted_scores
from tlkeras.schema import Predictions


def p_of(pairs, metric="accuracy", permutations=9999, seed=0, positive_class=None):
    return exchange_p(pairs, metric, positive_class, permutations, np.random.default_rng(seed))


def p_of_every_exchange(pairs, metric):
    """The definition, written out: each group of each pair as it is or exchanged, all choices. Figures that look at the
    order of the probabilities alone exchange ranks."""
    if metric.startswith(("roc_auc", "average_precision")):
        pairs = [[Predictions(one.samples, rankdata(one.probs, axis=0)) for one in pair] for pair in pairs]
    names = np.unique(np.concatenate([first.samples.groups for first, _ in pairs]).astype(str))

    def difference(chosen):
        found = []
        for first, second in pairs:
            exchanged = np.isin(first.samples.groups, [n for n, yes in zip(names, chosen, strict=True) if yes])[:, None]
            mixed = [np.where(exchanged, b.probs, a.probs) for a, b in ((first, second), (second, first))]
            labels, classes, ones = first.samples.labels, first.samples.class_names, np.ones(len(first))
            scores = [weighted_scores(labels, probs, classes, ones, None, [metric])[metric][0] for probs in mixed]
            found.append(scores[1] - scores[0])
        return np.mean(found)

    differences = [difference(chosen) for chosen in product([False, True], repeat=len(names))]
    return np.mean(~(np.abs(differences) < abs(differences[0]) - 1e-12))  # what is undefined counts


@pytest.mark.parametrize(
    "metric", ["accuracy", "macro_f1", "log_loss", "roc_auc", "roc_auc_b", "average_precision", "ece"]
)
def test_few_groups_are_exchanged_in_every_way(metric):
    first, second = two_methods()
    assert p_of([(first, second)], metric) == pytest.approx(p_of_every_exchange([(first, second)], metric))


def test_seeds_whose_test_images_differ_exchange_a_group_together():
    pairs = [tuple(two_methods(n=20, n_groups=6, seed=seed)) for seed in (1, 2)]
    assert p_of(pairs) == pytest.approx(p_of_every_exchange(pairs, "accuracy"))
    (first, second), _ = pairs
    assert p_of([(first, second), (first, second)]) == p_of([(first, second)])


def test_many_groups_agree_with_scipy_on_the_sums_of_the_groups():
    first, second = two_methods(n=300, n_groups=60, strengths=(1, 1.3))
    sums = [
        np.bincount(one.samples.groups.astype(int), weights=one.correct, minlength=60) / 300 for one in (first, second)
    ]
    expected = permutation_test(
        sums,
        lambda x, y, axis: (y - x).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(5),
    )
    assert p_of([(first, second)], permutations=20_000) == pytest.approx(expected.pvalue, abs=0.01)
    assert 0.001 < expected.pvalue < 0.9


def test_copies_of_an_image_in_its_group_prove_nothing():
    first, second = two_methods(n=12)
    names, rows = np.arange(12).astype(str), np.repeat(np.arange(12), 4)
    alone = tuple(predictions_of(one.samples.labels, one.probs, names) for one in (first, second))
    copies = tuple(predictions_of(one.samples.labels[rows], one.probs[rows], names[rows]) for one in alone)
    assert p_of([copies]) == p_of([alone])


def test_the_smallest_p_is_one_in_the_permutations_and_one():
    labels = np.zeros(60, dtype=np.int64)
    right, wrong = (predictions_of(labels, np.tile(row, (60, 1))) for row in ([0.9, 0.1], [0.1, 0.9]))
    assert p_of([(wrong, right)], permutations=99) == pytest.approx(1 / 100)
    assert p_of([(right, right)], permutations=99) == 1


def test_one_group_has_no_p():
    first, second = two_methods(n_groups=1)
    assert np.isnan(p_of([(first, second)], permutations=99))


@pytest.mark.parametrize(
    ("metric", "positive_class"), [("accuracy", None), ("roc_auc", None), ("roc_auc_b", None), ("roc_auc", "a")]
)
def test_the_fast_way_gives_what_the_engine_gives_for_ranks(metric, positive_class, monkeypatch):
    pair = two_methods(n=120, n_groups=30, k=2 if positive_class else 3)
    pair = tuple(predictions_of(one.samples.labels, one.probs.round(1), one.samples.groups) for one in pair)  # ties
    changed = np.random.default_rng(1).integers(0, 2, (50, 30)).astype(bool)
    unit = pair[0].samples.groups.astype(int)
    found = resampling._difference_of([pair], [unit], 30, metric, positive_class)(changed)
    stacked = resampling._stacked(pair, metric)
    as_first = np.concatenate([~changed[:, unit], changed[:, unit]], axis=1)
    first, second = (figures_under(stacked, rows, positive_class, (metric,))[0] for rows in (as_first, ~as_first))
    np.testing.assert_allclose(found, second - first, atol=1e-12)
    assert np.ptp(found) > 0.1


def changed_scale(predictions, change):
    """The first column changed, the second its complement: no order changes in either."""
    first = change(predictions.probs[:, 0].astype(np.float64))
    return predictions_of(predictions.samples.labels, np.stack([first, 1 - first], axis=1), predictions.samples.groups)


@settings(max_examples=25, deadline=None)
@given(power=st.floats(0.05, 20), least=st.floats(0, 0.6), seed=st.integers(0, 5))
def test_no_increasing_change_of_one_methods_scores_moves_what_ranks_say(power, least, seed):
    first, second = two_methods(n=60, n_groups=15, k=2, seed=seed)
    first = predictions_of(first.samples.labels, first.probs.round(2).clip(0.1, 0.9), first.samples.groups)
    moved = changed_scale(first, lambda share: least + 0.4 * share**power)
    for metric in ("roc_auc", "average_precision", "roc_auc_b"):
        found = [p_of([(one, second)], metric, permutations=199, seed=1) for one in (first, moved)]
        distinct = [[len(np.unique(column)) for column in one.probs.T] for one in (first, moved)]
        if distinct[0] == distinct[1]:  # float32 may join two of them
            assert found[0] == pytest.approx(found[1], abs=1e-12)
    p_of_losses = [p_of([(one, second)], "log_loss", permutations=199) for one in (first, moved)]
    assert p_of_losses[0] >= 0.005
    assert p_of_losses[1] >= 0.005


def hidden_truth(rng, n_groups, gap):
    """Two methods of correlated answers on groups of 1 to 20 images, the second better by `gap`."""
    groups = np.repeat(np.arange(n_groups), rng.integers(1, 21, n_groups))
    labels = rng.integers(0, 2, len(groups))
    hard = rng.normal(size=n_groups)[groups] + 0.5 * rng.normal(size=len(groups))
    found = []
    for sharp in (1.0, 1.0 + gap):
        own = rng.normal(size=n_groups)[groups] + rng.normal(size=len(groups))
        lean = 1 / (1 + np.exp(-(sharp * (2 * labels - 1) + hard + 0.7 * own)))
        found.append(predictions_of(labels, np.stack([1 - lean, lean], axis=1), groups.astype(str)))
    return found


@pytest.mark.parametrize("n_groups", [15, 60])
def test_equal_methods_are_told_apart_as_often_as_the_level_says_and_unequal_ones_more_often(n_groups):
    shares = {}
    for gap in (0.0, 0.8):
        found = [
            p_of([hidden_truth(np.random.default_rng([seed, n_groups]), n_groups, gap)], "roc_auc", permutations=199)
            for seed in range(150)
        ]
        shares[gap] = np.mean(np.array(found) <= 0.1)
    assert shares[0.0] < 0.17  # 150 times 0.1, and twice the spread of such a count
    assert shares[0.8] > (0.35 if n_groups == 15 else 0.8)


def test_the_least_p_of_five_groups_is_two_of_thirty_two():
    labels, groups = np.zeros(5, dtype=np.int64), np.arange(5).astype(str)
    right, wrong = (predictions_of(labels, np.tile(row, (5, 1)), groups) for row in ([0.9, 0.1], [0.1, 0.9]))
    assert p_of([(wrong, right)], permutations=9999) == 2 / 2**5


def test_what_few_permutations_leave_undefined_counts_against_the_difference():
    # Each method says b in three groups of its own: in 2 of the 64 choices one method says it never.
    labels, groups = np.array([1, 1, 0, 0, 0, 1]), np.arange(6).astype(str)
    say = lambda rows: predictions_of(labels, np.eye(2)[np.isin(np.arange(6), rows).astype(int)], groups)  # noqa: E731
    pair = (say([0, 1, 2]), say([3, 4, 5]))
    expected = p_of_every_exchange([pair], "precision_b")
    assert p_of([pair], "precision_b") == pytest.approx(expected)
    assert 2 / 64 < expected < 1


def test_what_most_permutations_leave_undefined_has_no_p():
    # b is predicted in one group by one method: its precision is there for both methods in no permutation.
    labels, groups = np.array([0, 1, 0, 0]), np.arange(4).astype(str)
    first = predictions_of(labels, [[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1]], groups)
    second = predictions_of(labels, [[0.9, 0.1]] * 4, groups)
    assert np.isnan(p_of([(first, second)], "precision_b"))
    assert not np.isnan(p_of([(first, second)], "recall_b"))


@pytest.mark.parametrize("n_groups", [12, 13])
def test_every_exchange_is_made_once_where_there_are_no_more_of_them_than_permutations(n_groups):
    # One method has all groups right, the other none: of 2**n exchanges two are as far apart.
    labels, groups = np.zeros(n_groups, int), np.arange(n_groups).astype(str)
    pair = tuple(predictions_of(labels, np.tile(probs, (n_groups, 1)), groups) for probs in ([0.9, 0.1], [0.1, 0.9]))
    assert p_of([pair], permutations=2**n_groups) == 2 / 2**n_groups
