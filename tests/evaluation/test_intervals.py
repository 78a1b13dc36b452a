from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from predicted import random_predictions, right_or_wrong, without_each_group
from scipy import stats
from scipy.special import expit, logit

from tlkeras.errors import InputError
from tlkeras.evaluation import intervals as intervals_module
from tlkeras.evaluation import resampling
from tlkeras.evaluation.intervals import WITHOUT_INTERVAL, ends, intervals, seed_intervals
from tlkeras.evaluation.metrics import score
from tlkeras.evaluation.resampling import LeftOut
from tlkeras.evaluation.weighted_scores import metric_names
from tlkeras.schema import Predictions, Samples


def accuracy_ends(predictions, **options):
    return tuple(intervals(predictions, metrics=["accuracy"], **options).loc["accuracy", ["low", "high"]])


def test_single_images_give_the_interval_of_the_logit():
    # 400 images, 80 % right: the standard error is sqrt(0.8 * 0.2 / 399) = 0.02, 0.125 on the logit's scale, where
    # log(0.8 / 0.2) = 1.386. Right and wrong ones move it by 0.2 and 0.8: kurtosis 3.25, 2 * 400 / 2.25 = 355 degrees.
    low, high = accuracy_ends(right_or_wrong(np.arange(400) < 320))
    reach = stats.t.ppf(0.975, 355.6) * np.sqrt(0.16 / 399) / 0.16
    expected = expit(np.log(4) + np.array([-reach, reach]))
    assert (low, high) == pytest.approx(expected, abs=1e-5)
    assert (high - low) == pytest.approx(2 * 1.96 * 0.02, abs=0.002)


def test_groups_of_four_equal_images_double_the_width():
    correct = np.repeat(np.arange(100) < 80, 4)
    groups = np.repeat(np.arange(100).astype(str), 4)
    low, high = accuracy_ends(right_or_wrong(correct, groups))
    assert (low, high) == accuracy_ends(right_or_wrong(np.arange(100) < 80))
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
    ((low, high),) = ends(left_out, [(0, 1)])
    error = np.sqrt(29 / 30 * (steps**2).sum())
    kurtosis = (steps**4).mean() / (steps**2).mean() ** 2
    expected = float(np.clip(2 * 30 / max(kurtosis - 1, 1e-9), 8, 29))
    assert expected == pytest.approx(freedom, abs=0.1)
    assert (low, high) == pytest.approx(expit(np.array([-1, 1]) * stats.t.ppf(0.975, expected) * error / 0.25))


def test_few_groups_have_one_degree_of_freedom_less_than_there_are_of_them():
    # The kurtosis of these five alone would make 2 * 5 / (4.9 - 1) = 2.6 degrees of freedom of them; there are 4.
    steps = np.array([0.2, 0.01, -0.01, 0.01, -0.01])
    assert (steps**4).mean() / (steps**2).mean() ** 2 == pytest.approx(4.9, abs=0.01)
    ((low, high),) = ends(LeftOut(np.array([[0.5]]), 0.5 - steps[None, None], np.ones((1, 5), bool)), [(0, 1)])
    error = np.sqrt(4 / 5 * (steps**2).sum())
    assert (low, high) == pytest.approx(expit(np.array([-1, 1]) * stats.t.ppf(0.975, 4) * error / 0.25))


def test_a_single_error_is_as_uncertain_as_an_exact_interval_says():
    low, high = accuracy_ends(right_or_wrong(np.arange(390) != 7))
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
    ((low, high),) = ends(LeftOut(figures, without, present), [(0, 1)])
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
    monkeypatch.setattr(intervals_module, "MOST_UNITS", 25)
    parts = [random_predictions(seed=seed) for seed in (0, 1)]
    *each, _ = seed_intervals(parts, metrics=["accuracy", "accuracy"])
    for table, part in zip(each, parts, strict=True):
        pd.testing.assert_frame_equal(table, intervals(part, metrics="accuracy"))


def test_a_lower_level_is_narrower():
    predictions = right_or_wrong(np.arange(200) < 150)
    low, high = accuracy_ends(predictions)
    inner_low, inner_high = accuracy_ends(predictions, level=0.5)
    assert low < inner_low < 0.75 < inner_high < high


@pytest.mark.parametrize("unknown", ["", None, np.nan])
def test_an_unknown_group_is_a_group_of_its_own(unknown):
    correct = np.arange(100) < 70
    groups = np.array([unknown] * 100, dtype=object)
    assert accuracy_ends(right_or_wrong(correct, groups)) == accuracy_ends(right_or_wrong(correct))


def test_one_group_has_no_interval_and_no_errors_give_no_width():
    assert np.isnan(accuracy_ends(right_or_wrong([1, 0, 1], np.array(["p"] * 3)))).all()
    assert np.isnan(accuracy_ends(right_or_wrong([1] * 9))).all()


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
    table = intervals(right_or_wrong([1, 0, 1, 1]))
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
        intervals(right_or_wrong([1, 0]), **options)


def test_no_predictions_are_refused_in_words():
    with pytest.raises(InputError, match="at least one sample"):
        intervals(right_or_wrong([]))
    with pytest.raises(InputError, match="empty list"):
        intervals([])
    with pytest.raises(InputError, match="classes differ"):
        intervals([random_predictions(k=2), random_predictions(k=3)])
