"""Supervisely: a project folder with masks as bitmaps, the way of the paper.

meta.json                     classes and tags
nuclei/img/NAME.png           8-bit copy of the image
nuclei/ann/NAME.png.json      its nuclei
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.annotation.outlines import nucleus_in
from tasks.annotation.returned_files import faults_named, read_json, some_ending, stem_of
from tasks.annotation.sheet import Kind, Nucleus, Sheet, cropped, patch_in
from tasks.annotation.shown_images import FAST, description, write_grey_copies
from tasks.annotation.supervisely_times import with_minutes
from tasks.annotation.tool import Classes, Images, Tool
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.patch_grid import Patch
from tasks.nuclei.plates.raster import MAX_FIELD_PIXELS, refuse_too_large

TITLE = "Supervisely"
CLASSES: dict[Kind, str] = {"nucleus": "Nucleus", "unsure": "unsure", "context": "Nucleus-processed"}
"""Names of the classes as in the paper's export, and of the one for what nobody can tell."""
PATCH_CLASS = "bounding-box"
ID_TAG = "sent_id"
DONE_TAG = "corrected"
"""Of an image that was looked at, as in the paper's export."""
_COLOURS = {"Nucleus": "#F0E442", "unsure": "#D55E00", "Nucleus-processed": "#56B4E9", PATCH_CLASS: "#FFFFFF"}
_MOST_BITMAP_BYTES = 2**24


def _write(sheets: Sequence[Sheet], images: Images, folder: Path) -> None:
    dataset = folder / "nuclei"
    write_grey_copies(sheets, images, dataset / "img")
    (dataset / "ann").mkdir()
    (folder / "meta.json").write_text(json.dumps(_meta(), indent=1))
    for sheet in sheets:
        content = _annotation(sheet, description(sheet))
        inside(dataset / "ann", f"{sheet.name}.png.json").write_text(json.dumps(content))


def _meta() -> dict[str, Any]:
    # Of any shape, so that an annotator may draw with a brush or a polygon.
    shapes = {title: "rectangle" if title == PATCH_CLASS else "any" for title in _COLOURS}
    classes = [
        {"title": title, "shape": shape, "color": _COLOURS[title], "geometry_config": {}, "hotkey": ""}
        for title, shape in shapes.items()
    ]
    tags = [
        {"name": name, "value_type": kind, "color": "#009E73", "hotkey": ""}
        for name, kind in ((ID_TAG, "any_number"), (DONE_TAG, "none"))
    ]
    return {"classes": classes, "tags": tags, "projectType": "images"}


def _annotation(sheet: Sheet, text: str) -> dict[str, Any]:
    height, width = sheet.size
    # The rectangle first, so that it lies under the nuclei.
    patch = [_rectangle(sheet.patch)] if sheet.patch is not None else []
    objects = [*patch, *(_object(nucleus) for nucleus in sheet.nuclei)]
    return {"description": text, "tags": [], "size": {"height": height, "width": width}, "objects": objects}


def _rectangle(patch: Patch) -> dict[str, Any]:
    corners = [[patch.x0, patch.y0], [patch.x1 - 1, patch.y1 - 1]]
    return {
        "description": "", "tags": [], "classTitle": PATCH_CLASS, "geometryType": "rectangle",
        "points": {"exterior": corners, "interior": []},
    }  # fmt: skip


def _object(nucleus: Nucleus) -> dict[str, Any]:
    return {
        "description": "",
        "tags": [] if nucleus.sent_id is None else [{"name": ID_TAG, "value": nucleus.sent_id}],
        "classTitle": CLASSES[nucleus.kind],
        "geometryType": "bitmap",
        "bitmap": {"origin": [nucleus.left, nucleus.top], "data": _packed(nucleus.mask)},
    }


def _packed(mask: NDArray[np.bool_]) -> str:
    """Pack a mask as Supervisely's own library does: a PNG of two colours whose first is transparent."""
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    png = io.BytesIO()
    image.save(png, "PNG", transparency=0, compress_level=FAST)
    return base64.b64encode(zlib.compress(png.getvalue(), FAST)).decode()


def _read(folder: Path) -> list[Sheet]:
    paths = [path for path in some_ending(folder, ".json", TITLE) if path.parent.name == "ann"]
    if not paths:
        raise InputError(
            f"{folder}: has JSON files, but none in a folder 'ann', as a project of Supervisely has; download the "
            "project as 'json annotations' (.json), with or without images."
        )
    found = [_read_file(path) for path in paths]
    return with_minutes([each.sheet for each in found], [each.objects for each in found])


class _Read(NamedTuple):
    sheet: Sheet
    objects: list[Mapping[str, Any]]
    """The object in the file of each nucleus."""


def _read_file(path: Path) -> _Read:
    content = read_json(path)
    with faults_named(path, TITLE):
        return _sheet(stem_of(path.name, ".json"), content)


def _sheet(name: str, content: Mapping[str, Any]) -> _Read:
    size = (int(content["size"]["height"]), int(content["size"]["width"]))
    refuse_too_large(size, MAX_FIELD_PIXELS)
    drawn = [(_nucleus(each, size), each) for each in content["objects"] if each["classTitle"] != PATCH_CLASS]
    there = [(nucleus, each) for nucleus, each in drawn if nucleus is not None]
    is_done = any(tag["name"] == DONE_TAG for tag in content.get("tags", []))
    sheet = Sheet(name, *size, patch_in(name), tuple(nucleus for nucleus, _ in there), is_done)
    return _Read(sheet, [each for _, each in there])


def _nucleus(content: Mapping[str, Any], size: tuple[int, int]) -> Nucleus | None:
    kinds = {title: kind for kind, title in CLASSES.items()}
    title, shape = content["classTitle"], content.get("geometryType") or ("bitmap" if "bitmap" in content else None)
    if title not in kinds:
        raise InputError(
            f"has an object of the class {title!r}; allowed are {', '.join([*kinds, PATCH_CLASS])}. "
            "Give it one of these in Supervisely and download the project again."
        )
    if shape == "bitmap":
        left, top = content["bitmap"]["origin"]
        found = cropped(_unpacked(content["bitmap"]["data"]), int(top), int(left), size)
    elif shape == "polygon":
        found = _of_polygons(content.get("parts") or [content["points"]], size)
    else:
        raise InputError(f"has a {shape} of the class {title!r}; allowed are masks and polygons, draw it as one.")
    if found is None:
        return None
    ids = [tag["value"] for tag in content.get("tags", []) if tag["name"] == ID_TAG]
    sent_id = int(ids[0]) if ids and ids[0] is not None else None
    return replace(found, kind=kinds[title], sent_id=sent_id, author=content.get("labelerLogin"))


def _of_polygons(parts: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> Nucleus | None:
    """Fill polygons. In the labelling tool points lie between pixels; the library has made whole pixels of them."""
    polygons = [[part["exterior"], *part.get("interior", [])] for part in parts]
    points = np.concatenate([ring for rings in polygons for ring in rings]).astype(np.float64)
    if (points % 1).any():
        return nucleus_in(polygons, size)
    if (points < 0).any() or (points >= size[::-1]).any():
        raise InputError("has a polygon with points outside of the image; draw it again.")
    corner = points.min(axis=0).astype(np.int32)
    width, height = (points.max(axis=0).astype(np.int32) - corner + 1).tolist()
    mask = np.zeros((height, width), np.uint8)
    for rings in polygons:
        # As the library draws: the pixels of the points belong to it, and those of the points of holes don't.
        exterior, *interior = (np.asarray(ring, np.int32) - corner for ring in rings)
        part = np.zeros_like(mask)
        cv2.fillPoly(part, [exterior], 1)
        cv2.fillPoly(part, interior, 0)
        mask |= part
    return cropped(mask, int(corner[1]), int(corner[0]), size)


def _unpacked(text: str) -> NDArray[np.bool_]:
    """Read a mask: a PNG in Base64, compressed once more or not; transparency tells, if there is any."""
    data = base64.b64decode(text)
    if not data.startswith(b"\x89PNG"):
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(data, _MOST_BITMAP_BYTES)
        if unpacking.unconsumed_tail or not unpacking.eof:
            raise InputError("has a mask that is cut short or far too large; download the project again.")
    width, height = (int.from_bytes(data[place : place + 4], "big") for place in (16, 20))
    refuse_too_large((height, width), MAX_FIELD_PIXELS)
    pixels = imagecodecs.png_decode(data)
    if pixels.ndim == 2:
        return np.asarray(pixels > 0)
    # Grey or colours with transparency, or colours alone.
    return np.asarray(pixels[..., -1] > 0 if pixels.shape[-1] in (2, 4) else pixels.any(axis=-1))


TOOL = Tool(
    "supervisely",
    TITLE,
    by_patches=True,
    classes=Classes("Classes", CLASSES),
    write=_write,
    read_files=_read,
    done_tag=DONE_TAG,
)
