"""ImageJ and Fiji: the outlines of the ROI manager, along the corners of pixels, beside the image.

NAME.tif                      the image, with the contrast in which it is shown
NAME.zip                      a ROI for each nucleus; those with holes or in pieces are composite
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roifile import ROI_TYPE, ImagejRoi

from tasks.annotation.outlines import Ring, nucleus_in, polygons_of
from tasks.annotation.returned_files import MOST_BYTES, faults_named, files_ending, size_beside, some_ending, stem_of
from tasks.annotation.sheet import Kind, Nucleus, Sheet, patch_in
from tasks.annotation.shown_images import write_images
from tasks.annotation.tool import Classes, Images, Tool
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.patch_grid import Patch
from tasks.nuclei.plates.image_files import read_bytes

TITLE = "ImageJ"
NAMES: dict[Kind, str] = {"nucleus": "nucleus", "unsure": "unsure", "context": "context"}
PATCH_NAME = "patch"
_NAME = re.compile(rf"({'|'.join(NAMES.values())})-([1-9]\d*)(?:-\d+)?")
"""ImageJ adds a number to a name that is there already; ROIs that are drawn have names such as 0123-0456."""
_AREAS = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED, ROI_TYPE.OVAL, ROI_TYPE.RECT)
_MOST_ROI_BYTES = 2**24
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


def _write(sheets: Sequence[Sheet], images: Images, folder: Path) -> None:
    write_images(sheets, images, folder)
    for sheet in sheets:
        with zipfile.ZipFile(inside(folder, f"{sheet.name}.zip"), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as rois:
            for name, roi in _rois(sheet):
                roi.name = name
                rois.writestr(f"{name}.roi", roi.tobytes())


def _rois(sheet: Sheet) -> Iterator[tuple[str, ImagejRoi]]:
    if sheet.patch is not None:
        yield PATCH_NAME, _of_patch(sheet.patch)
    new = 0
    for nucleus in sheet.nuclei:
        new += nucleus.sent_id is None
        # A number among those of ROIs that ImageJ made itself would be taken for one that was sent.
        number = f"{nucleus.sent_id}" if nucleus.sent_id is not None else f"new{new}"
        yield f"{NAMES[nucleus.kind]}-{number}", _of_rings([ring for rings in polygons_of(nucleus) for ring in rings])


def _of_patch(patch: Patch) -> ImagejRoi:
    y0, x0, y1, x1 = patch
    roi = ImagejRoi()
    roi.roitype = ROI_TYPE.RECT
    roi.top, roi.left, roi.bottom, roi.right = y0, x0, y1, x1
    return roi


def _of_rings(rings: Sequence[Ring]) -> ImagejRoi:
    if len(rings) == 1:
        roi = ImagejRoi.frompoints(rings[0].astype(np.int32))
        roi.roitype = ROI_TYPE.TRACED
        return roi
    points = np.concatenate(rings)
    roi = ImagejRoi()
    roi.roitype = ROI_TYPE.RECT
    (roi.left, roi.top), (roi.right, roi.bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    roi.multi_coordinates = np.concatenate([_path(ring) for ring in rings]).astype(np.float32)
    roi.shape_roi_size = len(roi.multi_coordinates)
    return roi


def _path(ring: Ring) -> NDArray[np.float64]:
    """Give a ring as ImageJ keeps a path: what to do, and where, one after the other."""
    steps = np.full((len(ring), 3), _LINE)
    steps[0, 0] = _MOVE
    steps[:, 1:] = ring
    return np.append(steps.ravel(), _CLOSE)


def _read(folder: Path) -> list[Sheet]:
    return [_sheet(path) for path in _archives(folder)]


def _archives(folder: Path) -> list[Path]:
    if files_ending(folder, ".roi") and not files_ending(folder, ".zip"):
        raise InputError(
            f"{folder}: has single .roi files, which don't say of which image they are; in the ROI manager of ImageJ, "
            "select all and choose More > Save, into a ZIP with the name of the image."
        )
    return some_ending(folder, ".zip", TITLE)


def _sheet(path: Path) -> Sheet:
    name = stem_of(path.name, path.suffix)
    size = size_beside(path, name)
    nuclei = []
    with faults_named(path, TITLE):
        for entry, content in _entries(path):
            roi = ImagejRoi.frombytes(content)
            if entry != PATCH_NAME:
                nuclei.append(_nucleus(entry, roi, size))
    height, width = size or (None, None)
    return Sheet(name, height, width, patch_in(name), tuple(nucleus for nucleus in nuclei if nucleus is not None))


def _entries(path: Path) -> Iterator[tuple[str, bytes]]:
    """Give the names of the ROIs of a ZIP and their content."""
    content = read_bytes(path, MOST_BYTES)
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile:
        raise InputError("is damaged or cut short; save the ROIs again.") from None
    for entry in archive.infolist():
        if not entry.filename.lower().endswith(".roi"):
            continue
        if entry.file_size > _MOST_ROI_BYTES:
            raise InputError(f"has a ROI of {entry.file_size:,} bytes ({entry.filename}); draw it again.")
        try:
            yield Path(entry.filename).stem, archive.read(entry)
        except zipfile.BadZipFile:
            raise InputError(f"is damaged ({entry.filename}); save the ROIs again.") from None


def _nucleus(name: str, roi: ImagejRoi, size: tuple[int, int] | None) -> Nucleus | None:
    if not roi.composite and roi.roitype not in _AREAS:
        raise InputError(f"the ROI {name} is of the type {roi.roitype.name}; allowed are areas, draw it as one.")
    found = nucleus_in([_rings(roi, name)], size)
    if found is None:
        return None
    kind, number = _meaning(name)
    return replace(found, kind=kind, sent_id=number)


def _rings(roi: ImagejRoi, name: str) -> list[NDArray[Any]]:
    try:
        rings = roi.coordinates(multi=True)
    except NotImplementedError:
        raise InputError(
            f"the ROI {name} has curves; in ImageJ, choose Edit > Selection > Create Mask and Create Selection."
        ) from None
    return [ring for ring in rings if len(ring) >= 3]


def _meaning(name: str) -> tuple[Kind, int | None]:
    """Give the kind and the number of a ROI by its name; one that was drawn in ImageJ is a nucleus."""
    kinds = {title: kind for kind, title in NAMES.items()}
    found = _NAME.fullmatch(name.lower())
    if found is not None:
        return kinds[found[1]], int(found[2])
    return next((kind for word, kind in kinds.items() if name.lower().startswith(word)), "nucleus"), None


TOOL = Tool(
    "imagej_rois",
    TITLE,
    by_patches=True,
    classes=Classes("Beginnings of the names of ROIs", NAMES),
    write=_write,
    read_files=_read,
)
