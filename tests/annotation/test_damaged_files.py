"""Whatever happens to a file on its way, it is read or refused by name; no other error stops who reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.annotation.sheet import sheet_of
from tasks.annotation.tools import TOOLS
from tasks.nuclei.errors import InputError
from tests.annotation.crowded import label_image_with_ids, there_and_back

FILES = {
    "supervisely": "nuclei/ann/B07_1.png.json",
    "cvat": "annotations.xml",
    "coco": "annotations.json",
    "qupath": "B07_1.geojson",
    "imagej_rois": "B07_1.zip",
    "label_tiff": "labels/B07_1.tif",
    "cellpose": "B07_1_seg.npy",
}
SIGNS = b"0123456789-.,\"'{}[]<>/\0\xff"


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a byte or two, leave some out, or cut the end off."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        # Half of them near the beginning, where files say what they are.
        place = int(rng.integers(len(changed) if rng.random() < 0.5 else min(len(changed), 300)))
        match rng.integers(10):
            case 0:
                del changed[place + 1 :]
            case 1 | 2:
                del changed[place : place + int(rng.integers(1, 9))]
            case _:
                changed[place : place + 1] = bytes([SIGNS[rng.integers(len(SIGNS))]])
        changed = changed or bytearray(b" ")
    return bytes(changed)


@pytest.mark.parametrize("name", sorted(FILES))
def test_damaged_files_are_read_or_refused_by_name(name: str, tmp_path: Path) -> None:
    there_and_back(TOOLS[name], [sheet_of("B07_1", label_image_with_ids(4, 3000)[:40, :50])], tmp_path)
    path, messages = tmp_path / FILES[name], []
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(120):
        path.write_bytes(damaged(whole, rng))
        try:
            TOOLS[name].read(tmp_path)
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert [message for message in messages if str(path) not in message] == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("cvat", b"utf-8", b"utf-9"),
        ("cellpose", b"{'descr'", b"{'\x80escr'"),
        ("cellpose", b"'shape': ()", b"'shape': (("),
        ("qupath", b"[", b"[[[["),
    ],
)
def test_what_decoders_stumble_over_is_refused_by_name(name: str, old: bytes, new: bytes, tmp_path: Path) -> None:
    def edit(folder: Path) -> None:
        content = (folder / FILES[name]).read_bytes()
        assert old in content
        (folder / FILES[name]).write_bytes(content.replace(old, new, 1))

    sheets = [sheet_of("B07_1", label_image_with_ids(4, 3000)[:40, :50])]
    with pytest.raises(InputError, match=FILES[name]):
        there_and_back(TOOLS[name], sheets, tmp_path, edit)
