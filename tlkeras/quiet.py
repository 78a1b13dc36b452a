"""Keeps TensorFlow's and the converters' notices off the terminal, where they would bury ours."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

from tlkeras.schema import InputError


@contextlib.contextmanager
def quiet_terminal() -> Iterator[None]:
    """Keeps what converters and runtimes say off the terminal; where they fail unexpectedly, it comes out after all.

    They write from C++, where only the file descriptor can be turned aside, and warn of things that are not ours.
    """
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx")]
    levels = [logger.level for logger in loggers]
    _flush()
    try:
        terminal = os.dup(2)
    except OSError:  # it was closed, so there is nothing to keep quiet
        yield
        return
    with tempfile.TemporaryFile() as said, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        os.dup2(said.fileno(), 2)
        try:
            yield
        except (InputError, KeyboardInterrupt):
            raise
        except BaseException:
            _flush()
            said.seek(0)
            os.write(terminal, said.read())
            raise
        finally:
            _flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def start_keras() -> None:
    """Loads Keras and finds its devices, without the notices that TensorFlow has for that."""
    with quiet_terminal():
        from tlkeras.backend import keras

        keras.distribution.list_devices()
