"""Somebody who corrects a project in Supervisely: edits the exported files as the tool leaves them, and nothing else.

It reads and writes JSON, Base64, zlib and PNG by itself and shares no code with the pipeline, so that a mistake of the
pipeline's codec isn't made twice, once on the way out and once on the way back.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LOGIN = "ada"
IMPORTED = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
SECONDS_PER_EDIT = 6
GOOD_ENOUGH_IOU = 0.9
"""An outline that fits so well is left as it was proposed."""
NUCLEUS, SHOWN_ONLY, PATCH = "Nucleus", "Nucleus-processed", "bounding-box"
DONE = "corrected"

Json = dict[str, Any]
Mask = NDArray[np.bool_]


@dataclass
class SuperviselyAnnotator:
    """Knows the true label image, (y, x), of each field by its name, which is part of the names of images."""

    truth: Mapping[str, NDArray[np.integer]]
    edits: Counter[str] = field(default_factory=Counter)
    """How many proposals were left, reshaped, split, merged into another and deleted, and how many nuclei added."""
    drawn: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    """What is to be seen of each field in the end, every nucleus with another number; the last drawn lies on top."""
    now: datetime = IMPORTED

    def correct(self, archive: Path, answer: Path) -> None:
        """Correct all images of an archive that was sent, give them the tag of those that are done, and export them."""
        self._export(archive, answer, is_corrected=True)

    def accept(self, archive: Path, answer: Path) -> None:
        """Give all images that tag without a look, and export them."""
        self._export(archive, answer, is_corrected=False)

    def _export(self, archive: Path, answer: Path, is_corrected: bool) -> None:
        """Write what the tool gives as JSON annotations: no images, all in a folder of the project's name."""
        with zipfile.ZipFile(archive) as sent, zipfile.ZipFile(answer, "w", zipfile.ZIP_DEFLATED) as exported:
            for name in sent.namelist():
                content = sent.read(name)
                if name.endswith(".json") and "/ann/" in name:
                    annotation = json.loads(content)
                    objects = [self._as_imported(one) for one in annotation["objects"]]
                    if is_corrected:
                        objects = list(self._corrected(self._fov_of(name), objects))
                    tags = [{"name": DONE, "value": None, "labelerLogin": LOGIN}]
                    content = json.dumps(annotation | {"objects": objects, "tags": tags}).encode()
                if not name.endswith(".png"):
                    exported.writestr(f"4711_nuclei/{name}", content)

    def _fov_of(self, name: str) -> str:
        return next(fov for fov in self.truth if f"_{fov}_" in name)

    @staticmethod
    def _as_imported(sent: Json) -> Json:
        return sent | {"labelerLogin": LOGIN, "createdAt": _text(IMPORTED), "updatedAt": _text(IMPORTED)}

    def _corrected(self, fov: str, objects: Sequence[Json]) -> Iterator[Json]:
        """Give the objects of an image as they are when all nuclei of its patch are right."""
        labels = self.truth[fov]
        drawn = self.drawn.setdefault(fov, np.zeros(labels.shape, np.int32))
        proposals = [one for one in objects if one["classTitle"] == NUCLEUS]
        shapes = [decoded(one["bitmap"], labels.shape) for one in proposals]
        done_elsewhere = [decoded(one["bitmap"], labels.shape) for one in objects if one["classTitle"] == SHOWN_ONLY]
        nuclei = [labels == number for number in np.unique(labels)[1:]]
        nuclei_of: dict[int, list[Mask]] = {place: [] for place in range(len(proposals))}
        unseen = []
        for nucleus in nuclei:
            if (place := _covering(nucleus, shapes)) is not None:
                nuclei_of[place].append(nucleus)
            elif _covering(nucleus, done_elsewhere) is None and _is_in_patch(nucleus, objects):
                unseen.append(nucleus)
        yield from (one for one in objects if one["classTitle"] != NUCLEUS)
        for place, proposal in enumerate(proposals):
            for nucleus, corrected in self._as_nuclei(proposal, shapes[place], nuclei_of[place], nuclei):
                drawn[nucleus] = drawn.max() + 1
                yield corrected
        for nucleus in unseen:
            drawn[nucleus] = drawn.max() + 1
            self.edits["added"] += 1
            yield self._edited(
                {"classTitle": NUCLEUS, "geometryType": "bitmap", "tags": [], "description": ""}, nucleus
            )

    def _as_nuclei(
        self, proposal: Json, shape: Mask, own: Sequence[Mask], nuclei: Sequence[Mask]
    ) -> Iterator[tuple[Mask, Json]]:
        """Give what becomes of a proposal that was drawn over these nuclei."""
        if not own:
            self.edits["merged" if _covering(shape, nuclei) is not None else "deleted"] += 1
        elif len(own) == 1 and iou(own[0], shape) >= GOOD_ENOUGH_IOU:
            self.edits["left"] += 1
            yield shape, proposal
        else:
            self.edits["reshaped" if len(own) == 1 else "split"] += 1
            # Cut in parts, each of which keeps the tags.
            yield from ((nucleus, self._edited(proposal, nucleus)) for nucleus in own)

    def _edited(self, before: Json, nucleus: Mask) -> Json:
        self.now += timedelta(seconds=SECONDS_PER_EDIT)
        times = {"createdAt": before.get("createdAt", _text(self.now)), "updatedAt": _text(self.now)}
        return before | times | {"labelerLogin": LOGIN, "bitmap": encoded(nucleus)}


def decoded(bitmap: Mapping[str, Any], shape: tuple[int, ...]) -> Mask:
    """Give the mask, (y, x) of the whole image, of a bitmap as the tool writes it."""
    png = Image.open(io.BytesIO(zlib.decompress(base64.b64decode(bitmap["data"]))))
    opaque = np.asarray(png.convert("RGBA"))[..., 3] > 0
    left, top = bitmap["origin"]
    mask = np.zeros(shape, bool)
    mask[top : top + opaque.shape[0], left : left + opaque.shape[1]] = opaque
    return mask


def encoded(mask: Mask) -> Json:
    """Give the bitmap of a mask as the tool writes it in a browser: a PNG in colours with transparency."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    pixels = np.zeros((*box.shape, 4), np.uint8)
    pixels[box] = 255
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    data = base64.b64encode(zlib.compress(png.getvalue())).decode()
    return {"data": data, "origin": [int(columns[0]), int(rows[0])]}


def iou(one: Mask, other: Mask) -> float:
    """Give the intersection over union of two masks."""
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def _covering(mask: Mask, others: Sequence[Mask]) -> int | None:
    """Give which one covers most of a mask, if it covers half of it, or is covered by it to the half."""
    shared = [int(np.count_nonzero(mask & other)) for other in others]
    if not shared:
        return None
    best = int(np.argmax(shared))
    smaller = min(np.count_nonzero(mask), np.count_nonzero(others[best]))
    return best if 2 * shared[best] > smaller else None


def _is_in_patch(nucleus: Mask, objects: Sequence[Json]) -> bool:
    """Whether the middle of a nucleus lies in the rectangle that shows what is to be looked at, if there is one."""
    y, x = (float(np.mean(places)) for places in np.nonzero(nucleus))
    for one in objects:
        if one["classTitle"] == PATCH:
            (left, top), (right, bottom) = one["points"]["exterior"]
            # The pixels at both corners belong to it.
            return top - 0.5 <= y < bottom + 0.5 and left - 0.5 <= x < right + 0.5
    return True


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
