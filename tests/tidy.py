"""Scores as the tables take them."""

from __future__ import annotations

import numpy as np
import pandas as pd

COLUMNS = ["protocol", "method", "backbone", "part", "seed", "metric", "value", "low", "high"]


def tidy(cell, part, protocol="corrected", **metrics):
    """{metric: [(seed, value), ...]} of a cell as scores; `<metric>_low` and `<metric>_high` are the ends of its
    interval."""
    ends = {(name, seed): value for name, of in metrics.items() for seed, value in of}
    end = lambda name, seed, which: ends.get((f"{name}_{which}", seed), np.nan)  # noqa: E731
    rows = [
        (protocol, *cell, part, seed, name, value, end(name, seed, "low"), end(name, seed, "high"))
        for name, of in metrics.items()
        for seed, value in of
        if not (name.endswith(("_low", "_high")) and name.rpartition("_")[0] in metrics)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
