"""Runs in the environment of Cellpose: reads _seg.npy files into label images, or makes some of them."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from cellpose import io


def read(folder, output):
    paths = Path(folder).glob("*_seg.npy")
    found: dict[str, Any] = {path.name.removesuffix("_seg.npy"): io.imread(str(path)) for path in paths}
    np.savez(output, **found)


def write(folder, given):
    Path(folder).mkdir()
    for name, label_image in np.load(given).items():
        shape = label_image.shape
        flows = [np.zeros((*shape, 3), np.uint8), np.zeros((2, *shape), np.float32), np.zeros(shape, np.float32)]
        io.masks_flows_to_seg(np.zeros(shape, np.uint16), label_image, flows, str(Path(folder) / f"{name}.tif"))


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](*sys.argv[2:])
