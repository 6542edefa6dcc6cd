"""The annotation tools by their names."""

from __future__ import annotations

from tasks.annotation import cellpose, coco, cvat, imagej_rois, label_tiff, ome_zarr, qupath, supervisely
from tasks.annotation.tool import Tool
from tasks.nuclei.errors import InputError

TOOLS: dict[str, Tool] = {
    module.TOOL.name: module.TOOL
    for module in (supervisely, cvat, label_tiff, ome_zarr, qupath, imagej_rois, coco, cellpose)
}


def tool_named(name: str) -> Tool:
    """Give a tool by its name; InputError for one that there isn't."""
    if name not in TOOLS:
        raise InputError(f"There is no annotation tool {name!r}; allowed are {', '.join(TOOLS)}.")
    return TOOLS[name]
