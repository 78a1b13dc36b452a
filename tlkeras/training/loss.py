"""What training minimises: cross-entropy, and what may be changed in it. Declaring it loads no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tlkeras.checks import Constraint, check_fields, real

if TYPE_CHECKING:
    import keras

# Less counts as this much, so that logarithms and powers, and the slopes of both, stay numbers in float32.
_LEAST = 1e-30


@dataclass(frozen=True)
class Loss:
    """Cross-entropy of the training images; validation is judged by the plain one, whatever trains.

    Args:
        label_smoothing: s puts (1 - s) on an image's class and s / k on each of the k classes (Szegedy et al. 2016,
            section 7), 0..1.
        focal: g weighs each class's part by (1 - p)^g, p its probability, so that images which are right already count
            less (Lin et al. 2017), at least 0.
        logit_adjustment: t adds t log(share of the class in training) to the logits while training, which prediction
            leaves out, so that rare classes are not predicted rarely (Menon et al. 2021, equation 10), at least 0;
            1 is theirs.
    """

    label_smoothing: float = 0
    focal: float = 0
    logit_adjustment: float = 0

    _accepts: ClassVar[Mapping[str, Constraint]] = {
        "label_smoothing": real(least=0, below=1),
        "focal": real(least=0),
        "logit_adjustment": real(least=0),
    }

    def __post_init__(self):
        check_fields(self, self._accepts)

    @property
    def is_plain(self) -> bool:
        """Whether it is cross-entropy and nothing else."""
        return not (self.label_smoothing or self.focal or self.logit_adjustment)

    def function(self, counts: np.ndarray) -> Callable[[Any, Any], keras.KerasTensor]:
        """As Keras takes a loss: (labels (b, k), rows that sum to 1; probabilities (b, k)) to float32 (b,).

        Args:
            counts: int (k,), the training images of each class.
        """
        from tlkeras.backend import keras

        ops = keras.ops
        adjustment = (self.logit_adjustment * np.log(counts / np.sum(counts))).astype(np.float32)

        def loss(labels, probs):
            # Keras' softmax hangs them on its result, for its own cross-entropy.
            logits = getattr(probs, "_keras_logits", None)
            logits = ops.log(ops.maximum(probs, _LEAST)) if logits is None else ops.cast(logits, "float32")
            log_probs = ops.log_softmax(logits + adjustment, axis=-1)
            wanted = labels * (1 - self.label_smoothing) + self.label_smoothing / len(counts)
            if self.focal:
                # 1 - p by expm1, which keeps the digits of a p close to 1; its root has no slope at 0.
                wanted = wanted * ops.power(ops.maximum(-ops.expm1(log_probs), _LEAST), self.focal)
            return -ops.sum(wanted * log_probs, axis=-1)

        return loss
