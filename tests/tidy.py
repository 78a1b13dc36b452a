"""Scores as the tables take them."""

from __future__ import annotations

import numpy as np
import pandas as pd

COLUMNS = ["protocol", "method", "backbone", "part", "seed", "metric", "value", "low", "high"]


def tidy(cell, part, protocol="corrected", **metrics):
    """{metric: [(seed, value), ...]} of a cell as scores; `<metric>_low` and `<metric>_high` are the ends of its
    interval. Where it has several seeds, the interval of their mean has the means of the ends."""
    ends = {(name, seed): value for name, of in metrics.items() for seed, value in of}
    end = lambda name, seed, which: ends.get((f"{name}_{which}", seed), np.nan)  # noqa: E731
    rows = [
        (protocol, *cell, part, seed, name, value, end(name, seed, "low"), end(name, seed, "high"))
        for name, of in metrics.items()
        for seed, value in of
        if not (name.endswith(("_low", "_high")) and name.rpartition("_")[0] in metrics)
    ]
    return with_means(pd.DataFrame(rows, columns=COLUMNS))


def with_means(scores):
    """The columns seeds, seeds_low and seeds_high, the last two the means of low and high over the seeds."""
    of_cells = scores.groupby([name for name in COLUMNS[:6] if name != "seed"])
    ends = {f"seeds_{end}": of_cells[end].transform("mean") for end in ("low", "high")}
    return scores.assign(seeds=of_cells["seed"].transform("nunique"), **ends)
