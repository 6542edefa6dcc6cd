"""OME-Zarr 0.4: an image for each sheet, with its nuclei as labels in it.

    NAME.ome.zarr/                the image, with the contrast in which viewers show it
      labels/nuclei/              its nuclei; numbers are those that were sent
      labels/unsure/              nuclei of which nobody can say; empty until somebody draws there
      labels/context/             nuclei that are corrected elsewhere; not read

Labels have one level, so that none is left as it was when another is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from ome_zarr.format import FormatV04
from ome_zarr.writer import write_multiscale, write_multiscale_labels

from tasks.annotation.label_tiff import with_ids
from tasks.annotation.sheet import Kind, Nucleus, Sheet, label_image_of, nuclei_in, patch_in
from tasks.annotation.shown_images import shown
from tasks.annotation.tool import Classes, Images, Tool
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.intensity import Range, robust_range
from tasks.nuclei.plates.hcs import HcsField, required
from tasks.nuclei.plates.label_numbers import number_labels

TITLE = "OME-Zarr"
ENDING = ".ome.zarr"
GROUPS: dict[Kind, str] = {"nucleus": "nuclei", "unsure": "unsure", "context": "context"}

_FORMAT = FormatV04()
_CHUNK_PX = 1024


def _write(sheets: Sequence[Sheet], images: Images, folder: Path) -> None:
    for sheet in sheets:
        seen = robust_range(images[sheet.name])
        image = shown(images[sheet.name], sheet, blank=round(seen.low))
        root = zarr.open_group(inside(folder, f"{sheet.name}{ENDING}"), mode="w-", zarr_format=2)
        write_multiscale([image], root, name=sheet.name, **_options(image.shape))
        root.attrs["omero"] = _shown_as(image.dtype, seen)
        for kind, name in GROUPS.items():
            nuclei = [nucleus for nucleus in sheet.nuclei if nucleus.kind == kind]
            if nuclei or kind != "context":
                painted = label_image_of(nuclei, sheet.size).astype(np.uint32)
                source = {"source": {"image": "../../"}}
                write_multiscale_labels([painted], root, name, label_metadata=source, **_options(image.shape))


def _options(shape: tuple[int, ...]) -> dict[str, Any]:
    # Blosc, because some readers know no zstd without it.
    compressor = numcodecs.Blosc(cname="zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE)
    return {
        "fmt": _FORMAT,
        "axes": [{"name": name, "type": "space"} for name in "yx"],
        "coordinate_transformations": [[{"type": "scale", "scale": [1.0, 1.0]}]],
        "storage_options": {"chunks": tuple(min(size, _CHUNK_PX) for size in shape), "compressor": compressor},
    }


def _shown_as(dtype: np.dtype[Any], seen: Range) -> dict[str, Any]:
    """Say to viewers from which intensity to which an image is shown."""
    window = {"start": seen.low, "end": seen.high, "min": 0, "max": int(np.iinfo(dtype).max)}
    channel = {"label": "nuclei", "color": "FFFFFF", "active": True, "window": window}
    return {"channels": [channel], "rdefs": {"model": "greyscale"}}


def _read(folder: Path) -> list[Sheet]:
    paths = sorted(path for path in folder.rglob("*") if path.name.lower().endswith(ENDING) and path.is_dir())
    if not paths:
        raise InputError(f"{folder}: has no folder *{ENDING}; send the folders back with the names that they had.")
    return [_sheet(path) for path in paths]


def _sheet(path: Path) -> Sheet:
    name = path.name[: -len(ENDING)]
    field = HcsField("", 0, path)
    there = required("labels", path / "labels")
    if GROUPS["nucleus"] not in there or not set(there) <= set(GROUPS.values()):
        raise InputError(
            f"{path}: has the labels {', '.join(map(str, there))}, and needs {GROUPS['nucleus']!r}; others than "
            f"{', '.join(GROUPS.values())} aren't read. Save what was corrected as {GROUPS['nucleus']!r} and remove "
            "the others."
        )
    sizes = field.sizes
    size = (sizes["y"], sizes["x"])
    nuclei: list[Nucleus] = []
    for kind in ("nucleus", "unsure"):
        if GROUPS[kind] in there:
            nuclei += _labelled(field, kind, size)
    return Sheet(name, *size, patch_in(name), tuple(nuclei))


def _labelled(field: HcsField, kind: Kind, size: tuple[int, int]) -> list[Nucleus]:
    labels = field.read_labels(GROUPS[kind])
    if labels.shape != size:
        raise InputError(f"{field.folder}: the labels {GROUPS[kind]!r} are {labels.shape} px, the image {size}.")
    try:
        numbered = number_labels(labels)
    except InputError as error:
        raise InputError(f"{field.folder}: {error}") from None
    return list(with_ids(nuclei_in(numbered.label_image, kind), numbered.ids.tolist()))


TOOL = Tool(
    "ome_zarr", TITLE, by_patches=False, classes=Classes("Label images", GROUPS), write=_write, read_files=_read
)
