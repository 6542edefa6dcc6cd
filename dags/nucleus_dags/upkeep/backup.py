"""Back up an installation, and restore it: `python -m nucleus_dags.upkeep.backup save TO | restore FROM`.

A backup has the store, both databases, MLflow's artefacts, the inbox, settings and the logs of tasks. It may be made
while servers and trainings work, and is read back at its end. `--volume` takes the folder of a cluster's volume, with
the databases of its PostgreSQL, in place of the home of this machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from nucleus_dags.local.environment import commit
from nucleus_dags.local.home import home_of_environment
from nucleus_dags.upkeep.archive import AT_ONCE, Archive, Backup, File, new_name
from nucleus_dags.upkeep.databases import NAMES
from nucleus_dags.upkeep.errors import UpkeepError
from nucleus_dags.upkeep.home_files import (
    RECEIPTS,
    RECORDS,
    Listing,
    key_of_result,
    list_below,
    list_rest,
    sentences_on_left_out,
)
from nucleus_dags.upkeep.installation import Installation, Progress, of_home, of_volume
from nucleus_dags.upkeep.restore import restore

MOST_ROUNDS = 5
MOST_NAMED = 10


@dataclass
class _Saving:
    """A backup that is being made."""

    source: Path
    archive: Archive
    known: Mapping[str, File]
    """Files of the backup before, by path."""
    files: dict[str, File] = field(default_factory=dict)
    copied: int = 0
    copied_bytes: int = 0

    def keep(self, listing: Listing) -> list[str]:
        """Copy what is listed and isn't here yet; gives what is gone meanwhile."""
        sizes, gone = self._new_sizes(listing.files)
        self._refuse_if_full(sum(sizes.values()))
        progress = Progress("copied", sum(sizes.values()))

        def copy(path: str) -> File | None:
            try:
                file = self.archive.keep(self.source / path, path)
            except FileNotFoundError:
                return None
            progress.add(file.size)
            return file

        with ThreadPoolExecutor(AT_ONCE) as threads:
            for path, file in zip(sizes, threads.map(copy, sizes), strict=True):
                if file is None:
                    gone.append(path)
                else:
                    self.add(file)
        return gone

    def add(self, file: File) -> None:
        self.files[file.path] = file
        self.copied += 1
        self.copied_bytes += file.size

    def _new_sizes(self, paths: Iterable[str]) -> tuple[dict[str, int], list[str]]:
        """Give the sizes of files that must be copied, and those that are gone; others are as they were."""
        sizes, gone = {}, []
        for path in paths:
            try:
                status = (self.source / path).stat()
            except FileNotFoundError:
                gone.append(path)
                continue
            before = self.known.get(path)
            now = (status.st_size, status.st_mtime_ns)
            if before and (before.size, before.mtime_ns) == now and self.archive.has(before):
                self.files[path] = before
            else:
                sizes[path] = status.st_size
        return sizes, gone

    def _refuse_if_full(self, needed: int) -> None:
        free = shutil.disk_usage(self.archive.folder).free
        if needed > free:
            raise UpkeepError(
                f"{self.archive.folder} has {free / 1e9:.2f} GB left, and {needed / 1e9:.2f} GB are to be copied; "
                "free some, or give another folder. Earlier backups there are as they were."
            )


def save(installation: Installation, to: Path) -> Backup:
    """Make a backup in a folder, which may hold earlier ones; UpkeepError if it can't be made whole."""
    source = installation.folder
    _refuse_unfit(installation, to)
    archive = Archive(to)
    archive.prepare()
    with archive.held():
        backup = Backup(new_name(), commit())
        if backup.name in archive.names():
            raise UpkeepError(f"A backup of this second is in {to} already; try again.")
        saving = _Saving(source, archive, _files_before(archive))
        saving.keep(list_below(source, *RECORDS))
        _keep_databases(installation, saving)
        saving.keep(list_below(source, RECEIPTS))
        listing = _keep_rest(installation, saving)
        print("Reading it back ...", flush=True)
        _read_back(saving)
        _fill(backup, saving, listing)
        archive.write(backup)
        dropped = archive.drop_old()
    _tell(backup, saving, dropped)
    return backup


def _refuse_unfit(installation: Installation, to: Path) -> None:
    source = installation.folder
    if not (source / "store").is_dir():
        raise UpkeepError(f"{source} holds no store; give the folder of an installation by NUCLEUS_HOME.")
    if installation.mark.exists():
        raise UpkeepError(f"{source} isn't restored whole; run `make restore` again first.")
    if to.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(to.resolve()):
        raise UpkeepError(f"{to} lies in {source} or around it; give a folder elsewhere, best on another disk.")
    to.mkdir(parents=True, exist_ok=True)
    if to.stat().st_dev == source.stat().st_dev:
        print(f"{to} is on the same disk as {source}: this backup is lost when the disk is.", flush=True)
    if not (to / "backups").is_dir() and any(to.iterdir()):
        raise UpkeepError(f"{to} holds something else than backups; give an empty folder, or one with backups.")


def _files_before(archive: Archive) -> dict[str, File]:
    names = archive.names()
    return {file.path: file for file in archive.read(names[-1]).files} if names else {}


def _keep_databases(installation: Installation, saving: _Saving) -> None:
    for name in NAMES:
        print(f"Copying the database of {name} ...", flush=True)
        with installation.databases.copied(name) as found:
            if found is not None:
                copy, path = found
                saving.add(saving.archive.keep(copy, path))


def _keep_rest(installation: Installation, saving: _Saving) -> Listing:
    """Copy all else; what is gone when its turn comes was moved or removed, so all is listed again."""
    before = dict(saving.files)
    for _ in range(MOST_ROUNDS):
        saving.files = dict(before)
        listing = list_rest(saving.source, installation.left_out)
        gone = saving.keep(listing)
        if not gone:
            return listing
    raise UpkeepError(f"Files go while they are copied, such as {gone[0]}; try again when less is going on.")


def _read_back(saving: _Saving) -> None:
    """Read the whole backup; what is damaged is copied anew, once."""
    sizes = {file.sha256: file.size for file in saving.files.values()}
    damaged = saving.archive.damaged(sizes, Progress("read back", sum(sizes.values())).add)
    if not damaged:
        return
    saving.archive.forget(damaged)
    lost = [file for file in saving.files.values() if file.sha256 in damaged]
    print(f"{len(damaged)} contents of {saving.archive.folder} are damaged and are copied anew.", flush=True)
    gone = saving.keep(Listing(files=[file.path for file in lost if (saving.source / file.path).exists()]))
    again = {file.sha256: file.size for file in lost}
    if gone or saving.archive.damaged(again, lambda _: None):
        raise UpkeepError(
            f"{saving.archive.folder} doesn't keep what is written there, such as {lost[0].path}; its disk may be "
            "failing. Give a folder on another one."
        )


def _fill(backup: Backup, saving: _Saving, listing: Listing) -> None:
    backup.files = sorted(saving.files.values())
    backup.links, backup.empty_folders = listing.links, listing.empty_folders
    backup.left_out = [*sentences_on_left_out(listing, saving.source), *_altered(saving)]


def _altered(saving: _Saving) -> list[str]:
    """Name files of results that aren't what their task wrote, by the hashes that it wrote beside."""
    hashes: dict[str, dict[str, str]] = {}
    found = []
    for file in sorted(saving.files.values()):
        folder = key_of_result(file.path)
        if folder is None:
            continue
        if folder not in hashes:
            hashes[folder] = _hashes_of(saving.source / folder)
        expected = hashes[folder].get(file.path.removeprefix(f"{folder}/"))
        if expected not in (None, file.sha256):
            found.append(f"{file.path} isn't what its task wrote; see `make check-store`.")
    return found[:MOST_NAMED] + ([f"{len(found) - MOST_NAMED} more of these."] if len(found) > MOST_NAMED else [])


def _hashes_of(folder: Path) -> dict[str, str]:
    try:
        content = json.loads((folder / "files.json").read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _tell(backup: Backup, saving: _Saving, dropped: int) -> None:
    results = {key for file in backup.files if (key := key_of_result(file.path))}
    databases = [file.path for file in backup.files if file.path.endswith((".db", ".dump"))]
    print(
        f"{backup.name}: {len(backup.files)} files, {backup.size / 1e9:.2f} GB, {len(results)} results, "
        f"{len(databases)} databases; all read back and whole.\n"
        f"{saving.copied} files, {saving.copied_bytes / 1e9:.2f} GB, were copied; the others were there."
    )
    for sentence in backup.left_out:
        print(f"Not in it: {sentence}")
    if dropped:
        print(f"{dropped} old backups were removed.")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m nucleus_dags.upkeep.backup", description=__doc__)
    parser.add_argument("action", choices=("save", "restore"))
    parser.add_argument("folder", type=Path, help="folder of backups")
    parser.add_argument("--volume", type=Path, help="folder of a cluster's volume, in place of this machine's home")
    parser.add_argument("--at", help="restore this backup; default the newest")
    parser.add_argument("--without-damaged", action="store_true", help="restore what isn't damaged")
    args = parser.parse_args(argv)
    installation = of_volume(args.volume.resolve()) if args.volume else of_home(home_of_environment().folder)
    try:
        if args.action == "save":
            save(installation, args.folder.resolve())
        else:
            restore(Archive(args.folder.resolve()), installation, args.at, args.without_damaged)
    except (UpkeepError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; what was copied is found again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
