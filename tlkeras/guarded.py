"""A script's work from the terminal's side: what the user or the machine can mend, and Ctrl-C, as one message and an
exit code."""

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
from tlkeras.terminal import guarded_terminal


def run_guarded(work: Callable[[], None], *, interrupted: str = "nothing is kept") -> None:
    """Calls `work`, turns the errors that can be mended into one message, and leaves with the right exit code.

    What `work` prints can fail (a full disk behind `>`, a reader that has left), and never ends it: the results that it
    writes are there. A reader that has left is no error; any other failure is told, and the code is 1.
    """
    # TensorFlow reads this when it is first imported: its start-up notices would bury ours.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # It warns of retracing whenever one process trains several models, as every experiment does.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Python gives up its own handling first when it ends: a late Ctrl-C would then end finished work without a word.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    code, stopped = 0, None
    with guarded_terminal() as (output, errors):
        try:
            with _interrupts_delivered():
                work()
        except InputError as error:
            code = _exit_message(2, f"error: {error}")
        except KeyboardInterrupt:
            code = _exit_message(130, f"\nstopped; {interrupted}")
        except SystemExit as error:
            stopped = error
        except OSError as error:
            code = _exit_message(2, f"error: {_os_words(error)}; {interrupted}")
        output.flush()
        if output.failure is not None and not isinstance(output.failure, BrokenPipeError):
            lost = f"error: what was to be printed could not be written ({output.failure}); every file is there"
            code = code or _exit_message(1, lost)
        errors.flush()
    if stopped is not None and (stopped.code or not code):
        raise stopped
    if code:
        sys.exit(code)


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


def _os_words(error: OSError) -> str:
    """What the operating system refused, of which file, and what to do."""
    said = error.strerror or str(error) or type(error).__name__
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes | os.PathLike) else ""
    if "temporary directory" in said:
        return f"{said}. Name a folder that this user may write to in TMPDIR"
    return f"{where}{said}. Mend that, or name another folder, and start again"


def _exit_message(code: int, message: str) -> int:
    print(message, file=sys.stderr)
    return code
