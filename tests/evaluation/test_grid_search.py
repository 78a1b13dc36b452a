import numpy as np
import pandas as pd
import pytest

from tlkeras.evaluation.grid_search import fold_results
from tlkeras.evaluation.grid_search_tables import ranking_table
from tlkeras.evaluation.statistics import intervals
from tlkeras.schema import InputError, Predictions, Samples

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
    assert list(table.columns) == ["epochs", "fold", "n", "accuracy", "accuracy_low", "accuracy_high"]
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
    expected = tuple(whole.loc["accuracy", ["low", "high"]])
    table = fold_results(out_of_fold(), SETTINGS)
    of_setting = table[table["epochs"] == SETTINGS[setting]["epochs"]]
    for low, high in of_setting[["accuracy_low", "accuracy_high"]].itertuples(index=False):
        assert (low, high) == expected
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
