"""Some classes of a set, and no more than so many images of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tlkeras.checks import Constraint, check_fields, flag, or_none, whole
from tlkeras.data.names import few
from tlkeras.errors import InputError
from tlkeras.schema import Samples
from tlkeras.seeds import generator


@dataclass(frozen=True)
class Selection:
    """Keeps some classes and draws some images of each, as studies do that use part of a large set.

    Attributes:
        class_names: the classes to keep, two or more, in the order of their new labels; None keeps all as they are.
        per_class: the most images of one class, drawn image by image over all parts and groups; a class with fewer is
            taken whole. None takes every class whole.
        pool_parts: forget the set's own parts, so that a split draws new ones from all images.
        seed: the same seed and samples give the same images of a class whatever the other classes, and those for a
            smaller `per_class` are among those for a larger one.

    Raises:
        InputError: for a class named twice, fewer than two classes, or `per_class` that is no whole number above 0.
    """

    class_names: tuple[str, ...] | None = None
    per_class: int | None = None
    pool_parts: bool = False
    seed: int = 0

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "per_class": or_none(whole(1)).also(" for all"),
        "pool_parts": flag(),
        "seed": whole(),
    }

    def __post_init__(self):
        if self.class_names is not None:
            names = self.class_names if isinstance(self.class_names, tuple | list) else ()
            if len(names) < 2 or len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
                raise InputError(
                    f"class_names: received {self.class_names!r}; accepted are the names of two or more classes, each "
                    "once, e.g. ('MUS', 'NORM', 'STR'), or None for all."
                )
            object.__setattr__(self, "class_names", tuple(names))  # the dataclass is frozen
        check_fields(self, self._accepts)

    def __call__(self, samples: Samples) -> Samples:
        """The samples that are kept, in their order, with their ids, groups and metadata.

        Args:
            samples: labelled samples.

        Raises:
            InputError: without labels, for a class that the samples do not have or have no image of, or where fewer
                than two classes have images.
        """
        if samples.labels is None:
            raise InputError("these samples have no labels, and a selection is made by class. Give the labels.")
        counts = samples.class_counts()
        names = samples.class_names if self.class_names is None else self.class_names
        wanting = [] if self.class_names is None else [name for name in names if not counts.get(name)]
        if wanting:
            known = ", ".join(f"{name} ({count:,})" for name, count in counts.items())
            raise InputError(f"class_names: no images of {few(wanting)}; the samples have {known}. Name some of these.")
        if sum(counts[name] > 0 for name in names) < 2:
            raise InputError(
                f"the samples have images of fewer than two classes ({counts}); a classifier needs two or more."
            )
        rows, labels = [], []
        for label, name in enumerate(names):
            drawn = self._draw(np.flatnonzero(samples.labels == samples.class_names.index(name)), name)
            rows.append(drawn)
            labels.append(np.full(len(drawn), label))
        rows, labels = np.concatenate(rows), np.concatenate(labels)
        order = rows.argsort()
        kept = replace(samples.take(rows[order]), labels=labels[order], class_names=tuple(names))
        return replace(kept, parts=None) if self.pool_parts else kept

    def _draw(self, rows: np.ndarray, class_name: str) -> np.ndarray:
        if self.per_class is None:
            return rows
        return generator(self.seed, "selection", class_name).permutation(rows)[: self.per_class]
