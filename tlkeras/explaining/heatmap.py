"""Grad-CAM: where in one image a layer's features speak for a label (Selvaraju et al., ICCV 2017, arXiv:1610.02391)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.backend import keras, tf
from tlkeras.checks import check_whole
from tlkeras.errors import InputError
from tlkeras.explaining.pixels import predict_probs, uint8_image
from tlkeras.models.layers import find_layer, functional_model, suggestions
from tlkeras.schema import Heatmap

if TYPE_CHECKING:
    from tlkeras.training.tuned_classifier import TunedClassifier

# Last activations whose input is a score: a label's output rises with its own.
ENDS = ("softmax", "sigmoid", "linear")


def grad_cam(
    classifier: TunedClassifier, image: np.ndarray, *, label: int | None = None, layer: str | None = None
) -> Heatmap:
    """The maps of one layer, each weighted by how much the label's score rises with it, summed, negative parts cut off.

    Section 3 of the paper. The weight of a channel is the gradient of the score before softmax, averaged over the
    positions. BatchNorm and Dropout are in inference mode, and the model is left as it is, frozen layers or not. Runs
    on Keras' TensorFlow backend.

    Args:
        classifier: a TunedClassifier whose model ends in softmax, sigmoid or no activation.
        image: (H, W, 3), RGB, 0..255, uint8 or float (rounded to whole grey levels), of the classifier's image size.
        label: the class to explain; None takes the predicted one.
        layer: the name of a layer of `classifier.model` whose output is (B, h, w, channels); None takes the last one
            before the head that has more than one position. An earlier one shows finer detail that means less to the
            class.

    Returns:
        Heatmap.

    Raises:
        InputError: an argument out of range, a layer that is not there or has no positions, a classifier without a
            Keras model, or one that ends otherwise.
    """
    model = functional_model(classifier)
    image = uint8_image(image)
    maps = find_layer(model, layer)
    features, score_of = _before_activation(model)
    probs = predict_probs(classifier, image[None])[0]
    if label is None:
        label = int(probs.argmax())
    else:
        label = check_whole("label", label, 0, len(probs) - 1, also=", or None for the predicted one")

    probe = keras.Model(model.inputs, [maps.output, features], name="grad_cam")
    pixels = tf.constant(image[None], tf.float32)  # (1, H, W, 3)
    with tf.GradientTape() as tape:
        # Frozen variables are not watched, so without this nothing at all would be recorded in a frozen model.
        tape.watch(pixels)
        activations, reached = probe([pixels], training=False)  # (1, h, w, c)
        score = score_of(reached)[0, int(label)]
    gradient = tape.gradient(score, activations)
    if gradient is None:
        raise InputError(f"layer: no gradient leads from the score back to {maps.name}; name a later layer.")
    if activations.shape[1] * activations.shape[2] == 1:
        raise InputError(
            f"layer: {maps.name} puts out 1x1 at this image size, so there are no positions to tell apart. "
            f"{suggestions(model)}"
        )
    channel_weights = tf.reduce_mean(tf.cast(gradient, tf.float32), axis=(0, 1, 2))  # (c,), equation 1
    coarse = tf.nn.relu(tf.cast(activations, tf.float32) @ channel_weights[:, None])  # (1, h, w, 1), equation 2
    heat = tf.image.resize(coarse, image.shape[:2], method="bilinear").numpy()[0, :, :, 0]
    peak = heat.max()
    if not np.isfinite(peak):
        raise InputError(
            f"classifier: the gradient at {maps.name} is not finite, too large for half precision. Name another "
            "layer, or train with precision='float32'."
        )
    return Heatmap(
        image=image,
        heat=heat / peak if peak else heat,
        label=int(label),
        class_name=classifier.class_names[label],
        probability=float(probs[label]),
        layer=maps.name,
    )


def _before_activation(model: keras.Model) -> tuple[keras.KerasTensor, Callable[[tf.Tensor], tf.Tensor]]:
    """A tensor of the model, and what turns its value into the scores float32 (B, k) before the last activation."""
    end: Any = next((layer for layer in model.layers if layer.output is model.outputs[0]), None)
    activation = "softmax" if isinstance(end, keras.layers.Softmax) else getattr(end, "activation", None)
    activation = getattr(activation, "__name__", activation)
    if isinstance(end, keras.layers.Dense) and activation in ENDS:
        kernel, bias = end.kernel, end.bias

        def score_of(features: tf.Tensor) -> tf.Tensor:
            scores = tf.cast(features, tf.float32) @ tf.cast(kernel, tf.float32)
            return scores if bias is None else scores + tf.cast(bias, tf.float32)

        return end.input, score_of
    if isinstance(end, keras.layers.Softmax | keras.layers.Activation) and activation in ENDS:
        return end.input, lambda scores: tf.cast(scores, tf.float32)
    received = "no layer of its own" if end is None else f"{end.name} ({type(end).__name__}, activation {activation})"
    raise InputError(
        f"classifier: its model ends in {received}; accepted is a Dense or Activation layer with one of "
        f"{', '.join(ENDS)}, or a Softmax layer: the score before it is what is explained."
    )
