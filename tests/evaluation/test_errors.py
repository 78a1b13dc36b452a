from __future__ import annotations

import numpy as np
import pytest

from tlkeras.errors import InputError
from tlkeras.evaluation.errors import confused_pairs, largest_losses
from tlkeras.evaluation.metrics import score
from tlkeras.schema import Predictions, Samples


def predictions_of(labels, predicted, sure=0.8):
    probs = np.full((len(labels), 3), (1 - sure) / 2, dtype=np.float32)
    probs[np.arange(len(labels)), predicted] = sure
    return Predictions(
        Samples(tuple(f"{i}.png" for i in range(len(labels))), np.array(labels, dtype=int), ("a", "b", "c")), probs
    )


def test_the_commonest_confusions_first_and_their_share_of_the_actual_class():
    predictions = predictions_of([0, 0, 0, 0, 1, 1, 2, 2, 2, 2], [0, 1, 2, 2, 0, 1, 0, 0, 0, 2])
    table = confused_pairs(predictions)
    assert table.to_numpy().tolist() == [
        ["c", "a", 3, 0.75],
        ["a", "c", 2, 0.5],
        ["a", "b", 1, 0.25],
        ["b", "a", 1, 0.5],
    ]
    assert list(table.columns) == ["actual", "predicted", "images", "share"]
    assert confused_pairs(predictions, 2).equals(table[:2])
    assert len(confused_pairs(predictions_of([0, 1], [0, 1]))) == 0


def test_the_images_whose_class_got_the_least_probability_first():
    probs = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [1, 0, 0], [1, 0, 1e-9], [0.2, 0.5, 0.3]], np.float32)
    samples = Samples(tuple(f"{i}.png" for i in range(5)), np.array([0, 1, 1, 2, 1]), ("a", "b", "c"))
    table = largest_losses(Predictions(samples, probs), 4)
    assert table["row"].tolist() == [2, 3, 1, 4]
    assert table["sample_id"].tolist() == ["2.png", "3.png", "1.png", "4.png"]
    assert table["label"].tolist() == ["b", "c", "b", "b"]
    assert table["predicted"].tolist() == ["a", "a", "c", "b"]
    assert table["probability"].tolist() == pytest.approx([0, 1e-9, 0.2, 0.5])
    assert table["loss"].tolist() == pytest.approx(-np.log([1e-7, 1e-7, 0.2, 0.5]))
    every = largest_losses(Predictions(samples, probs), 99)
    assert every["loss"].mean() == pytest.approx(score(Predictions(samples, probs))["log_loss"])


@pytest.mark.parametrize("table_of", [confused_pairs, largest_losses])
def test_bad_input_is_refused_in_words(table_of):
    with pytest.raises(InputError, match="n: received 0"):
        table_of(predictions_of([0], [0]), 0)
    with pytest.raises(InputError, match="at least one sample"):
        table_of(predictions_of([], []))
