from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit, softmax
from sklearn.dummy import DummyClassifier

from tlkeras.errors import InputError
from tlkeras.evaluation import resampling, statistics
from tlkeras.evaluation.calibration import at_temperature
from tlkeras.evaluation.metrics import score
from tlkeras.evaluation.resampling import LeftOut
from tlkeras.evaluation.statistics import WITHOUT_INTERVAL, baseline, ends, holm, intervals, paired, paired_table
from tlkeras.evaluation.weighted_scores import metric_names
from tlkeras.schema import Predictions, Samples


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
    return tuple(intervals(predictions, metrics=["accuracy"], **options).loc["accuracy", ["low", "high"]])


def without_each_group(predictions, metrics):
    """The definition, written out: the figures of the other groups' images, for each group."""
    groups = predictions.samples.groups.astype(str)
    rows = [np.flatnonzero(groups != name) for name in np.unique(groups)]
    found = [score(Predictions(predictions.samples.take(r), predictions.probs[r]), metrics=metrics) for r in rows]
    return pd.DataFrame(found)


def test_single_images_give_the_interval_of_the_logit():
    # 400 images, 80 % right: the standard error is sqrt(0.8 * 0.2 / 399) = 0.02, 0.125 on the logit's scale, where
    # log(0.8 / 0.2) = 1.386. Right and wrong ones move it by 0.2 and 0.8: kurtosis 3.25, 2 * 400 / 2.25 = 355 degrees.
    low, high = accuracy_ends(predictions_of(np.arange(400) < 320))
    reach = stats.t.ppf(0.975, 355.6) * np.sqrt(0.16 / 399) / 0.16
    expected = expit(np.log(4) + np.array([-reach, reach]))
    assert (low, high) == pytest.approx(expected, abs=1e-5)
    assert (high - low) == pytest.approx(2 * 1.96 * 0.02, abs=0.002)


def test_groups_of_four_equal_images_double_the_width():
    correct = np.repeat(np.arange(100) < 80, 4)
    groups = np.repeat(np.arange(100).astype(str), 4)
    low, high = accuracy_ends(predictions_of(correct, groups))
    assert (low, high) == accuracy_ends(predictions_of(np.arange(100) < 80))
    assert (high - low) == pytest.approx(2 * 1.96 * 0.04, abs=0.01)


def test_every_figure_agrees_with_leaving_out_group_by_group():
    predictions = random_predictions(n=150, n_groups=40)
    table = intervals(predictions)
    assert tuple(table.index) == metric_names("abc")[1:]
    assert table["value"].to_dict() == score(predictions).drop("n").to_dict()
    measured = [name for name in table.index if name not in WITHOUT_INTERVAL]
    without = without_each_group(predictions, measured)
    moved = table["value"][measured] - without
    error = np.sqrt((moved**2).sum() * (len(without) - 1) / len(without))
    kurtosis = (moved**4).mean() / (moved**2).mean() ** 2
    reach = stats.t.ppf(0.975, np.clip(2 * len(without) / (kurtosis - 1), 8, len(without) - 1)) * error
    for name in measured:
        value = table.loc[name, "value"]
        if "log_loss" in name:
            scale, back = np.log, np.exp
        elif name == "brier":
            scale, back = lambda x: logit(x / 2), lambda x: 2 * expit(x)
        elif name in ("matthews", "kappa"):
            scale, back = np.arctanh, np.tanh
        else:
            scale, back = logit, expit
        slope = (scale(value + 1e-6) - scale(value - 1e-6)) / 2e-6
        expected = back(scale(value) + np.array([-1, 1]) * slope * reach[name])
        np.testing.assert_allclose(table.loc[name, ["low", "high"]], expected, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(("of_one", "freedom"), [(0.01, 29), (0.04, 18.6), (0.2, 8)])
def test_a_few_groups_that_matter_more_than_the_others_count_as_few(of_one, freedom):
    # Leaving out each of 30 groups moves the figure by 0.01 up or down, and one of them by more: there are
    # 2 * 30 / (kurtosis - 1) degrees of freedom, at least 8 and at most 29.
    steps = np.where(np.arange(30) == 0, of_one, 0.01 * np.tile([1.0, -1.0], 15))
    left_out = LeftOut(np.array([[0.5]]), 0.5 - steps[None, None], np.ones((1, 30), bool))
    ((low, high),) = ends(left_out, ["accuracy"])
    error = np.sqrt(29 / 30 * (steps**2).sum())
    kurtosis = (steps**4).mean() / (steps**2).mean() ** 2
    expected = float(np.clip(2 * 30 / max(kurtosis - 1, 1e-9), 8, 29))
    assert expected == pytest.approx(freedom, abs=0.1)
    assert (low, high) == pytest.approx(expit(np.array([-1, 1]) * stats.t.ppf(0.975, expected) * error / 0.25))


def test_few_groups_have_one_degree_of_freedom_less_than_there_are_of_them():
    # The kurtosis of these five alone would make 2 * 5 / (4.9 - 1) = 2.6 degrees of freedom of them; there are 4.
    steps = np.array([0.2, 0.01, -0.01, 0.01, -0.01])
    assert (steps**4).mean() / (steps**2).mean() ** 2 == pytest.approx(4.9, abs=0.01)
    ((low, high),) = ends(LeftOut(np.array([[0.5]]), 0.5 - steps[None, None], np.ones((1, 5), bool)), ["accuracy"])
    error = np.sqrt(4 / 5 * (steps**2).sum())
    assert (low, high) == pytest.approx(expit(np.array([-1, 1]) * stats.t.ppf(0.975, 4) * error / 0.25))


def test_a_single_error_is_as_uncertain_as_an_exact_interval_says():
    low, high = accuracy_ends(predictions_of(np.arange(390) != 7))
    exact = stats.binomtest(389, 390).proportion_ci()
    assert exact.low == pytest.approx(0.986, abs=0.001)
    assert 0.97 < low < exact.low  # wider, and not by far
    assert exact.high == pytest.approx(high, abs=0.001)


def test_calibration_error_has_no_interval_but_what_chance_adds():
    # Right in 70 % of the images, as claimed: of 15 bins of 40 images each the mean absolute deviation of such a
    # share is sqrt(2 / pi * 0.7 * 0.3 / 40) = 0.058.
    rng = np.random.default_rng(0)
    labels = (rng.random(600) < 0.3).astype(np.int64)
    probs = np.tile([0.7, 0.3], (600, 1)) + rng.uniform(-1e-3, 1e-3, (600, 1)) * [1, -1]
    samples = Samples(tuple(f"{i}.png" for i in range(600)), labels, ("a", "b"))
    table = intervals(Predictions(samples, probs.astype(np.float32)), metrics=("ece", "ece_by_chance"))
    assert table[["low", "high"]].isna().to_numpy().all()
    assert table.loc["ece_by_chance", "value"] == pytest.approx(0.0578, abs=2e-4)
    assert table.loc["ece", "value"] == pytest.approx(0.058, abs=0.03)


def test_seeds_on_the_same_images_hold_images_and_seeds():
    parts = [random_predictions(n=300, n_groups=60, strength=strength) for strength in (1.0, 1.2, 1.5)]
    one = [intervals(part, metrics=["accuracy"]).loc["accuracy"] for part in parts]
    together = intervals(parts, metrics=["accuracy"]).loc["accuracy"]
    values = np.array([row["value"] for row in one])
    assert together["value"] == pytest.approx(values.mean())
    assert together["groups"] == 60
    # Three seeds this far apart: Student's t of the seeds alone, on the logit, is the least that is honest.
    spread = values.std(ddof=1) / np.sqrt(3)
    assert together["high"] - together["low"] > 2 * 1.96 * spread
    same = intervals(parts[:1] * 3, metrics=["accuracy"]).loc["accuracy"]  # a seed again is no other seed
    assert same[["low", "high"]].tolist() == pytest.approx(one[0][["low", "high"]].tolist())


@pytest.mark.parametrize("shared", [True, False])
def test_variances_of_groups_and_seeds_add_up_and_what_is_in_both_counts_once(shared):
    # Two seeds of 0.5 and 0.6. On shared images: leaving out each of 40 groups moves both alike, so what the seeds
    # differ by is their own. On images of their own: each group moves one seed, and is in the spread of the seeds, too.
    rng = np.random.default_rng(5)
    moved = 0.02 * rng.choice([-1.0, 1.0], 40)
    figures = np.array([[0.5], [0.6]])
    present = np.ones((2, 40), bool) if shared else np.stack([np.arange(40) < 20, np.arange(40) >= 20])
    without = figures[:, :, None] - (moved * present)[:, None, :]
    ((low, high),) = ends(LeftOut(figures, without, present), ["accuracy"])
    of_groups = 39 / 40 * np.square(moved if shared else moved / 2).sum()
    of_seeds = np.var([0.5, 0.6], ddof=1) / 2
    common = 0 if shared else 39 / 40 * np.square(moved / 2).sum()
    variance = max(of_groups + of_seeds - common, of_groups, of_seeds)
    freedom = np.clip(variance**2 / (of_groups**2 / 39 + of_seeds**2 / 1), 1, 39)
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(variance) / (0.55 * 0.45)
    assert (low, high) == pytest.approx(expit(logit(0.55) + np.array([-reach, reach])))
    alone = stats.t.ppf(0.975, 39) * np.sqrt(of_groups) / (0.55 * 0.45)
    assert high - low > 1.05 * np.ptp(expit(logit(0.55) + np.array([-alone, alone])))  # the seeds are in it


def test_is_a_function_of_the_seed_and_not_of_the_memory_it_takes(monkeypatch):
    predictions = random_predictions()
    table = intervals(predictions)
    pd.testing.assert_frame_equal(intervals(predictions, seed=1), table)  # nothing is drawn for 50 groups
    monkeypatch.setattr(resampling, "NUMBERS_AT_ONCE", 200 * 10)  # ten groups at once
    pd.testing.assert_frame_equal(intervals(predictions), table)
    monkeypatch.setattr(resampling, "MOST_UNITS", 25)  # two groups at a time
    drawn = intervals(predictions, seed=1)
    pd.testing.assert_frame_equal(intervals(predictions, seed=1), drawn)
    assert accuracy_ends(predictions, seed=2) != accuracy_ends(predictions, seed=1)
    widths = [(t["high"] - t["low"])[["accuracy", "roc_auc", "log_loss"]] for t in (drawn, table)]
    assert (widths[0] / widths[1]).between(0.6, 1.6).all()
    assert drawn["groups"].equals(table["groups"])


def test_a_seed_alone_is_the_same_beside_others_even_where_groups_are_left_out_in_sets(monkeypatch):
    monkeypatch.setattr(resampling, "MOST_UNITS", 25)
    monkeypatch.setattr(statistics, "MOST_UNITS", 25)
    parts = [random_predictions(seed=seed) for seed in (0, 1)]
    *each, _ = statistics.seed_intervals(parts, metrics=["accuracy", "accuracy"])
    for table, part in zip(each, parts, strict=True):
        pd.testing.assert_frame_equal(table, intervals(part, metrics="accuracy"))


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


@pytest.mark.parametrize(("holders", "defined"), [(1, False), (2, True)])
def test_a_class_that_one_group_alone_holds_has_no_interval(holders, defined):
    # 40 groups of two images; without the only group that holds class b there is no recall of it.
    labels = np.repeat(np.arange(40) < holders, 2).astype(np.int64)
    probs = np.where((np.arange(80) % 4 < 3)[:, None], [[0.8, 0.2]], [[0.2, 0.8]]).astype(np.float32)
    samples = Samples(
        tuple(f"{i}.png" for i in range(80)), labels, ("a", "b"), groups=np.repeat(np.arange(40), 2).astype(str)
    )
    table = intervals(Predictions(samples, probs))
    assert table.loc[["recall_b", "macro_recall"], ["low", "high"]].notna().to_numpy().all() == defined
    assert table.loc[["accuracy", "recall_a"], ["low", "high"]].notna().to_numpy().all()
    assert table["groups"][["accuracy", "recall_a", "recall_b", "roc_auc_b"]].tolist() == [
        40,
        40 - holders,
        holders,
        40,
    ]
    of_b = intervals(Predictions(samples, probs), positive_class="b")["groups"]
    assert of_b[["sensitivity", "specificity", "f1"]].tolist() == [holders, 40 - holders, holders]


def test_what_the_images_leave_undefined_has_neither_value_nor_interval():
    table = intervals(predictions_of([1, 0, 1, 1]))
    assert table.loc["recall_b", ["value", "low", "high"]].isna().all()
    assert table.loc["recall_b", "groups"] == 0
    assert table.loc["recall_a"].notna().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": 95}, "level: received 95"),
        ({"metrics": ["auc"]}, "metrics: received 'auc'"),
        ({"positive_class": "c"}, "positive_class: received 'c'"),
    ],
)
def test_bad_options_are_refused_in_words(options, words):
    with pytest.raises(InputError, match=words):
        intervals(predictions_of([1, 0]), **options)


def test_no_predictions_are_refused_in_words():
    with pytest.raises(InputError, match="at least one sample"):
        intervals(predictions_of([]))
    with pytest.raises(InputError, match="empty list"):
        intervals([])
    with pytest.raises(InputError, match="classes differ"):
        intervals([random_predictions(k=2), random_predictions(k=3)])


def test_paired_by_hand():
    first, second = predictions_of([1, 1, 0, 0]), predictions_of([1, 0, 1, 1])
    table = paired(first, second)
    row = table.loc["accuracy"]
    assert list(table.columns) == ["first", "second", "difference", "low", "high", "p", "groups", "mcnemar_p"]
    assert row[["first", "second", "difference"]].tolist() == [0.5, 0.75, 0.25]
    # Three images differ: of 8 choices of signs of (-1, 1, 1) six are at least as far from 0 as 1.
    assert row["p"] == 1
    assert row["mcnemar_p"] == 1
    assert row["groups"] == 4
    assert row["low"] < 0 < row["high"]
    same = paired(first, first).loc["accuracy"]
    assert same[["difference", "p", "mcnemar_p"]].tolist() == [0, 1, 1]
    assert same[["low", "high"]].isna().all()  # no image tells them apart: how far others would is not to be seen


def test_the_interval_of_a_difference_of_many_groups_is_the_normal_one():
    first, second = (random_predictions(n=900, n_groups=300, strength=strength) for strength in (1.0, 1.5))
    row = paired(first, second).loc["accuracy"]
    unit = first.samples.groups.astype(int)
    gains = np.bincount(unit, weights=second.correct.astype(float) - first.correct, minlength=300) / 900
    rest = gains - row["difference"] * np.bincount(unit, minlength=300) / 900
    reach = 1.96 * np.sqrt((rest**2).sum())
    assert (row["low"], row["high"]) == pytest.approx((row["difference"] - reach, row["difference"] + reach), abs=0.004)


def test_the_interval_of_a_difference_is_made_of_both_methods_intervals():
    first, second = (random_predictions(n=150, n_groups=30, strength=strength) for strength in (1.0, 2.0))
    metrics = ["accuracy", "roc_auc", "log_loss"]
    table, (one, two) = (
        paired(first, second, metrics=metrics),
        (intervals(of, metrics=metrics) for of in (first, second)),
    )
    moved = [score(of, metrics=metrics) - without_each_group(of, metrics) for of in (first, second)]
    for metric in metrics:
        alike = (moved[0][metric] @ moved[1][metric]) / np.prod([np.linalg.norm(of[metric]) for of in moved])
        (a, low_a, high_a, _), (b, low_b, high_b, _) = one.loc[metric], two.loc[metric]
        low = b - a - np.sqrt((b - low_b) ** 2 + (high_a - a) ** 2 - 2 * alike * (b - low_b) * (high_a - a))
        high = b - a + np.sqrt((high_b - b) ** 2 + (a - low_a) ** 2 - 2 * alike * (high_b - b) * (a - low_a))
        assert tuple(table.loc[metric, ["low", "high"]]) == pytest.approx((low, high))
        assert abs(alike) > 0.05  # without it the ends would be others


def test_the_interval_of_a_method_that_errs_nowhere_is_not_defined_and_its_p_is():
    groups = np.arange(8).astype(str)
    row = paired(predictions_of([1, 0, 0, 0, 0, 0, 0, 1], groups), predictions_of([1] * 8, groups)).loc["accuracy"]
    assert row[["low", "high"]].isna().all()
    assert row["p"] == 2 / 2**6  # six images differ


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_groups=st.integers(4, 14),
    metric=st.sampled_from(["accuracy", "macro_f1", "roc_auc"]),
    strength=st.sampled_from([1.0, 1.2, 2.5]),
)
def test_interval_and_p_never_contradict_each_other(seed, n_groups, metric, strength):
    methods = [random_predictions(n=40, n_groups=n_groups, seed=seed, strength=s) for s in (1.0, strength)]
    row = paired(*methods, metrics=[metric], level=0.9, permutations=99).loc[metric]
    if np.isfinite(row["low"]):
        assert (row["p"] <= 0.1) == bool(row["low"] > 0 or row["high"] < 0)
        assert row["low"] <= row["difference"] <= row["high"]


def test_no_temperature_moves_the_interval_of_a_difference_in_roc_auc():
    first, second = (random_predictions(n=120, n_groups=40, k=2, strength=strength) for strength in (1.0, 1.5))
    pairs = [(at_temperature(first, temperature), second) for temperature in (1.0, 2.0, 5.0)]
    rows = [paired(*pair, metrics=["roc_auc"], permutations=199).loc["roc_auc"] for pair in pairs]
    for row in rows[1:]:
        assert row[["low", "high", "p"]].tolist() == pytest.approx(rows[0][["low", "high", "p"]].tolist(), abs=1e-9)


def test_the_other_way_round_the_signs_change_and_nothing_else():
    first, second = random_predictions(strength=1.0), random_predictions(strength=1.5)
    there, back = (paired(*pair, metrics=("macro_f1",)).loc["macro_f1"] for pair in ((first, second), (second, first)))
    assert back["difference"] == pytest.approx(-there["difference"])
    assert (back["low"], back["high"]) == pytest.approx((-there["high"], -there["low"]))
    assert back["p"] == pytest.approx(there["p"], abs=0.02)


def test_seeds_are_averaged():
    firsts = [random_predictions(strength=1.0, seed=seed) for seed in (0, 1)]
    seconds = [random_predictions(strength=1.6, seed=seed) for seed in (0, 1)]
    options = {"permutations": 499}
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
        found.append(paired(*methods, permutations=199).loc["accuracy", "p"])
    assert np.mean(np.array(found) <= 0.1) < 0.2
    assert np.mean(np.array(found) <= 0.5) > 0.2


def test_bad_permutations_are_refused_in_words():
    with pytest.raises(InputError, match="permutations: received 0"):
        paired(predictions_of([1, 0]), predictions_of([1, 0]), permutations=0)


def test_a_table_of_pairs_with_holms_correction():
    methods = {name: random_predictions(strength=strength) for name, strength in (("x", 1), ("y", 1.4), ("z", 2.5))}
    table = paired_table(methods, permutations=999)
    assert list(zip(table["first_method"], table["second_method"], strict=True)) == [
        ("x", "y"),
        ("x", "z"),
        ("y", "z"),
    ]
    for _, row in table.iterrows():
        alone = paired(methods[row["first_method"]], methods[row["second_method"]], permutations=999)
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


@pytest.mark.parametrize(
    ("p", "published"),
    [
        # R's multtest::mt.rawp2adjp, as the tests of statsmodels print it (stats/tests/test_multi.py, "Holm").
        (
            (
                0.838541367553,
                0.642193923795,
                0.680845947633,
                0.967833824309,
                0.71626938238,
                0.177096952723,
                5.23656777208e-5,
                0.0202732688798,
                0.00028140506198,
                0.0149877310796,
            ),
            (1, 1, 1, 1, 1, 1, 5.2365677720800005e-4, 0.14191288215860001, 2.5326455578199999e-3, 0.11990184863680001),
        ),
        # The same, "res_multtest3": what is raised to the one before.
        (
            [0.001, 0.002, 0.003, 0.004, 0.005, 0.05, 0.06, 0.07, 0.08, 0.09],
            [0.01, 0.018, 0.024, 0.028, 0.03, 0.25, 0.25, 0.25, 0.25, 0.25],
        ),
        # @stdlib/stats/padjust, whose page gives three digits.
        ([0.319, 0.201, 0.4, 0.374, 0.113], [0.957, 0.804, 0.957, 0.957, 0.565]),
        ([0.3], [0.3]),
    ],
)
def test_holm_gives_published_values(p, published):
    assert holm(pd.DataFrame({"p": p}))["p_holm"].tolist() == pytest.approx(published, rel=1e-12)


def test_holm_leaves_out_what_has_no_p():
    table = pd.DataFrame({"p": [0.01, np.nan, 0.04, 0.03, 0.5]}, index=list("vwxyz"))
    assert holm(table)["p_holm"].to_dict() == pytest.approx(
        {"v": 0.04, "w": np.nan, "x": 0.09, "y": 0.09, "z": 0.5}, nan_ok=True
    )
    assert holm(table[table["p"].isna()])["p_holm"].isna().all()


def test_the_pairs_asked_for_and_no_others():
    methods = {name: random_predictions(strength=strength) for name, strength in (("x", 1), ("y", 1.4), ("z", 2.5))}
    table = paired_table(methods, "kappa", pairs=[("z", "x")], permutations=99)
    assert table[["first_method", "second_method", "metric"]].to_numpy().tolist() == [["z", "x", "kappa"]]
    assert table.loc[0, "p_holm"] == table.loc[0, "p"]
