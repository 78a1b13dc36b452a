"""What making committed cells again changes: every cell of an earlier checkout beside the one of the same name here.

    git worktree add OLD fa4a264
    python experiments/benchmarks/cells_made_again.py OLD --out assets

Cells are compared whose recipe, seed and test images are the same and whose predictions are not: another version of
this package made them, or another machine. Writes cells_made_again.md. Cost: a minute, no training.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.replication.run_folder import RunFolder
from tlkeras.schema import NOT_TESTS

if TYPE_CHECKING:
    import pandas as pd

ASSETS = Path(__file__).parents[2] / "assets"
METRICS = ("accuracy", "roc_auc", "log_loss")
HEAD = """# Cells made again

`first` is the cell of the earlier checkout, `second` the one of this; recipe, seed and test images are the same, which
version and which machine made them stands on their pages. Differences are second minus first, in points of accuracy,
with 95 % intervals over patients or lesions; p by exchanging the two.
"""


def changed_cells(before: RunFolder, now: RunFolder) -> dict[str, pd.DataFrame]:
    """{cell: its paired table on its first test part} of cells that were made again."""
    from tlkeras.replication.scoring import pair_up
    from tlkeras.replication.settings import differing_settings

    found = {}
    for key in set(before.finished()) & set(now.finished()):
        settings = [folder.settings_of(key) for folder in (before, now)]
        old, new = (folder.read_predictions(key) for folder in (before, now))
        part = next(name for name in new if name not in NOT_TESTS)
        if differing_settings(*settings) == ["nothing"] and (old[part].probs != new[part].probs).any():
            seed = {key.seed: old[part]}, {key.seed: new[part]}
            found[str(key)] = pair_up((str(key), seed[0]), (str(key), seed[1]), METRICS)
    return dict(sorted(found.items()))


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("earlier", type=Path, metavar="OLD", help="a checkout of the earlier commit")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="default: %(default)s")
    given = parser.parse_args()

    import numpy as np
    import pandas as pd

    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.evaluation.comparison_tables import format_paired_table
    from tlkeras.evaluation.paired import holm
    from tlkeras.files import write_text

    pages, moved = [], []
    for table in sorted(ASSETS.glob("*/*/table.md")):
        name = table.parent.relative_to(ASSETS)
        if not (given.earlier / "assets" / name).is_dir():
            continue
        cells = changed_cells(RunFolder(given.earlier / "assets" / name), RunFolder(table.parent))
        if cells:
            rows = holm(pd.concat(cells.values(), ignore_index=True))
            moved.append(rows)
            shown = format_paired_table(rows.drop(columns="second_method").assign(mcnemar_p=np.nan))
            pages.append(f"## {name}\n\n{to_markdown(shown.rename_axis(['cell', 'figure']))}")
    rows = pd.concat(moved).set_index("metric")["difference"].abs().groupby("metric").max()
    summary = (
        f"Of {sum(len(of) for of in moved) // len(METRICS)} cells accuracy moves by at most "
        f"{100 * rows['accuracy']:.1f} points, ROC AUC by at most {rows['roc_auc']:.3f}."
    )
    print(write_text(given.out / "cells_made_again.md", "\n".join([HEAD, f"{summary}\n", *pages])))


if __name__ == "__main__":
    main()
