"""What a power loss leaves of a folder: recorded while something works in it, without any power going.

A disk keeps what was in a file when it was last flushed, and the names that were in a folder; a rename may be on it at
once. So the moment after a rename is the worst one: the name is there, and all that wasn't flushed before it isn't.
"""

from __future__ import annotations

import inspect
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

OF_THE_PIPELINE = ("tasks.", "nucleus_dags.")


class Disk:
    """What is on the disk of the files and folders below `folder`. All that is there at the beginning is."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.lost: list[str] = []
        """What a task or a DAG gave its name before it was on the disk. Folders of work that isn't finished may have
        theirs."""
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._open: list[int] = []
        """Whoever is open keeps its number, by which it is known here, to itself."""
        self._copies: Path | None = None
        self._copied = 0
        self._flush_all()
        rename = os.rename

        one_at_a_time = threading.RLock()

        def flush(number: int) -> None:
            with one_at_a_time:
                self._flushed(Path(f"/proc/self/fd/{number}").readlink())

        def rename_recorded(source: Path, target: Path) -> None:
            with one_at_a_time:
                rename(source, target)
                self._was_renamed(Path(source), Path(target))

        monkeypatch.setattr(os, "fsync", flush)
        monkeypatch.setattr(os, "rename", rename_recorded)
        monkeypatch.setattr(os, "replace", rename_recorded)

    def copy_at_renames(self, folder: Path) -> None:
        """Copy, at every rename from now on, what a power loss would leave to a folder of its own in this one."""
        self._copies = folder

    def close(self) -> None:
        for number in self._open:
            os.close(number)

    def lost_in(self, path: Path) -> list[str]:
        """Give the files and folders, `path` or in it, that wouldn't be there or that would be others."""
        number = path.lstat().st_ino
        if path.is_file():
            return [] if self._contents.get(number) == path.read_bytes() else [str(path)]
        inner = sorted(path.iterdir())
        names = {child.name: child.lstat().st_ino for child in inner}
        lost = [] if self._names.get(number) == names else [f"{path}/"]
        return lost + [name for child in inner for name in self.lost_in(child)]

    def copy(self, target: Path) -> None:
        """Write what a power loss would leave now."""
        self._write(self.folder.stat().st_ino, target)

    def _write(self, number: int, target: Path) -> None:
        if number not in self._names:
            target.write_bytes(self._contents.get(number, b""))
            return
        target.mkdir(parents=True)
        for name, child in self._names[number].items():
            self._write(child, target / name)

    def _flush_all(self) -> None:
        for path in [self.folder, *self.folder.rglob("*")]:
            self._flushed(path)

    def _flushed(self, path: Path) -> None:
        if not path.is_relative_to(self.folder) or not path.exists():
            return
        if path.is_dir():
            names: dict[str, int] = {}
            self._names[self._number(path)] = names
            for child in path.iterdir():
                with suppress(FileNotFoundError):  # Another thread removed it meanwhile.
                    names[child.name] = self._number(child)
        else:
            self._contents[self._number(path)] = path.read_bytes()

    def _number(self, path: Path) -> int:
        if path.lstat().st_ino not in self._names | self._contents:
            self._open.append(os.open(path, os.O_RDONLY))
        number = path.lstat().st_ino
        if path.is_dir():
            self._names.setdefault(number, {})
        else:
            self._contents.setdefault(number, b"")
        return number

    def _was_renamed(self, source: Path, target: Path) -> None:
        if not target.is_relative_to(self.folder):
            return
        self._names.setdefault(self._number(source.parent), {}).pop(source.name, None)
        self._names[self._number(target.parent)][target.name] = self._number(target)
        is_work = target.is_dir() and any(part.endswith(".partial") for part in target.parts)
        if not is_work and _is_called_by_the_pipeline():
            self.lost += self.lost_in(target)
        if self._copies:
            self._copied += 1
            self.copy(self._copies / str(self._copied))


def _is_called_by_the_pipeline() -> bool:
    """Whether a rename is of a task or a DAG, and not of a test, MLflow or a library that writes a part of a result."""
    callers = (frame.frame.f_globals["__name__"] for frame in inspect.stack(0))
    return next(name for name in callers if name != __name__ and name != "pathlib").startswith(OF_THE_PIPELINE)
