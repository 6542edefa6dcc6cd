"""A small third-party tool: nuclei are pieces brighter than a threshold, which it learns."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
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


def write_catalogue(folder: Path, tools: Mapping[str, Mapping[str, list[str] | None]]) -> None:
    """Write the tools.yaml of a laboratory, without the commands that are None."""
    folder.mkdir(exist_ok=True)
    content = {
        name: {which: command for which, command in commands.items() if command is not None}
        for name, commands in tools.items()
    }
    (folder / "tools.yaml").write_text(json.dumps(content))  # JSON is YAML too.


def make_tool(folder: Path) -> dict[str, list[str]]:
    """Write the tool; gives its commands."""
    folder.mkdir(exist_ok=True)
    script = folder / "threshold.py"
    script.write_text(LINES)
    return {
        "segment": [sys.executable, str(script), "segment", "{images}", "{output}", "{model}"],
        "train": [sys.executable, str(script), "train", "{train}", "{validation}", "{model}"],
    }
