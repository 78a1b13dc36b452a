"""What a phase is shown: pixels, decoded once, or features of frozen layers, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.backend import keras
from tlkeras.data.augmentation import Augmentation
from tlkeras.data.digests import digest
from tlkeras.data.image_index import INDEX
from tlkeras.data.pipeline import decode_all, decoded_batches, epoch_batches
from tlkeras.data.warp import WARP
from tlkeras.schema import Samples
from tlkeras.training.feature_store import BATCH, Features, FeatureStore


class Part:
    """Training, validation or test samples, read when they are first asked for.

    Args:
        samples: n images.
        image_size: (height, width).
        resize: how they come to it, as in `tl.read_pixels`.
        hold: whether `pixels` will be needed; what is streamed then comes from them, so that nothing is decoded twice.
        scratch: None holds decoded pixels in memory, a folder maps them from a file there.
        sources: the digests of the samples' files or pixels, where they are known.
    """

    def __init__(
        self,
        samples: Samples,
        image_size: tuple[int, int],
        *,
        resize: str = "squash",
        hold: bool = False,
        scratch: Path | None = None,
        sources: list[bytes] | None = None,
    ):
        self.samples, self.image_size, self.resize = samples, image_size, resize
        self._hold, self._scratch, self._sources = hold, scratch, sources

    @cached_property
    def pixels(self) -> np.ndarray:
        """uint8 (n, H, W, 3), RGB."""
        return decode_all(self.samples, self.image_size, resize=self.resize, scratch=self._scratch, digests=self._files)

    @cached_property
    def sources(self) -> list[bytes]:
        """One digest per sample, of what its pixels at a size are made from."""
        if self.resize == "squash":
            return self._files
        return [digest(file, self.resize.encode()) for file in self._files]

    @cached_property
    def _files(self) -> list[bytes]:
        return INDEX.digests(self.samples) if self._sources is None else self._sources

    def stream(self, positions: np.ndarray) -> Iterator[np.ndarray]:
        """The pixels of some samples, in that order, in batches: uint8 (b, H, W, 3)."""
        if not self._hold:
            given = {"resize": self.resize, "rows": positions, "digests": self._files}
            return decoded_batches(self.samples, self.image_size, BATCH, **given)
        return (self.pixels[positions[start : start + BATCH]] for start in range(0, len(positions), BATCH))


@dataclass(frozen=True)
class Augmenting:
    """How images are changed in one phase.

    Attributes:
        augmentation: what may happen to them.
        warp: `build_warp` of it.
        seed: of the run.
        phase: number of the phase.
        mix: `build_mix` of it, None where images are not mixed.
    """

    augmentation: Augmentation
    warp: Callable
    seed: int
    phase: int
    mix: Callable | None = None

    def example_seeds(self, epoch: int, examples: np.ndarray) -> np.ndarray:
        """int32 (m, 2)."""
        return self.augmentation.example_seeds(self.seed, self.phase, epoch, examples)


@dataclass(frozen=True)
class KeptFeatures:
    """Where a phase finds the features it trains or is judged on.

    Attributes:
        store: keeps them.
        trunks: what computes them; the first one's are shown, the others' computed in the same pass for later phases.
        dtype: they are kept in.
    """

    store: FeatureStore
    trunks: Sequence[keras.Model]
    dtype: str = "float32"

    def have_room(self, n_images: int) -> bool:
        """Whether the store can hold the features of so many images."""
        return self.store.has_room(self.trunks, n_images, self.dtype)

    def of(self, sources: list[bytes], pixels: Callable[[np.ndarray], Iterable[np.ndarray]]) -> Features:
        """Of the images whose pixels are made from `sources`; see `FeatureStore.features`."""
        found = self.store.features(self.trunks, sources, pixels, dtype=self.dtype)
        return found[0]


class Feed:
    """What one phase shows of one part, epoch by epoch.

    Args:
        part: the samples.
        kept: where features come from, for the tail of a cut; None shows pixels, for the whole model.
        augmenting: how images are changed, None where they are not. With kept features its views have to be fixed.
        one_hot: labels come as float32 (b, k), not as int (b,).
    """

    def __init__(
        self,
        part: Part,
        *,
        kept: KeptFeatures | None = None,
        augmenting: Augmenting | None = None,
        one_hot: bool = False,
    ):
        self._part, self._kept, self._augmenting, self._one_hot = part, kept, augmenting, one_hot

    def __len__(self) -> int:
        return len(self._part.samples)

    def batches(
        self,
        epoch: int,
        order: np.ndarray,
        *,
        examples: np.ndarray,
        weights: np.ndarray | None = None,
        batch_size: int,
        even_out: bool = False,
    ) -> Iterable[tuple]:
        """One epoch: batches of (inputs, labels), or (inputs, labels, weights).

        Args:
            epoch: its number.
            order: int (m,), the samples.
            examples: int (m,), which draw of the augmentation each of them gets.
            weights: float (n,), one per sample, or None.
            batch_size: of the batches.
            even_out: leave no small batch at the end, see `epoch_batches`.
        """
        targets: dict[str, Any] = {"labels": self._labels, "weights": weights}
        targets |= {"batch_size": batch_size, "even_out": even_out}
        seeds = None if self._augmenting is None else self._augmenting.example_seeds(epoch, examples)
        warp = None if self._augmenting is None else self._augmenting.warp
        if self._kept is None:
            mix = None if self._augmenting is None else self._augmenting.mix
            return epoch_batches(self._part.pixels, order, warp=warp, example_seeds=seeds, mix=mix, **targets)
        if self._augmenting is None:
            features, rows = self._plain.table, self._plain.rows[order]
        else:
            found = self._augmented(order, warp, seeds)
            features, rows = found.table, found.rows
        return epoch_batches(features, order, rows=rows, **targets)

    def features(self) -> np.ndarray:
        """Of every sample, where features are kept and images are not changed: float32 (n, d)."""
        return self._plain.table[self._plain.rows].astype(np.float32, copy=False)

    @cached_property
    def _labels(self) -> np.ndarray | None:
        samples = self._part.samples
        return np.eye(len(samples.class_names), dtype=np.float32)[samples.labels] if self._one_hot else samples.labels

    @cached_property
    def _plain(self) -> Features:
        assert self._kept is not None  # asked for only where features are kept
        return self._kept.of(self._part.sources, self._part.stream)

    def _augmented(self, order, warp, seeds) -> Features:
        assert self._kept is not None  # asked for only where features are kept
        assert self._augmenting is not None  # and images are augmented
        # How many views there are changes none of them.
        kind = f"{WARP} {replace(self._augmenting.augmentation, views=None)!r}".encode()
        sources = [digest(self._part.sources[i], kind, seed.tobytes()) for i, seed in zip(order, seeds, strict=True)]

        def stream(positions: np.ndarray) -> Iterator[np.ndarray]:
            batches = epoch_batches(
                self._part.pixels, order[positions], batch_size=BATCH, warp=warp, example_seeds=seeds[positions]
            )
            return (keras.ops.convert_to_numpy(batch) for batch in batches)

        return self._kept.of(sources, stream)
