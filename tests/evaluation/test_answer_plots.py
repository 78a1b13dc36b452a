from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tlkeras.evaluation.answer_plots import (
    draw_decision_curves,
    draw_learning_curve,
    draw_risk_coverage,
    draw_subgroups,
)
from tlkeras.evaluation.decisions import decision_curve, risk_coverage
from tlkeras.evaluation.plots import new_figure, new_grid
from tlkeras.schema import Predictions, Samples


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    sick = np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0.001, 0.999).astype(np.float32)
    samples = Samples(tuple(f"{i}.png" for i in range(200)), labels, ("well", "sick"))
    return Predictions(samples, np.stack([1 - sick, sick], axis=1))


def lines_of(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def test_net_benefit_is_drawn_beside_acting_on_all_and_on_nobody(predictions):
    table = decision_curve(predictions, "sick")
    ax = draw_decision_curves({"a": table, "b": table - 0.1}, new_figure(4, 4)[1])
    lines = lines_of(ax)
    np.testing.assert_allclose(lines["a"].get_ydata(), table["net_benefit"])
    np.testing.assert_allclose(lines["act on all"].get_ydata(), table["everyone"])
    assert set(lines) == {"a", "b", "act on all", "act on nobody"}
    assert ax.get_ylim()[0] > -0.2  # acting on all falls without end


def test_risk_is_drawn_over_what_is_answered_in_per_cent(predictions):
    table = risk_coverage(predictions)
    ax = draw_risk_coverage({"a": table}, new_figure(4, 4)[1])
    np.testing.assert_allclose(lines_of(ax)["a"].get_xdata(), 100 * table["answered"])
    np.testing.assert_allclose(lines_of(ax)["a"].get_ydata(), 100 * table["risk"])
    assert ax.get_ylim()[0] == 0


def test_every_subgroup_has_a_row_and_what_is_not_defined_says_so():
    table = pd.DataFrame(
        {
            "column": ["sex"] * 4,
            "subgroup": ["f", "f", "m", "m"],
            "images": [30, 30, 5, 5],
            "groups": [30, 30, 5, 5],
            "metric": ["accuracy", "roc_auc"] * 2,
            "value": [0.8, 0.9, 0.5, np.nan],
            "low": [0.7, 0.8, 0.2, np.nan],
            "high": [0.9, 0.95, 0.8, np.nan],
        }
    )
    axes = new_grid(1, 2)[1][0]
    draw_subgroups(table, axes, overall={"accuracy": 0.75})
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["sex: f (30)", "sex: m (5)"]
    points = [line for line in axes[0].get_lines() if line.get_marker() == "o"]
    assert [point.get_xdata()[0] for point in points] == [80, 50]
    assert [point.get_markerfacecolor() for point in points][1] == "white"
    assert "not defined" in [text.get_text() for text in axes[1].texts]


def test_what_more_would_bring_is_drawn_as_a_guess():
    table = pd.DataFrame({"value": [0.5, 0.6], "low": [0.4, 0.5], "high": [0.6, 0.7]}, index=[10, 20])
    curve = pd.Series([0.5, 0.6], index=[10, 20])
    ax = draw_learning_curve(table, new_figure(4, 4)[1], metric="accuracy", curve=curve, ahead={40: (0.65, 0.6, 0.7)})
    lines = lines_of(ax)
    np.testing.assert_allclose(lines["learnt from so many"].get_ydata(), [50, 60])
    assert lines["40: a guess"].get_ydata()[0] == 65
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10", "20", "40"]
