"""Features of frozen layers, computed once and kept on disk for every phase, seed, fold and head that needs them.

A table holds what one trunk makes of images, a row per distinct image. Its key is the trunk's identity (graph,
precision and weights), the rows' dtype, and what else decides the bits: decoder, processor, number of threads, switches
of the platform, versions. Batches have one size, so an image's row does not depend on how many images it is computed
with.

The store is a cache: where it is damaged or cannot be written that costs time, never a result and never the run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.data.digests import pixel_digests
from tlkeras.errors import InputError, MissingInputError, UnwritableError
from tlkeras.machine import n_cores, parse_size, processor
from tlkeras.progress import bar, say
from tlkeras.training.feature_table import FORMAT, DamagedTable, FeatureTable
from tlkeras.training.table_folder import TableFolder

if TYPE_CHECKING:
    import keras

    from tlkeras.training.recipe import Recipe

FOLDER_VARIABLE, LIMIT_VARIABLE = "TLKERAS_STORE", "TLKERAS_STORE_LIMIT"
DEFAULT_LIMIT = "20GB"
BATCH = 64  # images per forward pass; on 2 cores MobileNetV2 is no faster with 16, 32 or 128
_SWITCHES = ("TF_ENABLE_ONEDNN_OPTS", "TF_SET_ONEDNN_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE", "NVIDIA_TF32_OVERRIDE")


@dataclass(frozen=True, eq=False)
class Features:
    """What a trunk makes of n images: row `rows[i]` of `table` belongs to image i.

    Attributes:
        table: float32 or float16 (r, ...), mapped from the disk.
        rows: int64 (n,).
    """

    table: np.ndarray
    rows: np.ndarray


class FeatureStore(TableFolder):
    """A folder of feature tables, bounded in size; any number of processes may share it.

    Args:
        folder: None takes the one that the variable TLKERAS_STORE names, else `tlkeras` in the user's cache.
        limit: bytes, or a size such as "20GB"; None takes the variable TLKERAS_STORE_LIMIT, else 20 GB. Tables not used
            for longest go first.

    Raises:
        InputError: a size that is not accepted.
        MissingInputError: no folder is named, and the user has none: there is no HOME.
    """

    def __init__(self, folder: str | os.PathLike | None = None, *, limit: str | int | None = None):
        given = os.environ.get(LIMIT_VARIABLE) or DEFAULT_LIMIT if limit is None else limit
        folder = Path(folder or os.environ.get(FOLDER_VARIABLE) or _user_cache() / "tlkeras")
        super().__init__(_expanded(folder), parse_size("store limit", given))
        self._running: tuple[object, keras.Model] | None = None  # the network that ran last, and what it stands for

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_running": None}  # a copy makes its own, and need not carry the network

    def has_room(self, trunks: Sequence[keras.Model], n_images: int, dtype: str = "float32") -> bool:
        """Whether the rows of so many images fit below the limit and on the disk, other tables given up."""
        needed = n_images * sum(_row_bytes(trunk, dtype) for trunk in trunks)
        return self.can_hold(needed)

    def features(
        self,
        trunks: Sequence[keras.Model],
        sources: list[bytes],
        pixels: Callable[[np.ndarray], Iterable[np.ndarray]],
        *,
        dtype: str = "float32",
    ) -> list[Features]:
        """The features of n images, one Features per trunk; what is not in the store yet is computed and kept.

        Args:
            trunks: models from the same input tensor; they run in one pass over the pixels.
            sources: n digests of where the pixels come from; equal ones stand for equal pixels.
            pixels: called with int64 (m,), positions in 0..n-1, it gives their pixels in that order, in batches of any
                size, uint8 or float32 (b, H, W, 3) in [0, 255].
            dtype: of the rows: "float32" keeps what the trunk gives; "float16" takes half the room and rounds to 11
                bits.

        Raises:
            InputError: features that are not finite, or too large for float16.
            UnwritableError: they cannot be kept, and there is too little memory to hold them.
        """
        places = [self._place(trunk, dtype) for trunk in trunks]
        found = self._lookup(places, sources)
        if found is not None:
            return found
        with contextlib.ExitStack() as locks:
            try:
                # Always in the same order: two processes that want the same two tables cannot wait for each other.
                for folder in sorted({folder for folder, _ in places}):
                    lock = self.lock(folder, lambda: say("another process is computing these features; waiting for it"))
                    locks.enter_context(lock)
                tables = self.with_room(places, sources)
            except (OSError, UnwritableError) as error:
                tables = [FeatureTable(*place, unwritten=error) for place in places]
            self._fill(trunks, tables, sources, pixels)
            return [Features(table.mapped(), table.find(sources)) for table in tables]

    def _place(self, trunk: keras.Model, dtype: str) -> tuple[Path, dict]:
        from tlkeras.backend import keras
        from tlkeras.data.images import DECODER
        from tlkeras.models.identity import identity_of

        decisive = {
            "network": identity_of(trunk),
            "decoder": DECODER,
            "dtype": dtype,
            "format": FORMAT,
            "device": keras.distribution.list_devices("gpu") or processor(),
            "threads": n_cores(),
            "switches": {name: os.environ.get(name) for name in _SWITCHES},
            "versions": {name: version(name) for name in ("keras", "tensorflow")},
        }
        key = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:32]
        card = {
            "model": trunk.name,
            "layer": output_layer(trunk),
            "image_size": list(trunk.input_shape[1:3]),
            "row_shape": list(trunk.output_shape[1:]),
        }
        return self.folder / key, card | decisive

    def _lookup(self, places, sources) -> list[Features] | None:
        """All features, if every table has all of them, as they were written; without a lock, since rows are only ever
        added."""
        found = []
        for place in places:
            try:
                table = FeatureTable(*place)
                rows = table.find(sources)
                if (rows < 0).any() or table.damaged(rows):
                    return None
                found.append(Features(table.mapped(), rows))
                table.touch()
            except (OSError, DamagedTable):  # such as: removed by another process between two of these lines
                return None
        return found

    def _fill(self, trunks, tables, sources, pixels) -> None:
        lacking = np.any([table.find(sources) < 0 for table in tables], axis=0)
        first = {sources[position]: position for position in np.flatnonzero(lacking)[::-1]}
        positions = np.sort(np.fromiter(first.values(), np.int64))
        if not len(positions):
            return
        layers = " and ".join(table.card["layer"] for table in tables)
        kept = len(sources) - int(lacking.sum())
        say(f"frozen layers up to {layers}: {len(positions):,} images to compute, {kept:,} are in the feature store")
        networks = tuple(table.card["network"] for table in tables)
        with bar("frozen layers", len(positions), "image") as steps:
            done = 0
            for batch in _of_one_size(pixels(positions)):
                images = pixel_digests(batch)
                new = {image: row for row, image in enumerate(images) if not all(t.holds(image) for t in tables)}
                outputs = self._run(networks, trunks, batch[list(new.values())]) if new else [np.empty(0)] * len(tables)
                for table, output in zip(tables, outputs, strict=True):
                    rows = dict(zip(new, _checked(output, table), strict=True)) if new else {}
                    table.add([sources[position] for position in positions[done : done + len(batch)]], images, rows)
                done += len(batch)
                steps.update(len(batch))
        for table in tables:
            table.commit()
            if table.unwritten is None:
                table.touch()
        if reasons := dict.fromkeys(str(table.unwritten) for table in tables if table.unwritten is not None):
            say(f"feature store {self.folder} keeps nothing of this ({'; '.join(reasons)})")

    def _run(self, networks: tuple[str, ...], trunks, batch: np.ndarray) -> list[np.ndarray]:
        """What the trunks, known by their identities, make of a batch of at most `BATCH` images."""
        from tlkeras.backend import keras
        from tlkeras.models.constant import fastest_exact
        from tlkeras.training.memory import memory_in_words

        pixels = np.zeros((BATCH, *batch.shape[1:]), np.float32)
        pixels[: len(batch)] = batch
        # The trunks too, for a network follows their weights as they change; the identities, for one with constant
        # weights does not.
        wanted = (networks, tuple(trunks))
        with memory_in_words(
            f"the frozen layers of {BATCH} images of {pixels.shape[1:3]} at a time",
            "Take a smaller image_size; or keep no features (--no-store), and the layers run in batches of batch_size.",
        ):
            if self._running is None or self._running[0] != wanted:
                network = keras.Model(trunks[0].input, [trunk.output for trunk in trunks])
                self._running = (wanted, fastest_exact(network, pixels))
            outputs = keras.tree.flatten(self._running[1].predict_on_batch(pixels))
        # Copied, so that what waits to be written keeps no rows of the padding.
        return outputs if len(batch) == BATCH else [output[: len(batch)].copy() for output in outputs]


def open_store(store: FeatureStore | str | os.PathLike | bool) -> FeatureStore | None:
    """What `Tuner.fit(store=...)` stands for: True for the user's store, False for none, a folder for one there. A user
    who has no folder of their own gets none, which is said."""
    if isinstance(store, FeatureStore):
        return store
    if isinstance(store, bool):
        try:
            return FeatureStore() if store else None
        except MissingInputError as error:
            say(f"{error} Until then frozen layers run in every epoch.")
            return None
    if not isinstance(store, str | os.PathLike):
        raise InputError(f"store: received {store!r}; accepted: True, False, a folder, or a FeatureStore.")
    return FeatureStore(store)


def fit_options_of(
    recipe: Recipe, weights_folder: str | None, store: FeatureStore | str | os.PathLike | bool
) -> dict[str, Any]:
    """Of these arguments those that the recipe's `fit` takes; the store opened, for many fits at once."""
    options: dict[str, Any] = {}
    if "weights_folder" in recipe.fit_options:
        options["weights_folder"] = weights_folder
    if "store" in recipe.fit_options:
        opened = open_store(store)
        options["store"] = False if opened is None else opened
    return options


def output_layer(trunk: keras.Model) -> str:
    """The name of the layer (or operation) a model ends with."""
    return trunk.output._keras_history.operation.name


def _of_one_size(batches: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    """The same images in batches of `BATCH`, the last one smaller."""
    waiting = []
    for batch in batches:
        waiting.append(batch)
        while sum(map(len, waiting)) >= BATCH:
            joined = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            yield joined[:BATCH]
            waiting = [joined[BATCH:]]
    if sum(map(len, waiting)):
        yield np.concatenate(waiting)


def _checked(output: np.ndarray, table: FeatureTable) -> np.ndarray:
    layer, output = table.card["layer"], np.asarray(output, np.float32)
    if not np.isfinite(output).all():
        raise InputError(
            f"features: {layer} gives values that are not finite. In half precision a layer before it overflows: take "
            'precision="bfloat16" or "float32". In float32 the weights are broken.'
        )
    with np.errstate(over="ignore"):
        rows = output.astype(table.dtype, copy=False)
    if not np.isfinite(rows).all():
        raise InputError(
            f"features: {layer} gives {np.abs(output).max():.4g}, beyond the 65504 that float16 can hold. Keep them in "
            'float32: feature_dtype="float32".'
        )
    return rows


def _row_bytes(trunk: keras.Model, dtype: str) -> int:
    return int(np.prod(trunk.output_shape[1:])) * np.dtype(dtype).itemsize


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")


def _expanded(folder: Path) -> Path:
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise MissingInputError(
            f"feature store: there is no home folder for {folder} (HOME is not set). Name a folder (--store or "
            f"{FOLDER_VARIABLE}), or keep no features (--no-store)."
        ) from error
