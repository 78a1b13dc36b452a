"""The only place that writes, renames and locks: a file is there whole under its name, or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tlkeras.schema import InputError, MissingInputError

if TYPE_CHECKING:
    import pandas as pd

    Buffer = bytes | memoryview  # or an array

TEMPORARY_PREFIX = ".writing-"


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there takes the name `path` when the block ends well.

    The temporary file is flushed to the disk before it is renamed, and removed when the block raises.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays: Keras and matplotlib read the format off it.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY_PREFIX, suffix="".join(path.suffixes))
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
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """As `atomic_write`, for a folder that is not there yet: yields the path of one to make beside it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=TEMPORARY_PREFIX) as scratch:
        temporary = Path(scratch, path.name)
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
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
    return Path(path)


def write_csv(frame: pd.DataFrame, path: str | os.PathLike) -> Path:
    """Writes a table whole or not at all; floats with the 9 digits that bring a float32 back, any file name."""
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.9g", lineterminator="\n", errors="surrogateescape")
    return Path(path)


def write_json(path: str | os.PathLike, value: object) -> Path:
    """Writes indented JSON whole or not at all."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike) -> object:
    """Reads JSON; a file that is missing or not JSON is named in the error."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError as error:
        raise MissingInputError(f"there is no {path}; the run that writes it did not get that far.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON ({error}). Remove it, or give the file it should be.") from error


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Holds `folder` for this process; a second process is refused at once. A killed holder's lock is free again.

    What a killed holder was in the middle of writing is removed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"{folder} is being written by another process. Wait until it ends, or name another folder with --out."
            ) from error
        for unfinished in folder.rglob(f"{TEMPORARY_PREFIX}*"):
            unfinished.unlink()
        yield


@contextlib.contextmanager
def holding(path: str | os.PathLike, on_wait: Callable[[], None] | None = None) -> Iterator[bool]:
    """Holds the lock file `path`, which stays behind; a killed holder's lock is free again.

    Args:
        path: made where it is missing.
        on_wait: called once where another process holds it, which is then waited for. Without it there is no waiting.

    Yields:
        Whether it is held: False only without `on_wait`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if on_wait is None:
                yield False
                return
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield True


def write_at(path: str | os.PathLike, offset: int, pieces: Iterable[Buffer]) -> None:
    """Makes `pieces`, one behind the other, the end of a file from byte `offset` on: on the disk when it returns.

    What a killed writer left behind `offset` is gone. Who keeps elsewhere how many bytes are whole, and writes that
    afterwards, never takes half a write for a whole one.
    """
    with open(path, "r+b" if os.path.exists(path) else "w+b") as file:
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
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError:
        file.close()
        raise
    return file


def remove_folder(folder: str | os.PathLike) -> None:
    """Removes a folder whole: under a name that nobody looks for first, so that half of it is never found."""
    folder = Path(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=TEMPORARY_PREFIX) as grave:
        os.replace(folder, Path(grave) / folder.name)


def sha256_of(path: str | os.PathLike) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
