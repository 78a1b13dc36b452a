from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import softmax
from sklearn.dummy import DummyClassifier

from tlkeras.evaluation import resampling
from tlkeras.evaluation.metrics import score
from tlkeras.evaluation.statistics import baseline, bootstrap, holm, paired, paired_table
from tlkeras.evaluation.weighted_scores import metric_names
from tlkeras.schema import InputError, Predictions, Samples


def predictions_of(correct, groups=None):
    correct = np.asarray(correct, dtype=bool)
    labels = np.zeros(len(correct), dtype=np.int64)
    probs = np.where(correct[:, None], [[0.9, 0.1]], [[0.1, 0.9]]).astype(np.float32)
    return Predictions(
        Samples(tuple(f"{i}.png" for i in range(len(correct))), labels, ("a", "b"), groups=groups), probs
    )


def random_predictions(n=200, n_groups=50, seed=0, strength=2.0, k=3):
    """Of random labels and groups, the same for every `strength`."""
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, k, n), rng.integers(0, n_groups, n).astype(str)
    samples = Samples(tuple(f"{i}.png" for i in range(n)), labels, tuple("abcdefg"[:k]), groups=groups)
    rng = np.random.default_rng([seed, int(100 * strength)])
    logits = rng.normal(size=(n, k)) + strength * np.eye(k)[labels]
    return Predictions(samples, softmax(logits, axis=1).astype(np.float32))


def accuracy_ends(predictions, **options):
    return tuple(bootstrap(predictions, metrics=["accuracy"], **options).loc["accuracy", ["low", "high"]])


def draws_group_by_group(predictions, draws, seed, metrics):
    """The definition, written out: draw whole groups, pool their images, score those."""
    rng = np.random.default_rng(seed)
    groups = predictions.samples.groups.astype(str)
    rows = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    found = []
    for _ in range(draws):
        drawn = np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))])
        found.append(score(Predictions(predictions.samples.take(drawn), predictions.probs[drawn]), metrics=metrics))
    return pd.DataFrame(found)


def test_single_images_give_the_binomial_interval_and_that_of_scipy():
    # 400 images, 80 % right: the standard error is sqrt(0.8 * 0.2 / 400) = 0.02.
    correct = np.arange(400) < 320
    low, high = accuracy_ends(predictions_of(correct), draws=20_000)
    assert low == pytest.approx(0.8 - 1.96 * 0.02, abs=0.004)
    assert high == pytest.approx(0.8 + 1.96 * 0.02, abs=0.004)
    expected = stats.bootstrap(
        (correct,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.003)


def test_groups_of_four_equal_images_double_the_width():
    correct = np.repeat(np.arange(100) < 80, 4)
    groups = np.repeat(np.arange(100).astype(str), 4)
    low, high = accuracy_ends(predictions_of(correct, groups), draws=20_000)
    assert (high - low) == pytest.approx(2 * 1.96 * 0.04, abs=0.01)


def test_every_figure_agrees_with_drawing_group_by_group():
    predictions = random_predictions(n=150, n_groups=40)
    table = bootstrap(predictions, draws=4000)
    assert tuple(table.index) == metric_names("abc")[1:]
    assert table["value"].to_dict() == score(predictions).drop("n").to_dict()
    drawn = draws_group_by_group(predictions, 800, 1, list(table.index))
    spread = drawn.std()
    for end, share in (("low", 0.025), ("high", 0.975)):
        # The end of 800 draws is itself known to about 0.1 standard deviations.
        apart = (table[end] - drawn.quantile(share)).abs() / spread
        assert apart.max() < 0.35, apart


def test_is_a_function_of_the_seed_and_not_of_the_memory_it_takes(monkeypatch):
    predictions = random_predictions()
    table = bootstrap(predictions, seed=1, draws=99)
    pd.testing.assert_frame_equal(bootstrap(predictions, seed=1, draws=99), table)
    assert accuracy_ends(predictions, seed=2, draws=99) != accuracy_ends(predictions, seed=1, draws=99)
    monkeypatch.setattr(resampling, "NUMBERS_AT_ONCE", 200 * 10)  # ten draws at once
    pd.testing.assert_frame_equal(bootstrap(predictions, seed=1, draws=99), table)


def test_a_lower_level_is_narrower():
    predictions = predictions_of(np.arange(200) < 150)
    low, high = accuracy_ends(predictions)
    inner_low, inner_high = accuracy_ends(predictions, level=0.5)
    assert low < inner_low < 0.75 < inner_high < high


@pytest.mark.parametrize("unknown", ["", None, np.nan])
def test_an_unknown_group_is_a_group_of_its_own(unknown):
    correct = np.arange(100) < 70
    groups = np.array([unknown] * 100, dtype=object)
    assert accuracy_ends(predictions_of(correct, groups)) == accuracy_ends(predictions_of(correct))


def test_one_group_has_no_interval_and_no_errors_give_no_width():
    assert np.isnan(accuracy_ends(predictions_of([1, 0, 1], np.array(["p"] * 3)))).all()
    assert np.isnan(accuracy_ends(predictions_of([1] * 9))).all()


@pytest.mark.parametrize(("holders", "defined"), [(2, False), (4, True)])
def test_a_class_that_few_groups_hold_has_no_interval(holders, defined):
    # Of 40 groups, `holders` hold class b: exp(-2) = 14 % or exp(-4) = 2 % of the draws hold none of them.
    labels = (np.arange(40) < holders).astype(np.int64)
    probs = np.where((np.arange(40) % 2 == 0)[:, None], [[0.2, 0.8]], [[0.8, 0.2]]).astype(np.float32)
    samples = Samples(tuple(f"{i}.png" for i in range(40)), labels, ("a", "b"))
    table = bootstrap(Predictions(samples, probs), draws=4000)
    assert table.loc["recall_b", "value"] == 0.5
    assert table.loc[["recall_b", "macro_recall"], ["low", "high"]].notna().to_numpy().all() == defined
    assert table.loc[["accuracy", "recall_a"], ["low", "high"]].notna().to_numpy().all()
    if defined:
        assert tuple(table.loc["recall_b", ["low", "high"]]) == (0, 1)


def test_what_the_images_leave_undefined_has_neither_value_nor_interval():
    table = bootstrap(predictions_of([1, 0, 1, 1]), draws=50)
    assert table.loc["recall_b"].isna().all()
    assert table.loc["recall_a"].notna().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": 95}, "level: received 95"),
        ({"draws": 0}, "draws: received 0"),
        ({"metrics": ["auc"]}, "metrics: received 'auc'"),
        ({"positive_class": "c"}, "positive_class: received 'c'"),
    ],
)
def test_bad_options_are_refused_in_words(options, words):
    with pytest.raises(InputError, match=words):
        bootstrap(predictions_of([1, 0]), **options)


def test_no_predictions_are_refused_in_words():
    with pytest.raises(InputError, match="at least one sample"):
        bootstrap(predictions_of([]))


def test_paired_by_hand():
    first, second = predictions_of([1, 1, 0, 0]), predictions_of([1, 0, 1, 1])
    table = paired(first, second)
    row = table.loc["accuracy"]
    assert list(table.columns) == ["first", "second", "difference", "low", "high", "p", "mcnemar_p"]
    assert row[["first", "second", "difference"]].tolist() == [0.5, 0.75, 0.25]
    # Three images differ: of 8 choices of signs of (-1, 1, 1) six are at least as far from 0 as 1.
    assert row["p"] == 1
    assert row["mcnemar_p"] == 1
    assert row["low"] < 0.25 < row["high"]
    same = paired(first, first).loc["accuracy"]
    assert same[["difference", "p", "mcnemar_p"]].tolist() == [0, 1, 1]
    assert same[["low", "high"]].isna().all()


def test_the_interval_of_a_difference_is_that_of_the_same_draws():
    first, second = random_predictions(strength=1.0), random_predictions(strength=1.5)
    table = paired(first, second, metrics=("accuracy", "log_loss"), draws=4000, permutations=99)
    metrics = ["accuracy", "log_loss"]
    drawn = draws_group_by_group(second, 800, 7, metrics) - draws_group_by_group(first, 800, 7, metrics)
    for end, share in (("low", 0.025), ("high", 0.975)):
        assert ((table[end] - drawn.quantile(share)).abs() / drawn.std()).max() < 0.35


def test_the_other_way_round_the_signs_change_and_nothing_else():
    first, second = random_predictions(strength=1.0), random_predictions(strength=1.5)
    there, back = (paired(*pair, metrics=("macro_f1",)).loc["macro_f1"] for pair in ((first, second), (second, first)))
    assert back["difference"] == pytest.approx(-there["difference"])
    assert (back["low"], back["high"]) == pytest.approx((-there["high"], -there["low"]))
    assert back["p"] == pytest.approx(there["p"], abs=0.02)


def test_seeds_are_averaged():
    firsts = [random_predictions(strength=1.0, seed=seed) for seed in (0, 1)]
    seconds = [random_predictions(strength=1.6, seed=seed) for seed in (0, 1)]
    options = {"permutations": 499, "draws": 400}
    table = paired(firsts, seconds, **options)
    each = [paired(*pair, **options) for pair in zip(firsts, seconds, strict=True)]
    for column in ("first", "second", "difference"):
        assert table.loc["accuracy", column] == pytest.approx(np.mean([t.loc["accuracy", column] for t in each]))
    twice = paired(firsts[:1] * 2, seconds[:1] * 2, **options)  # a seed again is no more data
    pd.testing.assert_frame_equal(twice, each[0])
    assert table.loc["accuracy", "high"] - table.loc["accuracy", "low"] < np.mean(
        [t.loc["accuracy", "high"] - t.loc["accuracy", "low"] for t in each]
    )


def test_methods_that_are_alike_are_told_apart_no_more_often_than_p_says():
    # 30 groups of 4 images that share their group's luck: exchanging single images would find far too much.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 4).astype(str)
    found = []
    for _ in range(100):
        methods = [predictions_of(np.repeat(rng.random(30) < 0.6, 4), groups) for _ in range(2)]
        found.append(paired(*methods, permutations=199, draws=1).loc["accuracy", "p"])
    assert np.mean(np.array(found) <= 0.1) < 0.2
    assert np.mean(np.array(found) <= 0.5) > 0.2


def test_bad_permutations_are_refused_in_words():
    with pytest.raises(InputError, match="permutations: received 0"):
        paired(predictions_of([1, 0]), predictions_of([1, 0]), permutations=0)


def test_a_table_of_pairs_with_holms_correction():
    methods = {name: random_predictions(strength=strength) for name, strength in (("x", 1), ("y", 1.4), ("z", 2.5))}
    table = paired_table(methods, permutations=999, draws=200)
    assert list(zip(table["first_method"], table["second_method"], strict=True)) == [
        ("x", "y"),
        ("x", "z"),
        ("y", "z"),
    ]
    for _, row in table.iterrows():
        alone = paired(methods[row["first_method"]], methods[row["second_method"]], permutations=999, draws=200)
        assert row[alone.columns].tolist()[:-1] == alone.loc["accuracy"].tolist()[:-1]
    # The smallest p counts three times, the next twice, the last once, and none less than the one before.
    order = table["p"].sort_values().index
    expected = np.minimum(np.maximum.accumulate(table["p"][order] * [3, 2, 1]), 1)
    assert table["p_holm"][order].tolist() == pytest.approx(expected.tolist())
    assert (table["p_holm"] > table["p"]).any()


def test_pairs_without_a_p_are_no_part_of_the_correction():
    first, second = predictions_of([1, 1, 0]), predictions_of([1, 0, 0])
    table = paired_table({"x": first, "y": second}, "recall_b")
    assert table[["p", "p_holm"]].isna().to_numpy().all()
    with pytest.raises(InputError, match="at least two"):
        paired_table({"x": first})


def test_the_baseline_is_scikit_learns():
    predictions = random_predictions()
    train = np.repeat([0, 1, 2], [20, 50, 30])
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((100, 1)), train)
    found = baseline({"a": 20, "b": 50, "c": 30}, predictions)
    np.testing.assert_allclose(found.probs, dummy.predict_proba(np.zeros((200, 1))), rtol=1e-6)
    assert found.samples is predictions.samples
    assert score(found)["accuracy"] == np.mean(predictions.samples.labels == 1)
    assert score(found)["roc_auc"] == 0.5


@pytest.mark.parametrize("counts", [{"a": 1}, {"a": 1, "b": 2, "c": 0, "d": 1}, {"a": 0, "b": 0, "c": 0}])
def test_a_baseline_of_other_classes_is_refused_in_words(counts):
    with pytest.raises(InputError, match="train_counts: received"):
        baseline(counts, random_predictions())


def test_holm_agrees_with_multipletests_and_leaves_out_what_has_no_p():
    table = pd.DataFrame({"p": [0.01, np.nan, 0.04, 0.03, 0.5]})
    assert holm(table)["p_holm"].tolist() == pytest.approx([0.04, np.nan, 0.09, 0.09, 0.5], nan_ok=True)


def test_the_pairs_asked_for_and_no_others():
    methods = {name: random_predictions(strength=strength) for name, strength in (("x", 1), ("y", 1.4), ("z", 2.5))}
    table = paired_table(methods, "kappa", pairs=[("z", "x")], permutations=99, draws=50)
    assert table[["first_method", "second_method", "metric"]].to_numpy().tolist() == [["z", "x", "kappa"]]
    assert table.loc[0, "p_holm"] == table.loc[0, "p"]
