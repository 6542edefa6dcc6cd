"""What was sent to annotation and what came back, in a store, with no more of each than the page reads."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from nucleus_dags.page.annotations import KINDS
from tests.dags.page.registered_models import key_of, result, table

JPEG = bytes(imagecodecs.jpeg_encode(np.full((120, 240), 90, np.uint8)))


def add_sent(store: Path, number: int, plate: str, patches: int = 0, tool: str = "cvat", **more: Any) -> str:
    """Put what `send_to_annotation` leaves into the store, with a queue if there are patches; gives its key."""
    key = key_of(number)
    queue = f"choose_patches/{key}/patches.csv" if patches else None
    if patches:
        _add_queue(store, key, patches)
    archive = f"corrected_{tool}_annotation-{key}.zip"
    params = {"plate": plate, "tool": tool, "target": "corrected", "role": "train", "patches": queue, **more}
    counts = {"fovs": 2, "patches": patches or 2, "nuclei": 93}
    folder = result(store, f"send_to_annotation/{key}", params, {"archive": archive}, counts=counts)
    with zipfile.ZipFile(folder / archive, "w") as packed:
        packed.writestr("annotations.xml", "<annotations/>")
    return key


def _add_queue(store: Path, key: str, patches: int) -> None:
    outputs = {"patches": "patches.csv", "pictures": "pictures"}
    folder = result(store, f"choose_patches/{key}", {}, outputs)
    (folder / "pictures").mkdir(exist_ok=True)
    rows = []
    for rank in range(1, patches + 1):
        place: dict[str, Any] = {"y0": 0, "x0": 100 * rank, "y1": 100, "x1": 100 * rank + 100}
        row = {"rank": rank, "fov": f"f{rank}", "well": "B02", **place, "nuclei": 48, "score": 0.31}
        rows.append({**row, "is_random": rank % 5 == 0, "why": "3 nuclei are seen by one segmentation <alone>."})
        (folder / "pictures" / f"{rank:04d}.jpg").write_bytes(JPEG)
    table(folder / "patches.csv", rows)


def add_answer(
    store: Path, number: int, request: str, effort: tuple[float, float, bool] | None = None, **counts: int
) -> str:
    """Put what `receive_annotation` leaves into the store; gives its key.

    `effort` are the hours that were spent, those of drawing by hand, and whether a tool recorded them.
    """
    key = key_of(number)
    spent = dict(zip(("hours", "hours_by_hand", "is_measured"), effort, strict=True)) if effort else None
    remarks = ["80 nuclei annotated in 2 fields", "2 images didn't come back and are left out of training and scores"]
    folder = result(
        store,
        f"receive_annotation/{key}",
        {"folder": "/inbox/export.zip", "request": request},
        {"page": "corrections.html"},
        counts={"fovs": 2, **dict.fromkeys(KINDS, 0), **counts},
        values={"remarks": remarks, "earlier": [], "sha256": "", "effort": spent},
    )
    (folder / "corrections.html").write_text(
        "<!doctype html><title>What was corrected</title><h1>What was corrected</h1>"
    )
    return key


def export_of(request: str, path: Path) -> Path:
    """Write what a tool exports of a request: a ZIP with the names of images as they were sent."""
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(f"ann/001_f1_annotation-{request}.png.json", "{}")
    return path
