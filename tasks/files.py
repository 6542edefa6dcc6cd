"""Whole files and folders, also when the power goes; files with two names; what is in a file.

A file or a folder counts from the moment when it gets its name. Whatever gets one does so here: what is in it is on
the disk before, and the name is after. Otherwise a file system may keep the name and lose what was in it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from tasks.nuclei.errors import InputError

FLUSHED_AT_ONCE = 16
"""Of thousands of small files: a disk writes several at once in the time of one."""
FOLDERS_ARENT_FLUSHED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
"""What some network file systems say of a folder; they keep its names by themselves."""

log = logging.getLogger("nucleus")

T = TypeVar("T")

LEFT_BY_A_KILL = re.compile(r"\.\d+\..+")
"""Name of the file beside, which stays when the process that writes it is killed."""


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file's content as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(path: Path) -> str:
    """Give one SHA-256 for the names and contents of all files of a folder, or for one file."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path.parent).as_posix()} {sha256_of(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def sha256_once(path: Path) -> str:
    """Give `sha256_of_all`, of pretrained weights that many keys depend on only once while they stay as they are."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return _sha256_in_state(path, tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@lru_cache
def _sha256_in_state(path: Path, state: tuple[tuple[Path, int, int], ...]) -> str:
    return sha256_of_all(path)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; at the end it takes the place of `path`, after an error nothing changes.

    The extension is the same, as some libraries choose the format by it.
    """
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield beside
        flush(beside)
        move(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def seal(folder: Path, target: Path) -> None:
    """Give a finished folder its name: all in it is on the disk before, in one pass."""
    flush_all(folder)
    move(folder, target)


def move(source: Path, target: Path) -> None:
    """Rename a file or a folder; a file takes the place of another one. The new name is on the disk at the end."""
    source.rename(target)
    for folder in {source.parent, target.parent}:
        flush(folder)


def make_folder(folder: Path) -> None:
    """Make a folder and those that it lies in, where they are missing."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        flush(path.parent)


def flush(path: Path) -> None:
    """Have what is in a file, or the names in a folder, written to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if not path.is_dir() or error.errno not in FOLDERS_ARENT_FLUSHED:
            raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(number)


def flush_all(folder: Path) -> None:
    """Have all that is in a folder written to the disk."""
    folders, files = [], []
    for here, _, names in os.walk(folder):
        folders.append(Path(here))
        files += [path for path in (Path(here, name) for name in names) if path.is_file() and not path.is_symlink()]
    with ThreadPoolExecutor(FLUSHED_AT_ONCE) as threads:
        list(threads.map(flush, files))
    for inner in reversed(folders):
        flush(inner)


def of_earlier_try(path: Path, read: Callable[[Path], T]) -> T | None:
    """Read a file that an earlier try left; None without one, and with a warning for one that can't be read.

    Whatever is the matter with such a file, it can be made again.
    """
    if not path.exists():
        return None
    try:
        return read(path)
    except Exception as error:
        # An error with a number is the storage's, and says nothing of what is in the file.
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        log.warning("%s: an earlier try left it damaged (%.200s); it is made again", path, reason)
        return None


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def time_at(folder: Path) -> float:
    """Give the time in seconds since 1970 by the clock that dates the files of a folder, which may be a file server's.

    Where nothing may be written, it is this machine's.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as file:
            return Path(file.name).stat().st_ctime
    except OSError:
        return time.time()


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def held_together() -> Iterator[None]:
    """Let a SIGTERM that comes meanwhile take effect at the end: what is written here belongs together.

    Only the main thread of a process gets signals; in another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if arrived:
            signal.raise_signal(signal.SIGTERM)


def text_of_argument(argument: str) -> str:
    """Give what an argument says; `@` and a path stand for the content of a file, which may be of any length.

    Raises InputError for a file that can't be read.
    """
    if not argument.startswith("@"):
        return argument
    try:
        return Path(argument[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{argument[1:]}: the file with the params can't be read ({error}); write it again.") from None
