"""Faults that several test files put in the way of a run."""

import resource
from contextlib import contextmanager

from tlkeras.training import loop


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the package catches it."""


def killed_before(monkeypatch, phase, epoch):
    """Fits end as that epoch begins (0, 0: never); returns the list of epochs that are run from now on."""
    train, ran = loop.train_epoch, []

    def train_epoch(stage, optimizer, job, of_phase, number, of_epoch):
        if (number, of_epoch) == (phase, epoch):
            raise Killed
        ran.append((number, of_epoch))
        return train(stage, optimizer, job, of_phase, number, of_epoch)

    monkeypatch.setattr(loop, "train_epoch", train_epoch)
    return ran


@contextmanager
def files_of_at_most(size):
    """What a full disk does to a write, done by a limit: no file grows beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
