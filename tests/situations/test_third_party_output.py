"""What third-party tools write in place of label images."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.methods.external.catalogue import Tool
from tasks.methods.external.segmenter import ExternalSegmenter
from tasks.nuclei.errors import InputError
from tasks.nuclei.segmentation import SegmentationSettings
from tests.situations.plain import field

LINES = """
import sys, pathlib, numpy as np, tifffile
from scipy import ndimage
images, output = map(pathlib.Path, sys.argv[1:])
for path in sorted(images.iterdir()):
    image = tifffile.imread(path)
    labels, count = ndimage.label(ndimage.gaussian_filter(image.astype(float), 2) > 340)
    name = path.name
    {change}
    tifffile.imwrite(output / name, labels)
"""

WRONG = {
    "masks": ("labels = np.where(labels, 255, 0).astype(np.uint8)", "mask"),
    "background numbered 1": ("labels = (labels + 1).astype(np.uint16)", "background"),
    "background numbered -1": ("labels = np.where(labels, labels, -1).astype(np.int32)", "-1"),
    "fractions": ("labels = labels / np.float32(2)", "whole numbers"),
    "another name": ("name = path.stem + '_cp_masks.tif'; labels = labels.astype(np.uint16)", "same name"),
    "another size": ("labels = labels[::2, ::2].astype(np.uint16)", "160"),
    "several planes": ("labels = np.stack([labels, 0 * labels]).astype(np.uint16)", "2"),
    "x and y exchanged": ("labels = labels.T.astype(np.uint16)", "exchanged|transposed"),
    "nothing for some images": ("if path.stem.endswith('2'): continue", "missing"),
    "masks of one or two nuclei": (
        "labels = np.where(labels <= 1 + (path.stem == '000001'), labels > 0, 0).astype(np.uint8) * 255",
        "mask",
    ),
    "a file that is cut short": (
        "(output / name).write_bytes(path.read_bytes()[:900]); continue",
        r"wrote wrong label images: 000001\.tif: is damaged or cut short",
    ),
    "an empty file": ("(output / name).touch(); continue", r"000002\.tif: is damaged"),
    "the image": ("labels = image", "mask|classes"),
}


def segment(change: str, folder: Path) -> list[np.ndarray]:
    (folder / "run.py").write_text(LINES.replace("{change}", change))
    (folder / "model").mkdir()
    tool = Tool("tool", (sys.executable, str(folder / "run.py"), "{images}", "{output}"))
    segmenter = ExternalSegmenter(tool, folder / "model", SegmentationSettings())
    return [seen.label_image for seen in segmenter.look_at_all([field(1)[0], field(2)[0]])]


def test_label_images_are_taken_as_they_are(tmp_path: Path) -> None:
    label_images = segment("np.save(pathlib.Path(sys.argv[0]).with_name(path.stem), labels)", tmp_path)
    for taken, path in zip(label_images, sorted(tmp_path.glob("*.npy")), strict=True):
        np.testing.assert_array_equal(taken, np.load(path))


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG)
def test_anything_else_is_refused_with_the_tool_s_name(change: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"(?s)tool .*({words})") as caught:
        segment(change, tmp_path)
    message = str(caught.value)
    assert "/tmp" not in message
    assert "copy it again" not in message
    assert not any(twice in message for twice in ("..", ".;", "\n"))
    assert message.endswith(".")
