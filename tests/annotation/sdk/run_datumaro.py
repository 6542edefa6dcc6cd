"""Runs in the environment of Datumaro, the converter of CVAT: reads CVAT's XML and COCO, and writes COCO."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from datumaro import Dataset, DatasetItem, Image, Mask
from datumaro.components.annotation import AnnotationType


def read_cvat(folder, output):
    save(Dataset.import_from(folder, "cvat"), output)


def read_coco(folder, output):
    # Where Datumaro looks for them.
    layout = Path(f"{folder}-layout")
    shutil.copytree(Path(folder) / "images", layout / "images/default")
    (layout / "annotations").mkdir()
    shutil.copy(Path(folder) / "annotations.json", layout / "annotations/instances_default.json")
    save(Dataset.import_from(str(layout), "coco_instances"), output)


def save(dataset, output):
    found: dict[str, Any] = {}
    for item in dataset:
        label_image = np.zeros(item.media.size, np.int32)
        for annotation in item.annotations:
            if annotation.type == AnnotationType.mask:
                label_image[np.asarray(annotation.image, bool)] = int(annotation.attributes["sent_id"])
        found[item.id] = label_image
    np.savez(output, **found)


def write_coco(folder, given):
    items = [
        DatasetItem(
            name,
            media=Image.from_numpy(np.zeros((*label_image.shape, 3), np.uint8)),
            annotations=[
                Mask(label_image == number, label=0, id=place, group=place, attributes={"sent_id": int(number)})
                for place, number in enumerate(np.unique(label_image)[1:], 1)
            ],
        )
        for name, label_image in np.load(given).items()
    ]
    Dataset.from_iterable(items, categories=["nucleus"]).export(folder, "coco_instances", save_media=False)


if __name__ == "__main__":
    commands = {"read-cvat": read_cvat, "read-coco": read_coco, "write-coco": write_coco}
    commands[sys.argv[1]](*sys.argv[2:])
