"""Runs in an environment with JPype: ImageJ itself, in Java, reads ROIs and label images, or makes some."""

import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import jpype
import jpype.imports
import numpy as np

jpype.startJVM("-Djava.awt.headless=true", classpath=[os.environ["IJ_JAR"]])
from ij import ImagePlus  # noqa: E402
from ij.io import FileSaver, Opener, RoiDecoder, RoiEncoder  # noqa: E402
from ij.plugin.filter import ThresholdToSelection  # noqa: E402
from ij.process import ByteProcessor, FloatProcessor, ImageProcessor  # noqa: E402

WHITE = 255.0


def read(folder, output):
    found: dict[str, Any] = {}
    for path in Path(folder).glob("*.zip"):
        shown = Opener().openImage(str(path.with_suffix(".tif")))
        painted = np.zeros((shown.getHeight(), shown.getWidth()), np.int32)
        with zipfile.ZipFile(path) as rois:
            for name in rois.namelist():
                roi = RoiDecoder(jpype.JArray(jpype.JByte)(rois.read(name)), name).getRoi()
                bounds = roi.getBounds()
                # Of a rectangle, ImageJ has no mask: all of it is meant.
                mask = roi.getMask()
                shape = (bounds.height, bounds.width)
                pixels = np.ones(shape) if mask is None else np.asarray(mask.getPixels()).reshape(shape)
                place = painted[bounds.y : bounds.y + bounds.height, bounds.x : bounds.x + bounds.width]
                place[pixels != 0] = int(name.removeprefix("nucleus-").removesuffix(".roi"))
        found[path.stem] = painted
    np.savez(output, **found)


def read_labels(folder, output):
    found: dict[str, Any] = {}
    for path in Path(folder, "labels").glob("*.tif"):
        shown = Opener().openImage(str(path))
        pixels = np.asarray(shown.getProcessor().convertToFloatProcessor().getPixels())
        found[path.stem] = pixels.reshape(shown.getHeight(), shown.getWidth()).astype(np.int64)
    np.savez(output, **found)


def write(folder, given):
    Path(folder).mkdir()
    for name, label_image in np.load(given).items():
        height, width = label_image.shape
        with zipfile.ZipFile(Path(folder, f"{name}.zip"), "w") as rois:
            for number in np.unique(label_image)[1:]:
                pixels = np.where(label_image == number, -1, 0).astype(np.int8).ravel()
                shown = ByteProcessor(width, height, jpype.JArray(jpype.JByte)(pixels.tolist()))
                # As the command Edit > Selection > Create Selection does.
                shown.setThreshold(WHITE, WHITE, ImageProcessor.NO_LUT_UPDATE)
                roi = ThresholdToSelection().convert(shown)
                roi.setName(f"nucleus-{number}")
                rois.writestr(f"nucleus-{number}.roi", bytes(RoiEncoder.saveAsByteArray(roi)))


def write_labels(folder, given):
    """Save label maps as MorphoLibJ makes them for many labels: in 32 bits, which are floats in ImageJ."""
    for name in ("labels", "unsure"):
        Path(folder, name).mkdir(parents=True)
    for name, label_image in np.load(given).items():
        height, width = label_image.shape
        for kind, labels in (("labels", label_image), ("unsure", np.zeros_like(label_image))):
            pixels = jpype.JArray(jpype.JFloat)(labels.astype(np.float32).ravel())
            shown = ImagePlus(name, FloatProcessor(width, height, pixels))
            assert FileSaver(shown).saveAsTiff(str(Path(folder, kind, f"{name}.tif")))


if __name__ == "__main__":
    {"read": read, "read-labels": read_labels, "write": write, "write-labels": write_labels}[sys.argv[1]](*sys.argv[2:])
