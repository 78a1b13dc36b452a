from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tidy import tidy

from tlkeras.evaluation.tables import accuracy_table
from tlkeras.evaluation.two_way_tables import grid_bars_table, grid_table

GRID = {"tree_raw": ("tree", "raw"), "tree_scaled": ("tree", "scaled"), "forest_raw": ("forest", "raw")}


def test_the_bars_of_a_two_way_table_stand_as_its_cells_do():
    scores = pd.concat(
        [
            tidy(
                ("tree_raw", "pixels"), "test", accuracy=[(0, 0.5)], accuracy_low=[(0, 0.4)], accuracy_high=[(0, 0.6)]
            ),
            tidy(("forest_raw", "pixels"), "test", accuracy=[(0, 0.7), (1, 0.8)]),
        ]
    )
    reported = {(("tree_scaled", "pixels"), "test", "accuracy"): 57.0}
    one_row = accuracy_table(scores, reported, protocol="corrected", methods=list(GRID), backbones=["pixels"])
    bars = grid_bars_table(one_row, GRID)
    assert list(bars.index) == ["tree", "forest"]
    assert bars.columns.unique("method").tolist() == ["raw", "scaled"]
    assert bars.loc["tree", "raw"].dropna().to_dict() == pytest.approx({"ours": 50, "low": 40, "high": 60})
    assert bars.loc["tree", "scaled"].dropna().to_dict() == {"published": 57}
    assert bars.loc["forest", "raw"].dropna().to_dict() == pytest.approx({"ours": 75, "sd": np.sqrt(50)})
    assert bars.loc["forest", "scaled"].isna().all()
    # The same places, in words.
    assert grid_table(scores, GRID, backbone="pixels").to_dict("index") == {
        "tree": {"raw": "50.0 [40.0, 60.0]", "scaled": "not run"},
        "forest": {"raw": "75.0 ± 7.1", "scaled": "not run"},
    }
