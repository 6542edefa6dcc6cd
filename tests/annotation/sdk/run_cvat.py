"""Runs in the environment of CVAT's library: reads masks of annotations.xml as it does, or makes some."""

import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from cvat_sdk.masks import decode_mask, encode_mask


def read(folder, output):
    found: dict[str, Any] = {}
    images: Any = ElementTree.parse(Path(folder) / "annotations.xml").iter("image")
    for image in images:
        width, height = int(image.get("width")), int(image.get("height"))
        label_image = np.zeros((height, width), np.int32)
        for mask in image.iter("mask"):
            if mask.get("label") == "nucleus":
                left, top, across, down = (int(mask.get(name)) for name in ("left", "top", "width", "height"))
                runs = [int(run) for run in mask.get("rle").split(",")]
                points = [*runs, left, top, left + across - 1, top + down - 1]
                decoded = decode_mask(points, image_width=width, image_height=height)
                label_image[decoded] = int(mask.find("attribute[@name='sent_id']").text)
        found[image.get("name").removesuffix(".png")] = label_image
    np.savez(output, **found)


def write(folder, given):
    root = ElementTree.Element("annotations")
    for name, label_image in np.load(given).items():
        height, width = label_image.shape
        image = ElementTree.SubElement(root, "image", name=f"{name}.png", width=str(width), height=str(height))
        for number in np.unique(label_image)[1:]:
            *runs, left, top, right, bottom = encode_mask(label_image == number)
            place = {"left": left, "top": top, "width": right - left + 1, "height": bottom - top + 1}
            rle = ", ".join(str(int(run)) for run in runs)
            mask = ElementTree.SubElement(image, "mask", {"label": "nucleus", "rle": rle, "z_order": "0"})
            for key, value in place.items():
                mask.set(key, str(int(value)))
            ElementTree.SubElement(mask, "attribute", name="sent_id").text = str(number)
    Path(folder).mkdir()
    ElementTree.ElementTree(root).write(Path(folder) / "annotations.xml")


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](*sys.argv[2:])
