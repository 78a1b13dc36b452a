"""What `--review` wrote, read for the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tlkeras.errors import InputError
from tlkeras.files import read_csv, read_json

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from tlkeras.replication.run_folder import RunFolder


@dataclass(frozen=True)
class Reviewed:
    """The folder of a review.

    Attributes:
        root: the folder.
        about: what its JSON file says: the network, seconds, and of every question what its tables do not hold.
    """

    FOLDER: ClassVar[str] = "review"
    FILE: ClassVar[str] = "review.json"

    root: Path
    about: dict[str, Any]

    @classmethod
    def of(cls, folder: RunFolder) -> Reviewed | None:
        """That of a protocol's run folder; None where nothing was reviewed."""
        root = folder.root / cls.FOLDER
        return cls(root, read_json(root / cls.FILE)) if (root / cls.FILE).is_file() else None

    def found(self, question: str) -> dict[str, Any]:
        """What was found on a question."""
        return self.about["found"][question]

    def table(self, name: str) -> pd.DataFrame:
        """One of its tables.

        Raises:
            InputError: it is not there.
        """
        if not (self.root / name).is_file():
            raise InputError(f"{self.root / name} is not there; give --review again.")
        return read_csv(self.root / name)
