"""The only place that writes, renames and locks: a file is there whole under its name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from filelock import FileLock, Timeout

from tlkeras.errors import InputError, MissingInputError, UnwritableError
from tlkeras.user_text import from_csv, in_csv

if TYPE_CHECKING:
    import pandas as pd

    Buffer = bytes | memoryview  # or an array

TEMPORARY_PREFIX = ".writing-"  # the process that writes follows, so that who clears up leaves the files of the living
_ZEROS = 2**24  # bytes written at a time
_SIGNALS_ASK = os.name == "posix"  # elsewhere `os.kill` ends the process that it should ask about
_LEFT_AFTER = 86400  # seconds after which nobody is writing any more, where no process can be asked
_FULL = "Make room there, or name a folder on another disk; what was there before is as it was."
_FORBIDDEN = "Give this user the right to write there, or name another folder; what was there before is as it was."
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FULL),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _FORBIDDEN),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "A file stands where a folder should be; name another folder."),
    **dict.fromkeys((errno.EISDIR, errno.ENOTEMPTY), "A folder stands where a file should be; name another."),
    errno.ENAMETOOLONG: "Name a folder with a shorter path.",
}


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Says in words why `path` cannot be written.

    Raises:
        UnwritableError: the disk is full, or this user may not write there.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, InputError) or error.errno not in _REMEDIES or _is_of_another(error, Path(path)):
            raise
        raise UnwritableError(
            f"{os.fspath(path)} cannot be written ({os.strerror(error.errno)}). {_REMEDIES[error.errno]}"
        ) from error


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there takes the name `path` when the block ends well.

    The temporary file is flushed to the disk before it is renamed, and removed when the block raises.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays: Keras and matplotlib read the format off it.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_own_prefix(), suffix="".join(path.suffixes))
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            os.replace(temporary, path)
            _sync_folder(path.parent)
        finally:
            # The folder may be gone, or closed to this user: that is said above, and is no second error.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """As `atomic_write`, for a folder that is not there yet: yields the path of one to make beside it."""
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=_own_prefix(), ignore_cleanup_errors=True) as made:
            temporary = Path(made, path.name)
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with open(file, "rb+") as opened:
                        os.fsync(opened.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Writes UTF-8 text whole or not at all; file names that are not UTF-8 keep their bytes."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")
    return Path(path)


def write_csv(frame: pd.DataFrame, path: str | os.PathLike) -> Path:
    """Writes a table whole or not at all; floats with the 9 digits that bring a float32 back, any file name.

    A cell that a spreadsheet would take for a formula begins with an apostrophe, which `read_csv` takes away again.
    """
    frame = _with_text(frame, in_csv)
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        lines: Any = _LineFeeds(file)  # more than `write` pandas does not ask for
        frame.to_csv(lines, index=False, float_format="%.9g", lineterminator="\r\n")
    return Path(path)


def read_csv(source: str | os.PathLike | BinaryIO, **options: Any) -> pd.DataFrame:
    """A table that `write_csv` wrote, each cell of text as it was; `options` are those of pandas' own."""
    import pandas as pd

    return _with_text(pd.read_csv(source, encoding_errors="surrogateescape", **options), from_csv)


class _LineFeeds:
    """Takes rows that end in CR LF and writes them ending in LF. Only of such rows does Python before 3.13 quote a cell
    that holds a CR, and unquoted it would end its row when it is read."""

    def __init__(self, file: TextIO):
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(row.removesuffix("\r\n") + "\n")


def _with_text(frame: pd.DataFrame, changed: Callable[[str], str]) -> pd.DataFrame:
    """The frame with `changed` of its cells and titles that are text."""
    frame = frame.copy(deep=False)
    for number in range(frame.shape[1]):
        column = frame.iloc[:, number]
        if column.dtype.kind == "O":
            cells = [changed(cell) if isinstance(cell, str) else cell for cell in column]
            if cells != list(column):
                frame.isetitem(number, cells)
    frame.columns = [changed(title) if isinstance(title, str) else title for title in frame.columns]
    return frame


def write_json(path: str | os.PathLike, value: object) -> Path:
    """Writes indented JSON whole or not at all."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Reads JSON; a file that is missing or not JSON is named in the error."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError as error:
        raise MissingInputError(f"there is no {path}; the run that writes it did not get that far.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}). Remove it, or give the file it should be.") from error


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Holds `folder` for this process; a second process is refused at once. A killed holder's lock is free again.

    What a killed holder was in the middle of writing is removed.
    """
    folder = Path(folder)
    lock = _lock_file(folder / ".lock")
    with writing(folder):
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise InputError(
                f"{folder} is being written by another process. Wait until it ends, or name another folder with --out."
            ) from error
        except OSError as error:
            if error.errno in _REMEDIES:
                raise
            raise UnwritableError(
                f"{folder} cannot be locked ({error.strerror}): its file system keeps no locks. Name a folder on "
                "another disk with --out."
            ) from error
    try:
        with writing(folder):
            for unfinished in folder.rglob(f"{TEMPORARY_PREFIX}*"):
                remove_unfinished(unfinished)
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def holding(path: str | os.PathLike, on_wait: Callable[[], None] | None = None) -> Iterator[bool]:
    """Holds the lock file `path`, which stays behind; a killed holder's lock is free again.

    Args:
        path: made where it is missing; a link in its place is not followed, but an OSError.
        on_wait: called once where another process holds it, which is then waited for. Without it there is no waiting.

    Yields:
        Whether it is held: False only without `on_wait`.

    Raises:
        OSError: it cannot be made, or its file system keeps no locks.
    """
    lock = _lock_file(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if on_wait is None:
            yield False
            return
        on_wait()
        lock.acquire()
    try:
        yield True
    finally:
        lock.release()


def _lock_file(path: str | os.PathLike) -> FileLock:
    """One that the system holds for this process, and frees when the process ends, however it ends.

    Where a file system keeps no such locks, filelock would write a mark beside the file that outlives a killed holder:
    that is refused.
    """
    return FileLock(path, fallback_to_soft=False, preserve_lock_file=True)


def write_at(path: str | os.PathLike, offset: int, pieces: Iterable[Buffer]) -> None:
    """Makes `pieces`, one behind the other, the end of a file from byte `offset` on: on the disk when it returns.

    What a killed writer left behind `offset` is gone. Who keeps elsewhere how many bytes are whole, and writes that
    afterwards, never takes half a write for a whole one.
    """
    with writing(path), open(path, "r+b" if os.path.exists(path) else "w+b") as file:
        file.truncate(offset)
        file.seek(offset)
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


def scratch_file(folder: str | os.PathLike, size: int) -> BinaryIO:
    """An open file of `size` bytes in `folder`, without a name: its room is free again when it is closed, or its
    process killed. All of it is taken at once: a mapped file that finds the disk full later ends the process."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (handed over open)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:  # macOS, Windows: only what is written is taken
            for start in range(0, size, _ZEROS):
                file.write(bytes(min(_ZEROS, size - start)))
            file.flush()
    except OSError:
        file.close()
        raise
    return file


def remove_unfinished(path: Path) -> None:
    """Removes a temporary file or folder whose writer was killed; that of a living one stays, such as of one that
    writes a report, which takes no lock."""
    if not _writer_lives(path):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def remove_folder(folder: str | os.PathLike) -> None:
    """Removes a folder whole: under a name that nobody looks for first, so that half of it is never found."""
    folder = Path(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_own_prefix()) as grave:
        os.replace(folder, Path(grave) / folder.name)


def sha256_of(path: str | os.PathLike) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own_prefix() -> str:
    return f"{TEMPORARY_PREFIX}{os.getpid()}-"


def _writer_lives(path: Path) -> bool:
    """Whether the process that a temporary name tells of is there."""
    number = path.name.removeprefix(TEMPORARY_PREFIX).split("-")[0]
    if not number.isdecimal():
        return False
    if not _SIGNALS_ASK:
        return time.time() - path.lstat().st_mtime < _LEFT_AFTER
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _is_of_another(error: OSError, path: Path) -> bool:
    """Whether an error names a file that is read: neither `path`, in it or above it, nor a temporary one."""
    if not isinstance(error.filename, str | os.PathLike):
        return False
    named = Path(error.filename)
    is_temporary = any(part.startswith(TEMPORARY_PREFIX) for part in named.parts)
    return not (is_temporary or named.is_relative_to(path) or path.is_relative_to(named))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
