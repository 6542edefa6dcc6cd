"""COCO instance JSON, which many tools read: masks as compressed run lengths, which keep holes and every pixel.

images/NAME.png               8-bit copies of the images
annotations.json              images, categories and nuclei
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as coco_masks

from tasks.annotation.outlines import nucleus_in
from tasks.annotation.returned_files import faults_named, read_json, some_ending, stem_of
from tasks.annotation.run_lengths import column_runs, nucleus_of_column_runs, runs_in_text
from tasks.annotation.sheet import Kind, Nucleus, Sheet, patch_in
from tasks.annotation.shown_images import COPY, write_grey_copies
from tasks.annotation.tool import Classes, Images, Tool
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.raster import MAX_FIELD_PIXELS, refuse_too_large

TITLE = "COCO JSON"
CATEGORIES: dict[Kind, int] = {"nucleus": 1, "unsure": 2, "context": 3}
NAMES: dict[Kind, str] = {kind: kind for kind in CATEGORIES}
ID_ATTRIBUTE = "sent_id"


def _write(sheets: Sequence[Sheet], images: Images, folder: Path) -> None:
    write_grey_copies(sheets, images, folder / "images")
    content = {
        "info": {"description": f"Nuclei. Images: {COPY}"},
        "images": [
            {"id": number, "file_name": f"{sheet.name}.png", "height": sheet.size[0], "width": sheet.size[1]}
            for number, sheet in enumerate(sheets, 1)
        ],
        "categories": [{"id": number, "name": NAMES[kind], "supercategory": ""} for kind, number in CATEGORIES.items()],
        "annotations": list(_annotations(sheets)),
    }
    (folder / "annotations.json").write_text(json.dumps(content))


def _annotations(sheets: Sequence[Sheet]) -> Iterator[dict[str, Any]]:
    number = 0
    for image, sheet in enumerate(sheets, 1):
        for nucleus in sheet.nuclei:
            number += 1
            height, width = nucleus.mask.shape
            yield {
                "id": number,
                "image_id": image,
                "category_id": CATEGORIES[nucleus.kind],
                "segmentation": _packed(nucleus, sheet.size),
                "bbox": [nucleus.left, nucleus.top, width, height],
                "area": nucleus.area_px,
                "iscrowd": 0,
                "attributes": {} if nucleus.sent_id is None else {ID_ATTRIBUTE: nucleus.sent_id},
            }


def _packed(nucleus: Nucleus, size: tuple[int, int]) -> dict[str, Any]:
    packed = coco_masks.frPyObjects({"size": list(size), "counts": column_runs(nucleus, size)}, *size)
    return {"size": list(size), "counts": packed["counts"].decode("ascii")}


def _read(folder: Path) -> list[Sheet]:
    sheets: list[Sheet] = []
    for path in some_ending(folder, ".json", TITLE):
        with faults_named(path, TITLE):
            sheets += _sheets(read_json(path))
    return sheets


def _sheets(content: Mapping[str, Any]) -> Iterator[Sheet]:
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    of_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        of_image[annotation["image_id"]].append(annotation)
    for image in content["images"]:
        name = stem_of(PurePosixPath(image["file_name"]).name)
        size = (int(image["height"]), int(image["width"]))
        refuse_too_large(size, MAX_FIELD_PIXELS)
        nuclei = [_nucleus(each, _kind(names, each, name), size) for each in of_image.pop(image["id"], [])]
        yield Sheet(name, *size, patch_in(name), tuple(nucleus for nucleus in nuclei if nucleus is not None))
    if of_image:
        raise InputError(
            f"has nuclei of images that it doesn't list ({', '.join(map(str, of_image))}); export it again."
        )


def _kind(names: Mapping[Any, str], annotation: Mapping[str, Any], image: str) -> Kind:
    name = names.get(annotation["category_id"], str(annotation["category_id"]))
    kinds = {title: kind for kind, title in NAMES.items()}
    if name.lower() not in kinds:
        raise InputError(
            f"the image {image} has a nucleus of the category {name!r}; allowed are {', '.join(kinds)}. "
            "Give it one of these in the tool and export it again."
        )
    return kinds[name.lower()]


def _nucleus(annotation: Mapping[str, Any], kind: Kind, size: tuple[int, int]) -> Nucleus | None:
    """Read a nucleus in any of COCO's forms: run lengths, packed or as a list, and polygons."""
    form = annotation["segmentation"]
    if isinstance(form, dict):
        if [int(length) for length in form["size"]] != list(size):
            raise InputError(f"has a mask for an image of {form['size']} px in one of {list(size)}; export it again.")
        counts = form["counts"]
        found = nucleus_of_column_runs(runs_in_text(counts) if isinstance(counts, str) else counts, size)
    elif form:
        found = nucleus_in([[np.asarray(points, np.float64).reshape(-1, 2)] for points in form], size)
    else:
        raise InputError(f"has an annotation without an outline (id {annotation.get('id')}); draw it as a mask.")
    if found is None:
        return None
    sent_id = annotation.get("attributes", {}).get(ID_ATTRIBUTE)
    return replace(found, kind=kind, sent_id=None if sent_id in (None, "") else int(sent_id))


TOOL = Tool("coco", TITLE, by_patches=True, classes=Classes("Categories", NAMES), write=_write, read_files=_read)
