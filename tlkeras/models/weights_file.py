"""A file of weights: which one it is, and how far to trust it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from tlkeras.errors import InputError
from tlkeras.files import sha256_of
from tlkeras.models.model_file import reading

SAME_VALUES = "equal in values to the published ones"


@dataclass(frozen=True)
class WeightsFile:
    """A file that holds a backbone's weights, and how far to trust it.

    Attributes:
        path: where it lies.
        sha256: of its bytes.
        source: "folder", "cache", "download", "path" or "run".
        published_hash: what is published of its hash, and true of the file: Keras' md5, or how PyTorch's sha256 begins;
            None where nothing is.
        note: what the reader of a result has to know; empty where there is nothing.
        batch_norm_folded: equal to the published network only while BatchNorm is frozen.
    """

    path: Path
    sha256: str
    source: str
    published_hash: str | None = None
    note: str = ""
    batch_norm_folded: bool = False

    @property
    def values_equal(self) -> bool:
        """Whether it is known by its values: the published ones in another container."""
        return self.note.startswith(SAME_VALUES)

    def describe(self) -> dict:
        """What a saved classifier and a run folder keep of it: everything but the folder it lay in."""
        return asdict(self) | {"path": self.path.name}

    def require_unchanged(self) -> None:
        """Refuses a file that is no longer the one that was found.

        Raises:
            InputError: its hash is another, or it cannot be read.
            MissingInputError: it is gone.
        """
        with reading(self.path):
            sha256 = sha256_of(self.path)
        if sha256 != self.sha256:
            raise InputError(
                f"weights: {self.path} is not the file that was found (its sha256 is {sha256}, that one's "
                f"{self.sha256}). Give the path of the file you mean."
            )
