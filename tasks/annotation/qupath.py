"""QuPath: annotations as GeoJSON along the corners of pixels, beside the image.

NAME.tif                      the image
NAME.geojson                  its nuclei
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.annotation.outlines import Polygon, closed, nucleus_in, polygons_of
from tasks.annotation.returned_files import faults_named, files_ending, read_json, size_beside, some_ending, stem_of
from tasks.annotation.sheet import Kind, Nucleus, Sheet, patch_in
from tasks.annotation.shown_images import write_images
from tasks.annotation.tool import Classes, Images, Tool
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.patch_grid import Patch

TITLE = "QuPath"
CLASSES: dict[Kind, str] = {"nucleus": "Nucleus", "unsure": "unsure", "context": "context"}
PATCH_CLASS = "patch"
ID_NAME = "nucleus "
"""Begins the name of an annotation that was sent; its number follows."""
_COLOURS = {"Nucleus": [240, 228, 66], "unsure": [213, 94, 0], "context": [86, 180, 233], PATCH_CLASS: [255, 255, 255]}
_KINDS = {title.lower(): kind for kind, title in CLASSES.items()}


def _write(sheets: Sequence[Sheet], images: Images, folder: Path) -> None:
    write_images(sheets, images, folder)
    for sheet in sheets:
        patch = [] if sheet.patch is None else [_of_patch(sheet.patch)]
        features = [*patch, *(_of_nucleus(nucleus) for nucleus in sheet.nuclei)]
        content = json.dumps({"type": "FeatureCollection", "features": features})
        inside(folder, f"{sheet.name}.geojson").write_text(content)


def _of_patch(patch: Patch) -> dict[str, Any]:
    y0, x0, y1, x1 = patch
    corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    return _feature({"type": "Polygon", "coordinates": [corners]}, PATCH_CLASS, PATCH_CLASS, is_locked=True)


def _of_nucleus(nucleus: Nucleus) -> dict[str, Any]:
    name = None if nucleus.sent_id is None else f"{ID_NAME}{nucleus.sent_id}"
    return _feature(_geometry(polygons_of(nucleus)), CLASSES[nucleus.kind], name, nucleus.kind == "context")


def _geometry(polygons: Sequence[Polygon]) -> dict[str, Any]:
    # Some readers, QuPath's among them, don't take a MultiPolygon of one.
    rings = [[closed(ring) for ring in polygon] for polygon in polygons]
    several = len(rings) > 1
    return {"type": "MultiPolygon" if several else "Polygon", "coordinates": rings if several else rings[0]}


def _feature(geometry: dict[str, Any], title: str, name: str | None, is_locked: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "classification": {"name": title, "color": _COLOURS[title]},
        "isLocked": is_locked,
    }
    if name is not None:
        properties["name"] = name
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _read(folder: Path) -> list[Sheet]:
    paths = files_ending(folder, ".geojson") or some_ending(folder, ".json", TITLE)
    return [_sheet(path) for path in paths]


def _sheet(path: Path) -> Sheet:
    name = stem_of(path.name, path.suffix)
    size = size_beside(path, name)
    content = read_json(path)
    with faults_named(path, TITLE):
        features = content["features"] if isinstance(content, dict) else content
        nuclei = [_nucleus(feature, size) for feature in features if _class_of(feature) != PATCH_CLASS]
    height, width = size or (None, None)
    return Sheet(name, height, width, patch_in(name), tuple(nucleus for nucleus in nuclei if nucleus is not None))


def _class_of(feature: Mapping[str, Any]) -> str:
    """Give the class in lower case. What an annotator draws has none until they give it one; it is a nucleus.

    Classes that were derived from others have several names, as have all that QuPath's library for Python writes.
    """
    classification = feature["properties"].get("classification") or {}
    name = classification.get("name") or ": ".join(classification.get("names") or [])
    return str(name or CLASSES["nucleus"]).lower()


def _nucleus(feature: Mapping[str, Any], size: tuple[int, int] | None) -> Nucleus | None:
    title, geometry = _class_of(feature), feature["geometry"]
    if title not in _KINDS:
        raise InputError(
            f"has an annotation of the class {title!r}; allowed are {', '.join([*CLASSES.values(), PATCH_CLASS])}. "
            "Give it one of these in QuPath and export it again."
        )
    if geometry["type"] not in ("Polygon", "MultiPolygon"):
        raise InputError(f"has a {geometry['type']} of the class {title!r}; allowed are areas, draw it as one.")
    rings = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    found = nucleus_in(rings, size)
    if found is None:
        return None
    number = str(feature["properties"].get("name") or "").removeprefix(ID_NAME)
    return replace(found, kind=_KINDS[title], sent_id=int(number) if number.isdecimal() else None)


TOOL = Tool("qupath", TITLE, by_patches=True, classes=Classes("Classes", CLASSES), write=_write, read_files=_read)
