"""Which labels to look at again: images whose label is not what a classifier that never saw them would have said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tlkeras.errors import InputError
from tlkeras.evaluation.metrics import check_scorable
from tlkeras.evaluation.paired import in_order_of
from tlkeras.schema import Predictions


def review_labels(predictions: Predictions | Sequence[Predictions]) -> pd.DataFrame:
    """Every image by how likely its label is wrong, the likeliest first.

    What was predicted has to come from classifiers that did not learn from the image, nor from another of its patient:
    `tl.cross_validate(recipe, samples).predictions`. Of several seeds the mean probability counts. The rank is that of
    the probability of the label, the mark that of confident learning (Northcutt, Jiang & Chuang, Journal of Artificial
    Intelligence Research 70, 2021; the package cleanlab): as many images of each class as its estimate of the wrong
    labels takes. Hard images are among them: whether a label is wrong an expert has to see.

    Args:
        predictions: labelled, held out of training; or those of each seed.

    Returns:
        One row per image: columns row (int64, in the samples), sample_id, group, label and suggested (class names),
        probability (of the label, 0..1), of_suggested (of the likeliest class) and marked (bool).

    Raises:
        InputError: what `tl.score` refuses, seeds of other samples, or cleanlab is not installed.
    """
    parts = [predictions] if isinstance(predictions, Predictions) else list(predictions)
    if not parts:
        raise InputError("predictions: received an empty list; accepted are predictions, or those of each seed.")
    for part in parts:
        check_scorable(part)
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise InputError(
            f"cleanlab, which marks labels, cannot be imported ({error}): pip install 'tlkeras[review]'."
        ) from error
    first = parts[0]
    probs = np.mean([in_order_of(first, part).probs.astype(np.float64) for part in parts], axis=0)
    probs /= probs.sum(axis=1, keepdims=True)
    samples, names = first.samples, np.array(first.samples.class_names, dtype=object)
    labels = samples.known_labels
    present = np.unique(labels)
    marked = np.zeros(len(labels), dtype=bool)
    if len(present) > 1:  # cleanlab knows only classes that have images
        of_present = probs[:, present] / probs[:, present].sum(axis=1, keepdims=True)
        marked = find_label_issues(np.searchsorted(present, labels), of_present, n_jobs=1)
    own, suggested = probs[np.arange(len(labels)), labels], probs.argmax(axis=1)
    table = pd.DataFrame(
        {
            "row": np.arange(len(labels)),
            "sample_id": samples.sample_ids,
            "group": "" if samples.groups is None else samples.groups,
            "label": names[labels],
            "suggested": names[suggested],
            "probability": own,
            "of_suggested": probs[np.arange(len(labels)), suggested],
            "marked": marked,
        }
    )
    return table.sort_values("probability", kind="stable", ignore_index=True)
