"""A phase without steps: the head's one linear layer solved on the features of the frozen backbone.

Declarations alone load neither scikit-learn nor TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np

from tlkeras.checks import Constraint, check_fields, one_of, real, several
from tlkeras.given import Given, default
from tlkeras.training.monitor import MONITORS
from tlkeras.training.phase import Phase
from tlkeras.training.recipe import words_of

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

_STEPS = 500  # of L-BFGS for one penalty, which starts from the solution of the last


@dataclass(frozen=True)
class LinearProbe:
    """A phase that solves the head in place of training it: a logistic regression on the features of each image.

    The head has to be one linear layer (`tl.Head(hidden=(), pooling="avg")`). What it solves is convex, so there is no
    rate and no order: what is chosen is the penalty, by the validation images. Each penalty is an epoch of the history.
    Training images are shown once, as they are, whatever the recipe's augmentation; they weigh as `Tuner.imbalance` and
    `Loss.logit_adjustment` say, while label smoothing and the focal loss are left to the phases that follow. (Linear
    probes as in Kornblith et al. 2019, section 3; as a beginning of fine-tuning, Kumar et al. 2022.)

    Args:
        penalties: of the squared weights of features that are scaled to mean 0 and deviation 1, per image:
            1 / (n C) of scikit-learn. Each one starts from the solution of the one before.
        monitor: what chooses among them, as in `tl.Phase`. Without validation images up to five folds of whole groups
            of the training images choose, by log loss; the history then ends with the penalty that is kept.
    """

    penalties: Given[float | Sequence[float], tuple[float, ...]] = default(
        (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3)
    )
    monitor: str | None = None

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "penalties": several(real(above=0), "one or more numbers above 0"),
        "monitor": one_of(*MONITORS, None),
    }

    # What it has in common with a Phase.
    unfreeze: ClassVar[int] = 0
    unfreeze_from: ClassVar[None] = None
    batch_norm: ClassVar[str] = "frozen"
    batch_norm_momentum: ClassVar[None] = None
    image_size: ClassVar[None] = None
    keep: ClassVar[str] = "best"
    patience: ClassVar[None] = None
    chooses: ClassVar[bool] = True
    is_a_beginning: ClassVar[bool] = False

    def __post_init__(self):
        if not isinstance(self.penalties, list | tuple):
            object.__setattr__(self, "penalties", (self.penalties,))
        check_fields(self, self._accepts)

    def with_enough_steps(self, batches: int) -> LinearProbe:
        """The same: there are no steps."""
        return self

    @property
    def epochs(self) -> int:
        """How many penalties are tried."""
        return len(self.penalties)

    def for_smoke(self) -> LinearProbe:
        """The same with one penalty."""
        return LinearProbe(self.penalties[:1], self.monitor)

    def words(self) -> dict[str, str]:
        """{setting: in words}, as pages print them; see `Phase.words`."""
        of_a_phase = Phase(self.epochs, 1, monitor=self.monitor).words()
        return of_a_phase | {
            "epochs per phase": f"{self.epochs} penalties",
            "optimizer": f"logistic regression, penalty of {words_of(self.penalties)}",
            "learning rate": "none",
        }


AnyPhase: TypeAlias = Phase | LinearProbe


def solutions(
    features: np.ndarray,
    labels: np.ndarray,
    penalties: Sequence[float],
    *,
    n_classes: int,
    weights: np.ndarray,
    prior: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each penalty the linear layer that gives the log probabilities: kernel float32 (d, k), bias float32 (k,).

    Args:
        features: float32 (n, d).
        labels: int (n,), each of the k classes at least once.
        penalties: see `LinearProbe`.
        n_classes: k.
        weights: float (n,), of each image, mean 1.
        prior: float (k,), what training would add to the logits and prediction leaves out, or None.
    """
    mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale[scale == 0] = 1
    scaled = features - mean.astype(np.float32)
    scaled /= scale.astype(np.float32)
    model = _regression()
    for penalty in penalties:
        model.set_params(C=1 / (penalty * len(labels)))
        model.fit(scaled, labels, sample_weight=weights)
        kernel, bias = model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)
        if n_classes == 2:  # scikit-learn keeps the log odds of the second
            kernel, bias = kernel * [[-0.5, 0.5]], bias * [-0.5, 0.5]
        kernel = kernel / scale[:, None]
        bias = bias - mean.astype(np.float32) @ kernel - (0 if prior is None else prior)
        yield kernel.astype(np.float32), (bias - bias.mean()).astype(np.float32)


def penalty_by_folds(
    features: np.ndarray,
    labels: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    penalties: Sequence[float],
    *,
    n_classes: int,
    weights: np.ndarray,
) -> float:
    """The penalty whose solutions have the lowest log loss on images that folds hold out.

    Args:
        features: float32 (n, d).
        labels: int (n,).
        folds: (rows learnt from, rows held out) of each.
        penalties: to choose from.
        n_classes: k.
        weights: float (n,), of each image, when it is learnt from and when it is held out.
    """
    losses = np.zeros(len(penalties))
    for learnt, out in folds:
        of_fold = features[learnt], labels[learnt], penalties
        for number, layer in enumerate(solutions(*of_fold, n_classes=n_classes, weights=weights[learnt])):
            losses[number] += np.sum(log_losses(features[out], labels[out], *layer) * weights[out])
    return penalties[int(np.argmin(losses))]


def log_losses(features: np.ndarray, labels: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """-log of the probability of each image's class: float64 (n,)."""
    logits = (features @ kernel + bias).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]


def _regression() -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(warm_start=True, max_iter=_STEPS, tol=1e-4)
