"""What can go wrong, in words: which file or argument, what was received, what is accepted, what to do."""

from __future__ import annotations

from typing import Any


class InputError(ValueError):
    """What the user gave cannot be used; the message says which file or argument, what was received, what to do."""


class DivergedError(InputError):
    """A training whose loss is no longer a number: the settings do not go together.

    Attributes:
        classifier: the fitted TunedClassifier with the last good weights, or None where there are none.
    """

    def __init__(self, message: str, classifier: Any = None):
        super().__init__(message)
        self.classifier = classifier


class MissingInputError(InputError, FileNotFoundError):
    """A file or folder the user named is not there."""


class UnwritableError(InputError):
    """A file or folder cannot be written: the disk is full, or this user may not; what was there is as it was."""
