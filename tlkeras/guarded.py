"""A script's work from the terminal's side: what the user can mend, and Ctrl-C, as one message and an exit code."""

from __future__ import annotations

import _thread
import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from tlkeras.schema import InputError


def run_guarded(work: Callable[[], None], *, interrupted: str = "nothing is kept") -> None:
    """Calls `work`, turns the errors a user can mend into one message, and leaves with the right exit code."""
    # TensorFlow reads this when it is first imported: its start-up notices would bury ours.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # It warns of retracing whenever one process trains several models, as every experiment does.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Python gives up its own handling first when it ends: a late Ctrl-C would then end finished work without a word.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    try:
        with _interrupts_delivered():
            work()
    except InputError as error:
        sys.exit(_exit_message(2, f"error: {error}"))
    except KeyboardInterrupt:
        sys.exit(_exit_message(130, f"\nstopped; {interrupted}"))


@contextlib.contextmanager
def _interrupts_delivered() -> Iterator[None]:
    """Delivers a Ctrl-C again that fell into a callback (of a weak reference, a finaliser), where Python drops it."""
    before = sys.unraisablehook

    def hook(unraisable):
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            # Later: from inside the callback it would be dropped again. As a signal: it ends a wait, too.
            threading.Timer(0.05, _interrupt_main).start()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt_main() -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    else:  # Windows; no wait of the system's ends by it
        _thread.interrupt_main()


def _exit_message(code: int, message: str) -> int:
    print(message, file=sys.stderr)
    return code
