"""Runs in the environment of QuBaLab, the library of QuPath's authors: reads annotations as it does, or makes some."""

import sys
from pathlib import Path
from typing import Any

import geojson
import numpy as np
from PIL import Image
from qubalab.objects.geojson import geojson_features_from_string
from qubalab.objects.image_feature import ImageFeature
from rasterio.features import rasterize


def read(folder, output):
    found: dict[str, Any] = {}
    for path in Path(folder).glob("*.geojson"):
        features = map(ImageFeature.create_from_feature, geojson_features_from_string(path.read_text()))
        nuclei = [feature for feature in features if feature.classification.names == ("Nucleus",)]
        numbered = [(nucleus.geometry, int(nucleus.name.removeprefix("nucleus "))) for nucleus in nuclei]
        width, height = Image.open(path.with_suffix(".tif")).size
        found[path.stem] = rasterize(numbered, (height, width), dtype=np.int32)
    np.savez(output, **found)


def write(folder, given):
    Path(folder).mkdir()
    for name, label_image in np.load(given).items():
        features = []
        for number in np.unique(label_image)[1:]:
            [outlined] = ImageFeature.create_from_label_image(label_image == number)
            classified = {"names": ("unsure",) if number % 2 else ("Nucleus",), "color": (0, 0, 255)}
            features.append(ImageFeature(outlined.geometry, classified, f"nucleus {number}"))
        Path(folder, f"{name}.geojson").write_text(geojson.dumps(geojson.FeatureCollection(features)))
        Image.fromarray(np.zeros(label_image.shape, np.uint8)).save(Path(folder, f"{name}.tif"))


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](*sys.argv[2:])
