"""Runs in the environment of Supervisely's library: reads a project into label images, or makes one of them."""

import sys
from typing import Any

import numpy as np
import supervisely as sly

CLASSES = {"Nucleus": sly.AnyGeometry, "unsure": sly.AnyGeometry, "bounding-box": sly.Rectangle}


def read(folder, output):
    project = sly.Project(folder, sly.OpenMode.READ)
    found: dict[str, Any] = {}
    for dataset in project.datasets:
        for image in dataset:
            annotation = dataset.get_ann(image, project.meta)
            label_image = np.zeros(annotation.img_size, np.int32)
            for label in annotation.labels:
                if label.obj_class.name == "Nucleus":
                    label.geometry.draw(label_image, int(label.tags.get("sent_id").value))
            found[image.removesuffix(".png")] = label_image
    np.savez(output, **found)


def write(folder, given):
    project = sly.Project(folder, sly.OpenMode.CREATE)
    classes = sly.ObjClassCollection([sly.ObjClass(name, shape) for name, shape in CLASSES.items()])
    tag = sly.TagMeta("sent_id", sly.TagValueType.ANY_NUMBER)
    project.set_meta(sly.ProjectMeta(obj_classes=classes, tag_metas=sly.TagMetaCollection([tag])))
    dataset = project.create_dataset("ds")
    for name, label_image in np.load(given).items():
        labels = [
            sly.Label(
                sly.Bitmap(label_image == number),
                classes.get("Nucleus"),
                sly.TagCollection([sly.Tag(tag, int(number))]),
            )
            for number in np.unique(label_image)[1:]
        ]
        square = sly.Polygon([[2, 3], [2, 8], [6, 8], [6, 3]], [[[4, 5], [4, 6], [5, 6], [5, 5]]])
        labels.append(sly.Label(square, classes.get("unsure")))
        annotation = sly.Annotation(label_image.shape, labels)
        dataset.add_item_np(f"{name}.png", np.zeros((*label_image.shape, 3), np.uint8), annotation)
        drawn = np.zeros(label_image.shape, np.uint8)
        square.draw(drawn, 1)
        np.save(f"{folder}/square.npy", drawn)


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](*sys.argv[2:])
