"""Packs what is sent to a tool, and opens what comes back: an archive, a folder or a single file of somebody else.

Nothing is written outside of the folder that is given, and nothing stays there of what was refused.
"""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.file_kinds import HALF_COPIED, is_left_by_a_system
from tasks.nuclei.plates.image_files import NO_FILE

MOST_FILES = 100_000
MOST_BYTES = 2**34
"""Of all files that come back together, unpacked: 16 GiB, a plate of 1,000 fields as TIFF."""
_BLOCK = 2**20
_OTHER_ARCHIVES = (".7z", ".rar", ".xz", ".zst")
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, NotImplementedError)


class _Member(NamedTuple):
    name: str
    size: int
    problem: str | None
    """What it is if it is no plain file."""
    opened: Callable[[], IO[bytes]]


def pack(folder: Path, archive: Path) -> None:
    """Write all files of a folder into a ZIP. What is compressed already is stored as it is."""
    with zipfile.ZipFile(archive, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for path in sorted(folder.rglob("*")):
            kind = zipfile.ZIP_STORED if path.suffix in (".png", ".tif", ".zip") else None
            packed.write(path, path.relative_to(folder), compress_type=kind)


def open_package(path: Path, into: Path) -> Path:
    """Put the files of what came back into a new folder `into`, and give the folder in it where they begin.

    A folder, ZIP, TAR or TAR.GZ is opened; any other file is taken as it is, and so is a ZIP of ImageJ's ROIs. Raises
    InputError for what is half uploaded, damaged, too large, or has links or paths that lead elsewhere.
    """
    _refuse_half(path)
    into.mkdir(parents=True)
    try:
        _open(path, into)
    except _DAMAGED as error:
        shutil.rmtree(into)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: is damaged or only half there ({reason}); wait until it is uploaded as a whole, or upload it "
            "again. Allowed are folders, ZIP without a password, TAR and TAR.GZ."
        ) from None
    except BaseException:
        shutil.rmtree(into)
        raise
    return where_files_begin(into)


def _refuse_half(path: Path) -> None:
    name = path.name.lower()
    if name.endswith(HALF_COPIED):
        raise InputError(f"{path}: is still being uploaded, or an upload broke off; upload it again.")
    if name.endswith(_OTHER_ARCHIVES):
        raise InputError(f"{path}: is an archive that isn't opened here; allowed are ZIP, TAR and TAR.GZ, pack it so.")
    if not path.exists() or path.is_symlink():
        raise InputError(f"{path}: is {'a link' if path.is_symlink() else 'not there'}; put the file itself there.")
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{path}: {NO_FILE}.")


def _open(path: Path, into: Path) -> None:
    if path.is_dir():
        _take(path, list(_of_folder(path)), into)
    elif zipfile.is_zipfile(path) or path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            members = list(_of_zip(archive))
            if members and all(member.name.lower().endswith(".roi") for member in members):
                shutil.copyfile(path, into / path.name)
            else:
                _take(path, members, into)
    elif path.name.lower().endswith((".tar", ".tar.gz", ".tgz")):
        with tarfile.open(path, "r:*") as archive:
            members = list(_of_tar(archive))
            _refuse_without_end(archive)
            _take(path, members, into)
    else:
        shutil.copyfile(path, into / path.name)


def _of_folder(folder: Path) -> Iterator[_Member]:
    for at, folders, files in os.walk(folder):
        for name in [*files, *(name for name in folders if Path(at, name).is_symlink())]:
            path = Path(at, name)
            state = path.lstat()
            problem = None if stat.S_ISREG(state.st_mode) else "a link" if path.is_symlink() else "no file"
            yield _Member(path.relative_to(folder).as_posix(), state.st_size, problem, partial(_opened, path))


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _of_zip(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for entry in archive.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)
        problem = "a link" if kind == stat.S_IFLNK else "encrypted" if entry.flag_bits & 1 else None
        if not entry.is_dir():
            # Windows may have written its own separators.
            name = entry.filename.replace("\\", "/")
            yield _Member(name, entry.file_size, problem, partial(archive.open, entry))


def _of_tar(archive: tarfile.TarFile) -> Iterator[_Member]:
    for number, entry in enumerate(archive):
        if not entry.isdir():
            problem = None if entry.isreg() else "a link" if entry.issym() or entry.islnk() else "no file"
            yield _Member(entry.name, entry.size, problem, partial(_file_in, archive, entry))
        if number > MOST_FILES:
            raise InputError(f"An archive has over {MOST_FILES:,} files; send it in parts.")


def _file_in(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(entry)
    assert file is not None
    return file


def _refuse_without_end(archive: tarfile.TarFile) -> None:
    """Refuse a TAR whose end is missing, which Python takes for its end. Of a TAR.GZ, all is read and checked."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if len(archive.fileobj.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("its end is missing")
    while archive.fileobj.read(_BLOCK):
        pass


def _take(path: Path, all_members: Sequence[_Member], into: Path) -> None:
    """Write the members that a person put there; refuses all if one of them is refused."""
    for member in all_members:
        try:
            inside(into, member.name)
        except InputError:
            raise InputError(
                f"{path}: the path {member.name!r:.200} in it leads out of it; pack the folder again."
            ) from None
    members = [each for each in all_members if not any(map(_is_litter, each.name.split("/")))]
    _refuse_too_much(path, members, into)
    places: set[Path] = set()
    for member in members:
        if member.problem is not None:
            raise InputError(f"{path}: {member.name!r:.200} in it is {member.problem}; pack the plain files.")
        place = into / member.name
        if place in places or not places.isdisjoint(place.parents):
            raise InputError(f"{path}: {member.name!r:.200} is in it twice; leave one of them.")
        places.add(place)
    for member in members:
        _copy(path, member, inside(into, member.name))


def _is_litter(name: str) -> bool:
    # Of the hidden files, OME-Zarr's are none that a system left; a way up is refused.
    return is_left_by_a_system(name) and name not in ("..", ".zattrs", ".zgroup", ".zarray", ".zmetadata")


def _refuse_too_much(path: Path, members: Sequence[_Member], into: Path) -> None:
    size = sum(member.size for member in members)
    if not members:
        raise InputError(f"{path}: is empty; upload it again.")
    if len(members) > MOST_FILES or size > MOST_BYTES:
        raise InputError(
            f"{path}: unpacks to {len(members):,} files with {size:,} bytes; allowed are {MOST_FILES:,} and "
            f"{MOST_BYTES:,}. Send it in parts, and without what isn't annotation."
        )
    free = shutil.disk_usage(into).free
    if size > free:
        raise InputError(f"{path}: unpacks to {size:,} bytes, and the disk has {free:,} left; make room.")


def _copy(path: Path, member: _Member, place: Path) -> None:
    """Copy no more than the size that the archive says, whatever is behind it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    with member.opened() as source, place.open("xb") as target:
        while block := source.read(min(_BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise InputError(f"{path}: {member.name!r:.200} in it unpacks to more than it says; pack it again.")
            target.write(block)
    if left:
        raise EOFError(f"{member.name} is cut short")


def where_files_begin(folder: Path) -> Path:
    """Go down while there is nothing but one folder: people pack the folder itself or what is in it."""
    entries = list(folder.iterdir())
    while len(entries) == 1 and entries[0].is_dir() and not entries[0].name.lower().endswith(".zarr"):
        folder = entries[0]
        entries = list(folder.iterdir())
    return folder
