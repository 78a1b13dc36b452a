from __future__ import annotations

import numpy as np
import pandas as pd
from tidy import tidy

from tlkeras.evaluation.score_tables import (
    calibration_table,
    epochs_table,
    format_threshold_table,
    metrics_table,
    threshold_table,
    two_way_table,
)

VGG16, SMALL, TREE = ("frozen", "vgg16"), ("frozen", "mobilenetv2_035"), ("tree", "pixels")
AFTER = {"log_loss_after": [(0, 0.3)], "brier_after": [(0, 0.2)], "ece_after": [(0, 0.05)]}
BEFORE = {"log_loss": [(0, 0.5)], "log_loss_low": [(0, 0.4)], "log_loss_high": [(0, 0.6)], "brier": [(0, 0.25)]}


def test_every_metric_with_its_spread_and_what_is_not_defined():
    seeds = lambda *values: list(enumerate(values))  # noqa: E731
    scores = tidy(
        ("frozen", "vgg16"),
        "test",
        accuracy=seeds(0.90, 0.92),
        accuracy_low=seeds(0.88, 0.90),
        accuracy_high=seeds(0.93, 0.95),
        macro_f1=seeds(0.5, np.nan),
        log_loss=seeds(0.25, 0.25),
    )
    table = metrics_table(scores, metrics=("accuracy", "macro_f1", "log_loss"))
    assert table.to_dict("index") == {
        ("corrected", "frozen", "vgg16"): {
            "seeds": "2",
            "accuracy, %": "91.0 ± 1.4 [89.0, 94.0]",
            "macro F1": "not defined",
            "log loss": "0.250 ± 0.000",
        }
    }


def test_before_and_after_stand_side_by_side_with_the_temperature():
    scores = pd.concat(
        [
            tidy(VGG16, "val", n=[(0, 1230)], temperature=[(0, 1.256)], log_loss=[(0, 9.0)]),
            tidy(VGG16, "test", **BEFORE, ece=[(0, 0.1)], **AFTER, accuracy=[(0, 0.8)]),
        ]
    )
    table = calibration_table(scores, part="test")
    assert table.index.names == ["method", "backbone"]
    assert table.loc[VGG16].to_dict() == {
        "val images": "1,230",
        "temperature": "1.26",
        "log loss before": "0.500 [0.400, 0.600]",
        "log loss after": "0.300",
        "Brier before": "0.250",
        "Brier after": "0.200",
        "ECE before": "0.100",
        "ECE after": "0.050",
    }


def test_a_temperature_that_is_not_defined_leaves_what_is_after_it_undefined():
    scores = pd.concat([tidy(VGG16, "val", temperature=[(0, np.nan)]), tidy(VGG16, "test", **BEFORE)])
    row = calibration_table(scores, part="test").loc[VGG16]
    assert row["temperature"] == row["log loss after"] == row["ECE after"] == "not defined"
    assert row["Brier before"] == "0.250"


def test_cells_without_a_temperature_and_other_parts_are_left_out():
    scores = pd.concat(
        [
            tidy(TREE, "test", **BEFORE),
            tidy(VGG16, "val", temperature=[(0, 1.5)]),
            tidy(VGG16, "test", **BEFORE),
            tidy(SMALL, "val", temperature=[(0, 1.5)]),
            tidy(SMALL, "test2", **BEFORE),
        ]
    )
    assert calibration_table(scores, part="test").index.tolist() == [VGG16]
    assert calibration_table(scores, part="test2").index.tolist() == [SMALL]
    assert calibration_table(tidy(TREE, "test", **BEFORE), part="test") is None


def test_accuracy_stands_at_both_thresholds_beside_the_ranking():
    on_test = {"accuracy": [(0, 0.8)], "accuracy_adjusted": [(0, 0.9)], "balanced_accuracy": [(0, 0.7)]}
    on_test |= {"balanced_accuracy_adjusted": [(0, 0.85)], "roc_auc": [(0, 0.96)]}
    scores = pd.concat(
        [
            tidy(VGG16, "val", threshold=[(0, 0.3)], accuracy=[(0, 0.1)]),
            tidy(VGG16, "test", **on_test),
            tidy(TREE, "test", accuracy=[(0, 0.6)]),
        ]
    )
    table = threshold_table(scores, part="test")
    assert table.index.tolist() == [VGG16]
    assert format_threshold_table(table).to_dict("index") == {
        VGG16: {
            "threshold": "0.300",
            "accuracy, %": "80.0",
            "accuracy, adjusted, %": "90.0",
            "balanced accuracy, %": "70.0",
            "balanced accuracy, adjusted, %": "85.0",
            "ROC AUC": "0.960",
        }
    }
    assert threshold_table(tidy(TREE, "test", accuracy=[(0, 0.6)]), part="test") is None


def test_epochs_until_the_stop_over_seeds():
    stopped, single, trees = ("all", "vgg16"), ("random", "vgg16"), ("tree", "pixels")
    scores = pd.concat(
        [
            tidy(trees, "test", accuracy=[(0, 0.5)]),  # has learnt in no epochs
            tidy(
                stopped,
                "train",
                epochs=[(0, 12), (1, 16)],
                epochs_allowed=[(0, 50), (1, 50)],
                kept_epoch=[(0, 7), (1, 11)],
                accuracy=[(0, 0.9), (1, 0.92)],
            ),
            tidy(stopped, "val", accuracy=[(0, 0.8), (1, 0.8)]),
            tidy(stopped, "test", accuracy=[(0, 0.1), (1, 0.1)]),
            tidy(
                single, "train", epochs=[(0, 50)], epochs_allowed=[(0, 50)], kept_epoch=[(0, 50)], accuracy=[(0, 0.6)]
            ),
        ]
    )
    assert epochs_table(scores).to_dict("index") == {
        stopped: {
            "seeds": "2",
            "epochs until the stop": "14 ± 3",  # the root of 8
            "at most": "50",
            "epoch kept": "9 ± 3",
            "train accuracy, %": "91.0 ± 1.4",
            "val accuracy, %": "80.0 ± 0.0",
        },
        single: {
            "seeds": "1",
            "epochs until the stop": "50",
            "at most": "50",
            "epoch kept": "50",
            "train accuracy, %": "60.0",
            "val accuracy, %": "",
        },
    }


def test_methods_that_are_rows_and_columns_stand_at_their_places():
    scores = pd.concat(
        [
            tidy(
                ("tree_raw", "pixels"), "test", accuracy=[(0, 0.5)], accuracy_low=[(0, 0.4)], accuracy_high=[(0, 0.6)]
            ),
            tidy(("forest_raw", "pixels"), "test", accuracy=[(0, 0.7), (1, 0.8)]),
        ]
    )
    places = {"tree_raw": ("tree", "raw"), "tree_scaled": ("tree", "scaled"), "forest_raw": ("forest", "raw")}
    assert two_way_table(scores, places, backbone="pixels").to_dict("index") == {
        "tree": {"raw": "50.0 [40.0, 60.0]", "scaled": "not run"},
        "forest": {"raw": "75.0 ± 7.1", "scaled": "not run"},
    }
