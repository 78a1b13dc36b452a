from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tlkeras.errors import InputError
from tlkeras.evaluation.intervals import intervals
from tlkeras.evaluation.metrics import score
from tlkeras.evaluation.subgroups import subgroup_gaps, subgroups
from tlkeras.schema import Predictions, Samples


def with_metadata(metadata, right, groups=None, seed=0):
    """Two classes, of which a sample is told right with the probability `right`, (n,)."""
    rng = np.random.default_rng(seed)
    n = len(right)
    labels = rng.integers(0, 2, n)
    told = np.where(rng.random(n) < right, labels, 1 - labels)
    probs = np.where(np.eye(2)[told] > 0, 0.8, 0.2).astype(np.float32)
    samples = Samples(
        tuple(f"{i}.png" for i in range(n)), labels, ("a", "b"), metadata=pd.DataFrame(metadata), groups=groups
    )
    return Predictions(samples, probs)


def by_sex(n=400, right=(0.9, 0.6), groups=None, seed=0):
    sex = np.array(["f", "m"], dtype=object)[np.arange(n) % 2]
    return with_metadata({"sex": sex}, np.where(sex == "f", *right), groups, seed)


def test_a_subgroup_is_scored_as_its_images_alone_are():
    predictions = by_sex()
    table = subgroups(predictions, "sex", metrics=["accuracy", "macro_f1"]).set_index(["subgroup", "metric"])
    women = np.arange(0, 400, 2)
    alone = Predictions(predictions.samples.take(women), predictions.probs[women])
    expected = intervals(alone, metrics=["accuracy", "macro_f1"])
    for metric in ("accuracy", "macro_f1"):
        row = table.loc[("f", metric)]
        np.testing.assert_allclose(row[["value", "low", "high"]].astype(float), expected.loc[metric].iloc[:3])
        assert row["value"] == pytest.approx(score(alone)[metric])
    assert table.loc[("m", "accuracy"), "images"] == 200


def test_images_without_a_value_are_a_subgroup_and_small_ones_are_shown():
    sex = np.array(["f", None, "", "m"] * 10, dtype=object)
    table = subgroups(with_metadata({"sex": sex}, np.full(40, 0.7)), "sex", metrics=["accuracy"])
    assert table["subgroup"].tolist() == ["f", "m", "unknown"]
    assert table["images"].tolist() == [10, 10, 20]
    assert table["groups"].tolist() == [10, 10, 20]


def test_numbers_are_put_into_bands():
    age = np.array([10, 20, 30, 40, 50, 60, 70, 80, 90, 85, 15, np.nan])
    predictions = with_metadata({"age": age}, np.full(12, 0.7))
    table = subgroups(predictions, "age", metrics=["accuracy"], bands={"age": [40, 80]})
    assert dict(zip(table["subgroup"], table["images"], strict=True)) == {
        "below 40": 4,
        "40 to below 80": 4,
        "80 and above": 3,
        "unknown": 1,
    }
    quarters = subgroups(predictions, "age", metrics=["accuracy"])
    assert len(quarters) == 5
    few = subgroups(with_metadata({"site": np.arange(12) % 3}, np.full(12, 0.7)), "site", metrics=["accuracy"])
    assert few["subgroup"].tolist() == ["0", "1", "2"]


def test_a_gap_that_is_there_is_found_and_its_ends_are_named():
    (row,) = subgroup_gaps(by_sex(), "sex", metrics=["accuracy"]).to_dict("records")
    assert (row["lowest"], row["highest"]) == ("m", "f")
    assert row["gap"] == pytest.approx(row["high_value"] - row["low_value"])
    assert row["p"] == row["p_holm"] == 1 / 1000
    assert (row["subgroups"], row["left_out"]) == (2, 0)


def test_where_there_is_none_p_is_as_often_small_as_it_says():
    p = [
        subgroup_gaps(by_sex(120, (0.7, 0.7), seed=seed), "sex", metrics=["accuracy"], permutations=99)["p"].item()
        for seed in range(120)
    ]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.06)
    assert np.mean(np.array(p) <= 0.5) == pytest.approx(0.5, abs=0.14)


def test_the_largest_gap_of_many_subgroups_is_not_found_everywhere():
    site = np.array([f"site {i % 8}" for i in range(320)], dtype=object)
    p = [
        subgroup_gaps(
            with_metadata({"site": site}, np.full(320, 0.7), seed=seed), "site", metrics=["accuracy"], permutations=99
        )["p"].item()
        for seed in range(60)
    ]
    assert np.mean(np.array(p) <= 0.05) <= 0.12


def test_images_of_a_patient_change_places_together():
    # 24 patients of 20 images that are right or wrong together: what looks like 480 images is 24.
    rng = np.random.default_rng(1)
    p = {"grouped": [], "alone": []}
    for seed in range(30):
        patient = np.repeat(np.arange(48), 10)
        sex = np.array(["f", "m"], dtype=object)[patient % 2]
        right = np.repeat(rng.random(48) < 0.6, 10) * 1.0
        for name, groups in (("grouped", patient.astype(str)), ("alone", None)):
            predictions = with_metadata({"sex": sex}, right, groups, seed)
            table = subgroup_gaps(predictions, "sex", metrics=["accuracy"], permutations=99)
            p[name].append(table["p"].item())
    assert np.mean(np.array(p["grouped"]) <= 0.1) <= 0.3
    assert np.mean(np.array(p["alone"]) <= 0.1) > 0.5


def test_subgroups_of_few_groups_do_not_take_part():
    site = np.array(["large", "also"] * 50 + ["small"] * 5, dtype=object)
    right = np.concatenate([np.full(100, 0.9), np.zeros(5)])
    (row,) = subgroup_gaps(with_metadata({"site": site}, right), "site", metrics=["accuracy"]).to_dict("records")
    assert {row["lowest"], row["highest"]} == {"large", "also"}
    assert (row["subgroups"], row["left_out"]) == (2, 1)
    alone = subgroup_gaps(by_sex(30), "sex", metrics=["accuracy"])
    assert np.isnan(alone["p"].item())
    assert alone["left_out"].item() == 2


def test_an_undefined_figure_has_no_gap_and_no_part_in_the_correction():
    predictions = by_sex(80)
    samples = predictions.samples
    labels = np.where(np.arange(80) % 2 == 0, 0, samples.labels)  # no woman of class b
    one_class = Predictions(Samples(samples.images, labels, ("a", "b"), metadata=samples.metadata), predictions.probs)
    table = subgroup_gaps(one_class, "sex", metrics=["accuracy", "roc_auc"]).set_index("metric")
    assert np.isnan(table.loc["roc_auc", "p"])
    assert table.loc["accuracy", "p"] == table.loc["accuracy", "p_holm"]


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"'age'.*has sex"):
        subgroups(by_sex(), ["sex", "age"])
    without = Predictions(Samples(("a", "b"), np.array([0, 1]), ("a", "b")), np.full((2, 2), 0.5, np.float32))
    with pytest.raises(InputError, match="no columns"):
        subgroup_gaps(without, "sex")
    with pytest.raises(InputError, match="no numbers"):
        subgroups(by_sex(), "sex", bands={"sex": [1]})
    with pytest.raises(InputError, match=r"\[80, 40\]"):
        subgroups(with_metadata({"age": np.arange(20.0)}, np.full(20, 0.7)), "age", bands={"age": [80, 40]})
    with pytest.raises(InputError, match="'ece'"):
        subgroup_gaps(by_sex(), "sex", metrics=["ece"])


def test_bands_of_large_numbers_and_of_integers_with_gaps_have_names_of_their_own():
    days = np.arange(20190101, 20190121)
    names = set(subgroups(with_metadata({"day": days}, np.full(20, 0.7)), "day", metrics="accuracy")["subgroup"])
    assert len(names) == 4
    ages = pd.array([None, *range(40, 59)], dtype="Int64")
    table = subgroups(with_metadata({"age": ages}, np.full(20, 0.7)), "age", metrics=["accuracy"])
    assert table["images"].sum() == 20
    assert table["subgroup"].iloc[-1] == "unknown"


def test_subgroups_stand_in_their_order():
    names = ["80 and above", "below 40", "unknown", "40 to below 80", "b", "a"] * 4
    table = subgroups(
        with_metadata({"age": np.array(names, dtype=object)}, np.full(24, 0.7)), "age", metrics=["accuracy"]
    )
    assert table["subgroup"].tolist() == ["below 40", "40 to below 80", "80 and above", "a", "b", "unknown"]
    mixed = np.array([1, "a"] * 10, dtype=object)
    assert len(subgroups(with_metadata({"site": mixed}, np.full(20, 0.7)), "site", metrics=["accuracy"])) == 2
    with pytest.raises(InputError, match="bands of age: received 40"):
        subgroups(with_metadata({"age": np.arange(20.0)}, np.full(20, 0.7)), "age", bands={"age": 40})
