"""Which images a run is of: by names and sizes, as always, and by their contents."""

from __future__ import annotations

from pathlib import Path

from tlkeras.data.digests import contents_digest, listing_digest
from tlkeras.data.image_index import INDEX
from tlkeras.errors import InputError
from tlkeras.replication.run_folder import CONTENTS, RunFolder
from tlkeras.schema import Samples
from tlkeras.training.feature_store import open_store


class KnownData:
    """The images of a run, as they were when it began.

    Args:
        samples: n images.
        store: where digests are remembered beside features; False remembers them in this process alone.
        decode: whether they will be decoded and audited anyway: then every file is read once for all of it.
        verify: read every image again, whatever is remembered of it.

    Attributes:
        settings: what every cell of the run keeps of them.

    Raises:
        MissingInputError: a file is not there.
    """

    def __init__(self, samples: Samples, store: Path | bool, *, decode: bool = False, verify: bool = False):
        folder = open_store(store)
        self._samples, self._file = samples, None if folder is None else folder.folder / "digests.bin"
        if verify:
            INDEX.forget(samples)
        elif self._file is not None:
            INDEX.recall(self._file)
        if decode:
            INDEX.looks(samples, hashed=True)
        self.settings = {"data": listing_digest(samples), CONTENTS: self._contents()}

    def require_unchanged(self) -> None:
        """Refuses images that are others than when the run began: nobody knows which of them a cell saw."""
        if self._contents() != self.settings[CONTENTS]:
            raise InputError(
                "images changed while the cell was made, so nobody knows which of them it saw. Leave the images alone "
                "meanwhile, and start again."
            )

    def _contents(self) -> str:
        digests = INDEX.digests(self._samples)
        if self._file is not None:
            INDEX.keep(self._file, self._samples)
        return contents_digest(self._samples, digests)


def note_on_contents(folder: RunFolder) -> str:
    """In words, that some cells of a run folder are known to be of these images by names and sizes alone; else ""."""
    earlier = [key for key in folder.finished() if CONTENTS not in folder.settings_of(key)]
    if not earlier:
        return ""
    return (
        f"{len(earlier)} finished cells of {folder.root} are of a version that knew its images by names and sizes. "
        "These are the same now; whether the contents are is not known. To be sure of all cells, name another folder "
        "with --out."
    )
