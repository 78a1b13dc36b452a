"""What a command says, on streams that may be closed, full, or read by someone who has left: it never ends the work."""

from __future__ import annotations

import _thread
import atexit
import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TextIO

from tlkeras.errors import InputError
from tlkeras.user_text import in_terminal

_BAR = "\r"  # a progress bar goes back to the beginning of its line


class Terminal:
    """A text stream that shows control characters instead of sending them, and what it cannot encode by its number.

    Where nothing can be written any more, what follows is dropped, and `failure` says why. Everything else is the
    stream's own.
    """

    def __init__(self, stream: TextIO, keep: str = ""):
        self.stream, self.failure, self._keep = stream, None, keep

    def write(self, text: str) -> int:
        """Writes what can be written; the length of `text`, whatever became of it."""
        self._attempt(lambda: self._write(in_terminal(text, keep=self._keep)))
        return len(text)

    def flush(self) -> None:
        """Sends what was written."""
        self._attempt(self.stream.flush)

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
        except UnicodeEncodeError as error:
            self.stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))

    def _attempt(self, act: Callable[[], object]) -> None:
        if self.failure is not None:
            return
        try:
            act()
        except (OSError, ValueError) as error:  # a ValueError where it was closed in this process
            self.failure = error
            _lead_nowhere(self.stream)


@contextlib.contextmanager
def guarded_terminal() -> Iterator[tuple[Terminal, Terminal]]:
    """Standard output and standard error as `Terminal`s while the block runs; either may have been closed before."""
    for number in (0, 1, 2):  # where one is closed, the next file to be opened would take its place, and its text
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest number that is free
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = output, errors = (
            Terminal(sys.stdout or nowhere),
            Terminal(sys.stderr or nowhere, keep=_BAR),
        )
        try:
            yield output, errors
        finally:
            output.flush()
            errors.flush()
            sys.stdout, sys.stderr = before


def _lead_nowhere(stream: TextIO) -> None:
    """What the stream still holds would fail once more when Python ends, and be told with a traceback."""
    with contextlib.suppress(OSError, ValueError):
        number, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


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
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
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
