"""Score synthetic label images with stardist and cellpose, whose own code counts hits and errors.

    python -m venv peers && peers/bin/pip install stardist==0.9.2 && peers/bin/pip install --no-deps cellpose==4.2.1.1
    peers/bin/python -m tests.nuclei.peer_scores tests/nuclei/peer_scores.csv

Neither package is in the project's environment; test_scoring.py compares ours with the numbers written.
"""

import csv
import importlib
import importlib.metadata
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RANDOM_SEEDS = range(6)
IOU_THRESHOLDS = [hundredths / 100 for hundredths in range(5, 100, 5)]
SPACING_PX = 20
NUCLEI_PER_SIDE = 10


def synthetic_label_images(random_seed: int) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """True and predicted labels of 100 discs: some moved, resized, missed, split or merged, numbers with gaps."""
    # RandomState, because its numbers stay the same in every version of numpy.
    random = np.random.RandomState(random_seed)
    side = SPACING_PX * NUCLEI_PER_SIDE
    y, x = np.mgrid[:side, :side]
    true_labels = np.zeros((side, side), np.uint16)
    predicted_labels = np.zeros((side, side), np.int32)
    for number in range(NUCLEI_PER_SIDE**2):
        center_y, center_x = np.array(divmod(number, NUCLEI_PER_SIDE)) * SPACING_PX + SPACING_PX // 2
        radius = random.uniform(4, 10)
        true_labels[(y - center_y) ** 2 + (x - center_x) ** 2 < radius**2] = 3 * number + 2
        shift_y, shift_x = random.normal(0, 0.7, size=2)
        predicted_radius = radius * random.uniform(0.85, 1.1)
        disc = (y - center_y - shift_y) ** 2 + (x - center_x - shift_x) ** 2 < predicted_radius**2
        kind = random.choice(["same", "missed", "split", "merged"], p=[0.7, 0.1, 0.1, 0.1])
        label = 5 * number + 7
        if kind == "same":
            predicted_labels[disc] = label
        if kind == "split":
            predicted_labels[disc] = np.where(x[disc] < center_x, label, label + 1)
        if kind == "merged":
            # As its left neighbour, with a bridge between the two.
            bridge = (np.abs(y - center_y) < 3) & (x > center_x - SPACING_PX) & (x < center_x)
            predicted_labels[disc | bridge] = label - 5
    return true_labels, predicted_labels


def cellpose_average_precision() -> Callable[..., Any]:
    """Import cellpose.metrics without the package's own start, which needs torch."""
    package = types.ModuleType("cellpose")
    package.__path__ = [str(importlib.metadata.distribution("cellpose").locate_file("cellpose"))]
    sys.modules["cellpose"] = package
    sys.modules["cellpose.utils"] = types.ModuleType("cellpose.utils")
    return importlib.import_module("cellpose.metrics").average_precision


def main(path: Path) -> None:
    matching = importlib.import_module("stardist.matching").matching
    average_precision = cellpose_average_precision()
    versions = {f"{name}_version": importlib.metadata.version(name) for name in ("stardist", "cellpose")}
    with path.open("w", newline="") as file:
        columns = ["random_seed", "iou_threshold"]
        columns += [f"{peer}_{name}" for peer in ("stardist", "cellpose") for name in ("tp", "fp", "fn", "f1")]
        writer = csv.DictWriter(file, columns + list(versions))
        writer.writeheader()
        for random_seed in RANDOM_SEEDS:
            true_labels, predicted_labels = synthetic_label_images(random_seed)
            _, *cellpose_counts = average_precision(
                true_labels.astype(np.int32), predicted_labels, threshold=IOU_THRESHOLDS
            )
            for at, iou_threshold in enumerate(IOU_THRESHOLDS):
                stardist = matching(true_labels, predicted_labels, thresh=iou_threshold)
                tp, fp, fn = (int(counts[at]) for counts in cellpose_counts)
                row = {"random_seed": random_seed, "iou_threshold": iou_threshold}
                row |= {f"stardist_{name}": getattr(stardist, name) for name in ("tp", "fp", "fn", "f1")}
                row |= {"cellpose_tp": tp, "cellpose_fp": fp, "cellpose_fn": fn}
                # cellpose gives no F1; this is it in terms of its counts.
                row |= {"cellpose_f1": 2 * tp / (2 * tp + fp + fn)}
                writer.writerow(row | versions)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
