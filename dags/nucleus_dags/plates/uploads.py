"""Plates that a person puts together in a browser, until they are handed over to the inbox.

    inbox/.uploads/<id>/<plate>/     what has come so far; hidden, so that nothing takes it for a plate
    inbox/.uploads/<id>/.replaced/   the folder of an imported plate whose new version took its place in the inbox

They lie in the inbox because a plate is handed over by one rename, which needs one file system, and because the task
that looks at it sees the inbox. Names, archives and folders come from outside and are checked here: nothing is written
outside of an upload, nothing is a link, and some of the disk stays free.
"""

from __future__ import annotations

import lzma
import os
import re
import secrets
import shutil
import stat
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from nucleus_dags.errors import FormError
from nucleus_dags.files import flush, flush_all, make_folder, move, move_all, read_if_whole, time_at, write_whole
from nucleus_dags.plates.inbox import DONE, REJECTED, TO_ANNOTATE, Arrival, judge
from nucleus_dags.plates.names import is_ignored, problem_of, shown
from nucleus_dags.plates.no_plate import ARCHIVES, FOLDERS_OF_A_PLATE, HALF_COPIED
from nucleus_dags.plates.plate_json import PLATE_JSON, plates_in, read_plate_folder
from nucleus_dags.plates.returned import request_in

UPLOADS, REPLACED = ".uploads", ".replaced"
ROOTS = "NUCLEUS_FOLDERS"
"""Environment variable: folders of the server below which people may name one, separated as in PATH."""
LEAST_FREE_BYTES = 2**30
"""Stays free on the disk, for the store and the databases that may lie there too."""
MOST_FILES = 100_000
"""Of an archive."""
HALF = ".part"
BLOCK = 2**20
DAY_S = 86_400

METADATA_OF_ZARR = (".zattrs", ".zgroup", ".zarray", ".zmetadata")
"""Files that aren't ignored though they are hidden."""

_ID = re.compile(r"[0-9a-f]{16}")
_PLATE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DRIVE = re.compile(r"[A-Za-z]:")
_DAMAGED = (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Upload:
    """A plate on its way."""

    id: str
    """16 hex digits that nobody guesses."""
    folder: Path
    files: int
    bytes: int
    age_days: float
    """Since something of it changed."""

    @property
    def path(self) -> str:
        """As the form of `inspect_plate` asks for it: `<id>/<plate>`."""
        return f"{self.id}/{self.folder.name}"


def new_upload(inbox: Path, plate: str) -> Upload:
    """Make the empty folder of a plate; `plate` is what the person's folder or archive is called."""
    path = path_of(plate)
    if path is None or len(path.parts) != 1:
        raise FormError(f"{shown(plate)}: can't be the name of a folder; give the plate another name.")
    upload = secrets.token_hex(8)
    folder = _area(inbox) / upload / path
    make_folder(folder)
    return Upload(upload, folder, 0, 0, 0.0)


def find(inbox: Path, upload: str) -> Path:
    """Give the folder of the plate of an upload."""
    gone = FormError(f"There is no upload {shown(upload)}: it was handed over or removed; begin anew.")
    if not _ID.fullmatch(upload):
        raise gone
    try:
        entries = [entry for entry in (_area(inbox) / upload).iterdir() if not entry.name.startswith(".")]
    except OSError:
        raise gone from None
    if len(entries) != 1 or entries[0].is_symlink() or not entries[0].is_dir():
        raise gone
    return entries[0]


def folder_at(inbox: Path, path: str) -> Path:
    """Give the folder of a plate by its path in the area of uploads, `<id>/<plate>`."""
    upload, _, plate = path.partition("/")
    folder = find(inbox, upload)
    if folder.name != plate:
        raise FormError(f"The upload {upload} holds {shown(folder.name)}, and {shown(plate)} was asked for.")
    return folder


def path_of(name: str) -> PurePosixPath | None:
    """Give the path that a browser or an archive gives a file, relative to the plate; None for what systems leave.

    Raises FormError for one that leads elsewhere, or that can't be written.
    """
    # Windows may have written its own separators.
    text = name.replace("\\", "/")
    path = PurePosixPath(text)
    if not path.parts or path.is_absolute() or ".." in path.parts or _DRIVE.match(text):
        raise FormError(f"{shown(name)}: is a path that leads elsewhere; allowed are paths within the plate's folder.")
    if any(_is_left_out(part) for part in path.parts):
        return None
    for part in path.parts:
        if problem := problem_of(part):
            raise FormError(f"{shown(name)}: {problem}.")
    return path


def _is_left_out(name: str) -> bool:
    return is_ignored(name) and name not in METADATA_OF_ZARR


@contextmanager
def receiving(folder: Path, name: str, size: int | None = None) -> Iterator[IO[bytes]]:
    """Open a file of an upload to be written. It gets its name at the end; what is broken off leaves nothing.

    `size` is how many bytes are announced. Raises FormError for a bad name, for more or fewer bytes, and before the
    disk is full.
    """
    path = path_of(name)
    if path is None:
        with Path(os.devnull).open("wb") as nowhere:
            yield nowhere
        return
    target = folder / path
    half = target.with_name(f".{secrets.token_hex(4)}{HALF}")
    try:
        make_folder(target.parent)
        if target.is_dir():
            raise FileExistsError
    except (FileExistsError, NotADirectoryError):
        raise FormError(f"{shown(name)}: a file and a folder have the same name; rename one of them.") from None
    try:
        with half.open("xb") as file:
            yield _Bounded(file, folder)  # type: ignore[misc]
            written = file.tell()
        if size is not None and written != size:
            raise FormError(f"{shown(name)}: {written:,} of {size:,} bytes came; send it again.")
        flush(half)
        move(half, target)
    finally:
        half.unlink(missing_ok=True)


class _Bounded:
    """A file that leaves some of the disk free."""

    def __init__(self, file: IO[bytes], folder: Path) -> None:
        self._file, self._folder = file, folder

    def write(self, block: bytes) -> int:
        refuse_without_room(self._folder, len(block))
        return self._file.write(block)


def refuse_without_room(folder: Path, size: int) -> None:
    """Raise FormError if so many bytes more would leave too little of the disk."""
    free = shutil.disk_usage(folder).free - LEAST_FREE_BYTES
    if size > free:
        raise FormError(
            f"The disk of the inbox has room for {max(free, 0):,} bytes, and {size:,} are to come; free some room."
        )


def without_common_folder(names: Sequence[str]) -> list[str]:
    """Take away the folders that all files lie in, unless they belong to a plate: images/, labels/, images.ome.zarr/.

    So a folder that is dropped or packed as a whole is the plate, and not a folder in it.
    """
    parts = [PurePosixPath(name.replace("\\", "/")).parts for name in names]
    while parts and all(len(of_one) > 1 for of_one in parts) and len({of_one[0] for of_one in parts}) == 1:
        common = parts[0][0]
        if common.casefold() in FOLDERS_OF_A_PLATE or common.lower().endswith(".zarr"):
            break
        parts = [of_one[1:] for of_one in parts]
    return ["/".join(of_one) for of_one in parts]


def paths_in_plate(names: Sequence[str]) -> list[str | None]:
    """Give, of each file that a browser names, its path in the plate; None for one that isn't taken.

    Raises FormError if several files would have the same path: the last one would take the place of the others.
    """
    taken = [name for name in names if path_of(name) is not None]
    paths = without_common_folder(taken)
    if twins := [path for path, files in Counter(paths).items() if files > 1]:
        raise FormError(
            f"Several files would get the name {shown(twins[0])}, and only one of them could be kept; drop the plate "
            "as one folder with images/ and labels/."
        )
    by_name = dict(zip(taken, paths, strict=True))
    return [by_name.get(name) for name in names]


def unpack(folder: Path, name: str) -> None:
    """Put the files of a ZIP that was received into its place, and remove it. What is refused leaves nothing behind."""
    archive, unpacked = folder / _path_of_file(name), folder.parent / f".unpacked-{secrets.token_hex(4)}"
    unpacked.mkdir()
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = _members(zipped)
            refuse_without_room(folder, sum(entry.file_size for entry in members.values()))
            for path, entry in members.items():
                target = unpacked / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with zipped.open(entry) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, _Bounded(file, folder), BLOCK)
        entries = sorted(unpacked.iterdir())
        if there := next((entry.name for entry in entries if (folder / entry.name).exists()), None):
            raise FormError(
                f"{shown(name)}: holds {shown(there)}, which is there already; begin anew with one of them."
            )
        flush_all(unpacked)
        move_all({entry: folder / entry.name for entry in entries})
    except _DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormError(
            f"{shown(name)}: is damaged, only half there or has a password ({reason}); pack it as a plain ZIP and send "
            "it again."
        ) from None
    except (FileExistsError, NotADirectoryError):
        raise FormError(f"{shown(name)}: a file and a folder in it have the same name; rename one of them.") from None
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    archive.unlink()


def _members(zipped: zipfile.ZipFile) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Give the files of an archive by their paths in the plate; FormError for anything that isn't a plain file."""
    entries = [entry for entry in zipped.infolist() if not entry.is_dir()]
    if len(entries) > MOST_FILES:
        raise FormError(f"The archive has {len(entries):,} files; allowed are {MOST_FILES:,}, send it in parts.")
    wanted = [(entry, path) for entry in entries if (path := path_of(entry.filename)) is not None]
    members: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for (entry, _), name in zip(wanted, without_common_folder([str(path) for _, path in wanted]), strict=True):
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise FormError(f"{shown(entry.filename)}: is a link or no file; pack the file itself.")
        if PurePosixPath(name) in members:
            raise FormError(f"{shown(entry.filename)}: is in the archive twice; pack it again.")
        members[PurePosixPath(name)] = entry
    if not members:
        raise FormError("The archive holds no file; pack the plate's images.")
    return members


def _path_of_file(name: str) -> PurePosixPath:
    path = path_of(name)
    if path is None:
        raise FormError(f"{shown(name)}: isn't taken as a file of a plate; rename it.")
    return path


def take_folder(inbox: Path, folder: Path, source: str) -> None:
    """Put the files of a folder that the server can see into an upload: as hard links, or copied from other disks.

    Allowed are folders below the inbox and below those of `NUCLEUS_FOLDERS`: the server may read much that the people
    who use it may not. Nothing that is linked is ever written to. Raises FormError for anything but plain files.
    """
    root = _allowed(inbox, source)
    files: dict[Path, Path] = {}
    for here, folders, names in os.walk(root):
        for name in [*names, *(name for name in folders if Path(here, name).is_symlink())]:
            path = Path(here, name)
            if not _is_left_out(name) and path != root / DONE:
                _refuse_other_than_file(path, root)
                files[path] = folder / path.relative_to(root)
        folders[:] = [name for name in folders if not _is_left_out(name)]
    if not files:
        raise FormError(f"{source}: holds no file; give the folder with the plate's images.")
    for path, target in files.items():
        path_of(target.relative_to(folder).as_posix())
        make_folder(target.parent)
        _link_or_copy(path, target, folder)


def roots(inbox: Path) -> list[Path]:
    """Give the folders below which people may name one."""
    return [inbox, *(Path(text) for text in os.environ.get(ROOTS, "").split(os.pathsep) if text)]


def _allowed(inbox: Path, source: str) -> Path:
    """Give a folder without links in its path; FormError if nobody may name it."""
    resolved = Path(os.path.realpath(source))
    for root in roots(inbox):
        above = Path(os.path.realpath(root))
        if resolved != above and resolved.is_relative_to(above):
            is_hidden = any(part.startswith(".") for part in resolved.relative_to(above).parts)
            if not is_hidden and resolved.is_dir():
                return resolved
    allowed = ", ".join(map(str, roots(inbox)))
    raise FormError(
        f"{shown(source)}: is no folder that may be taken; allowed are folders below {allowed}. An administrator adds "
        f"others in {ROOTS}."
    )


def _refuse_other_than_file(path: Path, root: Path) -> None:
    name = shown(path.relative_to(root).as_posix())
    if not stat.S_ISREG(path.lstat().st_mode):
        raise FormError(f"{name}: is a link or no file; put the file itself in its place.")
    if path.name.lower().endswith(HALF_COPIED):
        raise FormError(f"{name}: is a copy that isn't finished; wait for it, or remove it.")


def _link_or_copy(path: Path, target: Path, folder: Path) -> None:
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError:
        raise FormError(f"{shown(target.name)}: is there already; begin anew with one of them.") from None
    except OSError:  # Another disk, one that has no links, or a file of somebody else.
        name, size = target.relative_to(folder).as_posix(), path.lstat().st_size
        with open(path, "rb", opener=_open_no_link) as source, receiving(folder, name, size) as file:
            shutil.copyfileobj(source, file, BLOCK)


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def write_plate_json(folder: Path, values: Mapping[str, Any]) -> None:
    """Write the plate.json of an upload; values that weren't given are left out."""
    write_whole(folder / PLATE_JSON, {key: value for key, value in values.items() if value not in (None, "")})


def hand_over(inbox: Path, upload: str, store: Path) -> Path:
    """Move a plate into the inbox, whole and with the file DONE; gives its folder there, which has the plate's name.

    The folder of an earlier version that was imported makes room for it, and stays in the upload for a while. Raises
    FormError for a plate that isn't whole, and if one of its name lies in the inbox that wasn't imported yet.
    """
    folder = find(inbox, upload)
    _refuse_unfinished(folder)
    name = read_plate_folder(folder).name
    if not _PLATE_NAME.fullmatch(name):
        raise FormError(
            f"{shown(name)}: can't be the name of a plate; allowed are letters from A to Z, digits, dot, underscore "
            "and hyphen, with a letter or digit first."
        )
    if name in (REJECTED, TO_ANNOTATE) or is_ignored(name):
        raise FormError(
            f"{name}: can't be the name of a plate, since the inbox uses or ignores it; choose another one."
        )
    standing = _standing(inbox, name)
    for other in standing:
        if not _was_imported(other, store):
            raise FormError(
                f"A plate {name} lies in the inbox, in the folder {shown(other.name)}, and wasn't imported yet: wait "
                "until ingest_plates has done it, remove that folder, or give this plate another name."
            )
    try:
        (folder / DONE).unlink(missing_ok=True)
        (folder / DONE).touch()
        flush_all(folder)
        if standing:
            make_folder(folder.parent / REPLACED)
            move_all({other: folder.parent / REPLACED / other.name for other in standing})
        move(folder, inbox / name)
    except OSError as error:
        raise FormError(
            f"{name}: can't be moved into the inbox ({error.strerror}); maybe somebody else hands over a plate of this "
            "name. Look at the list of plates, and try again."
        ) from error
    with suppress(OSError):  # What was replaced may lie there.
        (_area(inbox) / upload).rmdir()
    return inbox / name


def hand_over_labels(inbox: Path, upload: str, store: Path) -> tuple[Path, str]:
    """Move what an annotation tool exported into the inbox; gives where it lies there, and the request it answers.

    Earlier answers stay. Raises FormError for what isn't whole, and for what names no request of this store.
    """
    folder = find(inbox, upload)
    entries = list(folder.iterdir())
    entry = entries[0] if len(entries) == 1 and entries[0].is_file() else folder
    if any(path.name.lower().endswith(HALF_COPIED) for path in folder.rglob("*")):
        raise FormError("A file is still being sent, or broke off; wait, or begin anew.")
    request = request_in(entry)
    if request is None:
        raise FormError(
            "Nothing of it was sent by send_to_annotation: its images have no names that end with annotation- and 16 "
            "digits. Return what the tool exported, with the names of the images as they were."
        )
    if not (store / "send_to_annotation" / request).is_dir():
        raise FormError(
            f"It answers the request {request}, which was not sent from this installation; return it where it was sent."
        )
    target = inbox / (entry.name if entry.is_file() else f"annotation-{request}")
    if os.path.lexists(target):
        target = target.with_name(f"{target.stem}-{upload}{target.suffix}")
    flush_all(folder)
    move(entry, target)
    for left in (folder, folder.parent):
        with suppress(OSError):
            left.rmdir()
    return target, request


def _refuse_unfinished(folder: Path) -> None:
    for here, _, names in os.walk(folder):
        for name in names:
            if name.lower().endswith(HALF_COPIED):
                raise FormError("A file is still being sent, or broke off; wait, or begin anew.")
            if Path(here) == folder and name.lower().endswith(ARCHIVES):
                raise FormError(f"{shown(name)}: isn't unpacked; only a ZIP is, pack the plate so.")


def _standing(inbox: Path, name: str) -> list[Path]:
    """Give what lies in the inbox under a plate's name, be it that of the folder or the one in plate.json."""
    of_name = [plate.folder for plate in plates_in(inbox).plates if plate.name == name]
    return list(dict.fromkeys([*of_name, *([inbox / name] if os.path.lexists(inbox / name) else [])]))


def _was_imported(folder: Path, store: Path) -> bool:
    entry = judge(folder, 0)
    record = read_if_whole(entry.record(store)) if isinstance(entry, Arrival) else None
    return bool(record and record.get("plate"))


def all_uploads(inbox: Path) -> list[Upload]:
    """List the uploads that weren't handed over, those last that changed first."""
    area, now = _area(inbox), time_at(inbox)
    found = []
    for entry in area.iterdir():
        with suppress(FormError, OSError):  # Handed over or removed at this moment.
            states = [path.lstat() for path in (entry, *entry.rglob("*"))]
            files = [state for state in states if stat.S_ISREG(state.st_mode)]
            age_days = max(0.0, now - max(state.st_ctime for state in states)) / DAY_S
            size = sum(state.st_size for state in files)
            found.append(Upload(entry.name, find(inbox, entry.name), len(files), size, age_days))
    return sorted(found, key=lambda upload: upload.age_days)


def remove(inbox: Path, upload: str) -> None:
    """Remove an upload with all its files."""
    if _ID.fullmatch(upload):
        shutil.rmtree(_area(inbox) / upload, ignore_errors=True)


def old_uploads(inbox: Path, days: float) -> list[Path]:
    """Give the folders of uploads in which nothing has changed for so many days, and of what was replaced then."""
    before = (time_at(inbox) if inbox.is_dir() else time.time()) - days * DAY_S
    old = []
    for entry in sorted(path for path in (inbox / UPLOADS).glob("*") if _ID.fullmatch(path.name)):
        with suppress(OSError):
            if max(path.lstat().st_ctime for path in (entry, *entry.rglob("*"))) < before:
                old.append(entry)
    return old


def _area(inbox: Path) -> Path:
    area = inbox / UPLOADS
    if area.is_symlink():
        raise FormError(f"{area} is a link, and must be a folder; an administrator must correct it.")
    make_folder(area)
    return area
