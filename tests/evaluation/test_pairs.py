from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import permutation_test
from statsmodels.stats.contingency_tables import mcnemar

from tlkeras.evaluation.metrics import score
from tlkeras.evaluation.pairs import aligned_pairs, mcnemar_p, permutation_p
from tlkeras.schema import InputError, Predictions, Samples


def predictions_of(labels, probs, groups=None, ids=None, class_names=None):
    probs = np.asarray(probs, dtype=np.float32)
    class_names = class_names or tuple("abc"[: probs.shape[1]])
    images = tuple(f"{i}.png" for i in range(len(probs)))
    return Predictions(Samples(images, np.asarray(labels), class_names, groups=groups, sample_ids=ids), probs)


def two_methods(n=40, n_groups=8, seed=0, k=3, strengths=(1, 3)):
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, k, n), rng.integers(0, n_groups, n).astype(str)
    return [
        predictions_of(labels, [rng.dirichlet(1 + strength * row) for row in np.eye(k)[labels]], groups)
        for strength in strengths
    ]


def p_of(pairs, metric="accuracy", permutations=9999, seed=0, positive_class=None):
    return permutation_p(pairs, metric, positive_class, permutations, np.random.default_rng(seed))


def p_of_every_exchange(pairs, metric):
    """The definition, written out: each group of each pair as it is or exchanged, all choices."""
    names = np.unique(np.concatenate([first.samples.groups for first, _ in pairs]).astype(str))

    def difference(chosen):
        found = []
        for first, second in pairs:
            exchanged = np.isin(first.samples.groups, [n for n, yes in zip(names, chosen, strict=True) if yes])[:, None]
            mixed = [np.where(exchanged, b.probs, a.probs) for a, b in ((first, second), (second, first))]
            scores = [score(Predictions(first.samples, probs), metrics=[metric])[metric] for probs in mixed]
            found.append(scores[1] - scores[0])
        return np.mean(found)

    differences = [difference(chosen) for chosen in product([False, True], repeat=len(names))]
    return np.mean(~(np.abs(differences) < abs(differences[0]) - 1e-12))  # what is undefined counts


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "log_loss", "roc_auc", "ece"])
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
    assert p_of([(wrong, right)], permutations=99) == pytest.approx(2 / 100)  # each side has 1 / 100
    assert p_of([(right, right)], permutations=99) == 1


def test_one_group_has_no_p():
    first, second = two_methods(n_groups=1)
    assert np.isnan(p_of([(first, second)]))


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


def test_mcnemar_agrees_with_statsmodels():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 80)
    first, second = (predictions_of(labels, rng.dirichlet([1, 1], 80)) for _ in range(2))
    table = [[(a & b).sum() for b in (second.correct, ~second.correct)] for a in (first.correct, ~first.correct)]
    assert mcnemar_p([(first, second)]) == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert mcnemar_p([(first, first)]) == 1


def test_mcnemar_is_for_one_seed_and_one_image_per_group():
    first, second = two_methods()
    assert np.isnan(mcnemar_p([(first, second)]))
    alone = [predictions_of(one.samples.labels, one.probs) for one in (first, second)]
    assert not np.isnan(mcnemar_p([tuple(alone)]))
    assert np.isnan(mcnemar_p([tuple(alone), tuple(alone)]))


def test_rows_of_the_second_come_in_the_order_of_the_first():
    first, second = two_methods()
    order = np.random.default_rng(1).permutation(40)
    shuffled = Predictions(second.samples.take(order), second.probs[order])
    ((same, aligned),) = aligned_pairs(first, shuffled)
    assert same is first
    np.testing.assert_array_equal(aligned.probs, second.probs)
    np.testing.assert_array_equal(aligned.samples.sample_ids, first.samples.sample_ids)


def changed(**fields):
    given = {"labels": [0, 1], "probs": [[0.5, 0.5]] * 2, "groups": np.array(["p", ""], object), "ids": ["x", "y"]}
    return predictions_of(**given | fields)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (changed(ids=["x", "z"]), "2 samples are in one of them alone, e.g. 'y' in first"),
        (changed(ids=["x", "x"]), "second: received 'x' twice"),
        (changed(labels=[0, 0]), "sample 'y' has the label 'b' in one and 'a' in the other"),
        (changed(groups=np.array(["q", None], object)), "sample 'x' has the group 'p' in one and 'q'"),
        (changed(class_names=("a", "c")), r"classes differ, \['a', 'b'\] and \['a', 'c'\]"),
        ([changed(), changed()], "predictions of 1 and 2 seeds"),
        ([], "predictions of 1 and 0 seeds"),
        (changed(probs=[[2.0, 3.0]] * 2), "not probabilities"),
    ],
)
def test_other_samples_are_refused_and_the_first_difference_named(second, words):
    with pytest.raises(InputError, match=words):
        aligned_pairs(changed(), second)
    assert len(aligned_pairs(changed(), changed(groups=np.array(["p", None], object)))) == 1
