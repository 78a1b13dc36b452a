from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tlkeras.errors import InputError
from tlkeras.evaluation.grid_search import fold_results, format_ranking_table, ranking_table
from tlkeras.evaluation.intervals import intervals
from tlkeras.schema import Predictions, Samples

SETTINGS = [{"epochs": 3}, {"epochs": 5}]
FIELDS = ["learning_rate", "epochs"]


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
    with pytest.raises(InputError, match="setting_2"):
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
    with pytest.raises(InputError, match="setting_0_prob_cat"):
        fold_results(out_of_fold(), SETTINGS, "roc_auc")


def results(accuracies, fields=FIELDS, **columns):
    """{setting: accuracy of each fold} as rows."""
    rows = [
        (*setting, fold, 100, accuracy) for setting, folds in accuracies.items() for fold, accuracy in enumerate(folds)
    ]
    return pd.DataFrame(rows, columns=[*fields, "fold", "n", "accuracy"]).assign(**columns)


def order(table, fields=FIELDS):
    return list(table[list(fields)].itertuples(index=False, name=None))


def test_mean_and_spread_over_folds_the_best_first():
    table = ranking_table(results({(0.1, 3): [0.5, 0.7], (0.01, 3): [0.9, 0.8], (0.1, 5): [0.7, 0.7]}), FIELDS)
    assert order(table) == [(0.01, 3), (0.1, 5), (0.1, 3)]
    assert table["mean"].tolist() == pytest.approx([0.85, 0.7, 0.6])
    assert table["sd"].tolist() == pytest.approx([np.sqrt(0.005), 0, np.sqrt(0.02)])
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["best"].tolist() == [True, False, False]
    assert table["folds"].tolist() == [2, 2, 2]
    assert table[["low", "high"]].isna().all(axis=None)


def test_equals_share_a_rank_fewest_epochs_then_the_lower_rate_first():
    """The three pairs that liang2024 prints at 1.000, and one of them again at another rate."""
    perfect = [1.0, 1.0]
    table = ranking_table(
        results({(0.001, 9): perfect, (0.01, 7): perfect, (0.1, 5): perfect, (0.01, 5): perfect, (0.1, 3): [1, 0.9]}),
        FIELDS,
    )
    assert order(table) == [(0.01, 5), (0.1, 5), (0.01, 7), (0.001, 9), (0.1, 3)]
    assert table["rank"].tolist() == [1, 1, 1, 1, 5]
    assert table["best"].tolist() == [True, False, False, False, False]
    assert format_ranking_table(table).index.tolist() == ["1= (chosen)", "1=", "1=", "1=", "5"]


def test_what_ties_in_epochs_and_rate_too_stays_in_the_order_of_the_grid():
    fields = ["momentum", "learning_rate", "batch_size", "epochs"]
    settings = [(0.9, 0.1, 32, 5), (0.0, 0.1, 64, 5), (0.0, 0.1, 32, 5), (0.9, 0.01, 64, 5), (0.9, 0.1, 32, 3)]
    rows = results({setting: [0.5] for setting in settings}, fields)
    assert order(ranking_table(rows, fields), fields) == [settings[i] for i in (4, 3, 0, 1, 2)]
    assert order(ranking_table(rows[::-1], fields), fields) == [settings[i] for i in (4, 3, 2, 1, 0)]


def test_a_mean_that_differs_by_rounding_is_the_same_one():
    table = ranking_table(results({(0.1, 3): [0.1, 0.2, 0.3], (0.01, 3): [0.3, 0.2, 0.1]}), FIELDS)
    assert table["rank"].tolist() == [1, 1]
    assert order(table)[0] == (0.01, 3)
    rows = results({(0.1, 3): [0.5 + 1e-8], (0.01, 3): [0.5]}).drop(columns="n")
    assert ranking_table(rows, FIELDS)["rank"].tolist() == [1, 2]


def test_as_many_right_answers_are_the_same_mean_where_folds_differ_in_size():
    """Three of 5 images, in folds of 2 and 3; the means of the folds are 0.583 and 0.667."""
    rows = results({(0.1, 3): [1 / 2, 2 / 3], (0.01, 3): [1 / 2, 2 / 3], (0.01, 5): [2 / 2, 1 / 3], (0.1, 7): [1, 1]})
    assert ranking_table(rows.assign(n=[2, 3] * 4), FIELDS)["rank"].tolist() == [1, 2, 2, 2]
    # One image of the 200 that `results` says there are is a step of its own.
    rows = results({(0.1, 3): [0.50, 0.51], (0.01, 3): [0.50, 0.50]})
    assert ranking_table(rows, FIELDS)["rank"].tolist() == [1, 2]


def test_small_steps_do_not_add_up_to_one_rank():
    table = ranking_table(results({(0.1, i): [0.5 - i * 0.8e-9] for i in range(4)}).drop(columns="n"), FIELDS)
    assert table["rank"].tolist() == [1, 1, 3, 3]


def test_intervals_are_the_settings_own():
    rows = results({(0.1, 3): [0.5, 0.7]}, accuracy_low=0.55, accuracy_high=0.65, groups=30)
    assert ranking_table(rows, FIELDS)[["low", "high", "groups"]].to_numpy().tolist() == [[0.55, 0.65, 30]]
    rows.loc[0, "accuracy_low"] = 0.4
    with pytest.raises(InputError, match="accuracy_low differs within a setting"):
        ranking_table(rows, FIELDS)


def test_a_setting_with_a_fold_without_accuracy_comes_last_and_is_never_chosen():
    table = ranking_table(results({(0.1, 3): [1.0, None], (0.01, 3): [0.2, 0.2], (0.1, 5): [None, 1.0]}), FIELDS)
    assert order(table) == [(0.01, 3), (0.1, 3), (0.1, 5)]
    assert table["rank"].tolist() == [1, 2, 2]
    formatted = format_ranking_table(table)
    assert formatted["mean accuracy over folds"].tolist() == ["0.200 ± 0.000", "not defined", "not defined"]
    assert not ranking_table(results({(0.1, 3): [None]}), FIELDS)["best"].any()


def test_formatted_beside_what_was_published():
    rows = results({(0.0001, 3): [0.8, 0.9], (0.01, 3): [0.9, 1.0]}, accuracy_low=0.7, accuracy_high=0.95)
    published = {(0.0001, 3): 0.798, (0.01, 3): 1.0, (0.1, 9): 0.976}
    formatted = format_ranking_table(ranking_table(rows, FIELDS), published)
    assert formatted.columns.tolist() == ["learning rate", "epochs", "mean accuracy over folds", "published"]
    assert formatted.reset_index().to_numpy().tolist() == [
        ["1 (chosen)", "0.01", "3", "0.950 ± 0.071 [0.700, 0.950]", "1.000"],
        ["2", "0.0001", "3", "0.850 ± 0.071 [0.700, 0.950]", "0.798"],
        ["", "0.1", "9", "not run", "0.976"],
    ]
    with pytest.raises(InputError, match=r"printed: received the key 0\.1"):
        format_ranking_table(ranking_table(rows, FIELDS), {0.1: 0.5})


def test_a_setting_may_be_none_or_several_words_and_one_field_is_enough():
    settings = {(None,): [0.5], ("all",): [0.6], (2,): [0.6], (("block1", "block5"),): [0.6]}
    table = ranking_table(results(settings, ["unfreeze"]), ["unfreeze"])
    assert table["mean"].tolist() == [0.6, 0.6, 0.6, 0.5]
    formatted = format_ranking_table(table, {(None,): 0.4})
    assert formatted["unfreeze"].tolist() == ["all", "2", "('block1', 'block5')", "none"]
    assert formatted["published"].tolist() == ["", "", "", "0.400"]


def test_epochs_and_rates_of_a_phase_break_ties_as_bare_ones_do():
    fields = ["head.dropout", "phase_2.learning_rate", "phase_2.epochs"]
    table = ranking_table(results({(0.2, 0.1, 3): [0.5], (0.1, 0.01, 5): [0.5], (0.5, 0.01, 3): [0.5]}, fields), fields)
    assert order(table, fields) == [(0.5, 0.01, 3), (0.2, 0.1, 3), (0.1, 0.01, 5)]
    assert "phase 2 learning rate" in format_ranking_table(table)


@pytest.mark.parametrize(
    ("change", "fields", "words"),
    [
        (lambda rows: rows.drop(columns="fold"), FIELDS, r"results: received 4 rows with the columns"),
        (lambda rows: rows[:0], FIELDS, "results: received 0 rows"),
        (lambda rows: rows, ["learning_rate", "momentum"], "accepted are rows with .*'momentum'"),
        (lambda rows: rows, [], r"fields: received \[\]"),
        (lambda rows: rows, ["fold"], r"fields: received \['fold'\]"),
        (lambda rows: pd.concat([rows, rows[:1]]), FIELDS, "1 folds are there twice"),
        (lambda rows: rows[:-1], FIELDS, "has 1 of 2 folds"),
        (lambda rows: rows.assign(accuracy=90.0), FIELDS, r"accuracy holds 90\.\.90"),
    ],
)
def test_results_that_cannot_be_ranked_are_refused(change, fields, words):
    rows = results({(0.1, 3): [0.5, 0.7], (0.01, 3): [0.9, 0.8]})
    with pytest.raises(InputError, match=words):
        ranking_table(change(rows), fields)


def test_the_least_loss_is_the_best_and_equals_share_its_rank():
    losses = {(0.1, 3): [0.7, 0.9], (0.01, 3): [0.3, 0.3], (0.01, 5): [0.3, 0.3 + 1e-10], (0.1, 5): [0.3, None]}
    rows = results(losses).rename(columns={"accuracy": "log_loss"})
    table = ranking_table(rows, FIELDS, "log_loss")
    assert order(table) == [(0.01, 3), (0.01, 5), (0.1, 3), (0.1, 5)]
    assert table["rank"].tolist() == [1, 1, 3, 4]
    assert table["best"].tolist() == [True, False, False, False]
    assert "mean log loss over folds" in format_ranking_table(table, metric="log_loss")
    with pytest.raises(InputError, match=r"results: log_loss holds -1\.\."):
        ranking_table(rows.assign(log_loss=-1.0), FIELDS, "log_loss")


def test_half_an_image_is_no_step_of_any_figure_but_accuracy():
    """A mean over the classes moves by less where the class is large."""
    rows = results({(0.1, 3): [0.501], (0.01, 3): [0.5]})
    assert ranking_table(rows, FIELDS)["rank"].tolist() == [1, 1]
    balanced = rows.rename(columns={"accuracy": "balanced_accuracy"})
    assert ranking_table(balanced, FIELDS, "balanced_accuracy")["rank"].tolist() == [1, 2]
