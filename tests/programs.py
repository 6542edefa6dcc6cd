"""A small program for the method "external": nuclei are pieces brighter than a threshold, which it learns."""

from __future__ import annotations

import sys
from pathlib import Path

LINES = """
import sys
from pathlib import Path
import cv2, numpy as np, tifffile

work, *folders = sys.argv[1:]
folders = [Path(folder) for folder in folders]
if work == "train":
    train, validation, model = folders
    values = [
        (tifffile.imread(path), tifffile.imread(train / "labels" / path.name)) for path in (train / "images").iterdir()
    ]
    inside = np.concatenate([image[labels > 0] for image, labels in values])
    outside = np.concatenate([image[labels == 0] for image, labels in values])
    print(f"{len(values)} fields, {len(list((validation / 'images').iterdir()))} for validation")
    (model / "threshold.txt").write_text(str((inside.mean() + outside.mean()) / 2))
else:
    images, output, model = folders
    threshold = float((model / "threshold.txt").read_text())
    for path in images.iterdir():
        bright = (tifffile.imread(path) > threshold).astype(np.uint8)
        tifffile.imwrite(output / path.name, cv2.connectedComponents(bright)[1].astype(np.uint16))
"""


def make_program(folder: Path) -> dict[str, list[str]]:
    """Write the program; gives its commands."""
    script = folder / "threshold.py"
    script.write_text(LINES)
    return {
        "segment": [sys.executable, str(script), "segment", "{images}", "{output}", "{model}"],
        "train": [sys.executable, str(script), "train", "{train}", "{validation}", "{model}"],
    }
