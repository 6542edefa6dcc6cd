"""The images of all imported training and test plates, in one file beside the plates.

Reports hold much more than what tells copies, and of thousands of screening plates nothing is asked. The file is made
of the reports and may be removed at any time. Whenever it is read, it is compared with the folder: what has come, or
whose report has another size or time, is read anew, and what is gone is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.files import flush, move, of_earlier_try
from tasks.nuclei.plates.files import FROZEN_REPORT
from tasks.nuclei.plates.info import PlateInfo

KNOWN_IMAGES = ".known_images.parquet"
NO_IMAGE: Mapping[str, Any] = {"image": "", "pixels_sha256": "", "values": [], "blocks": "", "thumbnail": ""}
"""Says of a screening plate that it is one."""

Stamp = tuple[int, int]
"""Bytes of a report and when it was written (ns)."""


def images_of_role(role: str, frozen: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the name of the plate and the row, as in report.json, of every image of the imported plates of a role.

    Whoever calls it holds the lock of roles. Role is train or test.
    """
    table = _table(frozen)
    for row in table[table["role"] == role].to_dict("records"):
        fingerprint = {"values": list(row["values"]), "blocks": row["blocks"], "thumbnail": row["thumbnail"]}
        plate = row["folder"].rpartition("@")[0]
        yield plate, {"image": row["image"], "pixels_sha256": row["pixels_sha256"], "fingerprint": fingerprint}


def _table(frozen: Path) -> pd.DataFrame:
    """Give what is known, and write it where something has changed."""
    path = frozen / KNOWN_IMAGES
    stamps = dict(_stamps(frozen))
    before = of_earlier_try(path, lambda file: pd.read_parquet(file, columns=_COLUMNS))
    if before is None:
        before = pd.DataFrame(columns=_COLUMNS)
    is_true = [stamp == stamps.get(name) for name, stamp in _of_rows(before)]
    known = {name for (name, _), true in zip(_of_rows(before), is_true, strict=True) if true}
    new = [row for name, stamp in stamps.items() if name not in known for row in _rows_of(frozen / name, stamp)]
    if all(is_true) and not new:
        return before
    kept = [before.loc[np.array(is_true, bool)]] if known else []
    table = pd.concat([*kept, pd.DataFrame(new, columns=_COLUMNS)], ignore_index=True)
    # Not beside it under a name of this process's own: one that is killed would leave it for ever.
    table.to_parquet(beside := path.with_name(f"{KNOWN_IMAGES}.new"), index=False)
    flush(beside)
    move(beside, path)
    return table


_COLUMNS = ["folder", "role", "report_bytes", "report_ns", *NO_IMAGE]


def _of_rows(table: pd.DataFrame) -> Iterator[tuple[str, Stamp]]:
    return zip(table["folder"], zip(table["report_bytes"], table["report_ns"], strict=True), strict=True)


def _stamps(frozen: Path) -> Iterator[tuple[str, Stamp]]:
    for path in sorted(frozen.glob(f"*@*/{FROZEN_REPORT}")):
        if path.parent.name.startswith("."):
            continue
        with suppress(FileNotFoundError):  # Removed meanwhile.
            stat = path.stat()
            yield path.parent.name, (stat.st_size, stat.st_mtime_ns)


def _rows_of(folder: Path, stamp: Stamp) -> list[dict[str, Any]]:
    """Give the rows of a plate; none if it has been removed meanwhile."""
    try:
        return _read(folder, stamp)
    except FileNotFoundError:
        return []


def _read(folder: Path, stamp: Stamp) -> list[dict[str, Any]]:
    role = PlateInfo.model_validate_json((folder / "plate.json").read_bytes()).role
    images: Sequence[Mapping[str, Any]] = [NO_IMAGE]
    if role != "screen":
        images = [_image(row) for row in json.loads((folder / FROZEN_REPORT).read_text())["fovs"]]
    of_plate = {"folder": folder.name, "role": role, "report_bytes": stamp[0], "report_ns": stamp[1]}
    return [{**of_plate, **image} for image in images]


def _image(row: Mapping[str, Any]) -> dict[str, Any]:
    # Of plates that were imported before there were fingerprints, only the hash of the pixels is known.
    return {**NO_IMAGE, "image": row["image"], "pixels_sha256": row["pixels_sha256"], **row.get("fingerprint", {})}
