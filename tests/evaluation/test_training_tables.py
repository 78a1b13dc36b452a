from __future__ import annotations

import pandas as pd
import pytest
from tidy import tidy

from tlkeras.evaluation.training_tables import epochs_table, kept_in_words, results_table
from tlkeras.schema import EpochLog


def test_a_documents_figures_stand_below_ours():
    cell, other = ("frozen", "vgg16"), ("frozen", "vgg19")
    scores = pd.concat(
        [
            tidy(cell, "model", parameters=[(0, 1234)], trainable_parameters=[(0, 34)], seconds=[(0, 9.6)]),
            tidy(cell, "train", accuracy=[(0, 0.5)], loss=[(0, 0.7)]),
            tidy(cell, "val", accuracy=[(0, 0.6)], log_loss=[(0, 0.8)]),
            tidy(cell, "test", accuracy=[(0, 0.61)], log_loss=[(0, 0.81)]),
        ]
    )
    reported = {
        (cell, "test", "accuracy"): 70.41,
        (cell, "test", "log_loss"): 0.9,
        (other, "model", "parameters"): 4_880_967,
    }
    reported |= {(("frozen", "resnet50"), "test", "accuracy"): 79.82}  # `accuracy_table` shows that
    table = results_table(scores, reported, names={cell: "Exp 1"})
    ours, published, not_run = (dict(row[1]) for row in table.iterrows())
    assert table.index.tolist() == [
        ("Exp 1", *cell, "ours"),
        ("Exp 1", *cell, "published"),
        ("", *other, "published; not run"),
    ]
    assert ours == {
        "trainable parameters, phase 1": "34",
        "parameters": "1,234",
        "train accuracy, %": "50.0",
        "train loss": "0.700",
        "val accuracy, %": "60.0",
        "val log loss": "0.800",
        "test accuracy, %": "61.0",
        "test log loss": "0.810",
        "run time, s": "10",
        "peak memory, MB": "",
    }
    assert {title: text for title, text in published.items() if text} == {
        "test accuracy, %": "70.41",
        "test log loss": "0.900",
    }
    assert not_run["parameters"] == "4,880,967"


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


@pytest.mark.parametrize(
    ("epochs", "kept", "said"),
    [
        ((3,), (1, 2), "phase 1, epoch 2 of 3"),
        ((3, 2), (2, 2), "phase 2, epoch 2 of 2"),
        ((3, 2), (1, 3), "phase 1, epoch 3 of 3; no epoch of phase 2 was better"),
        ((3, 1, 1), (1, 1), "phase 1, epoch 1 of 3; no epoch of phases 2 and 3 was better"),
        ((2,), None, ""),
        ((), None, ""),
    ],
)
def test_the_epoch_whose_weights_are_kept_is_said_with_the_phases_that_were_no_better(epochs, kept, said):
    moments = [(phase, epoch) for phase, n in enumerate(epochs, start=1) for epoch in range(1, n + 1)]
    logs = [EpochLog(*moment, 1.0, 0.5, 0.5, None, None, kept=moment == kept) for moment in moments]
    assert kept_in_words(logs) == said
