"""What a fit says while it runs: lines of text, and a bar over the batches of a long epoch."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tqdm import tqdm

from tlkeras.backend import keras


def printer(progress: bool) -> Callable[[str], None]:
    """Prints a line at once, or nothing."""
    return (lambda text: print(text, flush=True)) if progress else (lambda text: None)


class BatchBar(keras.callbacks.Callback):
    """A bar over the batches of an epoch that takes longer than two seconds, on a terminal."""

    def __init__(self, title: str):
        super().__init__()
        self._title = title

    def on_train_begin(self, logs: dict | None = None) -> None:  # noqa: D102 (Keras' own)
        self._bar = tqdm(
            total=self.params.get("steps"), desc=self._title, leave=False, delay=2, disable=not sys.stderr.isatty()
        )

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:  # noqa: D102
        self._bar.update()

    def on_train_end(self, logs: dict | None = None) -> None:  # noqa: D102
        self._bar.close()
