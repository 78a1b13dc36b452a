from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from predicted import predictions_of, random_predictions, right_or_wrong, two_methods, without_each_group
from scipy.stats import binomtest

from tlkeras.errors import InputError
from tlkeras.evaluation import paired as module
from tlkeras.evaluation.calibration import at_temperature
from tlkeras.evaluation.intervals import intervals
from tlkeras.evaluation.metrics import score
from tlkeras.evaluation.paired import aligned_pairs, holm, mcnemar_p, paired, paired_table
from tlkeras.schema import Predictions


def test_paired_by_hand():
    first, second = right_or_wrong([1, 1, 0, 0]), right_or_wrong([1, 0, 1, 1])
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
    row = paired(right_or_wrong([1, 0, 0, 0, 0, 0, 0, 1], groups), right_or_wrong([1] * 8, groups)).loc["accuracy"]
    assert row[["low", "high"]].isna().all()
    assert row["p"] == 2 / 2**6  # six images differ


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_groups=st.integers(4, 14),
    metric=st.sampled_from(["accuracy", "macro_f1", "roc_auc"]),
    strength=st.sampled_from([1.0, 1.2, 2.5]),
)
@example(seed=13, n_groups=13, metric="roc_auc", strength=2.5)  # p is 0.1, and 1 - 0.9 a little less
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
        methods = [right_or_wrong(np.repeat(rng.random(30) < 0.6, 4), groups) for _ in range(2)]
        found.append(paired(*methods, permutations=199).loc["accuracy", "p"])
    assert np.mean(np.array(found) <= 0.1) < 0.2
    assert np.mean(np.array(found) <= 0.5) > 0.2


def test_bad_permutations_are_refused_in_words():
    with pytest.raises(InputError, match="permutations: received 0"):
        paired(right_or_wrong([1, 0]), right_or_wrong([1, 0]), permutations=0)


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


def test_in_a_table_of_pairs_the_groups_of_a_method_are_left_out_once(monkeypatch):
    samples = random_predictions(n=60, n_groups=20).samples
    methods = {
        f"m{number}": Predictions(samples, random_predictions(n=60, n_groups=20, seed=number).probs)
        for number in range(3)
    }
    alone = [paired(methods[first], methods[second]) for first, second in (("m0", "m1"), ("m0", "m2"), ("m1", "m2"))]
    leave_out, left_out = module.leave_out, []
    monkeypatch.setattr(module, "leave_out", lambda *of: (left_out.append(of), leave_out(*of))[1])
    table = paired_table(methods)
    assert len(left_out) == 3  # not one for each side of each pair
    for (_, row), one in zip(table.iterrows(), alone, strict=True):
        pd.testing.assert_series_equal(row[one.columns], one.loc["accuracy"], check_names=False, check_dtype=False)


def test_pairs_without_a_p_are_no_part_of_the_correction():
    first, second = right_or_wrong([1, 1, 0]), right_or_wrong([1, 0, 0])
    table = paired_table({"x": first, "y": second}, "recall_b")
    assert table[["p", "p_holm"]].isna().to_numpy().all()
    with pytest.raises(InputError, match="at least two"):
        paired_table({"x": first})


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


def test_mcnemar_is_the_binomial_test_of_what_one_method_alone_has_right():
    # 25 images that the first method alone has right, 13 that the second alone has, and 40 of both or neither.
    right = np.repeat([[True, False], [False, True], [True, True], [False, False]], [25, 13, 20, 20], axis=0)
    first, second = (
        predictions_of(np.zeros(78, int), np.where(says[:, None], [0.9, 0.1], [0.1, 0.9])) for says in right.T
    )
    assert mcnemar_p([(first, second)]) == pytest.approx(binomtest(13, 38, 0.5).pvalue, rel=1e-12)
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
