"""Folds inside the training images, for what has to be chosen or fitted to images that were not learnt from."""

from __future__ import annotations

import numpy as np

from tlkeras.data.splits import held_out_in, joined_groups
from tlkeras.errors import InputError
from tlkeras.progress import say
from tlkeras.schema import Samples

FOLDS = 5


def inner_folds(train: Samples, seed: int, purpose: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows learnt from, rows held out) of each fold: whole groups, and every class in what is learnt from.

    Args:
        train: labelled samples.
        seed: the same one gives the same folds.
        purpose: what needs them, as messages say it.

    Raises:
        InputError: there are too few groups for two such folds.
    """
    groups, classes = joined_groups(train), range(len(train.class_names))
    labels = train.known_labels
    n_groups = {name: len(set(groups[labels == label])) for label, name in enumerate(train.class_names)}
    for n_folds in range(min(FOLDS, *n_groups.values()), 1, -1):
        fold_of = held_out_in(labels, groups, n_folds, seed)
        folds = [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(n_folds)]
        if all(np.isin(classes, labels[learnt]).all() for learnt, _ in folds):
            if n_folds < FOLDS:
                say(f"{purpose}: there are few groups, so they come from {n_folds} folds")
            return folds
    raise InputError(
        f"train: {purpose} come from images held out, whole groups (patients, lesions, identical images), with every "
        f"class learnt from the others; received {n_groups} groups. Add images of other groups, or take another recipe."
    )
