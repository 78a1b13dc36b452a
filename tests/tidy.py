"""Tidy scores by hand, as scores.csv holds them."""

import pandas as pd

COLUMNS = ["protocol", "method", "backbone", "part", "seed", "metric", "value"]


def tidy(cell, part, **metrics):
    """Scores of one cell, (method, backbone), in one part: metric=[(seed, value), ...]."""
    return pd.DataFrame(
        [
            ("corrected", *cell, part, seed, metric, value)
            for metric, values in metrics.items()
            for seed, value in values
        ],
        columns=COLUMNS,
    )
