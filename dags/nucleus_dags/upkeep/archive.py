"""A folder of backups: every content once, and for each backup a list of its files.

    objects/3f/3f5a…                the content whose SHA-256 this is, written once and never again
    backups/20261127T052011Z.json.gz   which files a backup has: path, SHA-256, size, mode, time of modification

A backup counts from the moment when its list is there, which comes last. So one that was broken off leaves the earlier
ones as they were, and the next one finds what it had copied. Contents are told by their hashes: what is damaged is
noticed, and what is equal is kept once, without hard links, which not every file system has.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from nucleus_dags.files import make_folder, move
from nucleus_dags.upkeep.errors import UpkeepError

AT_ONCE = 8
"""Files that are copied or read side by side: a disk flushes several in the time of one."""
BLOCK = 1 << 20
KEPT = 30
"""Of so many backups the lists stay; one a day reaches back for a month."""
README = """Backups of a nucleus segmentation, made by `make backup`.
backups/ has a list of files for each backup, objects/ their contents, each under its SHA-256.
To restore: `make restore FROM=<this folder>` in the repository, on a machine without a nucleus-data folder.
By hand: zcat a list; the content of the file with the SHA-256 abcd... is objects/ab/abcd...
"""


class File(NamedTuple):
    """A file of a backup."""

    path: str
    sha256: str
    size: int
    mode: int
    mtime_ns: int


@dataclass
class Backup:
    """What a list holds."""

    name: str
    """When it was begun, such as 20261127T052011Z."""
    commit: str
    """Of the program that made it."""
    files: list[File] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    """Symbolic links by path; what they lead to isn't in the backup if it lies outside."""
    empty_folders: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Sentences on what somebody may miss."""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def new_name() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


@dataclass(frozen=True)
class Archive:
    """A folder of backups."""

    folder: Path

    def prepare(self) -> None:
        for name in ("objects", "backups"):
            make_folder(self.folder / name)
        (self.folder / "README.txt").write_text(README)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no other backup be made here meanwhile, where the file system has locks."""
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UpkeepError(f"Another backup to {self.folder} is being made; wait until it is done.") from None
            except OSError:
                pass
            yield

    def names(self) -> list[str]:
        """Give the names of all backups, the oldest first."""
        return sorted(path.name.removesuffix(".json.gz") for path in self._lists())

    def read(self, name: str) -> Backup:
        try:
            content = json.loads(gzip.decompress(self._list(name).read_bytes()))
            return Backup(**{**content, "files": [File(*row) for row in content["files"]]})
        except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError) as error:
            raise UpkeepError(
                f"The list of the backup {name} in {self.folder} can't be read ({error}). {self._others(name)}"
            ) from None

    def write(self, backup: Backup) -> None:
        """Write the list of a backup, which counts from now on."""
        content = gzip.compress(json.dumps(asdict(backup)).encode())
        self._put(lambda file: file.write(content), self._list(backup.name))

    def has(self, file: File) -> bool:
        """Whether the content of a file is here, as far as can be told without reading it."""
        with suppress(OSError):
            return self.object(file.sha256).stat().st_size == file.size
        return False

    def object(self, sha256: str) -> Path:
        return self.folder / "objects" / sha256[:2] / sha256

    def keep(self, source: Path, path: str) -> File:
        """Copy a file, unless its content is here already; it is copied anew if it changes meanwhile.

        One that grows all the time is kept as it was read. Raises OSError of a file that can't be read or is gone.
        """
        for _ in range(3):
            before = source.stat()
            if not stat.S_ISREG(before.st_mode):
                raise UpkeepError(f"{source} is no regular file any more; find out who changed it and try again.")
            sha256, size = self._keep_once(source)
            after = source.stat()
            if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size) and size == after.st_size:
                break
        return File(path, sha256, size, stat.S_IMODE(before.st_mode), before.st_mtime_ns)

    def _keep_once(self, source: Path) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        with source.open("rb") as read, self._beside(self.folder / "objects") as written:
            while block := read.read(BLOCK):
                digest.update(block)
                size += written.write(block)
            target = self.object(digest.hexdigest())
            if not (target.exists() and target.stat().st_size == size):
                _name(written, target)
        return digest.hexdigest(), size

    def damaged(self, sizes: dict[str, int], tell: Callable[[int], None]) -> set[str]:
        """Read contents, given by SHA-256 with their sizes, from the disk; gives those that are missing or others.

        `tell` gets the number of bytes read since it was called last.
        """

        def is_damaged(sha256: str) -> bool:
            path = self.object(sha256)
            try:
                if path.stat().st_size != sizes[sha256]:
                    return True
                found = hash_of(path)
            except OSError:
                return True
            tell(sizes[sha256])
            return found != sha256

        with ThreadPoolExecutor(AT_ONCE) as threads:
            results = threads.map(is_damaged, sizes)
            return {sha256 for sha256, damaged in zip(sizes, results, strict=True) if damaged}

    def forget(self, contents: Iterable[str]) -> None:
        """Remove damaged contents, so that they are copied anew."""
        for sha256 in contents:
            self.object(sha256).unlink(missing_ok=True)

    def drop_old(self) -> int:
        """Remove all lists but the newest, and contents that no list names; gives how many lists went.

        A list that can't be read keeps all contents: nobody knows what it names.
        """
        names = self.names()
        backups = [self.read(name) for name in names[-KEPT:]]
        for name in names[:-KEPT]:
            self._list(name).unlink()
        named = {file.sha256 for backup in backups for file in backup.files}
        for path in (self.folder / "objects").rglob("*"):
            if path.is_file() and path.name not in named:
                path.unlink()
        return len(names[:-KEPT])

    def _lists(self) -> list[Path]:
        return list((self.folder / "backups").glob("*.json.gz"))

    def _list(self, name: str) -> Path:
        return self.folder / "backups" / f"{name}.json.gz"

    def _others(self, name: str) -> str:
        others = [other for other in self.names() if other < name]
        return f"Take an earlier one: AT={others[-1]}." if others else "There is no earlier one."

    def _put(self, write: Callable[[BinaryIO], Any], target: Path) -> None:
        with self._beside(target.parent) as file:
            write(file)
            _name(file, target)

    @contextmanager
    def _beside(self, folder: Path) -> Iterator[Any]:
        """Give a file that is gone at the end unless it got a name."""
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", delete=False) as file:
            try:
                yield file
            finally:
                Path(file.name).unlink(missing_ok=True)


def _name(file: Any, target: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    make_folder(target.parent)
    move(Path(file.name), target)


def hash_of(path: Path) -> str:
    """Give the SHA-256 of what is on the disk, rather than of what the system remembers of it."""
    with path.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").hexdigest()
