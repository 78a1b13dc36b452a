"""The columns of the data's own table by which a page tells subgroups apart, kept in the run folder."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable
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


def write_columns(folder: RunFolder, samples: Samples, columns: Iterable[str]) -> Path | None:
    """Keeps the named columns of the samples' metadata; nothing where none is named.

    Raises:
        InputError: the metadata has no such column.
    """
    wanted = list(columns)
    if not wanted:
        return None
    known = [] if samples.metadata is None else list(samples.metadata.columns)
    for column in wanted:
        if samples.metadata is None or column not in known:
            there = ", ".join(map(str, known)) or "no columns"
            raise InputError(f"Experiment.subgroups: received {column!r}; the samples' metadata has {there}.")
    assert samples.metadata is not None  # or a column would be missing
    table = samples.metadata[wanted].assign(sample_id=samples.sample_ids)[["sample_id", *wanted]]
    text = table.to_csv(index=False, lineterminator="\n")
    with atomic_write(folder.root / FILE) as temporary:
        temporary.write_bytes(gzip.compress(text.encode("utf-8", "surrogateescape"), mtime=0))
    return folder.root / FILE


def read_columns(folder: RunFolder) -> pd.DataFrame | None:
    """What `write_columns` kept: index sample_id; None where it kept nothing.

    Raises:
        InputError: the file is not what was written.
    """
    file = folder.root / FILE
    if not file.is_file():
        return None
    try:
        contents = gzip.decompress(file.read_bytes())
        return read_csv(io.BytesIO(contents), dtype={"sample_id": str}).set_index("sample_id")
    except (OSError, EOFError, ValueError, KeyError) as error:
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
