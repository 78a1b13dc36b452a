from __future__ import annotations

import numpy as np
import pytest

from tlkeras.errors import InputError
from tlkeras.evaluation.curves import precision_recall_table, roc_table
from tlkeras.evaluation.metrics import score
from tlkeras.schema import Predictions, Samples


def two_class(labels, positive):
    probs = np.array([(1 - p, p) for p in positive], dtype=np.float32)
    return Predictions(Samples(tuple(f"{i}.png" for i in range(len(probs))), np.array(labels), ("well", "ill")), probs)


FIVE = two_class([0, 0, 1, 1, 1], [0.2, 0.6, 0.9, 0.7, 0.4])


def test_roc_of_five_images_by_hand():
    table = roc_table(FIVE, "ill")
    assert list(table.columns) == ["threshold", "false_positive_rate", "true_positive_rate"]
    # The corners: nothing; 0.9 and 0.7 are ill; 0.6 is well; 0.4 is ill; 0.2 is well.
    corners = [(0, 0), (0, 1 / 3), (0, 2 / 3), (1 / 2, 2 / 3), (1 / 2, 1), (1, 1)]
    np.testing.assert_allclose(table.iloc[:, 1:], corners)
    np.testing.assert_allclose(table["threshold"], [np.inf, 0.9, 0.7, 0.6, 0.4, 0.2], rtol=1e-6)


def test_precision_and_recall_of_five_images_by_hand():
    table = precision_recall_table(FIVE, "ill")
    np.testing.assert_allclose(table["threshold"], [0.2, 0.4, 0.6, 0.7, 0.9, np.nan], rtol=1e-6)
    np.testing.assert_allclose(table["recall"], [1, 1, 2 / 3, 2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(table["precision"], [3 / 5, 3 / 4, 2 / 3, 1, 1, 1])


def test_the_areas_are_the_figures():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    probs = np.stack([rng.multinomial(10, row) / 10 for row in rng.dirichlet([1, 1, 1], 200)]).astype(np.float32)
    predictions = Predictions(Samples(tuple(map(str, range(200))), labels, ("a", "b", "c")), probs)
    figures = score(predictions)
    for name in "abc":
        roc, pr = roc_table(predictions, name), precision_recall_table(predictions, name)
        assert np.trapezoid(roc["true_positive_rate"], roc["false_positive_rate"]) == pytest.approx(
            figures[f"roc_auc_{name}"]
        )
        steps = -np.diff(pr["recall"]) @ pr["precision"].to_numpy()[:-1]
        assert steps == pytest.approx(figures[f"average_precision_{name}"])


def test_what_has_no_curve_is_refused_in_words():
    with pytest.raises(InputError, match="received 'lung'; accepted: well, ill"):
        roc_table(FIVE, "lung")
    for table_of in (roc_table, precision_recall_table):
        with pytest.raises(InputError, match="no sample is 'ill'"):
            table_of(two_class([0, 0], [0.1, 0.6]), "ill")
    with pytest.raises(InputError, match="every sample is 'ill'"):
        roc_table(two_class([1, 1], [0.1, 0.6]), "ill")
    assert (precision_recall_table(two_class([1, 1], [0.1, 0.6]), "ill")["precision"] == 1).all()
