"""Runs in the environment of napari, without a window: opens label images as layers, and saves what is in them."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.plugins import _initialize_plugins

_initialize_plugins()


def read(folder, output):
    found: dict[str, Any] = {}
    for path in Path(folder, "labels").glob("*.tif"):
        [layer] = ViewerModel().open(path, plugin="napari", layer_type="labels")
        found[path.stem] = np.asarray(layer.data)
    np.savez(output, **found)


def read_ome_zarr(folder, output):
    found: dict[str, Any] = {}
    for path in Path(folder).glob("*.ome.zarr"):
        layers = ViewerModel().open(path, plugin="napari-ome-zarr")
        [labels] = [layer for layer in layers if layer.as_layer_data_tuple()[2] == "labels" and "nuclei" in layer.name]
        found[path.name.removesuffix(".ome.zarr")] = np.asarray(labels.data[0] if labels.multiscale else labels.data)
    np.savez(output, **found)


def write(folder, given):
    for name in ("labels", "unsure"):
        Path(folder, name).mkdir(parents=True)
    for name, label_image in np.load(given).items():
        viewer = ViewerModel()
        viewer.add_labels(label_image).save(str(Path(folder, "labels", f"{name}.tif")), plugin="napari")
        viewer.add_labels(np.zeros_like(label_image)).save(str(Path(folder, "unsure", f"{name}.tif")), plugin="napari")


if __name__ == "__main__":
    {"read": read, "read-ome-zarr": read_ome_zarr, "write": write}[sys.argv[1]](*sys.argv[2:])
