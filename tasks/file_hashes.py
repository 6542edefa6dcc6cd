"""The SHA-256 of every file of a result, in `files.json` beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks.files import sha256_of

FILE_HASHES, RESULT = "files.json", "result.json"


def write_hashes(folder: Path) -> None:
    """Write `files.json` for all files of a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    (folder / FILE_HASHES).write_text(json.dumps(hashes, indent=1))


def read_hashes(folder: Path) -> dict[str, str] | None:
    """Give the SHA-256 of each file by its path in the folder; None without a readable `files.json`."""
    return _read_json(folder / FILE_HASHES)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def lost_file(folder: Path) -> str | None:
    """Name a file of a result that is missing or cut, as far as can be told without reading all of it; None otherwise.

    That is what file systems leave of a file that wasn't on the disk when the power went: no file, an empty one, or
    a part. JSON is small and compared with its hash; HDF5 says itself how long it is. Results of before there were
    hashes have no `files.json`; of them only `result.json` is looked at.
    """
    if not (folder / FILE_HASHES).exists():
        return None if _read_json(folder / RESULT) else RESULT
    hashes = read_hashes(folder)
    if hashes is None:
        return FILE_HASHES
    return next((name for name, sha256 in hashes.items() if _is_lost(folder / name, sha256)), None)


def _is_lost(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return True
    if path.suffix == ".json" or path.stat().st_size == 0:
        return sha256_of(path) != sha256
    return path.suffix == ".h5" and _is_cut(path)


def _is_cut(path: Path) -> bool:
    import h5py

    try:
        h5py.File(path, "r").close()
    except OSError as error:
        # One with a number is the storage's.
        if error.errno:
            raise
        return True
    return False
