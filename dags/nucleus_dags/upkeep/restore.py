"""Restore a backup into an empty folder.

All of the backup is read first, so that a damaged one is refused before anything is written. A restoration that was
broken off goes on when it is asked for again: until its end, a file in the folder says that it isn't whole, and the
servers don't start there.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nucleus_dags.files import move, read_if_whole, write_whole
from nucleus_dags.upkeep.archive import AT_ONCE, BLOCK, Archive, Backup, File
from nucleus_dags.upkeep.errors import UpkeepError
from nucleus_dags.upkeep.installation import Installation, Progress

MOST_NAMED = 10
DATABASES = (".db", ".dump")


def restore(archive: Archive, installation: Installation, at: str | None, without_damaged: bool) -> None:
    """Restore a backup, the newest by default; UpkeepError if the folder isn't empty or the backup is damaged."""
    backup = _chosen(archive, at)
    _refuse_used(installation, backup)
    print(f"Reading the backup {backup.name}, {backup.size / 1e9:.2f} GB ...", flush=True)
    files = _whole_files(archive, backup, without_damaged)
    installation.folder.mkdir(parents=True, exist_ok=True)
    write_whole(installation.mark, {"backup": backup.name})
    _copy(archive, files, installation.folder)
    for path in backup.empty_folders:
        _inside(installation.folder, path).mkdir(parents=True, exist_ok=True)
    for path, target in backup.links.items():
        link = _inside(installation.folder, path)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(target)
    _date_results(files, installation.folder)
    _give_to_owner(installation.folder)
    installation.databases.put_back(installation.folder)
    os.sync()
    installation.mark.unlink()
    print(f"{len(files)} files, {sum(file.size for file in files) / 1e9:.2f} GB, are in {installation.folder}.")
    for sentence in backup.left_out:
        print(f"Not in the backup: {sentence}")


def _chosen(archive: Archive, at: str | None) -> Backup:
    names = archive.names()
    if not names:
        raise UpkeepError(f"{archive.folder} holds no backup; give the folder that `make backup` was given.")
    if at is not None and at not in names:
        raise UpkeepError(f"There is no backup {at} in {archive.folder}; there are {', '.join(names)}.")
    return archive.read(at or names[-1])


def _refuse_used(installation: Installation, backup: Backup) -> None:
    folder = installation.folder
    begun = read_if_whole(installation.mark)
    if begun is not None and begun.get("backup") != backup.name:
        raise UpkeepError(
            f"{folder} is half restored from the backup {begun.get('backup')}; go on with AT={begun.get('backup')}, or "
            "remove the folder."
        )
    if begun is None and any(path.is_file() or path.is_symlink() for path in folder.rglob("*")):
        raise UpkeepError(
            f"{folder} isn't empty, and nothing there is overwritten. Move it away, or give an empty folder: "
            "NUCLEUS_HOME=<folder>."
        )
    installation.databases.refuse_if_used()


def _whole_files(archive: Archive, backup: Backup, without_damaged: bool) -> list[File]:
    """Give the files whose contents are whole; UpkeepError if others may not be left out."""
    sizes = {file.sha256: file.size for file in backup.files}
    damaged = archive.damaged(sizes, Progress("read", sum(sizes.values())).add)
    lost = [file.path for file in backup.files if file.sha256 in damaged]
    if not lost:
        return backup.files
    named = ", ".join(lost[:MOST_NAMED])
    if any(path.endswith(DATABASES) for path in lost):
        others = _others(archive, backup)
        raise UpkeepError(f"The backup {backup.name} is damaged, a database among it: {named}. {others}")
    if not without_damaged:
        raise UpkeepError(
            f"The backup {backup.name} is damaged: {len(lost)} of {len(backup.files)} files, such as {named}. Nothing "
            f"was restored. {_others(archive, backup)} WITHOUT_DAMAGED=yes restores the rest; `make check-store` then "
            "names what is missing in the store."
        )
    print(f"Left out, since they are damaged: {len(lost)} files, such as {named}", flush=True)
    return [file for file in backup.files if file.sha256 not in damaged]


def _others(archive: Archive, backup: Backup) -> str:
    others = [name for name in archive.names() if name != backup.name]
    return f"Other backups there: {', '.join(others[-MOST_NAMED:])} (AT=<one>)." if others else "There is no other one."


def _copy(archive: Archive, files: Iterable[File], folder: Path) -> None:
    files = list(files)
    progress = Progress("restored", sum(file.size for file in files))

    def copy(file: File) -> None:
        target = _inside(folder, file.path)
        if not _is_there(target, file):
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy_whole(archive.object(file.sha256), target, file)
        progress.add(file.size)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(copy, files))


def _date_results(files: Iterable[File], folder: Path) -> None:
    """Give the folders of results their times: by them it is known which of several is the newest."""
    for file in files:
        if (path := _inside(folder, file.path)).name == "result.json":
            os.utime(path.parent, ns=(file.mtime_ns, file.mtime_ns))


def _is_there(target: Path, file: File) -> bool:
    """Whether an earlier try restored it: it got its time of modification before its name."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (file.size, file.mtime_ns)


def _copy_whole(source: Path, target: Path, file: File) -> None:
    digest = hashlib.sha256()
    with source.open("rb") as read, tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as written:
        while block := read.read(BLOCK):
            digest.update(block)
            written.write(block)
        written.flush()
        os.fsync(written.fileno())
    if digest.hexdigest() != file.sha256:
        Path(written.name).unlink()
        raise UpkeepError(f"{source} can't be read twice alike; its disk may be failing. Copy the backup elsewhere.")
    os.chmod(written.name, file.mode)  # noqa: PTH101 - the name of a temporary file.
    os.utime(written.name, ns=(file.mtime_ns, file.mtime_ns))
    move(Path(written.name), target)


def _inside(folder: Path, path: str) -> Path:
    """Give what a list names; a list from elsewhere leads nowhere else."""
    parents = [folder / parent for parent in Path(path).parents]
    if path.startswith("/") or ".." in path.split("/") or any(parent.is_symlink() for parent in parents[:-1]):
        raise UpkeepError(f"The backup names {path}, which lies outside of {folder}; take another one.")
    return folder / path


def _give_to_owner(folder: Path) -> None:
    """Let root restore a cluster's volume for the user of its pods, who owns the folder."""
    if os.geteuid() != 0:
        return
    owner = folder.stat()
    for path in folder.rglob("*"):
        os.lchown(path, owner.st_uid, owner.st_gid)
