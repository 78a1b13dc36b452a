"""The subgroups of the images by which a page tells whom a classifier fails, kept in the run folder."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.errors import InputError
from tlkeras.files import atomic_write, read_csv

if TYPE_CHECKING:
    import pandas as pd

    from tlkeras.replication.run_folder import RunFolder
    from tlkeras.schema import Predictions, Samples

FILE = "subgroups.csv.gz"  # sample_id and the columns, of all images; compressed, for it says much the same in each row


def write_columns(folder: RunFolder, samples: Samples, columns: Mapping[str, Sequence[float]]) -> Path | None:
    """Keeps which subgroups every image is of, in place of the values: a band of ages, not an age.

    Args:
        folder: the protocol's run folder.
        samples: all images.
        columns: see `Experiment.subgroups`; nothing is kept where there are none.

    Raises:
        InputError: the metadata has no such column, or a band does not fit it.
    """
    if not columns:
        return None
    import pandas as pd

    from tlkeras.evaluation.subgroups import memberships

    edges = {column: given for column, given in columns.items() if len(given)}
    named = memberships(samples.metadata, list(columns), edges)
    told = {column: names.astype(str) for column, names in named.items()}
    table = pd.DataFrame({"sample_id": samples.sample_ids} | told)
    text = table.to_csv(index=False, lineterminator="\n")
    with atomic_write(folder.root / FILE) as temporary:
        temporary.write_bytes(gzip.compress(text.encode("utf-8", "surrogateescape"), mtime=0))
    return folder.root / FILE


def read_columns(folder: RunFolder) -> pd.DataFrame | None:
    """What `write_columns` kept: text, index sample_id; None where it kept nothing.

    Raises:
        InputError: the file is not what was written.
    """
    file = folder.root / FILE
    if not file.is_file():
        return None
    try:
        contents = gzip.decompress(file.read_bytes())
        return read_csv(io.BytesIO(contents), dtype=str, keep_default_na=False).set_index("sample_id")
    except (OSError, EOFError, ValueError, KeyError, zlib.error) as error:
        raise InputError(f"{file} is damaged ({error}). Run the experiment again, which writes it anew.") from error


def with_columns(predictions: Predictions, columns: pd.DataFrame) -> Predictions:
    """The predictions, whose samples have these columns as their metadata.

    Raises:
        InputError: an image without a row.
    """
    samples = predictions.samples
    absent = [name for name in samples.sample_ids if name not in columns.index]
    if absent:
        raise InputError(f"{FILE}: it lacks {len(absent)} images, e.g. {absent[0]!r}. Run the experiment again.")
    metadata = columns.loc[list(samples.sample_ids)].reset_index(drop=True)
    return replace(predictions, samples=replace(samples, metadata=metadata))
