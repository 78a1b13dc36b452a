"""What a phase is judged by: Keras' loss or accuracy on the validation images, or a figure of `tl.score` of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tlkeras.evaluation.weighted_scores import weighted_scores
from tlkeras.schema import EpochLog

if TYPE_CHECKING:
    from tlkeras.training.linear_probe import AnyPhase

# Each is a field of EpochLog; these are figures of `tl.score` that count every class alike.
BALANCED = {
    "val_balanced_loss": "balanced_log_loss",
    "val_balanced_accuracy": "balanced_accuracy",
    "val_macro_f1": "macro_f1",
    "val_roc_auc": "roc_auc",
}
MONITORS = ("val_loss", "val_accuracy", *BALANCED)


def default_monitor(*, classes_alike: bool) -> str:
    """What chooses where nothing else is named: what is trained to count every class alike is judged so."""
    return "val_balanced_loss" if classes_alike else "val_loss"


def balanced_figure(monitor: str, labels: np.ndarray, probs: np.ndarray, class_names: tuple[str, ...]) -> float:
    """One of BALANCED, for labels int (n,) and probabilities float (n, k); NaN where a class has no image."""
    metric = BALANCED[monitor]
    return float(weighted_scores(labels, probs, class_names, np.ones(len(labels)), metrics=metric)[metric][0])


def value_of(log: EpochLog, phase: AnyPhase) -> float | None:
    """What a phase's monitor saw in an epoch, lower is better; None without validation samples."""
    if log.val_loss is None or phase.monitor is None:
        return None
    value = getattr(log, phase.monitor)
    return value if phase.monitor.endswith("_loss") else -value
