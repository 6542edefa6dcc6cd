"""CVAT: "CVAT for images 1.1", with masks.

images/NAME.png               8-bit copies of the images, for a new task
labels.json                   the labels of the task, as its form "Raw" takes them
annotations.xml               the nuclei, to be uploaded into the task
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from tasks.annotation.outlines import nucleus_in
from tasks.annotation.returned_files import MOST_BYTES, faults_named, some_ending, stem_of
from tasks.annotation.run_lengths import mask_of, runs_of
from tasks.annotation.sheet import Kind, Nucleus, Sheet, cropped, patch_in
from tasks.annotation.shown_images import COPY, write_grey_copies
from tasks.annotation.tool import Classes, Images, Tool
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.image_files import read_bytes
from tasks.nuclei.plates.raster import MAX_FIELD_PIXELS, refuse_too_large

TITLE = "CVAT"
LABELS: dict[Kind, str] = {"nucleus": "nucleus", "unsure": "unsure", "context": "context"}
PATCH_LABEL = "patch"
DONE_LABEL = "corrected"
"""A tag of an image that was looked at."""
ID_ATTRIBUTE = "sent_id"
_COLOURS = {
    "nucleus": "#f0e442", "unsure": "#d55e00", "context": "#56b4e9", PATCH_LABEL: "#ffffff", DONE_LABEL: "#009e73",
}  # fmt: skip
_KINDS = {label: kind for kind, label in LABELS.items()}


def _write(sheets: Sequence[Sheet], images: Images, folder: Path) -> None:
    write_grey_copies(sheets, images, folder / "images")
    (folder / "labels.json").write_text(json.dumps(_labels(), indent=1))
    root = Element("annotations")
    root.append(ElementTree.Comment(COPY))
    SubElement(root, "version").text = "1.1"
    root.append(_meta(len(sheets)))
    for number, sheet in enumerate(sheets):
        root.append(_image(number, sheet))
    ElementTree.ElementTree(root).write(folder / "annotations.xml", encoding="utf-8", xml_declaration=True)


def _labels() -> list[dict[str, object]]:
    attribute = {"name": ID_ATTRIBUTE, "input_type": "text", "mutable": False, "values": [""], "default_value": ""}
    return [
        {"name": name, "color": colour, "attributes": [attribute] if name in _KINDS else []}
        for name, colour in _COLOURS.items()
    ]


def _meta(size: int) -> Element:
    meta = Element("meta")
    task = SubElement(meta, "task")
    for tag, text in (("name", "nuclei"), ("size", str(size)), ("mode", "annotation")):
        SubElement(task, tag).text = text
    labels = SubElement(task, "labels")
    for content in _labels():
        label = SubElement(labels, "label")
        SubElement(label, "name").text = str(content["name"])
        attributes = SubElement(label, "attributes")
        if content["attributes"]:
            attribute = SubElement(attributes, "attribute")
            for tag, text in (("name", ID_ATTRIBUTE), ("mutable", "False"), ("input_type", "text")):
                SubElement(attribute, tag).text = text
            SubElement(attribute, "default_value")
            SubElement(attribute, "values")
    return meta


def _image(number: int, sheet: Sheet) -> Element:
    height, width = sheet.size
    image = Element("image", id=str(number), name=f"{sheet.name}.png", width=str(width), height=str(height))
    if sheet.patch is not None:
        y0, x0, y1, x1 = map(str, sheet.patch)
        corners = {"xtl": x0, "ytl": y0, "xbr": x1, "ybr": y1}
        SubElement(image, "box", {"label": PATCH_LABEL, "source": "auto", "occluded": "0", **corners, "z_order": "-1"})
    for nucleus in sheet.nuclei:
        image.append(_mask(nucleus))
    return image


def _mask(nucleus: Nucleus) -> Element:
    height, width = nucleus.mask.shape
    place = {"left": nucleus.left, "top": nucleus.top, "width": width, "height": height}
    mask = Element("mask", {"label": LABELS[nucleus.kind], "source": "auto", "occluded": "0"})
    mask.set("rle", ", ".join(map(str, runs_of(nucleus.mask.ravel()))))
    for name, value in {**place, "z_order": 0}.items():
        mask.set(name, str(value))
    if nucleus.sent_id is not None:
        SubElement(mask, "attribute", name=ID_ATTRIBUTE).text = str(nucleus.sent_id)
    return mask


def _read(folder: Path) -> list[Sheet]:
    return [sheet for path in some_ending(folder, ".xml", TITLE) for sheet in _sheets(path)]


def _sheets(path: Path) -> list[Sheet]:
    content = read_bytes(path, MOST_BYTES)
    with faults_named(path, TITLE):
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise InputError("defines a document type, which CVAT doesn't write; export the task again.")
        try:
            root = ElementTree.fromstring(content)
        except ElementTree.ParseError as error:
            raise InputError(f"is damaged or cut short ({error}); export the task again.") from None
        if root.tag != "annotations" or root.find("track") is not None:
            raise InputError("isn't 'CVAT for images 1.1'; export the task in this format.")
        return [_sheet(image) for image in root.iter("image")]


def _sheet(image: Element) -> Sheet:
    name = stem_of(PurePosixPath(image.attrib["name"]).name)
    size = (int(image.attrib["height"]), int(image.attrib["width"]))
    refuse_too_large(size, MAX_FIELD_PIXELS)
    shapes = [shape for shape in image if shape.tag != "tag" and shape.get("label") != PATCH_LABEL]
    # Python's sort keeps the order of what has the same height in the pile.
    shapes.sort(key=lambda shape: int(shape.get("z_order", "0")))
    nuclei = [_nucleus(shape, size, name) for shape in shapes]
    is_done = any(tag.get("label") == DONE_LABEL for tag in image.iter("tag"))
    return Sheet(name, *size, patch_in(name), tuple(nucleus for nucleus in nuclei if nucleus is not None), is_done)


def _nucleus(shape: Element, size: tuple[int, int], name: str) -> Nucleus | None:
    label = shape.get("label", "")
    if label not in _KINDS:
        raise InputError(
            f"the image {name} has a shape with the label {label!r}; allowed are {', '.join([*_KINDS, PATCH_LABEL])}. "
            "Give it one of these in CVAT and export the task again."
        )
    if shape.tag == "mask":
        height, width = int(shape.attrib["height"]), int(shape.attrib["width"])
        refuse_too_large((height, width), MAX_FIELD_PIXELS)
        mask = mask_of([int(run) for run in shape.attrib["rle"].split(",")], height * width)
        found = cropped(mask.reshape(height, width), int(shape.attrib["top"]), int(shape.attrib["left"]), size)
    elif shape.tag == "polygon":
        points = [point.split(",") for point in shape.attrib["points"].split(";")]
        found = nucleus_in([[np.asarray(points, np.float64)]], size)
    else:
        raise InputError(
            f"the image {name} has a {shape.tag} with the label {label!r}; allowed are masks and polygons, "
            "draw it as one and export the task again."
        )
    if found is None:
        return None
    ids = [attribute.text for attribute in shape.iter("attribute") if attribute.get("name") == ID_ATTRIBUTE]
    return replace(found, kind=_KINDS[label], sent_id=int(ids[0]) if ids and ids[0] else None)


TOOL = Tool(
    "cvat",
    TITLE,
    by_patches=True,
    classes=Classes("Labels", LABELS),
    write=_write,
    read_files=_read,
    done_tag=DONE_LABEL,
)
