"""Which images cannot be read, or tell nothing: found by decoding all of them as training does, before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.checks import check_whole
from tlkeras.data.file_contents import unfit_to_read
from tlkeras.data.image_index import INDEX, Look
from tlkeras.data.measures import levels_of_set
from tlkeras.errors import InputError
from tlkeras.schema import Samples

if TYPE_CHECKING:
    import pandas as pd


def check_images(samples: Samples, *, workers: int | None = None) -> pd.DataFrame:
    """Every image that cannot be read, or that tells (almost) nothing, found by decoding all of them as training does.

    Args:
        samples: n images, files or an array.
        workers: threads; None takes one per core.

    Returns:
        Columns row (of `samples`), path (in an array the sample_id), reason, readable; no rows where there is nothing
        to tell. Not readable: missing, a folder, a pipe, no permission, empty file, not an image, truncated, damaged,
        absurd dimensions, transparent everywhere. Readable, and to be looked at: one colour, a handful of levels, a
        sliver of the range; and every image where the set as a whole has less than half of the range, or 16-bit files
        of it were read by different ranges.
    """
    import pandas as pd

    names = samples.sample_ids if isinstance(samples.images, np.ndarray) else samples.images
    workers = None if workers is None else check_whole("workers", workers, 1, also=", or None")
    looks = INDEX.looks(samples, workers=workers)
    of_all = " ".join(levels_of_set([look.levels for look in looks if look.levels]))
    rows = [
        (row, name, look.reason or (look.levels.words() if look.levels else "") or of_all, not look.reason)
        for row, (name, look) in enumerate(zip(names, looks, strict=True))
    ]
    return pd.DataFrame([row for row in rows if row[2]], columns=["row", "path", "reason", "readable"])


def unreadable(samples: Samples) -> pd.DataFrame:
    """Those of `check_images` that cannot be read: columns row, path, reason."""
    found = check_images(samples)
    return found.loc[~found["readable"].astype(bool), ["row", "path", "reason"]].reset_index(drop=True)


def require_readable(samples: Samples, *, hashed: bool = False) -> list[Look]:
    """A look at every sample, see `ImageIndex.looks`; none of them has a reason.

    Raises:
        InputError: names the first 20 files that cannot be read, with their reasons.
    """
    looks = INDEX.looks(samples, hashed=hashed)
    bad = {row: look.reason for row, look in enumerate(looks) if look.reason}
    if bad:
        raise _refusal([samples.images[row] for row in bad], list(bad.values()), len(samples))
    return looks


def require_files(samples: Samples) -> None:
    """Raises InputError for pipes, devices, folders and absurdly large files, on which TensorFlow would wait for ever.

    Only the file system is asked: what is missing, or not an image, shows when it is read.
    """
    if isinstance(samples.images, np.ndarray):
        return
    unfit = {path: reason for path in samples.images if (reason := unfit_to_read(path))}
    if unfit:
        raise _refusal(list(unfit), list(unfit.values()), len(samples))


def _refusal(paths: Sequence[str], reasons: Sequence[str], n: int) -> InputError:
    shown = [f"  {path!r}: {reason}" for path, reason in zip(paths[:20], reasons[:20], strict=True)]
    if len(paths) > len(shown):
        shown.append(f"  and {len(paths) - len(shown)} more")
    return InputError(
        f"{len(paths)} of {n} image files cannot be read:\n"
        + "\n".join(shown)
        + "\nReplace these files, or leave them out: --skip-unreadable in an experiment, in your own code "
        "samples.take of the rows that tl.check_images(samples) does not list as not readable."
    )
