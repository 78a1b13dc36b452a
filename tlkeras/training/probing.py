"""Runs a LinearProbe: the features of all training images, the solution of each penalty, and how each is judged."""

from __future__ import annotations

import time

import numpy as np

from tlkeras.backend import keras
from tlkeras.data.balance import sample_weights
from tlkeras.evaluation.model_card import kept_in_words
from tlkeras.progress import say
from tlkeras.training.epoch import Job, Trained, build_stage, compile_model, judge_epoch, line_of, predict_watched
from tlkeras.training.features import require_finite, require_memory, run_network
from tlkeras.training.feed import Feed
from tlkeras.training.frozen import Frozen
from tlkeras.training.inner_folds import inner_folds
from tlkeras.training.linear_probe import LinearProbe, log_losses, penalty_by_folds, solutions
from tlkeras.training.state import TrainingState


def run_probe(
    model: keras.Model, frozen: Frozen | None, job: Job, probe: LinearProbe, number: int, state: TrainingState
) -> None:
    """Gives the model the linear layer of the penalty that its monitor finds best, and notes all in the state."""
    stage = build_stage(model, frozen, job, number)
    compile_model(stage.judge, None)
    *_, layer = model.layers
    start = time.perf_counter()
    features, samples = _features(model, frozen, job), job.train.samples
    labels, classes = samples.known_labels, len(samples.class_names)
    counts = np.bincount(labels, minlength=classes)
    adjustment = job.recipe.loss.logit_adjustment
    problem = {
        "n_classes": classes,
        "weights": np.ones(len(labels)) if job.recipe.imbalance is None else sample_weights(labels, classes),
    }
    penalties = probe.penalties
    if job.val is None and len(penalties) > 1:
        folds = inner_folds(samples, job.seed, "the penalties of LinearProbe")
        chosen = penalty_by_folds(features, labels, folds, penalties, **problem)
        penalties = penalties[: penalties.index(chosen) + 1]
    prior = adjustment * np.log(counts / counts.sum())
    for epoch, (penalty, (kernel, bias)) in enumerate(
        zip(penalties, solutions(features, labels, penalties, prior=prior, **problem), strict=True), start=1
    ):
        layer.kernel.assign(kernel)
        layer.bias.assign(bias)
        # As a training's loss: weighed as its images are, with what is added to the logits.
        loss = float(np.mean(log_losses(features, labels, kernel, bias + prior) * problem["weights"]))
        accuracy = float(np.mean(np.argmax(features @ kernel + bias, axis=1) == labels))
        trained = Trained(loss, accuracy, time.perf_counter() - start)
        log = judge_epoch(stage, job, probe, number, epoch, trained)
        state.judge(log, probe, model)
        say(line_of(log, f"penalty {penalty:<7g}"))
        start = time.perf_counter()
    state.take_best(model)
    say(f"kept: {kept_in_words(state.marked_history())}")
    if job.watched is not None and (number, probe.epochs) in job.watched.moments:
        job.watched.probs[number, probe.epochs] = predict_watched(stage, probe.epochs)


def _features(model: keras.Model, frozen: Frozen | None, job: Job) -> np.ndarray:
    """What the head's last layer is shown of each training image, as it is: float32 (n, d)."""
    require_memory(len(job.train.samples), model.layers[-1].input.shape[1], copies=2)  # one of them scaled
    if frozen is not None:
        features = Feed(job.train, kept=job.kept(*frozen.trunks)).features()
    else:
        encoder = keras.Model(model.input, model.layers[-1].input)
        batches = job.train.stream(np.arange(len(job.train.samples)))
        features = np.concatenate([run_network(encoder, batch) for batch in batches])
    require_finite(features, model.name)
    return features
