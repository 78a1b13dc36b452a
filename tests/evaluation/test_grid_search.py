import numpy as np
import pandas as pd
import pytest

from tlkeras.errors import InputError
from tlkeras.evaluation.grid_search import fold_results
from tlkeras.evaluation.grid_search_tables import ranking_table
from tlkeras.evaluation.statistics import intervals
from tlkeras.schema import Predictions, Samples

SETTINGS = [{"epochs": 3}, {"epochs": 5}]


def out_of_fold():
    """Seven images: patient P1 has three in fold 0, P2 two in fold 1, two images are of nobody known."""
    return pd.DataFrame(
        {
            "sample_id": list("abcdefg"),
            "group": ["P1", "P1", "P1", "", "P2", "P2", ""],
            "fold": [0, 0, 0, 0, 1, 1, 1],
            "label": ["cat", "cat", "dog", "dog", "cat", "dog", "dog"],
            "setting_0": ["cat", "cat", "dog", "cat", "cat", "cat", "dog"],  # wrong: d, f
            "setting_1": ["", "cat", "dog", "", "", "", ""],  # no answer: a, d, e, f, g
        }
    )


def test_accuracy_of_each_fold_by_hand():
    table = fold_results(out_of_fold(), SETTINGS)
    assert list(table.columns) == ["epochs", "fold", "n", "accuracy", "accuracy_low", "accuracy_high", "groups"]
    assert table["epochs"].tolist() == [3, 3, 5, 5]
    assert table["fold"].tolist() == [0, 1, 0, 1]
    assert table["n"].tolist() == [4, 3, 4, 3]
    assert table["accuracy"].tolist() == pytest.approx([3 / 4, 2 / 3, 2 / 4, 0 / 3])


@pytest.mark.parametrize(("setting", "wrong"), [(0, [3, 5]), (1, [0, 3, 4, 5, 6])])
def test_the_interval_is_that_of_all_images_drawn_by_group(setting, wrong):
    predicted = np.isin(np.arange(7), wrong).astype(np.int64)  # 0, the label of all, where it is right
    samples = Samples(
        images=("",) * 7,
        labels=np.zeros(7, np.int64),
        class_names=("a", "b"),
        groups=np.array(["P1", "P1", "P1", "", "P2", "P2", ""], dtype=object),
        sample_ids=list("abcdefg"),
    )
    whole = intervals(Predictions(samples, np.eye(2, dtype=np.float32)[predicted]), metrics=("accuracy",))
    expected = tuple(whole.loc["accuracy", ["low", "high", "groups"]])
    table = fold_results(out_of_fold(), SETTINGS)
    of_setting = table[table["epochs"] == SETTINGS[setting]["epochs"]]
    for found in of_setting[["accuracy_low", "accuracy_high", "groups"]].itertuples(index=False):
        assert tuple(found) == expected
    assert expected[2] == 4  # P1, P2 and two images of unknown group
    ungrouped = fold_results(out_of_fold().assign(group=""), SETTINGS)
    assert not ungrouped["accuracy_low"].equals(table["accuracy_low"])


def test_rows_in_another_order_and_groups_read_as_missing_change_nothing():
    expected = fold_results(out_of_fold(), SETTINGS)
    shuffled = out_of_fold().sample(frac=1, random_state=0)
    shuffled["group"] = shuffled["group"].replace("", None)
    pd.testing.assert_frame_equal(fold_results(shuffled, SETTINGS), expected)


def test_a_table_read_back_from_its_file_gives_the_same(tmp_path):
    out_of_fold().to_csv(tmp_path / "out_of_fold.csv", index=False)
    read = pd.read_csv(tmp_path / "out_of_fold.csv")  # empty cells are NaN
    pd.testing.assert_frame_equal(fold_results(read, SETTINGS), fold_results(out_of_fold(), SETTINGS))


def test_a_setting_without_a_column_is_refused():
    with pytest.raises(InputError, match="there is no column setting_2; run the search again"):
        fold_results(out_of_fold(), [*SETTINGS, {"epochs": 7}])


def test_what_it_returns_is_ranked():
    ranking = ranking_table(fold_results(out_of_fold(), SETTINGS), fields=["epochs"])
    assert ranking["epochs"].tolist() == [3, 5]
    assert ranking["mean"].tolist() == pytest.approx([(3 / 4 + 2 / 3) / 2, 1 / 4])


def with_probabilities():
    """Six images in two folds: what one setting gave the class dog, and the other nothing in fold 1."""
    given = np.array([0.1, 0.6, 0.7, 0.2, 0.9, 0.4], np.float32)
    half = np.where([True] * 3 + [False] * 3, given, np.nan)
    return pd.DataFrame(
        {
            "sample_id": list("abcdef"),
            "group": ["P1", "P1", "", "", "P2", ""],
            "fold": [0, 0, 0, 1, 1, 1],
            "label": ["cat", "cat", "dog", "cat", "dog", "dog"],
            "setting_0": ["cat", "dog", "dog", "cat", "dog", "cat"],
            "setting_0_prob_cat": 1 - given,
            "setting_0_prob_dog": given,
            "setting_1": ["cat", "dog", "dog", "", "", ""],
            "setting_1_prob_cat": 1 - half,
            "setting_1_prob_dog": half,
        }
    )


LOSSES = -np.log([0.9, 0.4, 0.7, 0.8, 0.9, 0.4])  # of what each image's class was given
WORST = -np.log(1e-7)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", [2 / 3, 2 / 3, 2 / 3, 0]),
        ("balanced_accuracy", [(1 / 2 + 1) / 2, (1 + 1 / 2) / 2, (1 / 2 + 1) / 2, 0]),
        ("macro_f1", [2 / 3, 2 / 3, 2 / 3, 0]),  # 2 of one class's 3 images and claims, of the other's too
        ("roc_auc", [1, 1, 1, 0]),
        ("log_loss", [LOSSES[:3].mean(), LOSSES[3:].mean(), LOSSES[:3].mean(), WORST]),
        (
            "balanced_log_loss",
            [
                (LOSSES[:2].mean() + LOSSES[2]) / 2,
                (LOSSES[3] + LOSSES[4:].mean()) / 2,
                (LOSSES[:2].mean() + LOSSES[2]) / 2,
                WORST,
            ],
        ),
    ],
)
def test_every_metric_by_hand_and_no_answer_is_a_sure_wrong_one(metric, expected, tmp_path):
    table = fold_results(with_probabilities(), SETTINGS, metric)
    assert list(table.columns) == ["epochs", "fold", "n", metric, f"{metric}_low", f"{metric}_high", "groups"]
    assert table[metric].tolist() == pytest.approx(expected, rel=1e-6)
    assert ranking_table(table, ["epochs"], metric)["epochs"].tolist() == [3, 5]
    with_probabilities().to_csv(tmp_path / "out_of_fold.csv", index=False)
    for options in ({}, {"keep_default_na": False}):
        read = pd.read_csv(tmp_path / "out_of_fold.csv", **options)
        pd.testing.assert_frame_equal(fold_results(read, SETTINGS, metric), table)


def test_a_fold_without_a_class_leaves_a_mean_over_the_classes_undefined():
    table = with_probabilities().assign(fold=[0, 0, 0, 0, 1, 1])
    assert fold_results(table, SETTINGS[:1], "balanced_accuracy")["balanced_accuracy"].isna().tolist() == [False, True]
    assert fold_results(table, SETTINGS[:1], "log_loss")["log_loss"].notna().all()


def test_a_metric_of_probabilities_is_refused_where_none_were_kept():
    with pytest.raises(InputError, match="there is no column setting_0_prob_cat; run the search again"):
        fold_results(out_of_fold(), SETTINGS, "roc_auc")
